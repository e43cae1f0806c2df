"""Doubt is of pictures that most of the VOD is not like, for a while; it orders moments, and drops none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from harvester.config import Sample
from harvester.model import Label, LabelledSpan, Span
from harvester.sampling.categories import NON_GAMES
from harvester.sampling.doubt import (
    AGAINST,
    BEGINNING_S,
    LEAST_SEEN,
    LEVELS,
    SHARE,
    begun,
    doubts,
    grades,
    passed_over,
    standing_out,
    with_unlike,
)
from harvester.sampling.labels import Evidence
from harvester.sampling.storyboard import CELL_COLS, CELL_ROWS, Tiles
from harvester.sampling.variety import CROWD, chosen_moments, varied_order
from tests.unit.sampling.boards import board
from tests.unit.sampling.test_edges import moving

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
    return board(cells, STEP_S)


def marked(shown: Tiles, grade: int = 2) -> list[int]:
    return np.flatnonzero(grades(shown, range(len(shown.moments_s))) >= grade).tolist()


def chosen(shown: Tiles, limit: int, spare: int = 0) -> list[int]:
    """Numbers of the tiles that are chosen, in their order."""
    whole = [LabelledSpan(Span(0, 10_000), "1", Label("chapter", 0.9))]
    found = chosen_moments(("vod", "1"), shown, shown.moments_s, whole, limit=limit, sample=SAMPLE, spare=spare)
    return [int(moment_s / STEP_S) for moment_s in found]


def test_a_picture_that_stays_for_a_while_and_is_unlike_the_rest_is_doubtful() -> None:
    shown = tiles(play(40), waves(10), play(50, seed=1))
    assert marked(shown) == marked(shown, len(LEVELS)) == list(range(40, 50))
    doubt = doubts(shown, range(100))
    assert doubt[40:50].min() > 2
    assert np.delete(doubt, range(38, 52)).max() < LEVELS[1]


def test_what_is_seen_here_and_there_is_not_doubtful() -> None:
    pieces = [piece for seed in range(10) for piece in (play(8, seed), waves(2, seed))]
    assert len(marked(tiles(*pieces, play(8, 10)))) < 10  # of the 20 that are unlike the rest


@pytest.mark.parametrize(
    ("interval_s", "least"), [(8.0, 3), (18.0, 3), (24.0, 2), (55.0, 2), (62.0, 1), (219.0, 1)]
)
def test_how_many_tiles_a_stretch_has_depends_on_the_time_between_them(interval_s: float, least: int) -> None:
    for count in (least - 1, least):
        shown = board(np.concatenate([play(40, seed=11), waves(count), play(50, seed=21)]), interval_s)
        found = set(range(40, 40 + count)) & set(marked(shown))
        assert len(found) == (count if count == least else 0)


def test_where_every_scene_is_unlike_all_others_nothing_is_doubtful() -> None:
    shown = tiles(*((80 * level + play(20, level) // 2).astype(np.int16) for level in range(3)))
    assert marked(shown) == []


def test_where_all_is_alike_nothing_is_doubtful() -> None:
    assert doubts(tiles(np.repeat(play(1), 60, axis=0)), range(60)).tolist() == [0.0] * 60


def test_what_takes_up_most_of_the_vod_is_usual() -> None:
    assert not set(marked(tiles(play(20), waves(60)))) & set(range(22, 80))


def test_no_more_than_a_share_is_doubtful() -> None:
    shown = tiles(play(30), waves(54), play(26, seed=1))
    assert len(marked(shown, 1)) == int(SHARE * 110)
    assert set(marked(shown, 1)) <= set(range(30, 84))


def test_of_more_moments_than_are_compared_each_has_its_doubt() -> None:
    assert len(marked(tiles(play(2 * AGAINST), waves(12), play(AGAINST, seed=1)))) == 12


def lively(count: int, seed: int = 0) -> Tiles:
    """Pictures that share nothing but a line of letters at the top."""
    rng = np.random.default_rng(seed)
    cells = rng.integers(0, 255, (count, CELL_ROWS, CELL_COLS, 3)).astype(np.int16)
    board_ = tiles(cells)
    lumas = moving(count, seed)
    lumas[:, 4:8, 10:50] = np.random.default_rng(1).integers(0, 2, (4, 40), dtype=np.uint8) * 255
    return replace(board_, lumas=lumas)


def test_in_a_lively_vod_what_lacks_its_score_is_doubtful() -> None:
    shown = lively(60)
    lumas = shown.lumas.copy()
    lumas[20:30] = moving(10, seed=5)
    assert marked(replace(shown, lumas=lumas)) == list(range(20, 30))
    assert not set(marked(shown)) & set(range(20, 30))


def test_in_a_lively_vod_what_brings_a_text_of_its_own_is_doubtful() -> None:
    shown = lively(60)
    lumas = shown.lumas.copy()
    lumas[20:30, 20:26, 20:60] = np.random.default_rng(2).integers(0, 2, (6, 40), dtype=np.uint8) * 255
    assert set(range(20, 30)) <= set(marked(replace(shown, lumas=lumas))) <= set(range(18, 32))


def test_a_picture_of_another_texture_is_doubtful() -> None:
    shown = tiles(play(100))
    textures = np.random.default_rng(4).normal(0.5, 0.02, (100, 2))
    textures[40:50, 1] -= 0.8
    textures[60:70, 0] += 0.8
    assert marked(shown) == []
    assert marked(replace(shown, textures=textures)) == [*range(40, 50), *range(60, 70)]
    assert not set(marked(replace(shown, textures=textures - textures.mean()), 2)) - {
        *range(40, 50),
        *range(60, 70),
    }


def test_to_be_unlike_everything_counts_where_the_spread_of_what_is_usual_is_wide() -> None:
    levels = [play(20, seed) + 14 * (seed % 3) for seed in range(6)]  # some of its scenes are farther apart
    shown = tiles(*levels[:3], waves(10), *levels[3:])
    assert doubts(shown, range(130))[61:69].min() >= 1.0
    assert set(marked(shown)) >= set(range(61, 69))


def test_a_break_that_begins_with_the_last_tile_is_told_by_what_follows() -> None:
    shown = tiles(play(60), waves(10), play(40))
    assert grades(shown, range(61))[58:].tolist() == [0, 1, 3]
    assert grades(shown, range(69, 110))[:3].tolist() == [3, 0, 0]


def test_what_is_beside_the_tiles_makes_nothing_usual() -> None:
    """Of seven tiles three are the game's, and those beside them are made otherwise."""
    shown = tiles(play(280))
    own = np.isin(np.arange(280) % 7, (2, 3, 4))
    textures = np.random.default_rng(4).normal(0.0, 0.02, (280, 2)) + np.where(own, 0.0, 0.8)[:, None]
    textures[142:145] += 0.8
    found = grades(replace(shown, textures=textures), np.flatnonzero(own).tolist())
    assert np.flatnonzero(own)[found == 3].tolist() == [142, 143, 144]


