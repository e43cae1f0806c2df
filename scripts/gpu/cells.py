"""Cells: so many threads doing one thing for some seconds, told with what the GPU's counters said meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from gpu import driver
from gpu.book import found
from gpu.check import Check
from gpu.rates import Turn, measure
from gpu.watching import watched

#: What a cell takes beside its stretch (s): opening the decoders, warming up.
_OPENING_S = 1.5


class Cells:
    """Measures cells of one step."""

    def __init__(self, check: Check) -> None:
        self.check = check
        cuda = driver.open_cuda()
        self._uuid = cuda.uuid() if cuda else None

    def cell(
        self,
        what: str,
        open_turns: Callable[[], Callable[[int], Turn]],
        threads: int,
        seconds: float,
        *,
        cpu_s: Callable[[], float] = time.process_time,
        first_turns: int = 1,
        **facts: Any,
    ) -> Mapping[str, Any] | None:
        """One cell; None if it failed, or there was no time for it."""

        def work() -> Mapping[str, Any]:
            with watched(self._uuid) as seen:
                rate = measure(open_turns(), threads, seconds, cpu_s=cpu_s, first_turns=first_turns)
            return {**rate.facts(), **seen.facts()}

        return self.check.part(what, work, needs_s=seconds + _OPENING_S, sessions=threads, **facts)


def best_sessions(check: Check) -> int:
    """The number of sessions that was quickest in the step ``throughput``; two an engine if it did not run."""
    best = found(check.earlier, "throughput", "best")
    return int(best[-1]["sessions"]) if best else 2 if check.quick else 14
