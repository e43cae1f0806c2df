"""Fragmented MP4 heads against PyAV's demuxer and decoder, over muxers, codecs, oddities and truncations."""

from __future__ import annotations

import struct

import pytest

from harvester.errors import MediaError, NeedMoreData
from harvester.media import fmp4
from harvester.model import AccessUnit
from tests.unit.media.box_editor import find_box, parts, split_init
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
