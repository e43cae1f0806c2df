"""Parameter sets and sequence headers: written by hand, read back; and hostile bytes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harvester.errors import MediaError
from harvester.media import av1, h264, hevc, mpegts
from harvester.media.bitstream import BitReader, HeaderEnds, escaped_length, length_prefixed, unescape
from harvester.model import Codec
from tests.unit.media.bit_writer import BitWriter, escape
from tests.unit.media.footage import Recipe, demux, make

CHROMA = ["400", "420", "422", "444"]


@given(st.lists(st.integers(0, 2**32 - 2)), st.lists(st.integers(-(2**31) + 1, 2**31 - 1)))
def test_exp_golomb_numbers(unsigned: list[int], signed: list[int]) -> None:
    writer = BitWriter()
    for value in unsigned:
        writer.ue(value)
    for value in signed:
        writer.se(value)
    reader = BitReader(writer.rbsp())
    assert [reader.ue() for _ in unsigned] == unsigned
    assert [reader.se() for _ in signed] == signed
    assert reader.flag()


def test_an_exp_golomb_number_past_32_bits_is_corrupt() -> None:
    with pytest.raises(MediaError) as caught:
        BitReader(b"\x00\x00\x00\x00\xff\xff\xff\xff\xff").ue()
    assert caught.value.reason == "corrupt"
    with pytest.raises(HeaderEnds):
        BitReader(b"\x00\x00").ue()


@given(st.lists(st.sampled_from([0, 0, 0, 1, 2, 3, 4, 255])).map(bytes), st.integers(0, 40))
def test_escapes(body: bytes, count: int) -> None:
    escaped = escape(body)
    assert unescape(escaped) == body
    needed = min(count, len(body))
    length = escaped_length(escaped, needed)
    assert unescape(escaped[:length])[:needed] == body[:needed]
    assert length == 0 or len(unescape(escaped[: length - 1])) < needed


@given(st.lists(st.binary(min_size=1, max_size=30)), st.sampled_from([1, 2, 4]))
def test_length_prefixes(nals: list[bytes], prefix: int) -> None:
    sample = b"".join(len(nal).to_bytes(prefix, "big") + nal for nal in nals)
    assert list(length_prefixed(sample, prefix)) == nals
    if nals:
        with pytest.raises(MediaError):
            list(length_prefixed(sample[:-1], prefix))


sps_fields = st.fixed_dictionaries(
    {
        "profile": st.sampled_from([66, 77, 88, 100, 110, 122, 244]),
        "chroma": st.integers(0, 3),
        "separate": st.booleans(),
        "depth": st.integers(8, 14),
        "scaling": st.booleans(),
        "frame_num_bits": st.integers(4, 16),
        "order": st.integers(0, 2),
        "width_mbs": st.integers(1, 200),
        "map_units": st.integers(1, 60),
        "frames_only": st.booleans(),
        "crop": st.tuples(*[st.integers(0, 1)] * 4),
        "vui": st.one_of(st.none(), st.tuples(st.sampled_from([1, 255]), st.booleans(), st.integers(0, 14))),
    }
)


def write_sps(fields: dict) -> bytes:
    """H.264 §7.3.2.1.1."""
    out = BitWriter().u(8, fields["profile"]).u(8, 0).u(8, 40).ue(3)
    if fields["profile"] >= 100:
        out.ue(fields["chroma"])
        if fields["chroma"] == 3:
            out.u(1, fields["separate"])
        out.ue(fields["depth"] - 8).ue(0).u(1, 0).u(1, fields["scaling"])
        if fields["scaling"]:
            out.u(1, 1).se(-8)  # one list that falls back at once
            out.u(1, 1)
            for step in [1] * 15:
                out.se(step)
            out.se(-3)
            out.u(10 if fields["chroma"] == 3 else 6, 0)
    out.ue(fields["frame_num_bits"] - 4).ue(fields["order"])
    if fields["order"] == 0:
        out.ue(2)
    elif fields["order"] == 1:
        out.u(1, 0).se(-5).se(7).ue(2).se(1).se(-1)
    out.ue(4).u(1, 0).ue(fields["width_mbs"] - 1).ue(fields["map_units"] - 1).u(1, fields["frames_only"])
    if not fields["frames_only"]:
        out.u(1, 1)
    out.u(1, 1).u(1, 1)
    for value in fields["crop"]:
        out.ue(value)
    out.u(1, fields["vui"] is not None)
    if fields["vui"] is not None:
        ratio, full, matrix = fields["vui"]
        out.u(1, 1).u(8, ratio)
        if ratio == 255:
            out.u(32, 0x00010001)
        out.u(1, 1).u(1, 0).u(1, 1).u(3, 5).u(1, full).u(1, 1).u(16, 0x0101).u(8, matrix).u(1, 0)
    return b"\x67" + escape(out.rbsp())


@given(sps_fields)
def test_h264_sps(fields: dict) -> None:
    sps = h264.parse_sps(write_sps(fields))
    high = fields["profile"] >= 100
    chroma = fields["chroma"] if high else 1
    separate = high and chroma == 3 and fields["separate"]
    rows = 1 if fields["frames_only"] else 2
    unit_x = 2 if chroma in (1, 2) else 1
    unit_y = (2 if chroma == 1 else 1) * rows
    left, right, top, bottom = fields["crop"]
    stream = sps.stream
    assert (sps.id, sps.frame_num_bits, sps.separate_planes) == (3, fields["frame_num_bits"], separate)
    assert (stream.coded_width, stream.coded_height) == (16 * fields["width_mbs"], 16 * fields["map_units"] * rows)
    assert stream.crop == (left * unit_x, top * unit_y, right * unit_x, bottom * unit_y)
    assert (stream.bit_depth, stream.chroma) == (fields["depth"] if high else 8, CHROMA[chroma])
    assert stream.interlaced is not fields["frames_only"]
    _, full, matrix = fields["vui"] or (0, False, 2)
    assert (stream.full_range, stream.matrix) == (full, matrix)


def test_an_sps_of_a_hostile_size_is_refused() -> None:
    fields = {
        "profile": 66, "chroma": 1, "separate": False, "depth": 8, "scaling": False, "frame_num_bits": 4, "order": 2,
        "width_mbs": 1055, "map_units": 1055, "frames_only": True, "crop": (0, 0, 0, 0), "vui": None,
    }  # fmt: skip
    with pytest.raises(MediaError):
        h264.parse_sps(write_sps(fields))
    with pytest.raises(MediaError):
        h264.parse_sps(write_sps({**fields, "width_mbs": 2, "map_units": 2, "crop": (9, 9, 0, 0)}))
    with pytest.raises(MediaError):
        h264.parse_sps(b"\x67" + b"\x64" * 5000)
    good = write_sps({**fields, "width_mbs": 20, "map_units": 10})
    assert h264.parse_sps(good).stream.coded_width == 320
    for cut in range(1, len(good) - 1):
        with pytest.raises(MediaError):
            h264.parse_sps(good[:cut])


#: x265 writes random decoding times for fewer pictures than it reorders.
FEW = 8
HEVC_RECIPES = {
    "scaling lists": Recipe(codec="libx265", frames=FEW, params="scaling-list=default:long-term-refs=1"),
    "vui": Recipe(
        codec="libx265",
        frames=FEW,
        params="sar=4\\:3:overscan=show:chromaloc=2:hrd=1:vbv-maxrate=500:vbv-bufsize=500",
    ),
    "sub-layers": Recipe(codec="libx265", frames=FEW, params="temporal-layers=2"),
    "references": Recipe(codec="libx265", frames=FEW, params="ref=5:b-pyramid=1"),
    "4:4:4": Recipe(codec="libx265", frames=FEW, pix_fmt="yuv444p", bt709=True, full_range=True),
    "4:2:2 12 bit": Recipe(codec="libx265", frames=FEW, pix_fmt="yuv422p12le", size=(162, 98)),
    "grey": Recipe(codec="libx265", frames=FEW, pix_fmt="gray"),
    "fields": Recipe(codec="libx265", frames=FEW, params="interlace=tff"),
}


@pytest.mark.parametrize("name", HEVC_RECIPES)
def test_hevc_sps_of_rare_features(name: str) -> None:
    recipe = HEVC_RECIPES[name]
    ts = make(recipe)
    stream = mpegts.first_access_unit(ts, complete=True).stream
    oracle = demux(ts)
    assert stream.codec is Codec.HEVC
    assert (stream.width, stream.height) == (oracle.width, oracle.height)
    assert stream.chroma == ("400" if recipe.pix_fmt == "gray" else recipe.pix_fmt[3:6])
    assert stream.bit_depth == (12 if "12" in recipe.pix_fmt else 8)
    assert stream.interlaced is (name == "fields")
    assert (stream.full_range, stream.matrix) == (recipe.full_range, 1 if recipe.bt709 else 2)


@pytest.mark.parametrize("count", [0, 1, 7])
def test_recovery_points(count: int) -> None:
    body = b"\x05\x10" + b"u" * 16 + b"\x06\x02" + BitWriter().ue(count).u(4, 9).packed().ljust(2, b"\x80")[:2]
    assert h264.recovery_frame_count(b"\x06" + escape(body + b"\x80")) == count
    assert h264.recovery_frame_count(b"\x06\x05\x02uu\x80") is None
    assert h264.recovery_frame_count(b"\x06\xff\xff\xff") is None


av1_fields = st.fixed_dictionaries(
    {
        "profile": st.integers(0, 2),
        "timing": st.booleans(),
        "model": st.booleans(),
        "points": st.integers(1, 3),
        "delays": st.booleans(),
        "size": st.tuples(st.integers(1, 4096), st.integers(1, 2304)),
        "frame_ids": st.booleans(),
        "order_hint": st.booleans(),
        "screen": st.integers(0, 2),
        "high": st.booleans(),
        "twelve": st.booleans(),
        "mono": st.booleans(),
        "colour": st.sampled_from([None, (1, 1, 1), (9, 16, 9), (1, 13, 0)]),
        "full": st.booleans(),
        "subsampling": st.sampled_from(["444", "422", "420"]),
    }
)


def write_sequence_header(f: dict) -> bytes:
    """AV1 §5.5.1."""
    out = BitWriter().u(3, f["profile"]).u(1, 0).u(1, 0).u(1, f["timing"])
    model = f["timing"] and f["model"]
    if f["timing"]:
        out.u(32, 1).u(32, 60).u(1, 1).ue(3).u(1, f["model"])
        if model:
            out.u(5, 9).u(32, 1).u(5, 3).u(5, 3)
    out.u(1, f["delays"]).u(5, f["points"] - 1)
    for point in range(f["points"]):
        out.u(12, 0).u(5, 8 if point else 4)
        if point:
            out.u(1, 1)
        if model:
            out.u(1, 1).u(10, 77).u(10, 88).u(1, 0)
        if f["delays"]:
            out.u(1, 1).u(4, 5)
    out.u(4, 12).u(4, 11).u(13, f["size"][0] - 1).u(12, f["size"][1] - 1).u(1, f["frame_ids"])
    if f["frame_ids"]:
        out.u(4, 1).u(3, 1)
    out.u(3, 5).u(4, 3).u(1, f["order_hint"])
    if f["order_hint"]:
        out.u(2, 3)
    if f["screen"] == 2:
        out.u(1, 1)
    else:
        out.u(1, 0).u(1, f["screen"])
    if f["screen"]:
        out.u(1, 0).u(1, 1)
    if f["order_hint"]:
        out.u(3, 6)
    out.u(3, 2).u(1, f["high"])
    return _write_color(out, f).u(1, 0).u(1, 0).rbsp()


def _write_color(out: BitWriter, f: dict) -> BitWriter:
    twelve = f["profile"] == 2 and f["high"] and f["twelve"]
    if f["profile"] == 2 and f["high"]:
        out.u(1, f["twelve"])
    mono = f["mono"] and f["profile"] != 1
    if f["profile"] != 1:
        out.u(1, f["mono"])
    out.u(1, f["colour"] is not None)
    for value in f["colour"] or ():
        out.u(8, value)
    if mono:
        return out.u(1, f["full"])
    if f["colour"] == (1, 13, 0):
        return out
    out.u(1, f["full"])
    if f["profile"] == 2 and twelve:
        out.u(1, f["subsampling"] != "444")
        if f["subsampling"] != "444":
            out.u(1, f["subsampling"] == "420")
    return out


@given(av1_fields)
def test_av1_sequence_header(f: dict) -> None:
    header = av1.parse_sequence_header(write_sequence_header(f))
    stream = header.stream
    mono = f["mono"] and f["profile"] != 1
    srgb = f["colour"] == (1, 13, 0) and not mono
    depth = 8 if not f["high"] else 12 if f["profile"] == 2 and f["twelve"] else 10
    chroma = {0: "420", 1: "444"}.get(f["profile"], f["subsampling"] if depth == 12 else "422")
    assert (stream.width, stream.height) == f["size"]
    assert stream.bit_depth == depth
    assert stream.chroma == ("400" if mono else "444" if srgb else chroma)
    assert stream.full_range is (True if srgb else f["full"])
    assert stream.matrix == (f["colour"][2] if f["colour"] else 2)


@given(st.binary(max_size=120))
@settings(max_examples=300)
def test_hostile_headers_raise_media_errors_only(data: bytes) -> None:
    for read in (
        lambda: h264.parse_sps(b"\x67" + data),
        lambda: h264.parse_sps(b"\x67\x64\x00\x28" + data),
        lambda: hevc.parse_sps(b"\x42\x01\x01\x01\x60" + data),
        lambda: av1.parse_sequence_header(data),
        lambda: av1.temporal_unit_picture(data, b""),
        lambda: av1.temporal_unit_picture(b"\x0a\x02" + data, data),
        lambda: h264.recovery_frame_count(b"\x06" + data),
        lambda: list(length_prefixed(data, 2)),
    ):
        try:
            read()
        except MediaError:
            continue


@given(st.lists(st.tuples(st.integers(2, 15), st.binary(max_size=300)), min_size=1))
def test_obus_leave_with_their_sizes(units: list[tuple[int, bytes]]) -> None:
    """Also when the last one has no size field, as MP4 allows."""
    sized = [av1.Obu(kind, bytes([kind << 3 | 2]), payload).sized() for kind, payload in units]
    last_kind, last = units[-1]
    data = b"".join(sized[:-1]) + bytes([last_kind << 3]) + last
    found = list(av1.obus(data))
    assert [(unit.type, unit.payload) for unit in found] == units
    assert b"".join(unit.sized() for unit in found) == b"".join(sized)
