"""What every decoder must do: the right bits, the same bits always, and an error for anything less.

A backend that never falls back may refuse an intact picture of a kind that not every GPU decodes, in so many words
(:meth:`tests.contract.backends.Subject.may_refuse`); nothing else is let off.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harvester.errors import MediaError
from harvester.model import AccessUnit, Codec, Measurement, Picture, StreamInfo
from harvester.ports import Decoder, Look
from harvester.vision.measure import measure
from harvester.vision.phash import phash
from tests.contract.backends import ON_HARDWARE, Subject, opened
from tests.contract.streams import (
    AV1,
    EXACT,
    H264,
    HEVC,
    SIZES,
    Sample,
    coded,
    field_pair,
    filtered,
    is_slice,
    joined,
    nal_units,
    named,
    player,
    with_data,
)

BACKENDS = ("cpu", "auto", "nvdec", *(["nvdec-av"] if ON_HARDWARE else []))

#: Largest coding block and the reach of its loop filters, in luma lines and columns.
BLOCK = 64 + 8


@pytest.fixture(scope="module", params=BACKENDS)
def subject(request: pytest.FixtureRequest, driver_files: Path) -> Iterator[Subject]:
    with opened(request.param, driver_files) as one:
        yield one


@pytest.fixture
def decoder(subject: Subject) -> Decoder:
    return subject.decoder()


@pytest.fixture(scope="module")
def units() -> dict[str, AccessUnit]:
    return {sample.name: sample.unit() for sample in EXACT}


@pytest.fixture(scope="module")
def sized() -> dict[str, AccessUnit]:
    return {sample.name: sample.unit() for sample in SIZES}


def planes(picture: Picture) -> list[np.ndarray]:
    return [plane for plane in (picture.y, picture.u, picture.v) if plane is not None]


def assert_same(picture: Picture, expected: list[np.ndarray]) -> None:
    got = planes(picture)
    assert len(got) == len(expected)
    for plane, wanted in zip(got, expected, strict=True):
        assert plane.dtype == wanted.dtype
        np.testing.assert_array_equal(plane, wanted)


def assert_measured(measurement: Measurement, unit: AccessUnit) -> None:
    """As the picture of the ffmpeg program measures."""
    wanted = measure(Picture(unit.stream, player(unit)[0], None, None))
    for name in ("codec", "width", "height", "gradient"):
        assert getattr(measurement, name) == getattr(wanted, name)
    for name in ("grid", "histogram", "tile_sums", "tile_squares"):
        np.testing.assert_array_equal(getattr(measurement, name), getattr(wanted, name))
    assert phash(measurement.grid) == phash(wanted.grid)


def looked(subject: Subject, unit: AccessUnit) -> Look | None:
    """The look at an intact picture; None if the backend says that it does not do such pictures, and may."""
    try:
        look = subject.decoder().look(unit)
    except MediaError as error:
        if error.reason == "unsupported-codec" and subject.may_refuse(unit.stream):
            return None
        raise
    if subject.is_on_gpu(unit.stream):
        assert look.decoder == ("nvdec" if subject.name == "auto" else subject.name)
    return look


def refused(decoder: Decoder, unit: AccessUnit) -> bool:
    try:
        decoder.look(unit).picture()
    except MediaError:
        return True
    return False


class TestRightBits:
    @pytest.mark.parametrize("name", [sample.name for sample in EXACT])
    def test_equals_the_ffmpeg_program(self, subject: Subject, units: dict[str, AccessUnit], name: str) -> None:
        unit = units[name]
        if look := looked(subject, unit):
            picture = look.picture()
            assert picture.stream == look.stream == unit.stream
            assert_same(picture, player(unit))
            assert_measured(look.measurement, unit)
            assert look.nbytes == picture.nbytes

    @pytest.mark.parametrize("name", [sample.name for sample in SIZES])
    def test_of_every_size(self, subject: Subject, sized: dict[str, AccessUnit], name: str) -> None:
        look = subject.decoder().look(sized[name])
        assert_same(look.picture(), player(sized[name]))
        assert_measured(look.measurement, sized[name])

    def test_planes_are_contiguous_and_their_own(self, decoder: Decoder, units: dict[str, AccessUnit]) -> None:
        picture = decoder.look(units["h264-cropped"]).picture()
        before = [plane.copy() for plane in planes(picture)]
        for plane in planes(picture):
            assert plane.flags.c_contiguous and plane.flags.owndata and plane.flags.writeable
        decoder.look(Sample("other", H264, 322, 182, scene="teeworlds-ctf2").unit()).picture()
        decoder.close()
        assert_same(picture, before)

    @pytest.mark.parametrize("codec", [H264, HEVC])
    @pytest.mark.parametrize("crop", [(6, 2, 4, 8), (2, 0, 0, 0), (0, 2, 0, 0)])
    def test_crop_on_all_sides(self, subject: Subject, units: dict[str, AccessUnit], codec: Codec, crop) -> None:
        whole = units["h264-cabac" if codec is H264 else "hevc"]
        full = subject.decoder().look(whole).picture()
        left, top, right, bottom = crop
        edges = f"crop_left={left}:crop_top={top}:crop_right={right}:crop_bottom={bottom}"
        data = filtered(whole.data, f"{codec}_metadata={edges}", codec)
        look = looked(subject, AccessUnit(StreamInfo(codec, 320, 192, crop=crop), data, 0.0))
        if look is None:
            return
        picture = look.picture()
        inside = (slice(top, 192 - bottom), slice(left, 320 - right))
        half = (slice(top // 2, 96 - bottom // 2), slice(left // 2, 160 - right // 2))
        assert full.u is not None and full.v is not None
        assert_same(picture, [full.y[inside], full.u[half], full.v[half]])

    @pytest.mark.parametrize("codec", [H264, HEVC])
    def test_key_pictures_of_open_gops(self, decoder: Decoder, codec: Codec) -> None:
        params = "keyint=4:min-keyint=1:scenecut=0:open-gop=1:bframes=2"
        sample = Sample("open", codec, params=params)
        keys = [data for data, key in sample.packets(10) if key]
        assert len(keys) >= 3
        assert codec is HEVC or nal_units(keys[1])[-1][0] & 31 == 1  # not IDR: a recovery point
        for data in keys:
            unit = AccessUnit(sample.info, data, 0.0)
            assert_same(decoder.look(unit).picture(), player(unit))

    def test_two_fields_make_a_picture(self, subject: Subject) -> None:
        whole, _, luma = field_pair()
        if look := looked(subject, whole):
            np.testing.assert_array_equal(look.picture().y, luma)


class TestSameBits:
    def test_whatever_was_decoded_before(self, subject: Subject, units: dict[str, AccessUnit]) -> None:
        decoder = subject.decoder()
        looks = {name: looked(subject, unit) for name, unit in units.items()}
        first = {name: planes(look.picture()) for name, look in looks.items() if look}
        order = list(first) * 2
        random.Random(3).shuffle(order)
        for name in order:
            if random.Random(name).random() < 0.3:
                assert refused(decoder, with_data(units[name], units[name].data[: len(units[name].data) // 2]))
            assert_same(decoder.look(units[name]).picture(), first[name])

    @pytest.mark.parametrize("codec", [H264, HEVC])
    def test_sizes_in_turns(self, decoder: Decoder, codec: Codec) -> None:
        """Larger and smaller, and three that are coded in the same size and shown in others."""
        sizes = [(320, 192), (318, 186), (480, 272), (314, 188), (160, 160)]
        units = [Sample("turn", codec, width, height).unit() for width, height in sizes]
        assert codec is HEVC or len({unit.stream.coded_height for unit in units}) == 3
        for number in (0, 1, 0, 2, 0, 3, 1, 4, 2, 4, 0, 2):
            look = decoder.look(units[number])
            assert_measured(look.measurement, units[number])
            assert_same(look.picture(), player(units[number]))

    def test_looks_wait_for_their_turn(self, subject: Subject) -> None:
        """Held while others of the same kind are decoded, and asked in another order, by another thread."""
        scenes = ("supertuxkart-zengarden", "teeworlds-ctf2", "chromium-bsu-level3", "supertux-forest")
        units = [Sample("scene", H264, scene=scene).unit() for scene in scenes]
        looks = [subject.decoder().look(unit) for unit in units]
        got: dict[int, Picture] = {}
        thread = threading.Thread(target=lambda: got.update({n: looks[n].picture() for n in (2, 0, 3, 1, 0)}))
        thread.start()
        thread.join()
        for number, unit in enumerate(units):
            assert_same(got[number], player(unit))
            assert_measured(looks[number].measurement, unit)

    def test_after_close(self, decoder: Decoder, units: dict[str, AccessUnit]) -> None:
        expected = planes(decoder.look(units["hevc"]).picture())
        decoder.close()
        assert_same(decoder.look(units["hevc"]).picture(), expected)

    def test_in_parallel_threads(self, subject: Subject, units: dict[str, AccessUnit]) -> None:
        names = [name for name in ("h264-cabac", "hevc-slices", "av1") if looked(subject, units[name])]
        wanted = {name: player(units[name]) for name in names}
        wrong: list[BaseException] = []

        def work(name: str) -> None:
            try:
                decoder = subject.decoder()
                for _ in range(4):
                    assert_same(decoder.look(units[name]).picture(), wanted[name])
            except BaseException as error:
                wrong.append(error)

        threads = [threading.Thread(target=work, args=(name,)) for name in wanted for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong


class TestDamage:
    @pytest.mark.parametrize(
        "name",
        ["h264-cabac", "h264-cavlc-slices", "h264-interlaced", "hevc", "hevc-wavefront", "hevc-slices", "hevc-10",
         "hevc-small-blocks", "hevc-dark", "av1"],
    )  # fmt: skip
    def test_no_cut_gives_a_picture(self, subject: Subject, units: dict[str, AccessUnit], name: str) -> None:
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
    def test_no_slice_may_be_missing(self, decoder: Decoder, units: dict[str, AccessUnit], name: str) -> None:
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
    def test_noise_in_h264_is_noticed(self, decoder: Decoder, units: dict[str, AccessUnit], name: str) -> None:
        unit = units[name]
        draw = random.Random(11)
        for _ in range(25):
            data = bytearray(unit.data)
            place = draw.randrange(len(data) // 4, len(data) - 400)
            data[place : place + 200] = bytes(draw.randrange(1, 256) for _ in range(200))
            assert refused(decoder, with_data(unit, bytes(data)))

    @pytest.mark.parametrize("codec", [H264, HEVC, AV1])
    def test_a_picture_that_needs_others(self, subject: Subject, codec: Codec) -> None:
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
    def test_two_pictures_are_one_too_many(
        self, decoder: Decoder, units: dict[str, AccessUnit], name: str
    ) -> None:
        assert refused(decoder, with_data(units[name], units[name].data * 2))

    @pytest.mark.parametrize("name", ["h264-cabac", "hevc"])
    @pytest.mark.parametrize("kind", ["sps", "pps"])
    def test_parameter_sets_of_another_stream(
        self, decoder, units: dict[str, AccessUnit], name: str, kind: str
    ) -> None:
        unit = units[name]
        decoder.look(unit).picture()
        wanted = {"sps": 7, "pps": 8} if unit.stream.codec is H264 else {"sps": 33, "pps": 34}
        shift, mask = (0, 31) if unit.stream.codec is H264 else (1, 63)
        parts = nal_units(unit.data)
        kept = [part for part in parts if part[0] >> shift & mask != wanted[kind]]
        assert len(kept) == len(parts) - 1
        assert refused(decoder, with_data(unit, joined(kept)))

    def test_a_lone_field(self, decoder: Decoder) -> None:
        _, lone, _ = field_pair()
        assert refused(decoder, lone)

    def test_headers_that_say_otherwise(self, subject: Subject, units: dict[str, AccessUnit]) -> None:
        data = units["h264-cropped"].data
        for info in (
            StreamInfo(H264, 320, 182),
            StreamInfo(H264, 322, 182, bit_depth=10),
            StreamInfo(H264, 322, 182, chroma="422"),
        ):
            with pytest.raises(MediaError) as caught:
                subject.decoder().look(AccessUnit(info, data, 0.0)).picture()
            assert caught.value.reason == ("unsupported-codec" if subject.may_refuse(info) else "corrupt")

    def test_pictures_beyond_reason(self, decoder: Decoder, units: dict[str, AccessUnit]) -> None:
        with pytest.raises(MediaError) as caught:
            decoder.look(AccessUnit(StreamInfo(H264, 16384, 16384), units["h264-cabac"].data, 0.0)).picture()
        assert caught.value.reason == "unsupported-codec"

    def test_rgb_is_not_supported(self, decoder: Decoder, units: dict[str, AccessUnit]) -> None:
        data = filtered(units["h264-444"].data, "h264_metadata=matrix_coefficients=0", H264)
        with pytest.raises(MediaError) as caught:
            decoder.look(with_data(units["h264-444"], data)).picture()
        assert caught.value.reason == "unsupported-codec"

    def test_nothing_on_stderr(
        self, decoder, units: dict[str, AccessUnit], capfd: pytest.CaptureFixture[str]
    ) -> None:
        for unit in units.values():
            assert refused(decoder, with_data(unit, unit.data[: len(unit.data) // 2]))
        assert capfd.readouterr() == ("", "")

    @pytest.mark.long
    @pytest.mark.parametrize("name", ["h264-cabac", "h264-10", "hevc-slices", "av1"])
    @settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def test_hostile_bytes(self, decoder: Decoder, units: dict[str, AccessUnit], name: str, data) -> None:
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
    def test_bytes_that_are_no_video(self, decoder: Decoder, codec: Codec, data: bytes) -> None:
        assert refused(decoder, AccessUnit(StreamInfo(codec, 320, 192), data, 0.0))


def test_the_samples_are_what_they_are_called(units: dict[str, AccessUnit]) -> None:
    assert {named(name).codec for name in units} == set(Codec)
    assert sum(is_slice(H264, part) for part in nal_units(units["h264-cavlc-slices"].data)) == 4
    for name, unit in units.items():
        context = coded(unit)
        assert (context.coded_width, context.coded_height) == (unit.stream.coded_width, unit.stream.coded_height)
        assert (context.color_range == 2) == unit.stream.full_range, name
        assert context.colorspace == unit.stream.matrix, name
        assert bool(context.has_b_frames) == name.endswith("b-frames") or unit.stream.codec is AV1, name
