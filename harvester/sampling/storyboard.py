"""What a storyboard's small pictures tell of a VOD before any of it is fetched. Pure.

A tile shows the VOD every minute or so, 160 x 90 pixels. It is reduced to the mean colours of 32 x 18 cells.

**Where does nothing happen?** Targets in such a stretch would be fetched, decoded and dropped. Games stand still
too (cards, maps, texts, pauses), so a stretch is left out on strong evidence alone: blank tiles, one after the
other; or a still picture, at five moments over a minute or more, in which the same few cells at most have changed
again and again (a clock, a small animation) *and* which is where cards are, at an end of the VOD, or comes back
after something else. However long it stays, that alone is no evidence: a text on one background stays as long.

Which moments look different is answered in :mod:`harvester.sampling.variety`.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from harvester.model import TILE_COLS, TILE_ROWS, LabelledSpan, Span
from harvester.sampling.edges import POINT_COLS, POINT_ROWS, Lumas
from harvester.sampling.labels import without
from harvester.sampling.texture import RATIOS, Textures

#: Rows and columns of cells of a tile, those of a measurement: 5 x 5 pixels each of 160 x 90.
CELL_ROWS, CELL_COLS = TILE_ROWS, TILE_COLS
#: Cells that are compared: those along the edges are not. A tile's height is no multiple of a JPEG block's, and
#: there its neighbour on the sheet shows through by up to 12 levels.
CELLS = (CELL_ROWS - 2) * (CELL_COLS - 2)
#: A storyboard of a shorter VOD is not asked for (s): it costs two requests, and of so short a VOD the guards and
#: a still stretch of a minute would leave nothing to choose from.
WORTH_S = 120.0

#: Mean gradient of a picture that shows nothing (bits, down and across): less is noise of the JPEG.
LEAST_BITS = 0.1

#: Levels (of 255, in any channel) by which the mean colour of a cell changes when something in it does. Where
#: nothing moves, keyframes of the footage's two cards differ by 2 to 4 (tiles of 160 x 90, JPEG of quality 80).
CHANGE = 6
#: Share of the cells that may change in a picture that stands still: 23 of 480 do on the footage's starting card,
#: with its countdown and a small animation. A card with a ticker (40) is not told from a text game by this.
FEW = 0.06
#: A clock changes from tile to tile. Cells that change more, less often than this, and stay so, are a move in a
#: game: of those there may be next to none.
OFTEN, MOVED = 0.2, 0.015
#: A still stretch is at least so long (s), and seen at so many moments.
STILL_S, STILL_TILES = 60.0, 5
#: A still picture that returns after so long of something else is a card (s). Of drawn games (two hours each, a
#: tile every 54 s) this and the ends take: cards with a move in 15 to 60 s 0.8 % of the tiles, maps and texts of
#: several lines none, a single line on one background for 5 or 15 minutes 2 or 5 %. When pictures that stayed for
#: a quarter of an hour were taken for cards, too, it was up to 29 % of that.
RETURN_S = 300.0
#: How near to an end of the VOD a stretch counts as its beginning or end (s): guards are of that size.
END_S = 90.0
#: A cell is black below this mean (of 255, every channel), and a tile flat whose cells differ by less.
BLACK, FLAT = 12, 6
#: Share of a VOD beyond which its storyboard is not believed that nothing happens: footage that is shown in a loop
#: as long as the interval looks still, and so would a storyboard that repeats one picture.
TOO_MUCH = 0.5
#: At each side of an idle stretch so much more is left out at most (s): between two tiles nobody knows.
MARGIN_S = 30.0

#: Levels by which the mean colour of a cell differs between two pictures that are not the same.
OTHER = 16
#: Shares of the cells that differ, from "the same picture" to "another": what lies between them is as good.
STEPS = (0.06, 0.12, 0.25)


@dataclass(frozen=True, slots=True, eq=False)
class Tiles:
    """A VOD at a glance: number ``k`` of ``cells`` (n, 18, 32, 3), int16 mean RGB, is what it shows at
    ``moments_s[k]`` (rising). ``interval_s``: from tile to tile. ``details``: :func:`log_detail` of each (n,);
    ``lumas``: its brightness at 45 x 80 points (:func:`harvester.sampling.edges.point_lumas`); ``textures``:
    :func:`harvester.sampling.texture.log_textures` of each (n, 2)."""

    moments_s: tuple[float, ...]
    interval_s: float
    cells: NDArray[np.int16] = field(repr=False)
    details: NDArray[np.float64] = field(repr=False)
    lumas: Lumas = field(repr=False)
    textures: Textures = field(repr=False)
    _mean: float = field(init=False, repr=False)  # of details: asked for with every target

    def __post_init__(self) -> None:
        count = len(self.moments_s)
        shapes = (count, CELL_ROWS, CELL_COLS, 3), (count,), (count, POINT_ROWS, POINT_COLS), (count, RATIOS)
        given = self.cells.shape, self.details.shape, self.lumas.shape, self.textures.shape
        if given != shapes:
            raise ValueError(f"of {count} moments the tiles' arrays are {given}, not {shapes}")
        object.__setattr__(self, "_mean", float(self.details.mean()))

    def detail_at(self, moment_s: float) -> float:
        """Log detail of the picture at that moment, between its neighbours' by time, less the mean of all."""
        times, details = self.moments_s, self.details
        later = bisect_right(times, moment_s)
        if not 0 < later < len(times):
            return float(details[0 if later == 0 else -1]) - self._mean
        begin, end = float(details[later - 1]), float(details[later])
        slope = (end - begin) / (times[later] - times[later - 1])
        return slope * (moment_s - times[later - 1]) + begin - self._mean


