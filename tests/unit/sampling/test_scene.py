"""A scene tells its luma as it is coded, and cannot be built of anything else."""

from __future__ import annotations

import numpy as np
import pytest

from harvester.sampling.scene import Scene

STANDING = np.zeros((18, 32), np.bool_)


@pytest.mark.parametrize(
    ("colour", "by_601", "by_709"),
    # white and black are the ends of the limited range; the others are the formulas', worked out by hand
    [((255, 255, 255), 235, 235), ((0, 0, 0), 16, 16), ((255, 0, 0), 81, 62), ((0, 0, 255), 40, 31)],
)
def test_luma_is_that_of_the_limited_range_by_either_formula(
    colour: tuple[int, int, int], by_601: int, by_709: int
) -> None:
    lumas = Scene(np.full((18, 32, 3), colour, np.uint8), STANDING).lumas()
    assert (lumas.shape, lumas.dtype) == ((2, 576), np.uint8)
    assert [set(luma.tolist()) for luma in lumas] == [{by_601}, {by_709}]


def test_a_scene_is_of_the_size_of_a_measurement() -> None:
    cells = np.zeros((18, 32, 3), np.uint8)
    with pytest.raises(ValueError, match="cells"):
        Scene(cells[1:], STANDING)
    with pytest.raises(ValueError, match="cells"):
        Scene(cells.astype(np.int16), STANDING)
    with pytest.raises(ValueError, match="stands"):
        Scene(cells, STANDING.astype(np.uint8))
