"""Scenes of a storyboard that stay for a minute or more: by what stands in them, or by their colours. Pure.

Cards, talks and breaks do, and so do boards, maps and rooms of games. :mod:`harvester.sampling.unplayed` tells
which are which.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harvester.sampling.scene import Scene
from harvester.sampling.storyboard import CHANGE, Tiles

#: A scene is steady for so long (s), and at so many tiles.
STEADY_S, STEADY_TILES = 60.0, 5
#: It is taken for unplayed if it lasts so long (s). Shorter ones only count: with 60 s, 23 of 1,954 tiles of
#: Hedgewars were found, whose players think at times, with 90 s none.
LASTS_S = 90.0
#: A cell stands if it shows the same at this share of the tiles; a head or a snowflake hides it at the others.
STANDS = 0.7
#: This share of the cells stands in a steady scene. Over two minutes: 0.62 to 1 of cards and talks, overlay taken
#: off; 0 to 0.36 of games that move (Hedgewars: to 0.57); found are the same scenes from 0.55 to 0.65.
STANDING = 0.6
#: ... or its colours change by so much at most (levels, mean over the cells), at this share of the tiles. Cards on
#: which all moves 0.4 to 1.6, waves of colour 2 to 7; games that move 3 to 50, but for a corridor's minute.
COLOURS, OF_TILES = 1.5, 0.8
#: Colours alone say less than places: then a scene has so many tiles. A corridor has had its colours for five.
COLOUR_TILES = 8
#: Another tile is of the scene if it has so many of the standing cells, or its colours within twice that limit.
MEMBER = 0.6
#: ... and is related to it if it has so many, or its colours within four times the limit.
RELATED = 0.25

Marks = NDArray[np.bool_]
Cells = NDArray[np.int16]  # mean colours: (3, 480) of a tile, (n, 3, 480) of many


@dataclass(frozen=True, slots=True, eq=False)
class Steady:
    """A steady scene: its first run of tiles; which tiles (n,) are of it, and which are only related to it.
    ``lasts``: it does so for long enough to be unplayed."""

    run: range
    lasts: bool
    members: Marks
    related: Marks
    scene: Scene

    def is_like(self, other: Steady) -> bool:
        """True if the other's first run shows mostly this scene, or what is related to it."""
        return float((self.members | self.related)[other.run.start : other.run.stop].mean()) > 0.5


def steady_scenes(tiles: Tiles, cells: Cells, free: Marks) -> Iterator[Steady]:
    """All steady scenes of a VOD, each with all the tiles that show it. ``free``: cells that no overlay covers."""
    colours = np.sort(cells[..., free], axis=2)  # where a colour is does not matter, how much there is of it does
    wide = max(STEADY_TILES, math.ceil(STEADY_S / tiles.interval_s) + 1)
    may_be = _may_be_steady(cells, colours, free, wide)
    taken = np.zeros(len(cells), np.bool_)
    start = 0
    while start + wide <= len(cells):
        window = slice(start, start + wide)
        known = taken[window].mean() > 0.5
        near = None if known or not may_be[start] else Nearness.of(cells, colours, window, free)
        run = range(start, start + 1) if near is None else _run(near.members, start)
        if near is not None and int(near.members[run.start : run.stop].sum()) >= near.least(wide):
            taken |= near.members
            lasts = tiles.moments_s[run.stop - 1] - tiles.moments_s[run.start] >= LASTS_S
            yield Steady(run, lasts, near.members, near.related & ~near.members, _remembered(tiles, run, near))
            start = run.stop
        else:
            start += 1


