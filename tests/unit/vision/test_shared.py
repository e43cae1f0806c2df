"""Pictures that several broadcasters show: at and beside each limit."""

from __future__ import annotations

import numpy as np
import pytest

from harvester.vision.shared import OTHERS, SAME_TILES, TILE_LEVELS, is_shared

ONE = np.random.default_rng(1).integers(16, 230, (18, 32)).astype(np.uint8)


def changed(tiles: int, levels: int = TILE_LEVELS + 1) -> np.ndarray:
    """The picture with so many tiles some levels brighter."""
    other = ONE.copy()
    other.ravel()[:tiles] += np.uint8(levels)
    return other


def test_as_many_others_as_it_takes_must_show_it() -> None:
    assert is_shared(ONE, [[ONE]] * OTHERS)
    assert not is_shared(ONE, [[ONE]] * (OTHERS - 1))
    assert not is_shared(ONE, [[ONE] * OTHERS] * (OTHERS - 1))
    assert not is_shared(ONE, [])


def test_one_look_of_another_is_enough() -> None:
    assert is_shared(ONE, [[255 - ONE, ONE], [ONE, 255 - ONE]])
    assert not is_shared(ONE, [[255 - ONE, ONE], [255 - ONE], []])


@pytest.mark.parametrize("sign", [1, -1])
def test_a_corner_may_show_something_else(sign: int) -> None:
    most = ONE.size - SAME_TILES
    pair = (ONE, changed(most)), (ONE, changed(most + 1))
    (one, other), (third, fourth) = (both[::sign] for both in pair)
    assert is_shared(one, [[other]] * OTHERS)
    assert not is_shared(third, [[fourth]] * OTHERS)
    assert is_shared(ONE, [[changed(ONE.size, TILE_LEVELS)]] * OTHERS)
