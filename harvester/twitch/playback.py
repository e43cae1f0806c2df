"""Opens a VOD or clip and lists its renditions. The one door to streamlink (and to requests below it).

streamlink knows how Twitch's player asks: a playback token from GQL, then the multivariant playlist from usher;
for a clip GQL alone. It is used for just that, with two things added from outside, by ``requests`` adapters: the
endpoints of the configuration, so that the same program runs against a stand-in, and a memory of what each
server said, without which streamlink's empty answers cannot be told apart. Neither changes streamlink.

Neither playlists' URLs nor tokens are logged, and streamlink's own log, which quotes them, is cut off.
"""

from __future__ import annotations

import asyncio
import io
import logging
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from requests import PreparedRequest, RequestException, Response
from requests.adapters import HTTPAdapter
from requests.exceptions import ProxyError, Timeout
from streamlink import Streamlink
from streamlink.exceptions import StreamlinkError
from streamlink.plugins import twitch as plugin
from urllib3.exceptions import HTTPError
from urllib3.exceptions import TimeoutError as WireTimeout
from urllib3.util import parse_url
from yarl import URL

from harvester.clock import Clock
from harvester.config import Endpoints, Fetch
from harvester.errors import FetchError, HarvesterError, SourceError
from harvester.model import Clip, Rendition, Vod
from harvester.stats import RequestKind, Traffic
from harvester.transport import (
    AllowedHosts,
    Backoff,
    Proxies,
    RateLimit,
    SharedLimits,
    Ticket,
    host_of,
    trusted_authorities,
    wants_password,
)
from harvester.transport.breaker import CONNECTION, TIMEOUT, Circuit
from harvester.twitch.diagnosis import (
    PassingTrouble,
    Said,
    clip_answer,
    clip_refusal,
    diagnose,
    token_refusal,
    trouble_of,
)
from harvester.twitch.offers import clip_renditions, vod_renditions
from harvester.twitch.workers import Workers

#: Sources opened at a time: at 2 GQL requests a second and some 30 ms each, more would only wait.
SLOTS = 4
#: Longest time for opening one source (seconds), pauses of a host's outage aside; several requests, each with
#: time-outs of its own.
RESOLVE_TIMEOUT_S = 90.0
#: A multivariant playlist has some 3 kB, a token 1 kB, a media playlist of 48 h 500 kB (bytes).
ANSWER_BYTES = 4 * 1024 * 1024

#: What streamlink calls the codecs that it may tell usher to offer.
STREAMLINK_CODECS = {"h264": "h264", "hevc": "h265", "av1": "av1"}

#: Where streamlink sends its requests, and what they are.
_GQL, _USHER = "https://gql.twitch.tv/", "https://usher.ttvnw.net/"

#: streamlink's inner names have moved: its public, slower way is taken instead.
_MOVED = (AttributeError, TypeError)
#: What streamlink raises for answers it cannot read: its own errors, and whatever its reading of them ran into
#: (a frame rate of infinity is an OverflowError, a quality without its key a KeyError).
UNREADABLE = (StreamlinkError, OSError, ValueError, LookupError, ArithmeticError, RecursionError, *_MOVED)

#: What requests and urllib3 raise when nothing comes in time.
_TIMEOUTS = (Timeout, WireTimeout)

_log = logging.getLogger(__name__)


class StreamlinkResolver:
    """A :class:`harvester.ports.Resolver`, used as ``async with StreamlinkResolver(...) as resolver``.

    ``supported_codecs``: what the decoder at hand reads, of ``h264``, ``hevc``, ``av1``; usher offers no others.
    ``gql_limit``: the pace of all GQL questions of a run, where others ask too; None = alone.
    ``limits``: what it shares with the run's other clients. Raises :class:`ConfigError` if the environment names
    no proper proxy.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        fetch: Fetch,
        traffic: Traffic,
        clock: Clock,
        supported_codecs: Collection[str] = ("h264",),
        *,
        gql_limit: RateLimit | None = None,
        limits: SharedLimits | None = None,
    ) -> None:
        _cut_off_logs()
        limits = limits or SharedLimits()
        self._fetch = fetch
        self._clock = clock
        self._limit = gql_limit or RateLimit(fetch.gql_requests_per_s)
        self._backoff = Backoff(fetch.retry_base_s, fetch.retry_max_s)
        self._workers: Workers[list[Rendition]] = Workers(SLOTS)
        self._closed = threading.Event()
        self._idle: list[_Desk] = []
        codecs = [name for codec, name in STREAMLINK_CODECS.items() if codec in supported_codecs]
        proxies = Proxies.from_environment(loopback=endpoints.loopback)
        self._desk_needs = (endpoints, fetch, traffic, codecs, self._closed, limits, proxies)
        self._timeout_s = RESOLVE_TIMEOUT_S + sum(limits.breakers.pauses_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release idle connections; calls under way send no further request."""
        self._closed.set()
        while self._idle:
            self._idle.pop().close()

    async def renditions(self, source: Vod | Clip) -> Sequence[Rendition]:
        """All renditions offered, sound alone and portrait included (``has_video``, ``width`` tell them).

        Raises :class:`SourceError` as :func:`harvester.twitch.diagnosis.diagnose` says, ``no-video`` when there is
        sound only; what may pass is tried ``[fetch] attempts`` times. While Twitch is down it waits, then raises
        :class:`TryAgainLater`.
        """
        attempt = 1
        while True:
            try:
                return await self._open(source)
            except PassingTrouble as trouble:
                if attempt >= self._fetch.attempts or self._closed.is_set():
                    raise
                _log.info("%s %s: %s; try %d", source.kind, source.id, trouble, attempt)
            await asyncio.sleep(self._backoff.wait_s(attempt))
            attempt += 1

    async def _open(self, source: Vod | Clip) -> list[Rendition]:
        async with self._limit:
            pass
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._workers.call(lambda: self._work(source))
        except TimeoutError:
            raise PassingTrouble("opening the source takes too long", reason="unavailable") from None

    def _work(self, source: Vod | Clip) -> list[Rendition]:
        """In a thread: one desk, used by nobody else meanwhile."""
        desk = self._idle.pop() if self._idle else _Desk(*self._desk_needs)
        try:
            return desk.open(source, self._clock)
        finally:
            if self._closed.is_set():
                desk.close()
            else:
                self._idle.append(desk)


