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

**Lit** (``lit_share``): a picture that is black or dark but for what shines out all over it stays, as a game of
characters on black does. A tile is lit if its luma deviates so much that something bright is in it. A card with a
line or a logo on black lights few; one full of stars is left to what finds cards by their coming back.

=====================================================  =================
share of tiles that are lit; stays above: 0.1          lowest to highest
=====================================================  =================
characters on black, mean luma below 20 (172 frames)   0.077 to 0.24
black screens; 11 games faded until they are dropped   0; 0
a line of text on black; a logo, a quarter to a half   0.06; 0.04 to 0.12
of the height
stars and a title on black (17 frames)                 0.19 to 0.23
=====================================================  =================

**Blur** (``blur``): how much less a picture changes over one lag of its variogram than over two, a quarter of the
ratio of their sums of squares. Sharp edges give a half and texture less, whatever their contrast; what is smooth
over both lags gives 1. The lag is a 60th of the shorter side, so that one limit holds for all renditions: what is
blurred by a Gaussian whose radius is a 45th (16 pixels at 720p) is beyond use, and only that. Game frames a second
apart at 720p, and each fourth one in other sizes, coded badly, or blurred:

=======================================================  ===================  =====================
``blur``; limit: 0.85                                    set on (as above)    reported
=======================================================  ===================  =====================
720p, as they are: 5 %, 95 %, most                       0.28, 0.37, 0.45     0.28, 0.41, 0.45
1080p, 480p, 360p, 160p; 160p or 90p enlarged to 720p    most 0.58            most 0.64
360p and 160p in H.264 at the worst quantizer            most 0.72            most 0.72
Gaussian of 2, 4, 6 pixels                               most 0.70            most 0.75
8; 10; 12; 16 pixels: above the limit                    0; 2; 29; 100 %      0; 2; 49; 98 %
24 and 32; 48; 64 pixels                                 100; 98; 58 %        100; 97; 81 %
16 pixels, in H.264 at quantizer 35                      36 %                 63 %
drawn: cards, board, maps, novel, text, pixels, dark     -                    most 0.51
drawn: soft blobs, a game of nothing else                -                    most 0.76
=======================================================  ===================  =====================

Far above the games, since a game of soft shapes alone is no less smooth than a blurred one. Not told: motion blur
(over 32 to 160 pixels at most 0.54; edges along the way stay sharp), and a blurred picture with something sharp in
it, such as the menu of a paused game, or the border of a bar. Frames that were measured before there was a
variogram have no ``blur``, and are not dropped for it.

**Bars** (``letterbox``, ``pillarbox``): share of the height, of the width, that black bars take at both sides, in
whole tiles (1/18, 1/32), so never more than there is. Nothing is dropped for them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from harvester.config import Filter
from harvester.model import TILE_COLS, TILE_ROWS, Measurement, Variogram, Verdict
from harvester.vision.measure import tile_pixels

SCORE_NAMES: tuple[str, ...] = (
    "luma_mean",
    "luma_deviation",
    "black_share",
    "sharpness",
    "blur",
    "detail_share",
    "lit_share",
    "letterbox",
    "pillarbox",
)

REASONS = BLACK, DARK, FLAT, LOW_INFORMATION, BLURRED = "black", "dark", "flat", "low-information", "blurred"

#: A tile whose luma deviates so much shows something (levels): half of what all of a picture in fog does. So does
#: a tile of a backdrop that goes over 7 levels within it.
TILE_DEVIATION = 2
#: So does one whose mean differs so much from that of the tile beside or below it (levels).
TILE_STEP = 16
#: A tile of a dark picture is lit if its luma deviates so much (levels): one white pixel in 700 is enough.
LIT_DEVIATION = 8
#: Of a bar, no tile is brighter than this on average, nor deviates more (levels): coded black is 16, and coding
#: leaves a level or two.
BAR_LEVEL, BAR_DEVIATION = 18, 2


def judge(measurement: Measurement, limits: Filter) -> Verdict:
    """Drop a picture that is ``black`` (nearly all of it), ``dark`` (on average; neither if enough in it is lit),
    ``flat`` (nothing to see), of ``low-information`` (hardly a tile shows anything) or ``blurred`` (nothing in it
    is sharp).

    The first reason that holds is given, the most telling first.
    """
    scores = _scores(measurement, limits.black_level)
    if (reason := _darkness(scores, limits)) and scores["lit_share"] <= limits.lit_share:
        return Verdict(kept=False, reason=reason, scores=scores)
    if scores["luma_deviation"] < limits.flat_deviation:
        return Verdict(kept=False, reason=FLAT, scores=scores)
    if scores["detail_share"] < limits.detail_share:
        return Verdict(kept=False, reason=LOW_INFORMATION, scores=scores)
    if scores.get("blur", 0.0) > limits.blur:
        return Verdict(kept=False, reason=BLURRED, scores=scores)
    return Verdict(kept=True, scores=scores)


