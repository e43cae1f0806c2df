"""Whole runs over a GPU, which is the fake one: the same dataset, and every way a GPU can fail a run.

What is the same here is what harvester does with the pictures; that a real GPU gives the same bits is for
``scripts/gpu_check.py`` to say.
"""

from __future__ import annotations

import gc
import hashlib
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, redirect_stderr, redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from typing import Any, Protocol

import pyarrow.parquet as pq
import pytest

import harvester
from harvester.cli import main
from harvester.config import load
from harvester.decode import lanes
from harvester.errors import MachineError
from harvester.pipeline import stopping
from harvester.pipeline.deciding import Judge
from harvester.pipeline.sinks import Decision
from harvester.sandbox import SandboxServer
from tests.fakes.driver import machine
from tests.integration.commands import QUICK, Commands
from tests.integration.refusals import check_refused

FRAMES = 4
CPU, NVDEC = {"HARVESTER_DECODE_BACKEND": "cpu"}, {"HARVESTER_DECODE_BACKEND": "nvdec"}
#: Columns that tell the run, not the frame.
ITS_OWN = {"run_id", "harvested_at", "decoder"}


class Having(Protocol):
    def __call__(self, **settings: object) -> None: ...


@pytest.fixture
def gpu(driver_files: Path) -> Iterator[Having]:
    """Call it with settings of the fake (``FAKE_NVDEC_*``, small) to have such a GPU."""
    with ExitStack() as stack:

        def have(**settings: object) -> None:
            stack.enter_context(machine(driver_files, engines=1, **settings))

        yield have


def wanted(out: Path, frames: int = FRAMES) -> list[str]:
    return ["run", "--category", "Teeworlds", "--out", str(out), "--frames", str(frames), "--json"]


def rows(out: Path) -> list[dict[str, Any]]:
    return [row for file in sorted(out.glob("data/*/metadata.parquet")) for row in pq.read_table(file).to_pylist()]


