"""What the assumptions are looked at on: one category, one VOD and one clip of it, each thing asked for once."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

from harvester.config import Config
from harvester.errors import HarvesterError, MediaError, SourceError, UnknownCategory
from harvester.fetch.heads import HeadSizes
from harvester.fetch.segments import SegmentReader
from harvester.model import AccessUnit, Category, Clip, Codec, Rendition, Source, VideoDetails, Vod
from harvester.pipeline.harvest import Outside
from harvester.ports import Listing, ListingScope
from harvester.sampling.playlist import MediaPlaylist, parse_media_playlist
from harvester.sampling.renditions import order_renditions
from harvester.stats import RequestKind
from harvester.transport import RateLimit, Transport
from harvester.twitch.desk import player_headers
from harvester.twitch.operations import CLIENT_ID, OPERATIONS
from live.finding import CannotTell

#: Two full pages and a little: enough to see a cursor work.
VODS_LISTED, CLIPS_LISTED = 200, 100
#: Clips of this age have VODs that are there still (Partners keep them 60 days), and Twitch has linked them.
CLIP_AGE = timedelta(days=30)
#: A stream that ended so long ago (s) has its complete playlist.
SETTLED_S = 3600
#: Sources tried before giving up on finding a VOD that opens; each costs a request or two.
TRIES = 3
#: Largest answer read in one piece (bytes): clips of 60 s at the smallest rendition have some 5 MB.
WHOLE_BYTES = 24 << 20
_ANSWER_BYTES = 4 << 20

#: What streamlink 8.6.3 asks for playback, by hash.
PLAYBACK_HASH = "ed230aa1e33e07eebb8928504583da78a5173989fadfb1ac94be06a04f3cdbe9"
CLIP_HASH = "993d9a5131f15a37bd16f32342c44ed1e0b1a9b968c6afdb662d2cddd595f6c5"

ValueT = TypeVar("ValueT")


@dataclass(frozen=True, slots=True)
class Opened:
    """A source's usable renditions, lowest first, and the requests that resolving it cost."""

    ladder: tuple[Rendition, ...]
    cost: Mapping[RequestKind, int]


@dataclass(frozen=True, slots=True)
class ReadPlaylist:
    """A media playlist, as text and as read. ``url``: its own address."""

    text: str
    media: MediaPlaylist
    url: str = field(repr=False)


