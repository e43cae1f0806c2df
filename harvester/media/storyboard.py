"""Storyboards: the seek previews of a VOD, small pictures in a grid on a few JPEG sheets.

A JSON file lists the qualities there are; a cell is found by arithmetic: number ``k`` shows the moment
``k * interval`` and lies on sheet ``k // (columns * rows)``, row by row. Two qualities are known, 160 x 90 on one
sheet and 220 x 124 on up to four, at most 200 cells each.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin, urlsplit

from harvester.errors import MediaError

#: Longest storyboard file read (bytes); the known ones have about 0.5 kB.
MAX_FILE_BYTES = 64 << 10
#: Most qualities, and most sheets of one, that are believed; two and four are known.
MAX_QUALITIES, MAX_SHEETS = 16, 64
#: Most cells, columns and rows, and longest side of a cell (pixels) believed; known: 200, 5, 40 and 220.
MAX_COUNT = 10_000
#: Largest sheet believed (pixels): 800 x 3600 and 1100 x 1240 are known.
MAX_SHEET_PIXELS = 16 << 20
#: Longest interval believed (s): a VOD of 48 h in 200 cells has 864 s.
MAX_INTERVAL_S = 86_400.0

#: A sheet lies beside the file that lists it: a plain name, no folder, no scheme, no query.
_SHEET_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}", re.ASCII)


@dataclass(frozen=True, slots=True)
class StoryboardCell:
    """One small picture, ``time_s`` from the start of the VOD, at (``left``, ``top``) of sheet ``sheet``."""

    time_s: float
    sheet: int
    left: int
    top: int


@dataclass(frozen=True, slots=True)
class Storyboard:
    """One quality of a VOD's seek previews: ``count`` cells, row by row over ``sheets`` of ``columns`` x ``rows``.

    The last sheet may be short. Sizes in pixels; a cell every ``interval_s``, the first at 0.
    """

    sheets: tuple[str, ...] = field(repr=False)  # URLs
    columns: int
    rows: int
    count: int
    cell_width: int
    cell_height: int
    interval_s: float

    def __post_init__(self) -> None:
        sizes = (self.columns, self.rows, self.count, self.cell_width, self.cell_height)
        if min(sizes) <= 0 or not 0 < self.interval_s < math.inf:
            raise ValueError(f"a storyboard of nothing: {sizes}, every {self.interval_s} s")
        needed = -(-self.count // (self.columns * self.rows))
        if len(self.sheets) != needed:
            raise ValueError(f"{len(self.sheets)} sheets where {needed} hold {self.count} cells")

    def cells(self, sheet: int) -> tuple[StoryboardCell, ...]:
        """The cells of one sheet, in order of time."""
        first = sheet * self.columns * self.rows
        last = min(first + self.columns * self.rows, self.count)
        return tuple(self._cell(sheet, number, number - first) for number in range(first, last))

    def _cell(self, sheet: int, number: int, place: int) -> StoryboardCell:
        row, column = divmod(place, self.columns)
        return StoryboardCell(number * self.interval_s, sheet, column * self.cell_width, row * self.cell_height)


def parse_storyboards(body: bytes, url: str) -> tuple[Storyboard, ...]:
    """The qualities that the storyboard file at ``url`` lists, largest cells first; () for an empty list.

    One that is malformed is left out. Raises :class:`MediaError` when none is good or the file is none.
    """
    if len(body) > MAX_FILE_BYTES:
        raise MediaError(f"a storyboard file of {len(body)} bytes", reason="too-large")
    try:
        entries = json.loads(body)
    except (ValueError, RecursionError):
        entries = None
    if not isinstance(entries, list):
        raise MediaError("the storyboard file is no JSON list")
    boards: list[Storyboard] = []
    wrong = "more qualities than can be"
    for entry in entries[:MAX_QUALITIES]:
        try:
            boards.append(_storyboard(entry, url))
        except ValueError as error:
            wrong = str(error)
    if entries and not boards:
        raise MediaError(f"the storyboard file lists nothing usable: {wrong}")
    return tuple(sorted(boards, key=lambda board: -board.cell_width * board.cell_height))


def _storyboard(entry: object, url: str) -> Storyboard:
    """One quality. Raises :class:`ValueError`."""
    fields = entry if isinstance(entry, dict) else {}
    board = Storyboard(
        sheets=_sheets(fields.get("images"), url),
        columns=_count(fields, "cols"),
        rows=_count(fields, "rows"),
        count=_count(fields, "count"),
        cell_width=_count(fields, "width"),
        cell_height=_count(fields, "height"),
        interval_s=_interval_s(fields.get("interval")),
    )
    if board.columns * board.cell_width * board.rows * board.cell_height > MAX_SHEET_PIXELS:
        raise ValueError("a sheet is too large")
    return board


def _sheets(names: object, url: str) -> tuple[str, ...]:
    if not isinstance(names, list) or not 0 < len(names) <= MAX_SHEETS:
        raise ValueError("no list of sheets")
    base = urlsplit(url)._replace(query="", fragment="").geturl()
    return tuple(urljoin(base, _sheet_name(name)) for name in names)


def _sheet_name(name: object) -> str:
    if not isinstance(name, str) or not _SHEET_NAME.fullmatch(name):
        raise ValueError("a sheet has no plain file name")
    return name


def _count(entry: Mapping[str, Any], key: str) -> int:
    value = entry.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= MAX_COUNT:
        raise ValueError(f"{key} is no count")
    return value


def _interval_s(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= MAX_INTERVAL_S:
        raise ValueError("the interval is no length of time")
    return float(value)
