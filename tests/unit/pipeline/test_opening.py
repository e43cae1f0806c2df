"""From a source's renditions to its pictures, over real HTTP, on real encoded video: the right rendition, each
segment with its own init section, and times that are the sums of EXTINF whatever time stamps do."""

from __future__ import annotations

import asyncio
import gc
import io
import threading
import tracemalloc
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import AsyncMock

import av
import numpy as np
import pytest

from harvester.config import Decode, Sample
from harvester.decode import open_backend, open_decoder
from harvester.errors import FetchError, SourceError
from harvester.model import Clip, Codec, Label, Rendition, Source, Target, Vod, VodType
from harvester.pipeline.opening import Located, Opener
from harvester.pipeline.work import Measured, OpenSources, Result, Worker
from harvester.sampling.plan import Wish, plan_visits
from harvester.sampling.playlist import parse_media_playlist
from harvester.stats import StageTimes
from harvester.store.ledger import Ledger
from tests.unit.fetch.conftest import GOP, World, encode, in_world, split_fragments
from tests.unit.pipeline.conftest import visit

__all__ = ["in_world"]  # the fixture

NOW = datetime(2026, 11, 2, tzinfo=UTC)
EVERY = Sample(min_spacing_s=0.01, guard_s=0, min_height=100)
#: 33 bits of 90 kHz, in pictures of 24 a second: the time stamps of a VOD of 26.5 h begin again here.
WRAP_FRAMES = (1 << 33) * 24 // 90_000


def vod(duration_s: float = 40) -> Vod:
    return Vod("1", "7", "9", "ann", "title", NOW, duration_s, VodType.ARCHIVE, "en", 5)


def clip() -> Clip:
    return Clip("Slug", "7", "9", "ann", "title", NOW, 2.5, "en", 5)


def rendition(url: str, height: int | None = 108, codecs: str = "avc1.4D001F,mp4a.40.2", **more: Any) -> Rendition:
    width = height and height * 16 // 9
    values: dict[str, Any] = {"width": width, "fps": 24.0, "bandwidth": 400_000} | more
    return Rendition(url.split("/")[-2], url, height=height, codecs=codecs, **values)


@dataclass
class Offered:
    """A resolver that has already been asked."""

    renditions_: Sequence[Rendition]

    def offer(self, codecs: Collection[Codec]) -> None:
        pass

    async def renditions(self, source: Source) -> Sequence[Rendition]:
        return self.renditions_


@dataclass
class Opening:
    """What opening a source gave: its renditions in question, and each target read."""

    rendition: str
    located: dict[float, Located] = field(default_factory=dict)  # by the target's moment


async def opened(
    here: World, *renditions: Rendition, source: Source | None = None, codecs: tuple[Codec, ...] = (Codec.H264,)
) -> Opening:
    opener = Opener(Offered(renditions), here.transport, EVERY, codecs, Ledger(None))
    source = await opener.open(source or vod())
    located = {target.moment_s: await source.read(target) for target in source.targets.values()}
    return Opening(next(iter(located.values())).rendition, located)


def playlist(*lines: str, ended: bool = True) -> bytes:
    tail = ["#EXT-X-ENDLIST"] if ended else []
    return "\n".join(["#EXTM3U", "#EXT-X-TARGETDURATION:10", *lines, *tail, ""]).encode()


@cache
def transport_stream(seed: int, first_pts: int = 0, size: tuple[int, int] = (192, 108)) -> bytes:
    return encode("mpegts", {}, 1, seed=seed, first_pts=first_pts, size=size)


@cache
def fragments(seed: int, count: int, size: tuple[int, int] = (192, 108)) -> tuple[bytes, list[bytes]]:
    movflags = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    return split_fragments(encode("mp4", movflags, count, seed=seed, size=size))


def shown_first(data: bytes) -> np.ndarray:
    """Luma of the first picture, as PyAV plays a whole file."""
    with av.open(io.BytesIO(data)) as file:
        frame = next(file.decode(video=0))
        plane = np.frombuffer(frame.planes[0], np.uint8).reshape(frame.height, frame.planes[0].line_size)
        return plane[:, : frame.width]


def assert_shows(located: Located, data: bytes) -> None:
    decoder = open_decoder(Decode())
    try:
        assert np.array_equal(decoder.look(located.unit).picture().y, shown_first(data))
    finally:
        decoder.close()


# -- time and pictures --------------------------------------------------------------------------------------------


