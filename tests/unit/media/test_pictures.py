"""Elementary streams cut into pictures, byte for byte."""

from __future__ import annotations

import pytest

from harvester.errors import MediaError
from harvester.media import hevc
from harvester.media.bitstream import unescape
from harvester.media.hevc import HevcSyntax
from harvester.media.nal import Role, sample_picture
from harvester.media.pictures import PictureScan, syntax_for
from harvester.model import Codec
from tests.unit.media.bit_writer import BitWriter, escape
from tests.unit.media.footage import Recipe, access_units, decode_alone, demux, make

RECIPES = {
    Codec.H264: Recipe(params="slices=4:aud=0"),
    Codec.HEVC: Recipe(codec="libx265", params="open-gop=0"),
}


def nals_of(unit: bytes) -> list[bytes]:
    return [nal.rstrip(b"\x00") for nal in unit.split(b"\x00\x00\x01") if nal.strip(b"\x00")]


def stream_of(codec: Codec, *, delimited: bool) -> bytes:
    delimiters = (9,) if codec is Codec.H264 else (35,)
    out = b""
    for unit in access_units(make(RECIPES[codec])):
        for nal in nals_of(unit.data):
            kind = nal[0] & 31 if codec is Codec.H264 else nal[0] >> 1
            if delimited or kind not in delimiters:
                out += b"\x00\x00\x00\x01" + nal
    return out


def first_key(codec: Codec, stream: bytes, *, closed: bool) -> tuple[bytes, int, int | None] | None:
    syntax = syntax_for(codec)
    for picture in PictureScan(stream, syntax, closed=closed):
        found = syntax.random_access(picture.slices, picture.bytes_of(stream))
        if found is not None and picture.whole:
            return found.data, picture.proof, picture.next_begin
    return None


@pytest.mark.parametrize("codec", RECIPES)
@pytest.mark.parametrize("delimited", [True, False])
def test_every_byte_length_gives_the_same_picture_or_none(codec: Codec, delimited: bool) -> None:
    stream = stream_of(codec, delimited=delimited)
    whole = first_key(codec, stream, closed=False)
    assert whole is not None
    data, proof, following = whole
    assert following is not None
    assert stream[following : following + 3] == b"\x00\x00\x01"
    for length in range(proof + 40):
        expected = whole if length >= proof else None
        assert first_key(codec, stream[:length], closed=False) == expected
    assert not data.endswith(b"\x00")
    assert decode_alone(codec.value, data) == demux(make(RECIPES[codec])).keys[0][1]


def test_a_picture_whose_first_slice_is_missing_is_not_taken_for_the_one_before() -> None:
    units = [nals_of(unit.data) for unit in access_units(make(RECIPES[Codec.H264]))]
    key = [nal for nal in units[0] if nal[0] & 31 != 9]
    rest = [nal for nal in units[1] if nal[0] & 31 == 1][1:]
    assert len(rest) == 3
    stream = b"".join(b"\x00\x00\x01" + nal for nal in [*key, *rest])
    alone = b"".join(b"\x00\x00\x01" + nal for nal in key)
    found, expected = (first_key(Codec.H264, data, closed=True) for data in (stream, alone))
    assert found is not None
    assert expected is not None
    assert found[0] == expected[0]


@pytest.mark.parametrize("end", [b"\x0a", b"\x0b"])
def test_an_end_of_sequence_and_filler_stay_out(end: bytes) -> None:
    units = [nals_of(unit.data) for unit in access_units(make(RECIPES[Codec.H264]))]
    key = [nal for nal in units[0] if nal[0] & 31 != 9]
    filler = b"\x0c\xff\xff\x80"
    following = [nal for nal in units[1] if nal[0] & 31 == 1]
    stream = b"".join(b"\x00\x00\x01" + nal for nal in [*key, filler, end, *following])
    found = first_key(Codec.H264, stream, closed=False)
    expected = first_key(Codec.H264, b"".join(b"\x00\x00\x01" + nal for nal in key), closed=True)
    assert found is not None
    assert expected is not None
    assert found[0] == expected[0]


@pytest.mark.parametrize(
    ("header", "role"),
    [
        (b"\x02\x01", Role.SLICE),
        (b"\x26\x01", Role.SLICE),
        (b"\x2a\x01", Role.SLICE),
        (b"\x2e\x01", Role.NEUTRAL),  # 23, reserved
        (b"\x40\x01", Role.PARAMETERS),
        (b"\x44\x01", Role.PARAMETERS),
        (b"\x46\x01", Role.DELIMITER),
        (b"\x48\x01", Role.END),
        (b"\x4c\x01", Role.NEUTRAL),  # filler
        (b"\x4e\x01", Role.SEI),
        (b"\x50\x01", Role.NEUTRAL),  # suffix SEI
        (b"\x42\x09", Role.NEUTRAL),  # SPS of layer 1
        (b"\x26\x09", Role.NEUTRAL),  # slice of layer 1
        (b"\xa6\x01", Role.NEUTRAL),  # forbidden bit
        (b"\x60\x01", Role.DELIMITER),  # 48, unspecified
    ],
)
def test_roles_of_hevc_units(header: bytes, role: Role) -> None:
    assert HevcSyntax().role(header) is role


def hevc_sets() -> list[bytes]:
    return [nal for nal in nals_of(access_units(make(RECIPES[Codec.HEVC]))[0].data) if nal[0] >> 1 in (32, 33, 34)]


@pytest.mark.parametrize("slice_type", [0, 1, 2])
def test_reserved_bits_in_front_of_the_slice_type(slice_type: int) -> None:
    vps, sps, _ = hevc_sets()
    pps = b"\x44\x01" + escape(BitWriter().ue(0).ue(0).u(2, 0).u(3, 2).u(9, 0).rbsp())
    idr = b"\x28\x01" + escape(BitWriter().u(1, 1).u(1, 0).ue(0).u(2, 3).ue(slice_type).u(30, 5).rbsp())
    if slice_type == 2:
        found = sample_picture(HevcSyntax(), [vps, sps, pps, idr])
        assert found is not None
        assert not found.leading
        return
    with pytest.raises(MediaError) as caught:
        sample_picture(HevcSyntax(), [vps, sps, pps, idr])
    assert caught.value.reason == "corrupt"


@pytest.mark.parametrize(("flags", "interlaced"), [(0x80, False), (0x40, True), (0xC0, False), (0x00, False)])
def test_the_source_flags_of_hevc(flags: int, interlaced: bool) -> None:
    sps = unescape(hevc_sets()[1])
    changed = sps[:8] + bytes([sps[8] & 0x3F | flags]) + sps[9:]
    assert hevc.parse_sps(escape(changed)).stream.interlaced is interlaced


def test_a_picture_without_its_parameter_sets_is_passed_over() -> None:
    for codec, kinds in ((Codec.H264, (7, 8)), (Codec.HEVC, (33, 34))):
        nals = nals_of(access_units(make(RECIPES[codec]))[0].data)
        for missing in kinds:
            kept = [nal for nal in nals if (nal[0] & 31 if codec is Codec.H264 else nal[0] >> 1) != missing]
            assert sample_picture(syntax_for(codec), kept) is None