class _Desk:
    """One streamlink session and what the servers said to it; for one thread at a time."""

    def __init__(  # noqa: PLR0917 - given as they are kept
        self,
        endpoints: Endpoints,
        fetch: Fetch,
        traffic: Traffic,
        codecs: Sequence[str],
        closed: threading.Event,
        limits: SharedLimits,
        proxies: Proxies,
    ) -> None:
        self.said: list[Said] = []
        self.ended: HarvesterError | None = None
        self.closed = closed
        self.traffic = traffic
        self.limits = limits
        self.proxies = proxies
        hosts = tuple(urlsplit(url).hostname or "" for url in (endpoints.gql, endpoints.usher))
        self.hosts = AllowedHosts(endpoints.loopback, fetch.hosts + hosts)
        self.read_timeout_s = fetch.read_timeout_s
        self._plugin_options = {"supported-codecs": list(codecs)}
        self._session = Streamlink()
        self._session.set_option("no-plugin-cache", True)  # it would read and write the user's own cache
        self._http = self._session.http
        self._http.trust_env = False  # the adapters give the proxy; nobody's .netrc is sent anywhere
        self._http.verify = trusted_authorities() or True
        self._http.timeout = (fetch.connect_timeout_s, fetch.read_timeout_s)
        self._http.adapters.clear()  # one of streamlink's own reads files
        self._http.mount("https://", _Adapter(self, RequestKind.PLAYLIST))
        self._http.mount("http://", _Adapter(self, RequestKind.PLAYLIST))
        self._http.mount(_GQL, _Adapter(self, RequestKind.GQL, _GQL + "gql", endpoints.gql))
        self._http.mount(_USHER, _Adapter(self, RequestKind.USHER, _USHER, endpoints.usher.rstrip("/") + "/"))

    def close(self) -> None:
        self._http.close()

    def open(self, source: Vod | Clip, clock: Clock) -> list[Rendition]:
        """Renditions of ``source``. Raises the :class:`SourceError` that says why there are none, or what ends
        more than this source: ``host-down``, TryAgainLater, ConfigError (the proxy's)."""
        self.said.clear()
        self.ended = None
        self._http.cookies.clear()
        try:
            streams = self._streams(source)
            clip = isinstance(source, Clip)
            found = clip_renditions(streams, clip_answer(self.said)) if clip else vod_renditions(streams)
        except UNREADABLE:
            found = []  # its text quotes URLs and answers: what was said tells the cause
        if not found:
            if self.ended is not None:
                raise self.ended from None
            raise diagnose(self.said, source, clock.start) from None
        if not any(rendition.has_video for rendition in found):
            raise SourceError("the source offers sound only", reason="no-video")
        return found

    def _streams(self, source: Vod | Clip) -> Mapping[str, Any]:
        try:
            return self._vod_streams(source) if isinstance(source, Vod) else self._clip_streams(source)
        except _MOVED as error:
            _log.warning("streamlink's inner names have moved (%s): opening sources costs more", error)
        streams: Mapping[str, Any] = self._session.streams(source.page_url, self._plugin_options)
        return streams

    def _vod_streams(self, vod: Vod) -> Mapping[str, Any]:
        """The plugin's own steps in two requests; its public way asks for the playlist of each variant too."""
        page = self._page(vod.page_url)
        kind, signature, token = page.api.access_token(False, vod.id)
        if kind != "token" or token is None:
            return {}
        refusal = token_refusal(token)
        if refusal is not None:
            raise refusal
        url = page.usher.video(vod.id, nauthsig=signature, nauth=token)
        streams: Mapping[str, Any] = plugin.TwitchHLSStream.parse_variant_playlist(self._session, url)
        return streams

    def _clip_streams(self, clip: Clip) -> Mapping[str, Any]:
        streams: Mapping[str, Any] = self._page(clip.page_url).streams()
        if refusal := clip_refusal(clip_answer(self.said)):
            raise refusal
        return streams

    def _page(self, url: str) -> Any:
        """The plugin's object for a page, made straight from its module.

        Sessions load plugins by executing their file anew, which is not safe in several threads at a time.
        """
        return plugin.__plugin__(self._session, url, self._plugin_options)


