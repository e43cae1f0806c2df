"""Keep, or drop with a reason: pictures that show no game. Pure arithmetic over a measurement.

Thresholds (``[filter]``) are levels of 8-bit luma as coded, meant for limited range, where black is 16; a dark
full-range picture reads up to 16 levels lower and is dropped sooner. What the defaults were set by: recordings of
7 free games and of idle scenes, 1,173 frames half a second apart; in brackets the lowest seen in longer ones.

==============  ========================  =================  ==========================
score           games, menus, idle cards  black screens      default limit
==============  ========================  =================  ==========================
black_share     at most 0.75              0.998 to 1         0.98 of pixels below 32
luma_mean       from 27 (24)              16.0 to 16.2       20
luma_deviation  from 6.6 (3.5, in fog)    0 to 3.8           3
==============  ========================  =================  ==========================

They dropped the 32 black screens, all as ``black``, and nothing else.

**Low information** (``detail_share``): almost no tile shows anything, as with a spinner on a pale backdrop. A
tile shows something if its luma deviates, or if it differs from a neighbour, as coarse pixel art does.
The limit was set on half of the games, in frames a second apart, and stands far below them: games may be bare.

====================================================  ====================
lowest share of tiles that show something             limit: 0.015
====================================================  ====================
set on: Freedoom, SuperTuxKart, Hedgewars, Chromium   0.273 of 231 frames
reported: Teeworlds, SuperTux, Minetest (in fog)      0.288 of 210 frames
drawn: cards, board, map, novel, text, pixels, dark   0.193 of 210 frames
a line of text alone; a small logo on black           0.016; 0.085
a pale backdrop, bare; a strong one                   0; 0.15 to 0.36
====================================================  ====================

**Blur** is not told: a measurement has the sum of the steps between neighbours, and a soft edge takes as much as a
sharp one. Steps a pixel by deviation of the tiles: drawn boards and card tables, sharp, 0.25 to 0.31; games of 180
lines 0.46 to 1.16, the same blurred by 8 pixels 0.40 to 0.45. A limit would drop the boards first.

**Bars** (``letterbox``, ``pillarbox``): share of the height, of the width, that black bars take at both sides, in
whole tiles (1/18, 1/32), so never more than there is. Nothing is dropped for them.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from harvester.config import Filter
from harvester.model import TILE_COLS, TILE_ROWS, Measurement, Verdict
from harvester.vision.measure import tile_pixels

SCORE_NAMES: tuple[str, ...] = (
    "luma_mean",
    "luma_deviation",
    "black_share",
    "sharpness",
    "detail_share",
    "letterbox",
    "pillarbox",
)

REASONS = BLACK, DARK, FLAT, LOW_INFORMATION = "black", "dark", "flat", "low-information"

#: A tile whose luma deviates so much shows something (levels): half of what all of a picture in fog does. So does
#: a tile of a backdrop that goes over 7 levels within it.
TILE_DEVIATION = 2
#: So does one whose mean differs so much from that of the tile beside or below it (levels).
TILE_STEP = 16
#: Of a bar, no tile is brighter than this on average, nor deviates more (levels): coded black is 16, and coding
#: leaves a level or two.
BAR_LEVEL, BAR_DEVIATION = 18, 2

_LEVELS = np.arange(256, dtype=np.int64)


def judge(measurement: Measurement, limits: Filter) -> Verdict:
    """Drop a picture that is ``black`` (nearly all of it), ``dark`` (on average), ``flat`` (nothing to see) or of
    ``low-information`` (hardly a tile shows anything).

    The first reason that holds is given, the most telling first. Scores are rounded to what is stored.
    """
    scores = _scores(measurement, limits.black_level)
    if scores["black_share"] >= limits.black_share:
        return Verdict(kept=False, reason=BLACK, scores=scores)
    if scores["luma_mean"] < limits.dark_mean:
        return Verdict(kept=False, reason=DARK, scores=scores)
    if scores["luma_deviation"] < limits.flat_deviation:
        return Verdict(kept=False, reason=FLAT, scores=scores)
    if scores["detail_share"] < limits.detail_share:
        return Verdict(kept=False, reason=LOW_INFORMATION, scores=scores)
    return Verdict(kept=True, scores=scores)


def _scores(measurement: Measurement, black_level: int) -> dict[str, float]:
    """Scores by :data:`SCORE_NAMES`: luma levels, shares of pixels, levels a pixel.

    Integers up to the last division, so every machine gets the same float.
    """
    histogram = measurement.histogram
    pixels = measurement.width * measurement.height
    total = int(histogram @ _LEVELS)
    squares = int(histogram @ (_LEVELS * _LEVELS))
    black = int(histogram[:black_level].sum())
    return {
        "luma_mean": total / pixels,
        "luma_deviation": math.sqrt((pixels * squares - total * total) / (pixels * pixels)),
        "black_share": black / pixels,
        "sharpness": measurement.gradient / pixels,
        **_tile_scores(measurement),
    }


def _tile_scores(measurement: Measurement) -> dict[str, float]:
    """What the tiles tell; nothing against a picture that has fewer lines or columns than there are tiles."""
    pixels = tile_pixels(measurement.height, measurement.width)
    some = np.maximum(1, pixels)
    means = measurement.tile_sums // some
    spread = pixels * measurement.tile_squares - measurement.tile_sums**2  # variance times pixels squared
    shows = (spread >= (TILE_DEVIATION * some) ** 2) | _steps(means) | (pixels.min() == 0)
    black = (measurement.tile_sums <= BAR_LEVEL * pixels) & (spread <= (BAR_DEVIATION * some) ** 2)
    return {
        "detail_share": int(np.count_nonzero(shows)) / shows.size,
        "letterbox": _bars(np.asarray(black.all(axis=1))) / TILE_ROWS,
        "pillarbox": _bars(np.asarray(black.all(axis=0))) / TILE_COLS,
    }


def _steps(means: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tiles that differ from the one beside or below."""
    steps = np.zeros(means.shape, np.bool_)
    steps[:, :-1] |= np.abs(np.diff(means, axis=1)) >= TILE_STEP
    steps[:-1] |= np.abs(np.diff(means, axis=0)) >= TILE_STEP
    return steps


def _bars(black: NDArray[np.bool_]) -> int:
    """Lines of tiles in the bars at both ends of ``black``, as many at one as at the other; 0 if all are black."""
    ends = int(np.argmin(black)), int(np.argmin(black[::-1]))  # where the first is that is not, 0 if none is
    return 2 * min(ends)
