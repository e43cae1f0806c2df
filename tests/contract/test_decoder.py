"""What every decoder must do: the right bits, the same bits always, and an error for anything less.

A backend that never falls back may refuse an intact picture of a kind that not every GPU decodes, in so many words
(:meth:`tests.contract.backends.Subject.may_refuse`); nothing else is let off.
"""

from __future__ import annotations

import random
import threading

import numpy as np
import pytest

from harvester.model import AccessUnit, Codec, Picture, StreamInfo
from harvester.ports import Decoder
from tests.contract.backends import Subject
from tests.contract.comparing import assert_measured, assert_same, looked, planes, refused
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
    nal_units,
    named,
    player,
    with_data,
)


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
        """Larger and smaller; coded in one size and shown in others, and the other way round."""
        sizes = [(320, 192), (318, 186), (480, 272), (314, 188), (160, 160), (320, 184)]
        samples = [Sample("turn", codec, width, height) for width, height in sizes]
        samples += [Sample("turn", codec, 320, 184, params="keyint=1:min-cu-size=16")] if codec is HEVC else []
        units = [sample.unit() for sample in samples]
        for unit in units:
            context = coded(unit)
            assert (context.coded_width, context.coded_height) == (
                unit.stream.coded_width,
                unit.stream.coded_height,
            )
        order = [*range(len(units)), 0, 1, 0, 2, 0, 3, 1, 4, 2, 4, 0, 2, *reversed(range(len(units)))]
        for number in order:
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


def test_the_samples_are_what_they_are_called(units: dict[str, AccessUnit]) -> None:
    assert {named(name).codec for name in units} == set(Codec)
    assert sum(is_slice(H264, part) for part in nal_units(units["h264-cavlc-slices"].data)) == 4
    for name, unit in units.items():
        context = coded(unit)
        assert (context.coded_width, context.coded_height) == (unit.stream.coded_width, unit.stream.coded_height)
        assert (context.color_range == 2) == unit.stream.full_range, name
        assert context.colorspace == unit.stream.matrix, name
        assert bool(context.has_b_frames) == name.endswith("b-frames") or unit.stream.codec is AV1, name
