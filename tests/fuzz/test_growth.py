"""Inputs made of ten times as much of the same cost about ten times the work: nothing grows with the square.

Work is counted in Python byte codes, so the result does not depend on the machine.
"""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import FrameType, SimpleNamespace
from typing import Any

import pytest

from harvester.decode import annexb
from harvester.errors import HarvesterError, MediaError
from harvester.media import av1, fmp4, h264, mp4, mpegts
from harvester.media.bitstream import length_prefixed
from harvester.media.boxes import Container
from harvester.media.fragments import FragmentReader
from harvester.media.movie import MAX_PARAMETER_SETS
from harvester.media.pictures import PictureScan, nal_units, syntax_for
from harvester.media.transport_stream import MAX_TABLE_PACKETS
from harvester.model import Codec
from harvester.sampling.playlist import parse_media_playlist
from harvester.stats import RequestKind
from harvester.twitch.diagnosis import Said, clip_answer
from harvester.twitch.offers import clip_renditions
from harvester.twitch.paging import Paging
from tests.fuzz.media import clip_reading, clips, headers, inits, segment_reading
from tests.fuzz.runner import measured, watchdog
from tests.fuzz.text import BASE
from tests.unit.media.box_editor import find_box, replace_box
from tests.unit.media.ts_writer import Writer, section

#: More than the caches of the standard library hold (128 of urllib), so that both runs find them of no use.
FEW, TIMES = 150, 10
#: A square would be TIMES times this over.
ALLOWED = 2


def work(call: Callable[[], object]) -> int:
    """Byte codes executed by ``call``, which may end with an error of ours."""
    count = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with suppress(HarvesterError):
            call()
    finally:
        sys.settrace(before)
    return count


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


def _stream(codec: Codec, nal: bytes, count: int) -> object:
    """Parameter sets, then ``count`` times the same NAL unit."""
    data = b"".join(b"\0\0\1" + each for each in (*headers(codec)[:6], *[nal] * count))
    return list(PictureScan(data, syntax_for(codec), closed=True))


def _slice(codec: Codec) -> bytes:
    syntax = syntax_for(codec)
    return next(nal for nal in headers(codec) if syntax.role(nal[:2]).name == "SLICE")


def hevc_slices(count: int) -> object:
    """One picture of many slices: none of them is its first."""
    first = _slice(Codec.HEVC)
    return _stream(Codec.HEVC, bytes([*first[:2], first[2] & 0x7F, *first[3:12]]), count)


def h264_slices(count: int) -> object:
    return _stream(Codec.H264, _slice(Codec.H264)[:12], count)


def start_codes(count: int) -> object:
    return list(nal_units(b"\0\0\1" * count, closed=True))


def fragments(count: int) -> object:
    """Fragments whose media data all lies behind the last of them."""
    tfhd = box(b"tfhd", struct.pack(">IIQ", 1, 1, 64))
    trun = box(b"trun", struct.pack(">II", 0, 1))
    moof = box(b"moof", box(b"traf", tfhd + trun))
    return list(FragmentReader(moof * count + box(b"mdat", b""), 1, {}))


def boxes(count: int) -> object:
    return list(Container(box(b"free", b"") * count).boxes())


def top_boxes(count: int) -> object:
    return mp4.parse_index(box(b"free", b"") * count + box(b"mdat", b"x"), total_bytes=None)


def samples(count: int) -> object:
    return list(length_prefixed(b"\0\0\0\1x" * count, 4))


def obus(count: int) -> object:
    return list(av1.obus(b"\x12\x00" * count))


def sei_messages(count: int) -> object:
    return h264.recovery_frame_count(b"\x06" + b"\x05\x01x" * count)


def program_maps(count: int) -> object:
    """Tables that name no video, over and over."""
    writer = Writer(stream_type=0x0F)
    for _ in range(count):
        writer.tables()
    return mpegts.first_access_unit(writer.data, complete=True)


def tiny_sections(count: int) -> object:
    writer = Writer()
    for _ in range(count):
        writer.section_packets(0, section(0x70, 1, b"") * 14)
    return mpegts.first_access_unit(writer.data, complete=True)


