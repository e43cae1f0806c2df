"""H.264 frames coded as two field pictures: both belong to the one picture."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from harvester.errors import MediaError, NeedMoreData
from harvester.media import mpegts
from harvester.media.h264 import H264Syntax
from harvester.media.nal import sample_picture
from tests.unit.media.bit_writer import BitWriter, field, frame_of, parameter_sets
from tests.unit.media.footage import Unit, decode_alone
from tests.unit.media.ts_writer import plain

SAMPLES = np.random.default_rng(3).integers(1, 256, (4, 2, 384), np.uint8)
EXPECTED = frame_of(SAMPLES[0], SAMPLES[1])


def stream(*nals: bytes) -> bytes:
    return b"".join(b"\x00\x00\x00\x01" + nal for nal in nals)


def units(*, together: bool, delimited: bool) -> list[Unit]:
    delimiter = [b"\x09\xf0"] if delimited else []
    first = stream(*delimiter, *parameter_sets(), field(SAMPLES[0], bottom=False, idr=True))
    second = stream(*delimiter, field(SAMPLES[1], bottom=True, idr=False))
    third = stream(*delimiter, field(SAMPLES[2], bottom=False, idr=False, frame_num=1))
    if together:
        return [Unit(first + second, 9000, 0, True), Unit(third, 12600, 0, False)]
    return [Unit(first, 9000, 0, True), Unit(second, 10800, 0, False), Unit(third, 12600, 0, False)]


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("delimited", [True, False])
def test_both_fields_are_taken(together: bool, delimited: bool) -> None:
    ts = plain(units(together=together, delimited=delimited))
    unit = mpegts.first_access_unit(ts, complete=False)
    assert unit.stream.interlaced
    assert (unit.stream.width, unit.stream.height) == (32, 32)
    assert decode_alone("h264", unit.data) == EXPECTED
    with pytest.raises(NeedMoreData):
        mpegts.first_access_unit(ts[: unit.head_bytes - 188], complete=False)


def test_one_field_alone_is_no_picture() -> None:
    ts = plain(units(together=False, delimited=True)[:1])
    with pytest.raises(NeedMoreData):
        mpegts.first_access_unit(ts, complete=False)
    with pytest.raises(MediaError) as caught:
        mpegts.first_access_unit(ts, complete=True)
    assert caught.value.reason == "no-keyframe"


def test_a_field_followed_by_another_frame_is_passed_over() -> None:
    first, _, _ = units(together=False, delimited=True)
    alone = Unit(stream(b"\x09\xf0", field(SAMPLES[3], bottom=True, idr=False, frame_num=5)), 10800, 0, False)
    again = [Unit(unit.data, unit.pts + 90000, 0, unit.key) for unit in units(together=False, delimited=True)]
    unit = mpegts.first_access_unit(plain([first, alone, *again]), complete=False)
    assert unit.moment_s == pytest.approx(1.0)
    assert decode_alone("h264", unit.data) == EXPECTED


def test_a_sample_with_both_fields() -> None:
    nals = [
        *parameter_sets(),
        field(SAMPLES[0], bottom=False, idr=True),
        field(SAMPLES[1], bottom=True, idr=False),
    ]
    found = sample_picture(H264Syntax(), nals)
    assert found is not None
    assert decode_alone("h264", found.data) == EXPECTED
    assert struct.unpack(">I", found.data[:4]) == (1,)


@pytest.mark.parametrize(("count", "found"), [(0, True), (1, False), (None, False)])
def test_an_intra_picture_is_a_way_in_only_with_a_recovery_point_right_there(
    count: int | None, found: bool
) -> None:
    point = [] if count is None else [b"\x06\x06\x01" + BitWriter().ue(count).u(4, 9).packed()[:1] + b"\x80"]
    fields = [field(SAMPLES[number], bottom=bool(number), idr=False) for number in (0, 1)]
    picture = sample_picture(H264Syntax(), [*parameter_sets(), *point, *fields])
    assert (picture is not None) is found
    if picture is not None:
        assert picture.leading
        assert decode_alone("h264", picture.data) == EXPECTED


def test_predicted_slices_are_no_way_in() -> None:
    point = b"\x06\x06\x01\xa4\x80"
    predicted = field(SAMPLES[0], bottom=False, idr=False, slice_type=5)
    second = field(SAMPLES[1], bottom=True, idr=False)
    assert sample_picture(H264Syntax(), [*parameter_sets(), point, predicted, second]) is None
    with pytest.raises(MediaError) as caught:
        sample_picture(H264Syntax(), [*parameter_sets(), field(SAMPLES[0], bottom=False, idr=True, slice_type=5)])
    assert caught.value.reason == "corrupt"
