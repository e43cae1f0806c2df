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
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from harvester.config import Sample
from harvester.model import LabelledSpan
from harvester.sampling.doubt import Grades, grades
from harvester.sampling.plan import nearest, rank_hash
from harvester.sampling.storyboard import CELLS, OTHER, STEPS, Tiles, changed_cells, counts_of, planes_of

#: How many times its share of the time a stretch may get of the targets. Without this, of 40 targets of 80 minutes
#: of chess all lay in the 14 of another game; with it, of the usual 200 tiles a VOD, 12 to 17 may.
CROWD = 3
#: Of each of these slots of the VOD (s) one moment is taken before a second one of any. That spreads as many as
#: can be, where a least distance leaves gaps too narrow for it: of 40 targets of half an hour 35 lie in slots of
#: their own, without slots 33.
SLOT_S = 30.0
#: A segment begins where it does: what lies so far on its way from a tile to the next one (of their interval) may
#: show what either shows. Were it as doubtful as the other, coverage would fall by a point.
ON_THE_WAY = 0.25


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
    late = np.zeros(len(numbers), np.int8)
    if len(numbers) > limit:
        late = _on_the_way(tiles, numbers, grades(tiles, numbers), shown)
    doubtful = set(np.array(numbers)[late > 1].tolist())
    first = rank_hash(sample.seed, *name)
    places_s = [shown[tile] for tile in numbers]
    for tile in varied_order(tiles, numbers, first, moments_s=places_s, apart_s=apart_s, late=late):
        if len(chosen) >= limit and tile in doubtful:
            continue
        place = bisect_right(in_time, shown[tile])
        beside_s = in_time[max(0, place - 1) : place + 1]
        if all(abs(shown[tile] - other_s) >= sample.min_spacing_s for other_s in beside_s):
            chosen.append(shown[tile])
            in_time.insert(place, shown[tile])
        if len(chosen) == limit + spare:
            break
    return tuple(chosen) if len(chosen) >= limit else ()


def varied_order(
    tiles: Tiles,
    numbers: Sequence[int],
    first: int,
    *,
    moments_s: Sequence[float] | None = None,
    apart_s: float = 0.0,
    late: Grades | None = None,
) -> Iterator[int]:
    """The tiles ``numbers``, each the farthest from all those before it, from place ``first`` on, counted around
    those that are the least ``late``. ``moments_s``: what stands for each of them (n,), by default its own.

    Far: by how many cells differ, in four steps up to "another picture"; then by time; then the earlier one. What
    is doubtful (``late`` 2 and more, (n,)) comes last, before it what lies in a slot of which there was one, and
    before that what is less than ``apart_s`` from one; among all of these the more doubtful after the less.
    """
    planes = planes_of(tiles.cells[list(numbers)])
    times_s = np.array([tiles.moments_s[number] for number in numbers] if moments_s is None else moments_s)
    slots = (times_s // SLOT_S).astype(np.int64)
    late = np.zeros(len(numbers), np.int8) if late is None else late
    gone, again = np.zeros(len(numbers), np.bool_), np.zeros(len(numbers), np.bool_)
    step = np.full(len(numbers), len(STEPS))
    away_s = np.full(len(numbers), np.inf)
    begin = np.flatnonzero(late == late.min())
    place = int(begin[first % len(begin)])
    for _ in numbers:
        yield numbers[place]
        share = counts_of(changed_cells(planes, planes[:, place : place + 1], OTHER)) / CELLS
        step = np.minimum(step, np.searchsorted(STEPS, share, side="right"))
        away_s = np.minimum(away_s, np.abs(times_s - times_s[place]))
        gone[place] = True
        again |= slots == slots[place]
        place = int(np.lexsort((times_s, -away_s, -step, late, away_s < apart_s, again, late > 1, gone))[0])


def _on_the_way(tiles: Tiles, numbers: Sequence[int], late: Grades, shown: Mapping[int, float]) -> Grades:
    """How doubtful what is ``shown`` for each of the tiles is (n,): as the tile, and a little at least if the next
    one on its way is doubtful."""
    grade = dict(zip(numbers, late.tolist(), strict=True))
    nexts = [tile + _steps((shown[tile] - tiles.moments_s[tile]) / tiles.interval_s) for tile in numbers]
    found = [max(grade[tile], min(1, grade.get(other, 0))) for tile, other in zip(numbers, nexts, strict=True)]
    return np.array(found, np.int8)


def _steps(way: float) -> int:
    """To the next tile, to the one before, or none, on a ``way`` in intervals."""
    return 0 if abs(way) < ON_THE_WAY else 1 if way > 0 else -1