def test_no_tile_has_no_doubt() -> None:
    assert doubts(tiles(play(3)), []).shape == (0,)
    assert grades(tiles(play(3)), []).shape == (0,)
    assert grades(tiles(play(3)), [1]).tolist() == [0]


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    lengths=st.tuples(st.integers(1, 12), st.integers(0, 6), st.integers(1, 12)),
    level=st.integers(0, 120),
)
def test_doubt_has_its_limits(seed: int, lengths: tuple[int, int, int], level: int) -> None:
    before, between, after = lengths
    middle = (level + play(between, seed + 1)).astype(np.int16)
    shown = tiles(np.concatenate([play(before, seed), middle, play(after, seed + 2)]))
    numbers = range(before + between + after)
    doubt, grade = doubts(shown, numbers), grades(shown, numbers)
    assert doubt.min() >= 0.0
    assert (grade > 0).sum() <= SHARE * len(numbers)
    assert all(doubt[grade >= which + 1].min(initial=9.0) >= LEVELS[which] for which in range(len(LEVELS)))
    assert doubts(shown, numbers).tolist() == doubt.tolist()


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
    monkeypatch.setattr("harvester.sampling.doubt.LEVELS", (99.0, 99.0, 99.0))
    assert chosen(shown, 100) == found[0]
    assert chosen(shown, 99) != found[1]
    assert len(set(range(40, 50)) & set(found[1])) == 9


