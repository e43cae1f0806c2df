"""libavcodec's own way to NVDEC, the real one of the installed PyAV, over a stand-in of the driver.

The stand-in's GPU "decodes" to what the CPU decodes to, so what is shown is everything around it: opening, crop,
formats, order, contexts, errors. Hardware is met by the contract suite alone.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harvester.decode import keyframe
from harvester.decode.cpu import CpuDecoder
from harvester.model import AccessUnit, StreamInfo
from tests.contract.streams import H264, HEVC, Sample, filtered, named
from tests.fakes import hwaccel

#: Opens the backend and decodes on it what stdin says; tells what came of each, and what was said on opening.
CHILD = """
import concurrent.futures, pathlib, pickle, sys, threading
from harvester.config import Decode
from harvester.decode import open_backend
from harvester.errors import HarvesterError

def attempt(work):
    try:
        return work()
    except HarvesterError as error:
        return (type(error).__name__, error.reason, error.exit_code, str(error))

def planes(unit):
    if isinstance(unit, str):  # a file that changes the machine
        return pathlib.Path(unit).touch()
    if isinstance(unit, list):  # each in a thread of its own
        with concurrent.futures.ThreadPoolExecutor(len(unit)) as threads:
            both = threading.Barrier(len(unit))
            return list(threads.map(lambda one: (both.wait(), planes(one))[1], unit))
    look = backend.decoder().look(unit)
    picture = look.picture()
    return look.decoder, look.measurement.gradient, picture.y, picture.u, picture.v

units = pickle.load(sys.stdin.buffer)
backend = attempt(lambda: open_backend(Decode(backend="nvdec-av")))
opened = backend if isinstance(backend, tuple) else (str(backend.choice), backend.codecs, backend.threads)
answers = [] if backend is opened else [attempt(lambda: planes(unit)) for unit in units]
pickle.dump((opened, answers), sys.stdout.buffer)
"""

Ask = Callable[..., tuple[Any, list[Any]]]


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hwaccel.build(tmp_path_factory.mktemp("driver"))


@pytest.fixture
def ask(driver: Path, tmp_path: Path) -> Ask:
    """Decodes units in a process that has the stand-in's driver; it knows the keyframe and what it is taught."""
    hwaccel.teach(tmp_path, keyframe.access_unit())
    machine = {"LD_LIBRARY_PATH": str(driver), "FAKE_DRIVER_PICTURES": str(tmp_path)}

    def asking(units: Sequence[AccessUnit | str] = (), **changed: str) -> tuple[Any, list[Any]]:
        return answered(units, {**machine, **changed})

    return asking


def answered(units: Sequence[AccessUnit | str], machine: dict[str, str]) -> tuple[Any, list[Any]]:
    environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        input=pickle.dumps(list(units)),
        env={**environment, **machine},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b""), done.stderr.decode()
    opened, answers = pickle.loads(done.stdout)
    return opened, answers


def taught(folder: Path, *names: str) -> list[AccessUnit]:
    units = [hwaccel.true_unit(named(name).unit()) for name in names]
    for unit in units:
        hwaccel.teach(folder, unit)
    return units


def assert_pictures(answers: Sequence[Any], units: Sequence[AccessUnit]) -> None:
    assert len(answers) == len(units)
    for answer, unit in zip(answers, units, strict=True):
        name, _, *planes = answer
        assert name == "nvdec-av"
        wanted = CpuDecoder().decode(unit)
        for plane, right in zip(planes, (wanted.y, wanted.u, wanted.v), strict=True):
            assert plane.dtype == right.dtype
            np.testing.assert_array_equal(plane, right)


