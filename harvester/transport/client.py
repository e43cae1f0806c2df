"""One request, its redirects and its retries: see the package's own docstring for the order of the gates."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace, TracebackType
from typing import Self

import aiohttp
from yarl import URL

from harvester.config import Fetch
from harvester.errors import FetchError
from harvester.model import ByteRange
from harvester.stats import RequestKind, Traffic
from harvester.text import is_page, printable
from harvester.transport.answers import (
    Response,
    StatusError,
    Wanted,
    content_length,
    too_large,
)
from harvester.transport.bodies import BODY_TIMEOUT_S, Bodies
from harvester.transport.breaker import (
    HOST_DOWN,
    Circuit,
    Ticket,
    settling,
    trouble_of_status,
)
from harvester.transport.hosts import AllowedHosts, host_of, join, parse, where
from harvester.transport.limits import SharedLimits
from harvester.transport.pace import Backoff
from harvester.transport.proxies import Proxies, refused_by
from harvester.version import __version__

USER_AGENT = f"harvester/{__version__}"

#: Hops followed before a redirect is taken for a loop.
MAX_REDIRECTS = 5

#: Longest wait for a free connection of the pool (seconds): some 100 heads of 0.3 MB at 4 Mbit/s.
POOL_TIMEOUT_S = 60.0

_REDIRECTS = frozenset([301, 302, 303, 307, 308])


class Transport:
    """An HTTP client for one world, used as ``async with Transport(...) as transport``.

    ``hosts``: allowed instead of ``[fetch] hosts``, for a client of one service. ``limits``: what it shares with
    the run's other clients. Raises :class:`ConfigError` if the environment names no proper proxy.
    """

    def __init__(
        self,
        fetch: Fetch,
        *,
        loopback: bool,
        traffic: Traffic,
        hosts: tuple[str, ...] | None = None,
        limits: SharedLimits | None = None,
        pool_timeout_s: float = POOL_TIMEOUT_S,
        body_timeout_s: float = BODY_TIMEOUT_S,
    ) -> None:
        self._fetch = fetch
        self._hosts = AllowedHosts(loopback, fetch.hosts if hosts is None else hosts)
        self._proxies = Proxies.from_environment(loopback=loopback)
        self._traffic = traffic
        self._limits = limits or SharedLimits()
        self._backoff = Backoff(fetch.retry_base_s, fetch.retry_max_s)
        self._bodies = Bodies(traffic, self._limits.byte_rate, body_timeout_s)
        # Under a cap on bytes everybody's turn comes, however late.
        self._pool_timeout_s = None if self._limits.byte_rate.capped else pool_timeout_s
        self._turns: dict[str, asyncio.Semaphore] = {}
        self._timeouts = aiohttp.ClientTimeout(
            connect=pool_timeout_s + fetch.connect_timeout_s,
            sock_connect=fetch.connect_timeout_s,
            sock_read=fetch.read_timeout_s,
        )
        self._opened: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        pool = aiohttp.TCPConnector(limit=0, limit_per_host=self._fetch.connections_per_host, ttl_dns_cache=300)
        self._opened = aiohttp.ClientSession(
            connector=pool,
            timeout=self._timeouts,
            headers={"User-Agent": USER_AGENT},
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,  # the proxy is given with each request; nobody's .netrc is sent anywhere
            trace_configs=[self._counting()],
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._opened is not None:
            await self._opened.close()

    def _counting(self) -> aiohttp.TraceConfig:
        """Counts a request when it goes out: one that is cancelled while it waits for a connection never did."""

        async def sent(
            _session: aiohttp.ClientSession, context: SimpleNamespace, _sent: aiohttp.TraceRequestHeadersSentParams
        ) -> None:
            self._traffic.sent(context.trace_request_ctx)

        trace = aiohttp.TraceConfig()
        trace.on_request_headers_sent.append(sent)
        return trace

    async def get(
        self,
        url: str,
        *,
        kind: RequestKind,
        byte_range: ByteRange | None = None,
        limit_bytes: int,
        is_foreign: Callable[[bytes], bool] | None = None,
    ) -> Response:
        """The resource, or ``byte_range`` of it, at most ``limit_bytes`` long (status 200 or 206).

        ``is_foreign``: tells a body that is something else than was asked for, such as a web page with status 200:
        a passing fault (reason ``foreign-body``), tried again like the others.

        A range that the resource's end cuts comes back short; a server that ignores ranges is read up to the
        range's end and no further. Raises :class:`FetchError` with reason ``host-refused``, ``http-<status>``,
        ``timeout``, ``connection``, ``proxy``, ``short-body``, ``wrong-range``, ``foreign-body``, ``redirects`` or
        ``too-large``, after ``[fetch] attempts`` tries where another try may help; ``host-down`` without one.
        While a host is down it waits; :class:`TryAgainLater` when all are.
        """
        if byte_range is not None and byte_range.length > limit_bytes:
            raise too_large(parse(url), limit_bytes)
        target, wanted = self._hosts.check(url), Wanted(kind, byte_range, limit_bytes, is_foreign)
        attempt = 1
        while True:
            try:
                return await self._get_admitted(target, wanted)
            except FetchError as error:
                if not error.retryable or attempt >= self._fetch.attempts or error.reason == HOST_DOWN:
                    raise
                asked_s = error.retry_after_s if isinstance(error, StatusError) else None
            await asyncio.sleep(self._backoff.wait_s(attempt, asked_s))
            attempt += 1

    async def send(
        self,
        method: str,
        url: str,
        *,
        kind: RequestKind,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        limit_bytes: int,
    ) -> Response:
        """One try, whatever its status; no redirect is followed. For callers with retry rules of their own.

        Raises :class:`FetchError` when no complete answer of at most ``limit_bytes`` came; while a host is down it
        waits, and raises as :meth:`get` does when the host is given up.
        """
        target = self._hosts.check(url)
        async with self._turn(target, kind) as (circuit, ticket):
            async with self._answer(method, target, kind, headers or {}, body) as answer:
                received = await self._bodies.read(answer, kind, 0, limit_bytes + 1)
                if len(received) > limit_bytes:
                    raise too_large(answer.url, limit_bytes)
                response = Response(answer.status, received, content_length(answer), answer.headers)
            circuit.settle(ticket, trouble_of_status(response.status))
            return response

    @asynccontextmanager
    async def _turn(self, url: URL, kind: RequestKind) -> AsyncIterator[tuple[Circuit, Ticket]]:
        """A free connection to the host and leave to use it; who waits for leave holds no connection."""
        host = host_of(url)
        circuit = self._limits.breakers.circuit(host, kind)
        turns = self._turns.setdefault(host, asyncio.Semaphore(self._fetch.connections_per_host))
        while True:
            if turns.locked():
                await self._wait_for(turns, url)
            else:
                await turns.acquire()  # at once: a timer would cost more than all the rest of this
            try:
                leave = circuit.enter()
                if isinstance(leave, Ticket):
                    with settling(circuit, leave):
                        yield circuit, leave
                    return
            finally:
                turns.release()
            await asyncio.sleep(leave)

    async def _wait_for(self, turns: asyncio.Semaphore, url: URL) -> None:
        try:
            async with asyncio.timeout(self._pool_timeout_s):
                await turns.acquire()
        except TimeoutError:
            raise FetchError(f"{where(url)}: no free connection in time", reason="timeout") from None

    async def _get_admitted(self, target: URL, wanted: Wanted) -> Response:
        """One try, when the host may be asked: a probe asks for what the host gave last, before it is our turn."""
        while True:
            async with self._turn(target, wanted.kind) as (circuit, ticket):
                if not ticket.probe or circuit.witness is None:
                    response = await self._get_once(target, wanted)
                    vouches = not is_page(response.body)  # JSON came, of some use: as a probe it would be foreign
                    circuit.settle(ticket, None, witness=str(target) if vouches else None)
                    return response
                with suppress(FetchError), settling(circuit, ticket):
                    await self._get_once(parse(circuit.witness), wanted.first_byte())
                    circuit.settle(ticket, None)

    async def _get_once(self, target: URL, wanted: Wanted) -> Response:
        # Ranges count bytes of the resource itself: no content coding may come between (RFC 9110 §14.1.2).
        span = wanted.byte_range
        headers = {"Range": span.header(), "Accept-Encoding": "identity"} if span else {}
        for _hop in range(MAX_REDIRECTS + 1):
            async with self._answer("GET", target, wanted.kind, headers) as answer:
                if answer.status not in _REDIRECTS:
                    return wanted.checked(await self._bodies.receive(answer, wanted), target)
                location = answer.headers.get("Location", "")
            target = self._hosts.check(join(target, location))
        raise FetchError(f"{where(target)}: too many redirects", reason="redirects", retryable=False)

    @asynccontextmanager
    async def _answer(
        self, method: str, url: URL, kind: RequestKind, headers: Mapping[str, str], body: bytes | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send once; whatever the network does to us becomes a :class:`FetchError`."""
        if self._opened is None:
            raise RuntimeError("a Transport is used inside 'async with'")
        proxy = self._proxies.for_host(url.raw_host or "", url.port or 443)
        try:
            async with self._opened.request(
                method,
                url,
                headers=headers,
                data=body,
                allow_redirects=False,
                trace_request_ctx=kind,
                proxy=proxy,
                proxy_headers=self._proxies.headers if proxy else None,
            ) as answer:
                yield answer
        except TimeoutError:
            raise FetchError(f"{where(url)}: no answer in time", reason="timeout") from None
        except aiohttp.ClientPayloadError:
            raise FetchError(f"{where(url)}: the body broke off", reason="short-body") from None
        except aiohttp.ClientHttpProxyError as error:
            raise refused_by(self._proxies, url.raw_host or "", error.status) from None
        except aiohttp.ClientProxyConnectionError:
            raise FetchError(f"no connection to the proxy {self._proxies.place}", reason="proxy") from None
        except (aiohttp.ClientError, OSError) as error:
            what = printable(type(error).__name__)
            raise FetchError(f"{where(url)}: no connection ({what})", reason="connection") from None
