"""Stretches of a broadcaster's VODs that show another of their games than is told, and nobody told. Pure.

A VOD of one category may hold an hour of another game, and chapters may leave one out. No VOD shows that alone: a
game has levels, menus, day and night, so that it looks different at times proves nothing. But where a broadcaster
plays several games, a stretch that looks like their *other* game and like nothing else of the told one is that
other game. So all storyboards of a broadcaster are laid side by side (:mod:`harvester.sampling.looks`). A stretch
shows another game if all of this holds:

- near: :data:`LASTS_TILES` tiles and more are as near to the other game's tiles as those are to one another;
- far: they are farther, by a factor, from what is left of the told game when all tiles that are near are taken
  out. Were those more than :data:`SHARE` of it, the games could not be told apart, and nothing is found;
- alone: it is the only one of that game in the VOD. Look-alikes come again and again, changes seldom;
- apart: it is nearer to the other game than the two games are to each other (:data:`APART`). A game of many looks
  has one that is somewhat near to anything.

It is done twice. What is found first may be what makes the other game look like it, so it teaches nothing the
second time, which counts. What lies near the ends of chapters and VODs never teaches anything.

Measured. The limits were chosen by the last of these, with the others in view; so none is an unseen one here:

- 128 VODs of half an hour (``scripts/bench_labels.py``; a tile every 10 to 18 s), a few of which hold five minutes
  of another game: 88 of its 151 tiles were found, and none of the 17,186 of the told games.
- 160 VODs of eight recorded games and six drawn ones, cards and talks of other designs: 117 of 186, and 5 of
  21,512. Without *apart* 82 of the told ones were taken: levels in new colours, for a game of many colours.
- 720 VODs of these, into each of which five minutes of another game were laid, from another recording: found in
  476, with reaches of :data:`harvester.sampling.looks.SAME` in 292. Nothing was found in what was as told.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, permutations

import numpy as np
from numpy.typing import NDArray

from harvester.model import Span
from harvester.sampling.changes import far_s
from harvester.sampling.labels import Evidence, Extent, chapter_stretches
from harvester.sampling.looks import WIDTH, Glance, Known, Looks
from harvester.sampling.storyboard import runs

#: Reason of a frame of such a stretch.
OTHER_GAME = "other-game"
#: Most of a game's tiles that may be near another game.
SHARE = 0.5
#: A stretch has so many such tiles, no more than so many others between two of them, and lasts so long (s).
LASTS_TILES, GAP_TILES, LASTS_S = 4, 3, 90.0

#: As near as this (sum of half levels; 8 levels on average) is near, where a game's own tiles are nearer to one
#: another than that: what is found wrongly so is not *apart*.
NEAR = 4 * WIDTH
#: How near a stretch is to the other game, squared, of how far the told one is from that, and from the stretch.
#: 291 stretches of another game: 0.03 in the middle, 283 up to this and all up to 0.20; 27 of the told one, which
#: had passed all else: 0.17 at least, the middle 0.5.
APART = 0.15

_Marks = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Board:
    """A VOD's storyboard, and what is told of each of its tiles: a category (id), or "". ``sure`` (n,): which lie
    so far from the ends of what they are told to be that they teach what it looks like."""

    source_id: str
    glance: Glance = field(repr=False)
    told: tuple[str, ...]
    sure: _Marks = field(repr=False)

    def __post_init__(self) -> None:
        if not len(self.glance.moments_s) == len(self.told) == len(self.sure):
            raise ValueError("it is told of each tile what it is")

    def tells_more(self, other: Board) -> bool:
        """True if more tiles are told than those of ``other``, of the same VOD."""
        return sum(map(bool, self.told)) > sum(map(bool, other.told))

    @classmethod
    def of(cls, source_id: str, evidence: Evidence) -> Board | None:
        """What is remembered of a VOD; None if nobody looked at its storyboard."""
        glance = evidence.glance
        if glance is None:
            return None
        told, sure = [], []
        stretches = _told(evidence, glance)
        for moment_s in glance.moments_s:
            span, category_id = next((it for it in stretches if moment_s in it[0]), (Span(0.0, 0.0), ""))
            told.append("" if any(moment_s in doubt for doubt in evidence.doubted) else category_id)
            sure.append(span.start_s + far_s(span) <= moment_s < span.end_s - far_s(span))
        return cls(source_id, glance, tuple(told), np.array(sure, np.bool_))


def _told(evidence: Evidence, glance: Glance) -> Sequence[tuple[Span, str]]:
    """The stretches that are told to show a category: chapters, or all of the VOD."""
    if evidence.chapters and any(chapter.category for chapter in evidence.chapters):
        return chapter_stretches(evidence.chapters, Extent(math.inf, ended=True))
    category_id = evidence.game or evidence.listed
    if category_id is None or len(glance.moments_s) < 2:
        return ()
    *_, before_s, last_s = glance.moments_s
    return [(Span(0.0, last_s + (last_s - before_s)), category_id)]


@dataclass(frozen=True, slots=True)
class Untold:
    """A stretch of a source that is told to show a category, and shows another one (ids)."""

    source_id: str
    span: Span
    told: str
    shown: str


def untold(boards: Sequence[Board]) -> tuple[Untold, ...]:
    """What one broadcaster's VODs show that nobody told, in the order of ``boards``."""
    first = _by_board(boards, [board.sure for board in boards])
    if not any(first):
        return ()
    teaching = [board.sure & ~_marks_of(found, board) for found, board in zip(first, boards, strict=True)]
    return tuple(
        Untold(board.source_id, _span(board, run), told, shown)
        for board, found in zip(boards, _by_board(boards, teaching), strict=True)
        for run, told, shown in found
    )


