"""Scenes that are known to be no play, looked for among the measured pictures of their broadcaster. Pure.

A storyboard shows them (:mod:`harvester.sampling.unplayed`), 160 x 90 pixels of a JPEG, by their standing parts: a
card's particles and a talk's head are not compared. Measured on 128 VODs of 32 broadcasters, half of which the
limits were set on, pictures of a VOD against all scenes of its broadcaster, most standing parts shared:

=============================================  ==============
cards, breaks, talks, of which a scene stands  0.77 to 1
recorded games                                 0.02 to 0.52
drawn games that stand still                   0.03 to 0.5
=============================================  ==============

Most of a card may be one colour, and then any picture that is mostly of that colour has most of its parts. So a
picture must have some of what is on the card, too. Of three worlds (224, 80 and 80 VODs): of 1,046 pictures of
games that a scene was found in 145 are left, of 760 of cards, breaks and talks 716.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: A part shows the same if its luma differs by at most so many levels: two for the storyboard's JPEG, two for the
#: rounding of colours, two for what coding leaves.
PART_LEVELS = 6
#: A picture shows a scene if it has so many of its standing parts. The table above.
SHOWN = 0.7
#: A standing part tells something if its luma is farther than this from the middle one of all that stand (levels).
TELLING_LEVELS = 12
#: Of these a picture has this share at least; a scene that has fewer of them than so many is found nowhere.
TOLD, LEAST_TELLING = 0.4, 16
#: A scene is looked for by what stands if so many of its 576 parts do, else by its colours, wherever they are: ...
LEAST_PARTS = 144
#: ... then a picture shows it if its parts, in order of their luma, differ by at most so many levels on average:
#: stripes and logos that wander by 0.6 to 1.4, games by 3 and more, but for 7 pictures that were the scene's own.
COLOUR_LEVELS = 2.5
#: What a source shows for more than this share of its moments is what it is about.
SHARE = 0.5


def shows(
    thumbnails: NDArray[np.uint8], lumas: NDArray[np.uint8], standing: NDArray[np.bool_], *, telling: bool = True
) -> NDArray[np.bool_]:
    """Which ``thumbnails``, uint8 (n, 576), show a scene: bool (n,).

    ``lumas``: the scene, by several formulas, uint8 (m, 576); ``standing``: which of its parts stand, (576,);
    ``telling``: that it has most of them is not enough.
    """
    found = np.zeros(len(thumbnails), np.bool_)
    for luma in lumas:
        if standing.sum() >= LEAST_PARTS:
            found |= _stands(thumbnails[:, standing], luma[standing], telling=telling)
        else:
            ordered = np.abs(np.sort(thumbnails, axis=1).astype(np.int16) - np.sort(luma))
            found |= ordered.mean(axis=1) <= COLOUR_LEVELS
    return found


def _stands(parts: NDArray[np.uint8], luma: NDArray[np.uint8], *, telling: bool) -> NDArray[np.bool_]:
    """Which pictures, by the parts of them (n, m) that stand in a scene, have that ``luma`` (m,)."""
    near = np.abs(parts.astype(np.int16) - luma) <= PART_LEVELS
    found: NDArray[np.bool_] = near.mean(axis=1) >= SHOWN
    tells = np.abs(luma - np.median(luma)) > TELLING_LEVELS
    if telling:
        found &= (near[:, tells].sum(axis=1) >= TOLD * tells.sum()) & (tells.sum() >= LEAST_TELLING)
    return found


def exceptions(alike: NDArray[np.int64], sources: NDArray[np.int64]) -> NDArray[np.int64]:
    """Those of the moments ``alike`` whose source mostly shows something else. ``sources``: of all moments."""
    shown, all_of = (np.bincount(these, minlength=int(sources.max()) + 1) for these in (sources[alike], sources))
    rare = shown <= SHARE * all_of
    return alike[rare[sources[alike]]]
