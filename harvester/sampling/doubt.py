"""How doubtful it is that a moment of a VOD shows play, by its storyboard alone. Pure.

What surely shows no play is left out elsewhere, and on strong evidence only. Of the rest a break, a talk or an
animated card is a picture of its own for a while. Four signs tell of that, each by how far a moment lies above
what is usual in the VOD, in the spread of its ordinary half:

- *unlike*: most of it differs from most of the VOD (in colour, cell by cell). Tells most in calm games;
- *missing*: the score, the map, the frame that stand in most of the VOD are not there;
- *passing*: edges stay for a minute that are nowhere else. Tells most in lively games, where all is unlike all;
- *texture*: it is smoother or sharper than usual (:mod:`harvester.sampling.texture`), as if otherwise made.

Any of them may be wrong about a level of the game, and all of them seldom are: their logs are added. Even so doubt
is no reason to drop a moment, nor to pass it over where there is nothing else: doubtful moments come last, and
are no spares. A clip shows one moment and has no other, so clips cut from the most doubtful ones are left out.

A VOD each of whose scenes is unlike all others holds no doubt, nor does one that is all alike, nor a menu that is
seen here and there. What takes up half of the VOD is what is usual in it.

Measured on the moments that all other rules had left in 360 VODs of five worlds: the two halves of
``scripts/bench_labels.py``, and three that have games and designs of their own. The limits were chosen with all
five in view, so none is an unseen one; around them the figures hardly move.

=======================================  ======  ======  ======  ======  ======
share of moments, %                      tuning  report       3       4       5
=======================================  ======  ======  ======  ======  ======
no play or another game, of all             8.6    10.0    10.5    19.4    26.8
... of what is not doubtful (below 2)       0.0     0.4     0.1     0.7     2.2
... of what is not even a little so         0.0     0.2     0.0     0.2     1.8
doubtful (2 and more), of play              3.5     8.6     8.0     3.9     5.7
most doubtful (3), of play                  0.6     2.2     1.5     1.1     1.7
=======================================  ======  ======  ======  ======  ======

What is left in the fifth are VODs half of which show another game, or a break.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from harvester.config import Sample
from harvester.model import LabelledSpan, Span
from harvester.sampling.categories import NON_GAMES
from harvester.sampling.edges import Edges, Lumas
from harvester.sampling.labels import Evidence
from harvester.sampling.plan import spaced_moments
from harvester.sampling.storyboard import (
    CELLS,
    OTHER,
    Tiles,
    busy,
    changed_cells,
    counts_of,
    planes_of,
    runs,
    stretch,
)
from harvester.sampling.texture import Textures

#: Moments that each is compared with, evenly chosen, and all of fewer: as many as a median needs.
AGAINST = 64
#: A moment shares its doubt with its neighbours in time, so far on either side (s), and so many at most: what is
#: seen less long is no stretch. A long VOD has a tile every minute or two: there a break may be one of them. Of
#: tiles 64 to 144 s apart that show no play 66 to 99 % are told, at 1 % of play, with two on either side 43 to 75.
BESIDE_S, BESIDE = 30.0, 2
#: Of pictures that were had, which are farther apart than a storyboard's: there a break is one or two of them.
BESIDE_SEEN = 1
#: The ordinary half of the moments spreads from this quantile of a sign to its median: a standard deviation.
ORDINARY = 0.16
#: It spreads so far at least: less is noise. Shares of *unlike* and *missing*; of *passing* the log of a count;
#: of *textures* the log of a ratio.
SHARES, COUNTS, TEXTURES = 0.04, 0.5, 0.1
#: A sign says no more beyond so many spreads above the median.
ENOUGH = 20.0
#: Where what is usual is so far from being unlike everything, that is a sign of its own. A tight spread makes any
#: difference great, and a wide one even that small: films and slides in a game of many scenes were missed.
ROOM = 0.1
#: Sums of signs from which on a moment is a little doubtful (1), doubtful (2), and so much that a clip cut from
#: there is left out (3): as one sign of 2.7, 6.4 and 15 spreads.
LEVELS = (1.3, 2.0, 2.8)
#: No more than this share of the moments is doubtful: a scene that takes up more is hardly a break.
SHARE = 0.45

#: Where no storyboard was seen, pictures that were had of a VOD are compared among themselves: so many at least.
LEAST_SEEN = 16
#: A picture stands out from this sum of signs on, if at most this share of them does: then it leaves, so it has to
#: be sure. Where more would, nobody knows which are the exceptions. The table's five worlds as if no VOD had a
#: storyboard: of 40 pictures a VOD 40 to 83 % leave of those that show no play or another game, and 0 to 0.6 % of
#: those that are as told (at most 2.7 % of a game, drawn, that stands still); of 16 pictures 35 to 64 % and 0 to
#: 0.7 %.
STANDS_OUT, FEW = 3.2, 0.35

#: Nor is it known where not even this share of the cells differs between most of them: that may be a card, shown
#: for half an hour, and what stands out the game.
MOVES = 0.1

#: A broadcast begins with a card that counts down, often for five minutes. Where no storyboard tells how long, so
#: much (s) of the beginning is not looked at, if the rest is enough. In a world with cards of one to four minutes
#: 5 % of what was kept of VODs without a storyboard was wrong, and 3 % since.
BEGINNING_S = 300.0

Grades = NDArray[np.int8]
Some = NDArray[np.bool_] | slice  # of n moments


def doubts(tiles: Tiles, numbers: Sequence[int]) -> NDArray[np.float64]:
    """How doubtful each of the tiles ``numbers`` (rising) is among them, 0 and more: (n,).

    Those beside them are looked at, too: a break may begin with the last one, and go on behind it.
    """
    if not numbers:
        return np.zeros(0)
    reach = min(BESIDE, round(BESIDE_S / tiles.interval_s))
    ways = np.arange(-reach, reach + 1)
    around = np.unique(np.clip(np.add.outer(numbers, ways), 0, len(tiles.moments_s) - 1)).tolist()
    mine = np.isin(around, numbers)
    edges = Edges(tiles.lumas[around], tiles.interval_s)
    return _beside(_summed(_unlike(tiles, around), edges, tiles.textures[around], mine), reach)[mine]


def passed_over(evidence: Evidence, category_id: str, *, seen: bool) -> tuple[Span, ...]:
    """Where nothing of a VOD is looked at for a category. Where its storyboard was not ``seen`` now, but under
    another category, these are the most doubtful moments, too: there is nothing else left to choose by."""
    doubtful = () if seen else tuple(span for span, its_id in evidence.unlike if its_id == category_id)
    return (*evidence.idle, *doubtful)


def begun(
    labels: tuple[LabelledSpan, ...], moments_s: Sequence[float], count: int, sample: Sample
) -> tuple[LabelledSpan, ...]:
    """What is looked at of a VOD whose storyboard nobody saw: its labelled spans without the first
    :data:`BEGINNING_S`, if ``count`` of its moments fit into the rest at the minimum spacing."""
    rest = busy(labels, (Span(0.0, BEGINNING_S),))
    return rest if len(spaced_moments(moments_s, rest, sample)) >= count else labels


def standing_out(lumas: Lumas, textures: Textures, interval_s: float) -> NDArray[np.bool_]:
    """Which of the pictures (n, 18, 32) that were had of a VOD, in order, stand out among the others (n,).
    ``textures``: as many of each as are known (n, any); ``interval_s``: from one to the next, on average."""
    if len(lumas) < LEAST_SEEN:
        return np.zeros(len(lumas), np.bool_)
    cells = lumas[:, 1:-1, 1:-1].reshape(len(lumas), -1).astype(np.int16)
    unlike = np.median([(np.abs(cells - cells[at]) > OTHER).mean(axis=1) for at in _evenly(len(cells))], axis=0)
    signs = _summed(unlike, Edges(lumas, interval_s, rim=1), textures)
    marks: NDArray[np.bool_] = _beside(signs, BESIDE_SEEN) >= STANDS_OUT
    told = marks.mean() <= FEW and np.median(unlike) >= MOVES
    return marks if told else np.zeros_like(marks)


def _summed(
    unlike: NDArray[np.float64], edges: Edges, textures: Textures, among: Some = slice(None)
) -> NDArray[np.float64]:
    """The sum of the signs of each moment (n,), by what is usual ``among`` some of them."""
    signs = [
        _raised(unlike, SHARES, among),
        _alone(unlike, among),
        _raised(edges.missing(), SHARES, among),
        _raised(np.log1p(edges.passing()), COUNTS, among),
        *(_raised(np.abs(texture - np.median(texture[among])), TEXTURES, among) for texture in textures.T),
    ]
    summed: NDArray[np.float64] = np.sum(signs, axis=0)
    return summed


def grades(tiles: Tiles, numbers: Sequence[int]) -> Grades:
    """How doubtful the tiles ``numbers`` (rising) are among them, by :data:`LEVELS`, 0 being not (n,). Of equals
    the earlier ones are."""
    doubt = doubts(tiles, numbers)
    worst = np.argsort(-doubt, kind="stable")[: int(SHARE * len(numbers))]
    found = np.zeros(len(numbers), np.int8)
    found[worst] = np.searchsorted(LEVELS, doubt[worst], side="right")
    return found


def with_unlike(evidence: Evidence, tiles: Tiles, labels: Sequence[LabelledSpan], length_s: float) -> Evidence:
    """The evidence of a VOD of that length, and where it is most doubtful what its games show. ``labels``: its
    labelled spans, of all categories."""
    found: list[tuple[Span, str]] = []
    for category_id in dict.fromkeys(label.category_id for label in labels):
        if category_id not in NON_GAMES:
            mine = busy([label for label in labels if label.category_id == category_id], evidence.idle)
            numbers = [n for n, at_s in enumerate(tiles.moments_s) if any(at_s in label.span for label in mine)]
            marks = np.zeros(len(tiles.moments_s), np.bool_)
            marks[numbers] = grades(tiles, numbers) == len(LEVELS)
            found += ((stretch(run, tiles, length_s), category_id) for run in runs(marks))
    return replace(evidence, unlike=tuple(found))


def _unlike(tiles: Tiles, numbers: Sequence[int]) -> NDArray[np.float64]:
    """The share of a tile's cells that are not as in another moment, in the median of those (n,)."""
    planes = planes_of(tiles.cells[list(numbers)])
    counts = [counts_of(changed_cells(planes, planes[:, at : at + 1], OTHER)) for at in _evenly(len(numbers))]
    unlike: NDArray[np.float64] = np.median(np.stack(counts), axis=0) / CELLS
    return unlike


