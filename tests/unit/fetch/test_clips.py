"""Clips over real HTTP: index once, keyframes by their ranges, neighbours together."""

from __future__ import annotations

import asyncio
import io
from itertools import pairwise

import av
import pytest

from harvester.errors import FetchError, MediaError
from harvester.fetch import clips
from harvester.fetch.clips import ClipReader
from harvester.fetch.heads import HeadSizes
from harvester.media.mp4 import parse_index
from harvester.stats import RequestKind


def packets(data: bytes) -> list[tuple[float, int, int]]:
    """Oracle: (presentation time, position, size) of the keyframes, by libavformat."""
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.video[0]
        found = [p for p in container.demux(stream) if p.size and p.is_keyframe]
        return [(float(p.pts * p.time_base), p.pos, p.size) for p in found]


def pictures(units) -> list[bytes]:
    """Luma of each access unit, decoded by itself."""
    planes = []
    for unit in units:
        decoder = av.CodecContext.create("h264", "r")
        frames = decoder.decode(av.Packet(unit.data)) + decoder.decode(None)
        planes.append(frames[0].to_ndarray(format="gray").tobytes())
    return planes


def oracle_pictures(data: bytes) -> list[bytes]:
    with av.open(io.BytesIO(data)) as container:
        frames = list(container.decode(video=0))
        return [frame.to_ndarray(format="gray").tobytes() for frame in frames if frame.key_frame]


async def open_clip(
    here, path: str = "clips/a.mp4", *, heads: HeadSizes | None = None, duration_s=2.5
) -> ClipReader:
    return await ClipReader.open(
        here.transport, here.server.url(path), duration_s=duration_s, heads=heads or HeadSizes()
    )


