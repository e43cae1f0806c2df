"""Storyboards for tests: of mean colours alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from harvester.sampling.edges import POINT_COLS, POINT_ROWS
from harvester.sampling.storyboard import CELL_COLS, CELL_ROWS, Tiles
from harvester.sampling.texture import RATIOS


def board(cells: NDArray[np.int16], interval_s: float, details: NDArray[np.float64] | None = None) -> Tiles:
    """Tiles of these cells, ``interval_s`` apart, whose points are as bright as the cells they lie in."""
    rows = np.arange(POINT_ROWS) * CELL_ROWS // POINT_ROWS
    columns = np.arange(POINT_COLS) * CELL_COLS // POINT_COLS
    lumas = np.clip(cells[..., 1], 0, 255).astype(np.uint8)[:, rows][:, :, columns]
    moments_s: Sequence[float] = [number * interval_s for number in range(len(cells))]
    known = np.zeros(len(cells)) if details is None else details
    return Tiles(tuple(moments_s), interval_s, cells, known, lumas, np.zeros((len(cells), RATIOS)))