def _evenly(count: int) -> list[int]:
    """The numbers of those that all of ``count`` are compared with."""
    places: list[int] = np.linspace(0, count - 1, min(count, AGAINST)).astype(np.int64).tolist()
    return places


def _raised(values: NDArray[np.float64], floor: float, among: Some) -> NDArray[np.float64]:
    """The log of how far each value is above what is usual ``among`` some (n,), in their spread or ``floor``s."""
    usual, low = np.quantile(values[among], (0.5, ORDINARY))
    spreads = (values - usual) / max(usual - low, floor)
    logs: NDArray[np.float64] = np.log1p(np.clip(spreads, 0.0, ENOUGH))
    return logs


def _alone(unlike: NDArray[np.float64], among: Some) -> NDArray[np.float64]:
    """How near each of them is to being unlike everything (n,): 0 half way from what is usual, 1 at the end. Less
    of that in a VOD where what is usual is nearly so itself."""
    usual = float(np.median(unlike[among]))
    way = (unlike - usual) / max(1.0 - usual, SHARES)
    near: NDArray[np.float64] = np.clip(2.0 * way - 1.0, 0.0, 1.0) * min(1.0, (1.0 - usual) / ROOM)
    return near


def _beside(values: NDArray[np.float64], reach: int) -> NDArray[np.float64]:
    """The median of each value and ``reach`` on either side (n,); at either end of as many as there are."""
    ends = [at for at in range(len(values)) if not reach <= at < len(values) - reach]
    beside = np.array([np.median(values[max(0, at - reach) : at + reach + 1]) for at in ends])
    if len(values) <= 2 * reach:
        return beside
    inner = np.median(np.lib.stride_tricks.sliding_window_view(values, 2 * reach + 1), axis=1)
    return np.concatenate([beside[:reach], inner, beside[reach:]])