def frames_and_images(out: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Rows by their file, in whatever order two categories came to be written, and the images' digests."""
    kept = {
        row["file_name"]: {name: value for name, value in row.items() if name not in ITS_OWN} for row in rows(out)
    }
    images = {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (out / "data").rglob("*.jpg")
    }
    assert len(kept) == len(images)
    return kept, images


@pytest.fixture(scope="module")
def by_cpu(world_server: SandboxServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset as the CPU makes it; not to be changed."""
    folder = tmp_path_factory.mktemp("cpu")
    config, out = folder / "sandbox.toml", folder / "dataset"
    config.write_text(world_server.config_toml(), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        for name, value in (world_server.environ | QUICK | CPU).items():
            patch.setenv(name, value)
        with pytest.raises(SystemExit, match="0"):
            main([*wanted(out), "--config", str(config)])
    assert {row["decoder"] for row in rows(out)} == {"cpu"}
    return out


def decodes(notes: Path) -> int:
    file = notes / "decodes"
    return len(file.read_text().splitlines()) if file.exists() else 0


@pytest.fixture
def commands(default_commands: Commands) -> Commands:
    return default_commands


@pytest.mark.parametrize("backend", ["auto", "nvdec"])
def test_the_dataset_is_the_cpus(
    gpu: Having, commands: Commands, by_cpu: Path, tmp_path: Path, backend: str
) -> None:
    by_gpu = tmp_path / "gpu"
    gpu()
    ended = commands(*wanted(by_gpu), HARVESTER_DECODE_BACKEND=backend)
    assert (ended.code, ended.json["fallbacks"], ended.json["notes"]) == (0, {}, []), ended.err
    assert ended.json["decoder"].startswith("nvdec (Fake GPU 0, 1 engine)")
    assert [line for line in ended.err.splitlines() if line.startswith("decoder ")] == [
        f"decoder {ended.json['decoder']}"
    ]
    assert frames_and_images(by_gpu) == frames_and_images(by_cpu)
    assert {row["decoder"] for row in rows(by_gpu)} == {"nvdec"}


def test_frames_without_files_come_from_the_gpu_too(
    gpu: Having, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu()
    for name, value in commands.server.environ.items():
        monkeypatch.setenv(name, value)
    config = load(commands.config).config
    (frame,) = harvester.frames("Teeworlds", n=1, config=config)
    assert frame.decoder == "nvdec"


def test_a_run_that_needs_nothing_asks_no_gpu(
    gpu: Having, commands: Commands, by_cpu: Path, tmp_path: Path
) -> None:
    out, notes = Path(shutil.copytree(by_cpu, tmp_path / "out")), tmp_path / "notes"
    notes.mkdir()
    gpu(notes=notes)
    ended = commands(*wanted(out))
    assert (ended.code, ended.json["planned"], ended.json["decoder"]) == (0, 0, "")
    assert decodes(notes) == 0
    commands(*wanted(out, FRAMES + 1))
    assert decodes(notes) > 0


def test_forced_without_a_gpu_nothing_is_listed(gpu: Having, commands: Commands, tmp_path: Path) -> None:
    gpu(driver="old")
    ended = commands(*wanted(tmp_path / "out"), **NVDEC)
    check_refused(ended, 6, "no GPU can be used")
    assert not [entry for entry in commands.server.log.entries() if entry.kind in ("gql", "usher", "media")]


def test_without_a_gpu_the_cpu_decodes_and_says_why(gpu: Having, commands: Commands, tmp_path: Path) -> None:
    gpu(driver="no-encode")
    ended = commands(*wanted(tmp_path / "out", 1))
    assert (ended.code, ended.json["fallbacks"]) == (0, {})
    assert ended.json["decoder"].startswith("cpu (libavcodec") and "libnvidia-encode" in ended.json["decoder"]


def test_a_gpu_that_is_lost_twice_is_told_and_the_run_goes_on(
    gpu: Having, commands: Commands, by_cpu: Path, tmp_path: Path
) -> None:
    by_gpu = tmp_path / "gpu"
    gpu(exit_at="2")  # of each process; the probe's decodes one picture
    ended = commands(*wanted(by_gpu))
    report = ended.json
    assert report["exit_code"] == 0, ended.err
    assert report["fallbacks"]["worker-lost"] >= 2
    assert ["once more" in note for note in report["notes"]] == [True, False]
    assert "not used any more" in ended.err  # said at once, not only in the end
    assert frames_and_images(by_gpu) == frames_and_images(by_cpu)
    assert "cpu" in {row["decoder"] for row in rows(by_gpu)}


def test_forced_a_gpu_that_is_lost_twice_ends_the_run_and_charges_nothing(
    gpu: Having, commands: Commands, by_cpu: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    gpu(exit_at="2")
    ended = commands(*wanted(out), **NVDEC)
    report = check_refused(ended, 6, "no GPU is left")
    assert report["failed"] == {} and report["pending"] > 0
    again = commands(*wanted(out), **CPU)
    assert (again.code, again.json["failed"]) == (0, {})
    assert frames_and_images(out) == frames_and_images(by_cpu)


def test_many_pictures_that_cannot_be_had_are_one_error(
    commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As when a GPU is lost with all the pictures it held."""
    waiting = threading.Barrier(2)

    def lost(*_: object) -> Decision:
        with suppress(threading.BrokenBarrierError):
            waiting.wait(5)  # two at least
        raise MachineError("no GPU is left", reason="gpu-lost")

    monkeypatch.setattr(Judge, "finish", lost)
    ended = commands(*wanted(tmp_path / "out"), HARVESTER_DECODE_THREADS="4", **CPU)
    check_refused(ended, 6, "no GPU is left")
    gc.collect()
    assert "never retrieved" not in ended.err + capsys.readouterr().err


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[[], bool]], None]]:
    """Sends this process SIGINT once what it is given says so."""
    monkeypatch.setattr(stopping, "PATIENCE_S", 0.05)
    with ExitStack() as stack:

        def once(so: Callable[[], bool]) -> None:
            ended = threading.Event()

            def watch() -> None:
                while not so() and not ended.wait(0.05):
                    pass
                if not ended.is_set():
                    os.kill(os.getpid(), signal.SIGINT)

            thread = threading.Thread(target=watch)
            thread.start()
            stack.callback(thread.join)
            stack.callback(ended.set)

        yield once


def test_a_signal_does_not_wait_for_a_gpu_that_hangs(
    gpu: Having,
    commands: Commands,
    by_cpu: Path,
    tmp_path: Path,
    interrupted: Callable[[Callable[[], bool]], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    monkeypatch.setattr(lanes, "ANSWER_S", 3600.0)
    gpu(hang_at="2-", notes=tmp_path)  # the probe's decodes one picture
    interrupted(lambda: decodes(tmp_path) > 1)
    ended = commands(*wanted(out))
    assert ended.code == 130, ended.err
    again = commands(*wanted(out), **CPU)
    assert again.code == 0 and frames_and_images(out) == frames_and_images(by_cpu)


def test_a_signal_does_not_wait_for_a_driver_that_hangs(
    gpu: Having,
    commands: Commands,
    tmp_path: Path,
    interrupted: Callable[[Callable[[], bool]], None],
) -> None:
    gpu(cuinit="hang")
    interrupted((tmp_path / "out" / "classes.json").exists)
    ended = commands(*wanted(tmp_path / "out"))
    assert (ended.code, ended.json["decoder"], ended.json["status"]) == (130, "", "interrupted"), ended.err


def test_what_went_to_the_cpu_is_in_the_summary(gpu: Having, commands: Commands, tmp_path: Path) -> None:
    gpu(max="640x480")
    arguments = [word for word in wanted(tmp_path / "out", 1) if word != "--json"]
    ended = commands(*arguments)
    assert ended.code == 0
    (line,) = [line for line in ended.out.splitlines() if line.startswith("on the CPU")]
    assert line.endswith(" size")
