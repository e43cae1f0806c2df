"""What only many sightings tell: cards that recur at a broadcaster, and pictures that stand under two labels.

A sighting is a measured picture, kept or not. All functions are pure and do not depend on the order of what they
are given, so a barrier finds the same after a kill.

Within a broadcaster pictures are compared by *thumbnail*, the means of the 18 x 32 tiles of a measurement, since
the hashes of an animated card differ from one another by 10 to 28 bits. Measured on one picture in 0.8 s of 17
recordings of 7 games and of 4 idle scenes, as the share of tiles that differ by at most 4 levels:

=======================================================  =============
two moments of a card (ticking clock, moving background)  0.95 to 1
two recordings of one game                                0 to 0.55
6 s apart in one recording of a game that moves           0.02 to 0.79
=======================================================  =============

A game that stands still is like itself too, and if nobody else has its skin, boards and menus of it recur like a
card. So a card must also stand *apart* where it was seen: no more than half of what was seen there under its label
looks like it, and of the rest few moments share tiles with it (:func:`~.idle.few_related`). Of nine games of 27
broadcasters, some with skins of their own (chess, falling blocks, dark corridors, rooms; drawn for this), and 18
designs of cards and talks, there left:

===================================  ==============  ==============
frames that recurred                 were to leave   leave if apart
===================================  ==============  ==============
of the game                          442             2
of cards and talks                   153             147
===================================  ==============  ==============
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harvester.model import TILE_COLS, TILE_ROWS
from harvester.vision.idle import few_related

#: Reason of a card that recurs at its broadcaster.
RECURRING = "recurring"
#: Reason of a picture that stands under two labels.
CONFLICT = "conflict"

#: Tiles that differ by at most so many levels show the same ...
TILE_LEVELS = 4
#: ... and pictures look alike if at least so many of their 576 tiles do (0.87).
ALIKE_TILES = 500

#: A card is in at least so many sources of its broadcaster ...
CARD_SOURCES = 3
#: ... on at least so many days.
CARD_DAYS = 2
#: ... and takes at most this share of what was seen of its source under its label: else it is what that is about.
CARD_SHARE = 0.5

#: Another broadcaster shows the same menu or map if its hash is this near (bits); of two pictures that have
#: nothing in common 32 bits differ, give or take 4.
SCENE_BITS = 12
#: Look-alikes of a card whose hashes are looked for at other broadcasters.
SCENE_LOOKS = 16

#: A label that is less sure than the other one of a conflict by so much yields to it.
CONFIDENCE_GAP = 0.2

#: Up to so many sightings of a broadcaster, every pair is compared; beyond, those that are neighbours ...
COMPARED = 1024
#: ... by at least one of so many parts of the picture, ...
PARTS = 8
#: ... this far to either side.
NEIGHBOURS = 64

#: Kept pictures compared at a time where two labels are compared (8 bytes a pair).
PAIRS_AT_ONCE = 1 << 22

_TILES = TILE_ROWS * TILE_COLS

Recurs = Literal["", "sources", "labels"]


@dataclass(frozen=True, slots=True, eq=False)
class Sightings:
    """What was seen at one broadcaster: an entry a sighting. ``labels``, ``sources``, ``days``: numbers (int64);
    ``thumbnails``: uint8 (n, 576), means of tiles."""

    labels: NDArray[np.int64]
    sources: NDArray[np.int64]
    days: NDArray[np.int64]
    thumbnails: NDArray[np.uint8]

    def __post_init__(self) -> None:
        if self.thumbnails.shape != (len(self.labels), _TILES):
            raise ValueError(f"thumbnails are {self.thumbnails.shape}")
        if not len(self.labels) == len(self.sources) == len(self.days):
            raise ValueError("a sighting has a label, a source and a day")


def may_recur(labels: NDArray[np.int64], sources: NDArray[np.int64], days: NDArray[np.int64]) -> Recurs:
    """Whether a picture recurs that was seen in exactly these sightings of a broadcaster: under several labels, or
    in several sources on several days."""
    if len(np.unique(labels)) > 1:
        return "labels"
    many = len(np.unique(sources)) >= CARD_SOURCES and len(np.unique(days)) >= CARD_DAYS
    return "sources" if many else ""


def recurring(
    seen: Sightings, asked: NDArray[np.int64], *, apart: bool = True
) -> Iterator[tuple[int, Recurs, NDArray[np.int64]]]:
    """Of the sightings numbered ``asked``, those that recur, why, and all that look like them (and themselves).

    ``apart``: only those that stand apart where they were seen.

    Exact up to :data:`COMPARED` sightings; of more, a few that look alike may be missed. Each is compared with at
    most that many, so this is linear: some 50 us for each one asked of a hundred sightings, 0.4 ms of any more.
    """
    near = _Neighbours(seen.thumbnails)
    for number in asked.tolist():
        alike = near.alike(number)
        why = may_recur(seen.labels[alike], seen.sources[alike], seen.days[alike])
        if why and (not apart or _stands_apart(seen, number)):
            yield number, why, alike


def _stands_apart(seen: Sightings, number: int) -> bool:
    """True if what was seen of the source of that sighting under its label, or under its label at all where the
    source shows nothing else, looks different and shares little with it."""
    one, labelled = seen.thumbnails[number], seen.labels == seen.labels[number]
    here = seen.thumbnails[labelled & (seen.sources == seen.sources[number])]
    mine = _alike(here, one)
    if mine.all():
        everywhere = seen.thumbnails[labelled]
        return few_related(everywhere[~_alike(everywhere, one)], one)
    return bool(mine.mean() <= CARD_SHARE) and few_related(here[~mine], one)


def _alike(thumbnails: NDArray[np.uint8], one: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which of the thumbnails (n, 576) look like ``one``."""
    same = np.maximum(thumbnails, one) - np.minimum(thumbnails, one) <= TILE_LEVELS
    alike: NDArray[np.bool_] = np.count_nonzero(same, axis=1) >= ALIKE_TILES
    return alike


