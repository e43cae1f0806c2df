"""What every second of the benchmark's VODs shows. Pure.

A VOD is a row of stretches, one after the other, each of one thing: a game that is played, a card, a talk, black.
The truth of a frame follows from its source and its offset alone; whatever harvested it is not asked.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

#: ``gameplay``: a game that is played, also while it stands still. ``own``: another screen of a game, such as its
#: pause menu: no junk, and no gameplay either. ``idle``: a card before or after it; ``break``: one in between.
#: ``chat``: somebody who talks. ``black``: nothing.
Kind = Literal["gameplay", "own", "idle", "break", "chat", "black"]
#: Kinds that show a game.
OF_A_GAME: frozenset[Kind] = frozenset({"gameplay", "own"})

#: Offsets are told to the millisecond, and times of pictures in a video are rounded to its time base (s).
EDGE_S = 0.01
#: Frames of one source that are taken for one moment of it, where coverage is counted (s).
BIN_S = 30.0


@dataclass(frozen=True, slots=True)
class Shown:
    """What is shown: of a game its category id, of junk the name of its design."""

    kind: Kind
    game: str = ""
    design: str = ""

    def __post_init__(self) -> None:
        if bool(self.game) != (self.kind in OF_A_GAME):
            raise ValueError(f"a game shows gameplay or screens of its own, and nothing else does: {self!r}")

    @property
    def junk(self) -> bool:
        """True if it shows no game."""
        return not self.game


@dataclass(frozen=True, slots=True)
class Stretch:
    """One thing shown over ``[start_s, start_s + step_s * len(hashes))``.

    ``hashes``: of the picture that each ``step_s`` of it begins with: that of a segment.
    """

    start_s: float
    step_s: float
    shown: Shown
    hashes: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.step_s <= 0 or self.start_s < 0 or not self.hashes:
            raise ValueError(f"a stretch of nothing, or before the start: {self.start_s} s, {self.step_s} s")

    @property
    def end_s(self) -> float:
        """Where the next one begins (s)."""
        return self.start_s + self.step_s * len(self.hashes)


@dataclass(frozen=True, slots=True)
class Moment:
    """A segment's first picture: where it stands (s), what it shows, its perceptual hash."""

    offset_s: float
    shown: Shown
    phash: int


@dataclass(frozen=True, slots=True)
class Truth:
    """The stretches of each source, by its id, in order and without gaps."""

    sources: Mapping[str, tuple[Stretch, ...]]

    def __post_init__(self) -> None:
        for source_id, stretches in self.sources.items():
            end_s = 0.0
            for stretch in stretches:
                if abs(stretch.start_s - end_s) > EDGE_S:
                    raise ValueError(f"{source_id}: nothing is known at {end_s} s")
                end_s = stretch.end_s

    def at(self, source_id: str, offset_s: float) -> Moment:
        """What stands at an offset of a source, by the segment it lies in.

        An offset that is up to :data:`EDGE_S` before a border counts as behind it. Raises LookupError for an
        unknown source, or outside of it.
        """
        stretches = self.sources[source_id]
        at_s = offset_s + EDGE_S
        number = bisect_right(stretches, at_s, key=lambda stretch: stretch.start_s) - 1
        if number < 0 or at_s >= stretches[number].end_s + EDGE_S:
            raise LookupError(f"{source_id} has nothing at {offset_s} s")
        stretch = stretches[number]
        step = min(int((at_s - stretch.start_s) / stretch.step_s), len(stretch.hashes) - 1)
        return Moment(stretch.start_s + step * stretch.step_s, stretch.shown, stretch.hashes[step])

    def moments(self, source_id: str) -> Iterator[Moment]:
        """The first picture of every segment, in order."""
        for stretch in self.sources[source_id]:
            for step, phash in enumerate(stretch.hashes):
                yield Moment(stretch.start_s + step * stretch.step_s, stretch.shown, phash)


def laid_out(parts: Sequence[tuple[Shown, Sequence[int]]], step_s: float) -> tuple[Stretch, ...]:
    """Stretches one after the other, from what each shows and the hashes of its segments."""
    stretches: list[Stretch] = []
    for shown, hashes in parts:
        start_s = stretches[-1].end_s if stretches else 0.0
        stretches.append(Stretch(start_s, step_s, shown, tuple(hashes)))
    return tuple(stretches)


def bin_of(offset_s: float) -> int:
    """Number of the bin of a source that an offset lies in."""
    return int((offset_s + EDGE_S) // BIN_S)
