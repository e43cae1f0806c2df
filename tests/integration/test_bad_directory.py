"""A dataset directory that cannot be used: not ours, newer, damaged, taken, closed to us, full. It stays as it was."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path

import pytest

from harvester.store.lock import DatasetLock
from tests.integration.commands import QUICK, Commands, Ended
from tests.integration.refusals import check_refused, small, tree

Obedient = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def harvester(default_commands: Commands) -> Commands:
    return default_commands


def test_a_directory_that_is_not_ours_is_left_as_it_is(harvester: Commands, tmp_path: Path) -> None:
    theirs = tmp_path / "photos"
    theirs.mkdir()
    (theirs / "holiday.jpg").write_bytes(b"me")
    for command in ("run", "plan"):
        check_refused(harvester(command, *small(theirs)), 2, "photos", "holds other files")
    for command in ("status", "verify"):
        check_refused(harvester(command, "--out", theirs, "--json"), 2, "holds other files")
    assert [path.name for path in theirs.rglob("*")] == ["holiday.jpg"]
    assert not harvester.server.log.entries()


def newer_classes(out: Path) -> None:
    content = json.loads((out / "classes.json").read_text())
    (out / "classes.json").write_text(json.dumps(content | {"format": content["format"] + 1}))


def newer_ledger(out: Path) -> None:
    with closing(sqlite3.connect(out / ".harvester" / "ledger.sqlite3")) as ledger:
        (version,) = ledger.execute("PRAGMA user_version").fetchone()
        ledger.execute(f"PRAGMA user_version = {version + 1}")


@pytest.mark.parametrize("make_newer", [newer_classes, newer_ledger])
def test_a_dataset_of_a_newer_version(
    harvester: Commands, dataset: Path, make_newer: Callable[[Path], None]
) -> None:
    make_newer(dataset)
    before = tree(dataset)
    check_refused(harvester("run", *small(dataset, 9)), 2, "newer", "update harvester")
    check_refused(harvester("verify", "--out", dataset, "--json"), 2, "update harvester")
    check_refused(harvester("status", "--out", dataset, "--json"), 2, "update harvester")
    assert tree(dataset) == before


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": 1}', b"\xff" * 9])
def test_damaged_classes(harvester: Commands, dataset: Path, content: bytes) -> None:
    (dataset / "classes.json").write_bytes(content)
    before = tree(dataset)
    check_refused(harvester("run", *small(dataset, 9)), 2, "classes.json", "damaged")
    assert tree(dataset) == before


def test_a_damaged_ledger_says_how_to_go_on(harvester: Commands, dataset: Path) -> None:
    for file in (dataset / ".harvester").glob("ledger.sqlite3*"):
        file.write_bytes(b"no database, " * 1000)
    check_refused(harvester("run", *small(dataset, 9)), 6, "delete the .harvester folder")
    shutil.rmtree(dataset / ".harvester")
    before = {name for name in tree(dataset) if name.endswith(".jpg")}
    assert harvester("run", *small(dataset, 4)).code == 0
    assert before < {name for name in tree(dataset) if name.endswith(".jpg")}
    assert harvester("verify", "--out", dataset).code == 0


def test_two_runs_on_one_directory(harvester: Commands, dataset: Path, tmp_path: Path) -> None:
    for out in (dataset, tmp_path / "new"):
        with DatasetLock(out):
            before = tree(out)
            check_refused(harvester("run", *small(out, 9)), 75, f"process {os.getpid()} on ", "wait")
            assert tree(out) == before
    assert harvester("run", *small(dataset, 3)).code == 0


def set_modes(out: Path, folders: int, files: int) -> None:
    for path in (out, *out.rglob("*")):
        path.chmod(folders if path.is_dir() else files)


def test_a_directory_that_cannot_be_read(harvester: Commands, dataset: Path, obedient: Obedient) -> None:
    dataset.chmod(0)
    try:
        with obedient():
            for command in (["run", *small(dataset, 9)], ["verify", "--out", dataset, "--json"]):
                check_refused(harvester(*command), 6, "Permission denied", "write permission")
    finally:
        dataset.chmod(0o755)
    assert harvester("verify", "--out", dataset).code == 0


@pytest.mark.parametrize("part", ["", "data", ".harvester"])
def test_a_directory_that_cannot_be_written(
    harvester: Commands, dataset: Path, obedient: Obedient, part: str
) -> None:
    before = tree(dataset)
    set_modes(dataset / part, 0o555, 0o444)
    try:
        with obedient():
            ended = harvester("run", *small(dataset, 9))
    finally:
        set_modes(dataset / part, 0o755, 0o644)
    check_refused(ended, 6, str(dataset))
    assert tree(dataset) == before
    assert harvester("verify", "--out", dataset, "--replay").code == 0
    assert harvester("run", *small(dataset, 4)).json["kept"] == 2


def test_no_dataset_can_be_made_where_nothing_may_be_written(
    harvester: Commands, tmp_path: Path, obedient: Obedient
) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    with obedient():
        check_refused(harvester("run", *small(locked / "new")), 6, "Permission denied", "another directory")
        assert harvester("doctor", "--out", locked / "new").code == 6


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
from harvester.cli import main
main(sys.argv[2:])
"""


@pytest.mark.parametrize("limit_bytes", [20_000, 90_000], ids=["ledger", "image"])
def test_a_full_disk(harvester: Commands, dataset: Path, limit_bytes: int) -> None:
    """No file may grow beyond a limit: first to meet it is the ledger, or an image."""
    before = tree(dataset)
    command = [sys.executable, "-c", LIMITED, str(limit_bytes), "run", "--config", str(harvester.config)]
    done = subprocess.run(
        [*command, *small(dataset, 9)],
        env=os.environ | harvester.server.environ | QUICK,
        capture_output=True,
        text=True,
        check=False,
    )
    report = check_refused(Ended(done.returncode, done.stdout, done.stderr), 6, str(dataset))
    assert (report["kept"], report["planned"]) == (0, report["pending"])
    assert all(category["total"] == 2 for category in report["categories"].values())
    assert tree(dataset) == before
    assert harvester("verify", "--out", dataset, "--replay").code == 0
    assert harvester("run", *small(dataset, 9)).json["kept"] == 7


def test_a_disk_with_less_room_than_is_to_be_left(
    harvester: Commands, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None begins below the bound, and one that meets it ends there with what it has."""
    before = tree(dataset)
    refused = harvester("run", *small(dataset, 9), HARVESTER_RUN_MIN_FREE_GB="1e9")
    check_refused(refused, 6, "min_free_gb")
    assert not refused.json["requests"].get("media")
    assert tree(dataset) == before
    usage, room = shutil.disk_usage(dataset), iter([3, 3, 1])
    monkeypatch.setattr("harvester.pipeline.stopping.LOOK_S", 0.0)
    monkeypatch.setattr(
        "harvester.store.disk.shutil.disk_usage", lambda _: usage._replace(free=next(room, 1) * 10**9)
    )
    ended = harvester("run", *small(dataset, 9), HARVESTER_RUN_MIN_FREE_GB="2")
    assert (ended.code, ended.json["status"]) == (0, "bounded")
    assert "stopped: min_free_gb" in ended.json["notes"]
    monkeypatch.undo()
    assert harvester("verify", "--out", dataset, "--replay").code == 0
    (category,) = harvester("run", *small(dataset, 9)).json["categories"].values()
    assert category["total"] == 9
