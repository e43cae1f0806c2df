"""MPEG-TS heads against PyAV's demuxer and decoder, over muxers, codecs, oddities and truncations."""

from __future__ import annotations

import subprocess

import pytest

from harvester.errors import MediaError, NeedMoreData
from harvester.media import mpegts
from harvester.model import AccessUnit, Codec
from tests.unit.media import ts_writer
from tests.unit.media.footage import Oracle, Recipe, Unit, access_units, decode_alone, demux, make
from tests.unit.media.ts_writer import VIDEO_PID, Writer, pes

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


def odd_writers(units: list[Unit]) -> dict[str, bytes]:
    """The same access units multiplexed in unusual ways."""
    rich = Writer(extra_streams=True, pmt_padding=400, pat_pointer=20)
    rich.null()
    rich.tables()
    for number, unit in enumerate(units):
        rich.audio(unit.pts)
        rich.id3(unit.pts)
        data = pes(unit.data, unit.pts, length=False, stuffing=number % 3)
        for at in range(0, len(data), 184):
            rich.packet(VIDEO_PID, data[at : at + 184], start=at == 0)
            rich.null()
            rich.pcr_only()
            if at // 184 % 5 == 4:
                rich.tables()
    pieces = Writer()
    pieces.tables()
    for unit in units:
        for at in range(0, len(unit.data), 700):
            pieces.payload(VIDEO_PID, pes(unit.data[at : at + 700], None if at else unit.pts, length=True))
    pairs = Writer()
    pairs.tables()
    for at in range(0, len(units), 2):
        data = b"".join(unit.data for unit in units[at : at + 2])
        pairs.payload(VIDEO_PID, pes(data, units[at].pts, length=False))
    doubled = Writer()
    doubled.tables()
    for unit in units:
        doubled.payload(VIDEO_PID, pes(unit.data, unit.pts, length=True))
    doubled.packets = [packet for packet in doubled.packets for _ in range(2)]
    wrap = (1 << 33) - units[0].pts - 1
    wrapped = [Unit(unit.data, unit.pts + wrap, unit.dts, unit.key) for unit in units]
    return {
        "rich": rich.data,
        "several PES a picture": pieces.data,
        "several pictures a PES": pairs.data,
        "every packet twice": doubled.data,
        "clock wraps": ts_writer.plain(wrapped),
    }


@pytest.mark.parametrize("oddity", odd_writers([Unit(b"\x00\x00\x01\x09", 0, 0, True)]))
@pytest.mark.parametrize("delimited", [True, False])
def test_unusual_multiplexes(oddity: str, delimited: bool) -> None:
    units = access_units(make(RECIPES["h264-slices"]))
    if not delimited:
        units = [Unit(_without_delimiter(unit.data), unit.pts, unit.dts, unit.key) for unit in units]
    expected = demux(make(RECIPES["h264-slices"]))
    ts = odd_writers(units)[oddity]
    unit = mpegts.first_access_unit(ts, complete=True)
    agrees(unit, expected)
    assert same(mpegts.first_access_unit(ts[: unit.head_bytes], complete=False), unit)
    with pytest.raises(NeedMoreData):
        mpegts.first_access_unit(ts[: unit.head_bytes - 188], complete=False)


def _without_delimiter(unit: bytes) -> bytes:
    assert unit[:5] == b"\x00\x00\x00\x01\x09"
    return unit[6:]


def test_parameter_sets_in_force_go_in_front_whatever_their_place() -> None:
    units = access_units(make(H264))
    nals = [nal for nal in units[0].data.split(b"\x00\x00\x01") if nal]
    sets = [nal.rstrip(b"\x00") for nal in nals if nal[0] & 31 in (7, 8)]
    rest = [nal.rstrip(b"\x00") for nal in nals if nal[0] & 31 in (5, 6)]
    late = Unit(units[1].data, units[0].pts - 3600, 0, False)
    front = Unit(b"".join(b"\x00\x00\x01" + nal for nal in sets[::-1]) + late.data, late.pts, 0, False)
    key = Unit(b"".join(b"\x00\x00\x01" + nal for nal in [b"\x09\xf0", *rest]), units[0].pts, 0, True)
    end = Unit(b"\x00\x00\x01\x0a" + units[1].data, units[1].pts, 0, False)
    unit = mpegts.first_access_unit(ts_writer.plain([front, key, end]), complete=True)
    assert decode_alone("h264", unit.data) == demux(make(H264)).keys[0][1]
    assert unit.moment_s == pytest.approx((units[0].pts - late.pts) / 90000)
    assert unit.data.endswith(rest[-1])