class TestWithoutAGpu:
    """No silent way to the CPU: nothing starts, exit code 6, and what to do."""

    def refused(self, opened: Any, why: str) -> None:
        kind, reason, exit_code, said = opened
        assert (kind, reason, exit_code) == ("MachineError", "no-gpu", 6)
        assert said.startswith("[decode] backend = 'nvdec-av', but no GPU can be used: ")
        assert why in said and said.isprintable()

    def test_no_driver(self, tmp_path: Path) -> None:
        """An empty file in the loader's path, found first, so that a machine with a driver has none either."""
        (tmp_path / "libcuda.so.1").touch()
        opened, _ = answered([], {"LD_LIBRARY_PATH": str(tmp_path)})
        self.refused(
            opened,
            "libcuda.so.1 cannot be loaded: no NVIDIA driver (if there is a GPU, install the NVIDIA driver; start a "
            "container with --gpus all)",
        )

    def test_no_device(self, ask: Ask) -> None:
        self.refused(ask(FAKE_DRIVER_GPUS="0")[0], "the NVIDIA driver does not start, or shows no GPU")

    def test_no_video_part(self, tmp_path: Path, ask: Ask) -> None:
        """libcuda alone, as in a container without the video capability: the device opens, no picture comes."""
        alone = tmp_path / "alone"
        alone.mkdir()
        hwaccel.build(alone, ("libcuda.so.1",))
        (alone / "libnvcuvid.so.1").touch()
        opened, _ = ask(LD_LIBRARY_PATH=str(alone))
        self.refused(opened, "GPU 0: a sound keyframe does not decode")
        self.refused(opened, "libnvcuvid.so.1")

    def test_a_gpu_that_does_no_codec(self, ask: Ask) -> None:
        self.refused(ask(FAKE_DRIVER_REFUSES="1")[0], "a sound keyframe does not decode")

    def test_a_gpu_with_wrong_bits(self, ask: Ask, tmp_path: Path) -> None:
        for file in tmp_path.iterdir():
            data = bytearray(file.read_bytes())
            data[len(data) // 2] ^= 1
            file.write_bytes(data)
        self.refused(ask()[0], "a known keyframe comes out with other bits than it must")

    def test_doctor_tells_the_same(self, tmp_path: Path) -> None:
        (tmp_path / "libcuda.so.1").touch()
        nobody = "http://127.0.0.1:9/"
        endpoints = "".join(f'{name} = "{nobody}"\n' for name in ("helix", "auth", "gql", "usher"))
        config = tmp_path / "config.toml"
        config.write_text(f'[endpoints]\n{endpoints}[decode]\nbackend = "nvdec-av"\n')
        command = [sys.executable, "-m", "harvester", "doctor", "--json", "--config", str(config)]
        environment = {**os.environ, "LD_LIBRARY_PATH": str(tmp_path)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        checks = json.loads(done.stdout.splitlines()[-1])["checks"]
        [decoder] = [check for check in checks if check["name"] == "decoder"]
        assert decoder["state"] == "failed" and decoder["detail"] == "nvdec-av"
        assert "libcuda.so.1 cannot be loaded" in decoder["fix"]


class TestPictures:
    NAMES = ("h264-cabac", "h264-cavlc-slices", "h264-cropped", "h264-portrait", "h264-full-range")

    def test_are_those_of_the_cpu(self, ask: Ask, tmp_path: Path) -> None:
        units = taught(tmp_path, *self.NAMES, "hevc", "hevc-slices", "hevc-cropped", "hevc-10")
        opened, answers = ask([*units, *reversed(units)])
        assert opened[0].startswith("nvdec-av (libavcodec 6") and opened[0].endswith(
            ", 1 GPU): forced by [decode] backend"
        )
        assert opened[1] == {H264, HEVC}
        assert_pictures(answers, [*units, *reversed(units)])

    def test_share_one_cuda_context_and_keep_their_decoder(self, ask: Ask, tmp_path: Path) -> None:
        units = taught(tmp_path, "h264-cabac", "h264-portrait", "h264-cavlc-slices")
        notes = tmp_path / "notes"
        _, answers = ask(units * 3, FAKE_DRIVER_NOTES=str(notes))
        assert_pictures(answers, units * 3)
        lines = notes.read_text().splitlines()
        assert set(lines) == {"primary 0", "decoder 4 320x192 8", "decoder 4 144x320 8"}
        assert lines.count("decoder 4 144x320 8") == 1
        assert lines.count("decoder 4 320x192 8") == 2  # the keyframe's own and the one of two of these

    def test_of_many_kinds_leave_the_last_decoders(self, ask: Ask, tmp_path: Path) -> None:
        samples = [Sample("size", H264, 160 + 16 * number, 96) for number in range(9)]
        units = [sample.unit() for sample in samples]
        for unit in units:
            hwaccel.teach(tmp_path, unit)
        order = [*units[:8], units[0], units[8], units[0], units[1]]  # eight are kept
        notes = tmp_path / "notes"
        _, answers = ask(order, FAKE_DRIVER_NOTES=str(notes))
        assert_pictures(answers, order)
        made = notes.read_text().splitlines()
        assert [made.count(f"decoder 4 {160 + 16 * number}x96 8") for number in range(9)] == [1, 2, *[1] * 7]

    def test_go_round_the_gpus(self, ask: Ask, tmp_path: Path) -> None:
        units = taught(tmp_path, "h264-cabac") * 3
        notes = tmp_path / "notes"
        opened, [answers] = ask([units], FAKE_DRIVER_GPUS="3", FAKE_DRIVER_NOTES=str(notes))
        assert ", 3 GPUs)" in opened[0] and opened[2] >= 24
        assert_pictures(answers, units)
        lines = notes.read_text().splitlines()
        assert [lines.count(f"primary {gpu}") for gpu in range(3)] == [3, 3, 3]  # found, proved, used


class TestRefusals:
    @pytest.mark.parametrize(
        ("name", "slug"),
        [("h264-10", "bit-depth"), ("h264-444", "chroma"), ("h264-interlaced", "interlaced"), ("av1", "codec")],
    )
    def test_what_hardware_does_not_do(self, ask: Ask, name: str, slug: str) -> None:
        unit = named(name).unit()
        _, [answer] = ask([unit])
        assert answer[:3] == ("MediaError", "unsupported-codec", 4) and f"({slug})" in answer[3]

    def test_a_left_crop(self, ask: Ask) -> None:
        """libavcodec would give out the picture with its left columns still there."""
        data = filtered(named("h264-cabac").unit().data, "h264_metadata=crop_left=6", H264)
        _, [answer] = ask([AccessUnit(StreamInfo(H264, 320, 192, crop=(6, 0, 0, 0)), data, 0.0)])
        assert answer[:2] == ("MediaError", "unsupported-codec") and "(crop)" in answer[3]

    def test_a_picture_of_another_size_than_said(self, ask: Ask, tmp_path: Path) -> None:
        [unit] = taught(tmp_path, "h264-cropped")
        wrong = replace(unit, stream=replace(unit.stream, crop=(0, 0, 0, 0)))
        _, answers = ask([wrong, unit])
        assert answers[0][:2] == ("MediaError", "corrupt")
        assert_pictures(answers[1:], [unit])

    def test_without_parameter_sets(self, ask: Ask, tmp_path: Path) -> None:
        """A context that has seen another stream would decode it with that one's."""
        [unit] = taught(tmp_path, "h264-cabac")
        slices = unit.data[unit.data.rindex(b"\0\0\1\x65") :]
        _, answers = ask([unit, replace(unit, data=slices)])
        assert answers[1][:2] == ("MediaError", "corrupt")

    def test_a_broken_unit_is_its_own_fault(self, ask: Ask, tmp_path: Path) -> None:
        """The driver fails at it; the keyframe still decodes, so the run goes on."""
        [broken] = taught(tmp_path, "h264-baseline")
        newest = max(tmp_path.iterdir(), key=lambda file: file.stat().st_mtime_ns)
        newest.write_bytes(newest.read_bytes()[:100])
        [unit] = taught(tmp_path, "h264-cabac")
        notes = tmp_path / "notes"
        _, answers = ask([unit, broken, broken, unit], FAKE_DRIVER_NOTES=str(notes))
        assert [answer[:2] for answer in answers[1:3]] == [("MediaError", "corrupt")] * 2
        assert_pictures([answers[0], answers[3]], [unit, unit])
        contexts = notes.read_text().splitlines().count("primary 0")
        assert contexts == 2 + 1 + 1 + (1 + 1) + 1  # opened and proved, whole, proved, broken and proved, whole

    def test_a_gpu_that_is_lost_ends_the_run(self, ask: Ask, tmp_path: Path) -> None:
        [unit] = taught(tmp_path, "h264-cabac")
        _, answers = ask([unit, str(tmp_path / "broken"), unit])
        assert_pictures(answers[:1], [unit])
        assert answers[2][:3] == ("MachineError", "gpu-lost", 6)