@dataclass(slots=True)
class Scene:
    """Harvester's own pieces, connected; ``pace``: None where there is nobody to be polite to."""

    config: Config
    outside: Outside
    asking: Transport  # for GQL and usher, as the web player asks
    pace: RateLimit | None
    category: Category
    vods: Listing[Vod]
    clips: Listing[Clip]
    heads: HeadSizes = field(default_factory=HeadSizes)
    _once: dict[Hashable, asyncio.Task[Any]] = field(default_factory=dict)
    _readers: dict[Rendition, SegmentReader] = field(default_factory=dict)

    async def once(self, key: Hashable, ask: Callable[[], Awaitable[ValueT]]) -> ValueT:
        """What ``ask`` gave the first time, or the error that it raised then."""
        if key not in self._once:
            self._once[key] = asyncio.ensure_future(ask())
        value: ValueT = await self._once[key]
        return value

    async def turn(self, requests: int = 1) -> None:
        """Wait until that many requests may go out."""
        pace = self.pace
        if pace is None:
            return
        for _ in range(requests):
            async with pace:
                pass

    def linked_clips(self) -> list[Clip]:
        """Clips with a place in a VOD, best first: room for their length before it, then the longer."""
        linked = [clip for clip in self.clips.sources if clip.video_id and clip.vod_offset_s is not None]
        return sorted(linked, key=lambda c: ((c.vod_offset_s or 0) < c.duration_s, -c.duration_s, c.id))

    async def specimen(self) -> tuple[Vod, Clip | None]:
        """A VOD that opens, and a clip of it; without such a clip (None), a listed VOD. Raises SourceError."""
        return await self.once("specimen", self._specimen)

    async def _specimen(self) -> tuple[Vod, Clip | None]:
        one_a_vod: dict[str | None, Clip] = {}
        for clip in self.linked_clips():
            one_a_vod.setdefault(clip.video_id, clip)
        tried: list[Clip | None] = [*list(one_a_vod.values())[: TRIES - 1], None]
        last: HarvesterError = SourceError("the category lists no VOD", reason="no-vod")
        for candidate in tried:
            try:
                vod = await self._vod_of(candidate)
                await self.opened(vod)
            except HarvesterError as error:
                last = error
            else:
                return vod, candidate
        raise last

    async def _vod_of(self, clip: Clip | None) -> Vod:
        if clip is None:
            listed = next(iter(self.settled_vods() or self.vods.sources), None)
            if listed is None:
                raise SourceError("the category lists no VOD", reason="no-vod")
            return listed
        same = next((vod for vod in self.vods.sources if vod.id == clip.video_id), None)
        found: Source = same or await self.outside.catalog.find_source(self.category, "vod", clip.video_id or "")
        if not isinstance(found, Vod):
            raise SourceError("the clip's VOD is none")
        return found

    def settled_vods(self) -> list[Vod]:
        """Listed VODs whose stream is over, newest first."""
        now = self.outside.clock.now()
        return [
            vod
            for vod in self.vods.sources
            if vod.created_at + timedelta(seconds=vod.duration_s + SETTLED_S) < now and vod.duration_s > 0
        ]

    async def opened(self, source: Source) -> Opened:
        """The source's renditions. Raises SourceError."""
        return await self.once(("opened", source.id), lambda: self._open(source))

    async def _open(self, source: Source) -> Opened:
        await self.turn()
        before = Counter(self.outside.traffic.requests)
        self.outside.resolver.offer(frozenset(Codec))
        renditions = await self.outside.resolver.renditions(source)
        cost = Counter(self.outside.traffic.requests) - before
        ladder = order_renditions(renditions, min_height=1, codecs=frozenset(Codec))
        return Opened(tuple(ladder), cost)

    async def playlist(self, rendition: Rendition) -> ReadPlaylist:
        """The media playlist of a rendition."""
        return await self.once(("playlist", rendition.url), lambda: self._playlist(rendition))

    async def _playlist(self, rendition: Rendition) -> ReadPlaylist:
        await self.turn()
        answer = await self.outside.transport.get(
            rendition.url, kind=RequestKind.PLAYLIST, limit_bytes=_ANSWER_BYTES
        )
        text = answer.body.decode("utf-8", "replace")
        media = parse_media_playlist(text, rendition.url)
        if not media.segments:
            raise MediaError("the playlist lists no segment")
        return ReadPlaylist(text, media, rendition.url)

    async def head(self, rendition: Rendition, item: int) -> AccessUnit:
        """The first picture of segment number ``item``."""
        return await self.once(("head", rendition.url, item), lambda: self._head(rendition, item))

    async def _head(self, rendition: Rendition, item: int) -> AccessUnit:
        playlist = await self.playlist(rendition)
        await self.turn()
        if rendition not in self._readers:
            self._readers[rendition] = SegmentReader(self.outside.transport, rendition, self.heads)
        return await self._readers[rendition].read(playlist.media.segments[item])

    async def details(self, vod: Vod) -> VideoDetails:
        """What GQL tells of a VOD."""
        return await self.once(("details", vod.id), lambda: self._details(vod))

    async def _details(self, vod: Vod) -> VideoDetails:
        if self.outside.details is None:
            raise CannotTell("[discover] details is off")
        await self.turn()
        details = await self.outside.details.of_vod(vod.id)
        if details is None:
            raise CannotTell("GQL told nothing of the VOD")
        return details

    async def told(self) -> Mapping[str, Any]:
        """GQL's raw answer to each operation that harvester and streamlink send by hash, in one batch."""
        return await self.once("told", self._ask_by_hash)

    async def _ask_by_hash(self) -> Mapping[str, Any]:
        if self.config.discover.details == "off":
            raise CannotTell("[discover] details is off")
        vod_id, slug = await self._ids()
        questions = [operation.persisted(vod_id) for operation in OPERATIONS]
        playback = {"isLive": False, "login": "", "isVod": True, "vodID": vod_id, "playerType": "embed"}
        questions.append(_persisted("PlaybackAccessToken", PLAYBACK_HASH, playback | {"platform": "site"}))
        questions.append(_persisted("VideoAccessToken_Clip", CLIP_HASH, {"slug": slug, "platform": "web"}))
        await self.turn()
        response = await self.asking.send(
            "POST",
            self.config.endpoints.gql,
            kind=RequestKind.GQL,
            headers={**player_headers(), "Client-ID": CLIENT_ID, "Content-Type": "application/json"},
            body=json.dumps(questions).encode(),
            limit_bytes=_ANSWER_BYTES,
        )
        answers = json.loads(response.body)
        if response.status != 200 or not isinstance(answers, list) or len(answers) != len(questions):
            raise CannotTell(f"GQL answered a batch with status {response.status} and no list of answers")
        return {question["operationName"]: answer for question, answer in zip(questions, answers, strict=True)}

    async def _ids(self) -> tuple[str, str]:
        """A VOD's id and a clip's slug to ask about: null is an answer, too, so any will do."""
        try:
            vod, clip = await self.specimen()
        except HarvesterError:
            return next((listed.id for listed in self.vods.sources), "1"), "NoSuchClip"
        return vod.id, clip.id if clip else "NoSuchClip"

    async def multivariant(self) -> str:
        """The multivariant playlist of the specimen, for a player that reads every codec."""
        return await self.once("multivariant", self._multivariant)

    async def _multivariant(self) -> str:
        vod, _ = await self.specimen()
        token = _token(await self.told())
        query = {
            "platform": "web",
            "allow_source": "true",
            "allow_audio_only": "true",
            "playlist_include_framerate": "true",
            "multigroup_video": "true",
            "include_unavailable": "true",
            "supported_codecs": "av1,h265,h264",
            "nauthsig": token["signature"],
            "nauth": token["value"],
        }
        url = f"{self.config.endpoints.usher.rstrip('/')}/vod/v2/{vod.id}.m3u8?{urlencode(query)}"
        await self.turn()
        answer = await self.asking.get(url, kind=RequestKind.USHER, limit_bytes=_ANSWER_BYTES)
        return answer.body.decode("utf-8", "replace")


