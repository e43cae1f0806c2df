"""The checks before decoding, on headers written by hand and on any bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.decode.annexb import SLICE_END, check_parameter_sets, nal_units, with_slice_ends
from harvester.errors import MediaError
from harvester.model import Codec
from tests.contract.streams import Bits, named

H264, HEVC = Codec.H264, Codec.HEVC


def sps(number: int) -> bytes:
    return Bits().u(8, 77).u(8, 0).u(8, 30).ue(number).unit(0x67)


def pps(number: int, sps_number: int) -> bytes:
    return Bits().ue(number, sps_number).unit(0x68)


def idr(pps_number: int) -> bytes:
    return Bits().ue(0, 7, pps_number).unit(0x65)


@pytest.mark.parametrize("number", [0, 1, 30, 31])
def test_sets_are_found_by_their_numbers(number: int) -> None:
    data = sps(number) + pps(255, 0) + pps(200, number) + idr(200)
    check_parameter_sets(H264, data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        sps(0) + pps(0, 0),
        pps(0, 0) + idr(0),
        sps(0) + idr(0),
        sps(0) + pps(1, 0) + idr(0),
        sps(1) + pps(0, 0) + idr(0),
        sps(0) + pps(0, 0) + idr(0) + idr(1),
        sps(0) + pps(0, 0) + b"\0\0\1\x65",
    ],
    ids=["nothing", "no slice", "no SPS", "no PPS", "other PPS", "other SPS", "second slice", "cut slice"],
)
def test_sets_of_elsewhere_do_not_count(data: bytes) -> None:
    with pytest.raises(MediaError) as caught:
        check_parameter_sets(H264, data)
    assert caught.value.reason == "corrupt"


def test_hevc_sets_behind_sub_layers() -> None:
    head = Bits().u(4, 0).u(3, 2).u(1, 1).u(88, 0).u(8, 90)
    layers = head.u(2, 0b11).u(2, 0b01).u(12, 0).u(88, 0).u(8, 60).u(8, 30)
    unit = layers.ue(3).unit(0x42)
    data = unit[:5] + b"\1" + unit[5:] + b"\0\0\1\x44\1" + Bits().ue(7, 3).unit(0)[5:]
    check_parameter_sets(HEVC, data + b"\0\0\1\x26\1" + Bits().u(2, 2).ue(7).unit(0)[5:])
    with pytest.raises(MediaError):
        check_parameter_sets(HEVC, data + b"\0\0\1\x26\1" + Bits().u(2, 2).ue(6).unit(0)[5:])


@pytest.mark.parametrize("slice_type", range(10))
def test_h264_slices_that_predict_from_other_pictures(slice_type: int) -> None:
    """Of the ten types (table 7-6) 2 and 7 are I."""
    data = sps(0) + pps(0, 0) + idr(0) + Bits().ue(4, slice_type, 0).unit(0x41)
    if slice_type in (2, 7):
        check_parameter_sets(H264, data)
        return
    with pytest.raises(MediaError, match="needs others"):
        check_parameter_sets(H264, data)


@pytest.mark.parametrize("kind", [0, 1, 9, 15, 24, 31])
def test_hevc_pictures_that_are_no_random_access_point(kind: int) -> None:
    data = named("hevc").unit().data + bytes([0, 0, 1, kind << 1, 1]) + b"\x80" * 8
    with pytest.raises(MediaError, match="needs others"):
        check_parameter_sets(HEVC, data)


@pytest.mark.parametrize("name", ["h264-cabac", "h264-cavlc-slices", "hevc", "hevc-slices", "hevc-10"])
def test_real_units_pass(name: str) -> None:
    unit = named(name).unit()
    check_parameter_sets(unit.stream.codec, unit.data)


def test_each_hevc_slice_gets_its_end_and_nothing_else_does() -> None:
    data = named("hevc-slices").unit().data
    guarded = with_slice_ends(data)
    assert guarded.count(SLICE_END) == 3
    assert guarded.endswith(SLICE_END)
    assert [guarded[s:e].removesuffix(SLICE_END) for s, e in nal_units(guarded)] == [
        data[s:e] for s, e in nal_units(data)
    ]


@given(
    st.sampled_from([H264, HEVC]),
    st.lists(st.sampled_from([b"\0", b"\1", b"\x67", b"\x68", b"\x65", b"\x42", b"\x26", b"\xff"])),
)
def test_any_bytes_pass_or_are_corrupt(codec: Codec, parts: list[bytes]) -> None:
    data = b"\0\0\1" + b"".join(parts)
    with_slice_ends(data)
    try:
        check_parameter_sets(codec, data)
    except MediaError as error:
        assert error.reason == "corrupt"
