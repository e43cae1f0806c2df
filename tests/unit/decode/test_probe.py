"""What the probe finds: the real loader over compiled stand-ins of the driver's files, real processes, and either the
fake package or the installed one."""

from __future__ import annotations

import ctypes.util
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from harvester.decode import children, driver, trial
from harvester.decode.asking import Question, ask
from harvester.decode.devices import GpuVerdict
from harvester.decode.probe import examine, probe
from harvester.errors import MachineError
from harvester.model import Codec
from tests.fakes.driver import PARTS, build, machine

UUID = "GPU-fa4e0000-0000-4000-8000-00000000000{}"


def look(driver_files: Path, step_s: float = 60.0, **settings: object) -> GpuVerdict:
    """The verdict on a machine with those driver files and the fake package."""
    visible = {"CUDA_VISIBLE_DEVICES": str(settings.pop("visible"))} if "visible" in settings else {}
    with machine(driver_files, **settings):
        return examine({**os.environ, **visible}, step_s=step_s)


def installed(driver_files: Path, **environment: str) -> GpuVerdict:
    """The same with the package that is installed."""
    return examine({**os.environ, "LD_LIBRARY_PATH": str(driver_files), **environment})


@pytest.fixture
def without_driver() -> None:
    if ctypes.util.find_library("cuda"):
        pytest.skip("this machine has an NVIDIA driver")


def assert_told(verdict: GpuVerdict) -> None:
    """A refusal that a user can read and act on."""
    assert not verdict.usable
    for text in (verdict.why, verdict.fix):
        assert text and text.isprintable() and len(text) < 600


# --- what is needed of the machine --------------------------------------------------------------------------------------


def test_another_system_than_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    verdict = examine({})
    assert verdict.problem == "platform" and "win32" in verdict.why
    assert_told(verdict)


def test_the_package_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    verdict = examine({})
    assert verdict.problem == "package" and "pip install PyNvVideoCodec" in verdict.fix
    assert_told(verdict)


# --- the driver's files ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("without_driver")
@pytest.mark.parametrize(
    ("missing", "problem", "fix"),
    [
        ("libcuda.so.1", "driver", "--gpus all"),
        ("libnvcuvid.so.1", "video-capability", "NVIDIA_DRIVER_CAPABILITIES=compute,utility,video"),
        ("libnvidia-encode.so.1", "video-capability", "NVIDIA_DRIVER_CAPABILITIES=compute,utility,video"),
    ],
)
def test_a_file_of_the_driver_is_missing(tmp_path: Path, missing: str, problem: str, fix: str) -> None:
    verdict = look(build(tmp_path, set(PARTS) - {missing}))
    assert verdict.problem == problem
    assert missing in verdict.why and fix in verdict.fix
    assert_told(verdict)


@pytest.mark.usefixtures("without_driver")
def test_a_file_of_the_driver_lies_where_the_loader_does_not_look(tmp_path: Path) -> None:
    told = driver.survey([str(tmp_path / "none"), str(build(tmp_path / "lib64"))])
    assert told["problem"] == "loader-path" and "libcuda.so.1" in str(told["why"])
    assert told["fix"] == f"set LD_LIBRARY_PATH={tmp_path / 'lib64'} before harvester starts"


@pytest.mark.parametrize("name", list(PARTS))
def test_a_file_of_the_driver_is_empty(tmp_path: Path, name: str) -> None:
    """As in images that were saved from a container with the driver mounted into it."""
    (build(tmp_path, set(PARTS) - {name}) / name).touch()
    verdict = look(tmp_path)
    assert verdict.problem == ("driver" if name == "libcuda.so.1" else "video-capability")
    assert f"{tmp_path / name}: file too short" in verdict.why
    assert_told(verdict)


def test_libcuda_is_something_else(tmp_path: Path) -> None:
    build(tmp_path)
    (tmp_path / "libnvcuvid.so.1").replace(tmp_path / "libcuda.so.1")
    build(tmp_path, ["libnvcuvid.so.1"])
    verdict = look(tmp_path)
    assert verdict.problem == "driver" and "cuInit" in verdict.why
    assert_told(verdict)


