"""Fragments in unusual wrappings, with unusual tables, damaged and refused."""

from __future__ import annotations

import struct

import pytest

from harvester.errors import MediaError, NeedMoreData
from harvester.media import fmp4
from harvester.model import Codec
from tests.unit.media.box_editor import Part, find_box, parts, replace_box, shift_moof, split_init
from tests.unit.media.footage import decode_alone, demux, make
from tests.unit.media.test_fmp4 import RECIPES, same, segment_from_key


def oddities(segment: bytes) -> dict[str, bytes]:
    """The same fragments in other wrappings."""
    boxes = parts(segment)
    sidx = b"\x00" * 20 + b"\x00\x00\x00\x00"
    front = [
        Part(b"styp", b"msdh\x00\x00\x00\x00msdh"),
        Part(b"sidx", sidx),
        Part(b"emsg", b"\x01" + b"a\x00" * 40),
    ]
    front.append(Part(b"prft", b"\x00" * 20))
    wide_moof, wide_mdat, free = [], [], []
    for box in boxes:
        if box.kind == b"moof":
            wide_moof.append(Part(b"moof", shift_moof(box.body, 8)).wide())
            wide_mdat.append(Part(b"moof", shift_moof(box.body, 8)).plain())
            free.append(Part(b"moof", shift_moof(box.body, 108)).plain() + Part(b"free", b"x" * 100).plain())
        else:
            wide_moof.append(box.plain())
            wide_mdat.append(box.wide())
            free.append(box.plain())
    last = parts(segment)[:2]
    open_end = last[0].plain() + struct.pack(">I4s", 0, b"mdat") + last[1].body
    return {
        "boxes in front": b"".join(box.plain() for box in front) + segment,
        "64-bit moof": b"".join(wide_moof),
        "64-bit mdat": b"".join(wide_mdat),
        "free between": b"".join(free),
        "open mdat": open_end,
        "fragment without video in front": Part(b"moof", Part(b"mfhd", b"\x00" * 8).plain()).plain()
        + Part(b"mdat", b"nothing").plain()
        + segment,
    }


@pytest.mark.parametrize("oddity", oddities(Part(b"moof", b"").plain() + Part(b"mdat", b"").plain()))
@pytest.mark.parametrize("name", ["h264 audio first", "h264 open gop", "hevc"])
def test_unusual_wrappings(name: str, oddity: str) -> None:
    init, segment = segment_from_key(name, 1 if name == "hevc" else 0)
    parsed = fmp4.parse_init(init)
    expected = fmp4.first_access_unit(parsed, segment, complete=True)
    odd = oddities(segment)[oddity]
    unit = fmp4.first_access_unit(parsed, odd, complete=True)
    assert same(unit, expected)
    assert same(fmp4.first_access_unit(parsed, odd[: unit.head_bytes], complete=False), unit)
    with pytest.raises(NeedMoreData):
        fmp4.first_access_unit(parsed, odd[: unit.head_bytes - 1], complete=False)


def test_offsets_from_the_start_of_a_file_that_the_segment_was_cut_from() -> None:
    """base_data_offset counts from the file's start: right for the whole file, and for a segment cut out of it."""
    init, segment = segment_from_key("h264 file offsets", 1)
    whole = make(RECIPES["h264 file offsets"])
    parsed = fmp4.parse_init(init)
    unit = fmp4.first_access_unit(parsed, segment, complete=True)
    assert decode_alone("h264", unit.data) == demux(whole).keys[1][1]
    first = fmp4.first_access_unit(parsed, whole, complete=True)
    assert decode_alone("h264", first.data) == demux(whole).keys[0][1]


