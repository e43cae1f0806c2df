"""Seek previews of videos: a JSON file of two qualities and their JPEG sheets, cut from the footage that plays.

The sizes, grids and names are those of real ones; the fields of the JSON are as yt-dlp reads them. Sheets are
made when first asked for: 200 cells are 200 decodes, most of them of a single keyframe.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harvester.model import Codec, Picture, StreamInfo
from harvester.sandbox.world import Video
from harvester.vision.jpeg import encode

if TYPE_CHECKING:
    from datetime import datetime

    from harvester.sandbox.reels import MediaReels

#: Cells of a quality at most; the interval grows with the video.
MAX_CELLS = 200
#: Shortest interval (s): a cell for each GOP. Unverified: only videos of hours have been seen, with 55 s and more.
MIN_INTERVAL_S = 2
#: A video younger than this has none yet. Unverified.
FRESH_S = 3600
#: Sheets kept in memory.
KEPT_SHEETS = 64
_JPEG_QUALITY = 80
_BT709 = 1  # H.273 MatrixCoefficients of all footage


@dataclass(frozen=True, slots=True)
class Quality:
    """Size of a cell (pixels) and grid of a sheet."""

    name: str
    width: int
    height: int
    columns: int
    rows: int


QUALITIES = (Quality("low", 160, 90, 5, 40), Quality("high", 220, 124, 5, 10))


def storyboard_path(video: Video, now: datetime) -> str | None:
    """Path of the video's storyboard file on the CDN; None while the video is fresh."""
    if (now - video.created_at).total_seconds() < FRESH_S:
        return None
    return f"/cdn/{video.distribution}/{video.special}/storyboards/{video.id}-info.json"


def interval_s(video: Video) -> int:
    """Seconds from cell to cell: whole GOPs, so many that :data:`MAX_CELLS` cells do."""
    return max(MIN_INTERVAL_S, 2 * math.ceil(video.duration_s / (2 * MAX_CELLS)))


def listing(video: Video) -> list[dict[str, Any]]:
    """The storyboard file."""
    count = _count(video)
    return [
        {
            "quality": quality.name,
            "count": count,
            "width": quality.width,
            "height": quality.height,
            "cols": quality.columns,
            "rows": quality.rows,
            "interval": interval_s(video),
            "images": [f"{video.id}-{quality.name}-{sheet}.jpg" for sheet in range(_sheets(count, quality))],
        }
        for quality in QUALITIES
    ]


class Storyboards:
    """The sheets of a world's videos. Safe to call from several threads."""

    def __init__(self, reels: MediaReels) -> None:
        self._reels = reels
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, str], bytes] = {}

    def sheet(self, video: Video, name: str) -> bytes:
        """The JPEG called ``name``. Raises :class:`LookupError` if there is none."""
        quality, number = _named(video, name)
        with self._lock:
            key = (video.id, name)
            if key not in self._kept:
                if len(self._kept) >= KEPT_SHEETS:
                    self._kept.clear()
                self._kept[key] = self._made(video, quality, number)
            return self._kept[key]

    def _made(self, video: Video, quality: Quality, number: int) -> bytes:
        first = number * quality.columns * quality.rows
        last = min(first + quality.columns * quality.rows, _count(video))
        moments_s = [k * interval_s(video) for k in range(first, last)]
        cells = [self._reels.picture(video, at_s, quality.width, quality.height) for at_s in moments_s]
        return encode(_mosaic(cells, quality), quality=_JPEG_QUALITY)


def _count(video: Video) -> int:
    return math.ceil(video.duration_s / interval_s(video))


def _sheets(count: int, quality: Quality) -> int:
    return math.ceil(count / (quality.columns * quality.rows))


def _named(video: Video, name: str) -> tuple[Quality, int]:
    for quality, entry in zip(QUALITIES, listing(video), strict=True):
        if name in entry["images"]:
            return quality, entry["images"].index(name)
    raise LookupError(name)


def _mosaic(cells: Sequence[NDArray[np.uint8]], quality: Quality) -> Picture:
    """Cells (planes one above another, 4:2:0) as one picture, row by row; the last row may be short."""
    rows = math.ceil(len(cells) / quality.columns)
    stream = StreamInfo(Codec.H264, quality.columns * quality.width, rows * quality.height, matrix=_BT709)
    y = np.full((stream.height, stream.width), 16, np.uint8)
    u, v = (np.full((stream.height // 2, stream.width // 2), 128, np.uint8) for _ in range(2))
    for place, cell in enumerate(cells):
        row, column = divmod(place, quality.columns)
        top, left = row * quality.height, column * quality.width
        luma, blue, red = _planes(cell, quality)
        y[top : top + quality.height, left : left + quality.width] = luma
        for plane, small in ((u, blue), (v, red)):
            plane[top // 2 : (top + quality.height) // 2, left // 2 : (left + quality.width) // 2] = small
    return Picture(stream, y, u, v)


def _planes(cell: NDArray[np.uint8], quality: Quality) -> tuple[NDArray[np.uint8], ...]:
    flat, luma = cell.reshape(-1), quality.width * quality.height
    small = (quality.height // 2, quality.width // 2)
    return (
        flat[:luma].reshape(quality.height, quality.width),
        flat[luma : luma + luma // 4].reshape(small),
        flat[luma + luma // 4 : luma + luma // 2].reshape(small),
    )