def test_a_second_init_section_after_a_discontinuity_has_its_own_size_and_codec_parameters(
    in_world: Callable,
) -> None:
    (init_0, first), (init_1, second) = fragments(1, 3), fragments(2, 2, (320, 180))
    files = {f"chunked/{n}.mp4": data for n, data in enumerate([*first, *second])}
    files |= {"chunked/init-0.mp4": init_0, "chunked/init-1.mp4": init_1}
    files["chunked/index-dvr.m3u8"] = playlist(
        '#EXT-X-MAP:URI="init-0.mp4"', "#EXTINF:10.008,", "0.mp4", "#EXTINF:9.98,", "1.mp4", "#EXTINF:4.5,", "2.mp4",
        "#EXT-X-DISCONTINUITY", '#EXT-X-MAP:URI="init-1.mp4"', "#EXTINF:10,", "3.mp4", "#EXTINF:2,", "4.mp4",
    )  # fmt: skip
    opening = in_world(files, lambda here: opened(here, rendition(here.server.url("chunked/index-dvr.m3u8"))))
    expected = {0.0: init_0 + first[0], 10.008: init_0 + first[1], 19.988: init_0 + first[2]}
    expected |= {24.488: init_1 + second[0], 34.488: init_1 + second[1]}
    assert sorted(opening.located) == sorted(expected)
    for moment_s, data in expected.items():
        located = opening.located[moment_s]
        assert located.offset_s == pytest.approx(moment_s, abs=1e-9)
        assert_shows(located, data)
    streams = [opening.located[moment_s].unit.stream for moment_s in sorted(expected)]
    assert [(stream.width, stream.height) for stream in streams] == [(192, 108)] * 3 + [(320, 180)] * 2


def test_byte_ranges_of_one_file_with_its_init_section_in_front(in_world: Callable) -> None:
    init, parts = fragments(3, 4)
    lengths = [len(part) for part in parts]
    playlist_of = playlist(
        f'#EXT-X-MAP:URI="all.mp4",BYTERANGE="{len(init)}@0"',
        "#EXTINF:2,", f"#EXT-X-BYTERANGE:{lengths[0]}@{len(init)}", "all.mp4",
        "#EXTINF:2,", f"#EXT-X-BYTERANGE:{lengths[1]}", "all.mp4",
        f"#EXT-X-BYTERANGE:{lengths[3]}@{len(init) + sum(lengths[:3])}", "#EXTINF:2,", "all.mp4",
    )  # fmt: skip
    files = {"chunked/all.mp4": init + b"".join(parts), "chunked/index-dvr.m3u8": playlist_of}
    opening = in_world(files, lambda here: opened(here, rendition(here.server.url("chunked/index-dvr.m3u8"))))
    assert sorted(opening.located) == [0, 2, 4]
    for moment_s, part in zip((0, 2, 4), (parts[0], parts[1], parts[3]), strict=True):
        assert_shows(opening.located[moment_s], init + part)


def test_relative_uris_of_a_playlist_that_has_moved_are_relative_to_where_it_is(in_world: Callable) -> None:
    """RFC 3986 §5.1.3: the URL that answered in the end, not the first one."""
    init, parts = fragments(3, 2)
    files = {f"new/place/{n}.mp4": data for n, data in enumerate(parts)} | {"new/init.mp4": init}
    files["new/place/index-dvr.m3u8"] = playlist(
        '#EXT-X-MAP:URI="../init.mp4"', "#EXTINF:2,", "0.mp4", "#EXTINF:2,", "1.mp4"
    )
    paths: list[str] = []

    async def scenario(here: World) -> Opening:
        opening = await opened(here, rendition(here.server.url("moved/new/place/index-dvr.m3u8")))
        paths.extend(path for path, _, _ in here.server.log)
        return opening

    opening = in_world(files, scenario)
    assert [path for path in paths if path.startswith("moved")] == ["moved/new/place/index-dvr.m3u8"] == paths[:1]
    for moment_s, part in zip((0.0, 2.0), parts, strict=True):
        assert_shows(opening.located[moment_s], init + part)


