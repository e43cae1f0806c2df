"""Targets that read text: playlists, JSON answers, HTTP headers; those of servers over loopback, as a run does."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from itertools import pairwise
from math import isfinite
from types import SimpleNamespace
from typing import Any

from streamlink.plugins.twitch import TwitchM3U8Parser
from streamlink.stream.hls.m3u8 import parse_m3u8

from harvester.config import Credentials, Discover, Endpoints, Fetch
from harvester.errors import HarvesterError
from harvester.fetch.front import Front
from harvester.model import ByteRange, Clip, Rendition, Vod
from harvester.ports import ListingScope
from harvester.sampling.playlist import parse_media_playlist
from harvester.stats import RequestKind, Traffic
from harvester.store.records import source_from, source_record
from harvester.transport import Transport, retry_after_s
from harvester.twitch.desk import UNREADABLE
from harvester.twitch.diagnosis import Said, clip_answer, diagnose
from harvester.twitch.helix import HelixCatalog
from harvester.twitch.offers import clip_renditions, vod_renditions
from harvester.twitch.paging import Paging
from harvester.twitch.playback import StreamlinkResolver
from harvester.twitch.records import parse_duration_s
from tests.fuzz.loopback import Server, answering
from tests.fuzz.mutations import Mutation, any_of, blind, document, text
from tests.fuzz.target import Reader, Target, plain, well_typed
from tests.unit.sampling.test_playlist import BASE, TWITCH
from tests.unit.twitch.conftest import CLIENT_ID, SECRET, clip, video
from tests.unit.twitch.test_playback import AUDIO, CLIP, MASTER, NOW, OLD, token, vod

FETCH = Fetch(
    attempts=1,
    retry_base_s=0.001,
    retry_max_s=0.001,
    read_timeout_s=5,
    connect_timeout_s=5,
    gql_requests_per_s=100_000,
)
_FMP4 = """#EXTM3U
#EXT-X-VERSION:7
#EXT-X-TARGETDURATION:10
#EXT-X-MAP:URI="init-0.mp4",BYTERANGE="720@0"
#EXT-X-PROGRAM-DATE-TIME:2026-11-01T12:00:00.123Z
#EXTINF:10.008,
#EXT-X-BYTERANGE:5000@100
all.mp4
#EXTINF:9.98,title, with commas
#EXT-X-BYTERANGE:5000
all.mp4
#EXT-X-DISCONTINUITY
#EXT-X-MAP:URI="https://d2nvs31859zcd8.cloudfront.net/x/init-1.mp4"
#EXT-X-GAP
#EXTINF:2,
../gap.mp4
#EXTINF:10,
/other/7.mp4?sig=a,b
"""


def playlists() -> tuple[bytes, ...]:
    many = "#EXTM3U\n#EXT-X-TARGETDURATION:10\n" + "".join(f"#EXTINF:10.{n:03},\n{n}.ts\n" for n in range(60))
    return TWITCH.encode(), _FMP4.encode(), (many + "#EXT-X-ENDLIST\n").encode()


def multivariants() -> tuple[bytes, ...]:
    return tuple(part.replace("{base}", "http://127.0.0.1:1").encode() for part in (MASTER, AUDIO, OLD))


def _read_playlist(data: bytes) -> object:
    playlist = parse_media_playlist(data.decode("utf-8", "replace"), BASE)
    starts = [segment.start_s for segment in playlist.segments]
    assert all(before <= after for before, after in pairwise(starts))
    assert isfinite(playlist.total_s)
    assert isfinite(playlist.target_duration_s)
    for segment in playlist.segments:
        assert segment.url.startswith(("http://", "https://"))
        assert segment.start_s + segment.duration_s <= playlist.total_s * (1 + 1e-12) + 1e-6
    return playlist


def _renditions(found: Sequence[Rendition]) -> object:
    for rendition in found:
        well_typed(rendition)
    return found


def _read_multivariant(data: bytes) -> object:
    """streamlink's parser, whose refusals the resolver takes as an empty offer, then our reading of it."""
    try:
        multivariant = parse_m3u8(data.decode("utf-8", "replace"), "http://127.0.0.1:1/v.m3u8", TwitchM3U8Parser)
    except UNREADABLE as error:
        raise HarvesterError("no offer") from error
    if not multivariant.playlists:
        raise HarvesterError("no offer")
    return _renditions(vod_renditions({"any": SimpleNamespace(multivariant=multivariant)}))