def test_offsets_from_the_start_of_the_file_that_is_at_hand() -> None:
    """base_data_offset 0: data offsets are places in the file, and the file is this one."""
    init, segment = segment_from_key("h264", 0)
    moof, mdat = parts(segment)[:2]
    tfhd = find_box(moof.body, [b"traf", b"tfhd"])
    flags = int.from_bytes(tfhd[1:4], "big") & ~0x20000 | 1
    changed = b"\x00" + flags.to_bytes(3, "big") + tfhd[4:8] + bytes(8) + tfhd[8:]
    body = shift_moof(replace_box(moof.body, [b"traf", b"tfhd"], changed), 8 + 108)
    front = Part(b"free", b"x" * 100).plain()
    parsed = fmp4.parse_init(init)
    found = fmp4.first_access_unit(parsed, front + Part(b"moof", body).plain() + mdat.plain(), complete=True)
    assert same(found, fmp4.first_access_unit(parsed, segment, complete=True))


def test_fragments_without_decode_times_go_on_where_the_last_ended() -> None:
    init, boxes = split_init(make(RECIPES["h264 frame a fragment"]))
    parsed = fmp4.parse_init(init)
    out = b""
    for box in boxes[4:]:
        if box.kind == b"moof":
            size = 8 + len(find_box(box.body, [b"traf", b"tfdt"]))
            box = Part(b"moof", shift_moof(replace_box(box.body, [b"traf", b"tfdt"], None), -size))
        out += box.plain()
    expected = fmp4.first_access_unit(parsed, b"".join(box.plain() for box in boxes[4:]), complete=True)
    assert expected.moment_s > 0.1
    assert same(fmp4.first_access_unit(parsed, out, complete=True), expected)


def test_signed_composition_offsets() -> None:
    """All offsets moved below zero: every picture shifts alike, so the key picture's moment stays."""
    init, segment = segment_from_key("h264 open gop", 1)
    moof, *rest = parts(segment)
    trun = bytearray(find_box(moof.body, [b"traf", b"trun"]))
    assert trun[2] & 8
    trun[0] = 1
    row = 4 * (trun[2] & 15).bit_count()
    start = 8 + 4 * bool(trun[3] & 1) + 4 * bool(trun[3] & 4)
    count = struct.unpack_from(">I", trun, 4)[0]
    for index in range(count):
        at = start + row * (index + 1) - 4
        struct.pack_into(">i", trun, at, struct.unpack_from(">i", trun, at)[0] - 2048)
    body = replace_box(moof.body, [b"traf", b"trun"], bytes(trun))
    changed = Part(b"moof", body).plain() + b"".join(box.plain() for box in rest)
    parsed = fmp4.parse_init(init)
    expected = fmp4.first_access_unit(parsed, segment, complete=True)
    assert expected.moment_s > 0
    assert same(fmp4.first_access_unit(parsed, changed, complete=True), expected)


