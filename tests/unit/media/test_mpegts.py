"""MPEG-TS heads against PyAV's demuxer and decoder, over muxers, codecs, oddities and truncations."""

from __future__ import annotations

import pytest

from harvester.errors import MediaError, NeedMoreData
from harvester.media import mpegts
from harvester.model import AccessUnit, Codec
from tests.unit.media import ts_writer
from tests.unit.media.footage import Oracle, Recipe, access_units, decode_alone, demux, make

H264 = Recipe()
HEVC = Recipe(codec="libx265")
RECIPES = {
    "h264": H264,
    "h264-audio": Recipe(audio="first"),
    "h264-slices": Recipe(params="slices=4"),
    "h264-mbaff": Recipe(params="interlaced=1", size=(160, 96)),
    "h264-odd-size": Recipe(size=(162, 98)),
    "h264-422": Recipe(pix_fmt="yuv422p"),
    "h264-444-full": Recipe(pix_fmt="yuv444p", full_range=True),
    "h264-10bit": Recipe(pix_fmt="yuv420p10le", bt709=True),
    "h264-open-gop": Recipe(params="open-gop=1"),
    "hevc": HEVC,
    "hevc-closed": Recipe(codec="libx265", params="open-gop=0"),
    "hevc-slices": Recipe(codec="libx265", params="slices=2:pools=2", size=(320, 192)),
    "hevc-10bit-aud": Recipe(codec="libx265", params="aud=1:hrd=0", pix_fmt="yuv420p10le", audio="last"),
    "hevc-odd-size": Recipe(codec="libx265", size=(162, 98), full_range=True),
}


def key_packets(ts: bytes) -> list[int]:
    """Numbers of the packets in which the PES packet of a key access unit begins, by random_access_indicator."""
    found = []
    for number in range(len(ts) // 188):
        packet = ts[188 * number : 188 * number + 188]
        pid = int.from_bytes(packet[1:3], "big") & 0x1FFF
        if packet[1] & 0x40 and packet[3] & 0x20 and packet[4] and packet[5] & 0x40 and pid == 0x100:
            found.append(number)
    return found


def agrees(unit: AccessUnit, oracle: Oracle, index: int = 0) -> None:
    moment_s, expected = oracle.keys[index]
    assert decode_alone(unit.stream.codec.value, unit.data) == expected
    assert unit.moment_s == pytest.approx(moment_s, abs=1e-6)
    assert (unit.stream.width, unit.stream.height) == (oracle.width, oracle.height)


def same(left: AccessUnit, right: AccessUnit) -> bool:
    return (left.data, left.moment_s, left.stream) == (right.data, right.moment_s, right.stream)


@pytest.mark.parametrize("name", RECIPES)
def test_the_first_picture_is_the_one_pyav_finds(name: str) -> None:
    ts = make(RECIPES[name])
    agrees(mpegts.first_access_unit(ts, complete=True), demux(ts))


@pytest.mark.parametrize("name", RECIPES)
def test_stream_info_is_what_pyav_reads(name: str) -> None:
    stream = mpegts.first_access_unit(make(RECIPES[name]), complete=True).stream
    recipe = RECIPES[name]
    assert stream.codec is (Codec.HEVC if recipe.codec == "libx265" else Codec.H264)
    assert (stream.bit_depth, stream.chroma) == (10 if "10" in recipe.pix_fmt else 8, recipe.pix_fmt[3:6])
    assert stream.full_range is recipe.full_range
    assert stream.matrix == (1 if recipe.bt709 else 2)
    assert stream.interlaced is ("interlaced" in recipe.params)


@pytest.mark.parametrize("name", ["h264", "h264-open-gop", "h264-slices", "hevc", "hevc-slices"])
@pytest.mark.parametrize("gop", [1, 2])
def test_a_segment_cut_at_a_later_key_picture(name: str, gop: int) -> None:
    """Open GOPs: leading pictures are shown before the key picture, so it is not at moment 0."""
    ts = make(RECIPES[name])
    tables, start = ts[: 3 * 188], key_packets(ts)[gop]
    segment = tables + ts[188 * start :]
    unit = mpegts.first_access_unit(segment, complete=True)
    oracle = demux(segment)
    agrees(unit, oracle)
    assert (unit.moment_s > 0) is (name in ("h264-open-gop", "hevc", "hevc-slices"))


@pytest.mark.parametrize("name", ["h264", "h264-audio", "h264-open-gop", "hevc", "hevc-10bit-aud"])
def test_every_truncation_gives_the_same_picture_or_asks_for_more(name: str) -> None:
    ts = make(RECIPES[name])
    start = key_packets(ts)[1]
    segment = ts[: 3 * 188] + ts[188 * start :]
    whole = mpegts.first_access_unit(segment, complete=False)
    for length in [*range(0, len(segment), 188), *range(0, len(segment), 997)]:
        if length < whole.head_bytes:
            with pytest.raises(NeedMoreData):
                mpegts.first_access_unit(segment[:length], complete=False)
        else:
            assert same(mpegts.first_access_unit(segment[:length], complete=False), whole)
    assert same(mpegts.first_access_unit(segment, complete=True), whole)
    assert 0 < whole.head_bytes < len(segment)


@pytest.mark.parametrize("name", RECIPES)
def test_heads_that_double_end_at_the_same_picture(name: str) -> None:
    ts = make(RECIPES[name])
    whole = mpegts.first_access_unit(ts, complete=True)
    for first in (1, 188, 1000, 3001):
        length = first
        while True:
            head = ts[:length]
            try:
                unit = mpegts.first_access_unit(head, complete=len(head) == len(ts))
            except NeedMoreData as shortage:
                assert shortage.total_bytes is None
                length *= 2
                continue
            break
        assert same(unit, whole)
        assert unit.head_bytes == whole.head_bytes


@pytest.mark.parametrize("name", ["h264", "hevc"])
def test_a_complete_segment_that_ends_inside_its_picture_is_truncated(name: str) -> None:
    units = access_units(make(RECIPES[name]))
    kind = 0x24 if name == "hevc" else 0x1B
    ts = ts_writer.plain(units[:1], length=True, stream_type=kind)
    assert mpegts.first_access_unit(ts, complete=True).moment_s == 0
    for cut in (188, 400, 100):
        with pytest.raises(MediaError) as caught:
            mpegts.first_access_unit(ts[:-cut], complete=True)
        assert caught.value.reason == "truncated"
        assert not isinstance(caught.value, NeedMoreData)
