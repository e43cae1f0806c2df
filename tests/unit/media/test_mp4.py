"""Indexes of plain MP4 files against PyAV's demuxer and decoder."""

from __future__ import annotations

import io
import struct

import av
import pytest

from harvester.errors import MediaError, NeedMoreData
from harvester.media import mp4
from tests.unit.media.box_editor import Part, find_box, parts, replace_box
from tests.unit.media.footage import Recipe, decode_alone, demux, make, times

CODECS = {"h264": "h264", "hevc": "hevc", "av1": "libdav1d"}


def recipe(codec: str = "libx264", flags: str = "faststart", **more: object) -> Recipe:
    muxer = (("movflags", flags),) if flags else ()
    return Recipe(codec=codec, container="mp4", muxer=muxer, **more)  # type: ignore[arg-type]


RECIPES = {
    "h264": recipe(),
    "h264 audio": recipe(audio="first", frames=30),
    "h264 open gop": recipe(params="open-gop=1"),
    "h264 negative offsets": recipe(flags="faststart+negative_cts_offsets"),
    "h264 all keys": recipe(gop=1, frames=6),
    "hevc audio": recipe("libx265", audio="last"),
    "av1": recipe("libsvtav1", frames=10),
}
STBL = [b"moov", b"trak", b"mdia", b"minf", b"stbl"]


def read(data: bytes) -> mp4.Mp4Index:
    return mp4.parse_index(data, total_bytes=len(data))


def bytes_of(data: bytes, index: mp4.Mp4Index, i: int) -> bytes:
    part = index.keyframes[i].byte_range
    return data[part.start : part.end]


@pytest.mark.parametrize("name", RECIPES)
def test_keyframes_are_those_of_pyav(name: str) -> None:
    data = make(RECIPES[name])
    index = read(data)
    oracle = demux(data)
    assert [key.moment_s for key in index.keyframes] == pytest.approx(times(data), abs=1e-6)
    assert (index.width, index.height) == (oracle.width, oracle.height)
    assert index.duration_s == pytest.approx(RECIPES[name].frames / 25, abs=0.05)
    for i in range(len(index.keyframes)):
        unit = index.access_unit(i, bytes_of(data, index, i))
        assert decode_alone(CODECS[unit.stream.codec.value], unit.data) == oracle.keys[i][1]
        assert (unit.moment_s, unit.head_bytes) == (index.keyframes[i].moment_s, 0)


def test_growing_heads_end_at_the_index() -> None:
    data = make(RECIPES["h264 audio"])
    length, asked = 0, []
    while True:
        try:
            index = mp4.parse_index(data[:length], total_bytes=None)
        except NeedMoreData as shortage:
            assert shortage.total_bytes is not None
            assert shortage.total_bytes > length
            length = shortage.total_bytes
            asked.append(length)
            continue
        break
    assert index.keyframes == read(data).keyframes
    boxes = parts(data)
    assert asked[-1] == sum(len(box.plain()) for box in boxes[: [b.kind for b in boxes].index(b"moov") + 1])
    for cut in range(asked[-1]):
        with pytest.raises(NeedMoreData):
            mp4.parse_index(data[:cut], total_bytes=len(data))


@pytest.mark.parametrize("known", [True, False])
def test_an_index_behind_the_media_data_is_found_elsewhere(known: bool) -> None:
    data = make(recipe(flags="", audio="first"))
    total = len(data) if known else None
    with pytest.raises(mp4.IndexElsewhere) as caught:
        mp4.parse_index(data[:500], total_bytes=total)
    start = caught.value.start
    assert data[start + 4 : start + 8] == b"moov"
    assert caught.value.length == (len(data) - start if known else None)
    with pytest.raises(NeedMoreData) as shortage:
        mp4.parse_index(data[start : start + 50], total_bytes=total, offset=start)
    needed = shortage.value.total_bytes
    assert needed is not None
    index = mp4.parse_index(data[start : start + needed], total_bytes=total, offset=start)
    assert [key.moment_s for key in index.keyframes] == pytest.approx(times(data), abs=1e-6)


