"""What tiles of a storyboard look like, and which of two categories one of them looks like. Pure.

A *look* is the order of a tile's brightness and colours, wherever they are in it: the level in the middle of each
twelfth of its cells. Within a VOD, and among the VODs of a broadcaster, tiles of a game mostly have others of that
game near them, and those of other games farther away.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

#: Steps into which the order of brightness, and of either colour, is cut.
STEPS = 12
#: Numbers of a look.
WIDTH = 3 * STEPS
#: Looks from which a category can be learnt, at least, and of more so many, evenly chosen.
LEAST, ENOUGH = 5, 256
#: A tile is of a category if it is as near to one of its tiles as most of these are to one another, ...
MOST = 0.95
#: ... or at least so near (sum of half levels; 4 levels on average): what shows the same in another coding is, ...
SAME = 2 * WIDTH
#: ... and farther from all of the other category by this factor.
FARTHER = 1.2
#: Neighbours in time look alike, so a tile is not compared with so many at either side to find how near is near.
NEIGHBOURS = 1
#: Looks that are compared at a time, 2 bytes for each that they are compared with.
AT_ONCE = 4096

Looks = NDArray[np.int8]  # (n, 36)
_Away = NDArray[np.int16]  # sums over a look


@dataclass(frozen=True, slots=True, eq=False)
class Glance:
    """A storyboard as it is remembered, 36 bytes a tile: ``looks`` (n, 36) at ``moments_s`` (n,), rising."""

    moments_s: tuple[float, ...]
    looks: Looks = field(repr=False)

    def __post_init__(self) -> None:
        if self.looks.shape != (len(self.moments_s), WIDTH) or self.looks.dtype != np.int8:
            raise ValueError(f"{len(self.moments_s)} moments of looks {self.looks.dtype} {self.looks.shape}")


def looks_of(cells: NDArray[np.int16]) -> Looks:
    """The look of tiles (n, rows, columns, 3), mean RGB of their cells: of brightness, red and blue (each less
    green) half the levels in the middle of each twelfth of the cells, those at the edges left out: (n, 36)."""
    red, green, blue = np.moveaxis(cells[:, 1:-1, 1:-1].reshape(len(cells), -1, 3), 2, 0)
    planes = np.sort(np.stack([(red + 2 * green + blue) // 4, red - green, blue - green], axis=1), axis=2)
    places = (2 * np.arange(STEPS) + 1) * planes.shape[2] // (2 * STEPS)
    looks: Looks = (planes[:, :, places] >> 1).reshape(len(planes), WIDTH).astype(np.int8)
    return looks


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """A category as it is known. ``looks``: of tiles that show it; ``away`` (n,): how far each is from the nearest
    other one (sum of half levels), but for its neighbours; ``reach``: how far most are."""

    looks: Looks = field(repr=False)
    away: _Away = field(repr=False)
    reach: int

    @classmethod
    def of(cls, looks: Looks, same: int = SAME) -> Known | None:
        """Of looks in the order of time, ``same`` the least reach; None if they are too few."""
        if len(looks) < LEAST:
            return None
        some = looks[np.linspace(0, len(looks) - 1, min(len(looks), ENOUGH)).astype(np.int64)]
        numbers = np.arange(len(some))
        apart = _apart(some, some)
        apart[np.abs(numbers[:, None] - numbers) <= NEIGHBOURS] = np.iinfo(np.int16).max
        away = apart.min(axis=1)
        most = int(np.sort(away)[int(MOST * (len(away) - 1))])
        return cls(some, away, max(most, same))

    def away_from(self, looks: Looks) -> _Away:
        """How far other looks are from the nearest of these (n,)."""
        parts = [looks[at : at + AT_ONCE] for at in range(0, len(looks), AT_ONCE)]
        nearest = [_apart(part, self.looks).min(axis=1) for part in parts]
        away: _Away = np.concatenate([np.empty(0, np.int16), *nearest])
        return away

    def takes(self, away: _Away, other: _Away) -> NDArray[np.bool_]:
        """Which tiles are of this category, by how far they are from it and from another one."""
        taken: NDArray[np.bool_] = (away <= self.reach) & (other >= FARTHER * away)
        return taken


def _apart(looks: Looks, others: Looks) -> _Away:
    """Sum of the differences of each look and each of the others: (n, m); 36 x 255 at most."""
    sums = np.zeros((len(looks), len(others)), np.int16)
    for mine, theirs in zip(looks.T.astype(np.int16), others.T.astype(np.int16), strict=True):
        sums += np.abs(mine[:, None] - theirs)
    return sums