_Run = tuple[range, str, str]  # tiles of a board, the category that is told and the one that is shown


def _marks_of(found: Sequence[_Run], board: Board) -> _Marks:
    marks = np.zeros(len(board.told), np.bool_)
    for run, _, _ in found:
        marks[run.start : run.stop] = True
    return marks


def _by_board(boards: Sequence[Board], teaching: Sequence[_Marks]) -> list[list[_Run]]:
    """Of each board the stretches that show another category. ``teaching``: which tiles of each teach."""
    found: list[list[_Run]] = [[] for _ in boards]
    if not boards:
        return found
    told = np.array([category_id for board in boards for category_id in board.told])
    looks, teach = np.concatenate([board.glance.looks for board in boards]), np.concatenate(teaching)
    starts = np.cumsum([0, *(len(board.told) for board in boards)])
    known = {name: Known.of(looks[(told == name) & teach], NEAR) for name in sorted({*told.tolist()} - {""})}
    for name, other in permutations(known, 2):
        its = known[other]
        if its is None:
            continue
        marks = told == name
        marks[marks] = _shows(looks[marks], teach[marks], its)
        for number, mine in enumerate(np.split(marks, starts[1:-1])):
            for run in _lasting(boards[number].glance, mine):
                rest = (told == name) & teach
                rest[starts[number] + run.start : starts[number] + run.stop] = False
                if _is_apart(boards[number].glance.looks[run.start : run.stop], its, looks[rest]):
                    found[number].append((run, name, other))
    return found


def _shows(looks: Looks, teach: _Marks, other: Known) -> _Marks:
    """Which tiles of a category show ``other``."""
    away = other.away_from(looks)
    near = away <= other.reach
    rest = Known.of(looks[~near & teach])
    if rest is None or near.sum() > SHARE * len(near):
        return np.zeros(len(looks), np.bool_)
    return other.takes(away, rest.away_from(looks))


def _is_apart(stretch: Looks, other: Known, rest: Looks) -> bool:
    """True if a stretch is much nearer to the other game than that is to the ``rest`` of the told one."""
    told = Known.of(rest)
    if told is None:
        return False
    near, between, far = map(np.median, (other.away_from(stretch), other.away_from(rest), told.away_from(stretch)))
    return bool(near * near <= APART * between * far)


def _lasting(glance: Glance, marks: _Marks) -> Iterator[range]:
    """The run of marked tiles that lasts, if there is just one. A few between two marked ones belong to it."""
    moments_s = glance.moments_s
    found = [
        run
        for run in runs(_filled(marks))
        if marks[run.start : run.stop].sum() >= LASTS_TILES and moments_s[run[-1]] - moments_s[run[0]] >= LASTS_S
    ]
    if len(found) == 1:
        yield from found


def _filled(marks: _Marks) -> _Marks:
    filled, numbers = marks.copy(), np.flatnonzero(marks).tolist()
    for before, after in pairwise(numbers):
        if after - before <= GAP_TILES + 1:
            filled[before:after] = True
    return filled


def _span(board: Board, run: range) -> Span:
    """The run and what lies between it and the tiles beside it: nobody knows of that."""
    moments_s = (0.0, *board.glance.moments_s, math.inf)
    return Span(moments_s[run.start], moments_s[run.stop + 1])
