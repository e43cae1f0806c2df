"""One run at a time on a dataset: an advisory lock of the operating system, released with its process.

The lock is on ``.harvester/lock`` (flock; a killed process frees it); who holds it stands in a file beside it, to
be shown to the one who comes second. That file may be out of date and decides nothing.
"""

from __future__ import annotations

import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from filelock import FileLock, Timeout

from harvester.errors import LockHeld, MachineError
from harvester.store.classes import holds_dataset
from harvester.store.disk import changing
from harvester.store.layout import Layout, shown
from harvester.text import printable


class DatasetLock:
    """``with DatasetLock(root):`` the directory is ours alone. Holds across threads, never waits.

    Raises :class:`LockHeld` naming the holder, :class:`ForeignDataset` before it writes into a directory that is
    not ours, :class:`MachineError` if the lock cannot be made.
    """

    def __init__(self, root: Path) -> None:
        self._layout = Layout(root)
        self._lock: FileLock | None = None

    def acquire(self) -> None:
        """Take the lock or raise; makes the directory if it is absent."""
        holds_dataset(self._layout.root)
        with changing(self._layout.root):
            self._layout.state.mkdir(parents=True, exist_ok=True)
            self._lock = self._take()
            self._layout.lock_holder.write_text(json.dumps(_this_process()), encoding="utf-8")

    def release(self) -> None:
        """Give the lock back; nothing happens if it is not held."""
        if self._lock is not None:
            self._layout.lock_holder.unlink(missing_ok=True)
            self._lock.release()
            self._lock = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _take(self) -> FileLock:
        lock = FileLock(self._layout.lock, timeout=0, thread_local=False)
        try:
            lock.acquire()
        except Timeout:
            raise self._held() from None
        except NotImplementedError:
            place = shown(self._layout.root)
            raise MachineError(f"the file system of {place} has no locks: choose a local directory") from None
        return lock

    def _held(self) -> LockHeld:
        place = shown(self._layout.root)
        return LockHeld(f"another run works on {place} ({self._holder()}): wait for it to end or stop it")

    def _holder(self) -> str:
        try:
            holder = json.loads(self._layout.lock_holder.read_text(encoding="utf-8"))
            told = f"process {holder['pid']} on {holder['host']}, started {holder['started']}"
        except (OSError, ValueError, KeyError, TypeError):
            return "holder unknown"
        return printable(told)


def _this_process() -> dict[str, str | int]:
    started = datetime.now(UTC).isoformat(timespec="seconds")
    return {"pid": os.getpid(), "host": platform.node(), "started": started}
