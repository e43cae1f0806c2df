"""The perceptual hash: 64 signs of the lowest frequencies of a picture, in integers.

A cosine transform of the 32x32 luma grid, its 8x8 corner of lowest frequencies, one bit each for "above the median
of the 63 that are not the mean". Within a few bits of ``imagehash.phash``, whose float sums differ by machine.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from harvester.model import GRID_SIDE

#: Side of the block of lowest frequencies: 8 x 8 bits.
HASH_SIDE = 8
#: Bits of a hash.
HASH_BITS = HASH_SIDE * HASH_SIDE


def _cosines() -> NDArray[np.int64]:
    """D[k, n] = round(1024 · cos((2n + 1) k π / 64)); none is within 0.01 of a half: any libm rounds alike."""
    return np.array(
        [
            [round(1024 * math.cos((2 * n + 1) * k * math.pi / (2 * GRID_SIDE))) for n in range(GRID_SIDE)]
            for k in range(HASH_SIDE)
        ],
        dtype=np.int64,
    )


_D = _cosines()


def phash(grid: NDArray[np.int64]) -> int:
    """The 64-bit hash of a measurement's grid (32, 32).

    Bits row by row over the 8x8 block, the first (the mean) most significant; exact in int64 up to 7680x4320. The
    hash of a flat picture means nothing: filters come first.
    """
    block = (_D @ grid @ _D.T).ravel()
    median = np.sort(block[1:])[(HASH_BITS - 1) // 2]
    return int.from_bytes(np.packbits(block > median).tobytes(), "big")


def hex16(value: int) -> str:
    """A hash as the dataset writes it: 16 lower-case hex digits."""
    return f"{value:016x}"
