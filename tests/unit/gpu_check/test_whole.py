"""``scripts/gpu_check.py`` as a command: without a GPU, and against stand-ins of driver, PyNvVideoCodec and CuPy.

The stand-ins prove that every step runs to its end and tells what it should; nothing about any hardware.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from gpu import book, plan

from tests import fakes

ROOT = Path(__file__).parents[3]

#: The fake PyNvVideoCodec has no threaded decoder: here is one that gives nothing, a hundred times a second.
_THREADED_DECODER = """
import time
import PyNvVideoCodec

class ThreadedDecoder:
    def __init__(self, path, buffer_size, *, use_device_memory=True):
        self.left = 3

    def get_batch_frames(self, count):
        time.sleep(0.01)
        self.left -= 1
        return [object()] * count if self.left > 0 else []

    def reconfigure_decoder(self, path, start_frame=0):
        self.left = 3

PyNvVideoCodec.ThreadedDecoder = ThreadedDecoder
"""


class Command:
    """The script with an output file, in an environment of its own."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self.out = folder / "gpu_check.json"
        self.environ = environ

    def run(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(ROOT / "scripts" / "gpu_check.py"), "--out", str(self.out), *arguments]
        return subprocess.run(command, env=self.environ | environ, capture_output=True, text=True, check=False)

    def records(self) -> list[book.Record]:
        return book.read(self.out)


@pytest.fixture
def command(tmp_path: Path, driver_files: Path) -> Command:
    """With the driver's stand-in, and the fake PyNvVideoCodec of one GPU with one engine."""
    clean = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(_THREADED_DECODER)
    paths = [str(site), fakes.environment()["PYTHONPATH"], str(fakes.FOLDER / "arrays")]
    own = fakes.environment(engines=1, device=1) | {"PYTHONPATH": os.pathsep.join(paths)}
    return Command(tmp_path, clean | own | {"LD_LIBRARY_PATH": str(driver_files)})


def assert_no_gpu(done: subprocess.CompletedProcess[str], command: Command) -> None:
    assert done.returncode == 6 and done.stdout == ""
    *_, last = done.stderr.splitlines()
    assert last.startswith("no GPU to check: ") and len(last) > 40
    assert len([line for line in done.stderr.splitlines() if "no GPU" in line]) == 1
    assert command.out.read_text() == "the last results" and len(list(command.out.parent.glob("*.json*"))) == 1


class TestWithoutGpu:
    def test_a_driver_that_shows_none(self, command: Command) -> None:
        command.out.write_text("the last results")
        done = command.run("--quick", PYTHONPATH="", FAKE_NVDEC_GPUS="0")
        assert_no_gpu(done, command)
        assert "the NVIDIA driver shows no GPU" in done.stderr

    def test_no_driver(self, command: Command) -> None:
        try:
            ctypes.CDLL("libcuda.so.1")
        except OSError:
            command.out.write_text("the last results")
            done = command.run(PYTHONPATH="", LD_LIBRARY_PATH="")
            assert_no_gpu(done, command)
            assert "no NVIDIA driver" in done.stderr and "libcuda.so.1" in done.stderr

    def test_wrong_arguments(self, command: Command) -> None:
        done = command.run("--steps", "no-such")
        assert done.returncode == 2 and "no such steps: no-such; there are environment" in done.stderr

    def test_a_stand_in_is_no_result_to_keep(self, command: Command) -> None:
        kept = ROOT / "scripts" / "results" / "gpu_check.json"
        before = kept.read_bytes() if kept.exists() else b""
        done = command.run("--quick", "--out", str(kept))
        assert done.returncode == 6 and "name another file" in done.stderr
        assert (kept.read_bytes() if kept.exists() else b"") == before


