"""Measuring in device memory, beside the host's measurement: the same integers.

Over a stand-in of CuPy that runs the kernel's text on the CPU (tests/fakes/arrays); over CuPy and a GPU where
``REQUIRE_GPU_TESTS`` is 1, and then a missing one is a failure.
"""

from __future__ import annotations

import gc
import importlib
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harvester.decode import cuda, keyframe
from harvester.decode.cpu import CpuDecoder
from harvester.decode.lanes import Worker
from harvester.decode.nvdec import to_picture
from harvester.decode.wire import Measured
from harvester.model import Codec, Measurement, Picture, StreamInfo
from harvester.vision.measure import measure
from tests import fakes
from tests.conftest import program
from tests.contract.streams import named
from tests.unit.vision.conftest import game_frame  # noqa: F401 (a fixture)

FAKES = Path(__file__).parents[2] / "fakes" / "arrays"
ON_HARDWARE = os.environ.get("REQUIRE_GPU_TESTS") == "1"

#: One of each: under a block and over, odd, portrait, less than a cell a pixel, tiles without pixels.
SIZES = [
    (1, 1),
    (1, 40),
    (40, 1),
    (7, 5),
    (31, 33),
    (32, 18),
    (64, 36),
    (17, 300),
    (257, 17),
    (321, 183),
    (270, 480),
    (1922, 1082),
]


@pytest.fixture(scope="module", params=["hardware"] if ON_HARDWARE else ["stand-in"])
def cupy(request: pytest.FixtureRequest) -> Iterator[Any]:
    """The module ``cupy``, real or not; a stand-in does not stay imported."""
    cuda._kernel.cache_clear()
    if request.param == "hardware":
        yield importlib.import_module("cupy")
        return
    program("g++")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FAKES))
        yield importlib.import_module("cupy")
    cuda._kernel.cache_clear()
    for name in [name for name in sys.modules if name.split(".")[0] == "cupy"]:
        del sys.modules[name]


@pytest.fixture
def bench(cupy: Any) -> cuda.DeviceBench:
    return cuda.DeviceBench()


def assert_equal(got: Measurement, wanted: Measurement) -> None:
    for name in ("codec", "width", "height", "gradient", "variogram"):
        assert getattr(got, name) == getattr(wanted, name), name
    for name in ("grid", "histogram", "tile_sums", "tile_squares"):
        assert getattr(got, name).dtype == np.int64
        np.testing.assert_array_equal(getattr(got, name), getattr(wanted, name), err_msg=name)


