"""Overlays of a broadcaster: what lies over its pictures whatever game is played, found by how tiles change.

A picture is known by its 18 x 32 tiles (mean and deviation of luma). Over many pictures of one broadcaster, as
much apart in time as can be had:

- a tile of a border, logo or frame hardly changes while the others do: **static**;
- neighbours in a game change together (scenes are bright, dark, full or empty in both), but a camera or a chat
  knows nothing of the game beside it: **moving** is a rectangle across whose sides tiles do not change together,
  although those just outside do.

The game's own panels look just so. What the pictures of other broadcasters of the game show at the same place, the
same and as still, or as cut off from the rest, is the game's. *Where there are no others, nobody can tell, and the
panels of a game count as overlay*: a box says how many others it was compared with.

Measured on overlays that were drawn (cameras with a moving head, chats, borders, logos, bars; alone and in pairs)
over recordings of free games, zoomed to other places so as to make 24 to 36 moments of 3 pictures, with three
other broadcasters of the game that have overlays of their own. "Found": half of its area is; "right": half of the
box lies on overlay. All was set on the first half of the games; the second one had no part in it.

====================================  ==============  ==============  ==============  ====================
games                                 moving found    static found    boxes right     area found, right
====================================  ==============  ==============  ==============  ====================
Freedoom, SuperTuxKart, Hedgewars,    0.60 of 72      0.86 of 132     166 of 166      0.72, 0.96
Chromium B.S.U.
Teeworlds, SuperTux, Minetest         0.93 of 54      0.81 of 99      138 of 138      0.86, 0.95
the second half, no others            0.91 of 54      0.86 of 99      131 of 131      0.87, 0.95
====================================  ==============  ==============  ==============  ====================

With other moments and overlays, drawn twice more, moving ones found are 0.50 and 0.54 of the first half, 0.91 and
0.87 of the second; all but one or two of these 595 boxes are right.

Of panels that were drawn at all broadcasters of a game, a still and a changing one for each of 28 worlds, 52 of 56
are told without others, 12 with one (whose own overlay hides some), 5 with two, none with three.

Overlays of another drawing that had no part in it (those of scripts/labels, over all games and three drawn ones
that stand still for long, eight broadcasters each, 60 pictures of one): 123 of 124 boxes are right; all 28 banners
are found, but 16 of 50 cameras and 8 of 20 chats. Cameras of three tiles' height, whose wall stands still, and
overlays that touch are missed. Without others 74 of 194 boxes are no overlay: panels of games that stand still.

Where a game has no links between neighbours (Chromium B.S.U., a black sky with some ships) hardly a moving overlay
is told. Missed are also borders thinner than a tile.
Overlays that one sees through change with the game, and are not told. Sides of a static box are good to a tenth of
a tile or so, those of a moving one to half a tile, and up to two tiles where it is near the picture's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harvester.model import TILE_COLS, TILE_ROWS
from harvester.vision.activity import Activity

Kind = Literal["static", "moving"]

#: Nothing is told by fewer pictures, sources and moments (a moment: a minute of a source, or a clip) than these.
#: Of half as many moments 98 of 100 boxes were right; of 2 or 3 recordings of half a minute, as they are, 94.
MIN_PICTURES, MIN_SOURCES, MIN_MOMENTS = 48, 3, 24

#: Tiles of the smallest static box: coded sky and fog of a game make single ones.
MIN_TILES = 3
#: A tile beside a static box belongs to it in part, if it changes less than the next one by at least this share.
PARTLY = 0.25
#: What so many of the others show is the game's: overlays of their own hide it at some of them. With half of them
#: in place of a quarter, 5 of 24 panels of games were told with three others.
OTHERS_SHARE = 0.25
#: Another broadcaster's tile looks the same if means and deviations differ by at most so many levels.
SAME_LEVELS = 4.0

#: A side is told by this share of the link outside it (at most the median of all), less the link across it, ...
LOCAL = 0.7
#: ... which must be so much on average along every side: so the median must be 0.36 at least (the games of the
#: recordings 0.6 to 0.95, Chromium B.S.U. 0.1), ...
GAIN = 0.25
#: ... or so much if there is but one side inside the picture, as of a chat of full height.
LONE_GAIN = 0.4
#: Largest share of the picture that a moving box takes; beyond, it may as well be the game in its frame.
MAX_AREA = 0.3
#: Least share of the tiles in a moving box that are not static.
ALIVE_SHARE = 0.6

_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]
_Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Box:
    """Where an overlay lies: sides as shares of the width (left, right) and of the height (top, bottom)."""

    kind: Kind
    left: float
    top: float
    right: float
    bottom: float

    def __post_init__(self) -> None:
        if not (0 <= self.left < self.right <= 1 and 0 <= self.top < self.bottom <= 1):
            raise ValueError(f"no box in a picture: {self}")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a broadcaster: pictures, sources they are from, and moments (minutes of these)."""

    pictures: int
    sources: int
    moments: int

    @property
    def is_enough(self) -> bool:
        return self.pictures >= MIN_PICTURES and self.sources >= MIN_SOURCES and self.moments >= MIN_MOMENTS


