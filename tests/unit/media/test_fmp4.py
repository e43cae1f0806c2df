"""Fragmented MP4 heads against PyAV's demuxer and decoder, over muxers, codecs, oddities and truncations."""

from __future__ import annotations

import struct

import pytest

from harvester.errors import MediaError, NeedMoreData
from harvester.media import fmp4
from harvester.model import AccessUnit, Codec
from tests.unit.media.box_editor import Part, find_box, parts, replace_box, shift_moof, split_init
from tests.unit.media.footage import Oracle, Recipe, decode_alone, demux, make

DASH = (("movflags", "frag_keyframe+empty_moov+default_base_moof"),)


def recipe(codec: str = "libx264", flags: str = DASH[0][1], **more: object) -> Recipe:
    return Recipe(codec=codec, container="mp4", muxer=(("movflags", flags),), **more)  # type: ignore[arg-type]


RECIPES = {
    "h264": recipe(),
    "h264 audio first": recipe(audio="first"),
    "h264 audio last": recipe(audio="last"),
    "h264 open gop": recipe(params="open-gop=1"),
    "h264 file offsets": recipe(flags="frag_keyframe+empty_moov", audio="first"),
    "h264 implied offsets": recipe(flags="frag_keyframe+empty_moov+omit_tfhd_offset", audio="first"),
    "h264 negative offsets": recipe(flags=DASH[0][1] + "+negative_cts_offsets"),
    "h264 negative offsets, open gop": recipe(flags=DASH[0][1] + "+negative_cts_offsets", params="open-gop=1"),
    "h264 frame a fragment": recipe(flags="frag_every_frame+empty_moov+default_base_moof", params="open-gop=1"),
    "h264 cmaf": recipe(flags="cmaf+frag_keyframe+empty_moov"),
    "h264 slices": recipe(params="slices=3"),
    "hevc": recipe("libx265"),
    "hevc frame a fragment": recipe("libx265", flags="frag_every_frame+empty_moov+default_base_moof"),
    "hevc 10 bit": recipe("libx265", pix_fmt="yuv420p10le"),
    "av1": recipe("libsvtav1"),
    "av1 10 bit audio": recipe("libsvtav1", pix_fmt="yuv420p10le", audio="first"),
}
CODECS = {"h264": "h264", "hevc": "hevc", "av1": "libdav1d"}


def segment_from_key(name: str, number: int) -> tuple[bytes, bytes]:
    """(init section, segment that begins with the fragment of key picture ``number``)."""
    init, boxes = split_init(make(RECIPES[name]))
    keys = [index for index, box in enumerate(boxes) if box.kind == b"moof" and _begins_with_key(box.body)]
    assert len(keys) > number
    return init, b"".join(box.plain() for box in boxes[keys[number] :])


def _begins_with_key(moof: bytes) -> bool:
    """Does a traf of track ... hold a sync sample in front? Read by hand: first_sample_flags or default flags."""
    for box in parts(moof):
        if box.kind != b"traf":
            continue
        tfhd, trun = find_box(box.body, [b"tfhd"]), find_box(box.body, [b"trun"])
        if trun[2] & 0x08 or len(tfhd) > 8:
            flags = _first_flags(tfhd, trun)
            if flags is not None and flags >> 24 == 2:  # sample_depends_on = 2: on no other
                return True
    return False


def _first_flags(tfhd: bytes, trun: bytes) -> int | None:
    at = 12 if trun[3] & 1 else 8
    if trun[3] & 4:
        return int(struct.unpack_from(">I", trun, at)[0])
    if trun[2] & 4:
        skipped = 4 * (bool(trun[2] & 1) + bool(trun[2] & 2))
        return int(struct.unpack_from(">I", trun, at + skipped)[0])
    return int(struct.unpack(">I", tfhd[-4:])[0]) if tfhd[3] & 0x20 else None


def agrees(unit: AccessUnit, oracle: Oracle, index: int = 0) -> None:
    moment_s, expected = oracle.keys[index]
    assert decode_alone(CODECS[unit.stream.codec.value], unit.data) == expected
    assert unit.moment_s == pytest.approx(moment_s, abs=1e-6)
    assert (unit.stream.width, unit.stream.height) == (oracle.width, oracle.height)


def same(left: AccessUnit, right: AccessUnit) -> bool:
    return (left.data, left.moment_s, left.stream) == (right.data, right.moment_s, right.stream)


@pytest.mark.parametrize("name", RECIPES)
def test_the_first_picture_is_the_one_pyav_finds(name: str) -> None:
    init, segment = segment_from_key(name, 0)
    parsed = fmp4.parse_init(init)
    agrees(fmp4.first_access_unit(parsed, segment, complete=True), demux(init + segment))
    assert (parsed.width, parsed.height) == RECIPES[name].size
    assert parsed.codec.value == name.split(maxsplit=1)[0]
    assert parsed.stream is not None
    assert parsed.stream.bit_depth == (10 if "10 bit" in name else 8)


@pytest.mark.parametrize(
    "name", ["h264", "h264 open gop", "h264 frame a fragment", "hevc", "hevc frame a fragment"]
)
def test_a_segment_from_a_later_key_picture(name: str) -> None:
    init, segment = segment_from_key(name, 1)
    unit = fmp4.first_access_unit(fmp4.parse_init(init), segment, complete=True)
    agrees(unit, demux(init + segment))
    assert (unit.moment_s > 0) is (name != "h264")


@pytest.mark.parametrize("start", [1, 2, 3, 5])
def test_pictures_in_front_of_the_key_picture_count_for_its_moment(start: int) -> None:
    init, boxes = split_init(make(RECIPES["h264 frame a fragment"]))
    segment = b"".join(box.plain() for box in boxes[2 * start :])
    unit = fmp4.first_access_unit(fmp4.parse_init(init), segment, complete=False)
    agrees(unit, demux(init + segment))
    assert unit.moment_s > 0.1


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


@pytest.mark.parametrize("name", RECIPES)
def test_every_truncation_gives_the_same_picture_or_says_how_much_is_missing(name: str) -> None:
    init, segment = segment_from_key(name, 0)
    parsed = fmp4.parse_init(init)
    whole = fmp4.first_access_unit(parsed, segment, complete=False)
    for length in [*range(0, whole.head_bytes, 7), whole.head_bytes - 1]:
        with pytest.raises(NeedMoreData) as caught:
            fmp4.first_access_unit(parsed, segment[:length], complete=False)
        assert caught.value.total_bytes is not None
        assert length < caught.value.total_bytes <= max(whole.head_bytes, 32) + 8
    for length in range(whole.head_bytes, len(segment), 499):
        assert same(fmp4.first_access_unit(parsed, segment[:length], complete=False), whole)
    assert same(fmp4.first_access_unit(parsed, segment, complete=True), whole)


@pytest.mark.parametrize("name", ["h264", "h264 audio first", "hevc", "av1"])
def test_once_the_moof_is_there_one_more_range_completes_the_picture(name: str) -> None:
    init, segment = segment_from_key(name, 0)
    parsed = fmp4.parse_init(init)
    moof_bytes = len(parts(segment)[0].plain())
    with pytest.raises(NeedMoreData) as caught:
        fmp4.first_access_unit(parsed, segment[:moof_bytes], complete=False)
    total = caught.value.total_bytes
    assert total is not None
    unit = fmp4.first_access_unit(parsed, segment[:total], complete=False)
    assert unit.head_bytes == total
    with pytest.raises(MediaError) as cut:
        fmp4.first_access_unit(parsed, segment[: total - 1], complete=True)
    assert cut.value.reason == "truncated"


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