def test_a_dated_segment_dates_its_picture(in_world: Callable) -> None:
    files = {f"chunked/{n}.ts": transport_stream(n) for n in range(3)}
    files["chunked/index-dvr.m3u8"] = playlist(
        "#EXTINF:10,", "0.ts", "#EXT-X-PROGRAM-DATE-TIME:2026-11-01T12:00:00.500Z", "#EXTINF:10,", "1.ts",
        "#EXT-X-PROGRAM-DATE-TIME:9999-12-31T23:59:59Z", "#EXTINF:10,", "2.ts",
    )  # fmt: skip
    opening = in_world(files, lambda here: opened(here, rendition(here.server.url("chunked/index-dvr.m3u8"))))
    last = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert {moment_s: located.on_air for moment_s, located in opening.located.items()} == {
        0.0: None,
        10.0: datetime(2026, 11, 1, 12, 0, 0, 500_000, tzinfo=UTC),
        20.0: last,
    }
    assert measured_by_a_worker(opening.located[10.0]).on_air == opening.located[10.0].on_air


@dataclass(eq=False)
class Read:
    """An open source that is read already."""

    located: Located
    targets: Mapping[int, Target] = field(default_factory=lambda: {0: Target(0, 0, 0.0, Label("vod", 0.8))})

    async def read(self, target: Target) -> Located:
        return self.located


def measured_by_a_worker(located: Located) -> Measured:
    async def take(executor: Executor) -> Result:
        opener = cast("Any", SimpleNamespace(open=AsyncMock(return_value=Read(located))))
        sources, backend = OpenSources(opener, cast("Any", None)), open_backend(Decode())
        return await Worker(sources, executor, backend, StageTimes()).take(visit(vod()), 0, lambda: None)

    with ThreadPoolExecutor(1) as executor:
        result = asyncio.run(take(executor))
    assert isinstance(result, Measured)
    return result


def test_what_opening_finds_is_committed_off_the_event_loop(in_world: Callable) -> None:
    """Other sources go on while the disk is waited for."""
    threads: list[int] = []

    class Watched(Ledger):
        def remember_opened(self, *arguments: Any) -> None:
            threads.append(threading.get_ident())
            super().remember_opened(*arguments)

    async def scenario(here: World) -> int:
        offered = Offered([rendition(here.server.url("chunked/index-dvr.m3u8"))])
        ledger = Watched(None)
        source = vod()
        visits = plan_visits(1, [Wish(source)], EVERY)
        ledger.commit_pass(1, "7", "vod", opened_at=NOW, planned_at=NOW, listing={}, visits=visits)
        await Opener(offered, here.transport, EVERY, (Codec.H264,), ledger).open(source)
        assert ledger.parts_of("7", "vod", source.id)[0].opened is not None
        return threading.get_ident()

    loop_thread = in_world(whole("chunked", 5), scenario)
    assert len(threads) == 1
    assert loop_thread not in threads


