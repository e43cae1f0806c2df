"""A stamp inside the picture: a bar code in the top left corner that says which picture this is.

Five rows of sixteen cells, white for 1, black for 0: category id (32 bits), session number (12), moment in
milliseconds (20), and a CRC-16 of these. A cell is 1/45 of the picture's height (16 px at 720 lines, 8 px at 360),
so it survives scaling and coarse quantisation: only the middle of each cell is read.
"""

from __future__ import annotations

import binascii
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROWS, COLUMNS = 5, 16
#: Cells per picture height; the bar code starts half a cell from the corner, inside a black frame.
CELLS_PER_HEIGHT = 45
#: Luma of the two colours, limited range, away from the ends so that ringing is not clipped.
DARK, LIGHT = 24, 228
#: Smallest cell whose middle can be told from its edges (px): pictures of 180 lines and more carry stamps.
LEAST_CELL_PX = 4


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a stamped picture says of itself; ``moment_ms`` counts from the start of the session's footage."""

    category_id: int
    session: int
    moment_ms: int

    def __post_init__(self) -> None:
        if not (0 <= self.category_id < 1 << 32 and 0 <= self.session < 1 << 12 and 0 <= self.moment_ms < 1 << 20):
            raise ValueError(f"{self!r} does not fit into 64 bits")


def draw_stamp(luma: NDArray[np.uint8], stamp: Stamp) -> None:
    """Draw ``stamp`` into the luma plane (height, width), in place."""
    cell = luma.shape[0] / CELLS_PER_HEIGHT
    luma[: round((ROWS + 1) * cell), : round((COLUMNS + 1) * cell)] = DARK
    for row, column in zip(*np.nonzero(_bits(stamp)), strict=True):
        luma[_cell(row, cell, 0.0), _cell(column, cell, 0.0)] = LIGHT


def read_stamp(luma_plane: NDArray[Any]) -> Stamp:
    """The stamp of a decoded picture. ``luma_plane``: (height, width), 8-bit luma.

    Raises :class:`ValueError` if there is none or it is damaged (checksum).
    """
    cell = luma_plane.shape[0] / CELLS_PER_HEIGHT
    if luma_plane.ndim != 2 or cell < LEAST_CELL_PX or luma_plane.shape[1] < (COLUMNS + 1) * cell:
        raise ValueError(f"no room for a stamp in {luma_plane.shape}")
    middle = [
        [luma_plane[_cell(row, cell, 0.25), _cell(column, cell, 0.25)].mean() for column in range(COLUMNS)]
        for row in range(ROWS)
    ]
    data = np.packbits(np.array(middle) > (DARK + LIGHT) / 2).tobytes()
    if binascii.crc_hqx(data[:8], 0xFFFF) != int.from_bytes(data[8:], "big"):
        raise ValueError("no stamp in this picture, or a damaged one")
    word = int.from_bytes(data[:8], "big")
    return Stamp(word >> 32, word >> 20 & 0xFFF, word & 0xFFFFF)


def _bits(stamp: Stamp) -> NDArray[np.uint8]:
    word = (stamp.category_id << 32 | stamp.session << 20 | stamp.moment_ms).to_bytes(8, "big")
    data = word + binascii.crc_hqx(word, 0xFFFF).to_bytes(2, "big")
    return np.unpackbits(np.frombuffer(data, np.uint8)).reshape(ROWS, COLUMNS)


def _cell(index: int, cell: float, inset: float) -> slice:
    """Pixels of cell ``index`` along one axis, without ``inset`` of its side at both ends."""
    return slice(round((index + 0.5 + inset) * cell), round((index + 1.5 - inset) * cell))