_CLIP = {
    "id": "1",
    "playbackAccessToken": token(),
    "videoQualities": [
        {"frameRate": 60, "quality": "1080", "sourceURL": "https://x.twitchcdn.net/a/1080.mp4", "width": 1920},
        {"frameRate": 30.0, "quality": "480", "sourceURL": "https://x.twitchcdn.net/a/480.mp4"},
        {"frameRate": 29.97, "quality": "720", "sourceURL": "https://x.twitchcdn.net/p/720.mp4"},
    ],
    "assets": [
        {"aspectRatio": 0.5625, "videoQualities": [{"sourceURL": "https://x.twitchcdn.net/p/720.mp4"}]},
        {"aspectRatio": 1.77, "videoQualities": [{"sourceURL": "https://x.twitchcdn.net/a/480.mp4"}]},
    ],
}
_FORBIDDEN = token(authorization={"forbidden": True, "reason": "GEOBLOCKED"})


@cache
def gql_bodies() -> tuple[bytes, ...]:
    documents: list[Any] = [
        {"data": {"videoPlaybackAccessToken": token()}},
        {"data": {"videoPlaybackAccessToken": _FORBIDDEN}},
        {"data": {"videoPlaybackAccessToken": None}},
        {"data": {"clip": _CLIP}, "extensions": {"durationMilliseconds": 40}},
        {"data": {"clip": None}},
        {"errors": [{"message": "service timeout", "path": ["clip"]}], "data": {"clip": None}},
        {"error": "Unauthorized", "status": 401, "message": "no such client"},
    ]
    return tuple(json.dumps(each).encode() for each in documents)


def usher_bodies() -> tuple[bytes, ...]:
    refusals = [
        [{"error": "Not found", "error_code": "vod_manifest_restricted", "url": "x"}],
        {"error_code": "geo"},
    ]
    return tuple(json.dumps(each).encode() for each in refusals)


def _read_answers(data: bytes) -> object:
    """What is made of a body of GQL or usher that did not open the source."""
    signed = [quality["sourceURL"] + "?sig=s&token=t" for quality in _CLIP["videoQualities"]]
    for status in (200, 403, 404, None):
        for source in (vod(), CLIP):
            for kind in (RequestKind.GQL, RequestKind.USHER):
                said = [Said(kind, status, data)]
                assert isinstance(diagnose(said, source, NOW), HarvesterError)
    answer = clip_answer([Said(RequestKind.GQL, 200, data)])
    streams = {url: SimpleNamespace(url=url) for url in signed}
    return _renditions(clip_renditions(streams, answer))


def pages() -> tuple[bytes, ...]:
    every: list[Any] = [
        {"data": [video(n) for n in range(3)], "pagination": {"cursor": "abc"}},
        {"data": [clip(n) for n in range(3)], "pagination": {}},
        {
            "data": [{"id": "509658", "name": "Hades", "box_art_url": "", "igdb_id": ""}],
            "pagination": {"cursor": ""},
        },
    ]
    return tuple(json.dumps(each).encode() for each in every)


def _read_page(data: bytes) -> object:
    """Pages one after the other until the listing stops: the same page is not new for ever."""
    try:
        page = json.loads(data)
    except ValueError:
        page = None
    if not isinstance(page, dict):
        raise HarvesterError("no page")  # what the wire makes sure of
    paging = Paging(500)
    for _ in range(3):
        entries, stopped = paging.take(page)
        assert all(isinstance(entry, dict) for entry in entries)
        if stopped is not None:
            return stopped
    raise AssertionError("the same page again and again is taken for news")


