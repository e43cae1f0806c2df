"""Unusual, damaged and refused transport streams, multiplexed by hand."""

from __future__ import annotations

import subprocess

import pytest

from harvester.errors import MediaError, NeedMoreData
from harvester.media import mpegts
from tests.unit.media import ts_writer
from tests.unit.media.footage import Recipe, Unit, access_units, decode_alone, demux, make
from tests.unit.media.test_mpegts import H264, RECIPES, agrees, key_packets, same
from tests.unit.media.ts_writer import VIDEO_PID, Writer, pes


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


def test_tables_behind_the_picture_count_as_bytes_needed() -> None:
    units = access_units(make(H264))
    writer = Writer()
    for unit in units[:3]:
        writer.payload(VIDEO_PID, pes(unit.data, unit.pts, length=True))
    bare = len(writer.packets)
    writer.tables()
    unit = mpegts.first_access_unit(writer.data, complete=False)
    assert unit.head_bytes == 188 * (bare + 2)
    with pytest.raises(NeedMoreData):
        mpegts.first_access_unit(writer.data[:-188], complete=False)


def test_a_key_picture_without_a_time_of_its_own_is_passed_over() -> None:
    """The PTS of a PES packet belongs to the first picture that begins in it."""
    units = access_units(make(H264))
    keys = [number for number, unit in enumerate(units) if unit.key]
    first, second = keys[1], keys[2]
    writer = Writer()
    writer.tables()
    writer.payload(VIDEO_PID, pes(units[first - 1].data + units[first].data, units[first - 1].pts, length=False))
    for unit in units[first + 1 : second + 2]:
        writer.payload(VIDEO_PID, pes(unit.data, unit.pts, length=True))
    unit = mpegts.first_access_unit(writer.data, complete=False)
    assert decode_alone("h264", unit.data) == demux(make(H264)).keys[2][1]
    assert unit.moment_s == pytest.approx((units[second].pts - units[first - 1].pts) / 90000)


def test_leading_pictures_across_the_wrap_of_the_clock() -> None:
    ts = make(RECIPES["h264-open-gop"])
    segment = ts[: 3 * 188] + ts[188 * key_packets(ts)[1] :]
    units = access_units(segment)
    expected = mpegts.first_access_unit(ts_writer.plain(units), complete=True)
    shift = (1 << 33) - units[0].pts
    wrapped = [Unit(unit.data, unit.pts + shift, 0, unit.key) for unit in units]
    found = mpegts.first_access_unit(ts_writer.plain(wrapped), complete=True)
    assert expected.moment_s == found.moment_s > 0


def test_bytes_behind_a_pes_packet_are_not_of_it() -> None:
    units = access_units(make(H264))
    writer = Writer()
    writer.tables()
    for unit in units[:2]:
        data = pes(unit.data, unit.pts, length=True)
        writer.payload(VIDEO_PID, data + b"\xab" * (-len(data) % 184 + 184))
    assert same(
        mpegts.first_access_unit(writer.data, complete=False),
        mpegts.first_access_unit(ts_writer.plain(units), complete=False),
    )


def test_a_scrambled_pes_packet_is_unsupported() -> None:
    unit = access_units(make(H264))[0]
    data = bytearray(pes(unit.data, unit.pts, length=True))
    data[6] |= 0x20
    writer = Writer()
    writer.tables()
    writer.payload(VIDEO_PID, bytes(data))
    with pytest.raises(MediaError) as caught:
        mpegts.first_access_unit(writer.data, complete=False)
    assert caught.value.reason == "unsupported"


def test_damaged_tables_are_passed_over_for_the_next() -> None:
    units = access_units(make(H264))
    writer = Writer()
    writer.tables()
    broken = [bytearray(packet) for packet in writer.packets]
    broken[0][5 + 11] ^= 1  # PID of the program map, in the PAT
    broken[1][5 + 13] ^= 1  # stream type, in the PMT
    good = ts_writer.plain(units)
    ts = b"".join(map(bytes, broken)) + good
    assert same(mpegts.first_access_unit(ts, complete=False), mpegts.first_access_unit(good, complete=False))


def test_a_segment_that_ends_inside_a_packet_is_truncated() -> None:
    ts = ts_writer.plain(access_units(make(H264))[:1])
    assert mpegts.first_access_unit(ts, complete=True).head_bytes == len(ts)
    with pytest.raises(MediaError) as caught:
        mpegts.first_access_unit(ts[:-50], complete=True)
    assert caught.value.reason == "truncated"
