"""A command as a process of its own on chosen cores: how long it took, its processor time, its memory."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gpu.processes import memory_bytes, tree

#: How often memory is looked at (s).
_LOOK_S = 0.05


@dataclass(frozen=True, slots=True)
class Ended:
    """What a command took. ``cpu_s``: with its children; ``anonymous_mb``: the most they had at once."""

    code: int
    output: str
    errors: str
    wall_s: float
    cpu_s: float
    anonymous_mb: float


def run(command: Sequence[str], environ: Mapping[str, str], cores: Sequence[int]) -> Ended:
    """Run ``command`` to its end. Children stay on the same cores."""
    begin = time.perf_counter()
    with subprocess.Popen(
        command, env=dict(environ), stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
    ) as process:
        if cores:
            os.sched_setaffinity(process.pid, cores)
        memory = _Memory(process.pid)
        said: list[str] = ["", ""]
        readers = [_reader(said, 0, process.stdout), _reader(said, 1, process.stderr)]
        _, status, used = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - begin
        peak = memory.end()
        for reader in readers:
            reader.join()
        process.returncode = os.waitstatus_to_exitcode(status)
    return Ended(process.returncode, said[0], said[1], wall_s, used.ru_utime + used.ru_stime, peak / 1e6)


def _reader(said: list[str], place: int, pipe: object) -> threading.Thread:
    def read() -> None:
        said[place] = pipe.read().decode(errors="replace")  # type: ignore[attr-defined]

    thread = threading.Thread(target=read)
    thread.start()
    return thread


class _Memory:
    """Watches the anonymous memory of a process and all below it, from a thread."""

    def __init__(self, pid: int) -> None:
        self._pid, self._peak = pid, 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stop.wait(_LOOK_S):
            self._peak = max(self._peak, sum(memory_bytes(pid, "RssAnon") for pid in tree(self._pid)))

    def end(self) -> int:
        """The most seen (bytes)."""
        self._stop.set()
        self._thread.join()
        return self._peak