def durations() -> tuple[bytes, ...]:
    return b"3h8m33s", b"21s", b"48h0m0s"


def answer(body: bytes, kind: str = "application/json", status: str = "200 OK", **headers: str) -> bytes:
    """An HTTP answer as bytes."""
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def part_answers() -> tuple[bytes, ...]:
    date, limit = "Sun, 22 Nov 2026 12:00:00 GMT", {"Ratelimit_Limit": "800", "Ratelimit_Remaining": "0"}
    return (
        answer(b"x" * 90, "video/mp2t", "206 Partial Content", Content_Range="bytes 10-99/1234", Date=date),
        answer(b"", "text/html", "416 Range Not Satisfiable", Content_Range="bytes */1234"),
        answer(b"slow", "text/plain", "429 Too Many", Retry_After="3", Ratelimit_Reset="1793500000", **limit),
        answer(b"down", "text/plain", "503 Down", Retry_After="Fri, 31 Dec 9999 23:59:59 GMT", Date=date),
        answer(b"", "text/plain", "302 Found", Location="/elsewhere?a=b"),
        answer(b"y" * 200, "video/mp2t"),
    )


def in_head(mutation: Mutation) -> Mutation:
    """Only the value of one header line of an HTTP answer."""

    def mutated(rng: random.Random, data: bytes, other: bytes) -> bytes:
        head, body = data.split(b"\r\n\r\n", 1)
        lines = head.split(b"\r\n")
        at = rng.randrange(1, len(lines))
        name, _, value = lines[at].partition(b": ")
        value = mutation(rng, value, rng.choice(lines)).translate(None, b"\r\n")
        lines[at] = name + b": " + value
        return b"\r\n".join(lines) + b"\r\n\r\n" + body

    return mutated


@contextmanager
def _fetching() -> Iterator[Reader]:
    """A range of a resource, whatever the headers say."""
    with answering() as server:

        async def read() -> object:
            async with Transport(FETCH, loopback=True, traffic=Traffic()) as transport:
                front = Front(transport, server.url("/segment"), window=ByteRange(10, 500), limit_bytes=90)
                await front.grow(90)
                assert 0 < len(front) <= 90 or front.complete
                return front

        yield lambda data: server.ask(read, lambda _: data)


def _catalog(server: Server) -> HelixCatalog:
    endpoints = Endpoints(**{name: server.url(f"/{name}/") for name in ("helix", "auth", "gql", "usher")})
    discover = Discover(requests_per_s=100_000)
    return HelixCatalog(
        endpoints,
        discover,
        Credentials(CLIENT_ID, SECRET),
        Traffic(),
        retry_base_s=0,
        retry_max_s=0,
        read_timeout_s=5,
    )


_TOKEN = answer(json.dumps({"access_token": "t", "expires_in": 5_000_000, "token_type": "bearer"}).encode())


def dates() -> tuple[bytes, ...]:
    return (
        b"Retry-After: 120\nDate: Sun, 22 Nov 2026 12:00:00 GMT",
        b"Retry-After: Sun, 22 Nov 2026 13:00:00 -0100\nDate: Sun, 22 Nov 2026 12:00:00 GMT",
        b"Retry-After: Sunday, 06-Nov-94 08:49:37 GMT\nDate: Sun Nov  6 08:49:37 1994",
        b"Retry-After: Fri, 31 Dec 9999 23:00:00 -0100\nDate: Mon, 01 Jan 0001 00:00:00 +0100",
    )


def _read_wait(data: bytes) -> object:
    lines = [line.partition(": ") for line in data.decode("latin-1").split("\n")]
    wait_s = retry_after_s({name: value for name, _, value in lines})
    assert wait_s is None or 0 <= wait_s < 1e12
    return wait_s