def overlays(mine: Activity, others: Sequence[Activity]) -> tuple[Box, ...]:
    """Overlays of a broadcaster, from the top left on; ``others``: other broadcasters of its game.

    Whether there is :class:`Evidence` enough is for the caller to ask.
    """
    static = (_static_box(mine, place) for place in _rectangles(mine.static & ~_of_game(mine, others)))
    moving = (_moving_box(frame) for frame in _moving(mine, others))
    return tuple(sorted([*static, *moving], key=lambda box: (box.top, box.left, box.bottom, box.right, box.kind)))


# -- static -------------------------------------------------------------------------------------------------------


class _Place(NamedTuple):
    """Tiles in rows ``top`` to ``bottom`` - 1 and columns ``left`` to ``right`` - 1."""

    top: int
    bottom: int
    left: int
    right: int


def _of_game(mine: Activity, others: Sequence[Activity]) -> _Mask:
    """Tiles that are as still, and look the same, at enough others."""
    if not others:
        return np.zeros((TILE_ROWS, TILE_COLS), np.bool_)
    alike = [
        other.static
        & (np.abs(other.mean - mine.mean) <= SAME_LEVELS)
        & (np.abs(other.texture - mine.texture) <= SAME_LEVELS)
        for other in others
    ]
    return np.asarray(np.count_nonzero(alike, axis=0) >= OTHERS_SHARE * len(others))


def _rectangles(mask: _Mask) -> Iterator[_Place]:
    """The largest rectangle of ``mask``, then that of what it leaves, and so on."""
    tops, bottoms, lefts, rights = _places()
    areas = (bottoms - tops) * (rights - lefts)
    left_over = mask.copy()
    while True:
        counts = _counted(left_over)
        inside = counts[bottoms, rights] - counts[tops, rights] - counts[bottoms, lefts] + counts[tops, lefts]
        largest = int(np.argmax(np.where(inside == areas, areas, 0)))
        if areas[largest] < MIN_TILES or inside[largest] != areas[largest]:
            return
        place = _Place(*(int(side[largest]) for side in (tops, bottoms, lefts, rights)))
        yield place
        left_over[place.top : place.bottom, place.left : place.right] = False


@cache
def _places() -> tuple[_Ints, _Ints, _Ints, _Ints]:
    """Top, bottom, left and right of every rectangle of tiles."""
    rows, cols = np.arange(TILE_ROWS + 1), np.arange(TILE_COLS + 1)
    tops, bottoms, lefts, rights = (one.ravel() for one in np.meshgrid(rows, rows, cols, cols, indexing="ij"))
    some = (tops < bottoms) & (lefts < rights)
    return tops[some], bottoms[some], lefts[some], rights[some]


def _counted(mask: _Mask) -> _Ints:
    """How many are set above and to the left of each corner of a tile: (rows + 1, columns + 1)."""
    counts = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), np.int64)
    counts[1:, 1:] = mask.cumsum(axis=0).cumsum(axis=1)
    return counts


def _static_box(mine: Activity, place: _Place) -> Box:
    """The box of static tiles and of what lies in the tiles beside them."""
    rows, cols = slice(place.top, place.bottom), slice(place.left, place.right)
    down = mine.change[:, cols].mean(axis=1)
    across = mine.change[rows].mean(axis=0)
    top = place.top - _share_of_next(down[: place.top][::-1])
    bottom = place.bottom + _share_of_next(down[place.bottom :])
    left = place.left - _share_of_next(across[: place.left][::-1])
    right = place.right + _share_of_next(across[place.right :])
    return _box("static", left, top, right, bottom)


def _share_of_next(changes: _Floats) -> float:
    """How much of the first of the tiles beyond a side is still: it changes in proportion to the rest."""
    if len(changes) < 2 or changes[1] <= 0:
        return 0.0
    share = 1 - float(changes[0] / changes[1])
    return share if share >= PARTLY else 0.0


def _box(kind: Kind, left: float, top: float, right: float, bottom: float) -> Box:
    """From tiles to shares, to the fourth decimal: a tenth of a pixel at 1080p."""
    sides = left / TILE_COLS, top / TILE_ROWS, right / TILE_COLS, bottom / TILE_ROWS
    return Box(kind, *(round(side, 4) for side in sides))


# -- moving -------------------------------------------------------------------------------------------------------


class _Frames(NamedTuple):
    """Rectangles by the tiles their sides go through; -1 and the number of rows, or columns: the picture's own."""

    top: _Ints
    bottom: _Ints
    left: _Ints
    right: _Ints

    @property
    def areas(self) -> _Ints:
        """Tiles that lie inside as a whole."""
        return np.asarray((self.bottom - self.top - 1) * (self.right - self.left - 1))

    def some(self, which: _Ints | _Mask) -> _Frames:
        return _Frames(*(side[which] for side in self))