def test_a_doubtful_moment_is_never_the_first_while_others_are_there() -> None:
    shown = tiles(play(3), waves(1), play(4, seed=1))
    late = np.array([0, 2, 3, 0, 0, 0, 0, 0], np.int8)
    orders = [list(varied_order(shown, range(8), first, late=late)) for first in range(12)]
    assert {order[0] for order in orders} == {0, 3, 4, 5, 6, 7}
    assert all(order[6:] == [1, 2] and sorted(order) == list(range(8)) for order in orders)
    assert sorted(varied_order(shown, range(8), 3, late=np.full(8, 2, np.int8))) == list(range(8))


def test_a_tile_lies_in_the_slot_of_what_stands_for_it() -> None:
    shown = tiles(play(30))
    places_s = [STEP_S * (number // 10) for number in range(30)]  # ten of them for one picture each
    order = list(varied_order(shown, range(30), 0, moments_s=places_s, apart_s=5.0))
    assert {number // 10 for number in order[:3]} == {0, 1, 2}
    assert [tile // 3 for tile in order[:10]] != list(range(10))
    assert len({places_s[tile] for tile in order[:3]}) == 3


def test_a_slot_gets_a_second_one_when_each_has_one_and_the_little_doubtful_come_last_of_these() -> None:
    shown = tiles(play(30))
    order = list(varied_order(shown, range(30), 0))
    assert {number // 3 for number in order[:10]} == set(range(10))  # 30 s are three tiles
    late = np.zeros(30, np.int8)
    late[6:9] = late[20] = 1
    order = list(varied_order(shown, range(30), 0, late=late))
    assert {number // 3 for number in order[:10]} == set(range(10))
    assert order[9] in {6, 7, 8}
    assert 20 not in order[:10]
    late[6:9] = 2
    assert set(list(varied_order(shown, range(30), 0, late=late))[-3:]) == {6, 7, 8}


@pytest.mark.parametrize(("later_s", "waits"), [(0, False), (2, False), (3, True)])
def test_what_lies_on_the_way_to_a_doubtful_tile_is_a_little_so(later_s: float, waits: bool) -> None:
    shown = tiles(play(40, seed=11), waves(10), play(50, seed=21))
    moments_s = [moment_s + later_s for moment_s in shown.moments_s]
    whole = [LabelledSpan(Span(0, 10_000), "1", Label("chapter", 0.9))]

    def slots_before(seed: int) -> int:
        """Half minutes of which there was a target when tile 39 is chosen, the only sure one of its own."""
        sample = Sample(min_spacing_s=4, seed=seed)
        found = chosen_moments(("vod", "1"), shown, moments_s, whole, limit=80, sample=sample)
        before = found[: found.index(390 + later_s)]
        assert len(before) < 40  # not as late as if it were doubtful
        return len({int(moment_s // 30) for moment_s in before})

    assert (min(map(slots_before, range(6))) >= 30) == waits


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


def test_where_only_the_evidence_of_a_storyboard_is_left_the_most_doubtful_is_passed_over() -> None:
    one, two, idle = Span(10, 20), Span(30, 40), Span(50, 60)
    evidence = Evidence("1", idle=(idle,), unlike=((one, "1"), (two, "2")))
    assert passed_over(evidence, "1", seen=True) == (idle,)
    assert set(passed_over(evidence, "1", seen=False)) == {idle, one}
    assert passed_over(Evidence("1"), "1", seen=False) == ()


def test_the_beginning_of_an_unseen_vod_is_not_looked_at_if_the_rest_is_enough() -> None:
    moments_s = [10.0 * n for n in range(120)]
    labels = tuple(spans_of((60, 500, "1"), (560, 1140, "1")))
    enough = tuple(spans_of((BEGINNING_S, 500, "1"), (560, 1140, "1")))
    fits = 20 + 58
    assert begun(labels, moments_s, fits, Sample()) == enough
    assert begun(labels, moments_s, fits + 1, Sample()) == labels
    assert begun((), moments_s, 1, Sample()) == ()
    assert begun(labels, moments_s, 39, Sample(min_spacing_s=20)) == enough
    assert begun(labels, moments_s, 40, Sample(min_spacing_s=20)) == labels


# -- pictures that were had -----------------------------------------------------------------------------------------


def had(count: int, seed: int = 0) -> NDArray[np.uint8]:
    """Pictures of a game with a frame around it, 18 x 32."""
    lumas = np.random.default_rng(99).integers(0, 90, (1, 18, 32)).repeat(count, axis=0)
    lumas[:, 4:14, 6:26] = np.random.default_rng(seed).integers(0, 90, (count, 10, 20))
    return lumas.astype(np.uint8)


def others(count: int) -> NDArray[np.uint8]:
    return (150 + np.random.default_rng(7).integers(0, 90, (count, 18, 32))).astype(np.uint8)


def stands_out(lumas: NDArray[np.uint8], textures: NDArray[np.float64] | None = None) -> NDArray[np.bool_]:
    """Which of these pictures do, half a minute apart; of no texture if none is given."""
    return standing_out(lumas, np.zeros((len(lumas), 0)) if textures is None else textures, 30.0)


def test_pictures_of_another_kind_stand_out_if_they_are_few() -> None:
    lumas = np.concatenate([had(14), others(5), had(14, 1)])
    found = np.flatnonzero(stands_out(lumas))
    assert {15, 16, 17} <= set(found.tolist()) <= set(range(14, 19))
    two, one = (np.concatenate([had(14), others(count), had(14, 1)]) for count in (2, 1))
    assert np.flatnonzero(stands_out(two)).tolist() == [14, 15]
    assert not stands_out(one).any()
    many = np.concatenate([had(9), others(11), had(9, 1)])
    assert not stands_out(many).any()


def test_pictures_of_another_texture_stand_out_sooner() -> None:
    lumas = had(33)
    lumas[14:19, :2] = others(5)[:, :2]
    assert not stands_out(lumas).any()
    textures = np.random.default_rng(4).normal(0, 0.02, (33, 1))
    assert not stands_out(lumas, textures).any()
    for change in (0.5, -0.5):  # smoother or sharper
        textures[14:19] += change
        assert {15, 16, 17} <= set(np.flatnonzero(stands_out(lumas, textures)).tolist()) <= set(range(14, 19))
        textures[14:19] -= change


def test_where_most_pictures_stand_still_what_stands_out_may_be_the_game() -> None:
    still = np.repeat(others(1), 28, axis=0)
    lumas = np.concatenate([still[:14], had(5), still[14:]])
    assert not stands_out(lumas).any()
    lumas[:14, 4:10], lumas[19:, 4:10] = had(14)[:, 4:10], had(14, 1)[:, 4:10]
    assert stands_out(lumas).any()


def test_of_few_pictures_none_stands_out() -> None:
    enough = np.concatenate([had(7), others(3), had(7, 1)])
    assert stands_out(enough).any()
    lumas = enough[1:16]
    assert len(lumas) < LEAST_SEEN
    assert not stands_out(lumas).any()
    assert not stands_out(lumas[:0]).any()


def test_where_pictures_are_all_of_one_kind_none_stands_out() -> None:
    assert not stands_out(had(40)).any()
    assert not stands_out(others(40)).any()


def test_what_is_idle_already_or_of_no_game_is_not_remembered_as_doubtful() -> None:
    shown = tiles(play(40), waves(10), play(50, seed=1))
    idle = Evidence("1", idle=(Span(395.0, 495.0),))
    assert with_unlike(idle, shown, spans_of((0, 1000, "1")), 1000.0) == idle
    no_game = min(NON_GAMES)
    assert with_unlike(Evidence(no_game), shown, spans_of((0, 1000, no_game)), 1000.0).unlike == ()
    assert with_unlike(Evidence("1"), shown, [], 1000.0).unlike == ()
