"""What storyboards were good for, in numbers and in words."""

from __future__ import annotations

from collections.abc import Mapping

from harvester.pipeline.storyboards import Foreseen
from harvester.report.figures import count_of, size_of
from harvester.stats import RequestKind, Traffic


def foresight(foreseen: Foreseen, traffic: Traffic, measured: int) -> dict[str, int]:
    """VODs with a storyboard (``seen``) and without (``unseen``); targets that it saved (``skipped``, in so many
    VODs: ``skipped_in``), and media bytes: as many for each as for one of the ``measured`` targets.

    Zeros are left out.
    """
    mean_bytes = traffic.bytes[RequestKind.MEDIA] / measured if measured else 0.0
    counts = {
        "seen": foreseen.seen,
        "unseen": foreseen.unseen,
        "skipped": foreseen.skipped,
        "skipped_in": foreseen.skipped_in,
        "saved_bytes": round(foreseen.skipped * mean_bytes),
    }
    return {name: n for name, n in counts.items() if n}


def foresight_text(counts: Mapping[str, int]) -> str:
    """The same as text; "" if no storyboard was asked for."""
    if not counts:
        return ""
    seen, unseen = counts.get("seen", 0), counts.get("unseen", 0)
    text = f"storyboards of {count_of(seen, 'VOD')}" + (f", none of {unseen}" if unseen else "")
    if not counts.get("skipped"):
        return text
    saved = f"{count_of(counts['skipped'], 'target')} in {count_of(counts['skipped_in'], 'VOD')}"
    return f"{text}; idle stretches of them passed over: {saved}, some {size_of(counts.get('saved_bytes', 0))}"