# --- its start ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "fix"),
    [
        (34, "stub"),
        (802, "nvidia-fabricmanager"),
        (803, "restart"),
        (804, "cuda-compat"),
        (999, "nvidia-uvm"),
        (3, "nvidia-smi"),
    ],
)
def test_the_driver_does_not_start(driver_files: Path, result: int, fix: str) -> None:
    verdict = look(driver_files, cuinit=result)
    assert verdict.problem == "driver-start"
    assert f"cuInit gives {result}" in verdict.why and fix in verdict.fix
    assert ("CUDA_ERROR_UNKNOWN" in verdict.why) == (result == 999)
    assert_told(verdict)


def test_no_gpu_is_there(driver_files: Path) -> None:
    verdict = look(driver_files, gpus=0)
    assert verdict.problem == "no-device" and "--gpus all" in verdict.fix
    assert_told(verdict)


@pytest.mark.parametrize("visible", ["", "-1", "7", "GPU-none\x1b[31m"])
def test_no_gpu_is_left_to_be_seen(driver_files: Path, visible: str) -> None:
    verdict = look(driver_files, gpus=2, visible=visible)
    assert verdict.problem == "no-device" and verdict.why.startswith("CUDA_VISIBLE_DEVICES=")
    assert_told(verdict)


@pytest.mark.parametrize(
    ("way", "problem", "why"),
    [
        ("exit", "died", "exit code 1; its last words: [FATAL] CUDA driver API error 999"),
        ("crash", "died", "SIGABRT"),
    ],
)
def test_the_driver_ends_the_process(driver_files: Path, way: str, problem: str, why: str) -> None:
    verdict = look(driver_files, cuinit=way)
    assert verdict.problem == problem and why in verdict.why
    assert_told(verdict)


def test_the_driver_hangs(driver_files: Path) -> None:
    verdict = look(driver_files, 1.0, cuinit="hang")
    assert verdict.problem == "hang"
    assert_told(verdict)


# --- the package that is installed, over those files ------------------------------------------------------------------------


@pytest.mark.usefixtures("without_driver")
def test_the_real_package_without_a_driver_cannot_be_imported() -> None:
    """With another error than that of a package that is not there, and a page of advice."""
    code = "import PyNvVideoCodec"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "RuntimeError: Failed to load NVENC library" in done.stderr


def test_the_real_package_and_a_driver_too_old_for_it(driver_files: Path) -> None:
    verdict = installed(driver_files, FAKE_NVDEC_NVENC=str(11 * 16))
    assert verdict.problem == "import" and "Driver version is too old" in verdict.why
    assert "newer NVIDIA driver" in verdict.fix
    assert_told(verdict)


def test_the_real_package_and_a_driver_that_lacks_a_function(driver_files: Path) -> None:
    verdict = installed(driver_files)
    assert verdict.problem == "import" and "undefined symbol: cu" in verdict.why
    assert "newer NVIDIA driver" in verdict.fix
    assert_told(verdict)


# --- GPUs, with the fake package --------------------------------------------------------------------------------------------


def test_a_gpu_that_decodes(driver_files: Path) -> None:
    verdict = look(driver_files)
    assert (verdict.problem, verdict.why, verdict.fix) == ("", "", "")
    (device,) = verdict.devices
    assert (device.selector, device.name, device.engines) == ("0", "Fake GPU 0", 7)
    assert [(caps.codec, caps.bit_depth) for caps in device.caps] == list(trial.ASKED)
    assert [(caps.codec, caps.bit_depth) for caps in device.caps if caps.supported] == [
        (Codec.H264, 8),
        (Codec.HEVC, 8),
        (Codec.HEVC, 10),
    ]
    h264 = device.caps[0]
    assert (h264.min_width, h264.min_height, h264.max_width, h264.max_height) == (48, 16, 4096, 4096)
    assert h264.max_macroblocks == 65_536
    assert str(device) == "Fake GPU 0, 7 engines: h264 8 bit, hevc 8 and 10 bit"


def test_a_driver_that_does_not_count_engines(driver_files: Path) -> None:
    (device,) = look(driver_files, engines=0).devices
    assert device.engines == 1


