"""Where a run's time went, stage by stage, in words: who was busy, what queued, and what held the run up.

``list`` finds sources, ``open`` resolves them and reads their playlists, ``network`` fetches heads; ``decode``'s
threads decode, measure and encode; ``order`` is the wait for targets of earlier rank, ``batch`` for a batch to
fill; ``publish`` writes. Of these ``order`` and ``batch`` hold up nobody.
"""

from __future__ import annotations

from collections.abc import Mapping

from harvester.stats import OTHER
from harvester.text import printable

#: A stage that held a run up for less of its time is not told (share).
LEAST_SHARE = 0.02

Seconds = Mapping[str, float]


def mean_queues(waits: Seconds, seconds: float) -> dict[str, float]:
    """Mean number of targets that waited for each stage: all their waiting by the run's own ``seconds``."""
    return {stage: waited_s / seconds for stage, waited_s in waits.items()} if seconds else {}


def bound_by(held_up: Seconds) -> str:
    """The stage that held the run up longest; "" if none did."""
    return next((stage for stage, _ in _longest_first(held_up) if stage != OTHER), "")


def stages_text(stages: Seconds, queues: Mapping[str, float]) -> str:
    """Busy seconds by stage, the busiest first, and how many targets waited for each on average."""
    busy = ", ".join(f"{printable(name)} {seconds:.1f} s" for name, seconds in _longest_first(stages))
    queued = ", ".join(f"{printable(name)} {mean:.1f}" for name, mean in _longest_first(queues))
    return "; ".join(text for text in (busy, f"targets waiting on average: {queued}" if queued else "") if text)


def bound_text(held_up: Seconds) -> str:
    """The stage that held the run up longest, and each one's share of the run; "" if none did."""
    total_s = sum(held_up.values())
    shares = [(name, seconds / total_s) for name, seconds in _longest_first(held_up) if seconds]
    told = ", ".join(f"{printable(name)} {share:.0%}" for name, share in shares if share >= LEAST_SHARE)
    return f"{printable(bound_by(held_up))} ({told} of the time)" if bound_by(held_up) else ""


def _longest_first(by_stage: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(by_stage.items(), key=lambda item: (-item[1], item[0]))
