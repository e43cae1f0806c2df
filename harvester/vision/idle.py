"""Scenes in which nobody plays: a card, a break, an empty chair. What only many moments of a broadcaster tell.

That a picture stands still proves nothing: card games, boards, maps, novels and lobbies do, and 19 % of the frames
of games are like themselves 2 s later. A scene of a VOD is idle only if all of this holds:

- it is *still*: at least :data:`STILL_MOMENTS` moments in a row, over :data:`STILL_S` or more, look alike;
- that is *corroborated*: all that ever changes in it is confined to a few tiles (a ticking clock, a spinner), or
  another source of the broadcaster shows it, too;
- it stands *apart*: of the moments of the VOD that show something else, few share tiles with it. A game that
  stands still goes on with the same table, board, bars and frames;
- it is an *exception*: the VOD has few such scenes, and shows something else most of the time. Rooms that are
  looked at one after the other are a game.

Half an hour of a game with such a scene in the middle for five minutes, seen every 45 s; eight to twelve games
with two or three seeds each (``tests/unit/vision/drawn.py``). Limits were set on what is not held out:

====================================================  ==============  ==================
scenes in games, or games alone that stand still      found of these  found of the games
====================================================  ==============  ==================
still, ticking clock, spinner, progress bar           654 of 654      0 of 3,186
a logo that wanders, snow, somebody who talks         0 of 484        0 of 2,396
recorded: starting soon, be right back (16 games)     213 of 240      0 of 888
held out: empty chair, waves, names that blink        440 of 488      24 of 2,392, pauses
held out: a pattern that wanders                      0 of 166        6 of 794, pauses
cards, board, map, novel, text, blocks, dark: alone   -               0 of 6,300
held out: solitaire, whole map, rooms to search       -               0 of 2,700
held out: paused for 100 s in every 400 s             -               43 of 900, pauses
====================================================  ==============  ==================

Not found: scenes in which much moves. Neither harmed nor found: what shares its frame or its black bars with the
game, and a VOD that is idle most of the time. A pause that lasts counts as idle: nobody plays.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harvester.model import TILE_COLS, TILE_ROWS

#: Reason of a frame of an idle scene.
IDLE = "idle"

#: A scene is still if it looks alike at so many moments in a row ...
STILL_MOMENTS = 3
#: ... over at least so long.
STILL_S = 60.0

#: Tiles that differ by at most so many levels show the same ...
TILE_LEVELS = 4
#: ... and moments look alike if at most so many of the 576 tiles do not (0.13). As in :mod:`~.recurring`.
CHANGED_TILES = 76
#: What changes is confined if it is never more than so many tiles, over all moments together (a tenth). Clocks,
#: spinners and progress bars: 8 to 40 in five minutes.
CONFINED_TILES = 58

#: Tiles of two scenes are shared if they differ by at most so many levels; by chance a card shares 0.01 to 0.03 of
#: its tiles with a picture of a game, and 0.1 with one in ten. ...
SHARED_LEVELS = 2
#: ... Scenes are related if they share so many (0.1): moments of games that stand still share 0.12 to 0.7.
SHARED_TILES = 58
#: A scene stands apart if at most this share of the moments that do not look like it are related to it: some may
#: be another card of the same design.
RELATED_SHARE = 0.25

#: Idle scenes are exceptions if the VOD has at most so many: a beginning, a break, an end.
SCENES = 3
#: ... and they take at most this share of its moments.
IDLE_SHARE = 0.5

#: Moments compared at a time where one is looked for that is different: mostly it is the next.
COMPARED = 32

_TILES = TILE_ROWS * TILE_COLS


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """What was seen at one broadcaster, in any order: an entry a sighting.

    ``vods``: number of the VOD, -1 for what is no moment of one (int64). ``offsets_s``: from its start (float64).
    ``sources``: what was streamed at once, a clip's VOD (int64). ``thumbnails``: uint8 (n, 576), means of tiles.
    """

    vods: NDArray[np.int64]
    offsets_s: NDArray[np.float64]
    sources: NDArray[np.int64]
    thumbnails: NDArray[np.uint8]

    def __post_init__(self) -> None:
        if self.thumbnails.shape != (len(self.vods), _TILES):
            raise ValueError(f"thumbnails are {self.thumbnails.shape}")
        if not len(self.vods) == len(self.offsets_s) == len(self.sources):
            raise ValueError("a moment has a VOD, an offset and a source")


def may_be_idle(vods: NDArray[np.int64], offsets_s: NDArray[np.float64]) -> bool:
    """Whether enough was seen of one of the VODs for a scene of it to be idle; of ``Moments``."""
    for vod in np.unique(vods[vods >= 0]).tolist():
        of_vod = offsets_s[vods == vod]
        if len(of_vod) * IDLE_SHARE >= STILL_MOMENTS and np.ptp(of_vod) >= STILL_S:
            return True
    return False


def idle(seen: Moments) -> Iterator[NDArray[np.int64]]:
    """The idle scenes: numbers of all moments, of any source, that look like one of them.

    Linear in the moments, but for the still ones: each scene is compared with all (0.3 ms for a thousand).
    """
    for vod in np.unique(seen.vods[seen.vods >= 0]).tolist():
        yield from _of_vod(seen, np.flatnonzero(seen.vods == vod))


def _of_vod(seen: Moments, numbers: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """``numbers``: the moments of a VOD."""
    pictures = seen.thumbnails[numbers]
    order = np.lexsort((*pictures.T[:4], seen.offsets_s[numbers]))  # two categories may have seen one moment
    numbers, pictures = numbers[order], pictures[order]
    offsets_s = seen.offsets_s[numbers]
    scenes: list[tuple[NDArray[np.bool_], NDArray[np.int64]]] = []
    for start, end in _still(pictures, offsets_s):
        if any(mine[start] for mine, _ in scenes):
            continue  # the same scene again
        mine = _changed(pictures, pictures[start]) <= CHANGED_TILES
        alike = np.flatnonzero(_changed(seen.thumbnails, pictures[start]) <= CHANGED_TILES)
        elsewhere = bool(np.any(seen.sources[alike] != seen.sources[numbers[start]]))
        if (elsewhere or _confined(pictures[start:end])) and _apart(pictures, start, mine):
            scenes.append((mine, alike))
    shown = sum(int(mine.sum()) for mine, _ in scenes)
    if len(scenes) <= SCENES and shown <= IDLE_SHARE * len(numbers):
        yield from (alike for _, alike in scenes)


def _still(pictures: NDArray[np.uint8], offsets_s: NDArray[np.float64]) -> Iterator[tuple[int, int]]:
    """Runs of moments, [start, end), that look like their first one, long enough to be still."""
    start = 0
    while start < len(pictures):
        end = _first_other(pictures, start)
        if end - start >= STILL_MOMENTS and offsets_s[end - 1] - offsets_s[start] >= STILL_S:
            yield start, end
        start = end


def _first_other(pictures: NDArray[np.uint8], start: int) -> int:
    """Number of the first one after ``start`` that does not look like it; how many there are, if all do."""
    for at in range(start, len(pictures), COMPARED):
        other = np.flatnonzero(_changed(pictures[at : at + COMPARED], pictures[start]) > CHANGED_TILES)
        if len(other):
            return at + int(other[0])
    return len(pictures)


def _changed(pictures: NDArray[np.uint8], one: NDArray[np.uint8]) -> NDArray[np.int64]:
    """How many tiles of each picture show something else than ``one``."""
    changed: NDArray[np.int64] = np.count_nonzero(_differences(pictures, one) > TILE_LEVELS, axis=1)
    return changed


def _differences(pictures: NDArray[np.uint8], one: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.maximum(pictures, one) - np.minimum(pictures, one)


def _confined(pictures: NDArray[np.uint8]) -> bool:
    moving = (_differences(pictures, pictures[0]) > TILE_LEVELS).any(axis=0)
    return int(np.count_nonzero(moving)) <= CONFINED_TILES


def _apart(pictures: NDArray[np.uint8], start: int, mine: NDArray[np.bool_]) -> bool:
    """True if few of the moments that are not ``mine`` share tiles with the picture at ``start``."""
    return few_related(pictures[~mine], pictures[start])


def few_related(pictures: NDArray[np.uint8], one: NDArray[np.uint8]) -> bool:
    """True if few of the pictures share tiles with ``one``, so that it stands apart; uint8 (n, 576) and (576,)."""
    shared = np.count_nonzero(_differences(pictures, one) <= SHARED_LEVELS, axis=1)
    return int(np.count_nonzero(shared >= SHARED_TILES)) <= RELATED_SHARE * len(shared)
