"""Memory and processor time of a process and all below it, as Linux tells them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def tree(pid: int) -> Iterator[int]:
    """``pid`` and its descendants."""
    yield pid
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in _read(file).split():
            yield from tree(int(child))


def processor_s() -> float:
    """Processor time of this process and of those below it that live (s, in steps of a tick, 10 ms)."""
    return sum(map(_processor_s, tree(os.getpid())))


def _processor_s(pid: int) -> float:
    fields = _read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S if fields else 0.0


def resident_mb() -> float:
    """Resident memory of all of them (10^6 bytes); pages that two share count twice."""
    return sum(map(_resident, tree(os.getpid()))) / 1e6


def _resident(pid: int) -> int:
    return memory_bytes(pid, "VmRSS")


def memory_bytes(pid: int, what: str) -> int:
    """A line of the process's status, such as ``VmRSS`` or ``RssAnon`` (bytes); 0 once it has ended."""
    for line in _read(Path(f"/proc/{pid}/status")).splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) * 1024
    return 0


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError:  # it has just ended
        return ""
