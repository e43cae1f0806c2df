"""From judged frames to figures: purity, junk, near-duplicates, coverage, false drops, with their bounds. Pure."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harvester.model import Span
from labels.truth import Moment, Shown, Truth, bin_of

#: Two-sided 95 % of a normal distribution (standard deviations).
Z_95 = 1.959964
#: Reasons for which a picture is left out whatever it shows: one that is there already, or one too many. What is
#: dropped for any other reason was taken for junk, or for another game's.
NOT_FOR_WHAT_IT_SHOWS = frozenset({"duplicate", "known-moment", "low-confidence", "few-broadcasters"})
#: ... and every reason that ends so, such as ``broadcaster-cap``.
CAP = "-cap"


@dataclass(frozen=True, slots=True)
class Share:
    """``hits`` of ``of``, and between which bounds the true share lies with 95 % (Wilson's interval)."""

    hits: int
    of: int

    def __post_init__(self) -> None:
        if not 0 <= self.hits <= self.of:
            raise ValueError(f"{self.hits} of {self.of}")

    @property
    def value(self) -> float:
        """The share seen; nan of nothing."""
        return self.hits / self.of if self.of else math.nan

    @property
    def bounds(self) -> tuple[float, float]:
        """E. B. Wilson, 1927: holds for shares near 0 and 1 and small samples, too. 0 and 1 of nothing."""
        if not self.of:
            return 0.0, 1.0
        spread = Z_95 * Z_95 / self.of
        middle = self.value + spread / 2
        half = Z_95 * math.sqrt(self.value * (1 - self.value) / self.of + spread / (4 * self.of))
        low, high = (middle - half) / (1 + spread), (middle + half) / (1 + spread)
        return (0.0 if self.hits == 0 else low), (1.0 if self.hits == self.of else high)

    def document(self) -> dict[str, Any]:
        """As it stands in the results."""
        low, high = self.bounds
        value = round(self.value, 5) if self.of else None
        return {"share": value, "hits": self.hits, "of": self.of, "95%": [round(low, 5), round(high, 5)]}


@dataclass(frozen=True, slots=True)
class Judged:
    """A picture that was fetched and judged, in the order of decisions, beside what it truly shows.

    ``label``: category id it was harvested for. ``reason``: why it is not in the set; "" if it is.
    """

    label: str
    source_id: str
    offset_s: float
    phash: int
    reason: str
    truth: Moment

    @property
    def kept(self) -> bool:
        """True if it is in the set that was harvested."""
        return not self.reason

    @property
    def shown(self) -> Shown:
        """What it shows."""
        return self.truth.shown


def kept_of(frames: Iterable[Judged]) -> list[Judged]:
    """Those in the set."""
    return [frame for frame in frames if frame.kept]


def purity(kept: Sequence[Judged]) -> Share:
    """Frames that show the game they are labelled with."""
    return Share(sum(frame.shown.game == frame.label for frame in kept), len(kept))


def junk(kept: Sequence[Judged]) -> Share:
    """Frames that show no game at all."""
    return Share(sum(frame.shown.junk for frame in kept), len(kept))


def junk_by_design(kept: Sequence[Judged]) -> dict[str, int]:
    """How many frames of each kind and design of junk are in the set, most first."""
    counts: dict[str, int] = defaultdict(int)
    for frame in kept:
        if frame.shown.junk:
            counts[f"{frame.shown.kind}: {frame.shown.design}"] += 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def of_another_game(kept: Sequence[Judged]) -> dict[tuple[str, str, str], list[float]]:
    """Where (s) the frames are that show another game than their label, by source, label and game."""
    found: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for frame in kept:
        if frame.shown.game not in ("", frame.label):
            found[frame.source_id, frame.label, frame.shown.game].append(frame.offset_s)
    return {key: sorted(found[key]) for key in sorted(found)}


def near_duplicates(kept: Sequence[Judged], radius: int) -> Share:
    """Frames whose hash is within ``radius`` bits of an earlier one's of their label."""
    hits = 0
    for same in _by_label(kept).values():
        hashes = np.array([frame.phash for frame in same], np.uint64)
        hits += sum(bool(_within(hashes[:n], hashes[n], radius)) for n in range(1, len(same)))
    return Share(hits, len(kept))


def coverage(
    truth: Truth,
    kept: Sequence[Judged],
    radius: int,
    most_per_source: int,
    guards: Mapping[str, Sequence[Span]] = MappingProxyType({}),
) -> dict[str, Share]:
    """By game: kept distinct 30-s bins of its true gameplay, of those that could have been had.

    Of each source these are as many as a source may give (``most_per_source``, 0 = any number), and no more than
    it has eligible bins: those with a kept frame, and those that hold a picture farther than ``radius`` from every
    kept frame of the game. What lies in a guard band (``guards``, by source) could not be had, whatever it shows:
    nobody may take it who knows no more than Twitch tells. A game of which nothing could be had is not listed.
    """
    kept_hashes = {
        label: np.array([frame.phash for frame in frames], np.uint64) for label, frames in _by_label(kept).items()
    }
    taken = {
        (frame.label, frame.source_id, bin_of(frame.offset_s))
        for frame in kept
        if frame.shown.kind == "gameplay" and frame.shown.game == frame.label
    }
    had: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for source_id in truth.sources:
        for game, bins in _bins(truth, source_id, guards.get(source_id, ())).items():
            mine = {number for number in bins if (game, source_id, number) in taken}
            known = kept_hashes.get(game, np.empty(0, np.uint64))
            eligible = len(mine) + sum(
                any(not _within(known, phash, radius) for phash in bins[number]) for number in bins.keys() - mine
            )
            allowed = min(eligible, most_per_source) if most_per_source else eligible
            had[game][0] += min(len(mine), allowed)
            had[game][1] += allowed
    return {game: Share(hits, of) for game, (hits, of) in had.items() if of}


def _bins(truth: Truth, source_id: str, guards: Sequence[Span]) -> dict[str, dict[int, list[int]]]:
    """Hashes of a source's true gameplay outside of ``guards``, by game and bin; bins without any are empty."""
    found: dict[str, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for moment in truth.moments(source_id):
        if moment.shown.kind == "gameplay":
            here = found[moment.shown.game][bin_of(moment.offset_s)]
            here += [] if any(moment.offset_s in guard for guard in guards) else [moment.phash]
    return found


def filtered(reason: str) -> bool:
    """True if a picture dropped for that reason was dropped for what it shows."""
    return bool(reason) and reason not in NOT_FOR_WHAT_IT_SHOWS and not reason.endswith(CAP)


def false_drops(frames: Iterable[Judged]) -> dict[str, Share]:
    """By game: gameplay dropped for what it shows, of all its gameplay judged under its own label.

    Gameplay of another game than the label's is no false drop, whatever its reason.
    """
    return {game: Share(sum(hits), len(hits)) for game, hits in _gameplay(frames, filtered).items()}


def false_drops_by_reason(frames: Sequence[Judged]) -> dict[str, dict[str, int]]:
    """The same, in frames by reason, then by game: only those that dropped any."""
    counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for frame in frames:
        if _own_gameplay(frame) and filtered(frame.reason):
            counts[frame.reason][frame.shown.game] += 1
    return {reason: dict(by_game) for reason, by_game in sorted(counts.items())}


def _gameplay(frames: Iterable[Judged], hit: Any) -> Mapping[str, list[bool]]:
    found: dict[str, list[bool]] = defaultdict(list)
    for frame in frames:
        if _own_gameplay(frame):
            found[frame.shown.game].append(hit(frame.reason))
    return found


def _own_gameplay(frame: Judged) -> bool:
    return frame.shown.kind == "gameplay" and frame.shown.game == frame.label


def _by_label(frames: Iterable[Judged]) -> Mapping[str, list[Judged]]:
    found: dict[str, list[Judged]] = defaultdict(list)
    for frame in frames:
        found[frame.label].append(frame)
    return found


def _within(hashes: NDArray[np.uint64], one: int | np.uint64, radius: int) -> np.bool_:
    return np.any(np.bitwise_count(hashes ^ np.uint64(one)) <= radius)


@dataclass(frozen=True, slots=True)
class Goal:
    """What the figures are held against. A share that nothing was measured of is not met."""

    name: str
    value: float
    limit: float
    at_least: bool

    @property
    def met(self) -> bool:
        """Whether it is reached."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit
