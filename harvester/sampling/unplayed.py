"""Scenes of a VOD in which nobody plays: cards with moving parts, talks, breaks. What its storyboard tells. Pure.

A card or a talk seldom stands still: there are particles on it, bars, a ticker, a head. But the rest of the
picture stands, or its colours stay, wherever they are, for minutes; and nothing else in the VOD looks like it.
Games have such scenes, too (rooms, maps, dialogues), and then they have many. So a scene is unplayed only if all
of this holds:

- it is *steady*: for :data:`STEADY_TILES` tiles in a row and :data:`LASTS_S` either most cells stand, those apart
  that stand all over the VOD (an overlay), or the colours hardly change. Something may hide it at some tiles;
- it stands *apart*: of the rest of its game's time in the VOD little shares its cells or its colours;
- it is an *exception*: the rest does not stand still, and there are at most :data:`SCENES` kinds of steady scenes
  that stand apart, in at most half of the game's time.

Measured on 128 VODs of half an hour with cards, breaks and talks of 18 designs (``scripts/bench_labels.py``; a
tile every 10 to 18 s). Limits were set on the tuning half of designs and games, all but two: :data:`LASTS_S` and
:data:`COLOUR_TILES` were raised when games of the other half were found by less.

==================================================  ==================  ==================
tiles of games' time, found of all                  tuning half         reporting half
==================================================  ==================  ==================
cards, breaks, talks in VODs of games that move     773 of 842          1,214 of 1,248
... in VODs of drawn games that stand still         0 of 426            0 of 855
games that move (SuperTuxKart, Teeworlds; Freedoom, 0 of 4,222          0 of 6,158
Hedgewars, Minetest)
drawn games that stand still                        0 of 2,057          0 of 4,334
==================================================  ==================  ==================

Not found: waves of colour that fill the picture (64 of the 69 missed tiles of the tuning half). In the VOD of a
game that stands still nothing is told at all. But what is found in one VOD of a broadcaster is looked for in the
others (:mod:`harvester.vision.known`), and so is what stands in chapters of categories that are no games, as long
as it is hardly seen under a game in the same VOD. One VOD takes 4 ms, with
steady scenes up to 50.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from harvester.model import LabelledSpan, Span
from harvester.sampling.categories import NON_GAMES
from harvester.sampling.labels import Evidence
from harvester.sampling.scene import Scene
from harvester.sampling.storyboard import CHANGE, Tiles, merged, runs, stretch

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
#: A scene stands apart if at most this share of the other tiles is related to it. Of games that move 0.2 or more
#: of the tiles have the colours of any window, of cards and talks at most 0.14.
RELATED_SHARE = 0.15
#: Nothing is told of a game that stands still itself: of the other tiles more than this share shows the same as
#: both neighbours. Of games that move 0 to 0.2 do (Hedgewars: 0.09 to 0.36), of those that stand still 0.47 to 1.
STILL = 0.4
#: Unplayed scenes are exceptions: at most so many kinds, in at most this share of the time.
SCENES, SHARE = 3, 0.5
#: Cells that show the same in this share of the tiles are an overlay.
OVERLAY = 0.5
#: People change the category late: what is shown so shortly before the time of a game may be that game (s). Twice
#: the longest guard.
LATE_S = 180.0
#: Most scenes of one VOD that are remembered, 2.4 kB each.
REMEMBERED = 8

_Marks = NDArray[np.bool_]
_Cells = NDArray[np.int16]  # mean colours: (3, 480) of a tile, (n, 3, 480) of many


@dataclass(frozen=True, slots=True)
class Unplayed:
    """Where nobody plays, in order, and the scenes that are no play."""

    spans: tuple[Span, ...] = ()
    scenes: tuple[Scene, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class _Steady:
    """A steady scene: its first run of tiles; which tiles (n,) are of it, and which are only related to it.
    ``lasts``: it does so for long enough to be unplayed."""

    run: range
    lasts: bool
    members: _Marks
    related: _Marks
    scene: Scene

    def is_like(self, other: _Steady) -> bool:
        """True if the other's first run shows mostly this scene, or what is related to it."""
        return float((self.members | self.related)[other.run.start : other.run.stop].mean()) > 0.5


def unplayed(tiles: Tiles, labels: Sequence[LabelledSpan], length_s: float) -> Unplayed:
    """What nobody plays in a VOD of that length, by its storyboard. ``labels``: its labelled spans, of all
    categories; each game is judged on its own."""
    cells = np.ascontiguousarray(tiles.cells[:, 1:-1, 1:-1].reshape(len(tiles.cells), -1, 3).swapaxes(1, 2))
    free = _same(cells, _median(cells)).mean(axis=0) < OVERLAY
    steady = list(_steady_scenes(tiles, cells, free)) if free.mean() >= STANDING else []
    if not steady:
        return Unplayed()
    goes_on = _same(cells[1:, :, free], cells[:-1, :, free]).mean(axis=1) >= MEMBER
    under = {label.category_id: _inside(tiles, label.category_id, labels) for label in labels}
    named = [marks for category_id, marks in under.items() if category_id not in NON_GAMES]
    games = np.logical_or.reduce([np.zeros(len(tiles.moments_s), np.bool_), *named])
    early = ~_before(games, tiles)
    spans: list[Span] = []
    scenes: list[_Steady] = []
    for category_id, inside in under.items():
        if category_id in NON_GAMES:
            found = [one for one in steady if _is_of_no_game(one, inside & early, games)]
        else:
            found = _exceptions([one for one in steady if (one.members & inside).any()], inside, goes_on)
            for one in found:
                spans += (stretch(run, tiles, length_s) for run in runs(one.members & inside))
        scenes += (one for one in found if one not in scenes)
    return Unplayed(merged(spans), tuple(one.scene for one in scenes[:REMEMBERED]))


def with_unplayed(evidence: Evidence, tiles: Tiles, labels: Sequence[LabelledSpan], length_s: float) -> Evidence:
    """The evidence of a VOD, and what :func:`unplayed` finds."""
    found = unplayed(tiles, labels, length_s)
    return replace(evidence, idle=merged((*evidence.idle, *found.spans)), scenes=found.scenes)


def _inside(tiles: Tiles, category_id: str, labels: Sequence[LabelledSpan]) -> _Marks:
    spans = [label.span for label in labels if label.category_id == category_id]
    return np.array([any(moment_s in span for span in spans) for moment_s in tiles.moments_s], np.bool_)


def _before(games: _Marks, tiles: Tiles) -> _Marks:
    """Which tiles are shortly before one of a game's time: there it may be played already."""
    moments_s = np.array(tiles.moments_s)
    to_game_s = moments_s[games][None] - moments_s[:, None]
    before: _Marks = ((to_game_s > 0) & (to_game_s <= LATE_S)).any(axis=1)
    return before


def _is_of_no_game(one: _Steady, inside: _Marks, games: _Marks) -> bool:
    """True if a scene is seen long enough ``inside`` the time of what is no game, and hardly in ``games``'."""
    seldom = (one.members & games).sum() <= RELATED_SHARE * games.sum()
    return bool(seldom) and one.lasts and int((one.members & inside).sum()) >= STEADY_TILES


def _exceptions(steady: Sequence[_Steady], inside: _Marks, goes_on: _Marks) -> list[_Steady]:
    """Those of the scenes that stand apart, if they are exceptions in the tiles of a category. ``goes_on``: which
    tiles, but the last, show the same as the next one."""
    shown = np.logical_or.reduce([one.members for one in steady]) if steady else np.zeros_like(inside)
    rest = inside & ~shown
    between = rest[:-2] & rest[1:-1] & rest[2:]
    if (goes_on[:-1] & goes_on[1:] & between).sum() > STILL * between.sum():
        return []
    apart = [one for one in steady if (one.related & rest).sum() <= RELATED_SHARE * rest.sum()]
    kinds: list[_Steady] = []
    for one in apart:
        if not any(kind.is_like(one) for kind in kinds):
            kinds.append(one)
    found = [one for one in apart if one.lasts]
    taken = sum(int((one.members & inside).sum()) for one in found)
    return found if len(kinds) <= SCENES and taken <= SHARE * inside.sum() else []


# -- steady scenes ------------------------------------------------------------------------------------------------


def _steady_scenes(tiles: Tiles, cells: _Cells, free: _Marks) -> Iterator[_Steady]:
    """All steady scenes of a VOD, each with all the tiles that show it. ``free``: cells that no overlay covers."""
    colours = np.sort(cells[..., free], axis=2)  # where a colour is does not matter, how much there is of it does
    wide = max(STEADY_TILES, math.ceil(STEADY_S / tiles.interval_s) + 1)
    may_be = _may_be_steady(cells, colours, free, wide)
    taken = np.zeros(len(cells), np.bool_)
    start = 0
    while start + wide <= len(cells):
        window = slice(start, start + wide)
        known = taken[window].mean() > 0.5
        near = None if known or not may_be[start] else _Nearness.of(cells, colours, window, free)
        run = range(start, start + 1) if near is None else _run(near.members, start)
        if near is not None and int(near.members[run.start : run.stop].sum()) >= near.least(wide):
            taken |= near.members
            lasts = tiles.moments_s[run.stop - 1] - tiles.moments_s[run.start] >= LASTS_S
            yield _Steady(run, lasts, near.members, near.related & ~near.members, _remembered(tiles, run, near))
            start = run.stop
        else:
            start += 1


