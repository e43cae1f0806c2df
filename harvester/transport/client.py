"""One request, its redirects and its retries: see the package's own docstring for the order of the gates."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace, TracebackType
from typing import Self

import aiohttp
from yarl import URL

from harvester.config import Fetch
from harvester.errors import FetchError
from harvester.model import ByteRange
from harvester.stats import RequestKind, Traffic
from harvester.text import is_page, printable
from harvester.transport.hosts import AllowedHosts, join, parse, where
from harvester.transport.pace import Backoff, retry_after_s
from harvester.version import __version__

USER_AGENT = f"harvester/{__version__}"

#: Hops followed before a redirect is taken for a loop.
MAX_REDIRECTS = 5

#: Longest wait for a free connection of the pool (seconds): some 100 heads of 0.3 MB at 4 Mbit/s.
POOL_TIMEOUT_S = 60.0
#: Longest time for one body (seconds). The largest single body is a segment head of a few MB; a server that drips
#: a byte every ten seconds never runs into the read time-out.
BODY_TIMEOUT_S = 120.0

#: Bodies of refusals up to this size are read, so that their connection can be used again (bytes).
_REFUSAL_BYTES = 64 * 1024

_REDIRECTS = frozenset([301, 302, 303, 307, 308])
#: Statuses below 500 that may pass by themselves (RFC 9110 §15.5.9, RFC 8470 §5.2, RFC 6585 §4).
_PASSING = frozenset([408, 425, 429])

#: RFC 9110 §14.4, ``Content-Range: bytes 0-99/1234``; the total may be ``*``.
_CONTENT_RANGE = re.compile(r"bytes\s+(\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.ASCII | re.IGNORECASE)
#: ... and of a 416: ``bytes */1234``.
_UNSATISFIED_RANGE = re.compile(r"bytes\s+\*/(\d{1,18})", re.ASCII | re.IGNORECASE)


class StatusError(FetchError):
    """An answer came, with a status that carries no body for us (reason ``http-<status>``).

    ``retry_after_s``: how long the server asks us to stay away; None if it does not. ``total_bytes``: size of the
    resource, which a 416 tells; None if unknown.
    """

    def __init__(
        self, message: str, *, status: int, retry_after_s: float | None = None, total_bytes: int | None = None
    ) -> None:
        retryable = status in _PASSING or status >= 500
        super().__init__(message, reason=f"http-{status}", retryable=retryable, status=status)
        self.retry_after_s = retry_after_s
        self.total_bytes = total_bytes


@dataclass(frozen=True, slots=True)
class Response:
    """A complete answer. ``total_bytes``: size of the whole resource, None if the server does not tell."""

    status: int
    body: bytes = field(repr=False)
    total_bytes: int | None
    headers: Mapping[str, str] = field(repr=False, default_factory=dict)  # case-insensitive


class Transport:
    """An HTTP client for one world, used as ``async with Transport(...) as transport``.

    ``hosts``: allowed instead of ``[fetch] hosts``, for a client of one service.
    """

    def __init__(
        self,
        fetch: Fetch,
        *,
        loopback: bool,
        traffic: Traffic,
        hosts: tuple[str, ...] | None = None,
        pool_timeout_s: float = POOL_TIMEOUT_S,
        body_timeout_s: float = BODY_TIMEOUT_S,
    ) -> None:
        self._fetch = fetch
        self._hosts = AllowedHosts(loopback, fetch.hosts if hosts is None else hosts)
        self._traffic = traffic
        self._backoff = Backoff(fetch.retry_base_s, fetch.retry_max_s)
        self._body_timeout_s = body_timeout_s
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
            trust_env=not self._hosts.loopback,  # a proxy of the environment is for the real world only
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
        ``timeout``, ``connection``, ``short-body``, ``wrong-range``, ``foreign-body``, ``redirects`` or
        ``too-large``, after ``[fetch] attempts`` tries where another try may help.
        """
        attempt = 1
        while True:
            try:
                response = await self._get_once(url, kind, byte_range, limit_bytes)
                if is_foreign is None or not is_foreign(response.body):
                    return response
                raise FetchError(
                    f"{where(parse(url))}: something else than asked for came", reason="foreign-body", status=200
                )
            except FetchError as error:
                if not error.retryable or attempt >= self._fetch.attempts:
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

        Raises :class:`FetchError` when no complete answer of at most ``limit_bytes`` came.
        """
        async with self._answer(method, self._hosts.check(url), kind, headers or {}, body) as answer:
            received = await self._read(answer, kind, 0, limit_bytes + 1)
            if len(received) > limit_bytes:
                raise _too_large(answer.url, limit_bytes)
            return Response(answer.status, received, _content_length(answer), answer.headers)

    async def _get_once(
        self, url: str, kind: RequestKind, byte_range: ByteRange | None, limit_bytes: int
    ) -> Response:
        if byte_range is not None and byte_range.length > limit_bytes:
            raise _too_large(parse(url), limit_bytes)
        # Ranges count bytes of the resource itself: no content coding may come between (RFC 9110 §14.1.2).
        headers = {"Range": byte_range.header(), "Accept-Encoding": "identity"} if byte_range else {}
        target = self._hosts.check(url)
        for _hop in range(MAX_REDIRECTS + 1):
            async with self._answer("GET", target, kind, headers) as answer:
                if answer.status not in _REDIRECTS:
                    return await self._receive(answer, kind, byte_range, limit_bytes)
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
        try:
            async with self._opened.request(
                method, url, headers=headers, data=body, allow_redirects=False, trace_request_ctx=kind
            ) as answer:
                yield answer
        except TimeoutError:
            raise FetchError(f"{where(url)}: no answer in time", reason="timeout") from None
        except aiohttp.ClientPayloadError:
            raise FetchError(f"{where(url)}: the body broke off", reason="short-body") from None
        except (aiohttp.ClientError, OSError) as error:
            what = printable(type(error).__name__)
            raise FetchError(f"{where(url)}: no connection ({what})", reason="connection") from None

    async def _receive(
        self, answer: aiohttp.ClientResponse, kind: RequestKind, wanted: ByteRange | None, limit_bytes: int
    ) -> Response:
        if answer.status == 206 and wanted is not None:
            return await self._receive_part(answer, kind, wanted)
        if answer.status != 200:
            raise await self._refusal(answer, kind)
        if wanted is None:
            return await self._receive_whole(answer, kind, limit_bytes)
        return await self._receive_slice(answer, kind, wanted)

    async def _receive_whole(
        self, answer: aiohttp.ClientResponse, kind: RequestKind, limit_bytes: int
    ) -> Response:
        total = _content_length(answer)
        if total is not None and total > limit_bytes:
            raise _too_large(answer.url, limit_bytes)
        body = await self._read(answer, kind, 0, limit_bytes + 1)
        if len(body) > limit_bytes:
            raise _too_large(answer.url, limit_bytes)
        return Response(200, body, total, answer.headers)

    async def _receive_slice(
        self, answer: aiohttp.ClientResponse, kind: RequestKind, wanted: ByteRange
    ) -> Response:
        """The server ignored ``Range`` and sends everything: take ours on the way by, then hang up."""
        body = await self._read(answer, kind, wanted.start, wanted.length, media=True)
        total = _content_length(answer)
        if total == 0:
            raise FetchError(f"{where(answer.url)}: an empty answer", reason="short-body")
        if not body:
            raise StatusError(
                f"{where(answer.url)} ends before the range asked for", status=416, total_bytes=total
            )
        return Response(200, body, total, answer.headers)

    async def _receive_part(
        self, answer: aiohttp.ClientResponse, kind: RequestKind, wanted: ByteRange
    ) -> Response:
        start, end, total = _content_range(answer)
        cut = total is not None and end == total
        if start != wanted.start or end <= start or (end < wanted.end and not cut):
            raise FetchError(f"{where(answer.url)}: another range than asked for came", reason="wrong-range")
        length = min(end, wanted.end) - start
        body = await self._read(answer, kind, 0, length)
        if len(body) < length:
            raise FetchError(
                f"{where(answer.url)}: {len(body)} of {length} bytes came", reason="short-body", status=206
            )
        return Response(206, body, total, answer.headers)

    async def _read(
        self, answer: aiohttp.ClientResponse, kind: RequestKind, skip: int, take: int, *, media: bool = False
    ) -> bytes:
        """Up to ``take`` bytes of the body after ``skip``; nothing is read beyond the chunk that completes them.

        An unread rest makes the connection close instead of returning to the pool. ``media``: a body that begins
        like a web page is none, whatever lies at ``skip``.
        """
        kept, position, end = bytearray(), 0, skip + take
        async with asyncio.timeout(self._body_timeout_s):
            async for chunk in answer.content.iter_any():
                self._traffic.received(kind, len(chunk))
                if media and not position and is_page(chunk):
                    raise FetchError(f"{where(answer.url)}: a page in place of media", reason="foreign-body")
                kept += chunk[max(0, skip - position) : max(0, end - position)]
                position += len(chunk)
                if position >= end:
                    break
        return bytes(kept)

    async def _refusal(self, answer: aiohttp.ClientResponse, kind: RequestKind) -> StatusError:
        if (_content_length(answer) or 0) <= _REFUSAL_BYTES:
            await self._read(answer, kind, 0, _REFUSAL_BYTES)
        unsatisfied = _UNSATISFIED_RANGE.fullmatch(answer.headers.get("Content-Range", "").strip())
        return StatusError(
            f"{where(answer.url)} answered {answer.status}",
            status=answer.status,
            retry_after_s=retry_after_s(answer.headers),
            total_bytes=int(unsatisfied[1]) if unsatisfied else None,
        )


def _content_length(answer: aiohttp.ClientResponse) -> int | None:
    """Bytes of the whole resource by ``Content-Length``; None if it is not told, or of the coded body."""
    return None if "Content-Encoding" in answer.headers else answer.content_length


def _content_range(answer: aiohttp.ClientResponse) -> tuple[int, int, int | None]:
    """Start, one past the end, and total of a 206; (0, 0, None) when it has no single readable range."""
    match = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", "").strip())
    if match is None:
        return 0, 0, None
    return int(match[1]), int(match[2]) + 1, None if match[3] == "*" else int(match[3])


def _too_large(url: URL, limit_bytes: int) -> FetchError:
    return FetchError(f"{where(url)} is larger than {limit_bytes} bytes", reason="too-large", retryable=False)
