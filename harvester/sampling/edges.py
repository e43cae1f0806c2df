"""Edges that stay where they are in a VOD's pictures, by its storyboard. Pure.

A game draws its score, its map, its frame at one place for as long as it is played, and so does a broadcaster with
a camera's frame; a break or a talk is another picture, where these are missing. It has its own: a line of text, a
desk, a logo, that stay for a minute and are nowhere in the rest of the VOD, whatever moves behind them. Neither is
told by mean colours, in which a score is nothing and a moving background all.

An edge is the gradient of brightness at a point, down and across: it is there again if it points the same way and
is as strong.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

#: Points of a tile that are looked at: 2 x 2 pixels each of 160 x 90.
POINT_ROWS, POINT_COLS = 45, 80
#: Points along a side that are left out: a neighbour on the sheet shows through there.
RIM = 2
#: An edge is so strong at least (half the levels from one point to the one after the next), and where there is
#: none it is weaker than half. With 4 or 9 in its place what :mod:`harvester.sampling.doubt` measures is the same.
EDGE = 6
#: Gradients end here: the sum of two squares is less than 2^15, so that 16 bits will do, in a third of the time.
STEEPEST = 127
#: Fewer edges than this are no frame and no score: nothing can be missing.
LEAST = 10
#: Pictures among which what always stands is looked for, evenly chosen, and all of fewer.
AMONG = 64
#: An edge stays that is seen again for so long (s), in so many pictures at least, from one to the next of these in
#: this share.
STAYS_S, STAYS_TILES, STAYS_SHARE = 60.0, 2, 0.8

Lumas = NDArray[np.uint8]  # (n, 45, 80) of tiles
_Gradients = NDArray[np.int16]  # (2, n, points), halved


def point_lumas(image: NDArray[np.uint8]) -> Lumas:
    """Mean green (the most of luma) at the 45 x 80 points of a picture (height, width, 3) of any size.

    By coverage, in whole numbers. As products of matrices it takes as long on one thread, and several times that
    where other threads are busy: they are large enough for NumPy's library to divide them among threads.
    """
    lines = _cut(image[..., 1], POINT_ROWS)
    sums = _cut(np.ascontiguousarray(lines.T), POINT_COLS).T
    means: Lumas = (sums // (image.shape[0] * image.shape[1])).astype(np.uint8)
    return means


def _cut(lines: NDArray[np.integer], parts: int) -> NDArray[np.int64]:
    """Sums over ``parts`` equally long parts of lines (n, m), a line being ``parts`` long: (parts, m)."""
    whole, rest = _borders(len(lines), parts)
    before = np.zeros((len(lines) + 1, lines.shape[1]), np.int64)
    np.cumsum(lines, axis=0, out=before[1:])
    at = before[whole] * parts
    at[:-1] += rest[:-1] * lines[whole[:-1]]
    return np.diff(at, axis=0)


@lru_cache(maxsize=16)
def _borders(size: int, parts: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each of ``parts`` parts of ``size`` lines begins and the last one ends: whole lines before it
    (parts + 1,), and how much of the next one, in ``parts``-ths (parts + 1, 1)."""
    whole, rest = np.divmod(np.arange(parts + 1) * size, parts)
    return whole, rest[:, None]


class Edges:
    """The edges of pictures (n, height, width) that follow one another, ``interval_s`` apart. ``rim``: points
    along each side that are left out."""

    def __init__(self, lumas: Lumas, interval_s: float, *, rim: int = RIM) -> None:
        gradients = _gradients(lumas, rim)
        usual = _usual(gradients)
        strength = np.square(usual).sum(axis=0)
        self._always = strength >= EDGE**2
        self._usual, self._strength = usual[:, self._always], strength[self._always]
        self._gradients, self._never = gradients, strength < (EDGE / 2) ** 2
        self._wide = max(STAYS_TILES, math.ceil(STAYS_S / interval_s) + 1)

    def missing(self) -> NDArray[np.float64]:
        """The share of the edges that stand in half of the pictures and more which is not in each (n,)."""
        if len(self._strength) < LEAST:
            return np.zeros(self._gradients.shape[1])
        found = (self._gradients[:, :, self._always] * self._usual[:, None]).sum(axis=0) / self._strength
        missing: NDArray[np.float64] = 1.0 - np.clip(found, 0.0, 1.0).mean(axis=1, dtype=np.float64)
        return missing

    def passing(self) -> NDArray[np.float64]:
        """How many edges that are not usual stay for a while where each picture is in it (n,)."""
        count, pairs = self._gradients.shape[1], self._wide - 1
        most = np.zeros(count)
        if count < self._wide:
            return most
        seen = np.cumsum(self._again(), axis=0, dtype=np.int16)
        seen[pairs:] -= seen[:-pairs].copy()
        stay = ((seen[pairs - 1 :] >= math.ceil(STAYS_SHARE * pairs - 1e-9)) & self._never).sum(axis=1)
        for place in range(self._wide):
            inside = most[place : place + len(stay)]
            np.maximum(inside, stay, out=inside)
        return most

    def _again(self) -> NDArray[np.bool_]:
        """Which edges are in a picture and, by half of it at least, in the next (n - 1, points)."""
        across, down = self._gradients
        strength = across * across + down * down
        stronger = np.maximum(strength[1:], strength[:-1])
        alike = across[1:] * across[:-1] + down[1:] * down[:-1]
        again: NDArray[np.bool_] = (stronger >= EDGE**2) & (alike > stronger >> 1)
        return again


def _gradients(lumas: Lumas, rim: int) -> _Gradients:
    levels = lumas.astype(np.int16)
    rows, columns = slice(rim, -rim), slice(rim, -rim)
    across = levels[:, rows, rim + 1 : levels.shape[2] - rim + 1] - levels[:, rows, rim - 1 : -rim - 1]
    down = levels[:, rim + 1 : levels.shape[1] - rim + 1, columns] - levels[:, rim - 1 : -rim - 1, columns]
    both = np.stack([across.reshape(len(lumas), -1), down.reshape(len(lumas), -1)]) >> 1
    gradients: _Gradients = np.maximum(both, -STEEPEST)
    return gradients


def _usual(gradients: _Gradients) -> NDArray[np.float32]:
    """The gradient in the middle of all pictures (2, points), of an even number the upper one."""
    count = gradients.shape[1]
    places = np.linspace(0, count - 1, min(count, AMONG)).astype(np.int64)
    middle = np.partition(gradients[:, places], len(places) // 2, axis=1)[:, len(places) // 2]
    return middle.astype(np.float32)
