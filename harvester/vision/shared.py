"""Pictures of a game that do not depend on who plays: menus, title and loading screens, maps, cutscenes.

No single picture tells a menu from a game that looks like one. What others show does: nobody plays the same
moment twice. A kept picture is ``shared`` if several other broadcasters of its game have shown it too: the fold
found theirs to be its near-duplicates, and their tiles agree with it, whatever lies over a corner of them.

Which of these it is, is not told; nor are those that no others have shown, or that move so much that each moment
of them is another picture. Of all pairs of pictures of two recordings of one game (7,976 of 7 games) none had
hashes within 6 bits, and no more than 0.57 of their tiles agreed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

#: What a row says of a picture that several broadcasters show.
SHARED = "shared"

#: Others who must have shown it: one may be a second channel of the same person, or show somebody else's stream.
OTHERS = 2
#: Pictures of another that are looked at: overlays differ from one moment to the next.
LOOKS = 4

#: Tiles that differ by at most so many levels show the same ...
TILE_LEVELS = 4
#: ... and pictures do if so many of their 576 tiles do (0.7): a camera and a chat take up to 0.3.
SAME_TILES = 404

#: Means of tiles, (18, 32): :func:`harvester.vision.measure.thumbnail`.
Thumbnail = NDArray[np.uint8]


def is_shared(one: Thumbnail, others: Iterable[Sequence[Thumbnail]]) -> bool:
    """Whether enough of ``others`` have shown the picture; each is some pictures of another broadcaster."""
    return sum(any(_same(one, look) for look in looks) for looks in others) >= OTHERS


def _same(one: Thumbnail, other: Thumbnail) -> bool:
    apart = np.maximum(one, other) - np.minimum(one, other)
    return int(np.count_nonzero(apart <= TILE_LEVELS)) >= SAME_TILES
