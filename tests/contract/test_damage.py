"""What no decoder may take for a picture: anything cut, changed, or less than all of it."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harvester.errors import MediaError
from harvester.model import AccessUnit, Codec, StreamInfo
from harvester.ports import Decoder
from tests.contract.backends import Subject
from tests.contract.comparing import looked, refused
from tests.contract.streams import (
    AV1,
    H264,
    HEVC,
    Sample,
    field_pair,
    filtered,
    is_slice,
    joined,
    nal_units,
    with_data,
)

#: Largest coding block and the reach of its loop filters, in luma lines and columns.
BLOCK = 64 + 8


@pytest.mark.parametrize(
    "name",
    ["h264-cabac", "h264-cavlc-slices", "h264-interlaced", "hevc", "hevc-wavefront", "hevc-slices", "hevc-10",
     "hevc-small-blocks", "hevc-dark", "av1"],
)  # fmt: skip
def test_no_cut_gives_a_picture(subject: Subject, units: dict[str, AccessUnit], name: str) -> None:
    """But a cut in the data of the very last block may: no decoder can tell it from another block."""
    unit, decoder = units[name], subject.decoder()
    look = looked(subject, unit)
    if look is None:
        return
    whole = look.picture().y
    draw = random.Random(7)
    lengths = [1, 5, *(draw.randrange(6, len(unit.data)) for _ in range(25))]
    passed = [cut for cut in lengths if not refused(decoder, with_data(unit, unit.data[:cut]))]
    assert len(passed) <= 3
    for cut in passed:
        different = decoder.look(with_data(unit, unit.data[:cut])).picture().y != whole
        assert not different[:-BLOCK].any() and not different[:, :-BLOCK].any(), f"{cut} of {len(unit.data)}"


@pytest.mark.parametrize("name", ["h264-cavlc-slices", "hevc-slices"])
def test_no_slice_may_be_missing(decoder: Decoder, units: dict[str, AccessUnit], name: str) -> None:
    unit = units[name]
    parts = nal_units(unit.data)
    slices = [number for number, part in enumerate(parts) if is_slice(unit.stream.codec, part)]
    assert len(slices) >= 3
    for lost in slices:
        decoder.look(unit).picture()  # its buffers hold the very same picture,
        assert refused(decoder, with_data(unit, unit.data[: -len(parts[-1]) // 2]))  # and most of it once more
        kept = [part for number, part in enumerate(parts) if number != lost]
        assert refused(decoder, with_data(unit, joined(kept))), f"slice {lost} of {slices}"


@pytest.mark.parametrize("name", ["h264-cabac", "h264-cavlc-slices"])
def test_noise_in_h264_is_noticed(decoder: Decoder, units: dict[str, AccessUnit], name: str) -> None:
    unit = units[name]
    draw = random.Random(11)
    for _ in range(25):
        data = bytearray(unit.data)
        place = draw.randrange(len(data) // 4, len(data) - 400)
        data[place : place + 200] = bytes(draw.randrange(1, 256) for _ in range(200))
        assert refused(decoder, with_data(unit, bytes(data)))


@pytest.mark.parametrize("codec", [H264, HEVC, AV1])
def test_a_picture_that_needs_others(subject: Subject, codec: Codec) -> None:
    decoder = subject.decoder()
    sample = Sample("gop", codec, params="keyint=8" if codec is AV1 else "keyint=8:bframes=0:scenecut=0")
    packets = sample.packets(4)
    key, later = packets[0][0], [data for data, is_key in packets if not is_key]
    if looked(subject, AccessUnit(sample.info, key, 0.0)) is None:
        return
    head = b"" if codec is AV1 else joined([unit for unit in nal_units(key) if not is_slice(codec, unit)])
    for data in later:
        assert refused(decoder, AccessUnit(sample.info, head + data, 0.0))


@pytest.mark.parametrize("name", ["h264-cabac", "hevc", "av1"])
def test_two_pictures_are_one_too_many(decoder: Decoder, units: dict[str, AccessUnit], name: str) -> None:
    assert refused(decoder, with_data(units[name], units[name].data * 2))


@pytest.mark.parametrize("name", ["h264-cabac", "hevc"])
@pytest.mark.parametrize("kind", ["sps", "pps"])
def test_parameter_sets_of_another_stream(decoder, units: dict[str, AccessUnit], name: str, kind: str) -> None:
    unit = units[name]
    decoder.look(unit).picture()
    wanted = {"sps": 7, "pps": 8} if unit.stream.codec is H264 else {"sps": 33, "pps": 34}
    shift, mask = (0, 31) if unit.stream.codec is H264 else (1, 63)
    parts = nal_units(unit.data)
    kept = [part for part in parts if part[0] >> shift & mask != wanted[kind]]
    assert len(kept) == len(parts) - 1
    assert refused(decoder, with_data(unit, joined(kept)))


def test_a_lone_field(decoder: Decoder) -> None:
    _, lone, _ = field_pair()
    assert refused(decoder, lone)


def test_headers_that_say_otherwise(subject: Subject, units: dict[str, AccessUnit]) -> None:
    data = units["h264-cropped"].data
    for info in (
        StreamInfo(H264, 320, 182),
        StreamInfo(H264, 322, 182, bit_depth=10),
        StreamInfo(H264, 322, 182, chroma="422"),
    ):
        with pytest.raises(MediaError) as caught:
            subject.decoder().look(AccessUnit(info, data, 0.0)).picture()
        assert caught.value.reason == ("unsupported-codec" if subject.may_refuse(info) else "corrupt")


def test_pictures_beyond_reason(decoder: Decoder, units: dict[str, AccessUnit]) -> None:
    with pytest.raises(MediaError) as caught:
        decoder.look(AccessUnit(StreamInfo(H264, 16384, 16384), units["h264-cabac"].data, 0.0)).picture()
    assert caught.value.reason == "unsupported-codec"


def test_rgb_is_not_supported(decoder: Decoder, units: dict[str, AccessUnit]) -> None:
    data = filtered(units["h264-444"].data, "h264_metadata=matrix_coefficients=0", H264)
    with pytest.raises(MediaError) as caught:
        decoder.look(with_data(units["h264-444"], data)).picture()
    assert caught.value.reason == "unsupported-codec"


def test_nothing_on_stderr(decoder, units: dict[str, AccessUnit], capfd: pytest.CaptureFixture[str]) -> None:
    for unit in units.values():
        assert refused(decoder, with_data(unit, unit.data[: len(unit.data) // 2]))
    assert capfd.readouterr() == ("", "")


@pytest.mark.long
@pytest.mark.parametrize("name", ["h264-cabac", "h264-10", "hevc-slices", "av1"])
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_hostile_bytes(decoder: Decoder, units: dict[str, AccessUnit], name: str, data) -> None:
    unit = units[name]
    changed = bytearray(unit.data)
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(changed) - 1))
        changed[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    try:
        picture = decoder.look(with_data(unit, bytes(changed) or b"\0")).picture()
    except MediaError:
        return
    assert picture.y.shape == (unit.stream.height, unit.stream.width)


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(codec=st.sampled_from(list(Codec)), data=st.binary(min_size=1, max_size=200))
def test_bytes_that_are_no_video(decoder: Decoder, codec: Codec, data: bytes) -> None:
    assert refused(decoder, AccessUnit(StreamInfo(codec, 320, 192), data, 0.0))
