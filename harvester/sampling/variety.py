"""Which moments of a VOD look different, by its storyboard. Pure.

Targets go to tiles, in the order of :func:`varied_order`: next is always the
tile that is farthest from all those before. "Another picture" is as far as it gets: among tiles that are other
pictures anyway the one farthest in time is next, so that a strange picture is not preferred to an ordinary one,
and a lively VOD is sampled evenly over its length. In a calm one what is lively is no better for it, be it a talk
or another game that nobody tells of: no stretch gets more than :data:`CROWD` times its share of the targets.

Where there are moments to spare, doubtful ones (:mod:`harvester.sampling.doubt`) come when nothing else is left,
and never in place of others that were dropped: to be unlike all else is what breaks and talks do best, and where a
game gives few pictures that are not near-duplicates of one another, they would be most of what is kept.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from harvester.config import Sample
from harvester.model import LabelledSpan
from harvester.sampling.doubt import doubtful
from harvester.sampling.plan import nearest, rank_hash
from harvester.sampling.storyboard import CELLS, OTHER, STEPS, Tiles, changed_cells, counts_of, planes_of

#: How many times its share of the time a stretch may get of the targets. Without this, of 40 targets of 80 minutes
#: of chess all lay in the 14 of another game; with it, of the usual 200 tiles a VOD, 12 to 17 may.
CROWD = 3
#: Turns: 0, 1 (late), and this of those that have been.
_GONE = 2


def chosen_moments(
    name: Sequence[str],
    tiles: Tiles,
    moments_s: Sequence[float],
    labels: Sequence[LabelledSpan],
    *,
    limit: int,
    sample: Sample,
    spare: int = 0,
) -> tuple[float, ...]:
    """Those ``limit`` of ``moments_s`` inside the labelled spans that look most different, in the order of
    :func:`varied_order`, never closer than the minimum spacing; () where there are not as many tiles. Then
    up to ``spare`` that would be next.

    Where it begins is seeded by ``name``. Doubtful ones come last, if there are more tiles than ``limit``, and are
    not to spare.
    """
    shown = {tile: moments_s[nearest(moments_s, moment_s)] for tile, moment_s in enumerate(tiles.moments_s)}
    numbers = [tile for tile, moment_s in shown.items() if any(moment_s in within.span for within in labels)]
    if not 0 < limit <= len(numbers):
        return ()
    chosen: list[float] = []
    in_time: list[float] = []
    apart_s = len(numbers) * tiles.interval_s / (CROWD * limit)
    late = doubtful(tiles, numbers) if len(numbers) > limit else None
    last = set() if late is None else set(np.array(numbers)[late].tolist())
    for tile in varied_order(tiles, numbers, rank_hash(sample.seed, *name), apart_s, late):
        if len(chosen) >= limit and tile in last:
            break
        place = bisect_right(in_time, shown[tile])
        beside_s = in_time[max(0, place - 1) : place + 1]
        if all(abs(shown[tile] - other_s) >= sample.min_spacing_s for other_s in beside_s):
            chosen.append(shown[tile])
            in_time.insert(place, shown[tile])
        if len(chosen) == limit + spare:
            break
    return tuple(chosen) if len(chosen) >= limit else ()


def varied_order(
    tiles: Tiles, numbers: Sequence[int], first: int, apart_s: float = 0.0, late: NDArray[np.bool_] | None = None
) -> Iterator[int]:
    """The tiles ``numbers``, each the farthest from all those before it, from place ``first`` on, counted around
    those that are not ``late``.

    Far: by how many cells differ, in four steps up to "another picture"; then by time; then the earlier one. What
    is less than ``apart_s`` from one before comes when nothing else is left, and then what is ``late`` (n,).
    """
    planes = planes_of(tiles.cells[list(numbers)])
    moments_s = np.array([tiles.moments_s[number] for number in numbers])
    turn = np.zeros(len(numbers), np.int8) if late is None else late.astype(np.int8)
    step = np.full(len(numbers), len(STEPS))
    away_s = np.full(len(numbers), np.inf)
    begin = np.flatnonzero(turn == turn.min())
    place = int(begin[first % len(begin)])
    for _ in numbers:
        yield numbers[place]
        share = counts_of(changed_cells(planes, planes[:, place : place + 1], OTHER)) / CELLS
        step = np.minimum(step, np.searchsorted(STEPS, share, side="right"))
        away_s = np.minimum(away_s, np.abs(moments_s - moments_s[place]))
        turn[place] = _GONE
        place = int(np.lexsort((moments_s, -away_s, -step, away_s < apart_s, turn))[0])