def test_a_lost_packet_inside_the_picture_is_corrupt() -> None:
    units = access_units(make(Recipe(size=(320, 192))))
    ts = ts_writer.plain(units)
    unit = mpegts.first_access_unit(ts, complete=True)
    packets = [ts[at : at + 188] for at in range(0, len(ts), 188)]
    inside = range(3, unit.head_bytes // 188)
    assert len(inside) > 20
    for lost in inside:
        with pytest.raises(MediaError) as caught:
            mpegts.first_access_unit(b"".join(packets[:lost] + packets[lost + 1 :]), complete=False)
        assert caught.value.reason == "corrupt"
        flagged = b"\x47" + bytes([packets[lost][1] | 0x80]) + packets[lost][2:]
        with pytest.raises(MediaError) as caught:
            mpegts.first_access_unit(b"".join([*packets[:lost], flagged, *packets[lost + 1 :]]), complete=False)
        assert caught.value.reason == "corrupt"
    behind = unit.head_bytes // 188 + 2
    assert same(mpegts.first_access_unit(b"".join(packets[:behind] + packets[behind + 1 :]), complete=True), unit)


def test_a_packet_lost_in_front_of_the_key_picture_is_corrupt() -> None:
    """With it the earliest time may have gone, and the picture would be stored under a wrong moment."""
    ts = ts_writer.plain(access_units(make(H264))[1:])
    assert mpegts.first_access_unit(ts, complete=True).moment_s > 0
    for lost in (3, 5, 8):
        with pytest.raises(MediaError) as caught:
            mpegts.first_access_unit(ts[: 188 * lost] + ts[188 * lost + 188 :], complete=True)
        assert caught.value.reason == "corrupt"


def test_an_announced_discontinuity_of_the_counter_is_no_loss() -> None:
    units = access_units(make(H264))
    writer = Writer()
    writer.tables()
    writer.payload(VIDEO_PID, pes(units[0].data, units[0].pts, length=True))
    writer.counters[VIDEO_PID] += 5
    second = pes(units[1].data, units[1].pts, length=True)
    writer.packet(VIDEO_PID, second[:100], start=True, field_body=b"\x80")
    unit = mpegts.first_access_unit(writer.data, complete=False)
    assert same(unit, mpegts.first_access_unit(ts_writer.plain(units), complete=False))


def test_a_pes_packet_shorter_than_it_says_is_corrupt() -> None:
    units = access_units(make(H264))
    short = bytearray(pes(units[0].data, units[0].pts, length=True))
    short[4:6] = (int.from_bytes(short[4:6], "big") + 4000).to_bytes(2, "big")
    writer = Writer()
    writer.tables()
    writer.payload(VIDEO_PID, bytes(short))
    writer.payload(VIDEO_PID, pes(units[1].data, units[1].pts, length=True))
    writer.payload(VIDEO_PID, pes(units[2].data, units[2].pts, length=True))
    with pytest.raises(MediaError) as caught:
        mpegts.first_access_unit(writer.data, complete=False)
    assert caught.value.reason == "corrupt"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"<html>not found</html>", "corrupt"),
        (b"Gone, says this page, at length" * 40, "corrupt"),
        (b"", "corrupt"),
        (Writer().data + b"\x47" * 188 * 3, "corrupt"),
        (ts_writer.plain([], stream_type=0x0F), "no-video"),
        (ts_writer.plain([], stream_type=0x02), "unsupported-codec"),
        (ts_writer.plain([]), "no-keyframe"),
    ],
)
def test_what_is_no_picture_says_why(data: bytes, reason: str) -> None:
    with pytest.raises(MediaError) as caught:
        mpegts.first_access_unit(data, complete=True)
    assert caught.value.reason == reason


def test_av1_in_a_transport_stream_is_unsupported() -> None:
    writer = Writer(stream_type=0x06)
    body = writer._pmt_body()[:-2] + b"\xf0\x06\x05\x04AV01"
    writer.section_packets(0, ts_writer.section(0, 1, b"\x00\x01\xf0\x00"))
    writer.section_packets(ts_writer.PMT_PID, ts_writer.section(2, 1, body))
    with pytest.raises(MediaError) as caught:
        mpegts.first_access_unit(writer.data, complete=False)
    assert caught.value.reason == "unsupported-codec"


def test_a_stream_of_tiny_units_is_given_up() -> None:
    data = b"\x00\x00\x01\x0c" * 70_000
    with pytest.raises(MediaError) as caught:
        mpegts.first_access_unit(ts_writer.plain([Unit(data, 0, 0, False)]), complete=False)
    assert caught.value.reason == "corrupt"


def test_scrambled_video_is_unsupported() -> None:
    ts = bytearray(ts_writer.plain(access_units(make(H264))))
    ts[2 * 188 + 3] |= 0x80
    with pytest.raises(MediaError) as caught:
        mpegts.first_access_unit(bytes(ts), complete=False)
    assert caught.value.reason == "unsupported"


def test_lost_sync_behind_the_picture_does_no_harm_and_inside_it_does() -> None:
    ts = make(H264)
    unit = mpegts.first_access_unit(ts, complete=False)
    assert same(mpegts.first_access_unit(ts[: unit.head_bytes] + b"\x00" * 188, complete=False), unit)
    with pytest.raises(MediaError) as caught:
        mpegts.first_access_unit(ts[: unit.head_bytes - 188] + b"\x00" * 188, complete=False)
    assert caught.value.reason == "corrupt"


@pytest.mark.parametrize("flags", [[], ["-mpegts_flags", "+latm"], ["-pes_payload_size", "0"], ["-muxrate", "3M"]])
def test_ffmpegs_own_multiplexer(flags: list[str]) -> None:
    source = make(Recipe(container="matroska", audio="last"))
    command = ["ffmpeg", "-v", "error", "-i", "pipe:0", "-c", "copy", *flags, "-f", "mpegts", "pipe:1"]
    ts = subprocess.run(command, input=source, capture_output=True, check=True).stdout
    agrees(mpegts.first_access_unit(ts, complete=True), demux(ts))
