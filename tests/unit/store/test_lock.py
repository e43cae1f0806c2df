"""One process at a time, freed by its death."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harvester.errors import ForeignDataset, LockHeld
from harvester.store.dataset import Dataset
from harvester.store.lock import DatasetLock

HOLD = """
import sys, pathlib
from harvester.store.lock import DatasetLock
with DatasetLock(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_second_run_is_told_who_holds_the_lock_until_that_one_dies(root: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        try:
            with pytest.raises(LockHeld, match=rf"process {holder.pid} on ") as caught:
                DatasetLock(root).acquire()
            assert caught.value.exit_code == 75
            assert str(root) in str(caught.value)
        finally:
            os.kill(holder.pid, signal.SIGKILL)
    with DatasetLock(root):
        assert len(Dataset.open(root)) == 0


def test_within_a_process_it_is_one_at_a_time_too(root: Path) -> None:
    with DatasetLock(root), pytest.raises(LockHeld, match=f"process {os.getpid()} on "):
        DatasetLock(root).acquire()
    with DatasetLock(root):
        pass


def test_the_holder_file_decides_nothing(root: Path) -> None:
    with DatasetLock(root) as lock:
        (root / ".harvester/lock-holder.json").write_text('["\x1b[31m"]')
        with pytest.raises(LockHeld, match="holder unknown"):
            DatasetLock(root).acquire()
        lock.release()
        lock.release()
    (root / ".harvester/lock-holder.json").write_text('{"pid": 1, "host": "x", "started": "long ago"}')
    with DatasetLock(root):
        pass


def test_nothing_is_written_into_a_directory_of_somebody_else(root: Path) -> None:
    root.mkdir()
    (root / "thesis.tex").write_text("x")
    with pytest.raises(ForeignDataset):
        DatasetLock(root).acquire()
    assert [p.name for p in root.iterdir()] == ["thesis.tex"]