class _Cuts(NamedTuple):
    """How frames are cut off from what is outside: ``total``, summed up along the sides; ``least``, the mean along
    the side that is least; ``sides``, how many are inside the picture."""

    total: _Floats
    least: _Floats
    sides: _Ints


def _moving(mine: Activity, others: Sequence[Activity]) -> Iterator[_Frames]:
    """Frames of what moves on its own, and not so at enough others, one by one; the clearest first, none over
    another."""
    taken = np.zeros((TILE_ROWS, TILE_COLS), np.bool_)
    for frame in _cut_off(mine):
        top, bottom, left, right = (int(side[0]) for side in frame)
        if taken[top + 1 : bottom, left + 1 : right].any():
            continue
        taken[max(0, top) : bottom + 1, max(0, left) : right + 1] = True
        cut = sum(float(_cuts(other, frame).least[0]) >= GAIN / 2 for other in others)
        if not others or cut < OTHERS_SHARE * len(others):
            yield frame


def _cut_off(mine: Activity) -> Iterator[_Frames]:
    """Frames that are cut off on all sides, the clearest first."""
    frames = _all_frames()
    cuts = _cuts(mine, frames)
    alive = _counted(~mine.static)
    inside = (
        alive[frames.bottom, frames.right]
        - alive[frames.top + 1, frames.right]
        - alive[frames.bottom, frames.left + 1]
        + alive[frames.top + 1, frames.left + 1]
    )
    clear = cuts.least >= np.where(cuts.sides > 1, GAIN, LONE_GAIN)
    found = np.flatnonzero(clear & (inside >= ALIVE_SHARE * frames.areas))
    for number in found[np.argsort(-cuts.total[found], kind="stable")].tolist():
        yield frames.some(np.array([number]))


@cache
def _all_frames() -> _Frames:
    """All that hold at least 3 x 3 tiles, and no more than a moving box may.

    A side has three tiles beyond it, that tell whether the game is there, or is the picture's own.
    """
    rows, cols = [-1, *range(3, TILE_ROWS - 3), TILE_ROWS], [-1, *range(3, TILE_COLS - 3), TILE_COLS]
    frames = _Frames(*(one.ravel() for one in np.meshgrid(rows, rows, cols, cols, indexing="ij")))
    some = (frames.bottom - frames.top > 3) & (frames.right - frames.left > 3)
    return frames.some(some & (frames.areas <= MAX_AREA * TILE_ROWS * TILE_COLS))


def _cuts(activity: Activity, frames: _Frames) -> _Cuts:
    """Sides that are the picture's own cut nothing, and need not."""
    across, down = activity.across.T, activity.down
    rows, cols = (frames.top, frames.bottom), (frames.left, frames.right)
    each = [
        _along(_gains(across, activity.link), frames.left, *rows),
        _along(_gains(across[::-1], activity.link)[::-1], frames.right, *rows),
        _along(_gains(down, activity.link), frames.top, *cols),
        _along(_gains(down[::-1], activity.link)[::-1], frames.bottom, *cols),
    ]
    means, lengths = (np.array(column) for column in zip(*each, strict=True))
    inside = lengths > 0
    return _Cuts(
        total=(means * lengths).sum(axis=0),
        least=np.where(inside, means, np.inf).min(axis=0),
        sides=np.asarray(inside.sum(axis=0)),
    )


def _gains(links: _Floats, typical: float) -> _Floats:
    """What speaks for a side in each tile, for sides whose outside is before it on the first axis.

    ``links`` [i] are those of tiles i and i + 2, so across a side in tile i + 1; outside of it, those two before.
    """
    gains = np.zeros((len(links) + 2, links.shape[1]))
    gains[3:-1] = LOCAL * np.minimum(links[:-2], typical) - links[2:]
    return gains


def _along(gains: _Floats, at: _Ints, before: _Ints, behind: _Ints) -> tuple[_Floats, _Ints]:
    """Mean gain and length of sides in tile ``at``, between the tiles ``before`` and ``behind``; length 0 where
    the side is the picture's own."""
    inside = (at >= 0) & (at < len(gains))
    line, lengths = np.where(inside, at, 0), behind - before - 1
    summed = np.zeros((gains.shape[0], gains.shape[1] + 1))
    summed[:, 1:] = gains.cumsum(axis=1)
    return (summed[line, behind] - summed[line, before + 1]) / lengths, np.where(inside, lengths, 0)


def _moving_box(frame: _Frames) -> Box:
    """Sides through the middle of their tiles."""
    top, bottom, left, right = (int(side[0]) for side in frame)
    return _box(
        "moving",
        max(0.0, left + 0.5),
        max(0.0, top + 0.5),
        min(float(TILE_COLS), right + 0.5),
        min(float(TILE_ROWS), bottom + 0.5),
    )
