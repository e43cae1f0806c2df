"""Storyboards: a whole VOD in a handful of small requests. The file that lists the sheets, then the sheets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harvester.errors import MediaError
from harvester.media.jpeg import jpeg_ends, jpeg_size
from harvester.media.storyboard import MAX_FILE_BYTES, Storyboard, parse_storyboards
from harvester.stats import RequestKind
from harvester.text import is_page
from harvester.vision.jpeg import decode

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harvester.transport import Transport

#: Largest sheet fetched (bytes): 50 cells of 220 x 124 take some 0.3 MB, 200 of 160 x 90 some 0.7 MB.
MAX_SHEET_BYTES = 8 << 20


@dataclass(frozen=True, slots=True, eq=False)
class Preview:
    """One cell cut out: RGB uint8 (cell height, cell width, 3), shown ``time_s`` from the start of the VOD."""

    time_s: float
    image: NDArray[np.uint8] = field(repr=False)


async def fetch_storyboards(transport: Transport, url: str) -> tuple[Storyboard, ...]:
    """The qualities listed at ``url``, largest cells first.

    Raises :class:`FetchError` when the file does not come, :class:`MediaError` when it is no storyboard file.
    """
    answer = await transport.get(url, kind=RequestKind.STORYBOARD, limit_bytes=MAX_FILE_BYTES)
    return parse_storyboards(answer.body, url)


async def fetch_sheet(transport: Transport, board: Storyboard, sheet: int) -> bytes:
    """Sheet number ``sheet`` (from 0), a JPEG for :func:`cut_sheet`. Raises :class:`FetchError` when it does not
    come."""
    url = board.sheets[sheet]
    answer = await transport.get(url, kind=RequestKind.STORYBOARD, limit_bytes=MAX_SHEET_BYTES, is_foreign=is_page)
    return answer.body


def cut_sheet(data: bytes, board: Storyboard, sheet: int) -> list[Preview]:
    """The cells of a sheet's JPEG, in order of time: views of one decoded picture, that of 50 cells of 220 x 124
    takes 4 MB.

    Raises :class:`MediaError`, before decoding, unless it has the size that its cells need: a cell is never cut
    from beyond the picture.
    """
    cells = board.cells(sheet)
    right = max(cell.left for cell in cells) + board.cell_width
    bottom = max(cell.top for cell in cells) + board.cell_height
    width, height = jpeg_size(data)
    fits = right <= width <= board.columns * board.cell_width and height <= board.rows * board.cell_height
    if not fits or height < bottom:
        raise MediaError(f"a sheet of {width}x{height} for cells up to {right}x{bottom}")
    if not jpeg_ends(data):
        raise MediaError("the sheet breaks off", reason="truncated")
    try:
        image = decode(data)
    except ValueError as error:
        raise MediaError(f"the sheet is {error}") from None
    if image.shape[:2] != (height, width):
        raise MediaError("the sheet is of another size than it says")
    across, down = board.cell_width, board.cell_height
    return [
        Preview(cell.time_s, image[cell.top : cell.top + down, cell.left : cell.left + across]) for cell in cells
    ]