@dataclass(frozen=True, slots=True, eq=False)
class _Nearness:
    """Which tiles show what a steady window does, and which something related; ``standing`` (480,): its cells that
    stand, none if only its colours stay."""

    members: _Marks
    related: _Marks
    standing: _Marks

    def least(self, wide: int) -> int:
        """How many tiles a scene has at least, where ``wide`` are a window."""
        return wide if self.standing.any() else max(wide, COLOUR_TILES)

    @classmethod
    def of(cls, cells: _Cells, colours: _Cells, window: slice, free: _Marks) -> _Nearness | None:
        """None if the window is not steady. ``free``: the cells that no overlay covers."""
        picture = _median(cells[window])
        standing = (_same(cells[window], picture).mean(axis=0) >= STANDS) & free
        palette = _median(colours[window])
        stands = standing.mean() >= STANDING
        stays = _changes(colours[window], palette) <= COLOURS
        if not stands and stays.mean() < OF_TILES:
            return None
        members = related = np.zeros(len(cells), np.bool_)
        if stands:
            shared = _same(cells[..., standing], picture[:, standing]).mean(axis=1)
            members, related = shared >= MEMBER, shared >= RELATED
        if stays.mean() >= OF_TILES:
            change = _changes(colours, palette)
            members, related = members | (change <= 2 * COLOURS), related | (change <= 4 * COLOURS)
        return cls(members, related, standing if stands else np.zeros_like(standing))


def _may_be_steady(cells: _Cells, colours: _Cells, free: _Marks, wide: int) -> _Marks:
    """Which windows of ``wide`` tiles, by their first one, can be steady: the others need no median to be found.

    Two tiles that are both near one picture are near each other, at most twice as far. Neighbours are asked, and
    tiles half a window apart: where scenes are short, neighbours are alike, and these are not.
    """
    found = np.ones(max(0, len(cells) - wide + 1), np.bool_)
    for lag in (1, (wide + 1) // 2):
        stand = _same(cells[lag:], cells[:-lag], 2 * CHANGE)
        stay = _changes(colours[lag:], colours[:-lag]) <= 2 * COLOURS
        standing = (_often(stand, wide, lag, STANDS) & free).mean(axis=1)
        found &= (standing >= STANDING) | _often(stay, wide, lag, OF_TILES)
    return found


def _often(near: _Marks, wide: int, lag: int, share: float) -> _Marks:
    """By the first of ``wide`` tiles (n - wide + 1, ...): whether as many pairs of them are ``near`` as must be
    where that share of the tiles is near one picture.

    ``near``: (n - lag, ...). Each of the rest is in two of the pairs, or in one if half a window lies between.
    """
    rest = wide - math.ceil(share * wide - 1e-9)
    before = np.concatenate([np.zeros_like(near[:1], np.int32), np.cumsum(near, axis=0, dtype=np.int32)])
    found: _Marks = before[wide - lag :] - before[: lag - wide] >= wide - lag - rest * (
        1 if 2 * lag >= wide else 2
    )
    return found


def _median(cells: _Cells) -> _Cells:
    """Of each cell over the tiles; of an even number the upper one."""
    middle: _Cells = np.sort(cells, axis=0)[len(cells) // 2]
    return middle


def _same(cells: _Cells, picture: _Cells, levels: int = CHANGE) -> _Marks:
    """Which cells of each tile are as in ``picture``, or in as many pictures."""
    found: _Marks = np.abs(cells - picture).max(axis=1) <= levels
    return found


def _changes(colours: _Cells, palette: _Cells) -> NDArray[np.float64]:
    """By how many levels the colours of each tile differ, on average, in the channel in which they do most."""
    apart: NDArray[np.float64] = np.abs(colours - palette).mean(axis=2).max(axis=1)
    return apart


def _run(members: _Marks, start: int) -> range:
    """The tiles from the first one at or after ``start`` on that show the scene; one in between may show something
    else."""
    start += int(np.argmax(members[start:]))
    end = start
    while end < len(members) and members[end : end + 2].any():
        end += 1
    return range(start, end)


def _remembered(tiles: Tiles, run: range, near: _Nearness) -> Scene:
    """The scene as it looks in the middle of its tiles; where it stands, as it stands."""
    shown = tiles.cells[run.start : run.stop][near.members[run.start : run.stop]]
    picture = shown[len(shown) // 2].copy()
    standing = np.zeros(picture.shape[:2], np.bool_)
    standing[1:-1, 1:-1] = near.standing.reshape(standing[1:-1, 1:-1].shape)
    picture[standing] = _median(shown)[standing]
    return Scene(np.clip(picture, 0, 255).astype(np.uint8), standing)