def test_time_stamps_that_begin_again_or_wrap_do_not_move_a_picture(in_world: Callable) -> None:
    """A VOD of 48 h: the clock of 33 bits wraps inside a segment, and begins anew at a discontinuity."""
    first_frames = [WRAP_FRAMES - 3 * GOP, WRAP_FRAMES - GOP // 2, WRAP_FRAMES + GOP, 0]
    streams = [transport_stream(10 + n, first) for n, first in enumerate(first_frames)]
    assert [wraps(data) for data in streams] == [False, True, False, False]
    lost = [line for n in range(9544) for line in ("#EXT-X-GAP", "#EXTINF:10,", f"lost/{n}.ts")]
    listed = [f"#EXTINF:4.004,\n{n}.ts" for n in range(4)]
    files = {f"chunked/{n}.ts": data for n, data in enumerate(streams)}
    files["chunked/index-dvr.m3u8"] = playlist(*lost, *listed[:3], "#EXT-X-DISCONTINUITY", listed[3])
    source = vod(95_440 + 16)
    opening = in_world(
        files, lambda here: opened(here, rendition(here.server.url("chunked/index-dvr.m3u8")), source=source)
    )
    moments_s = [95_440 + n * 4.004 for n in range(4)]
    assert sorted(opening.located) == pytest.approx(moments_s, abs=1e-9)
    for moment_s, data in zip(sorted(opening.located), streams, strict=True):
        assert opening.located[moment_s].offset_s == pytest.approx(moment_s, abs=1e-9)
        assert_shows(opening.located[moment_s], data)


def wraps(stream: bytes) -> bool:
    """True if the time stamps of a transport stream's video are not in one half of their ring."""
    stamps = []
    for at in range(0, len(stream), 188):
        packet = stream[at : at + 188]
        pes = packet.find(b"\x00\x00\x01\xe0")
        if packet[1] & 0x40 and pes >= 0 and packet[pes + 7] & 0x80:
            a, b, c, d, e = packet[pes + 9 : pes + 14]
            stamps.append((a >> 1 & 7) << 30 | b << 22 | c >> 1 << 15 | d << 7 | e >> 1)
    return max(stamps) - min(stamps) > 1 << 32


def test_names_of_muted_old_and_highlight_segments_are_taken_as_they_are(in_world: Callable) -> None:
    data = [transport_stream(seed) for seed in range(4)]
    names = ["318-muted.ts", "319-unmuted.ts", "index-0000000320-AbC1.ts", "321.ts"]
    served = {
        "318-muted.ts": data[0],
        "319-muted.ts": data[1],
        "index-0000000320-AbC1.ts": data[2],
        "321.ts": data[3],
    }
    files = {f"chunked/{name}": body for name, body in served.items()}
    lines = [
        line
        for name in names
        for line in ("#EXTINF:4.004,", name + ("?start_offset=0" if "index" in name else ""))
    ]
    files["chunked/highlight-1.m3u8"] = playlist("#EXT-X-MEDIA-SEQUENCE:318", *lines)
    opening = in_world(files, lambda here: opened(here, rendition(here.server.url("chunked/highlight-1.m3u8"))))
    assert sorted(opening.located) == pytest.approx([0, 4.004, 8.008, 12.012])
    for moment_s, body in zip(sorted(opening.located), data, strict=True):
        assert_shows(opening.located[moment_s], body)


def test_only_segments_of_targets_are_remembered_of_48_hours(in_world: Callable) -> None:
    lines = [line for n in range(17_280) for line in (f"#EXTINF:{'10.008' if n % 2 else '9.98'},", f"{n}.ts")]
    files = {"chunked/index-dvr.m3u8": playlist(*lines)}

    async def scenario(here: World) -> Any:
        offered = Offered([rendition(here.server.url("chunked/index-dvr.m3u8"))])
        return await Opener(offered, here.transport, Sample(), [Codec.H264], Ledger(None)).open(vod(172_692))

    source = in_world(files, scenario)
    assert len(source.targets) == 40
    assert len(source._segments) == 40
    assert all(
        source._segments[target.item].start_s == pytest.approx(target.item * 9.994, abs=0.02)
        for target in source.targets.values()
    )


@pytest.mark.long
def test_48_hours_cost_no_more_memory_than_10_minutes(in_world: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many long playlists one is in memory at a time, and of none anything is left but a few segments."""
    lines = [line for n in range(17_280) for line in ("#EXTINF:10.000,", f"{n}.ts")]
    files = {"long/index-dvr.m3u8": playlist(*lines), "short/index-dvr.m3u8": playlist(*lines[:120])}
    at_once, most = 0, 0

    def counted(text: str, url: str) -> Any:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        try:
            return parse_media_playlist(text, url)
        finally:
            at_once -= 1

    monkeypatch.setattr("harvester.pipeline.opening.parse_media_playlist", counted)

    async def scenario(here: World) -> tuple[int, int]:
        async def left(name: str, seconds: float) -> int:
            offered = Offered([rendition(here.server.url(f"{name}/index-dvr.m3u8"))])
            opener = Opener(offered, here.transport, Sample(max_per_vod=10), [Codec.H264], Ledger(None))
            gc.collect()
            before = tracemalloc.get_traced_memory()[0]
            sources = await asyncio.gather(*(opener.open(vod(seconds)) for _ in range(2)))
            assert [len(source.targets) for source in sources] == [10] * 2
            gc.collect()
            return tracemalloc.get_traced_memory()[0] - before

        await left("short", 600)  # what the first requests make once
        tracemalloc.start()
        try:
            return await left("short", 600), await left("long", 172_800)
        finally:
            tracemalloc.stop()

    short, long = in_world(files, scenario)
    assert most == 1
    assert long - short < 200_000  # one playlist of 48 h has 5 MB


# -- renditions ---------------------------------------------------------------------------------------------------


def whole(folder: str, seed: int) -> dict[str, bytes]:
    return {f"{folder}/0.ts": transport_stream(seed), f"{folder}/index-dvr.m3u8": playlist("#EXTINF:10,", "0.ts")}


@pytest.mark.parametrize(
    "broken",
    [
        {"refused/index-dvr.m3u8": b""},
        {"gone/index-dvr.m3u8": b""},
        {"bad/index-dvr.m3u8": playlist()},
        {"bad/index-dvr.m3u8": playlist(ended=False)},
        {"bad/index-dvr.m3u8": playlist('#EXT-X-KEY:METHOD=AES-128,URI="k"', "#EXTINF:1,", "0.ts")},
        {"bad/index-dvr.m3u8": playlist("#EXTINF:-1,", "0.ts")},
        {"bad/index-dvr.m3u8": b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nx.m3u8\n"},
        {"bad/index-dvr.m3u8": b"sorry"},
    ],
    ids=["403", "404", "empty", "just-begun", "encrypted", "corrupt", "multivariant", "not-a-playlist"],
)
def test_a_rendition_that_cannot_be_read_is_passed_over(in_world: Callable, broken: dict[str, bytes]) -> None:
    (path,) = broken
    opening = in_world(
        broken | whole("360p30", 5),
        lambda here: opened(
            here,
            rendition(here.server.url(path), 720),
            rendition(here.server.url("360p30/index-dvr.m3u8"), 1080, bandwidth=9_000_000),
        ),
    )
    assert opening.rendition == "360p30"
    assert_shows(opening.located[0.0], transport_stream(5))


def refused(in_world: Callable, files: dict[str, bytes], *paths: tuple[str, dict[str, Any]]) -> SourceError:
    async def scenario(here: World) -> None:
        await opened(here, *(rendition(here.server.url(path), **more) for path, more in paths))

    with pytest.raises(SourceError) as caught:
        in_world(files, scenario)
    return caught.value


def test_when_none_can_be_read_each_is_named_with_its_reason(in_world: Callable) -> None:
    files = {
        "locked/i.m3u8": playlist("#EXT-X-KEY:METHOD=SAMPLE-AES", "#EXTINF:1,", "0.ts"),
        "empty/i.m3u8": playlist(),
    }
    error = refused(
        in_world, files, ("refused/i.m3u8", {}), ("locked/i.m3u8", {}), ("empty/i.m3u8", {}),
        ("hevc/i.m3u8", {"codecs": "hev1.1.2.L150,mp4a.40.2", "height": 1440}),
        ("tall/i.m3u8", {"width": 608, "height": 1080}),
        ("audio_only/i.m3u8", {"codecs": "mp4a.40.2", "height": None, "has_video": False}),
    )  # fmt: skip
    assert (error.reason, error.retryable) == ("unsupported-encryption", False)
    text = str(error)
    for part in (
        "hevc: unsupported-codec",
        "tall: portrait",
        "audio_only: no-video",
        "refused: ",
        "403",
        "empty: ",
    ):
        assert part in text
    assert "encrypted" in text


@pytest.mark.parametrize(
    ("files", "paths", "reason", "retryable"),
    [
        ({}, ["refused/i.m3u8", "gone/i.m3u8"], "gone", True),
        ({"a/i.m3u8": playlist()}, ["a/i.m3u8"], "no-segments", False),
        ({"a/i.m3u8": playlist(ended=False)}, ["a/i.m3u8"], "not-ready", True),
        ({"a/i.m3u8": b"sorry"}, ["a/i.m3u8"], "corrupt", True),
        ({"a/i.m3u8": playlist("0.ts")}, ["a/i.m3u8"], "corrupt", False),
    ],
    ids=["gone", "no-segments", "just-begun", "not-a-playlist", "corrupt"],
)
def test_reasons(
    in_world: Callable, files: dict[str, bytes], paths: list[str], reason: str, retryable: bool
) -> None:
    error = refused(in_world, files, *((path, {}) for path in paths))
    assert (error.reason, error.retryable) == (reason, retryable)


def test_a_server_that_fails_is_no_reason_to_take_another_rendition(in_world: Callable) -> None:
    async def scenario(here: World) -> None:
        urls = ("failing/i.m3u8", "360p30/index-dvr.m3u8")
        await opened(here, *(rendition(here.server.url(url), 108 + n) for n, url in enumerate(urls)))

    with pytest.raises(FetchError, match="503"):
        in_world(whole("360p30", 5), scenario)


def test_a_clip_takes_the_next_file_too(in_world: Callable) -> None:
    movie = encode("mp4", {"movflags": "faststart"}, 5, seed=3)
    files = {"360/index.mp4": movie, "720/index.mp4": b"\x00\x00\x00\x10ftypisom" + bytes(2000)}

    def scenario(here: World) -> Any:
        urls = ("refused/index.mp4", "720/index.mp4", "360/index.mp4")
        offers = [rendition(here.server.url(url), 720 + n, codecs="") for n, url in enumerate(urls)]
        return opened(here, *(replace(offer, width=None) for offer in offers), source=clip())

    opening = in_world(files, scenario)
    assert opening.rendition == "360"
    assert len(opening.located) == 5
    assert_shows(opening.located[0.0], movie)
