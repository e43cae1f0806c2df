"""What lies below streamlink's requests: an adapter that sends them where, how and when this run may. The one door
to requests.

streamlink asks Twitch's own hosts; the adapter sends that to the endpoints of the configuration, so that the same
program runs against a stand-in, through the run's proxy, limits and breakers, and remembers what each server said,
without which streamlink's empty answers cannot be told apart. streamlink itself is not changed.
"""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from requests import PreparedRequest, RequestException, Response
from requests.adapters import HTTPAdapter
from requests.exceptions import ProxyError, Timeout
from urllib3.exceptions import HTTPError
from urllib3.exceptions import TimeoutError as WireTimeout
from urllib3.util import parse_url
from yarl import URL

from harvester.errors import FetchError, HarvesterError
from harvester.stats import RequestKind, Traffic
from harvester.transport import AllowedHosts, Proxies, SharedLimits, Ticket, host_of, wants_password
from harvester.transport.breaker import CONNECTION, TIMEOUT, trouble_of_status
from harvester.twitch.diagnosis import Said
from harvester.twitch.questions import Questions

#: A multivariant playlist has some 3 kB, a token 1 kB, a media playlist of 48 h 500 kB (bytes).
ANSWER_BYTES = 4 * 1024 * 1024

#: What requests and urllib3 raise when nothing comes in time.
_TIMEOUTS = (Timeout, WireTimeout)


@dataclass(slots=True, eq=False)
class Exchange:
    """What the adapters of one desk keep to, and what was said over them; for one thread at a time.

    ``closed``: ends all waiting. ``said``: all answers in order, of one source. ``ended``: what ends more than
    this source, if something did.
    """

    hosts: AllowedHosts
    questions: Questions
    limits: SharedLimits
    proxies: Proxies
    traffic: Traffic
    closed: threading.Event
    read_timeout_s: float
    said: list[Said] = field(default_factory=list)
    ended: HarvesterError | None = None

    def clear(self) -> None:
        """Begin with another source."""
        self.said.clear()
        self.ended = None


class Adapter(HTTPAdapter):
    """Sends requests for ``theirs`` to ``ours``, to allowed hosts only; counts, bounds and notes the answers."""

    def __init__(self, exchange: Exchange, kind: RequestKind, theirs: str = "", ours: str = "") -> None:
        super().__init__(pool_connections=2, pool_maxsize=1)
        self._exchange, self._kind, self._theirs, self._ours = exchange, kind, theirs, ours

    def send(  # noqa: PLR0917 - requests' own signature
        self,
        request: PreparedRequest,
        stream: bool = False,  # noqa: ARG002 - bodies are always read here, bounded
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: dict[str, str] | None = None,  # noqa: ARG002 - the run's are given instead
    ) -> Response:
        """The complete answer, kept at its real URL: streamlink resolves relative ones against it."""
        exchange = self._exchange
        redirected = request.copy()
        redirected.url = self._ours + (request.url or "").removeprefix(self._theirs)
        said = Said(self._kind, None)
        try:
            response, said = self._exchanged(redirected, timeout, verify, cert)
        except HarvesterError as error:  # a host given up; streamlink would make a PluginError of it
            exchange.ended = error
            raise RequestException("no answer") from None
        except (HTTPError, RequestException, OSError) as error:
            if isinstance(error, ProxyError) and "407" in str(error):  # its status is in its words alone
                exchange.ended = wants_password(exchange.proxies)
            raise RequestException("no answer") from None  # without the URL, which may be signed
        finally:
            exchange.said.append(said)
        response.raw = io.BytesIO(said.body)
        return response

    def _exchanged(self, request: PreparedRequest, timeout: Any, verify: Any, cert: Any) -> tuple[Response, Said]:
        """Send when the host may be asked; its answer."""
        exchange, url = self._exchange, self._checked(request.url or "")
        circuit = exchange.limits.breakers.circuit(host_of(url), self._kind)
        ticket = self._admitted(circuit.enter)
        try:
            exchange.traffic.sent(self._kind)
            response = super().send(request, True, timeout, verify, cert, self._proxies(request.url or ""))
            said = Said(self._kind, response.status_code, self._read(response))
        except BaseException as error:
            circuit.settle(ticket, TIMEOUT if isinstance(error, _TIMEOUTS) else CONNECTION)
            raise
        circuit.settle(ticket, trouble_of_status(response.status_code))
        return response, said

    def _checked(self, url: str) -> URL:
        """The URL as :class:`AllowedHosts` reads it, if urllib3, which connects, reads the same host in it."""
        try:
            checked, read = self._exchange.hosts.check(url), parse_url(url)
        except FetchError:
            raise RequestException("refused") from None
        same_host = (read.host or "").strip("[]").lower() == (checked.raw_host or "").lower()
        if not same_host or read.port != checked.explicit_port:
            raise RequestException("refused")
        return checked

    def _admitted(self, enter: Callable[[], Ticket | float]) -> Ticket:
        """Wait for leave; the end of the run ends the waiting."""
        while not self._exchange.closed.is_set():
            leave = enter()
            if isinstance(leave, Ticket):
                return leave
            self._exchange.closed.wait(leave)
        raise RequestException("closed")

    def _proxies(self, url: str) -> dict[str, str]:
        parts = parse_url(url)
        proxy = self._exchange.proxies.for_host(parts.host or "", parts.port or 443)
        return {"https": proxy} if proxy else {}

    def proxy_headers(self, proxy: str) -> dict[str, str]:
        """For the proxy alone: its credentials."""
        return dict(self._exchange.proxies.headers) if proxy else {}

    def _read(self, response: Response) -> bytes:
        """The decoded body, of bounded size and in bounded time: a drip never runs into the read time-out."""
        body, deadline_s = bytearray(), time.monotonic() + self._exchange.read_timeout_s
        while chunk := response.raw.read1(64 * 1024, decode_content=True):
            self._exchange.traffic.received(self._kind, len(chunk))
            body += chunk
            wait_s = self._exchange.limits.byte_rate.pay(len(chunk))
            deadline_s += wait_s
            self._exchange.closed.wait(wait_s)
            if len(body) > ANSWER_BYTES or time.monotonic() > deadline_s:
                response.raw.close()
                raise RequestException("no end")
        response.raw.release_conn()
        return bytes(body)


class GqlAdapter(Adapter):
    """The same for questions, which are put as :class:`Questions` says."""

    def __init__(self, exchange: Exchange, theirs: str, ours: str) -> None:
        super().__init__(exchange, RequestKind.GQL, theirs, ours)

    def _exchanged(self, request: PreparedRequest, timeout: Any, verify: Any, cert: Any) -> tuple[Response, Said]:
        questions = self._exchange.questions
        question = questions.put(request.body if isinstance(request.body, bytes) else None)
        if question.spelt_out is not None:
            request.prepare_body(question.spelt_out, None)
        ticket = self._admitted(partial(questions.enter, question))
        try:
            response, said = super()._exchanged(request, timeout, verify, cert)
        except BaseException:
            questions.abandon(question, ticket)
            raise
        if (refusal := questions.settle(question, ticket, said)) is not None:
            self._exchange.ended = refusal
        return response, said
