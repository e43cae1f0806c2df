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
"""

from __future__ import annotations

import math

import numpy as np

from harvester.config import Filter
from harvester.model import Measurement, Verdict

SCORE_NAMES: tuple[str, ...] = ("luma_mean", "luma_deviation", "black_share", "sharpness")

BLACK, DARK, FLAT = "black", "dark", "flat"

_LEVELS = np.arange(256, dtype=np.int64)


def judge(measurement: Measurement, limits: Filter) -> Verdict:
    """Drop a picture that is ``black`` (nearly all of it), ``dark`` (on average) or ``flat`` (nothing to see).

    The first reason that holds is given, the most telling first. Scores are rounded to what is stored.
    """
    scores = _scores(measurement, limits.black_level)
    if scores["black_share"] >= limits.black_share:
        return Verdict(kept=False, reason=BLACK, scores=scores)
    if scores["luma_mean"] < limits.dark_mean:
        return Verdict(kept=False, reason=DARK, scores=scores)
    if scores["luma_deviation"] < limits.flat_deviation:
        return Verdict(kept=False, reason=FLAT, scores=scores)
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
    }
