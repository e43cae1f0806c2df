"""Runs to figures, goals and a table."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.arms import HARVESTERS, Run

#: The goals: share of the smaller limit, processor time against that from memory, bytes against the access units,
#: requests a target, anonymous memory (MB).
SHARE, CPU, BYTES, REQUESTS, MEMORY_MB = 0.8, 1.2, 1.4, 1.07, 400
#: Floors of the ratio to rivals with as many connections: on the default link, and on any.
DEFAULT_RTT_MS, DEFAULT_MBPS = 40.0, 300.0
FLOORS = {"ffmpeg": 60.0, "segments x 16": 10.0}
FLOORS_EVERYWHERE = {"sketch x 16": 1.4}


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, least and most of the repeats."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))


_FIGURES: dict[str, Callable[[Run], float]] = {
    "frames_per_s": lambda run: run.frames / run.seconds,
    "frames_per_s_whole_command": lambda run: run.frames / run.wall_s,
    "requests_per_frame": lambda run: run.requests / run.frames,
    "bytes_per_frame": lambda run: run.bytes / run.frames,
    "cpu_ms_per_frame": lambda run: 1000 * run.cpu_s / run.frames,
    "cpu_ms_per_frame_whole_command": lambda run: 1000 * run.whole_cpu_s / run.frames,
    "server_cpu_ms_per_frame": lambda run: 1000 * run.server_cpu_s / run.frames,
    "anonymous_mb": lambda run: run.anonymous_mb,
    "frames": lambda run: run.frames,
}


@dataclass(frozen=True, slots=True)
class Goal:
    """One goal of one harvester arm: a value against its limit, at least it or at most."""

    arm: str
    name: str
    value: float
    limit: float
    at_least: bool

    @property
    def met(self) -> bool:
        """Whether it is."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit


@dataclass(frozen=True, slots=True)
class Cell:
    """All arms on one link with one quality. ``unit_bytes``: mean of the access units wanted."""

    quality: str
    rtt_ms: float
    mbps: float
    cores: int
    targets: int
    unit_bytes: float
    runs: Mapping[str, Sequence[Run]]

    def figure(self, arm: str, name: str) -> Spread:
        """One figure of one arm over the repeats."""
        return Spread.of([_FIGURES[name](run) for run in self.runs[arm]])

    def goals(self) -> Iterator[Goal]:
        """What harvester is held to, as far as the arms were run that tell."""
        for arm in HARVESTERS:
            if arm in self.runs:
                yield from self._goals(arm)

    def _goals(self, arm: str) -> Iterator[Goal]:
        rate = self.figure(arm, "frames_per_s").median
        network, memory = f"limit: fetch x {HARVESTERS[arm]}", "limit: decode"
        if network in self.runs and memory in self.runs:
            limit = min(self.figure(name, "frames_per_s").median for name in (network, memory))
            yield Goal(arm, "share of the smaller limit", rate / limit, SHARE, at_least=True)
        if memory in self.runs:
            cpu = self.figure(arm, "cpu_ms_per_frame").median / self.figure(memory, "cpu_ms_per_frame").median
            yield Goal(arm, "processor time / that from memory", cpu, CPU, at_least=False)
        n_bytes = self.figure(arm, "bytes_per_frame").median / self.unit_bytes
        yield Goal(arm, "bytes / access units", n_bytes, BYTES, at_least=False)
        yield Goal(
            arm, "requests a target", self.figure(arm, "requests_per_frame").median, REQUESTS, at_least=False
        )
        yield Goal(arm, "anonymous memory, MB", self.figure(arm, "anonymous_mb").most, MEMORY_MB, at_least=False)
        if HARVESTERS[arm] == max(HARVESTERS.values()):
            on_default = (self.rtt_ms, self.mbps) == (DEFAULT_RTT_MS, DEFAULT_MBPS)
            floors = FLOORS_EVERYWHERE | (FLOORS if on_default else {})
            for rival, ratio in self.ratios(arm).items():
                if rival in floors:
                    yield Goal(arm, f"times {rival}", ratio, floors[rival], at_least=True)

    def ratios(self, arm: str) -> dict[str, float]:
        """How many times as many frames a second as each rival."""
        rate = self.figure(arm, "frames_per_s").median
        rivals = [other for other in self.runs if other not in HARVESTERS and not other.startswith("limit")]
        return {other: rate / self.figure(other, "frames_per_s").median for other in rivals}

    def document(self) -> dict[str, Any]:
        """For the JSON file."""
        return {
            "quality": self.quality,
            "rtt_ms": self.rtt_ms,
            "mbps": self.mbps,
            "cores": self.cores,
            "targets": self.targets,
            "access_unit_bytes": self.unit_bytes,
            "arms": {arm: {name: asdict(self.figure(arm, name)) for name in _FIGURES} for arm in self.runs},
            "ratios": {arm: self.ratios(arm) for arm in HARVESTERS if arm in self.runs},
            "goals": [asdict(goal) | {"met": goal.met} for goal in self.goals()],
        }


def table(cell: Cell) -> str:
    """A cell as text."""
    link = f"{cell.rtt_ms:g} ms, {cell.mbps:g} Mbit/s" if cell.rtt_ms or cell.mbps else "unshaped"
    lines = [
        f"{cell.quality}, {link}, {cell.cores} core(s), {cell.targets} targets"
        f" of {cell.unit_bytes / 1000:.0f} kB, {len(next(iter(cell.runs.values())))} repeats",
        f"  {'':18}{'frames/s (spread)':>24}{'whole':>8}{'requests':>10}{'MB':>8}{'cpu ms':>9}{'anon MB':>9}",
        *(_line(cell, arm) for arm in cell.runs),
        *_ratio_lines(cell),
        *(
            f"  {goal.arm}: {goal.name} {goal.value:.2f}, goal {'>=' if goal.at_least else '<='} {goal.limit:g}:"
            f" {'met' if goal.met else 'NOT MET'}"
            for goal in cell.goals()
        ),
    ]
    return "\n".join(lines)


def _ratio_lines(cell: Cell) -> Iterator[str]:
    for arm in HARVESTERS:
        ratios = cell.ratios(arm) if arm in cell.runs else {}
        if ratios:
            yield f"  {arm} is as fast as " + ", ".join(f"{n:.3g} {rival}" for rival, n in ratios.items())


def _line(cell: Cell, arm: str) -> str:
    rate = cell.figure(arm, "frames_per_s")
    spread = f"{rate.median:.1f} ({rate.least:.1f}-{rate.most:.1f})"
    whole, requests, n_bytes, cpu, memory = (
        cell.figure(arm, name).median
        for name in (
            "frames_per_s_whole_command",
            "requests_per_frame",
            "bytes_per_frame",
            "cpu_ms_per_frame",
            "anonymous_mb",
        )
    )
    return f"  {arm:18}{spread:>24}{whole:>8.1f}{requests:>10.2f}{n_bytes / 1e6:>8.2f}{cpu:>9.1f}{memory:>9.0f}"
