"""The real PyNvVideoCodec, all of its binding, over a stand-in of the driver: no GPU, and no fake of the package.

The stand-in's parser gives one picture for a packet, its GPU "decodes" to what the CPU decodes to. So what is shown
is that harvester speaks the package's language to the letter (arguments, attributes, flags, order of errors), that
damage which it prints is heard, and that frames in device memory are read where they lie. Of NVIDIA's parser and of
hardware nothing is shown.
"""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harvester.decode import keyframe
from harvester.decode.cpu import CpuDecoder
from harvester.model import AccessUnit
from tests import fakes
from tests.conftest import left_out
from tests.contract.streams import H264, HEVC, Sample
from tests.fakes import hwaccel

#: Opens the backend and decodes on it what stdin says; tells what the probe said and what came of each.
CHILD = """
import pathlib, pickle, sys
from harvester.config import Decode
from harvester.decode import open_backend
from harvester.decode.probe import probe
from harvester.errors import HarvesterError

def answer(unit):
    if isinstance(unit, str):  # a file that changes the machine
        return pathlib.Path(unit).touch()
    try:
        look = backend.decoder().look(unit)
        picture = look.picture()
        return look.decoder, picture.y, picture.u, picture.v
    except HarvesterError as error:
        return error.reason, str(error)

units = pickle.load(sys.stdin.buffer)
verdict = probe()
answers = []
if verdict.usable:
    backend = open_backend(Decode(backend="nvdec"))
    answers = [answer(unit) for unit in units]
    backend.close()
    answers.append(backend.fallbacks.events)
pickle.dump((verdict, answers), sys.stdout.buffer)
"""

Ask = Callable[..., tuple[Any, list[Any]]]


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if sys.platform != "linux" or importlib.util.find_spec("PyNvVideoCodec") is None:
        left_out("no wheel of PyNvVideoCodec for this machine")
    return hwaccel.build(tmp_path_factory.mktemp("driver"), hwaccel.FILES)


@pytest.fixture(scope="module")
def units() -> list[AccessUnit]:
    """Cropped, of two codecs, of ten bits, whole; and the probe's keyframe."""
    samples = (
        Sample("cropped", H264, 320, 184),
        Sample("hevc", HEVC, 190, 160),
        Sample("deep", HEVC, 192, 160, pix_fmt="yuv420p10le"),
        Sample("whole", H264, 208, 144, params="keyint=30:bframes=3"),
    )
    return [hwaccel.true_unit(unit) for unit in (*(sample.unit() for sample in samples), keyframe.access_unit())]


@pytest.fixture
def ask(driver: Path, units: Sequence[AccessUnit], tmp_path: Path) -> Ask:
    """Decodes units in a process that has the stand-in's driver; a name instead of a unit makes a file beside its
    pictures. The keyword ``path`` is put in front of the search path."""
    for unit in units:
        hwaccel.teach(tmp_path, unit)
    machine = {
        "LD_LIBRARY_PATH": str(driver),
        "FAKE_DRIVER_PICTURES": str(tmp_path),
        "FAKE_DRIVER_NOTES": str(tmp_path / "notes"),
    }

    def asking(wanted: Sequence[AccessUnit | str], path: Path | None = None) -> tuple[Any, list[Any]]:
        paths = [str(path)] * bool(path) + [one for one in [os.environ.get("PYTHONPATH")] if one]
        environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
        done = subprocess.run(
            [sys.executable, "-c", CHILD],
            input=pickle.dumps([str(tmp_path / one) if isinstance(one, str) else one for one in wanted]),
            env={**environment, **machine, "PYTHONPATH": os.pathsep.join(paths)},
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return pickle.loads(done.stdout)  # type: ignore[no-any-return]

    return asking


def notes(folder: Path) -> list[str]:
    return (folder / "notes").read_text(encoding="utf-8").splitlines()


def assert_decoded(answer: Any, unit: AccessUnit) -> None:
    name, *planes = answer
    assert name == "nvdec", answer
    wanted = CpuDecoder().decode(unit)
    for plane, right in zip(planes, (wanted.y, wanted.u, wanted.v), strict=True):
        np.testing.assert_array_equal(plane, right)


def test_pictures_of_all_kinds_in_turn(ask: Ask, units: Sequence[AccessUnit], tmp_path: Path) -> None:
    wanted = [*units, *reversed(units), *units]
    verdict, answers = ask(wanted)
    assert verdict.usable and str(verdict.devices[0]).startswith("Stand-in 0, 1 engine: h264 8")
    for answer, unit in zip(answers, wanted, strict=False):
        assert_decoded(answer, unit)
    assert answers[-1] == ()
    told = notes(tmp_path)
    assert {line for line in told if line.startswith("parser")} == {"parser delay 0"}
    assert not {"no end of picture", "end of stream"} & set(told)  # each picture at its own call


def test_pictures_that_stay_on_the_gpu(ask: Ask, units: Sequence[AccessUnit], tmp_path: Path) -> None:
    """With the stand-in of CuPy: its device memory is the host's, as the driver's is."""
    wanted = [*units, *reversed(units)]
    _, answers = ask(wanted, path=fakes.FOLDER / "arrays")
    for answer, unit in zip(answers, wanted, strict=False):
        assert_decoded(answer, unit)
    assert answers[-1] == (), "pictures were measured on the host"


def test_damage_is_printed_and_heard(ask: Ask, units: Sequence[AccessUnit]) -> None:
    _, answers = ask([units[0], "hurt", units[0], units[1]])
    assert_decoded(answers[0], units[0])
    assert [answer[0] for answer in answers[2:4]] == ["corrupt", "corrupt"]


def test_what_the_driver_refuses_is_told_with_its_number(ask: Ask, units: Sequence[AccessUnit]) -> None:
    _, answers = ask([units[0], "broken", units[0]])
    reason, said = answers[2]
    assert reason == "corrupt" and "cuvidDecodePicture" in said and "999" in said
    assert "/" not in said, "where the package was built is nobody's business"


def test_a_gpu_without_a_decoder(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_DRIVER_REFUSES", "1")
    verdict, _ = ask([])
    assert verdict.problem == "no-decoder"


def test_gpu_check_knows_the_package(driver: Path) -> None:
    """What it imports and asks for by name is there."""
    code = """
import json
from gpu import pynv
from harvester.model import Codec
package = pynv.load()
for latency in pynv.LATENCIES:
    for codec in pynv.CODECS:
        pynv.Raw(package, codec, latency=latency, device_memory=True, stream=7, largest=(1920, 1088)).announce(64, 64)
from gpu.step_caps import _ASKED, _caps
print(json.dumps([_caps(package, *asked)["supported"] for asked in _ASKED] + [pynv.is_fake(package)]))
"""
    scripts = Path(__file__).parents[3] / "scripts"
    paths = [str(scripts), *sys.path]
    variables = {**os.environ, "LD_LIBRARY_PATH": str(driver), "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=variables, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [1] * 8 + [False]