@pytest.mark.long
class TestGuards:
    def test_a_step_that_ends_its_process_is_told_and_the_next_one_runs(self, command: Command) -> None:
        done = command.run("--quick", "--steps", "modes,jpeg", "--budget-s", "5000", FAKE_NVDEC_EXIT_AT="7")
        assert done.returncode == 0
        modes = [record for record in command.records() if record["step"] == "modes"]
        assert modes[0]["one_in_one_out"] is True  # what was found before is there
        assert modes[-1]["what"] == "step" and modes[-1]["failed"] == "ended with exit code 1"
        assert "CUDA driver API error" in modes[-1]["printed"]
        assert book.found(command.records(), "jpeg", "cv2")
        assert all(record["fake"] for record in command.records()[len(before_gate(command.records())) :])
        assert "no results of hardware" in done.stdout and "step: failed ended with exit code 1" in done.stdout

    @pytest.mark.long
    def test_a_step_that_hangs_is_ended(self, command: Command) -> None:
        done = command.run("--quick", "--budget-s", "14", FAKE_NVDEC_CUINIT="hang")
        assert done.returncode == 0
        ends = {record["step"]: record for record in command.records() if record["what"] == "step"}
        assert ends["environment"]["failed"].startswith("ended after")
        assert set(ends) == {step.name for step in plan.STEPS}
        assert all(record["out_of_time"] for record in ends.values())


def before_gate(records: list[book.Record]) -> list[book.Record]:
    """Those of the step that finds out what is imported."""
    return [record for record in records if record["step"] == "environment"]


#: What each kind of record must hold when it found something, with all stand-ins.
SHAPES: dict[str, dict[str, set[str]]] = {
    "environment": {
        "machine": {"cpu", "cores", "memory_gib", "python", "harvester", "packages", "utc"},
        "nvidia-smi": {"gpus"},
        "driver files": {"loads", "folders"},
        "gate": {"fake", "gpus", "trouble"},
        "gpu": {"name", "uuid", "free_mib", "total_mib"},
        "probe": {"usable", "why", "fix", "devices"},
    },
    "streams": {"exact": {"cases", "not_encoded", "bytes"}, "sized": {"bytes"}},
    "caps": {
        "import": {"seconds"},
        "context": {"seconds"},
        "decoders": {"first_s", "second_s", "picture_s", "resized_s", "third_s"},
        "caps": {"codec", "depth", "supported", "num_decoder_engines", "width_min", "mb_num_max"},
    },
    "modes": {"mode": {"latency", "end_of_picture", "stream", "per_call", "flushed", "after_flush", "all_out"}},
    "exactness": {
        "case": {"name", "routed", "same", "measurement_same", "phash", "sha256", "sha256_libavcodec"},
        "a-b-a keyed": {"same"},
        "a-b-a announced": {"shapes", "same"},
        "a-b-a unannounced": {"shapes", "same"},
        "same coded, other display": {"shapes", "same"},
        "frame held": {"right_at_first", "overwritten", "same_address"},
        "left crop bare": {"shapes", "same"},
        "cut bare": {"share", "frames", "right_afterwards", "printed"},
        "cut": {"share", "refused", "right_afterwards"},
        "noise bare": {"frames", "right_afterwards"},
        "noise": {"refused", "right_afterwards"},
    },
    "interop": {"take": {"way", "explicit_stream", "same"}, "race": {"frames", "wrong"}},
    "throughput": {
        "cell": {"sessions", "latency", "device", "lines", "size_kb", "fps", "cpu_ms_per_frame", "cores"},
        "best": {"fps", "sessions", "latency", "device"},
        "decode only": {"fps", "sessions"},
        "threaded decoder": {"fps", "sessions", "device"},
        "session": {"fps", "sessions", "device"},
        "libavcodec": {"fps", "sessions"},
    },
    "mixes": {
        "hevc": {"fps", "size_kb", "device"},
        "a decoder a size": {"fps", "device"},
        "one reconfigured": {"fps", "device"},
    },
    "measuring": {
        "refusal": {"why"},
        "same": {"name", "same", "phash_same"},
        "kernel": {"batch", "us_per_frame"},
        "decode and measure": {"device", "batch", "fps", "cpu_ms_per_frame"},
    },
    "jpeg": {"cv2": {"threads", "fps", "bytes"}},
    "worker": {
        "damage": {"said", "right_afterwards"},
        "open": {"backend", "choice", "threads"},
        "looks": {"backend", "stream", "kept_one_in", "fps", "cpu_ms_per_frame"},
        "close": {"backend", "fallbacks", "events"},
    },
    "soak": {
        "no gpu": {"exit_code", "finally_ran", "said"},
        "soak": {"way", "fps", "seconds", "rss_mb", "rss_mb_per_s", "gpu_mb", "gpu_mb_per_s"},
    },
}


