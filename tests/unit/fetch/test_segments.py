"""Segment heads over real HTTP: right pictures, few requests, no byte twice, whatever the server does."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from harvester.errors import FetchError, MediaError
from harvester.fetch.heads import HeadSizes
from harvester.fetch.segments import MAX_INIT_BYTES, SegmentReader
from harvester.media import fmp4 as fmp4_parser
from harvester.media.mpegts import first_access_unit
from harvester.model import ByteRange, InitSection, Segment
from harvester.stats import RequestKind


def segment(url: str, number: int = 0, **more) -> Segment:
    return Segment(url, start_s=10.0 * number, duration_s=10.0, **more)


def expected(data: bytes) -> bytes:
    return first_access_unit(data, complete=True).data


def ts_files(folder: str, segments: list[bytes]) -> dict[str, bytes]:
    return {f"{folder}/{i}.ts": data for i, data in enumerate(segments)}


def test_heads_are_the_right_pictures_and_a_fraction_of_the_bytes(in_world, ts_segments, rendition):
    async def scenario(here):
        reader = SegmentReader(here.transport, rendition, HeadSizes())
        for i, data in enumerate(ts_segments):
            unit = await reader.read(segment(here.server.url(f"vod/{i}.ts"), i))
            assert unit.data == expected(data)
            assert unit.moment_s >= 0
        return here

    here = in_world(ts_files("vod", ts_segments), scenario)
    units = sum(len(expected(data)) for data in ts_segments)
    after_first = sum(n for path, _, n in here.server.log if path != "vod/0.ts")
    assert after_first < 1.6 * units
    assert here.server.sent < sum(map(len, ts_segments)) / 5
    assert here.traffic.requests[RequestKind.MEDIA] == len(here.server.log) <= 8
    assert here.traffic.bytes[RequestKind.MEDIA] == here.server.sent


class Stingy(HeadSizes):
    """Estimates that are always too small."""

    def __init__(self, first: int = 400) -> None:
        super().__init__()
        self.first = first

    def source(self, rendition):
        sizes = super().source(rendition)
        sizes.first_ask = lambda moment_s: self.first
        sizes.next_ask = lambda moment_s, held: held + 700
        return sizes


def test_after_a_miss_only_what_is_missing_is_fetched(in_world, ts_segments, rendition):
    async def scenario(here):
        unit = await SegmentReader(here.transport, rendition, Stingy()).read(segment(here.server.url("vod/0.ts")))
        assert unit.data == expected(ts_segments[0])
        return here.server

    server = in_world(ts_files("vod", ts_segments), scenario)
    held = 0
    for _, first, sent in server.log:
        assert first == held
        held += sent
    assert 3 <= len(server.log) <= 7  # 400, 1100, then at least twice as much each time
    assert held < 3 * len(expected(ts_segments[0]))


def test_the_very_first_head_goes_alone_then_many_run_at_once(in_world, ts_segments, rendition):
    async def scenario(here):
        reader = SegmentReader(here.transport, rendition, HeadSizes())
        reads = [reader.read(segment(here.server.url(f"vod/{i}.ts"), i)) for i in range(18)]
        await asyncio.gather(*reads)
        return here.server

    server = in_world(ts_files("vod", 3 * ts_segments), scenario)
    assert server.log[0][0] == "vod/0.ts"
    second = next(i for i, (path, _, _) in enumerate(server.log) if path != "vod/0.ts")
    assert all(path != "vod/0.ts" for path, _, _ in server.log[second:])
    assert server.most_in_flight > 1


def test_a_failing_first_head_does_not_block_the_others(in_world, ts_segments, rendition):
    async def scenario(here):
        reader = SegmentReader(here.transport, rendition, HeadSizes())
        names = ["gone/0.ts", "vod/1.ts", "vod/2.ts"]
        reads = [reader.read(segment(here.server.url(name))) for name in names]
        return await asyncio.gather(*reads, return_exceptions=True)

    failed, *units = in_world(ts_files("vod", ts_segments), scenario)
    assert isinstance(failed, FetchError)
    assert failed.status == 404
    assert [unit.data for unit in units] == [expected(data) for data in ts_segments[1:3]]


@pytest.mark.parametrize("folder", ["norange", "nototal", "broken", "stream"])
def test_servers_that_misbehave(in_world, ts_segments, rendition, folder):
    async def scenario(here):
        reader = SegmentReader(here.transport, rendition, Stingy() if folder == "nototal" else HeadSizes())
        return [(await reader.read(segment(here.server.url(f"{folder}/{i}.ts"), i))).data for i in range(3)]

    assert in_world(ts_files(folder, ts_segments), scenario) == [expected(data) for data in ts_segments[:3]]


def test_a_segment_that_is_part_of_a_file(in_world, ts_segments, rendition):
    whole = b"".join(ts_segments)
    starts = [sum(map(len, ts_segments[:i])) for i in range(len(ts_segments))]

    async def scenario(here):
        reader = SegmentReader(here.transport, rendition, HeadSizes())
        for i, data in enumerate(ts_segments):
            part = ByteRange(starts[i], len(data))
            unit = await reader.read(segment(here.server.url("vod/all.ts"), i, byte_range=part))
            assert unit.data == expected(data)
        return here.server

    server = in_world({"vod/all.ts": whole}, scenario)
    for _, first, sent in server.log:
        begin = max(start for start in starts if start <= first)
        assert first + sent <= begin + len(ts_segments[starts.index(begin)])


def test_a_head_never_leaves_its_byte_range(in_world, ts_segments, rendition):
    """A window that ends inside the picture: the bytes behind it belong to someone else."""
    window = ByteRange(188, 188 * 12)
    cut = ts_segments[0][188 : 188 * 13]

    async def scenario(here):
        reader = SegmentReader(here.transport, rendition, HeadSizes())
        unit = await reader.read(segment(here.server.url("vod/0.ts"), byte_range=window))
        assert unit.data == expected(cut)
        return here.server.sent

    assert in_world(ts_files("vod", ts_segments), scenario) == window.length


@pytest.mark.parametrize("folder", ["vod", "norange"])
def test_a_truncated_segment_is_an_error(in_world, fmp4, rendition, folder):
    init, segments = fmp4
    unit = fmp4_parser.first_access_unit(fmp4_parser.parse_init(init), segments[0], complete=True)
    files = {"vod/init.mp4": init, f"{folder}/0.mp4": segments[0][: unit.head_bytes - 1]}

    async def scenario(here):
        with pytest.raises(MediaError) as caught:
            reader = SegmentReader(here.transport, rendition, Stingy())
            section = InitSection(here.server.url("vod/init.mp4"))
            await reader.read(segment(here.server.url(f"{folder}/0.mp4"), init=section))
        return caught.value.reason

    assert in_world(files, scenario) == "truncated"


def test_the_end_of_a_segment_whose_length_is_never_told(in_world, ts_segments, rendition):
    """The server says neither how long it is nor that a range was the last: asking on gets a 416."""
    cut = ts_segments[0][: 188 * 12]

    async def scenario(here):
        reader = SegmentReader(here.transport, rendition, Stingy(len(cut)))
        unit = await reader.read(segment(here.server.url("nototal/0.ts")))
        assert unit.data == expected(cut)
        return here.server.log

    assert in_world({"nototal/0.ts": cut}, scenario) == [
        ("nototal/0.ts", 0, len(cut)),
        ("nototal/0.ts", len(cut), 0),
    ]


def test_a_body_that_ends_early_was_all_there_is(in_world, ts_segments, rendition):
    cut = ts_segments[0][: 188 * 12]

    async def scenario(here):
        reader = SegmentReader(here.transport, rendition, Stingy(len(cut) + 1))
        unit = await reader.read(segment(here.server.url("stream/0.ts")))
        assert unit.data == expected(cut)
        return len(here.server.log)

    assert in_world({"stream/0.ts": cut}, scenario) == 1


def test_a_single_frame_that_ends_with_its_segment(in_world, ts_segments, rendition):
    """Nothing follows the picture, so only the end of the segment proves it complete."""
    unit = first_access_unit(ts_segments[0], complete=True)
    only = ts_segments[0][: unit.head_bytes - 188]  # without the packet that begins the next picture

    async def scenario(here):
        reader = SegmentReader(here.transport, rendition, Stingy())
        return (await reader.read(segment(here.server.url("vod/0.ts")))).data

    assert in_world({"vod/0.ts": only}, scenario) == unit.data


@pytest.mark.parametrize("page", [b"<html>sorry</html>" * 5000, b'\xef\xbb\xbf {"error": "later"}'])
def test_a_page_instead_of_a_segment_is_a_passing_fault_and_tried_again(in_world, rendition, page):
    async def scenario(here):
        with pytest.raises(FetchError) as caught:
            reader = SegmentReader(here.transport, rendition, HeadSizes())
            await reader.read(segment(here.server.url("vod/0.ts")))
        return caught.value.reason, caught.value.retryable, len(here.server.log)

    reason, retryable, requests = in_world({"vod/0.ts": page}, scenario)
    assert (reason, retryable) == ("foreign-body", True)
    assert requests > 1


@pytest.mark.parametrize("query", ["", "?start_offset=7"])
def test_unmuted_segments_that_are_refused_are_read_muted(in_world, ts_segments, rendition, query):
    files = {f"vod/{i}-muted.ts": data for i, data in enumerate(ts_segments)}

    async def scenario(here):
        reader = SegmentReader(here.transport, rendition, HeadSizes())
        for i in range(4):
            unit = await reader.read(segment(here.server.url(f"vod/{i}-unmuted.ts{query}"), i))
            assert unit.data == expected(ts_segments[i])
        return [path for path, _, n in here.server.log if not n]

    refused = in_world(files, scenario)
    assert refused == ["vod/0-unmuted.ts"]  # learnt by the first


def test_unmuted_segments_that_are_served_after_all(in_world, ts_segments, rendition):
    files = {"vod/0-muted.ts": ts_segments[0], "vod/1-unmuted.ts": ts_segments[1]}

    async def scenario(here):
        reader = SegmentReader(here.transport, rendition, HeadSizes())
        return [
            (await reader.read(segment(here.server.url(f"vod/{i}-unmuted.ts")))).data for i in range(2)
        ]  # fmt: skip

    assert in_world(files, scenario) == [expected(data) for data in ts_segments[:2]]


def test_other_refusals_are_final(in_world, ts_segments, rendition):
    async def scenario(here):
        reader = SegmentReader(here.transport, rendition, HeadSizes())
        with pytest.raises(FetchError) as caught:
            await reader.read(segment(here.server.url("refused/0.ts")))
        assert caught.value.status == 403
        with pytest.raises(FetchError):
            await reader.read(segment(here.server.url("gone/0-unmuted.ts")))
        with pytest.raises(FetchError) as caught:  # trouble of the server says nothing about the name
            await reader.read(segment(here.server.url("failing/0-unmuted.ts")))
        assert caught.value.status == 503
        return [path for path, _, _ in here.server.log]

    paths = ["refused/0.ts", "gone/0-unmuted.ts", "gone/0-muted.ts", *["failing/0-unmuted.ts"] * 2]
    assert in_world({}, scenario) == paths


def fmp4_files(fmp4, folder: str = "vod") -> dict[str, bytes]:
    init, segments = fmp4
    return {f"{folder}/init.mp4": init} | {f"{folder}/{i}.mp4": data for i, data in enumerate(segments)}


def fmp4_expected(fmp4, i: int) -> bytes:
    init, segments = fmp4
    return fmp4_parser.first_access_unit(fmp4_parser.parse_init(init), segments[i], complete=True).data


@pytest.mark.parametrize("heads", [HeadSizes, Stingy])
def test_fragmented_mp4_reads_its_init_section_once(in_world, fmp4, rendition, heads):
    async def scenario(here):
        reader = SegmentReader(here.transport, rendition, heads())
        init = InitSection(here.server.url("vod/init.mp4"))
        reads = [reader.read(segment(here.server.url(f"vod/{i}.mp4"), i, init=init)) for i in range(3)]
        units = await asyncio.gather(*reads)
        assert [unit.data for unit in units] == [fmp4_expected(fmp4, i) for i in range(3)]
        return here.server

    server = in_world(fmp4_files(fmp4), scenario)
    paths = [path for path, _, _ in server.log]
    assert paths.count("vod/init.mp4") == 1
    if heads is Stingy:  # a miss is exact: to the end of the moof box, then to the end of the picture
        sizes = {path: sum(n for p, _, n in server.log if p == path) for path in paths}
        for i in range(3):
            init, data = fmp4[0], fmp4[1][i]
            unit = fmp4_parser.first_access_unit(fmp4_parser.parse_init(init), data, complete=True)
            assert sizes[f"vod/{i}.mp4"] == unit.head_bytes
            assert paths.count(f"vod/{i}.mp4") <= 3


def test_an_init_section_inside_a_file_and_one_after_a_reconnect(in_world, fmp4, rendition):
    init, segments = fmp4
    files = fmp4_files(fmp4) | {"vod/all.mp4": b"\0" * 50 + init + segments[0]}

    async def scenario(here):
        reader = SegmentReader(here.transport, rendition, HeadSizes())
        inside = InitSection(here.server.url("vod/all.mp4"), ByteRange(50, len(init)))
        part = ByteRange(50 + len(init), len(segments[0]))
        first = await reader.read(segment(here.server.url("vod/all.mp4"), byte_range=part, init=inside))
        other = InitSection(here.server.url("vod/init.mp4"))
        second = await reader.read(segment(here.server.url("vod/1.mp4"), 1, init=other))
        return [first.data, second.data]

    assert in_world(files, scenario) == [fmp4_expected(fmp4, 0), fmp4_expected(fmp4, 1)]


def test_a_missing_or_huge_init_section(in_world, fmp4, rendition):
    async def scenario(here):
        reader = SegmentReader(here.transport, rendition, HeadSizes())
        item = segment(here.server.url("vod/0.mp4"), init=InitSection(here.server.url("gone/init.mp4")))
        with pytest.raises(FetchError) as refused:
            await reader.read(item)
        huge = InitSection(here.server.url("vod/init.mp4"), ByteRange(0, MAX_INIT_BYTES + 1))
        with pytest.raises(MediaError) as too_large:
            await reader.read(replace(item, init=huge))
        return refused.value.status, too_large.value.reason

    assert in_world(fmp4_files(fmp4), scenario) == (404, "too-large")


def test_transport_stream_behind_a_left_over_init_section(in_world, fmp4, ts_segments, rendition):
    async def scenario(here):
        reader = SegmentReader(here.transport, rendition, HeadSizes())
        init = InitSection(here.server.url("vod/init.mp4"))
        unit = await reader.read(segment(here.server.url("vod/0.ts"), init=init))
        assert unit.data == expected(ts_segments[0])
        return {path for path, _, _ in here.server.log}

    assert in_world(fmp4_files(fmp4) | ts_files("vod", ts_segments), scenario) == {"vod/0.ts"}


def test_a_head_has_an_upper_bound(in_world, ts_segments, rendition, monkeypatch):
    """A segment that never completes a picture is given up, not swallowed."""
    monkeypatch.setattr("harvester.fetch.segments.MAX_HEAD_BYTES", 188 * 16)

    async def scenario(here):
        reader = SegmentReader(here.transport, rendition, Stingy())
        with pytest.raises(MediaError) as caught:
            await reader.read(segment(here.server.url("vod/0.ts")))
        return caught.value.reason, here.server.sent

    assert in_world(ts_files("vod", ts_segments), scenario) == ("too-large", 188 * 16)