def _darkness(scores: Mapping[str, float], limits: Filter) -> str:
    """``black``, ``dark``, or "" for a picture that is neither."""
    if scores["black_share"] >= limits.black_share:
        return BLACK
    return DARK if scores["luma_mean"] < limits.dark_mean else ""


def _scores(measurement: Measurement, black_level: int) -> dict[str, float]:
    """Scores by :data:`SCORE_NAMES`: luma levels, shares of pixels, levels a pixel; no ``blur`` where that was not
    measured.

    Integers up to the last division, so every machine gets the same float.
    """
    pixels = measurement.width * measurement.height
    total, squares, black = (_weights(black_level) @ measurement.histogram).tolist()
    return {
        "luma_mean": total / pixels,
        "luma_deviation": math.sqrt((pixels * squares - total * total) / (pixels * pixels)),
        "black_share": black / pixels,
        "sharpness": measurement.gradient / pixels,
        **_blur(measurement.variogram),
        **_tile_scores(measurement),
    }


def _blur(variogram: Variogram | None) -> dict[str, float]:
    """0 to 1; 0 for one colour, and for a picture of a few pixels."""
    if variogram is None:
        return {}
    return {"blur": variogram.far / (4 * variogram.near) if variogram.near else 0.0}


@lru_cache(maxsize=8)
def _weights(black_level: int) -> NDArray[np.int64]:
    """By which a histogram's counts make the sums of luma, of its square, and of black pixels: (3, 256)."""
    levels = np.arange(256, dtype=np.int64)
    return np.stack((levels, levels * levels, levels < black_level))


@dataclass(frozen=True, slots=True, eq=False)
class _TileLimits:
    """What tiles of pictures of one size are held against: int64 (18, 32) each.

    ``some``: their pixels, at least 1; ``telling``, ``lit``, ``still``: variance times pixels squared of a tile
    that shows something, of a lit one, and of a bar; ``dark``: the sum of luma of a bar. ``few``: there are tiles
    without a pixel.
    """

    pixels: NDArray[np.int64]
    some: NDArray[np.int64]
    telling: NDArray[np.int64]
    lit: NDArray[np.int64]
    still: NDArray[np.int64]
    dark: NDArray[np.int64]
    few: bool


@lru_cache(maxsize=64)
def _tile_limits(height: int, width: int) -> _TileLimits:
    pixels = tile_pixels(height, width)
    some = np.maximum(1, pixels)
    telling, lit, still = ((levels * some) ** 2 for levels in (TILE_DEVIATION, LIT_DEVIATION, BAR_DEVIATION))
    return _TileLimits(pixels, some, telling, lit, still, BAR_LEVEL * pixels, not pixels.all())


def _tile_scores(measurement: Measurement) -> dict[str, float]:
    """What the tiles tell; nothing against a picture that has fewer lines or columns than there are tiles."""
    limits, sums = _tile_limits(measurement.height, measurement.width), measurement.tile_sums
    spread = limits.pixels * measurement.tile_squares - sums * sums  # variance times pixels squared
    shows = spread >= limits.telling
    _mark_steps(shows, sums // limits.some)
    black = (sums <= limits.dark) & (spread <= limits.still)
    return {
        "detail_share": 1.0 if limits.few else int(np.count_nonzero(shows)) / shows.size,
        "lit_share": int(np.count_nonzero(spread >= limits.lit)) / shows.size,
        "letterbox": _bars(black, 1) / TILE_ROWS,
        "pillarbox": _bars(black, 0) / TILE_COLS,
    }


def _mark_steps(shows: NDArray[np.bool_], means: NDArray[np.int64]) -> None:
    """Mark tiles that differ from the one beside or below."""
    shows[:, :-1] |= np.abs(means[:, :-1] - means[:, 1:]) >= TILE_STEP
    shows[:-1] |= np.abs(means[:-1] - means[1:]) >= TILE_STEP


def _bars(black: NDArray[np.bool_], along: int) -> int:
    """Lines of tiles, ``along`` that axis, in the bars at both ends, as many at one as at the other; 0 if all are
    black."""
    if not np.count_nonzero(black):  # so it is in most pictures
        return 0
    lines = np.asarray(black.all(axis=along))
    ends = int(np.argmin(lines)), int(np.argmin(lines[::-1]))  # where the first is that is not, 0 if none is
    return 2 * min(ends)
