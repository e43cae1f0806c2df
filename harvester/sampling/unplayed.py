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
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from harvester.model import LabelledSpan, Span
from harvester.sampling.categories import NON_GAMES
from harvester.sampling.labels import Evidence
from harvester.sampling.scene import Scene
from harvester.sampling.steady import (
    MEMBER,
    STANDING,
    STEADY_TILES,
    Marks,
    Steady,
    median,
    same,
    steady_scenes,
)
from harvester.sampling.storyboard import (
    OTHER,
    Tiles,
    changed_cells,
    counts_of,
    merged,
    planes_of,
    runs,
    stretch,
)

#: A scene stands apart if at most this share of the other tiles is related to it. Of games that move 0.2 or more
#: of the tiles have the colours of any window, of cards and talks at most 0.14.
RELATED_SHARE = 0.15
#: Nothing is told of a game that stands still itself: of the other tiles more than this share shows the same as
#: both neighbours. Of games that move 0 to 0.2 do (Hedgewars: 0.09 to 0.36), of those that stand still 0.47 to 1.
STILL = 0.4
#: Unplayed scenes are exceptions: at most so many kinds, in at most this share of the time.
SCENES, SHARE = 3, 0.5
#: ... and unlike the rest: of the other tiles hardly any is so alike that fewer than this share of the cells
#: differ, asked of so many tiles at most. Where another game moves for half an hour, a table of cards that has
#: changed its light is related to nothing, but alike. Of 4,702 tiles of scenes that were found in four worlds
#: 4,679 pass, and none of 153 that showed the game.
APART, ASKED = 0.7, 16
#: Cells that show the same in this share of the tiles are an overlay.
OVERLAY = 0.5
#: People change the category late: what is shown so shortly before the time of a game may be that game (s). Twice
#: the longest guard.
LATE_S = 180.0
#: Most scenes of one VOD that are remembered, 2.4 kB each.
REMEMBERED = 8


@dataclass(frozen=True, slots=True)
class Unplayed:
    """Where nobody plays, in order, and the scenes that are no play."""

    spans: tuple[Span, ...] = ()
    scenes: tuple[Scene, ...] = field(default=(), repr=False)


def unplayed(tiles: Tiles, labels: Sequence[LabelledSpan], length_s: float) -> Unplayed:
    """What nobody plays in a VOD of that length, by its storyboard. ``labels``: its labelled spans, of all
    categories; each game is judged on its own."""
    cells = np.ascontiguousarray(tiles.cells[:, 1:-1, 1:-1].reshape(len(tiles.cells), -1, 3).swapaxes(1, 2))
    free = same(cells, median(cells)).mean(axis=0) < OVERLAY
    steady = list(steady_scenes(tiles, cells, free)) if free.mean() >= STANDING else []
    if not steady:
        return Unplayed()
    goes_on = same(cells[1:, :, free], cells[:-1, :, free]).mean(axis=1) >= MEMBER
    under = {label.category_id: _inside(tiles, label.category_id, labels) for label in labels}
    named = [marks for category_id, marks in under.items() if category_id not in NON_GAMES]
    games = np.logical_or.reduce([np.zeros(len(tiles.moments_s), np.bool_), *named])
    early = ~_before(games, tiles)
    spans: list[Span] = []
    scenes: list[Steady] = []
    for category_id, inside in under.items():
        if category_id in NON_GAMES:
            found = [one for one in steady if _is_of_no_game(one, inside & early, games)]
        else:
            found = _exceptions([one for one in steady if (one.members & inside).any()], inside, goes_on)
            found = _unlike_the_rest(found, inside, planes_of(tiles.cells)[:, :, free])
            for one in found:
                spans += (stretch(run, tiles, length_s) for run in runs(one.members & inside))
        scenes += (one for one in found if one not in scenes)
    return Unplayed(merged(spans), tuple(one.scene for one in scenes[:REMEMBERED]))


def with_unplayed(evidence: Evidence, tiles: Tiles, labels: Sequence[LabelledSpan], length_s: float) -> Evidence:
    """The evidence of a VOD, and what :func:`unplayed` finds."""
    found = unplayed(tiles, labels, length_s)
    return replace(evidence, idle=merged((*evidence.idle, *found.spans)), scenes=found.scenes)


def _inside(tiles: Tiles, category_id: str, labels: Sequence[LabelledSpan]) -> Marks:
    spans = [label.span for label in labels if label.category_id == category_id]
    return np.array([any(moment_s in span for span in spans) for moment_s in tiles.moments_s], np.bool_)


def _before(games: Marks, tiles: Tiles) -> Marks:
    """Which tiles are shortly before one of a game's time: there it may be played already."""
    moments_s = np.array(tiles.moments_s)
    to_game_s = moments_s[games][None] - moments_s[:, None]
    before: Marks = ((to_game_s > 0) & (to_game_s <= LATE_S)).any(axis=1)
    return before


def _is_of_no_game(one: Steady, inside: Marks, games: Marks) -> bool:
    """True if a scene is seen long enough ``inside`` the time of what is no game, and hardly in ``games``'."""
    seldom = (one.members & games).sum() <= RELATED_SHARE * games.sum()
    return bool(seldom) and one.lasts and int((one.members & inside).sum()) >= STEADY_TILES


def _exceptions(steady: Sequence[Steady], inside: Marks, goes_on: Marks) -> list[Steady]:
    """Those of the scenes that stand apart, if they are exceptions in the tiles of a category. ``goes_on``: which
    tiles, but the last, show the same as the next one."""
    shown = np.logical_or.reduce([one.members for one in steady]) if steady else np.zeros_like(inside)
    rest = inside & ~shown
    between = rest[:-2] & rest[1:-1] & rest[2:]
    if (goes_on[:-1] & goes_on[1:] & between).sum() > STILL * between.sum():
        return []
    apart = [one for one in steady if (one.related & rest).sum() <= RELATED_SHARE * rest.sum()]
    kinds: list[Steady] = []
    for one in apart:
        if not any(kind.is_like(one) for kind in kinds):
            kinds.append(one)
    found = [one for one in apart if one.lasts]
    taken = sum(int((one.members & inside).sum()) for one in found)
    return found if len(kinds) <= SCENES and taken <= SHARE * inside.sum() else []


def _unlike_the_rest(found: Sequence[Steady], inside: Marks, planes: NDArray[np.uint8]) -> list[Steady]:
    """Those of the scenes to which hardly any other tile of the category is even alike. ``planes`` (3, n, cells):
    of all tiles, but for the overlay."""
    rest = inside.copy()
    for one in found:
        rest &= ~one.members
    others = planes[:, rest]
    return [one for one in found if _share_apart(np.flatnonzero(one.members & inside), planes, others) >= APART]


def _share_apart(numbers: NDArray[np.int64], planes: NDArray[np.uint8], others: NDArray[np.uint8]) -> float:
    """The share of the cells in which tiles ``numbers`` differ from the most alike of the others (3, n, cells), in
    the middle of some of them."""
    some = numbers[:: math.ceil(len(numbers) / ASKED)].tolist()
    shares = [counts_of(changed_cells(others, planes[:, at : at + 1], OTHER)) / planes.shape[2] for at in some]
    return float(np.median([np.quantile(its, RELATED_SHARE) for its in shares]))