def cell_means(image: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Mean colours of the 18 x 32 cells of a picture (height, width, 3), whose sides are at least that long.

    Summed as products of matrices, in a third of the time that numpy's sums over slices take. In float32 they are
    exact up to 2^24, 65,793 pixels a cell.
    """
    height, width, colours = image.shape
    down, across = _inside(height, CELL_ROWS), _inside(width, CELL_COLS)
    lines = down @ image.reshape(height, -1).astype(np.float32)
    sums = across @ lines.reshape(CELL_ROWS, width, colours)
    pixels = np.outer(down.sum(axis=1), across.sum(axis=1)).astype(np.int32)
    return (sums.astype(np.int32) // pixels[:, :, None]).astype(np.int16)


@lru_cache(maxsize=16)
def _inside(size: int, parts: int) -> NDArray[np.float32]:
    """1 where a line or column of ``size`` lies in a part, else 0: (parts, size)."""
    edges, places = np.arange(parts + 1) * size // parts, np.arange(size)
    inside: NDArray[np.bool_] = (edges[:-1, None] <= places) & (places < edges[1:, None])
    return inside.astype(np.float32)


def log_detail(image: NDArray[np.uint8]) -> float:
    """How much is to be seen in a picture (height, width, 3): the log of its mean gradient in bits.

    Of log keyframe sizes in a source it tells all but 0.07 to 0.28 (standard deviation; 17 streams of seven games,
    0.09 to 0.85 without it), as much as the size of the tile's own JPEG; plain means of gradients tell less.
    """
    green = image[..., 1].astype(np.float32)  # the most of luma, at a third of the work
    bits = sum(float(np.log2(1 + np.abs(np.diff(green, axis=axis))).mean()) for axis in (0, 1))
    return math.log(max(bits, LEAST_BITS))


# -- where nothing happens ----------------------------------------------------------------------------------------


def idle_spans(tiles: Tiles, length_s: float) -> tuple[Span, ...]:
    """The stretches of a VOD of that length which surely show no play, in order, without overlap.

    None if they were more than :data:`TOO_MUCH` of what the storyboard shows.
    """
    if len(tiles.moments_s) < 2:
        return ()
    blank = [run for run in runs(_blank(tiles)) if len(run) > 1]
    planes = planes_of(tiles.cells)
    still = list(_still_runs(tiles, planes))
    cards = [run for run in still if _is_card(run, still, tiles, planes, length_s)]
    spans = merged(stretch(run, tiles, length_s) for run in (*blank, *cards))
    shown_s = tiles.moments_s[-1] - tiles.moments_s[0] + tiles.interval_s
    return spans if sum(span.length_s for span in spans) <= TOO_MUCH * shown_s else ()


def _blank(tiles: Tiles) -> NDArray[np.bool_]:
    """Which tiles are black or of one colour (n,)."""
    flat = np.ascontiguousarray(tiles.cells.reshape(len(tiles.cells), -1, 3).transpose(2, 0, 1))
    highest, lowest = flat.max(axis=2), flat.min(axis=2)
    found: NDArray[np.bool_] = (highest.max(axis=0) < BLACK) | ((highest - lowest).max(axis=0) < FLAT)
    return found


def runs(marked: NDArray[np.bool_]) -> Iterator[range]:
    """Numbers of neighbours that are marked, in order."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], marked, [False]))))
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        yield range(int(start), int(end))


def planes_of(cells: NDArray[np.int16]) -> NDArray[np.uint8]:
    """Red, green and blue of the cells of each tile, those at the edges left out (3, n, 480).

    Over three colours side by side numpy takes 36 times as long to compare them, and over 16 bits twice as long.
    """
    inner = cells[:, 1:-1, 1:-1].reshape(len(cells), CELLS, 3)
    return np.ascontiguousarray(inner.transpose(2, 0, 1).astype(np.uint8))


def changed_cells(
    planes: NDArray[np.uint8], picture: NDArray[np.uint8], levels: int = CHANGE
) -> NDArray[np.bool_]:
    """Which cells of each tile are not as in ``picture`` (3, 1, 480), or in as many pictures (n, 480)."""
    red, green, blue = np.maximum(planes, picture) - np.minimum(planes, picture) > levels
    apart: NDArray[np.bool_] = red | green | blue
    return apart


def counts_of(changed: NDArray[np.bool_]) -> NDArray[np.uint16]:
    """How many cells of each tile are marked (n,), in a third of the time that a sum of booleans takes."""
    counts: NDArray[np.uint16] = changed.view(np.uint8).sum(axis=1, dtype=np.uint16)
    return counts


def _still_runs(tiles: Tiles, planes: NDArray[np.uint8]) -> Iterator[range]:
    """Neighbours, as many as there are, that show one picture but for the same few cells; those long enough."""
    start, moments_s = 0, tiles.moments_s
    moves_on = counts_of(changed_cells(planes[:, 1:], planes[:, :-1])) > int(FEW * CELLS)
    while start < len(moments_s) - 1:
        run = range(start, start + 1 if moves_on[start] else _end_of_picture(planes, start))
        if len(run) >= STILL_TILES and moments_s[run[-1]] - moments_s[start] >= STILL_S:
            if not _moves(planes[:, run.start : run.stop]):
                yield run
            start = run.stop
        else:
            start += 1


def _end_of_picture(planes: NDArray[np.uint8], start: int) -> int:
    """Number of the first tile up to which more than a few cells have changed since ``start``.

    Only as many tiles are looked at as are near it, and more if all of these are the same.
    """
    stop, same = start, 0
    while stop - start == same and stop < planes.shape[1]:
        stop = min(start + max(STILL_TILES, 4 * same), planes.shape[1])
        changed = changed_cells(planes[:, start:stop], planes[:, start : start + 1])
        ever = counts_of(np.logical_or.accumulate(changed, axis=0))
        same = int(np.searchsorted(ever, int(FEW * CELLS), side="right"))
    return start + same


def _moves(planes: NDArray[np.uint8]) -> bool:
    """True if something in a still picture changes and stays so, as nothing on a card does."""
    changes = changed_cells(planes[:, 1:], planes[:, :-1], OTHER).sum(axis=0)
    seldom = (changes > 0) & (changes <= max(1.0, OFTEN * (planes.shape[1] - 1)))
    return bool(seldom.sum() > MOVED * CELLS)


def _is_card(run: range, still: Sequence[range], tiles: Tiles, planes: NDArray[np.uint8], length_s: float) -> bool:
    """True if more than its standing still says that a picture is no play."""
    first_s, last_s = tiles.moments_s[run[0]], tiles.moments_s[run[-1]]
    at_an_end = first_s <= END_S or last_s >= length_s - END_S - tiles.interval_s
    return at_an_end or any(_is_again(run, other, tiles, planes) for other in still)


def _is_again(run: range, other: range, tiles: Tiles, planes: NDArray[np.uint8]) -> bool:
    """True if ``other`` is another run of the same picture, with something else in between for long."""
    early, late = sorted((run, other), key=lambda which: which.start)
    if tiles.moments_s[late[0]] - tiles.moments_s[early[-1]] < RETURN_S:
        return False
    card = planes[:, early.start : early.start + 1]
    between = changed_cells(planes[:, early.stop : late.start], card, OTHER).mean()
    returned = changed_cells(planes[:, late.start : late.start + 1], card).mean()
    return bool(returned <= FEW and between > STEPS[-1])


def stretch(run: range, tiles: Tiles, length_s: float) -> Span:
    """What of a VOD of that length a run of tiles stands for: half an interval, or :data:`MARGIN_S`, around it."""
    margin_s = min(tiles.interval_s / 2, MARGIN_S)
    start_s = max(0.0, tiles.moments_s[run[0]] - margin_s)
    return Span(start_s, max(start_s, min(length_s, tiles.moments_s[run[-1]] + margin_s)))


def merged(spans: Iterable[Span]) -> tuple[Span, ...]:
    """The same stretches in order; those that touch or overlap as one."""
    whole: list[Span] = []
    for span in sorted(spans, key=lambda span: span.start_s):
        if whole and span.start_s <= whole[-1].end_s:
            last = whole.pop()
            whole.append(Span(last.start_s, max(last.end_s, span.end_s)))
        else:
            whole.append(span)
    return tuple(whole)


def busy(labels: Sequence[LabelledSpan], idle: Sequence[Span]) -> tuple[LabelledSpan, ...]:
    """What idle spans leave of labelled ones."""
    left = (replace(within, span=rest) for within in labels for rest in without(within.span, idle))
    return tuple(within for within in left if within.span.length_s > 0)
