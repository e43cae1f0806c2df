"""What only a backend with a GPU can get wrong: routes, the library's errors, memory. Always on the fake.

(The life and death of a worker process: ``tests/unit/decode``.)
"""

from __future__ import annotations

import dataclasses
import gc
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from harvester.config import Decode
from harvester.decode import Backend, open_backend
from harvester.decode.nvdec import DeviceError, Session, to_picture
from harvester.errors import MediaError
from harvester.model import AccessUnit
from tests.contract.streams import AV1, H264, HEVC, Sample, field_pair, filtered, named, player, with_data
from tests.fakes import nvdec
from tests.fakes.driver import machine

PLAIN = Sample("plain", H264, 192, 96)

Open = Callable[..., Backend]


@pytest.fixture
def opened(driver_files: Path, tmp_path: Path) -> Iterator[Open]:
    """Call it with a backend's name and, as ``FAKE_NVDEC_*`` small, what the machine is like: its GPU has one engine
    if not told else, and its calls are noted in ``tmp_path``."""
    with ExitStack() as stack:

        def open_it(name: str, held_bytes: int = 64 << 20, **settings: object) -> Backend:
            stack.enter_context(machine(driver_files, **{"engines": 1, "notes": tmp_path, **settings}))
            backend = open_backend(Decode(backend=name), held_bytes=held_bytes)
            stack.callback(backend.close)
            return backend

        yield open_it


def notes(folder: Path, kind: str) -> int:
    """How many calls of that kind (decodes | decoders) there were."""
    file = folder / kind
    return len(file.read_text().splitlines()) if file.exists() else 0


def assert_right(picture, unit: AccessUnit) -> None:
    for plane, wanted in zip((picture.y, picture.u, picture.v), player(unit), strict=False):
        np.testing.assert_array_equal(plane, wanted)


def cropped(unit: AccessUnit) -> AccessUnit:
    """The same picture without 8 columns on its left and 4 lines on top."""
    data = filtered(unit.data, "h264_metadata=crop_left=8:crop_top=4:crop_right=0:crop_bottom=0", H264)
    return AccessUnit(dataclasses.replace(unit.stream, crop=(8, 4, 0, 0)), data, 0.0)


#: Intact pictures that this GPU (H.264 8 bit, HEVC 8 and 10) must not get, and the reason that is counted.
REFUSALS: tuple[tuple[str, Callable[[], AccessUnit]], ...] = (
    ("codec", lambda: Sample("av1", AV1, 192, 160).unit()),
    ("bit-depth", lambda: Sample("deep", H264, 192, 96, pix_fmt="yuv420p10le").unit()),
    ("chroma", lambda: Sample("colourful", H264, 192, 96, pix_fmt="yuv422p").unit()),
    ("size", lambda: Sample("narrow", HEVC, 128, 160).unit()),
    ("size", lambda: Sample("low", HEVC, 160, 128).unit()),
    ("crop", lambda: cropped(PLAIN.unit())),
    ("interlaced", lambda: Sample("interlaced", H264, 192, 96, params="keyint=1:interlaced=1").unit()),
)


