"""Why a category has fewer frames than a run wanted of it, as far as the ledger knows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from harvester.store.ledger import Ledger
from harvester.vision.caps import CAP_REASONS, FEW_BROADCASTERS


@dataclass(frozen=True, slots=True)
class Shortfall:
    """What is missing and why. ``missing``: frames; ``undecided``: targets, at most, of listings that no run has
    gone through to their end; ``due``: failures that are tried again, by reason, the first at ``due_from`` (UTC,
    ISO); ``held_back``: targets that wait for more broadcasters; ``capped``: targets that caps have dropped for
    good; ``full_vods``: VODs that gave as many targets as one may."""

    missing: int
    undecided: int = 0
    due: Mapping[str, int] = field(default_factory=dict)
    due_from: str = ""
    held_back: int = 0
    capped: Mapping[str, int] = field(default_factory=dict)
    full_vods: int = 0

    @classmethod
    def of(cls, ledger: Ledger, category_id: str, missing: int, max_per_vod: int) -> Self:
        """That of one category; ``max_per_vod``: targets that one VOD may give."""
        due, due_from = ledger.due_again(category_id)
        held_back = due.pop(FEW_BROADCASTERS, 0)
        totals = ledger.totals(category_id)
        lasting = [reason for reason in CAP_REASONS if reason != FEW_BROADCASTERS]
        return cls(
            missing,
            ledger.undecided(category_id),
            dict(due),
            due_from,
            held_back,
            {reason: n for reason in lasting if (n := totals.get(("dropped", reason), 0))},
            ledger.full_vods(category_id, max_per_vod),
        )

    def __add__(self, other: Shortfall) -> Shortfall:
        """That of two categories that share a label."""
        return Shortfall(
            self.missing + other.missing,
            self.undecided + other.undecided,
            dict(Counter(self.due) + Counter(other.due)),
            min(filter(None, (self.due_from, other.due_from)), default=""),
            self.held_back + other.held_back,
            dict(Counter(self.capped) + Counter(other.capped)),
            self.full_vods + other.full_vods,
        )


def wanted_of(runs: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Frames of each category, by id, that the latest run with a target for it wanted; ``runs``: latest first."""
    wanted: dict[str, int] = {}
    for run in runs:
        for category_id, books in ((run["report"] or {}).get("categories") or {}).items():
            if books.get("target"):
                wanted.setdefault(category_id, int(books["target"]))
    return wanted
