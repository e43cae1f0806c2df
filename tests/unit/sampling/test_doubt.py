"""Doubt is of pictures that most of the VOD is not like, for a while; it orders moments, and drops none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from harvester.config import Sample
from harvester.model import Label, LabelledSpan, Span
from harvester.sampling.categories import NON_GAMES
from harvester.sampling.doubt import AGAINST, DOUBTFUL, MOST, doubtful, doubts, with_unlike
from harvester.sampling.labels import Evidence
from harvester.sampling.storyboard import CELL_COLS, CELL_ROWS, Tiles
from harvester.sampling.variety import CROWD, chosen_moments, varied_order

Cells = NDArray[np.int16]
STEP_S = 10.0
SAMPLE = Sample(min_spacing_s=4)


def play(count: int, seed: int = 0) -> Cells:
    """Pictures of one game: each differs from each other in two thirds of the cells."""
    rng = np.random.default_rng(seed)
    scene = np.random.default_rng(99).integers(0, 90, (CELL_ROWS, CELL_COLS, 3))
    moved = rng.random((count, CELL_ROWS, CELL_COLS)) < 0.42
    shown = np.where(moved[..., None], rng.integers(0, 90, (count, CELL_ROWS, CELL_COLS, 3)), scene)
    return shown.astype(np.int16)


def waves(count: int, seed: int = 7) -> Cells:
    """Bright pictures no two of which are the same, such as an animated card: unlike all of the game."""
    return (120 + play(count, seed)).astype(np.int16)


def tiles(*pieces: Cells) -> Tiles:
    cells = np.concatenate(pieces)
    return Tiles(tuple(STEP_S * number for number in range(len(cells))), STEP_S, cells, np.zeros(len(cells)))


def marked(shown: Tiles) -> list[int]:
    return np.flatnonzero(doubtful(shown, range(len(shown.moments_s)))).tolist()


def chosen(shown: Tiles, limit: int, spare: int = 0) -> list[int]:
    """Numbers of the tiles that are chosen, in their order."""
    whole = [LabelledSpan(Span(0, 10_000), "1", Label("chapter", 0.9))]
    found = chosen_moments(("vod", "1"), shown, shown.moments_s, whole, limit=limit, sample=SAMPLE, spare=spare)
    return [int(moment_s / STEP_S) for moment_s in found]


def test_a_picture_that_stays_for_a_while_and_is_unlike_the_rest_is_doubtful() -> None:
    shown = tiles(play(40), waves(10), play(50, seed=1))
    assert marked(shown) == list(range(40, 50))
    doubt = doubts(shown, range(100))
    assert doubt[40:50].min() > 0.9
    assert np.delete(doubt, range(38, 52)).max() < DOUBTFUL / 2


def test_what_is_seen_here_and_there_is_not_doubtful() -> None:
    pieces = [piece for seed in range(10) for piece in (play(8, seed), waves(2, seed))]
    assert marked(tiles(*pieces, play(8, 10))) == []


def test_in_a_calm_vod_what_is_unlike_more_than_a_third_of_it_may_be_the_play() -> None:
    still = np.repeat(play(1), 40, axis=0)
    assert marked(tiles(still, waves(15), still)) == list(range(40, 55))
    shown = tiles(still, waves(37), still)  # of 117
    assert len(marked(shown)) == int(MOST * 117)
    assert doubts(shown, range(117))[40:77].min() >= DOUBTFUL
    assert doubts(tiles(still, waves(38), still), range(118)).tolist() == [0.0] * 118


def test_where_every_scene_is_unlike_all_others_nothing_is_doubtful() -> None:
    shown = tiles(*((80 * level + play(20, level) // 2).astype(np.int16) for level in range(3)))
    assert doubts(shown, range(60)).tolist() == [0.0] * 60
    assert marked(shown) == []


def test_what_takes_up_most_of_the_vod_is_usual() -> None:
    assert not set(marked(tiles(play(20), waves(60)))) & set(range(22, 80))


def test_no_more_than_a_quarter_is_doubtful() -> None:
    shown = tiles(play(30), waves(45), play(35, seed=1))
    assert len(marked(shown)) == int(MOST * 110)
    assert set(marked(shown)) <= set(range(30, 75))


def test_of_more_moments_than_are_compared_each_has_its_doubt() -> None:
    assert len(marked(tiles(play(2 * AGAINST), waves(12), play(AGAINST, seed=1)))) == 12


def test_no_tile_has_no_doubt() -> None:
    assert doubts(tiles(play(3)), []).shape == (0,)
    assert doubtful(tiles(play(3)), []).shape == (0,)
    assert doubtful(tiles(play(3)), [1]).tolist() == [False]


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    lengths=st.tuples(st.integers(1, 12), st.integers(0, 6), st.integers(1, 12)),
    level=st.integers(0, 120),
)
def test_doubt_knows_neither_the_direction_of_time_nor_colours(
    seed: int, lengths: tuple[int, int, int], level: int
) -> None:
    before, between, after = lengths
    middle = (level + play(between, seed + 1)).astype(np.int16)
    cells = np.concatenate([play(before, seed), middle, play(after, seed + 2)])
    numbers = range(len(cells))
    doubt = doubts(tiles(cells), numbers)
    assert doubt.min() >= 0.0
    assert doubt.max() <= 1.0
    assert doubts(tiles(cells[::-1]), numbers)[::-1].tolist() == doubt.tolist()
    assert doubts(tiles(cells[..., ::-1]), numbers).tolist() == doubt.tolist()
    assert doubtful(tiles(cells), numbers).sum() <= MOST * len(cells)


# -- in the order of targets --------------------------------------------------------------------------------------


def test_doubtful_moments_come_when_nothing_else_is_left() -> None:
    shown = tiles(play(40), waves(10), play(50, seed=1))
    found = chosen(shown, 95)
    assert len(found) == 95
    assert set(found[:90]) == {*range(40), *range(50, 100)}
    assert set(found[90:]) < set(range(40, 50))


def test_doubtful_moments_are_not_to_spare() -> None:
    shown = tiles(play(40), waves(10), play(50, seed=1))
    assert sorted(chosen(shown, 30, spare=70)) == [*range(40), *range(50, 100)]
    assert len(chosen(shown, 95, spare=5)) == 95


def test_where_nothing_is_to_spare_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = tiles(play(40), waves(10), play(50, seed=1))
    found = chosen(shown, 100), chosen(shown, 99)
    monkeypatch.setattr("harvester.sampling.doubt.DOUBTFUL", 2.0)
    assert chosen(shown, 100) == found[0]
    assert chosen(shown, 99) != found[1]
    assert len(set(range(40, 50)) & set(found[1])) == 9


def test_a_doubtful_moment_is_never_the_first_while_others_are_there() -> None:
    shown = tiles(play(3), waves(1), play(4, seed=1))
    late = np.array([False, True, True] + [False] * 5)
    orders = [list(varied_order(shown, range(8), first, late=late)) for first in range(12)]
    assert {order[0] for order in orders} == {0, 3, 4, 5, 6, 7}
    assert all(set(order[6:]) == {1, 2} and sorted(order) == list(range(8)) for order in orders)
    assert sorted(varied_order(shown, range(8), 3, late=np.ones(8, np.bool_))) == list(range(8))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), begin=st.integers(2, 60), length=st.integers(5, 35), limit=st.integers(10, 99))
def test_doubt_leaves_no_stretch_more_than_three_times_its_share(
    seed: int, begin: int, length: int, limit: int
) -> None:
    shown = tiles(play(begin, seed), waves(length, seed), play(100 - begin - length, seed + 1))
    found = sorted(chosen(shown, limit))
    assert len(found) == limit
    assert len(set(marked(shown)) & set(found)) <= max(0, limit - (100 - len(marked(shown))))
    apart = 100 / (CROWD * limit)  # tiles
    if limit <= 25:
        assert min(np.diff(found)) >= apart


# -- as evidence --------------------------------------------------------------------------------------------------


def spans_of(*parts: tuple[float, float, str]) -> list[LabelledSpan]:
    return [LabelledSpan(Span(start, end), category, Label("chapter", 0.9)) for start, end, category in parts]


def test_where_a_game_is_doubtful_is_remembered_by_its_category() -> None:
    """Each category is judged on its own: what the other one shows makes nothing usual."""
    shown = tiles(play(40), waves(10), play(50, seed=1), waves(40, seed=2), play(8, seed=3), waves(52, seed=4))
    found = with_unlike(Evidence("1"), shown, spans_of((0, 1000, "1"), (1000, 2000, "2")), 2000.0).unlike
    assert found == ((Span(395.0, 495.0), "1"), (Span(1395.0, 1475.0), "2"))


def test_what_is_idle_already_or_of_no_game_is_not_remembered_as_doubtful() -> None:
    shown = tiles(play(40), waves(10), play(50, seed=1))
    idle = Evidence("1", idle=(Span(395.0, 495.0),))
    assert with_unlike(idle, shown, spans_of((0, 1000, "1")), 1000.0) == idle
    no_game = min(NON_GAMES)
    assert with_unlike(Evidence(no_game), shown, spans_of((0, 1000, no_game)), 1000.0).unlike == ()
    assert with_unlike(Evidence("1"), shown, [], 1000.0).unlike == ()
