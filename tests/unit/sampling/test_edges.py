"""Edges: where they stand in all pictures, where some are missing, and where others stay for a while."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from harvester.sampling.edges import AMONG, EDGE, LEAST, POINT_COLS, POINT_ROWS, RIM, Edges, point_lumas

Lumas = NDArray[np.uint8]


def moving(count: int, seed: int = 0) -> Lumas:
    """Pictures of which nothing stays: other boxes each time."""
    rng = np.random.default_rng(seed)
    shown = np.full((count, POINT_ROWS, POINT_COLS), 100, np.uint8)
    for picture in shown:
        for _ in range(12):
            top, left = rng.integers(0, POINT_ROWS - 6), rng.integers(0, POINT_COLS - 8)
            height, width = rng.integers(3, 20, 2)
            picture[top : top + height, left : left + width] = rng.integers(0, 256)
    return shown


def with_text(lumas: Lumas, seed: int, *, at: tuple[int, int] = (20, 30), levels: int = 60) -> Lumas:
    """The same pictures with letters, always the same ones, at one place."""
    marks = np.random.default_rng(seed).random((4, 20)) < 0.5
    shown = lumas.copy()
    row, column = at
    shown[:, row : row + 4, column : column + 20] = np.where(marks, 255, 255 - levels)
    return shown


@pytest.mark.parametrize("shape", [(90, 160), (124, 220), (62, 111), (45, 80), (18, 32)])
def test_points_are_means_of_what_they_cover_in_pictures_of_any_size(shape: tuple[int, int]) -> None:
    green = np.random.default_rng(3).integers(0, 256, shape)
    fine = green.repeat(POINT_ROWS, axis=0).repeat(POINT_COLS, axis=1)  # a point covers whole pixels of that
    means = fine.reshape(POINT_ROWS, shape[0], POINT_COLS, shape[1]).sum(axis=(1, 3)) // (shape[0] * shape[1])
    image = np.stack([0 * green, green, 255 - green], axis=2).astype(np.uint8)
    assert (point_lumas(image) == means).all()


def test_what_stands_in_most_pictures_is_missing_from_the_others() -> None:
    lumas = with_text(moving(40), seed=1)
    lumas[25:35] = moving(10, seed=2)
    missing = Edges(lumas, 10.0).missing()
    assert missing[25:35].min() > 0.6
    assert np.delete(missing, range(25, 35)).max() < 0.5  # where a box hides it
    assert np.median(np.delete(missing, range(25, 35))) < 0.15


def test_where_nothing_stands_nothing_is_missing() -> None:
    assert Edges(moving(40), 10.0).missing().tolist() == [0.0] * 40
    dots = np.zeros((40, POINT_ROWS, POINT_COLS), np.uint8)
    dots[:20, 20, 30] = dots[22:, 20, 30] = 255  # one point has four edges around it
    assert LEAST > 4
    assert Edges(dots, 10.0).missing().tolist() == [0.0] * 40


def test_what_stays_for_a_minute_and_is_nowhere_else_is_passing() -> None:
    lumas = with_text(moving(60), seed=1, at=(3, 3))
    lumas[20:28] = with_text(lumas[20:28], seed=2)
    passing = Edges(lumas, 10.0).passing()
    assert passing[20:28].min() > 35
    assert np.delete(passing, range(18, 30)).max() < 10  # windows reach a little beyond


def test_what_stays_for_less_than_a_minute_is_not_passing() -> None:
    lumas = moving(60)
    lumas[20:24] = with_text(lumas[20:24], seed=2)
    assert Edges(lumas, 10.0).passing().max() < 10
    assert Edges(lumas, 30.0).passing()[20:24].min() > 30  # of which it is two
    assert Edges(lumas, 60.0).passing()[20:24].min() > 30
    assert Edges(lumas[20:24], 10.0).passing().tolist() == [0.0] * 4


def test_two_tiles_are_enough_where_they_are_a_minute_apart() -> None:
    lumas = moving(60)
    lumas[20:22] = with_text(lumas[20:22], seed=2)
    assert Edges(lumas, 59.0).passing()[20:22].max() < 10
    assert Edges(lumas, 60.0).passing()[20:22].min() > 90


def test_text_that_is_written_anew_each_time_is_not_passing() -> None:
    lumas = moving(60)
    for number in range(20, 30):
        lumas[number : number + 1] = with_text(lumas[number : number + 1], seed=number)
    assert Edges(lumas, 10.0).passing().max() < 30


@pytest.mark.parametrize(("levels", "seen"), [(EDGE, False), (4 * EDGE, True)])
def test_an_edge_has_a_strength(levels: int, seen: bool) -> None:
    flat = np.full((40, POINT_ROWS, POINT_COLS), 255, np.uint8)
    flat[10:20] = with_text(flat[10:20], seed=1, levels=levels)
    assert bool(Edges(flat, 10.0).passing()[10:20].min() > 0) is seen


def test_the_steepest_edges_are_edges() -> None:
    """Black beside white, across and down, in either direction: nothing wraps around."""
    stripes = np.indices((POINT_ROWS, POINT_COLS)).sum(axis=0) // 2 % 2 * 255
    for shown in (stripes, 255 - stripes):
        lumas = np.full((40, POINT_ROWS, POINT_COLS), 100, np.uint8)
        lumas[10:20] = shown
        assert Edges(lumas, 10.0).passing()[10:20].min() == (POINT_ROWS - 2 * RIM) * (POINT_COLS - 2 * RIM)
        always = np.repeat(lumas[10:11], 40, axis=0)
        assert Edges(always, 10.0).missing().max() == 0.0


def test_what_shows_through_at_the_rim_is_no_edge() -> None:
    rng = np.random.default_rng(8)
    lumas = np.full((40, POINT_ROWS, POINT_COLS), 100, np.uint8)
    lumas[:, : RIM - 1] = rng.integers(0, 256, (40, RIM - 1, POINT_COLS))
    lumas[10:20, -RIM + 1 :] = 200
    edges = Edges(lumas, 10.0)
    assert edges.passing().max() == 0
    assert edges.missing().max() == 0


@settings(max_examples=30, deadline=None)
@given(count=st.integers(1, 2 * AMONG), seed=st.integers(0, 99), interval_s=st.floats(0.5, 600))
def test_any_pictures_have_shares_and_counts(count: int, seed: int, interval_s: float) -> None:
    lumas = np.random.default_rng(seed).integers(0, 256, (count, POINT_ROWS, POINT_COLS)).astype(np.uint8)
    edges = Edges(lumas, interval_s)
    missing, passing = edges.missing(), edges.passing()
    assert missing.shape == passing.shape == (count,)
    assert 0 <= missing.min() <= missing.max() <= 1
    assert passing.min() >= 0
    backwards = Edges(lumas[::-1], interval_s)
    if count % 2 and count <= AMONG:  # of an even number the upper one is the middle
        assert backwards.missing()[::-1] == pytest.approx(missing)
        assert backwards.passing()[::-1].tolist() == passing.tolist()