class Guess(HeadSizes):
    """An index guess of so many bytes."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.indexes.ask = lambda duration_s: size


@pytest.mark.parametrize("guess", [40, 300, 1400, 8000])
@pytest.mark.parametrize("file", ["clip", "clip_index_last"])
def test_every_keyframe_is_the_right_picture(in_world, request, file, guess):
    data = request.getfixturevalue(file)

    async def scenario(here):
        reader = await open_clip(here, heads=Guess(guess))
        opened = len(here.server.log)
        reader.choose(range(len(reader.keyframes)))
        units = await asyncio.gather(*(reader.read(i) for i in range(len(reader.keyframes))))
        return reader, units, opened, here.server

    reader, units, opened, server = in_world({"clips/a.mp4": data}, scenario)
    expected = packets(data)
    assert [(k.byte_range.start, k.byte_range.length) for k in reader.keyframes] == [
        (p, s) for _, p, s in expected
    ]
    assert pictures(units) == oracle_pictures(data)
    assert [unit.moment_s for unit in units] == pytest.approx([moment for moment, _, _ in expected], abs=0.05)
    assert opened <= 4
    assert len(server.log) <= opened + len(units)
    once = sorted((first, first + sent) for _, first, sent in server.log)
    if file == "clip":  # no byte twice
        assert all(end <= begin for (_, end), (begin, _) in pairwise(once))


def test_the_index_guess_follows_earlier_clips(in_world, clip):
    async def scenario(here):
        heads = HeadSizes()
        begin = min(position for _, position, _ in packets(clip))
        heads.indexes.ask(2.5)
        for i in range(3):
            await open_clip(here, heads=heads)
            assert here.server.log[-1][2] <= 1.1 * begin + 200 or i == 0
        return len(here.server.log)

    assert in_world({"clips/a.mp4": clip}, scenario) <= 4


def test_what_came_with_the_index_is_not_fetched_again(in_world, clip):
    first = packets(clip)[0]

    async def scenario(here):
        reader = await open_clip(here, heads=Guess(first[1] + first[2]))
        reader.choose([0])
        await reader.read(0)
        return len(here.server.log)

    assert in_world({"clips/a.mp4": clip}, scenario) == 1


def test_a_keyframe_held_in_part_is_completed(in_world, clip):
    _, position, size = packets(clip)[0]

    async def scenario(here):
        reader = await open_clip(here, heads=Guess(position + size // 2))
        reader.choose([0])
        await reader.read(0)
        return here.server.log

    *_, last = in_world({"clips/a.mp4": clip}, scenario)
    assert last == ("clips/a.mp4", position + size // 2, size - size // 2)


def chosen(in_world, data: bytes, items: list[int]):
    async def scenario(here):
        reader = await open_clip(here, heads=Guess(1))
        opened = len(here.server.log)
        reader.choose(items)
        units = await asyncio.gather(*(reader.read(i) for i in items))
        return units, [(first, n) for _, first, n in here.server.log[opened:]], here.traffic

    return in_world({"clips/a.mp4": data}, scenario)


def test_keyframes_far_apart_are_fetched_alone_and_exactly(in_world, clip):
    _, requests, traffic = chosen(in_world, clip, [1, 3])
    expected = packets(clip)
    assert sorted(requests) == [expected[1][1:], expected[3][1:]]
    assert traffic.requests[RequestKind.MEDIA] >= 3


def test_neighbours_share_a_request(in_world, clip, monkeypatch):
    monkeypatch.setattr(clips, "MERGED_GAP", 100.0)
    units, requests, _ = chosen(in_world, clip, [3, 1, 2])
    expected = packets(clip)
    assert requests == [(expected[1][1], expected[3][1] + expected[3][2] - expected[1][1])]
    every = oracle_pictures(clip)
    assert pictures(units) == [every[3], every[1], every[2]]


def test_merged_requests_are_bounded(in_world, clip, monkeypatch):
    monkeypatch.setattr(clips, "MERGED_GAP", 100.0)
    expected = packets(clip)
    two = expected[2][1] + expected[2][2] - expected[1][1]
    monkeypatch.setattr(clips, "MAX_RUN_BYTES", two)
    _, requests, _ = chosen(in_world, clip, [1, 2, 3, 4])
    assert len(requests) == 2
    assert max(n for _, n in requests) <= two


def test_reading_again_or_what_was_not_chosen_still_works(in_world, clip):
    async def scenario(here):
        reader = await open_clip(here)
        reader.choose([1])
        return [(await reader.read(i)).data for i in (1, 1, 2)]

    first, again, other = in_world({"clips/a.mp4": clip}, scenario)
    assert first == again != other


def test_a_failed_shared_request_can_be_tried_again(in_world, clip):
    async def scenario(here):
        reader = await open_clip(here, heads=Guess(1))
        reader.choose([1])
        kept = here.server.files.pop("clips/a.mp4")
        with pytest.raises(FetchError):
            await reader.read(1)
        here.server.files["clips/a.mp4"] = kept
        return await reader.read(1)

    assert in_world({"clips/a.mp4": clip}, scenario).data


@pytest.mark.parametrize("folder", ["norange", "nototal", "broken"])
def test_servers_that_misbehave(in_world, clip, folder):
    async def scenario(here):
        reader = await open_clip(here, f"{folder}/a.mp4")
        reader.choose([0, 2, 4])
        return [await reader.read(i) for i in (0, 2, 4)]

    every = oracle_pictures(clip)
    assert pictures(in_world({f"{folder}/a.mp4": clip}, scenario)) == [every[0], every[2], every[4]]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: data[:900], "truncated"),
        (lambda data: data[: len(data) // 2], "truncated"),
        (lambda data: b"\0\0\0\2free" * 500, "corrupt"),
    ],
)
def test_broken_files(in_world, clip, change, reason):
    async def scenario(here):
        with pytest.raises(MediaError) as caught:
            await open_clip(here)
        return caught.value.reason

    assert in_world({"clips/a.mp4": change(clip)}, scenario) == reason


def test_a_portrait_clip_is_refused(in_world, clip):
    index = parse_index(clip, total_bytes=len(clip))

    async def scenario(here):
        with pytest.raises(MediaError) as caught:
            await open_clip(here)
        return caught.value.reason

    from tests.unit.fetch.conftest import encode

    assert index.width > index.height
    portrait = encode("mp4", {"movflags": "faststart"}, 1, size=(96, 160))
    assert in_world({"clips/a.mp4": portrait}, scenario) == "portrait"


def test_the_index_has_an_upper_bound(in_world, clip, monkeypatch):
    monkeypatch.setattr(clips, "MAX_INDEX_BYTES", 600)

    async def scenario(here):
        with pytest.raises(MediaError) as caught:
            await open_clip(here, heads=Guess(100))
        return caught.value.reason, here.server.sent

    reason, sent = in_world({"clips/a.mp4": clip}, scenario)
    assert (reason, sent) == ("too-large", 600)


def test_a_clip_that_is_gone(in_world):
    async def scenario(here):
        with pytest.raises(FetchError) as caught:
            await open_clip(here, "gone/a.mp4")
        return caught.value.status

    assert in_world({}, scenario) == 404