class TestRoutes:
    def test_auto_takes_the_cpu_for_what_the_gpu_must_not_get(self, opened: Open, tmp_path: Path) -> None:
        backend = opened("auto")
        before = notes(tmp_path, "decodes")
        for _, make in REFUSALS:
            unit = make()
            look = backend.decoder().look(unit)
            assert look.decoder == "cpu"
            if not any(unit.stream.crop[:2]):  # a player rounds those
                assert_right(look.picture(), unit)
        assert notes(tmp_path, "decodes") == before
        assert backend.fallbacks.counts == Counter(slug for slug, _ in REFUSALS)
        look = backend.decoder().look(PLAIN.unit())
        assert look.decoder == "nvdec" and backend.fallbacks.counts.total() == len(REFUSALS)

    def test_nvdec_says_that_it_cannot(self, opened: Open, tmp_path: Path) -> None:
        backend = opened("nvdec")
        before = notes(tmp_path, "decodes")
        for _, make in REFUSALS:
            with pytest.raises(MediaError) as caught:
                backend.decoder().look(make())
            assert caught.value.reason == "unsupported-codec"
        assert notes(tmp_path, "decodes") == before
        assert backend.codecs == {H264, HEVC} and backend.fallbacks.counts == {}

    def test_av1_where_the_gpu_has_it(self, opened: Open, tmp_path: Path) -> None:
        backend = opened("nvdec", codecs="h264:8 av1:8 av1:10")
        assert backend.codecs == {H264, AV1}
        for name in ("av1", "av1-odd-10"):
            unit = named(name).unit()
            look = backend.decoder().look(unit)
            assert look.decoder == "nvdec"
            assert_right(look.picture(), unit)

    def test_two_gpus_share_the_work(self, opened: Open, tmp_path: Path) -> None:
        backend = opened("nvdec", gpus=2)
        before = (tmp_path / "decodes").read_text()
        for _ in range(4):
            assert_right(backend.decoder().look(PLAIN.unit()).picture(), PLAIN.unit())
        new = (tmp_path / "decodes").read_text().removeprefix(before).splitlines()
        gpus = [line.split()[2] for line in new]
        assert len(set(gpus)) == 2 and gpus.count(gpus[0]) == 2

    def test_a_picture_goes_to_the_gpu_that_takes_it(self, opened: Open, tmp_path: Path) -> None:
        backend = opened("nvdec", gpus=2, codecs="h264:8;h264:8 hevc:8")
        for _ in range(3):
            assert backend.decoder().look(named("hevc").unit()).decoder == "nvdec"


