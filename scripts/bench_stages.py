"""Where the time goes: each stage of a frame's way alone, beside its oracle or its rivals.

    .venv/bin/python scripts/bench_stages.py [--turns 31] [--quick] [--json scripts/results/bench_stages.json]

Inputs are heads of the package's footage of four games, encoded as Twitch does, 1080p at 6 Mbit/s and 480p at 1.4;
that takes half a minute. Each stage first proves that its answers are those of the oracle; then all ways take
turns. The clock is the CPU time of the thread, which other programs disturb least, and for what waits for a disk
the clock on the wall. The median and the 10th and 90th percentile over the turns are told, in milliseconds a
unit. --quick measures 480p alone, few turns: it shows that everything works.

simplejpeg is one of the ways where it is installed.

Exit codes: 0 measured, whatever the goals; 1 an answer was wrong.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.results import leave, machine, versions
from bench.stages_http import http_stages, served
from bench.stages_picture import picture_stages
from bench.stages_samples import SIZES, samples
from bench.stages_store import store_stages
from bench.stages_timing import Stage, measured

RESULTS = Path(__file__).parent / "results" / "bench_stages.json"
PACKAGES = ("av", "numpy", "opencv-python-headless", "aiohttp", "pyarrow")


def stages(sizes: list[str], folder: Path, stack: ExitStack) -> Iterator[tuple[str, Stage]]:
    """Every stage with the size of its pictures, "" where that does not matter."""
    seen = {size: samples(size, folder) for size in sizes}
    for size, each in seen.items():
        yield from ((size, stage) for stage in picture_stages(each))
    smallest = seen[sizes[-1]]
    yield from ((sizes[-1], stage) for stage in store_stages(smallest, folder, stack))
    port = stack.enter_context(served())
    yield from (("", stage) for stage in http_stages(port, stack))


def line(row: dict[str, Any]) -> str:
    own, *others = row["ms"].items()
    beside = ", ".join(f"{name} {times['median']:.3f}" for name, times in others)
    times = own[1]
    goal = "" if row["goal_ms"] is None else f" (goal {row['goal_ms']:g}: {'met' if row['met'] else 'missed'})"
    return (
        f"{row['size']:>6} {row['stage']:<32} {times['median']:8.3f} ms a {row['unit']}"
        f" [{times['p10']:.3f} to {times['p90']:.3f}]{goal}" + (f"; {beside}" if beside else "")
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=31)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path, default=RESULTS)
    options = parser.parse_args()
    sizes, turns = (["480p"], 2) if options.quick else (list(SIZES), options.turns)
    rows = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        for size, stage in stages(sizes, Path(folder), stack):
            try:
                rows.append({"size": size, **measured(stage, turns)})
            except AssertionError as wrong:
                print(f"{size} {stage.name}: a wrong answer: {wrong}", file=sys.stderr)
                return 1
            print(line(rows[-1]), flush=True)
    load = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
    leave(
        options.json,
        "bench_stages",
        {**machine(), "load": load},
        versions=versions(*PACKAGES),
        turns=turns,
        stages=rows,
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
