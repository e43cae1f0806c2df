"""What only a backend with a GPU can get wrong: routes, the library's errors, memory. Always on the fake.

(The life and death of a worker process: ``tests/unit/decode``.)
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from harvester.config import Decode
from harvester.decode import Backend, open_backend
from harvester.errors import MediaError
from harvester.model import AccessUnit
from tests.contract.backends import fake_gpu
from tests.contract.streams import AV1, H264, HEVC, Sample, field_pair, filtered, named, player, with_data

PLAIN = Sample("plain", H264, 192, 96)


@contextmanager
def opened(folder: Path, name: str, held_bytes: int = 64 << 20, **machine: object) -> Iterator[Backend]:
    """A backend on a machine with such a GPU; its calls are noted in ``folder``, of one engine if not told else."""
    with fake_gpu(folder, **{"engines": 1, "notes": folder, **machine}):
        backend = open_backend(Decode(backend=name), held_bytes=held_bytes)
        try:
            yield backend
        finally:
            backend.close()


def notes(folder: Path, kind: str) -> int:
    """How many calls of that kind (decodes | decoders) there were."""
    file = folder / kind
    return len(file.read_text().splitlines()) if file.exists() else 0


def assert_right(picture, unit: AccessUnit) -> None:
    for plane, wanted in zip((picture.y, picture.u, picture.v), player(unit), strict=False):
        np.testing.assert_array_equal(plane, wanted)


def cropped(unit: AccessUnit, left: int, top: int) -> AccessUnit:
    edges = f"crop_left={left}:crop_top={top}:crop_right=0:crop_bottom=0"
    sample = Sample("cropped", H264, unit.stream.width, unit.stream.height)
    info = sample.info.__class__(H264, 192, 96, crop=(left, top, 0, 0))
    return AccessUnit(info, filtered(unit.data, f"h264_metadata={edges}", H264), 0.0)


def odd() -> AccessUnit:
    """AV1 alone can have odd sizes; libsvtav1 does not make them: its header is written for one more."""
    return Sample("odd", AV1, 320, 192).unit()


#: Intact pictures that this GPU (H.264 8 bit, HEVC 8 and 10) must not get, and the reason that is counted.
REFUSALS = {
    "codec": lambda: Sample("av1", AV1, 192, 160).unit(),
    "bit-depth": lambda: Sample("deep", H264, 192, 96, pix_fmt="yuv420p10le").unit(),
    "chroma": lambda: Sample("colourful", H264, 192, 96, pix_fmt="yuv422p").unit(),
    "size": lambda: Sample("tiny", HEVC, 128, 96).unit(),
    "crop": lambda: cropped(PLAIN.unit(), 8, 4),
    "interlaced": lambda: Sample("interlaced", H264, 192, 96, params="keyint=1:interlaced=1").unit(),
}


class TestRoutes:
    def test_auto_takes_the_cpu_for_what_the_gpu_must_not_get(self, tmp_path: Path) -> None:
        with opened(tmp_path, "auto") as backend:
            before = notes(tmp_path, "decodes")
            for make in REFUSALS.values():
                unit = make()
                look = backend.decoder().look(unit)
                assert look.decoder == "cpu"
                if not any(unit.stream.crop[:2]):  # a player's crop on the left is rounded
                    assert_right(look.picture(), unit)
            assert notes(tmp_path, "decodes") == before
            assert backend.fallbacks.counts == dict.fromkeys(REFUSALS, 1)
            look = backend.decoder().look(PLAIN.unit())
            assert look.decoder == "nvdec" and backend.fallbacks.counts.total() == len(REFUSALS)

    def test_nvdec_says_that_it_cannot(self, tmp_path: Path) -> None:
        with opened(tmp_path, "nvdec") as backend:
            before = notes(tmp_path, "decodes")
            for make in REFUSALS.values():
                with pytest.raises(MediaError) as caught:
                    backend.decoder().look(make())
                assert caught.value.reason == "unsupported-codec"
            assert notes(tmp_path, "decodes") == before
            assert backend.codecs == {H264, HEVC} and backend.fallbacks.counts == {}

    def test_av1_where_the_gpu_has_it(self, tmp_path: Path) -> None:
        with opened(tmp_path, "nvdec", codecs="h264:8 av1:8 av1:10") as backend:
            assert backend.codecs == {H264, AV1}
            for name in ("av1", "av1-odd-10"):
                unit = named(name).unit()
                look = backend.decoder().look(unit)
                assert look.decoder == "nvdec"
                assert_right(look.picture(), unit)

    def test_two_gpus_share_the_work(self, tmp_path: Path) -> None:
        with opened(tmp_path, "nvdec", gpus=2) as backend:
            before = (tmp_path / "decodes").read_text()
            for _ in range(4):
                assert_right(backend.decoder().look(PLAIN.unit()).picture(), PLAIN.unit())
            new = (tmp_path / "decodes").read_text().removeprefix(before).splitlines()
            gpus = [line.split()[2] for line in new]
            assert len(set(gpus)) == 2 and gpus.count(gpus[0]) == 2

    def test_a_picture_goes_to_the_gpu_that_takes_it(self, tmp_path: Path) -> None:
        with opened(tmp_path, "nvdec", gpus=2, codecs="h264:8;h264:8 hevc:8") as backend:
            for _ in range(3):
                assert backend.decoder().look(named("hevc").unit()).decoder == "nvdec"


class TestErrors:
    def test_a_picture_that_an_error_was_printed_of_is_not_believed(self, tmp_path: Path) -> None:
        with opened(tmp_path, "nvdec", hurt_at="1-") as backend:
            with pytest.raises(MediaError) as caught:
                backend.decoder().look(PLAIN.unit())
            assert caught.value.reason == "corrupt"

    def test_auto_has_the_cpu_judge_it(self, tmp_path: Path) -> None:
        with opened(tmp_path, "auto", hurt_at="1-") as backend:
            unit = PLAIN.unit()
            look = backend.decoder().look(unit)
            assert look.decoder == "cpu" and backend.fallbacks.counts.total() == 1
            assert_right(look.picture(), unit)
            with pytest.raises(MediaError):
                backend.decoder().look(with_data(unit, unit.data[: len(unit.data) // 2]))

    def test_an_exception_is_counted_and_the_next_picture_decoded(self, tmp_path: Path) -> None:
        with opened(tmp_path, "auto", fail_at="2") as backend:  # the first call is the probe's
            looks = [backend.decoder().look(PLAIN.unit()) for _ in range(3)]
            assert [look.decoder for look in looks] == ["cpu", "nvdec", "nvdec"]
            assert backend.fallbacks.counts == {"device-error": 1}
            for look in looks:
                assert_right(look.picture(), PLAIN.unit())

    def test_a_gpu_that_decodes_wrong_is_not_used(self, tmp_path: Path) -> None:
        with opened(tmp_path, "auto", wrong_at="1-") as backend:
            assert backend.choice.name == "cpu" and "bits" in backend.choice.why


class TestMemory:
    def test_decoders_are_kept_for_the_next_of_a_kind(self, tmp_path: Path) -> None:
        with opened(tmp_path, "nvdec") as backend:
            probed = notes(tmp_path, "decoders")
            units = [PLAIN.unit(), Sample("other", H264, 190, 96).unit(), named("hevc").unit()]
            for _ in range(6):
                for unit in units:
                    backend.decoder().look(unit)
            lanes = 2  # an engine's; which of them takes a picture is open
            assert len(units) <= notes(tmp_path, "decoders") - probed <= lanes * len(units)

    def test_decoders_of_many_sizes_fit_into_the_gpu(self, tmp_path: Path) -> None:
        """Seven engines, more kinds of stream than anybody serves, all threads at work."""
        units = [Sample("many", H264, 96 + 16 * n, 64, preset="ultrafast").unit() for n in range(12)]
        with opened(tmp_path, "nvdec", engines=7, sessions=34) as backend:
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

    def test_looks_give_their_memory_back(self, tmp_path: Path) -> None:
        """A picture that finds room is not decoded again when it is asked for."""
        unit = PLAIN.unit()
        size = 192 * 96 * 3 // 2
        with opened(tmp_path, "nvdec", held_bytes=3 * size) as backend:
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

    def test_a_look_outlives_its_thread(self, tmp_path: Path) -> None:
        with opened(tmp_path, "nvdec") as backend:
            looks = []
            thread = threading.Thread(target=lambda: looks.append(backend.decoder().look(PLAIN.unit())))
            thread.start()
            thread.join()
            assert_right(looks[0].picture(), PLAIN.unit())


def test_many_threads_get_their_own_pictures(tmp_path: Path) -> None:
    """Order and pts: each access unit's look is of that access unit, however many are under way."""
    scenes = ("supertuxkart-zengarden", "teeworlds-ctf2", "chromium-bsu-level3", "supertux-forest")
    units = [Sample("scene", codec, 192, 160, scene=scene).unit() for scene in scenes for codec in (H264, HEVC)]
    with opened(tmp_path, "nvdec", engines=4) as backend:
        wrong: list[BaseException] = []

        def work(unit: AccessUnit) -> None:
            try:
                for _ in range(6):
                    look = backend.decoder().look(unit)
                    assert int(look.measurement.histogram @ np.arange(256)) == int(
                        player(unit)[0].sum(dtype=np.int64)
                    )
                    assert_right(look.picture(), unit)
            except BaseException as error:
                wrong.append(error)

        threads = [threading.Thread(target=work, args=(unit,)) for unit in units]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong


def test_fields_of_their_own_stay_away_from_the_gpu(tmp_path: Path) -> None:
    whole, _, luma = field_pair()
    with opened(tmp_path, "auto", min="16x16") as backend:
        look = backend.decoder().look(whole)
        assert look.decoder == "cpu" and backend.fallbacks.counts == {"interlaced": 1}
        np.testing.assert_array_equal(look.picture().y, luma)