def nv12(luma: np.ndarray, depth: int = 8) -> np.ndarray:
    """The luma plane as a decoder gives it: samples of more than 8 bits in the high bits, chroma lines below."""
    lines = luma if depth == 8 else luma << (16 - depth)
    return np.concatenate([lines, np.full_like(lines[: len(lines) // 2], 128)])


def both_ways(bench: cuda.DeviceBench, luma: np.ndarray, depth: int = 8) -> tuple[Measurement, Measurement]:
    stream = StreamInfo(Codec.HEVC, luma.shape[1], luma.shape[0], bit_depth=depth)
    [got] = bench.measure([bench.to_device(nv12(luma, depth))], stream)
    return got, measure(Picture(stream, luma, None, None))


def noise(width: int, height: int, depth: int = 8, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng((seed, width, height))
    return rng.integers(0, 1 << depth, (height, width)).astype(np.uint8 if depth == 8 else np.uint16)


class TestTheSameIntegers:
    @pytest.mark.parametrize(("width", "height"), SIZES)
    def test_at_any_size(self, bench: cuda.DeviceBench, width: int, height: int) -> None:
        assert_equal(*both_ways(bench, noise(width, height)))

    @pytest.mark.parametrize("depth", [9, 10, 12, 16])
    def test_of_deep_samples(self, bench: cuda.DeviceBench, depth: int) -> None:
        levels = np.arange(1 << 16, dtype=np.uint32).reshape(256, 256) % (1 << depth)
        assert_equal(*both_ways(bench, levels.astype(np.uint16), depth))
        assert_equal(*both_ways(bench, noise(70, 35, depth), depth))

    @pytest.mark.parametrize("level", [0, 255])
    def test_of_flat_pictures(self, bench: cuda.DeviceBench, level: int) -> None:
        """White is where sums would overflow first; whole blocks of it, and a divided last one."""
        assert_equal(*both_ways(bench, np.full((530, 513), level, np.uint8)))

    def test_of_a_game(self, bench: cuda.DeviceBench, game_frame: np.ndarray) -> None:  # noqa: F811
        luma = np.ascontiguousarray(game_frame[..., 1])
        assert_equal(*both_ways(bench, luma))
        assert_equal(*both_ways(bench, np.ascontiguousarray(luma.T)))

    def test_of_a_picture_in_wider_lines(self, bench: cuda.DeviceBench) -> None:
        """An odd width's lines are one sample longer than the picture."""
        luma = noise(99, 61)
        wide = np.concatenate([luma, noise(1, 61)], axis=1)
        stream = StreamInfo(Codec.AV1, 99, 61)
        [got] = bench.measure([bench.to_device(nv12(wide))], stream)
        assert_equal(got, measure(Picture(stream, luma, None, None)))

    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.integers(1, 90), st.integers(1, 90), st.sampled_from([8, 10]), st.integers(0, 3))
    def test_at_random(self, bench: cuda.DeviceBench, width: int, height: int, depth: int, seed: int) -> None:
        assert_equal(*both_ways(bench, noise(width, height, depth, seed), depth))


@pytest.mark.skipif(ON_HARDWARE, reason="orders the stand-in's threads")
class TestTheKernel:
    @pytest.mark.parametrize("order", [1, 2, 3])
    @pytest.mark.parametrize(("width", "height"), [(300, 70), (20, 20)])
    def test_has_a_barrier_wherever_order_would_matter(
        self, bench: cuda.DeviceBench, monkeypatch: pytest.MonkeyPatch, order: int, width: int, height: int
    ) -> None:
        monkeypatch.setenv("FAKE_CUPY_ORDER", str(order))
        assert_equal(*both_ways(bench, noise(width, height)))

    def test_adds_to_what_threads_share_only_atomically(self) -> None:
        """The stand-in would not notice: it never interrupts a thread."""
        text = Path(cuda.__file__).with_name("measure.cu").read_text()
        shared = r"\b(histogram|cells|sums|squares|gradient|near|far|counters)\b(\[[^\]]*\])?"
        assert len(re.findall(r"atomicAdd\(&" + shared, text)) == 14
        assert not re.findall(shared + r"\s*([-+|]=|\+\+)", text)

    def test_has_the_sizes_that_its_launch_has(self) -> None:
        text = Path(cuda.__file__).with_name("measure.cu").read_text()
        sizes = dict(re.findall(r"#define (\w+) (?: *)(\d+)", text))
        assert (int(sizes["THREADS"]), int(sizes["LINES"])) == (cuda._THREADS, cuda._LINES)
        assert (int(sizes["GRID"]), int(sizes["TILE_ROWS"]), int(sizes["TILE_COLS"])) == (32, 18, 32)


class TestTheBench:
    def test_measures_several_at_once(self, bench: cuda.DeviceBench) -> None:
        stream = StreamInfo(Codec.H264, 64, 36)
        lumas = [noise(64, 36, seed=seed) for seed in range(5)]
        got = bench.measure([bench.to_device(nv12(luma)) for luma in lumas], stream)
        for one, luma in zip(got, lumas, strict=True):
            assert_equal(one, measure(Picture(stream, luma, None, None)))
        assert bench.measure([], stream) == []

    def test_results_are_their_own(self, bench: cuda.DeviceBench) -> None:
        first, wanted = both_ways(bench, noise(64, 36))
        both_ways(bench, noise(64, 36, seed=1))
        assert_equal(first, wanted)

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_copies_in_and_out(self, bench: cuda.DeviceBench, dtype: Any) -> None:
        arrays = [noise(60 + n, 54, 8).astype(dtype) << (8 * (dtype == np.uint16)) for n in (40, 0, 2)]
        originals = [bench.to_device(array) for array in arrays]
        copies = [bench.copy_in(original.data.ptr, original.shape, original.dtype) for original in originals]
        for array, copy in zip(arrays, copies, strict=True):
            assert copy.nbytes == array.nbytes
            out = bench.to_host(copy)
            assert out.dtype == dtype and out.flags.owndata and out.flags.writeable
            np.testing.assert_array_equal(out, array)

    def test_a_copy_outlives_what_it_was_made_of(self, bench: cuda.DeviceBench) -> None:
        """The decoder writes its next picture over the last one, on the bench's stream."""
        slot = bench.to_device(noise(64, 54))
        kept = bench.copy_in(slot.data.ptr, slot.shape, slot.dtype)
        following = bench.to_device(noise(64, 54, seed=1))
        bench._copy(slot.data.ptr, following.data.ptr, slot.nbytes, 3)
        np.testing.assert_array_equal(bench.to_host(kept), noise(64, 54))
        np.testing.assert_array_equal(bench.to_host(slot), noise(64, 54, seed=1))

    def test_tells_its_stream(self, bench: cuda.DeviceBench) -> None:
        assert bench.stream not in (0, 1, 2)  # the default streams
        assert bench.stream != cuda.DeviceBench().stream

    def test_keeps_no_picture(self, bench: cuda.DeviceBench, cupy: Any) -> None:
        frame = bench.to_device(nv12(noise(64, 36)))
        bench.measure([frame], StreamInfo(Codec.H264, 64, 36))
        bench.to_host(frame)
        kind = type(frame)
        del frame
        gc.collect()
        assert not [thing for thing in gc.get_objects() if type(thing) is kind]


@pytest.mark.skipif(ON_HARDWARE, reason="the contract suite runs workers on hardware")
class TestInAWorker:
    """A worker whose PyNvVideoCodec and CuPy are stand-ins: pictures stay "there" and only what is asked for comes."""

    @pytest.fixture
    def surroundings(self, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
        program("g++")
        for name, value in fakes.environment(device=1).items():
            monkeypatch.setenv(name, value)
        monkeypatch.syspath_prepend(str(fakes.FOLDER))
        monkeypatch.syspath_prepend(str(FAKES))
        return monkeypatch

    def test_gives_the_pictures_of_the_cpu(self, surroundings: pytest.MonkeyPatch) -> None:
        units = [named(name).unit() for name in ("h264-cropped", "hevc-10", "h264-cabac", "h264-portrait")]
        pictures = [CpuDecoder().decode(unit) for unit in units]
        with closing_worker() as worker:
            assert worker.note == ""
            answers = [worker.look(unit) for unit in units]  # the later ones overwrite the decoders' frames
            for answer, picture in zip(answers, pictures, strict=True):
                assert isinstance(answer, Measured) and answer.handle is not None
                assert_equal(answer.measurement, measure(picture))
                given = to_picture(worker.give(answer.handle), picture.stream)
                assert keyframe.digest(given) == keyframe.digest(picture)

    @pytest.mark.parametrize(
        ("setting", "note"),
        [
            (("FAKE_CUPY", "wrong"), "measured on the host: the GPU measures other integers"),
            (("FAKE_CUPY", "import"), "measured on the host: CuPy cannot be imported"),
            (("FAKE_NVDEC_DEVICE", "0"), "measured on the host: a keyframe does not decode into device memory"),
        ],
    )
    def test_measures_on_the_host_and_tells(
        self, surroundings: pytest.MonkeyPatch, setting: tuple[str, str], note: str
    ) -> None:
        surroundings.setenv(*setting)
        unit = named("h264-cabac").unit()
        with closing_worker() as worker:
            assert note in worker.note
            answer = worker.look(unit)
            assert isinstance(answer, Measured)
            assert_equal(answer.measurement, measure(CpuDecoder().decode(unit)))


@contextmanager
def closing_worker() -> Iterator[Worker]:
    worker = Worker("0", 2, 1 << 26)
    try:
        yield worker
    finally:
        worker.end()


class TestRefusal:
    def test_none_where_the_integers_are_right(self, cupy: Any) -> None:
        assert cuda.installed()
        assert cuda.refusal() == ""

    @pytest.mark.skipif(ON_HARDWARE, reason="the stand-in fails on demand")
    @pytest.mark.parametrize(
        ("failure", "reason"),
        [
            ("wrong", "the GPU measures other integers than the host"),
            ("compile", "CuPy: CompileException: error: identifier"),
            ("no-device", "CuPy: CUDARuntimeError: cudaErrorNoDevice"),
        ],
    )
    def test_tells_what_fails(self, cupy: Any, monkeypatch: pytest.MonkeyPatch, failure: str, reason: str) -> None:
        monkeypatch.setenv("FAKE_CUPY", failure)
        assert cuda.refusal().startswith(reason)
        assert cuda.refusal().isprintable()

    def test_without_cupy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "path", [])
        monkeypatch.delitem(sys.modules, "cupy", raising=False)
        assert cuda.refusal() == "CuPy is not installed"

    def test_of_a_cupy_that_does_not_load(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.syspath_prepend(str(FAKES))
        monkeypatch.setenv("FAKE_CUPY", "import")
        monkeypatch.delitem(sys.modules, "cupy", raising=False)
        assert cuda.refusal().startswith("CuPy cannot be imported: CuPy failed to load libnvrtc")