def with_box(data: bytes, path: list[bytes], new: bytes | None) -> bytes:
    """The box replaced; the media data does not move as long as lengths stay, else chunk offsets are shifted."""
    changed = replace_box(data, path, new)
    by = len(changed) - len(data)
    if by and parts(data)[-1].kind == b"mdat":
        stco = find_box(changed, [*STBL, b"stco"])
        count = struct.unpack_from(">I", stco, 4)[0]
        offsets = [offset + by for offset in struct.unpack_from(f">{count}I", stco, 8)]
        changed = replace_box(changed, [*STBL, b"stco"], stco[:8] + struct.pack(f">{count}I", *offsets))
    return changed


def test_compact_sizes_wide_offsets_and_no_sync_table() -> None:
    """stz2 in 16 bits, co64, and no stss: every sample is a sync sample."""
    data = make(RECIPES["h264 all keys"])
    expected = read(data)
    assert len(expected.keyframes) == 6
    stsz = find_box(data, [*STBL, b"stsz"])
    count = struct.unpack_from(">I", stsz, 8)[0]
    sizes = struct.unpack_from(f">{count}I", stsz, 12)
    stz2 = Part(b"stz2", b"\x00" * 7 + b"\x10" + struct.pack(f">I{count}H", count, *sizes)).plain()
    stco = find_box(data, [*STBL, b"stco"])
    chunks = struct.unpack_from(">I", stco, 4)[0]
    body = b""
    for box in parts(find_box(data, STBL)):
        if box.kind == b"stsz":
            body += stz2
        elif box.kind == b"stco":
            offsets = struct.unpack_from(f">{chunks}I", stco, 8)
            body += Part(b"co64", stco[:8] + struct.pack(f">{chunks}Q", *offsets)).plain()
        elif box.kind != b"stss":
            body += box.plain()
    changed = replace_box(data, STBL, body)
    assert mp4.parse_index(changed, total_bytes=None).keyframes == expected.keyframes


def test_sizes_of_four_bits() -> None:
    """Built by hand: five samples of 1, 2, 3, 4, 5 bytes in two chunks of 3 and 2, all sync."""
    data = make(RECIPES["h264"])
    tables = {
        b"stsd": find_box(data, [*STBL, b"stsd"]),
        b"stts": struct.pack(">IIII", 0, 1, 5, 512),
        b"stsc": struct.pack(">IIIIIIII", 0, 2, 1, 3, 1, 2, 2, 1),
        b"stz2": b"\x00" * 7 + b"\x04" + struct.pack(">I", 5) + b"\x12\x34\x50",
        b"stco": struct.pack(">IIII", 0, 2, 1000, 2000),
    }
    changed = replace_box(data, STBL, b"".join(Part(kind, body).plain() for kind, body in tables.items()))
    changed = replace_box(changed, [b"moov", b"trak", b"edts"], None)
    index = mp4.parse_index(changed, total_bytes=None)
    places = [(key.byte_range.start, key.byte_range.length) for key in index.keyframes]
    assert places == [(1000, 1), (1001, 2), (1003, 3), (2000, 4), (2004, 5)]
    assert [key.moment_s for key in index.keyframes] == pytest.approx([i * 512 / 12800 for i in range(5)])


def edits(*rows: tuple[int, int]) -> bytes:
    return struct.pack(">II", 0, len(rows)) + b"".join(struct.pack(">IiHH", *row, 1, 0) for row in rows)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([(0, 0)], [0.08, 0.40, 0.72]),
        ([(800, 1024)], [0.0, 0.32, 0.64]),
        ([(500, -1), (800, 1024)], [0.5, 0.82, 1.14]),
        ([(800, 1024 + 4096)], [0.0, 0.32]),  # the first keyframe lies in front of the cut
        ([(100, 1024), (300, 1024 + 4096)], [0.0, 0.1]),
        ([(320, 1024)], [0.0]),  # half-open: the keyframe at 0.32 is not shown any more
    ],
)
def test_edit_lists(rows: list[tuple[int, int]], expected: list[float]) -> None:
    """Movie clock 1000 Hz, track clock 12800 Hz; keyframes 0.32 s apart, the first at 1024 ticks."""
    data = with_box(make(RECIPES["h264"]), [b"moov", b"trak", b"edts", b"elst"], edits(*rows))
    index = mp4.parse_index(data, total_bytes=None)
    assert [key.moment_s for key in index.keyframes] == pytest.approx(expected, abs=1e-9)