@dataclass(frozen=True, slots=True, eq=False)
class Nearness:
    """Which tiles show what a steady window does, and which something related; ``standing`` (480,): its cells that
    stand, none if only its colours stay."""

    members: Marks
    related: Marks
    standing: Marks

    def least(self, wide: int) -> int:
        """How many tiles a scene has at least, where ``wide`` are a window."""
        return wide if self.standing.any() else max(wide, COLOUR_TILES)

    @classmethod
    def of(cls, cells: Cells, colours: Cells, window: slice, free: Marks) -> Nearness | None:
        """None if the window is not steady. ``free``: the cells that no overlay covers."""
        picture = median(cells[window])
        standing = (same(cells[window], picture).mean(axis=0) >= STANDS) & free
        palette = median(colours[window])
        stands = standing.mean() >= STANDING
        stays = _changes(colours[window], palette) <= COLOURS
        if not stands and stays.mean() < OF_TILES:
            return None
        members = related = np.zeros(len(cells), np.bool_)
        if stands:
            shared = same(cells[..., standing], picture[:, standing]).mean(axis=1)
            members, related = shared >= MEMBER, shared >= RELATED
        if stays.mean() >= OF_TILES:
            change = _changes(colours, palette)
            members, related = members | (change <= 2 * COLOURS), related | (change <= 4 * COLOURS)
        return cls(members, related, standing if stands else np.zeros_like(standing))


def _may_be_steady(cells: Cells, colours: Cells, free: Marks, wide: int) -> Marks:
    """Which windows of ``wide`` tiles, by their first one, can be steady: the others need no median to be found.

    Two tiles that are both near one picture are near each other, at most twice as far. Neighbours are asked, and
    tiles half a window apart: where scenes are short, neighbours are alike, and these are not.
    """
    found = np.ones(max(0, len(cells) - wide + 1), np.bool_)
    for lag in (1, (wide + 1) // 2):
        stand = same(cells[lag:], cells[:-lag], 2 * CHANGE)
        stay = _changes(colours[lag:], colours[:-lag]) <= 2 * COLOURS
        standing = (_often(stand, wide, lag, STANDS) & free).mean(axis=1)
        found &= (standing >= STANDING) | _often(stay, wide, lag, OF_TILES)
    return found


def _often(near: Marks, wide: int, lag: int, share: float) -> Marks:
    """By the first of ``wide`` tiles (n - wide + 1, ...): whether as many pairs of them are ``near`` as must be
    where that share of the tiles is near one picture.

    ``near``: (n - lag, ...). Each of the rest is in two of the pairs, or in one if half a window lies between.
    """
    rest = wide - math.ceil(share * wide - 1e-9)
    before = np.concatenate([np.zeros_like(near[:1], np.int32), np.cumsum(near, axis=0, dtype=np.int32)])
    found: Marks = before[wide - lag :] - before[: lag - wide] >= wide - lag - rest * (1 if 2 * lag >= wide else 2)
    return found


def median(cells: Cells) -> Cells:
    """Of each cell over the tiles; of an even number the upper one."""
    middle: Cells = np.sort(cells, axis=0)[len(cells) // 2]
    return middle


def same(cells: Cells, picture: Cells, levels: int = CHANGE) -> Marks:
    """Which cells of each tile are as in ``picture``, or in as many pictures."""
    found: Marks = np.abs(cells - picture).max(axis=1) <= levels
    return found


def _changes(colours: Cells, palette: Cells) -> NDArray[np.float64]:
    """By how many levels the colours of each tile differ, on average, in the channel in which they do most."""
    apart: NDArray[np.float64] = np.abs(colours - palette).mean(axis=2).max(axis=1)
    return apart


def _run(members: Marks, start: int) -> range:
    """The tiles from the first one at or after ``start`` on that show the scene; one in between may show something
    else."""
    start += int(np.argmax(members[start:]))
    end = start
    while end < len(members) and members[end : end + 2].any():
        end += 1
    return range(start, end)


def _remembered(tiles: Tiles, run: range, near: Nearness) -> Scene:
    """The scene as it looks in the middle of its tiles; where it stands, as it stands."""
    shown = tiles.cells[run.start : run.stop][near.members[run.start : run.stop]]
    picture = shown[len(shown) // 2].copy()
    standing = np.zeros(picture.shape[:2], np.bool_)
    standing[1:-1, 1:-1] = near.standing.reshape(standing[1:-1, 1:-1].shape)
    picture[standing] = median(shown)[standing]
    return Scene(np.clip(picture, 0, 255).astype(np.uint8), standing)
