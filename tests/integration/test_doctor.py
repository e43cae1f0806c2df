"""``harvester doctor`` on machines with and without GPUs: what it says of the decoder, with its fix and exit code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harvester.decode import probe
from tests.fakes.driver import PARTS, build, machine
from tests.integration.commands import Commands, Ended


@pytest.fixture(autouse=True)
def looked_for_anew() -> None:
    probe.forget()


@pytest.fixture
def no_gpu(tmp_path: Path) -> Path:
    """Driver files of which the first is empty: also where there is a real driver, it is not seen."""
    folder = build(tmp_path / "driver", set(PARTS) - {"libcuda.so.1"})
    (folder / "libcuda.so.1").touch()
    return folder


@pytest.fixture
def doctor(default_commands: Commands, tmp_path: Path) -> Callable[..., Ended]:
    def run(*arguments: str, **environment: str) -> Ended:
        return default_commands("doctor", "--out", tmp_path / "dataset", *arguments, **environment)

    return run


def checks(ended: Ended) -> dict[str, dict[str, Any]]:
    """Those of the decoder, by name."""
    return {check["name"]: check for check in ended.json["checks"] if check["name"].startswith(("decoder", "GPU"))}


def test_no_gpu_is_no_fault(doctor: Callable[..., Ended], no_gpu: Path) -> None:
    with machine(no_gpu):
        ended = doctor("--json")
    assert ended.code == 0
    (decoder,) = checks(ended).values()
    assert decoder["state"] == "ok" and decoder["detail"].startswith("cpu (libavcodec ")
    assert "no NVIDIA driver" in decoder["detail"] and "threads" in decoder["detail"]
    assert "install the NVIDIA driver" in decoder["fix"]


def test_the_text_has_the_fix_below(doctor: Callable[..., Ended], no_gpu: Path) -> None:
    with machine(no_gpu):
        lines = doctor().out.splitlines()
    number = next(number for number, line in enumerate(lines) if line.startswith("ok       decoder: cpu"))
    assert lines[number + 1].strip().startswith("→ if there is a GPU, install the NVIDIA driver")


def test_no_gpu_is_looked_for_when_the_cpu_is_forced(doctor: Callable[..., Ended], driver_files: Path) -> None:
    with machine(driver_files):
        ended = doctor("--json", HARVESTER_DECODE_BACKEND="cpu")
        assert not probe._found
    assert ended.code == 0 and list(checks(ended)) == ["decoder"]
    assert "forced" in checks(ended)["decoder"]["detail"] and checks(ended)["decoder"]["fix"] == ""


def test_a_gpu_that_is_there_and_fails_is_a_warning(doctor: Callable[..., Ended], driver_files: Path) -> None:
    with machine(driver_files, cuinit=802):
        ended = doctor("--json")
    assert ended.code == 0
    decoder = checks(ended)["decoder"]
    assert decoder["state"] == "warning" and decoder["detail"].startswith("cpu")
    assert "nvidia-fabricmanager" in decoder["fix"]


def test_a_forced_gpu_that_is_not_there_fails(doctor: Callable[..., Ended], no_gpu: Path) -> None:
    with machine(no_gpu):
        ended = doctor("--json", HARVESTER_DECODE_BACKEND="nvdec")
    assert ended.code == 6
    (decoder,) = checks(ended).values()
    assert (decoder["state"], decoder["exit_code"]) == ("failed", 6)
    assert decoder["detail"].startswith("nvdec: no NVIDIA driver")
    assert "install the NVIDIA driver" in decoder["fix"]


@pytest.mark.parametrize("backend", ["auto", "nvdec"])
def test_gpus_that_decode_are_listed(doctor: Callable[..., Ended], driver_files: Path, backend: str) -> None:
    with machine(driver_files, gpus=2, engines="7;1"):
        ended = doctor("--json", HARVESTER_DECODE_BACKEND=backend)
    assert ended.code == 0
    found = checks(ended)
    assert list(found) == ["decoder", "GPU 0", "GPU 1"]
    assert found["decoder"]["detail"].startswith("nvdec (") and found["decoder"]["state"] == "ok"
    assert found["GPU 0"]["detail"] == "Fake GPU 0, 7 engines: h264 8 bit, hevc 8 and 10 bit"
    assert found["GPU 1"]["detail"] == "Fake GPU 1, 1 engine: h264 8 bit, hevc 8 and 10 bit"


def test_one_that_does_not_decode_is_told_beside_one_that_does(
    doctor: Callable[..., Ended], driver_files: Path
) -> None:
    with machine(driver_files, gpus=2, codecs="hevc:8;h264:8"):
        found = checks(doctor("--json"))
    assert list(found) == ["decoder", "GPU 1", "GPU"]
    assert found["GPU"]["state"] == "warning" and found["GPU"]["fix"]
    assert found["GPU"]["detail"].startswith("not used: GPU 0 (Fake GPU 0): no video decoder")
