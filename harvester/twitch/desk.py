"""One streamlink session, asked for one source after the other. The one door to streamlink.

streamlink knows how Twitch's player asks: a playback token from GQL, then the multivariant playlist from usher;
for a clip GQL alone. It is used for just that, over :mod:`harvester.twitch.adapter`. Neither playlists' URLs nor
tokens are logged, and streamlink's own log, which quotes them, is cut off.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from streamlink import Streamlink
from streamlink.exceptions import StreamlinkError
from streamlink.plugins import twitch as plugin

from harvester.clock import Clock
from harvester.config import Endpoints, Fetch
from harvester.errors import SourceError
from harvester.model import Clip, Rendition, Vod
from harvester.stats import RequestKind
from harvester.transport import trusted_authorities
from harvester.twitch.adapter import Adapter, Exchange, GqlAdapter
from harvester.twitch.diagnosis import clip_answer, clip_refusal, diagnose, token_refusal
from harvester.twitch.offers import clip_renditions, vod_renditions

#: What streamlink calls the codecs that it may tell usher to offer.
STREAMLINK_CODECS = {"h264": "h264", "hevc": "h265", "av1": "av1"}

#: Where streamlink sends its requests, and what they are.
_GQL, _USHER = "https://gql.twitch.tv/", "https://usher.ttvnw.net/"

#: streamlink's inner names have moved: its public, slower way is taken instead.
_MOVED = (AttributeError, TypeError)
#: What streamlink raises for answers it cannot read: its own errors, and whatever its reading of them ran into
#: (a frame rate of infinity is an OverflowError, a quality without its key a KeyError).
UNREADABLE = (StreamlinkError, OSError, ValueError, LookupError, ArithmeticError, RecursionError, *_MOVED)

_log = logging.getLogger(__name__)


class Desk:
    """One streamlink session, over an exchange of its own; for one thread at a time."""

    def __init__(self, endpoints: Endpoints, fetch: Fetch, codecs: Sequence[str], exchange: Exchange) -> None:
        self._exchange = exchange
        self._plugin_options = {"supported-codecs": list(codecs)}
        self._session = Streamlink()
        self._session.set_option("no-plugin-cache", True)  # it would read and write the user's own cache
        self._http = self._session.http
        self._http.trust_env = False  # the adapters give the proxy; nobody's .netrc is sent anywhere
        self._http.verify = trusted_authorities() or True
        self._http.timeout = (fetch.connect_timeout_s, fetch.read_timeout_s)
        self._http.adapters.clear()  # one of streamlink's own reads files
        usher = endpoints.usher.rstrip("/") + "/"
        self._http.mount("https://", Adapter(exchange, RequestKind.PLAYLIST))
        self._http.mount("http://", Adapter(exchange, RequestKind.PLAYLIST))
        self._http.mount(_GQL, GqlAdapter(exchange, _GQL + "gql", endpoints.gql))
        self._http.mount(_USHER, Adapter(exchange, RequestKind.USHER, _USHER, usher))

    def close(self) -> None:
        self._http.close()

    def open(self, source: Vod | Clip, clock: Clock) -> list[Rendition]:
        """Renditions of ``source``. Raises the :class:`SourceError` that says why there are none, or what ends
        more than this source: ``host-down``, TryAgainLater, ConfigError (the proxy's)."""
        exchange = self._exchange
        exchange.clear()
        self._http.cookies.clear()
        try:
            streams = self._streams(source)
            clip = isinstance(source, Clip)
            found = clip_renditions(streams, clip_answer(exchange.said)) if clip else vod_renditions(streams)
        except UNREADABLE:
            found = []  # its text quotes URLs and answers: what was said tells the cause
        if not found:
            if exchange.ended is not None:
                raise exchange.ended from None
            raise diagnose(exchange.said, source, clock.start) from None
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
        if refusal := clip_refusal(clip_answer(self._exchange.said)):
            raise refusal
        return streams

    def _page(self, url: str) -> Any:
        """The plugin's object for a page, made straight from its module.

        Sessions load plugins by executing their file anew, which is not safe in several threads at a time.
        """
        return plugin.__plugin__(self._session, url, self._plugin_options)


def player_headers() -> dict[str, str]:
    """How streamlink names itself to GQL, which answers unknown programs with errors now and then."""
    return {"User-Agent": str(Streamlink().http.headers["User-Agent"])}


def cut_off_logs() -> None:
    """streamlink logs answers; urllib3 logs whole URLs at DEBUG. Both hold tokens."""
    logging.getLogger("streamlink").setLevel(logging.CRITICAL + 1)
    logging.getLogger("urllib3").setLevel(logging.WARNING)
