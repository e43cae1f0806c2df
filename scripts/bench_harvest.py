"""How fast harvester is, beside other ways to the same pictures and beside what no way can beat.

    .venv/bin/python scripts/bench_harvest.py [--quality 1080p60,480p30] [--rtt-ms 40] [--mbps 300] [--cores 2]
                                              [--repeats 5] [--frames N] [--arms NAME,...] [--quick]
                                              [--decoder auto|cpu|nvdec|nvdec-av]
                                              [--json scripts/results/bench_harvest.json]

Makes VODs of ten minutes, once, from the package's footage (a few minutes; --cache says where), and serves them
from a process of its own behind a link with that round-trip time and a bandwidth that all connections share (0 and
0: as loopback is). ``harvester run`` chooses the targets, which are starts of segments: other moments it does not
sample. All arms then fetch the same ones, and first all must deliver the right pictures. Repeats alternate between
the arms. Some ten minutes a quality; --quick two.

With several values of --rtt-ms, --mbps or --cores it measures each combination, the rivals on the default link
only.

Frames a second, requests, bytes and processor time are of the work itself: for harvester from the first request
for media to the last file, its processor time less that of a run that finds its target met; the others time
themselves, less imports. The whole command stands beside it. The server's processor time is not in it; it works
on the same cores if there are no others, for all arms alike. A rival begins no target after --limit-s seconds.
A rival that is not installed, fails or delivers wrong pictures is left out, and said to be. The link has no slow
start: a new connection costs a round trip, no more. Linux only (it reads /proc and chooses cores).

Exit codes: 0 measured, whatever the goals; 1 harvester or a limit failed or delivered a wrong picture.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.arms import HARVESTERS, LIMITS, ArmFailed, Bench, Run, opened
from bench.footage import QUALITIES, Quality, build
from bench.results import leave, machine, versions
from bench.rivals import ARMS as RIVALS
from bench.rivals import missing
from bench.telling import DEFAULT_MBPS, DEFAULT_RTT_MS, FLOORS_EVERYWHERE, Cell, table

RESULTS = Path(__file__).parent / "results" / "bench_harvest.json"
#: What may decode, in harvester and in the limit that decodes from memory.
DECODERS = ("auto", "cpu", "nvdec", "nvdec-av")
#: Asked of harvester where no number of frames is: more than there are.
ALL = 1_000_000


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def verified(bench: Bench, arms: Sequence[str], left_out: dict[str, str]) -> list[str]:
    """Those arms that deliver the right pictures: harvester and the limits must, other rivals are left out.

    Raises ArmFailed.
    """
    bench.shape(0, 0)
    bench.choose()
    for arm in arms:
        if arm in HARVESTERS or arm.startswith("limit: fetch"):
            continue
        try:
            bench.verify(arm)
        except ArmFailed as failure:
            if arm in LIMITS:
                raise
            left_out[arm] = str(failure).splitlines()[0]
            say(f"left out: {failure}")
    say(f"{bench.quality.name}: {len(bench.wanted)} targets; the pictures of all other arms are right")
    return [arm for arm in arms if arm not in left_out]


def measure(bench: Bench, arms: Sequence[str], rtt_ms: float, mbps: float, repeats: int) -> Cell:
    """All arms on one link, alternating."""
    bench.shape(rtt_ms, mbps)
    runs: dict[str, list[Run]] = {arm: [] for arm in arms}
    for repeat in range(repeats):
        for arm in arms:
            runs[arm].append(bench.run(arm))
            rate = runs[arm][-1].frames / runs[arm][-1].seconds
            say(f"  {rtt_ms:g} ms {mbps:g} Mbit/s, {repeat + 1} of {repeats}, {arm}: {rate:.1f} frames/s")
    return Cell(bench.quality.name, rtt_ms, mbps, len(bench.cores), len(bench.wanted), bench.unit_bytes(), runs)


def chosen_arms(names: Sequence[str], left_out: dict[str, str]) -> list[str]:
    """Those asked for that can run here, the limits behind the harvester whose ranges they fetch."""
    known = [*HARVESTERS, *LIMITS, *RIVALS]
    unknown = set(names) - set(known)
    if unknown:
        raise SystemExit(f"no such arms: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    for arm in set(names) & set(RIVALS):
        if why := missing(arm):
            left_out[arm] = why
            say(f"left out: {arm}, {why}")
    return [arm for arm in known if arm in names and arm not in left_out]


def bench_quality(
    quality: Quality, options: argparse.Namespace, scratch: Path, left_out: dict[str, str]
) -> list[Cell]:
    """Every combination asked for, of one quality. ``left_out``: gets the arms that were, with the reason."""
    cells = []
    folder = build(quality, options.cache)
    available = sorted(os.sched_getaffinity(0))
    links = list(itertools.product(options.rtt_ms, options.mbps))
    for count in options.cores:
        if count > len(available):
            raise SystemExit(f"there are {len(available)} cores")
        settings = {"limit_s": options.limit_s, "frames": options.frames or ALL, "decoder": options.decoder}
        with opened(quality, folder, scratch, available[:count], **settings) as bench:
            arms = verified(bench, chosen_arms(options.arms, left_out), left_out)
            for link in links:
                few = len(links) > 1 and link != (DEFAULT_RTT_MS, DEFAULT_MBPS)
                taken = [arm for arm in arms if not few or arm not in RIVALS or arm in FLOORS_EVERYWHERE]
                if taken:
                    cells.append(measure(bench, taken, *link, options.repeats))
                    print(table(cells[-1]), flush=True)
    return cells


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cache = Path(tempfile.gettempdir()) / f"harvester-bench-{os.getuid()}"
    cores = [min(2, len(os.sched_getaffinity(0)))]
    parser.add_argument("--quality", type=_words, default=["1080p60", "480p30"], metavar="NAME,...")
    parser.add_argument("--rtt-ms", type=_numbers, default=[DEFAULT_RTT_MS], metavar="MS,...")
    parser.add_argument("--mbps", type=_numbers, default=[DEFAULT_MBPS], metavar="MBIT,...")
    parser.add_argument("--cores", type=_counts, default=cores, metavar="N,...")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--frames",
        type=int,
        default=0,
        help="targets (default: all that are planned; else what is fetched ahead of the last one counts too)",
    )
    parser.add_argument("--arms", type=_words, default=[*HARVESTERS, *LIMITS, *RIVALS], metavar="NAME,...")
    parser.add_argument("--limit-s", type=float, default=10, help="time for a rival in each repeat (s)")
    parser.add_argument("--decoder", choices=DECODERS, default="auto", help="harvester's [decode] backend")
    parser.add_argument("--quick", action="store_true", help="one repeat, 3 s a rival")
    parser.add_argument("--cache", type=Path, default=cache, help="folder for the VODs")
    parser.add_argument("--json", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    if unknown := set(options.quality) - set(QUALITIES):
        parser.error(f"no such quality: {', '.join(sorted(unknown))}; there are {', '.join(QUALITIES)}")
    if options.quick:
        options.repeats, options.limit_s = 1, 3.0
    return options


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",")]


def _numbers(text: str) -> list[float]:
    return [float(word) for word in text.split(",")]


def _counts(text: str) -> list[int]:
    return [int(word) for word in text.split(",")]


def main(arguments: Sequence[str] | None = None) -> int:
    options = parsed(arguments)
    cells: list[Cell] = []
    left_out: dict[str, dict[str, str]] = {name: {} for name in options.quality}
    with tempfile.TemporaryDirectory(prefix="harvester-bench-") as scratch:
        try:
            for name in options.quality:
                cells += bench_quality(QUALITIES[name], options, Path(scratch), left_out[name])
        except ArmFailed as failure:
            say(str(failure))
            return 1
    leave(
        options.json,
        "bench_harvest",
        {**machine(), **versions("av", "numpy", "opencv-python-headless")},
        repeats=options.repeats,
        limit_s=options.limit_s,
        decoder=options.decoder,
        left_out=left_out,
        cells=[cell.document() for cell in cells],
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
