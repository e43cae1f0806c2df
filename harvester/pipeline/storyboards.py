"""What the storyboards of a run's VODs showed before anything of them was fetched, and what that was good for.

A storyboard is weak ground to stand on: unofficial, missing for fresh VODs, and as likely to be late as any file.
So whatever is wrong with one costs a count and nothing else: its VOD is sampled in equal steps.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harvester.errors import FetchError, MediaError, TryAgainLater
from harvester.fetch.storyboard import cut_sheet, fetch_sheet, fetch_storyboards
from harvester.media.storyboard import Storyboard
from harvester.model import Span, Target, VideoDetails, Vod
from harvester.sampling.edges import point_lumas
from harvester.sampling.storyboard import CELL_COLS, CELL_ROWS, WORTH_S, Tiles, cell_means, log_detail
from harvester.sampling.texture import log_textures
from harvester.transport import Transport

#: Most sheets read of a VOD: the larger of the two known qualities has four.
MAX_SHEETS = 4


@dataclass(frozen=True, slots=True)
class Foreseen:
    """VODs whose storyboard was looked at, and VODs that have none or whose did not come; targets that equal steps
    would have placed where nothing happens, and the VODs they are of."""

    seen: int = 0
    unseen: int = 0
    skipped: int = 0
    skipped_in: int = 0


class Storyboards:
    """Looks at storyboards, and counts by VOD; one for a run."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._seen: dict[str, bool] = {}
        self._skipped: dict[tuple[str, str], int] = {}  # by category and VOD

    @property
    def foreseen(self) -> Foreseen:
        """What they were good for so far."""
        seen = sum(self._seen.values())
        skipped = [n for n in self._skipped.values() if n]
        return Foreseen(seen, len(self._seen) - seen, sum(skipped), len(skipped))

    async def tiles(self, vod: Vod, told: VideoDetails) -> Tiles | None:
        """What the VOD's storyboard shows; None if it has none that can be had."""
        tiles = None if told.storyboard_url is None else await self._tiles(told.storyboard_url)
        self._seen[vod.id] = tiles is not None
        return tiles

    async def _tiles(self, url: str) -> Tiles | None:
        try:
            board = _smallest(await fetch_storyboards(self._transport, url))
            if board is None:
                return None
            sheets = [await fetch_sheet(self._transport, board, number) for number in range(len(board.sheets))]
            return await asyncio.to_thread(_reduced, sheets, board)
        except (FetchError, MediaError, TryAgainLater):  # an outage ends what needs storyboards, and nothing does
            return None

    def skip(self, vod: Vod, targets: Mapping[int, Target], idle: Sequence[Span]) -> None:
        """Count those of the targets that would be placed without a storyboard which lie in idle spans."""
        inside = sum(any(target.moment_s in span for span in idle) for target in targets.values())
        self._skipped[vod.category_id, vod.id] = inside


def worth_a_look(vod: Vod) -> bool:
    """True if the VOD is so long that its storyboard is worth its requests."""
    return vod.duration_s >= WORTH_S


def _smallest(boards: Sequence[Storyboard]) -> Storyboard | None:
    """The quality that takes fewest requests, then fewest pixels; None if no cells are large enough."""
    usable = [
        board
        for board in boards
        if len(board.sheets) <= MAX_SHEETS and board.cell_width >= CELL_COLS and board.cell_height >= CELL_ROWS
    ]
    return min(usable, key=lambda board: (len(board.sheets), board.cell_width * board.cell_height), default=None)


def _reduced(sheets: Sequence[bytes], board: Storyboard) -> Tiles:
    """What the sheets show. One is decoded at a time: a picture is 50 to 100 times as large as what is kept of it.
    Raises :class:`MediaError`."""
    times, cells, details, lumas, textures = [], [], [], [], []
    for number, data in enumerate(sheets):
        for preview in cut_sheet(data, board, number):
            times.append(preview.time_s)
            cells.append(cell_means(preview.image))
            details.append(log_detail(preview.image))
            lumas.append(point_lumas(preview.image))
            textures.append(log_textures(preview.image))
    seen = np.stack(cells), np.array(details), np.stack(lumas), np.array(textures)
    return Tiles(tuple(times), board.interval_s, *seen)