class _Neighbours:
    """Finds the thumbnails that look like one of them."""

    def __init__(self, thumbnails: NDArray[np.uint8]) -> None:
        self._thumbnails = thumbnails
        self._orders = [] if len(thumbnails) <= COMPARED else [_order(thumbnails, p) for p in range(PARTS)]

    def alike(self, number: int) -> NDArray[np.int64]:
        """Numbers of the thumbnails that look like number ``number``, itself among them."""
        near = self._near(number)
        return near[_alike(self._thumbnails[near], self._thumbnails[number])]

    def _near(self, number: int) -> NDArray[np.int64]:
        if not self._orders:
            return np.arange(len(self._thumbnails))
        spans = []
        for order, place in self._orders:
            at = int(place[number])
            spans.append(order[max(0, at - NEIGHBOURS) : at + NEIGHBOURS + 1])
        return np.unique(np.concatenate(spans))


def _order(thumbnails: NDArray[np.uint8], part: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The thumbnails in the order of one number that is made of a part of the picture, and the place of each.

    What changes in an animated card is in some parts of it: in the order of another one its pictures stand side by
    side.
    """
    keys = thumbnails @ _signs()[part]
    order = np.lexsort((*thumbnails.T[:4], keys))
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return order, place


@cache
def _signs() -> NDArray[np.int64]:
    """Weights of the tiles in each part, 1 or -1, else 0: int64 (PARTS, 576), the same on every machine."""
    signs = np.zeros((PARTS, TILE_ROWS, TILE_COLS), np.int64)
    wide = TILE_COLS // PARTS
    for part in range(PARTS):
        inside = slice(part * wide, (part + 1) * wide)
        rows, cols = np.mgrid[0:TILE_ROWS, 0:wide]
        signs[part, :, inside] = 1 - 2 * ((rows * 7 + cols * 3 + rows * cols) % 5 % 2)
    return signs.reshape(PARTS, _TILES)


def shown_elsewhere(looks: NDArray[np.uint64], others: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which of the hashes seen at ``others`` are like one of the ``looks`` of a card: if any is, it is the game's
    own."""
    found = np.zeros(len(others), np.bool_)
    for look in np.unique(looks)[:SCENE_LOOKS]:
        found |= np.bitwise_count(others ^ look) <= SCENE_BITS
    return found


# -- two labels ---------------------------------------------------------------------------------------------------


def pairs_of_labels(
    hashes: NDArray[np.uint64], labels: NDArray[np.int64], fresh: NDArray[np.bool_], radius: int
) -> set[tuple[int, int]]:
    """Numbers of all pairs under different labels whose hashes are within ``radius``, one of them ``fresh``.

    Two such hashes agree in at least one of radius + 1 runs of bits, so only those that do are compared: linear as
    long as few hashes share a run.
    """
    found: set[tuple[int, int]] = set()
    borders = [64 * band // (radius + 1) for band in range(radius + 2)]
    for low, high in pairwise(borders):
        runs = hashes >> np.uint64(low) & np.uint64((1 << (high - low)) - 1)
        order = np.argsort(runs, kind="stable")
        for group in np.split(order, np.flatnonzero(np.diff(runs[order])) + 1):
            if fresh[group].any() and len(np.unique(labels[group])) > 1:
                found.update(_pairs_within(group, hashes, labels, fresh, radius))
    return found


def _pairs_within(
    group: NDArray[np.int64],
    hashes: NDArray[np.uint64],
    labels: NDArray[np.int64],
    fresh: NDArray[np.bool_],
    radius: int,
) -> Iterator[tuple[int, int]]:
    newer = group[fresh[group]]
    step = max(1, PAIRS_AT_ONCE // len(group))
    for at in range(0, len(newer), step):
        ones = newer[at : at + step]
        near = np.bitwise_count(hashes[ones][:, None] ^ hashes[group][None]) <= radius
        near &= labels[ones][:, None] != labels[group][None]
        for one, other in zip(*np.nonzero(near), strict=True):
            pair = int(ones[one]), int(group[other])
            yield min(pair), max(pair)


def yielding(one: float, other: float) -> tuple[bool, bool]:
    """Which of two pictures under different labels go, by their confidence: the weaker one, or both."""
    gap = round(one - other, 9)  # 0.7 - 0.5 must be 0.2, not a neighbour
    return gap < CONFIDENCE_GAP, -gap < CONFIDENCE_GAP
