"""How tiles of pictures change from one picture to the next, in sums that do not grow with them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from harvester.model import TILE_COLS, TILE_ROWS, Measurement
from harvester.vision.measure import tile_pixels

#: A static tile changes by at most so many levels (standard deviation; coding alone makes 0.2 to 0.9 of them) ...
STATIC_LEVELS = 2.0
#: ... and by at most this share of the median: where half of the picture is still, the game may be.
STATIC_SHARE = 0.2

_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]
_Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Activity:
    """How the tiles of some pictures change, whatever the pictures' order.

    ``mean``, ``texture``: of the tiles' means and deviations (levels); ``change``: standard deviation of both
    together; all (18, 32). ``across`` (18, 30), ``down`` (16, 32): correlation of the means of tiles two apart, so
    that a tile that a side goes through is left out; 0 for what does not change.
    """

    mean: _Floats
    texture: _Floats
    change: _Floats
    across: _Floats
    down: _Floats

    @classmethod
    def of(cls, pictures: Iterable[Measurement]) -> Self:
        """Of at least one picture, one at a time in memory. Sums are of integers: their order does not show."""
        sums = _Sums()
        for picture in pictures:
            sums.add(picture)
        n = sums.count
        change = np.sqrt(sums.spread + n * sums.texture_squares - sums.textures**2) / n
        return cls(sums.sums / n, sums.textures / n, change, sums.links(1), sums.links(0))

    @property
    def static(self) -> _Mask:
        """Tiles that hardly change while most do: (18, 32)."""
        limit = min(STATIC_LEVELS, STATIC_SHARE * float(np.median(self.change)))
        return np.asarray((self.change <= limit) & (limit > 0))

    @property
    def link(self) -> float:
        """How much tiles two apart change together (median of the correlations)."""
        return float(np.median(np.concatenate([self.across.ravel(), self.down.ravel()])))


class _Sums:
    """Integer sums over pictures; products are of tiles two apart, down (0) and across (1)."""

    def __init__(self) -> None:
        self.count = 0
        self.sums, self.squares, self.textures, self.texture_squares = (_tiles() for _ in range(4))
        self.products = (_tiles()[2:], _tiles()[:, 2:])

    def add(self, picture: Measurement) -> None:
        pixels = np.maximum(1, tile_pixels(picture.height, picture.width))
        means = picture.tile_sums // pixels
        variances = (pixels * picture.tile_squares - picture.tile_sums**2) // pixels**2
        deviations = np.sqrt(variances).astype(np.int64)
        self.count += 1
        self.sums += means
        self.squares += means**2
        self.textures += deviations
        self.texture_squares += deviations**2
        self.products[0][:] += means[2:] * means[:-2]
        self.products[1][:] += means[:, 2:] * means[:, :-2]

    @property
    def spread(self) -> _Ints:
        """Variance of the tiles' means, times the count squared."""
        return np.asarray(self.count * self.squares - self.sums**2)

    def links(self, axis: Literal[0, 1]) -> _Floats:
        """Correlations along an axis; a level of variance is added to each, so that stillness is no link."""
        ahead, behind = ((np.s_[2:], np.s_[:-2]), (np.s_[:, 2:], np.s_[:, :-2]))[axis]
        common = self.count * self.products[axis] - self.sums[ahead] * self.sums[behind]
        spread = (self.spread + self.count**2).astype(np.float64)
        return np.asarray(common / np.sqrt(spread[ahead] * spread[behind]))


def _tiles() -> _Ints:
    return np.zeros((TILE_ROWS, TILE_COLS), np.int64)