def extinf(count: int) -> object:
    return parse_media_playlist("#EXTM3U\n" + "#EXTINF:10,\n0.ts\n" * count, BASE)


def maps(count: int) -> object:
    text = "".join(f'#EXT-X-MAP:URI="{n}.mp4",BYTERANGE="9@{n}"\n#EXTINF:2,\n../{n}.mp4\n' for n in range(count))
    return parse_media_playlist("#EXTM3U\n" + text, BASE)


def clip_files(count: int) -> object:
    """Files that streamlink signed, each listed by an asset too."""
    listed = [{"sourceURL": f"https://a.tv/{n}.mp4", "quality": "720"} for n in range(count)]
    answer = {"data": {"clip": {"videoQualities": listed, "assets": [{"videoQualities": listed}]}}}
    streams = {str(n): SimpleNamespace(url=each["sourceURL"]) for n, each in enumerate(listed)}
    return clip_renditions(streams, clip_answer([Said(RequestKind.GQL, 200, json.dumps(answer).encode())]))


def page(count: int) -> object:
    return Paging(count).take({"data": [{"id": str(n)} for n in range(count)]})


GROWING = [
    *(hevc_slices, h264_slices, start_codes, fragments, boxes, top_boxes, samples, obus, sei_messages),
    *(program_maps, tiny_sections, extinf, maps, clip_files, page),
]


HUGE: dict[str, tuple[Callable[[], bytes], Callable[[bytes], object]]] = {
    "start codes": (lambda: b"\0\0\1" * 5_600_000, lambda data: list(nal_units(data, closed=True))),
    "start codes to decode": (
        lambda: b"\0\0\1" * 5_600_000,
        lambda data: annexb.check_parameter_sets(Codec.H264, data),
    ),
    "zeros": (lambda: bytes(16 << 20), lambda data: list(nal_units(data, closed=True))),
    "an SEI of empty messages": (lambda: b"\x06" + b"\x07\0" * 8_000_000, h264.recovery_frame_count),
    "a parameter set": (lambda: b"\x67" + b"\x42" * (16 << 20), h264.parse_sps),
    "boxes": (lambda: box(b"free", b"") * 2_000_000, lambda data: list(Container(data).boxes())),
    "boxes in front": (
        lambda: box(b"free", b"") * 2_000_000,
        lambda data: mp4.parse_index(data, total_bytes=None),
    ),
    "tracks": (
        lambda: box(b"ftyp", b"") + box(b"moov", box(b"mvhd", bytes(100)) + _sound_track() * 10_000),
        lambda data: mp4.parse_index(data, total_bytes=None),
    ),
    "NAL units of a sample": (lambda: b"\0\0\0\1x" * 3_000_000, lambda data: list(length_prefixed(data, 4))),
    "OBUs": (lambda: b"\x12\0" * 8_000_000, lambda data: list(av1.obus(data))),
    "packets of no program": (
        lambda: (b"\x47\x40\0\x10\0" + b"\x70\0\0" * 61) * 89_000,
        lambda data: mpegts.first_access_unit(data, complete=True),
    ),
    "EXTINF": (lambda: b"#EXTM3U\n" + b"#EXTINF:1,\na.b\n" * 1_000_000, lambda data: _playlist(data)),
    "lines": (lambda: b"#EXTM3U\n" + b"#\n" * 4_000_000, lambda data: _playlist(data)),
    "attributes": (
        lambda: b"#EXTM3U\n" + (b'#EXT-X-MAP:URI="a"' + b",A=" * 2700 + b"\n") * 500,
        lambda data: _playlist(data),
    ),
    "no playlist": (lambda: b"\xe2\x80\xae" * 1_400_000, lambda data: _playlist(data)),
}


def _playlist(data: bytes) -> object:
    return parse_media_playlist(data.decode("utf-8", "replace"), BASE)


def _sound_track() -> bytes:
    hdlr = box(b"hdlr", bytes(8) + b"soun")
    return box(b"trak", box(b"free", b"") * 20 + box(b"mdia", box(b"free", b"") * 20 + hdlr))