@contextmanager
def _listing() -> Iterator[Reader]:
    """A listing of a category whose every page is the input: its sources must be fit for the ledger."""
    scope = ListingScope(limit=50)
    with answering() as server:

        async def read() -> object:
            async with _catalog(server) as catalog:
                category = await catalog.find_category("id:492535")
                for listing in (
                    await catalog.list_vods(category, scope),
                    await catalog.list_clips(category, scope),
                ):
                    for source in listing.sources:
                        well_typed(source)
                        assert source_from(source.kind, source_record(source)) == source
            return category

        def ask(data: bytes) -> object:
            game = answer(json.dumps({"data": [{"id": "492535", "name": "Ann"}], "pagination": {}}).encode())
            return server.ask(
                read, lambda line: _TOKEN if "/auth/" in line else game if "/games" in line else data
            )

        yield ask


@contextmanager
def _headers_of_helix() -> Iterator[Reader]:
    with answering() as server:

        async def read() -> object:
            async with _catalog(server) as catalog:
                headroom = await catalog.headroom()
                well_typed(headroom)
                return headroom

        yield lambda data: server.ask(read, lambda line: _TOKEN if "/auth/" in line else data)


def limits() -> tuple[bytes, ...]:
    body, date = pages()[2], "Sun, 22 Nov 2026 12:00:00 GMT"
    limit = {"Ratelimit_Limit": "800", "Ratelimit_Remaining": "799", "Ratelimit_Reset": "1793500000"}
    return answer(body, Date=date, **limit), answer(body, **{**limit, "Ratelimit_Remaining": "0"}, Retry_After="2")


def _resolving(source: Vod | Clip, *, gql: bool) -> Callable[[], AbstractContextManager[Reader]]:
    """Opening a source where the answer of GQL, or else of usher, is the input."""

    @contextmanager
    def opened() -> Iterator[Reader]:
        good = answer(gql_bodies()[0] if not gql else multivariants()[0])
        with answering() as server:
            endpoints = Endpoints(**{name: server.url(f"/{name}/") for name in ("helix", "auth", "gql", "usher")})

            async def read() -> object:
                async with StreamlinkResolver(endpoints, FETCH, Traffic(), server.clock) as resolver:
                    return _renditions(await resolver.renditions(source))

            yield lambda data: server.ask(read, lambda line: data if gql == ("/gql" in line) else good)

    return opened


def answers(bodies: Callable[[], Sequence[bytes]], mutation: Mutation) -> tuple[Any, Mutation]:
    """Bodies as whole answers, mutated in the body, and at times in the headers too."""

    def mutated(rng: random.Random, data: bytes, other: bytes) -> bytes:
        if rng.random() < 0.15:
            return in_head(text)(rng, data, other)
        body, foreign = (each.split(b"\r\n\r\n", 1)[1] for each in (data, other))
        return answer(mutation(rng, body, foreign))

    return lambda: tuple(map(answer, bodies())), mutated


TEXT: tuple[Target, ...] = (
    Target("media playlist", 120, playlists, any_of(text, text, blind), plain(_read_playlist)),
    Target("multivariant playlist", 50, multivariants, any_of(text, text, blind), plain(_read_multivariant)),
    Target("gql and usher bodies", 60, lambda: (*gql_bodies(), *usher_bodies()), document, plain(_read_answers)),
    Target("helix page", 60, pages, document, plain(_read_page)),
    Target(
        "helix duration",
        20,
        durations,
        text,
        plain(lambda data: parse_duration_s(data.decode("utf-8", "replace"))),
        (ValueError,),
    ),
    Target("helix listing", 15, *answers(pages, document), _listing),
    Target("helix headers", 15, limits, in_head(text), _headers_of_helix),
    Target(
        "http headers", 20, part_answers, any_of(in_head(text), in_head(text), in_head(blind), blind), _fetching
    ),
    Target("http dates", 30, dates, any_of(text, text, blind), plain(_read_wait)),
    Target("resolve clip", 6, *answers(gql_bodies, document), _resolving(CLIP, gql=True)),
    Target("resolve vod gql", 4, *answers(gql_bodies, document), _resolving(vod(), gql=True)),
    Target("resolve vod usher", 8, *answers(multivariants, any_of(text, blind)), _resolving(vod(), gql=False)),
)