def _token(told: Mapping[str, Any]) -> Mapping[str, str]:
    token = ((told["PlaybackAccessToken"] or {}).get("data") or {}).get("videoPlaybackAccessToken")
    if not token:
        raise CannotTell("GQL gave no playback token to the question by hash")
    return {name: str(token[name]) for name in ("signature", "value")}


def _persisted(name: str, sha256: str, variables: Mapping[str, Any]) -> dict[str, Any]:
    query = {"persistedQuery": {"version": 1, "sha256Hash": sha256}}
    return {"operationName": name, "variables": variables, "extensions": query}


@asynccontextmanager
async def set_up(config: Config, outside: Outside, wanted: str, pace: RateLimit | None) -> AsyncIterator[Scene]:
    """List the category ``wanted`` ("" = the most watched one) and be ready to look at it.

    Raises CredentialsRefused, TryAgainLater, UnknownCategory.
    """
    category = await _category(outside, wanted)
    vods = await outside.catalog.list_vods(category, ListingScope(limit=VODS_LISTED))
    now = outside.clock.now()
    window = ListingScope(since=now - CLIP_AGE, until=now, limit=CLIPS_LISTED)
    clips = await outside.catalog.list_clips(category, window)
    endpoints = config.endpoints
    hosts = tuple(urlsplit(url).hostname or "" for url in (endpoints.gql, endpoints.usher))
    traffic = outside.traffic
    async with Transport(config.fetch, loopback=endpoints.loopback, traffic=traffic, hosts=hosts) as asking:
        yield Scene(config, outside, asking, pace, category, vods, clips)


async def _category(outside: Outside, wanted: str) -> Category:
    if wanted:
        return await outside.catalog.find_category(wanted)
    top: Sequence[Category] = await outside.catalog.top_categories(1)
    if not top:
        raise UnknownCategory("Twitch names no category: give one by --category")
    return top[0]