@pytest.mark.long
@pytest.mark.parametrize("name", HUGE)
def test_millions_of_next_to_nothing(name: str) -> None:
    """16 MiB of the smallest pieces: an answer or a refusal, in the memory that an input of that size may take."""
    build, read = HUGE[name]
    data = build()
    with suppress(HarvesterError), watchdog():
        assert measured(read, data) <= 1


def test_requests_of_a_segment_are_bounded() -> None:
    """A fragment a frame and no keyframe for long: each tells only where the next one begins."""
    no_sync = struct.pack(">IIII", 0x200, 1, 100, 0)
    tfhd = box(b"tfhd", struct.pack(">III", 0x20020, 1, 0x1_0000))
    frame = box(b"moof", box(b"traf", tfhd + box(b"trun", no_sync))) + box(b"mdat", bytes(400))
    with segment_reading() as read, pytest.raises(MediaError):
        read(inits()[0] + frame * 4000)


def test_requests_of_a_clip_are_bounded() -> None:
    with clip_reading() as read:
        assert read(clips()[0][:32] + box(b"free", bytes(5000)) * 800 + clips()[3][32:])


def test_slice_segments_are_bounded() -> None:
    """Each gets 8 kB of padding: 100 kB of them must not become a gigabyte."""
    with pytest.raises(MediaError):
        measured(annexb.with_slice_ends, b"\0\0\1\x02\x01\x80" * (annexb.MAX_SLICES + 1))
    assert annexb.with_slice_ends(b"\0\0\1\x02\x01\x80" * annexb.MAX_SLICES)


def test_messages_of_an_sei_are_bounded() -> None:
    recovery_point = b"\x06\x01\xc0\x80"
    assert h264.recovery_frame_count(b"\x06" + b"\x05\0" * (h264.MAX_SEI_MESSAGES - 1) + recovery_point) == 0
    assert h264.recovery_frame_count(b"\x06" + b"\x05\0" * h264.MAX_SEI_MESSAGES + recovery_point) is None


@pytest.mark.parametrize(
    ("empty", "reason"), [(MAX_TABLE_PACKETS - 1, "no-video"), (MAX_TABLE_PACKETS, "corrupt")]
)
def test_packets_of_a_table_are_bounded(empty: int, reason: str) -> None:
    """Behind too many without an intact table, the one that names a program of sound is not found."""
    writer = Writer(stream_type=0x0F)
    for _ in range(empty):
        writer.section_packets(0, b"")
    writer.tables()
    with pytest.raises(MediaError) as refused:
        mpegts.first_access_unit(writer.data, complete=True)
    assert refused.value.reason == reason


def test_parameter_sets_are_bounded() -> None:
    """Every sample teaches them anew."""
    path = [b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd"]
    stsd = find_box(clips()[1], path)
    config = find_box(stsd[94:], [b"hvcC"])
    for count, good in ((MAX_PARAMETER_SETS, True), (MAX_PARAMETER_SETS + 1, False)):
        sets = bytes([1, 34]) + struct.pack(">H", count) + b"\0\3\x44\1\xc0" * count
        entry = stsd[16:94] + box(b"hvcC", config[:22] + sets)
        init = replace_box(clips()[1], path, stsd[:8] + box(b"hvc1", entry))
        if good:
            assert len(fmp4.parse_init(init).parameter_sets) == count
        else:
            with pytest.raises(MediaError, match="parameter sets"):
                fmp4.parse_init(init)


@pytest.mark.parametrize("build", GROWING, ids=lambda build: build.__name__)
def test_work_grows_with_the_input(build: Callable[[int], object]) -> None:
    work(partial(build, FEW))  # encoders and caches are not what is counted
    little, much = (work(partial(build, count)) for count in (FEW, TIMES * FEW))
    assert little < much < ALLOWED * TIMES * little


def test_counting_sees_a_square() -> None:
    def square(count: int) -> object:
        return [a for a in range(count) for b in range(count)]

    assert work(partial(square, TIMES * FEW)) > 5 * TIMES * work(partial(square, FEW))