class TestErrors:
    def test_a_picture_that_an_error_was_printed_of_is_not_believed(self, opened: Open, tmp_path: Path) -> None:
        backend = opened("nvdec", hurt_at="1-")
        with pytest.raises(MediaError) as caught:
            backend.decoder().look(PLAIN.unit())
        assert caught.value.reason == "corrupt"

    def test_auto_has_the_cpu_judge_it(self, opened: Open, tmp_path: Path) -> None:
        backend = opened("auto", hurt_at="1-")
        unit = PLAIN.unit()
        look = backend.decoder().look(unit)
        assert look.decoder == "cpu" and backend.fallbacks.counts.total() == 1
        assert_right(look.picture(), unit)
        with pytest.raises(MediaError):
            backend.decoder().look(with_data(unit, unit.data[: len(unit.data) // 2]))

    def test_an_exception_is_counted_and_the_next_picture_decoded(self, opened: Open, tmp_path: Path) -> None:
        backend = opened("auto", fail_at="2")  # the first call is the probe's
        looks = [backend.decoder().look(PLAIN.unit()) for _ in range(3)]
        assert [look.decoder for look in looks] == ["cpu", "nvdec", "nvdec"]
        assert backend.fallbacks.counts == {"device-error": 1}
        for look in looks:
            assert_right(look.picture(), PLAIN.unit())

    def test_a_gpu_that_decodes_wrong_is_not_used(self, opened: Open, tmp_path: Path) -> None:
        backend = opened("auto", wrong_at="1-")
        assert backend.choice.name == "cpu" and "bits" in backend.choice.why


class TestMemory:
    def test_decoders_are_kept_for_the_next_of_a_kind(self, opened: Open, tmp_path: Path) -> None:
        backend = opened("nvdec")
        probed = notes(tmp_path, "decoders")
        units = [PLAIN.unit(), Sample("other", H264, 190, 96).unit(), named("hevc").unit()]
        for _ in range(6):
            for unit in units:
                backend.decoder().look(unit)
        lanes = 2  # an engine's; which of them takes a picture is open
        assert len(units) <= notes(tmp_path, "decoders") - probed <= lanes * len(units)

    def test_decoders_of_many_sizes_fit_into_the_gpu(self, opened: Open, tmp_path: Path) -> None:
        """Seven engines, more kinds of stream than anybody serves, all threads at work."""
        units = [Sample("many", H264, 96 + 16 * n, 64, preset="ultrafast").unit() for n in range(12)]
        backend = opened("nvdec", engines=7, sessions=34)
        wrong: list[BaseException] = []

        def work(first: int) -> None:
            try:
                for unit in units[first:] + units[:first]:
                    backend.decoder().look(unit)
            except BaseException as error:
                wrong.append(error)

        threads = [threading.Thread(target=work, args=(n % len(units),)) for n in range(backend.threads)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong

    def test_a_gpu_with_little_room_goes_on(self, opened: Open) -> None:
        """What there is no memory for goes to the CPU, and the worker is not to blame."""
        units = [Sample("many", H264, 96 + 16 * n, 64, preset="ultrafast").unit() for n in range(6)]
        backend = opened("auto", sessions=3)
        ways = [backend.decoder().look(unit).decoder for _ in range(6) for unit in units]
        assert set(ways[-6:]) == {"nvdec", "cpu"}
        assert set(backend.fallbacks.counts) == {"device-error"} and not backend.fallbacks.events

    def test_a_session_makes_room_after_an_error(self) -> None:
        units = [Sample("many", H264, 96 + 16 * n, 64, preset="ultrafast").unit() for n in range(3)]
        with nvdec(sessions=2):
            session = Session()
            session.decode(units[0])
            session.decode(units[1])
            with pytest.raises(DeviceError):
                session.decode(units[2])
            assert_right(to_picture(session.decode(units[2]), units[2].stream), units[2])

    def test_looks_give_their_memory_back(self, opened: Open, tmp_path: Path) -> None:
        """A picture that finds room is not decoded again when it is asked for."""
        unit = PLAIN.unit()
        size = 192 * 96 * 3 // 2
        backend = opened("nvdec", held_bytes=3 * size)
        decoder = backend.decoder()

        def cost(look) -> int:
            before = notes(tmp_path, "decodes")
            assert_right(look.picture(), unit)
            return notes(tmp_path, "decodes") - before

        for _ in range(10):
            assert cost(decoder.look(unit)) == 0
        held = [decoder.look(unit) for _ in range(4)]
        assert [cost(look) for look in held] == [0, 0, 0, 1]
        del held
        gc.collect()
        held = [decoder.look(unit) for _ in range(3)]
        assert [cost(look) for look in held] == [0, 0, 0]

    def test_a_look_outlives_its_thread(self, opened: Open, tmp_path: Path) -> None:
        backend = opened("nvdec")
        looks = []
        thread = threading.Thread(target=lambda: looks.append(backend.decoder().look(PLAIN.unit())))
        thread.start()
        thread.join()
        assert_right(looks[0].picture(), PLAIN.unit())


def test_many_threads_get_their_own_pictures(opened: Open, tmp_path: Path) -> None:
    """Order and pts: each access unit's look is of that access unit, however many are under way."""
    scenes = ("supertuxkart-zengarden", "teeworlds-ctf2", "chromium-bsu-level3", "supertux-forest")
    units = [Sample("scene", codec, 192, 160, scene=scene).unit() for scene in scenes for codec in (H264, HEVC)]
    backend = opened("nvdec", engines=4)
    wrong: list[BaseException] = []

    def work(unit: AccessUnit) -> None:
        try:
            for _ in range(6):
                look = backend.decoder().look(unit)
                assert int(look.measurement.histogram @ np.arange(256)) == int(player(unit)[0].sum(dtype=np.int64))
                assert_right(look.picture(), unit)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(unit,)) for unit in units]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_fields_of_their_own_stay_away_from_the_gpu(opened: Open, tmp_path: Path) -> None:
    whole, _, luma = field_pair()
    backend = opened("auto", min="16x16")
    look = backend.decoder().look(whole)
    assert look.decoder == "cpu" and backend.fallbacks.counts == {"interlaced": 1}
    np.testing.assert_array_equal(look.picture().y, luma)
