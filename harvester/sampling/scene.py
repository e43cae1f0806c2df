"""A scene as it is remembered: one picture of it, and what of that stands still. Pure.

It is found in a storyboard (RGB) and looked for among measured pictures (luma as coded), so it tells its luma,
too.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from harvester.model import TILE_COLS, TILE_ROWS

#: Luma of RGB (thousandths) by ITU-R BT.601 and BT.709: a storyboard does not say by which it was made.
LUMA = np.array(((299, 587, 114), (213, 715, 72)), np.int64)
#: Coded luma of limited range goes from 16 to 235.
BLACK_LEVEL, LEVELS = 16, 219


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """``cells``: mean RGB of the 18 x 32 parts of the picture, uint8 (18, 32, 3); ``standing``: which of them show
    the same as long as the scene lasts, bool (18, 32); none, if only its colours stay."""

    cells: NDArray[np.uint8] = field(repr=False)
    standing: NDArray[np.bool_] = field(repr=False)

    def __post_init__(self) -> None:
        if self.cells.shape != (TILE_ROWS, TILE_COLS, 3) or self.cells.dtype != np.uint8:
            raise ValueError(f"the cells of a scene are {self.cells.dtype} {self.cells.shape}")
        if self.standing.shape != (TILE_ROWS, TILE_COLS) or self.standing.dtype != np.bool_:
            raise ValueError(f"what stands of a scene is {self.standing.dtype} {self.standing.shape}")

    def lumas(self) -> NDArray[np.uint8]:
        """Mean luma as coded of each part, by either formula: uint8 (2, 576)."""
        full = self.cells.reshape(-1, 3).astype(np.int64) @ LUMA.T
        return np.ascontiguousarray((BLACK_LEVEL + LEVELS * full // 255_000).T.astype(np.uint8))
