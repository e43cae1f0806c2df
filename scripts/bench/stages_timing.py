"""A stage beside its rivals: the answers first, then the clock, in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

#: Time that one way is called for before the next one's turn (s of CPU): some calls of what is short.
TURN_S = 0.005


@dataclass(frozen=True)
class Stage:
    """``ways``: the first is harvester's own. ``check`` raises AssertionError unless the answers agree.

    ``goal_ms``: most that harvester's way may take. ``calls``: how many units one call does (rows, frames,
    requests); ``unit``: their name. ``wall``: time on the wall counts, for what waits for a disk.
    """

    name: str
    ways: Mapping[str, Callable[[], Any]]
    check: Callable[[], None]
    goal_ms: float | None = None
    calls: int = 1
    unit: str = "call"
    wall: bool = False
    notes: dict[str, Any] = field(default_factory=dict)


def measured(stage: Stage, turns: int) -> dict[str, Any]:
    """One row: of each way the median and the 10th and 90th percentile of its turns, milliseconds a unit."""
    stage.check()
    took: dict[str, list[float]] = {name: [] for name in stage.ways}
    for _ in range(turns):
        for name, way in stage.ways.items():
            took[name].append(_turn(way, stage.wall) * 1e3 / stage.calls)
    ways = {name: _spread(each) for name, each in took.items()}
    own = next(iter(ways.values()))["median"]
    return {
        "stage": stage.name,
        "unit": stage.unit,
        "clock": "wall" if stage.wall else "cpu of the thread",
        "ms": ways,
        "ratios": {name: round(each["median"] / own, 3) for name, each in list(ways.items())[1:]},
        "goal_ms": stage.goal_ms,
        **({"met": own <= stage.goal_ms} if stage.goal_ms is not None else {}),
        **stage.notes,
    }


def _turn(way: Callable[[], Any], wall: bool) -> float:
    """Seconds a call."""
    clock = time.perf_counter if wall else time.thread_time
    begin, calls = clock(), 0
    while True:
        way()
        calls += 1
        elapsed = clock() - begin
        if elapsed >= TURN_S:
            return elapsed / calls


def _spread(values: list[float]) -> dict[str, float]:
    low, middle, high = np.percentile(values, (10, 50, 90)).tolist()
    return {"median": round(middle, 4), "p10": round(low, 4), "p90": round(high, 4)}