@pytest.mark.parametrize(
    ("visible", "selectors"),
    [
        (None, ["0", "1", "2"]),
        ("2,0", ["2", "0"]),
        (f"{UUID.format(1)},2", [UUID.format(1), "2"]),
        ("1,7,0", ["1"]),
    ],
)
def test_every_visible_gpu_is_tried_by_a_process_that_sees_it_alone(
    driver_files: Path, visible: str | None, selectors: list[str]
) -> None:
    more: dict[str, Any] = {} if visible is None else {"visible": visible}
    verdict = look(driver_files, gpus=3, engines="1;2;3", **more)
    assert [device.selector for device in verdict.devices] == selectors
    numbers = [int(word[-1]) for word in selectors]
    assert [device.name for device in verdict.devices] == [f"Fake GPU {number}" for number in numbers]
    assert [device.engines for device in verdict.devices] == [number + 1 for number in numbers]


def test_one_of_two_does_not_decode(driver_files: Path) -> None:
    verdict = look(driver_files, gpus=2, codecs="hevc:8;h264:8")
    assert [device.selector for device in verdict.devices] == ["1"]
    assert verdict.problem == "" and verdict.why.startswith("GPU 0 (Fake GPU 0): no video decoder")
    assert verdict.fix


@pytest.mark.parametrize(
    ("settings", "problem", "why"),
    [
        ({"codecs": "av1:8"}, "no-decoder", "no video decoder"),
        ({"wrong_at": "1"}, "wrong-picture", "other bits"),
        ({"fail_at": "1"}, "decode", "does not decode a sound keyframe"),
        ({"exit_at": "1"}, "died", "exit code 1"),
        ({"driver": "cuinit"}, "no-decoder", "no video decoder"),
        ({"driver": "no-encode"}, "import", "libnvidia-encode.so.1"),
        ({"driver": "no-cuda"}, "import", "libcuda.so.1"),
        ({"driver": "no-cuvid"}, "caps", "libnvcuvid.so.1"),
        ({"driver": "old"}, "import", "too old"),
    ],
)
def test_a_gpu_that_fails_at_a_step(
    driver_files: Path, settings: Mapping[str, str], problem: str, why: str
) -> None:
    verdict = look(driver_files, **settings)
    assert verdict.problem == problem
    assert verdict.why.startswith("GPU 0 (Fake GPU 0): ") and why in verdict.why
    assert_told(verdict)


@pytest.mark.parametrize(
    ("machine_settings", "problem"),
    [({"cuinit": 999}, "driver-start"), ({"gpus": 0}, "no-device"), ({"gpus": 2}, "not-alone")],
)
def test_a_gpu_that_is_gone_when_it_is_tried(
    driver_files: Path, machine_settings: Mapping[str, object], problem: str
) -> None:
    """The package would end the process, or say that nothing is decoded, or ask another GPU."""
    with machine(driver_files, **machine_settings):
        (told,) = ask([Question(children.command("harvester.decode.trial"), os.environ)], 60.0)
    assert told["problem"] == problem


# --- the process that asks --------------------------------------------------------------------------------------------------


def test_the_verdict_is_found_once(driver_files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with machine(driver_files):
        first = probe()
        monkeypatch.setenv("FAKE_NVDEC_GPUS", "0")
        assert probe() is first and first.usable
        assert not examine(os.environ).usable


def test_what_nobody_waited_for_is_no_verdict(driver_files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with machine(driver_files):
        monkeypatch.setenv("FAKE_NVDEC_CUINIT", "hang")
        with pytest.raises(MachineError):
            probe(lambda: True)
        monkeypatch.delenv("FAKE_NVDEC_CUINIT")
        assert probe().usable


def test_this_process_loads_nothing_of_it(driver_files: Path) -> None:
    code = (
        "import os, sys; from harvester.decode.probe import examine; print(len(examine(os.environ).devices));"
        "print({'PyNvVideoCodec', 'av', 'cupy'} & set(sys.modules), 'libcuda' in open('/proc/self/maps').read())"
    )
    with machine(driver_files, gpus=2):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["2", "set() False"]


def test_no_process_can_be_started(driver_files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/to/be/found")
    verdict = look(driver_files)
    assert verdict.problem == "no-process"
    assert_told(verdict)


def test_what_is_tried_does_not_depend_on_the_folder_it_is_tried_in(
    driver_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file named like a module of the standard library, in the working folder or on PYTHONPATH, changes nothing."""
    (tmp_path / "json.py").write_text("raise SystemExit(7)")
    monkeypatch.chdir(tmp_path)
    with machine(driver_files):
        assert examine({**os.environ, "PYTHONPATH": str(tmp_path)}).usable
