"""``python -m tests.fuzz``: a storm by itself, or one input of it again: ``--kind 'mp4 index' --seed 1 --number 7``."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tests.fuzz.runner import assault, input_of, storm
from tests.fuzz.targets import TARGETS


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description="Throw mutated inputs at every parser."
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--total", type=int, default=100_000, help="inputs in all (default: %(default)s)")
    parser.add_argument("--kind", choices=[target.kind for target in TARGETS], help="only this target")
    parser.add_argument("--number", type=int, help="only this input of --kind")
    parser.add_argument("--save", type=Path, help="write that input to a file")
    asked = parser.parse_args()
    chosen = [target for target in TARGETS if asked.kind in (None, target.kind)]
    if asked.number is not None:
        if asked.save:
            asked.save.write_bytes(input_of(chosen[0], asked.seed, asked.number))
        print(assault(chosen[0], asked.seed, [asked.number]))
        return
    print(f"seed {asked.seed}", file=sys.stderr)
    began_s = time.process_time()
    reports = storm(chosen, asked.seed, asked.total)
    for kind, report in reports.items():
        print(
            f"{kind:24} {report.inputs:6} inputs  {report.answers:6} answers  "
            f"{report.peak_share:.3f} of memory  {dict(report.errors)}"
        )
    print(
        f"{sum(report.inputs for report in reports.values())} inputs, {time.process_time() - began_s:.0f} s of one core"
    )


main()