class _Adapter(HTTPAdapter):
    """Sends requests for ``theirs`` to ``ours``, to allowed hosts only; counts, bounds and notes the answers."""

    def __init__(self, desk: _Desk, kind: RequestKind, theirs: str = "", ours: str = "") -> None:
        super().__init__(pool_connections=2, pool_maxsize=1)
        self._desk, self._kind, self._theirs, self._ours = desk, kind, theirs, ours

    def send(  # noqa: PLR0917 - requests' own signature
        self,
        request: PreparedRequest,
        stream: bool = False,  # noqa: ARG002 - bodies are always read here, bounded
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: dict[str, str] | None = None,
    ) -> Response:
        """The complete answer, kept at its real URL: streamlink resolves relative ones against it."""
        desk = self._desk
        redirected = request.copy()
        redirected.url = self._ours + (request.url or "").removeprefix(self._theirs)
        said = Said(self._kind, None)
        try:
            circuit, ticket = self._admitted(self._checked(redirected.url))
            try:
                desk.traffic.sent(self._kind)
                proxies = self._proxies(redirected.url)
                response = super().send(redirected, True, timeout, verify, cert, proxies)
                body = self._read(response)
            except BaseException as error:
                circuit.settle(ticket, TIMEOUT if isinstance(error, _TIMEOUTS) else CONNECTION)
                raise
            said = Said(self._kind, response.status_code, body)
            circuit.settle(ticket, trouble_of(said))
        except HarvesterError as error:  # a host given up; streamlink would make a PluginError of it
            desk.ended = error
            raise RequestException("no answer") from None
        except (HTTPError, RequestException, OSError) as error:
            if isinstance(error, ProxyError) and "407" in str(error):  # its status is in its words alone
                desk.ended = wants_password(desk.proxies)
            raise RequestException("no answer") from None  # without the URL, which may be signed
        finally:
            desk.said.append(said)
        response.raw = io.BytesIO(body)
        return response

    def _checked(self, url: str) -> URL:
        """The URL as :class:`AllowedHosts` reads it, if urllib3, which connects, reads the same host in it."""
        try:
            checked, read = self._desk.hosts.check(url), parse_url(url)
        except FetchError:
            raise RequestException("refused") from None
        same_host = (read.host or "").strip("[]").lower() == (checked.raw_host or "").lower()
        if not same_host or read.port != checked.explicit_port:
            raise RequestException("refused")
        return checked

    def _admitted(self, url: URL) -> tuple[Circuit, Ticket]:
        """Wait while the host is down; the end of the run ends the waiting."""
        circuit = self._desk.limits.breakers.circuit(host_of(url), self._kind)
        while not self._desk.closed.is_set():
            leave = circuit.enter()
            if isinstance(leave, Ticket):
                return circuit, leave
            self._desk.closed.wait(leave)
        raise RequestException("closed")

    def _proxies(self, url: str) -> dict[str, str]:
        parts = parse_url(url)
        proxy = self._desk.proxies.for_host(parts.host or "", parts.port or 443)
        return {"https": proxy} if proxy else {}

    def proxy_headers(self, proxy: str) -> dict[str, str]:
        """For the proxy alone: its credentials."""
        return dict(self._desk.proxies.headers) if proxy else {}

    def _read(self, response: Response) -> bytes:
        """The decoded body, of bounded size and in bounded time: a drip never runs into the read time-out."""
        body, deadline_s = bytearray(), time.monotonic() + self._desk.read_timeout_s
        while chunk := response.raw.read1(64 * 1024, decode_content=True):
            self._desk.traffic.received(self._kind, len(chunk))
            body += chunk
            wait_s = self._desk.limits.byte_rate.pay(len(chunk))
            deadline_s += wait_s
            self._desk.closed.wait(wait_s)
            if len(body) > ANSWER_BYTES or time.monotonic() > deadline_s:
                response.raw.close()
                raise RequestException("no end")
        response.raw.release_conn()
        return bytes(body)


def player_headers() -> dict[str, str]:
    """How streamlink names itself to GQL, which answers unknown programs with errors now and then."""
    return {"User-Agent": str(Streamlink().http.headers["User-Agent"])}


def _cut_off_logs() -> None:
    """streamlink logs answers; urllib3 logs whole URLs at DEBUG. Both hold tokens."""
    logging.getLogger("streamlink").setLevel(logging.CRITICAL + 1)
    logging.getLogger("urllib3").setLevel(logging.WARNING)