def assert_shapes(records: list[book.Record], steps: tuple[plan.Step, ...]) -> None:
    for step in steps:
        for what, keys in SHAPES[step.name].items():
            kept = book.found(records, step.name, what)
            assert kept, f"{step.name} tells nothing of {what}"
            for record in kept:
                assert keys <= record.keys(), record


@pytest.mark.long
def test_the_truth_table_of_the_fake(command: Command) -> None:
    done = command.run("--quick", "--steps", "caps,modes", "--budget-s", "5000")
    assert done.returncode == 0, done.stderr
    assert_shapes(command.records(), plan.chosen(["caps", "modes"]))
    assert not [record for record in command.records() if "failed" in record or "out_of_time" in record]
    low = book.found(command.records(), "modes", "mode", latency="LOW", end_of_picture=True)
    assert len(low) == 3 and all(record["one_in_one_out"] for record in low)
    late = book.found(command.records(), "modes", "mode", latency="NATIVE", end_of_picture=False)
    assert [record["per_call"][:2] for record in late] == [[[], []]] * 3


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_every_step_to_its_end(command: Command) -> None:
    done = command.run("--quick", "--budget-s", "5000")  # limits that a busy machine keeps too
    assert done.returncode == 0, done.stderr
    records = command.records()
    assert_shapes(records, plan.STEPS)
    _assert_only_failures_of_the_stand_ins(records)
    _assert_the_traps_are_seen(records)
    assert "frames/s by sessions" in done.stdout and "no results of hardware" in done.stdout


def _assert_only_failures_of_the_stand_ins(records: list[book.Record]) -> None:
    failed = [record for record in records if "failed" in record]
    known: list[dict[str, Any]] = [
        {"step": "exactness", "what": "case", "name": "h264-10"},  # not among the fake's codecs
        *({"step": "interop", "what": "take", "way": f"cupy {way}"} for way in ("unowned", "asarray of view")),
        {"step": "interop", "what": "take", "way": "cupy from_dlpack"},  # what the fake CuPy has not
        {"step": "worker", "backend": "nvdec-av"},  # PyAV's own: no stand-in of the driver decodes
    ]
    for record in failed:
        assert any(kind.items() <= record.items() for kind in known), record
    assert {record["lacks"] for record in records if "lacks" in record} <= {"torch", "torchvision", "nvidia"}


def _assert_the_traps_are_seen(records: list[book.Record]) -> None:
    cases = book.found(records, "exactness", "case")
    assert all(record["same"] and record["phash_same"] for record in cases if not record["routed"])
    assert [record["same"] for record in cases if record["name"] == "left-crop"] == [False]
    assert book.found(records, "exactness", "a-b-a unannounced", same=[True, False, True])
    assert book.found(records, "exactness", "frame held", right_at_first=True, overwritten=True)
    assert all("Decode Error" in record["printed"] for record in book.found(records, "exactness", "cut bare"))
    assert book.found(records, "soak", "no gpu", exit_code=1, finally_ran=False)
    damage = book.found(records, "worker", "damage")[0]
    assert set(damage["said"].values()) == {"corrupt"} and damage["right_afterwards"]
    assert all(record["same"] for record in book.found(records, "measuring", "same"))
