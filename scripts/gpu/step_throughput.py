"""Keyframes a second: over sessions, sizes of keyframes, sizes of pictures, latency modes, and what is done with
the frames; beside PyNvVideoCodec's own threaded decoder on the same keyframes, and libavcodec on all cores.

The most telling cells come first: time may run out.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from typing import Any

from gpu import arms, pynv
from gpu.cells import Cells
from gpu.check import Check
from gpu.streams import MAIN_KB, SIZES_KB
from harvester.model import AccessUnit, Codec

SESSIONS = (1, 2, 4, 7, 10, 14, 21)
#: Stretches measured (s): a cell of the grid, and one that a goal hangs on.
_CELL_S, _GOAL_S = 1.0, 5.0
#: Keyframes in the movie that the threaded decoder reads, in quick runs.
_QUICK_MOVIE = 16


class _Grid:
    """The grid's settings, and the quickest cell of the main kind so far."""

    def __init__(self, check: Check) -> None:
        self.check = check
        self.cells = Cells(check)
        self.package = pynv.load()
        self.cell_s, self.goal_s = (0.2, 0.3) if check.quick else (_CELL_S, _GOAL_S)
        self.sessions = (1, 2) if check.quick else SESSIONS
        self.best: dict[str, Any] = {}

    def units(self, lines: int, size_kb: int) -> Sequence[AccessUnit]:
        return self.check.streams.sized[Codec.H264, lines, size_kb]

    def cell(self, sessions: int, lines: int, size_kb: int, *, latency: str = "LOW", device: bool = True) -> None:
        """PyNvVideoCodec bare."""
        kind = {"latency": latency, "device": device, "lines": lines, "size_kb": size_kb}
        units = self.units(lines, size_kb)
        found = self.cells.cell(
            "cell",
            partial(arms.raw, self.package, units, latency=latency, device_memory=device),
            sessions,
            self.cell_s,
            **kind,
        )
        if found and (lines, size_kb) == (1080, MAIN_KB) and found["fps"] > self.best.get("fps", 0):
            self.best = {"fps": found["fps"], "sessions": sessions, "latency": latency, "device": device}


def run(check: Check) -> None:
    grid = _Grid(check)
    for sessions in grid.sessions:
        grid.cell(sessions, 1080, MAIN_KB)
    for sessions in grid.sessions:
        grid.cell(sessions, 1080, MAIN_KB, latency="NATIVE")
    for sessions in grid.sessions[1::2]:
        grid.cell(sessions, 1080, MAIN_KB, device=False)
    if grid.best:
        check.tell("best", **grid.best)
        _compared(grid)
        _sizes(grid)


def _compared(grid: _Grid) -> None:
    """The arms that goals compare, at the best number of sessions. The package's own decoder comes last: it has
    threads of its own, and may not end."""
    units, best = grid.units(1080, MAIN_KB), grid.best
    sessions, device = int(best["sessions"]), bool(best["device"])
    package, seconds, cell = grid.package, grid.goal_s, grid.cells.cell
    cell(
        "decode only",
        partial(arms.raw, package, units, latency=best["latency"], device_memory=device),
        sessions,
        seconds,
        latency=best["latency"],
        device=device,
    )
    for memory in (True, False):
        cell(
            "session",
            partial(arms.session, units, device_memory=memory),
            sessions,
            seconds,
            device=memory,
        )
    cell("libavcodec", partial(arms.libavcodec, units), len(os.sched_getaffinity(0)), seconds)
    with arms.Movie(units, _QUICK_MOVIE if grid.check.quick else arms.MOVIE) as path:
        for threads in sorted({1, 7, sessions} if not grid.check.quick else {sessions}):
            cell(
                "threaded decoder",
                partial(arms.threaded, package, path, device_memory=device),
                threads,
                seconds,
                device=device,
            )


def _sizes(grid: _Grid) -> None:
    """How the rate falls with the bits and the pixels; the rest of the grid as far as time goes."""
    best, device = int(grid.best["sessions"]), bool(grid.best["device"])
    for sessions in (best, *(count for count in grid.sessions if count != best)):
        for lines in (1080, 720):
            for size_kb in SIZES_KB:
                made = (Codec.H264, lines, size_kb) in grid.check.streams.sized
                if made and (lines, size_kb) != (1080, MAIN_KB):
                    grid.cell(sessions, lines, size_kb, device=device)
