"""Where a VOD's storyboard shows another of its categories than the chapter that is told for it. Pure.

People change the category minutes after the game, or before it. So around the edge of two chapters the pictures
may be of the other one::

    chapters    [ A .......................)[ B .......................)
    pictures      a a a a a a a a a b b b b   b b b b b b b b b b b b b
    doubted                       [........)

What a category looks like is learnt from the middles of its chapters (:mod:`harvester.sampling.looks`). Going back
from an edge, a tile speaks for the change if it looks like what follows, and against it if it looks like what went
before; what looks like neither, such as a break, says nothing. The stretch for which most speaks is doubted, with
all up to the tile before it, for between two tiles nobody knows. After an edge it is the same the other way round.

Doubted stretches give no frame of any category. So they only widen guards, by :data:`FAR_S` at most, and of two
categories that cannot be told apart by their looks nothing is doubted.

Measured on the chapters of 128 VODs of half an hour (``scripts/bench_labels.py``; a tile every 10 to 18 s, changes
up to 100 s late), segments outside of the guards. Limits were set on the tuning half, all but
:data:`harvester.sampling.looks.SAME`: it came later, with both halves in view:

==========================================  ============  ==============
segments                                    tuning half   reporting half
==========================================  ============  ==============
of another game, before and with doubts     43, 5         67, 4
... all changes 100 s later than that       238, 48       400, 31
... all changes 200 s later                 466, 145      779, 68
of the told game, doubted                   6 of 4,317    9 of 7,309
==========================================  ============  ==============

Where a level that was not seen before is played for 12 minutes up to an edge, 6 of 372 edges between recordings
of eight games were doubted; where the last ten minutes truly showed the other game, all were.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from harvester.model import Span
from harvester.sampling.labels import Evidence, Extent, chapter_stretches
from harvester.sampling.looks import Glance, Known, Looks, looks_of
from harvester.sampling.storyboard import Tiles, merged

#: How far from an edge a change is looked for (s), and in which share of the chapter: the middles must be left to
#: learn from. Nobody has published how late people are.
FAR_S, FAR_SHARE = 900.0, 1 / 3
#: Two categories are told apart if of the tiles of either at least this share would be taken for it.
APART = 0.75

_Moments = NDArray[np.float64]
_Numbers = NDArray[np.int64]


def with_doubts(evidence: Evidence, tiles: Tiles, extent: Extent) -> Evidence:
    """The evidence of a VOD, where its storyboard contradicts its chapters, and what is remembered of that."""
    glance = Glance(tiles.moments_s, looks_of(tiles.cells))
    stretches = chapter_stretches(evidence.chapters or (), extent)
    return replace(evidence, doubted=doubted(glance, stretches), glance=glance)


def is_contradicted(evidence: Evidence, moment_s: float, category_id: str) -> bool:
    """True if a moment of a VOD is doubted to be of the category that its chapter tells: that one."""
    if not any(moment_s in span for span in evidence.doubted):
        return False
    told = chapter_stretches(evidence.chapters or (), Extent(math.inf, ended=True))
    return any(moment_s in span and its_id == category_id for span, its_id in told)


def doubted(glance: Glance, stretches: Sequence[tuple[Span, str]]) -> tuple[Span, ...]:
    """Where the tiles look like the chapter before or after; ``stretches``: of each chapter, in order, and its
    category (id)."""
    if len({category_id for _, category_id in stretches}) < 2:
        return ()
    moments_s, looks = np.array(glance.moments_s), glance.looks
    known = {category_id: Known.of(looks[middles]) for category_id, middles in _middles(moments_s, stretches)}
    found: list[Span] = []
    for (before, category_id), (after, next_id) in pairwise(stretches):
        contrast = _Contrast.of(known[category_id], known[next_id])
        if contrast is not None:
            scores = contrast.scores(looks)
            found += (_late(before, moments_s, -scores), _early(after, moments_s, scores))
    return merged(span for span in found if span.length_s > 0)


def _late(before: Span, moments_s: _Moments, scores: _Numbers) -> Span:
    """The end of a chapter that shows what comes after, by the ``scores`` of the tiles for that."""
    first_s = before.end_s - far_s(before)
    zone = _inside(moments_s, Span(first_s, before.end_s))
    count = _run(scores[zone[::-1]])
    start_s = np.insert(moments_s, 0, 0.0)[zone[-count]] if count else before.end_s  # of the tile before
    return Span(max(first_s, float(start_s)), before.end_s)


def _early(after: Span, moments_s: _Moments, scores: _Numbers) -> Span:
    """The start of a chapter that shows what was before, by the ``scores`` of the tiles for that."""
    last_s = after.start_s + far_s(after)
    zone = _inside(moments_s, Span(after.start_s, last_s))
    count = _run(scores[zone])
    end_s = np.append(moments_s, np.inf)[zone[count - 1] + 1] if count else after.start_s  # of the next
    return Span(after.start_s, min(last_s, float(end_s)))


def far_s(stretch: Span) -> float:
    """How far from the ends of a chapter, or VOD, it may be another category (s)."""
    return min(FAR_S, FAR_SHARE * stretch.length_s)


def _inside(moments_s: _Moments, span: Span) -> _Numbers:
    return np.flatnonzero((span.start_s <= moments_s) & (moments_s < span.end_s))


def _middles(moments_s: _Moments, stretches: Sequence[tuple[Span, str]]) -> Iterator[tuple[str, _Numbers]]:
    """Of each category the tiles in the middles of its chapters."""
    for category_id in {category_id for _, category_id in stretches}:
        mine = [span for span, its_id in stretches if its_id == category_id]
        middles = [Span(span.start_s + far_s(span), span.end_s - far_s(span)) for span in mine]
        yield category_id, np.concatenate([_inside(moments_s, middle) for middle in middles])


def _run(scores: _Numbers) -> int:
    """How many of the first scores have the greatest sum, the fewer of two; 0 if none is positive."""
    sums = np.concatenate([[0], np.cumsum(scores)])
    return int(np.argmax(sums))


@dataclass(frozen=True, slots=True, eq=False)
class _Contrast:
    """Two categories that can be told apart by their looks in this VOD."""

    before: Known
    after: Known

    @classmethod
    def of(cls, before: Known | None, after: Known | None) -> _Contrast | None:
        """None if they look alike, or too little is seen of them."""
        if before is None or after is None:
            return None
        sides = ((before, after), (after, before))
        taken = [one.takes(one.away, other.away_from(one.looks)).mean() for one, other in sides]
        return cls(before, after) if min(taken) >= APART else None

    def scores(self, looks: Looks) -> _Numbers:
        """1 for each tile that looks like what was before, -1 for one like what comes after, 0 for neither."""
        before, after = self.before.away_from(looks), self.after.away_from(looks)
        taken = self.before.takes(before, after).astype(np.int64)
        return taken - self.after.takes(after, before)