def test_several_sample_descriptions() -> None:
    data = make(RECIPES["h264"])
    stsd = find_box(data, [*STBL, b"stsd"])
    entries = stsd[8:]
    strange = Part(b"mp4v", b"\x00" * 78).plain()
    two = b"\x00\x00\x00\x00\x00\x00\x00\x02" + strange + entries
    changed = with_box(data, [*STBL, b"stsd"], two)
    with pytest.raises(MediaError) as caught:
        index = read(changed)
        index.access_unit(0, bytes_of(changed, index, 0))
    assert caught.value.reason == "unsupported-codec"
    stsc = bytearray(find_box(changed, [*STBL, b"stsc"]))
    for at in range(16, len(stsc), 12):
        struct.pack_into(">I", stsc, at, 2)
    changed = replace_box(changed, [*STBL, b"stsc"], bytes(stsc))
    index = read(changed)
    assert index.access_unit(0, bytes_of(changed, index, 0)).data


def test_wrong_bytes_for_a_keyframe() -> None:
    data = make(RECIPES["h264"])
    index = read(data)
    good = bytes_of(data, index, 0)
    for bad, reason in [(good[:-1], "truncated"), (good + b"\0", "truncated"), (b"\xff" * len(good), "corrupt")]:
        with pytest.raises(MediaError) as caught:
            index.access_unit(0, bad)
        assert caught.value.reason == reason


def test_a_file_shorter_than_its_index_says_is_truncated() -> None:
    data = make(RECIPES["h264"])
    with pytest.raises(MediaError) as caught:
        mp4.parse_index(data, total_bytes=read(data).keyframes[-1].byte_range.end - 1)
    assert caught.value.reason == "truncated"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (b"stsz", struct.pack(">III", 0, 0, 0xFFFFFFFF)),
        (b"stsz", struct.pack(">III", 0, 0xFFFFFFFF, 0xFFFFFFFF)),
        (b"stts", struct.pack(">IIII", 0, 0xFFFFFFFF, 1, 1)),
        (b"stts", struct.pack(">IIIIII", 0, 2, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF)),
        (b"stsc", struct.pack(">IIIII", 0, 1, 1, 0xFFFFFFFF, 0)),
        (b"stsc", struct.pack(">IIIII", 0, 1, 2, 1, 1)),
        (b"stco", struct.pack(">II", 0, 0x10000000)),
        (b"stss", struct.pack(">III", 0, 1, 0)),
        (b"stss", struct.pack(">III", 0, 1, 9999)),
        (b"stss", struct.pack(">IIII", 0, 2, 9, 1)),
        (b"ctts", struct.pack(">II", 0, 7)),
    ],
)
def test_hostile_tables_are_refused(kind: bytes, body: bytes) -> None:
    data = replace_box(make(RECIPES["h264"]), [*STBL, kind], body)
    with pytest.raises(MediaError) as caught:
        mp4.parse_index(data, total_bytes=None)
    assert caught.value.reason == "corrupt"


@pytest.mark.parametrize("data", [b"<html>gone</html>", b"\x47" * 400, Part(b"ftyp", b"isom").plain()])
def test_what_is_no_mp4_is_corrupt(data: bytes) -> None:
    with pytest.raises(MediaError) as caught:
        mp4.parse_index(data, total_bytes=len(data))
    assert caught.value.reason == "corrupt"


def test_av1_frames_that_are_no_key_frames_are_no_pictures() -> None:
    data = make(recipe("libsvtav1", frames=10))
    entry = read(data).entries[0]
    with av.open(io.BytesIO(data)) as file:
        packets = [packet for packet in file.demux(file.streams.video[0]) if packet.size]
    assert sum(packet.is_keyframe for packet in packets) < len(packets)
    for packet in packets:
        assert (entry.picture(bytes(packet)) is not None) is packet.is_keyframe


@pytest.mark.parametrize(("bits", "found"), [(0x10, True), (0x00, False), (0x30, False), (0x90, False)])
def test_an_av1_frame_must_be_a_key_frame_and_be_shown(bits: int, found: bool) -> None:
    """show_existing_frame, frame_type and show_frame are the first four bits of a frame header."""
    entry = read(make(RECIPES["av1"])).entries[0]
    frame = b"\x32\x04" + bytes([bits]) + b"abc"
    picture = entry.picture(b"\x12\x00" + frame)
    assert (picture is not None) is found
    if picture is not None:
        assert picture.data.endswith(frame)
        assert picture.data[0] >> 3 == 1