def test_parameter_sets_in_the_samples() -> None:
    """avc3: none in the init section."""
    init, segment = segment_from_key("h264", 0)
    path = [b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd"]
    stsd = find_box(init, path)
    entry = parts(stsd[8:])[0]
    children = {box.kind: box for box in parts(entry.body[78:])}
    config = children[b"avcC"].body
    empty = Part(b"avcC", config[:5] + b"\xe0\x00").plain()
    bare = Part(b"avc3", entry.body[:78] + empty).plain()
    parsed = fmp4.parse_init(replace_box(init, path, stsd[:8] + bare))
    assert parsed.stream is None
    assert parsed.parameter_sets == ()
    assert (parsed.width, parsed.height) == (160, 96)
    with pytest.raises(MediaError) as caught:
        fmp4.first_access_unit(parsed, segment, complete=True)
    assert caught.value.reason == "no-keyframe"
    sets = fmp4.parse_init(init).parameter_sets
    unit = fmp4.first_access_unit(fmp4.parse_init(init), segment, complete=True)
    in_band = _prepended(segment, b"".join(struct.pack(">I", len(nal)) + nal for nal in sets))
    assert same(fmp4.first_access_unit(parsed, in_band, complete=True), unit)


def _prepended(segment: bytes, extra: bytes) -> bytes:
    """The first fragment with ``extra`` bytes at the front of its first sample."""
    moof, mdat = parts(segment)[:2]
    traf = find_box(moof.body, [b"traf"])
    trun = bytearray(find_box(traf, [b"trun"]))
    assert trun[2] & 2
    at = 8 + 4 * bool(trun[3] & 1) + 4 * bool(trun[3] & 4) + 4 * bool(trun[2] & 1)
    struct.pack_into(">I", trun, at, struct.unpack_from(">I", trun, at)[0] + len(extra))
    body = replace_box(moof.body, [b"traf", b"trun"], bytes(trun))
    return Part(b"moof", body).plain() + Part(b"mdat", extra + mdat.body).plain()


def test_a_sync_flag_that_lies_is_passed_over() -> None:
    init, segment = segment_from_key("h264", 0)
    moof, mdat = parts(segment)[:2]
    trun = bytearray(find_box(moof.body, [b"traf", b"trun"]))
    first = next(box for box in parts(segment) if box.kind == b"mdat").body
    at = first.index(b"\x65\x88")
    broken = Part(b"mdat", mdat.body[:at] + b"\x61" + mdat.body[at + 1 :]).plain()
    with pytest.raises(MediaError) as caught:
        fmp4.first_access_unit(fmp4.parse_init(init), moof.plain() + broken, complete=True)
    assert caught.value.reason == "no-keyframe"
    assert trun[2] & 2


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda init: init.replace(b"avc1", b"mp4v"), "unsupported-codec"),
        (lambda init: init.replace(b"avc1", b"encv"), "unsupported-codec"),
        (lambda init: init.replace(b"vide", b"soun"), "no-video"),
        (lambda init: init[:28], "corrupt"),
        (lambda init: b"<html>", "corrupt"),
        (lambda init: b"<html><body>no such file</body></html>", "corrupt"),
    ],
)
def test_init_sections_that_do_not_serve_say_why(change, reason: str) -> None:
    init, _ = split_init(make(RECIPES["h264"]))
    with pytest.raises(MediaError) as caught:
        fmp4.parse_init(change(init))
    assert caught.value.reason == reason


def test_a_cut_init_section_says_how_long_it_is() -> None:
    init, _ = split_init(make(RECIPES["h264"]))
    with pytest.raises(NeedMoreData) as caught:
        fmp4.parse_init(init[:60])
    assert caught.value.total_bytes == len(init)


@pytest.mark.parametrize("data", [b"", b"<html>gone</html>", b"\x47" * 188])
def test_what_is_no_segment_is_corrupt(data: bytes) -> None:
    init, _ = split_init(make(RECIPES["h264"]))
    with pytest.raises(MediaError) as caught:
        fmp4.first_access_unit(fmp4.parse_init(init), data, complete=True)
    assert caught.value.reason == "corrupt"


def test_claimed_tables_cost_nothing() -> None:
    """A trun without per-sample fields may claim any number of samples in twelve bytes."""
    init, _ = split_init(make(RECIPES["h264"]))
    parsed = fmp4.parse_init(init)
    tfhd = Part(b"tfhd", b"\x00\x02\x00\x00" + struct.pack(">I", parsed.track_id)).plain()
    trun = Part(b"trun", b"\x00\x00\x00\x00" + struct.pack(">I", 0xFFFFFFFF)).plain()
    moof = Part(b"moof", Part(b"traf", tfhd + trun).plain()).plain()
    with pytest.raises(MediaError) as caught:
        fmp4.first_access_unit(parsed, moof, complete=False)
    assert caught.value.reason == "corrupt"
    assert parsed.codec is Codec.H264


def test_an_unknown_sample_description_is_corrupt() -> None:
    init, segment = segment_from_key("h264", 0)
    moof, mdat = parts(segment)[:2]
    tfhd = find_box(moof.body, [b"traf", b"tfhd"])
    flags = int.from_bytes(tfhd[1:4], "big") | 2
    changed = b"\x00" + flags.to_bytes(3, "big") + tfhd[4:8] + struct.pack(">I", 9) + tfhd[8:]
    body = shift_moof(replace_box(moof.body, [b"traf", b"tfhd"], changed), 4)
    with pytest.raises(MediaError) as caught:
        fmp4.first_access_unit(fmp4.parse_init(init), Part(b"moof", body).plain() + mdat.plain(), complete=True)
    assert caught.value.reason == "corrupt"
