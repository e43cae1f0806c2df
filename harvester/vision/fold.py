"""Decisions of a category: a fold over measured outcomes, strictly in rank order (one state, no clock, no I/O).

The same fold decides during a run and again in ``verify --replay``; so a verdict depends on what was decided
before it and on nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from harvester.config import Filter
from harvester.model import Measurement, Verdict
from harvester.vision.caps import NO_CAPS, Caps, Origin, Tally
from harvester.vision.filters import judge
from harvester.vision.hamming import HashIndex
from harvester.vision.phash import phash

#: Reason of a frame whose picture the category already has.
DUPLICATE = "duplicate"
#: Reason of a moment whose image the dataset already has: its ledger was lost, or another rendition is asked for.
KNOWN_MOMENT = "known-moment"
#: Reason of a target whose label is less sure than the run wanted; its picture was never fetched.
LOW_CONFIDENCE = "low-confidence"
#: Reasons of a planned target of a broadcaster who has been denied since, or is not among those that are allowed.
DENIED, NOT_ALLOWED = "denied", "not-allowed"
#: Reason of a planned target that was forgotten since.
FORGOTTEN = "forgotten"
#: Reasons that no picture gives.
UNSEEN = frozenset({KNOWN_MOMENT, LOW_CONFIDENCE, DENIED, NOT_ALLOWED, FORGOTTEN})


@dataclass(frozen=True, slots=True)
class Rules:
    """What the fold and the barrier decide by. ``radius``: of near-duplicates (bits).

    Runs of earlier versions did not ask: ``apart``: what recurs or is idle leaves only if it stands apart where it
    was seen; ``placed``: what a clip shows leaves if the storyboard of its VOD casts doubt on it there, and a clip
    alone is not taken for a VOD that is about what it shows; ``unlike``: of a VOD without storyboard what stands
    out among its pictures leaves; ``telling``: a picture shows a scene only if it has what is on it.
    """

    filter: Filter
    radius: int
    caps: Caps = NO_CAPS
    apart: bool = True
    placed: bool = True
    unlike: bool = True
    telling: bool = True


@dataclass(frozen=True, slots=True)
class Decided:
    """A verdict with the picture's hash (None: not measured, or too flat to have one) and, of a duplicate, the
    key of the anchor it repeats and their distance in bits."""

    verdict: Verdict
    phash: int | None = None
    near_key: int | None = None
    near_distance: int | None = None


@dataclass(slots=True)
class CategoryFold:
    """State of one category's decisions: the anchors (hashes of kept frames) and what the caps count.

    ``left``: anchors whose frames have left the dataset since, by key, with their reasons: what looks like them is
    dropped for the same.
    """

    rules: Rules
    anchors: HashIndex
    tally: Tally = field(default_factory=Tally)
    left: dict[int, str] = field(default_factory=dict)

    def capped(self, origin: Origin) -> str:
        """The cap that keeps the next frame of that origin out; "" if none does.

        Broadcaster and day are free again only when frames of theirs leave; a share once others have frames too.
        """
        return self.tally.reached(self.rules.caps, origin)

    def decide(self, key: int, origin: Origin, measurement: Measurement | None) -> Decided:
        """Verdict of the next target in rank order; ``key`` names it among the anchors if it is kept.

        ``measurement`` None: the target was not fetched because of a cap.
        """
        if reason := self.capped(origin):
            return Decided(Verdict(kept=False, reason=reason))
        if measurement is None:
            raise ValueError("only a capped target may come without a measurement")
        verdict = judge(measurement, self.rules.filter)
        if not verdict.kept:
            return Decided(verdict)
        picture_hash = phash(measurement.grid)
        near = self.anchors.nearest(picture_hash, self.rules.radius)
        if near is not None:
            reason = self.left.get(near.key, DUPLICATE)
            dropped = Verdict(kept=False, reason=reason, scores=verdict.scores)
            return Decided(dropped, picture_hash, near.key, near.distance)
        self.anchors.add(picture_hash, key)
        self.tally.count(origin)
        return Decided(verdict, picture_hash)

    def leave(self, key: int, origin: Origin, reason: str) -> None:
        """The frame of an anchor has left the dataset."""
        self.left[key] = reason
        self.tally.count(origin, -1)
