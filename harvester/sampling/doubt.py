"""How doubtful it is that a moment of a VOD shows play, by its storyboard alone. Pure.

What surely shows no play is left out elsewhere, and on strong evidence only. Of the rest a break, a talk or an
animated card is mostly a picture of its own: most of it differs from most of the VOD, more than moments of the
VOD usually differ from one another, and it stays for a while. So may a level of the game; so doubt is no reason to
drop a moment, nor to pass it over where there is nothing else: doubtful moments come last, and are no spares. A
clip shows one moment and has no other, so clips that are cut from there are left out.

A VOD each of whose scenes is unlike all others holds no doubt, nor does one that is all alike, nor a menu that is
seen here and there. What takes up half of the VOD is what is usual in it.

Measured on 5,774 moments of 47 VODs (the tuning half of ``scripts/bench_labels.py``), those that all other rules
had left: doubtful are 360 of the 402 that show no game, and 53 of the 5,372 that show one. In calm VODs (24 parts
of VODs of a clicker, chess, characters on black and shots at stars; others of designs) 418 of 452, and 0 of 2,456.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from harvester.model import LabelledSpan, Span
from harvester.sampling.categories import NON_GAMES
from harvester.sampling.labels import Evidence
from harvester.sampling.storyboard import (
    CELLS,
    OTHER,
    STEPS,
    Tiles,
    busy,
    changed_cells,
    counts_of,
    planes_of,
    runs,
    stretch,
)

#: Moments that each is compared with, evenly chosen, and all of fewer: as many as a median needs.
AGAINST = 64
#: Neighbours in time on either side with which a moment shares its doubt: what is seen less long is no stretch.
BESIDE = 2
#: In a VOD whose moments are mostly alike (share of the cells that differ) nothing is doubtful if more than this
#: share of them is unlike the rest: that may as well be the play, and the rest a talk. Of the calm VODs measured
#: breaks and talks together take up 0.31 at most.
LIVELY, CALM_MOST = STEPS[-1], 0.32
#: Where between what is usual in the VOD (0) and a picture that shares nothing with most of it (1) doubt begins.
#: Of moments of play 97 % are at 0.27 and less; of those that show no game 90 % are at 0.96 and more.
DOUBTFUL = 0.5
#: The most doubtful are never more than this share of the moments: a scene that takes up more is hardly a break.
#: And in what is left each of the first targets can still be as far from the next as
#: :data:`harvester.sampling.variety.CROWD` asks for.
MOST = 0.25


def doubts(tiles: Tiles, numbers: Sequence[int]) -> NDArray[np.float64]:
    """How doubtful each of the tiles ``numbers`` (rising) is among them, in [0, 1]: (n,)."""
    if not numbers:
        return np.zeros(0)
    unlike = _beside(_unlike(tiles, numbers))
    usual = float(np.median(unlike))
    if usual >= 1.0:
        return np.zeros(len(numbers))
    doubt = np.clip((unlike - usual) / (1.0 - usual), 0.0, 1.0)
    if usual <= LIVELY and (doubt >= DOUBTFUL).mean() > CALM_MOST:
        return np.zeros(len(numbers))
    return doubt


def doubtful(tiles: Tiles, numbers: Sequence[int]) -> NDArray[np.bool_]:
    """Which of the tiles ``numbers`` (rising) are doubtful among them (n,); of equals the earlier ones."""
    doubt = doubts(tiles, numbers)
    worst = np.argsort(-doubt, kind="stable")[: int(MOST * len(numbers))]
    marks = np.zeros(len(numbers), np.bool_)
    marks[worst] = doubt[worst] >= DOUBTFUL
    return marks


def with_unlike(evidence: Evidence, tiles: Tiles, labels: Sequence[LabelledSpan], length_s: float) -> Evidence:
    """The evidence of a VOD of that length, and where it is doubtful what its games show. ``labels``: its labelled
    spans, of all categories."""
    found: list[tuple[Span, str]] = []
    for category_id in dict.fromkeys(label.category_id for label in labels):
        if category_id not in NON_GAMES:
            mine = busy([label for label in labels if label.category_id == category_id], evidence.idle)
            numbers = [n for n, at_s in enumerate(tiles.moments_s) if any(at_s in label.span for label in mine)]
            marks = np.zeros(len(tiles.moments_s), np.bool_)
            marks[numbers] = doubtful(tiles, numbers)
            found += ((stretch(run, tiles, length_s), category_id) for run in runs(marks))
    return replace(evidence, unlike=tuple(found))


def _unlike(tiles: Tiles, numbers: Sequence[int]) -> NDArray[np.float64]:
    """The share of a tile's cells that are not as in another moment, in the median of those (n,)."""
    planes = planes_of(tiles.cells[list(numbers)])
    places = np.linspace(0, len(numbers) - 1, min(len(numbers), AGAINST)).astype(np.int64)
    counts = [counts_of(changed_cells(planes, planes[:, place : place + 1], OTHER)) for place in places.tolist()]
    unlike: NDArray[np.float64] = np.median(np.stack(counts), axis=0) / CELLS
    return unlike


def _beside(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The median of each value and those beside it (n,); at either end of as many as there are."""
    places = range(len(values))
    return np.array([float(np.median(values[max(0, at - BESIDE) : at + BESIDE + 1])) for at in places])
