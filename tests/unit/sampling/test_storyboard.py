"""Storyboards: what stands still is left out on strong evidence alone, and targets go to what looks different."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise, takewhile

import numpy as np
import pytest
from numpy.typing import NDArray

from harvester.config import Sample
from harvester.model import Label, LabelledSpan, Span
from harvester.sampling.edges import POINT_COLS, POINT_ROWS
from harvester.sampling.storyboard import (
    CELL_COLS,
    CELL_ROWS,
    LEAST_BITS,
    RETURN_S,
    Tiles,
    busy,
    cell_means,
    idle_spans,
    log_detail,
)
from harvester.sampling.texture import RATIOS
from harvester.sampling.variety import chosen_moments, varied_order
from tests.unit.sampling.boards import board

INTERVAL_S = 60.0
LABEL = Label("chapter", 0.9)
SAMPLE = Sample(min_spacing_s=4)
Cells = NDArray[np.int16]


def picture(seed: int) -> Cells:
    """A picture like no other."""
    cells: Cells = np.random.default_rng(seed).integers(0, 255, (CELL_ROWS, CELL_COLS, 3)).astype(np.int16)
    return cells


def play(count: int, seed: int = 0) -> list[Cells]:
    return [picture(1000 * (seed + 1) + number) for number in range(count)]


def card(count: int, seed: int = 1, changing: int = 0) -> list[Cells]:
    """A still picture; ``changing`` cells of it are another colour each time."""
    rng = np.random.default_rng(seed)
    shown = []
    for number in range(count):
        cells = picture(seed)
        cells[1, 1 : 1 + changing] = rng.integers(0, 255, (changing, 3)) if number else 0
        shown.append(cells)
    return shown


def tiles(*pieces: list[Cells], interval_s: float = INTERVAL_S) -> Tiles:
    cells = np.stack([cells for piece in pieces for cells in piece])
    return board(cells, interval_s)


def idle(*pieces: list[Cells], interval_s: float = INTERVAL_S, length_s: float | None = None) -> list[tuple]:
    shown = tiles(*pieces, interval_s=interval_s)
    length_s = len(shown.moments_s) * interval_s if length_s is None else length_s
    return [(span.start_s, span.end_s) for span in idle_spans(shown, length_s)]


def test_a_cell_is_the_mean_of_its_pixels() -> None:
    rng = np.random.default_rng(5)
    for height, width in ((90, 160), (124, 220), (18, 32), (91, 163)):
        image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        cells = cell_means(image)
        for row, col in ((0, 0), (4, 7), (17, 31)):
            top, bottom = row * height // 18, (row + 1) * height // 18
            left, right = col * width // 32, (col + 1) * width // 32
            expected = image[top:bottom, left:right].reshape(-1, 3).mean(axis=0)
            assert cells[row, col].tolist() == np.floor(expected).tolist()


def test_play_is_never_idle() -> None:
    assert idle(play(50)) == []


@pytest.mark.parametrize("changing", [0, 1, 28])
def test_a_card_at_the_beginning_is_idle_also_with_a_clock(changing: int) -> None:
    assert idle(card(5, changing=changing), play(20)) == [(0.0, 4 * 60 + 30.0)]


@pytest.mark.parametrize("shown", [card(5, changing=29), card(4), play(5)])
def test_what_changes_more_or_is_seen_less_often_is_not(shown: list[Cells]) -> None:
    assert idle(shown, play(20)) == []


def test_a_picture_dithering_like_a_codec_is_still() -> None:
    rng = np.random.default_rng(3)
    shown = [cells + rng.integers(-2, 3, cells.shape).astype(np.int16) for cells in card(5)]
    assert idle(shown, play(20)) == [(0.0, 270.0)]


def test_a_card_at_the_end_is_idle_if_the_vod_ends_there() -> None:
    assert idle(play(20), card(5)) == [(20 * 60 - 30.0, 24 * 60 + 30.0)]
    assert idle(play(20), card(5), length_s=math.inf) == []


def test_in_the_middle_a_still_picture_may_be_a_game_unless_it_returns() -> None:
    apart = int(RETURN_S / INTERVAL_S)
    assert idle(play(10), card(30), play(40, 1)) == []
    assert idle(play(10), card(5), play(apart - 2, 1), card(5), play(30, 2)) == []
    found = idle(play(10), card(5), play(apart - 1, 1), card(5), play(30, 2))
    assert found == [(570.0, 870.0), (570.0 + 240 + RETURN_S, 870.0 + 240 + RETURN_S)]
    assert idle(play(10), card(5), play(apart, 1), card(5, seed=2), play(30, 2)) == []


def moved(table: Cells, moves: int) -> Cells:
    """The picture after so many moves, each of which changes a block of 3 x 4 cells for good."""
    after = table.copy()
    for move in range(moves):
        top, left = 1 + 3 * (move % 5), 1 + 4 * (move // 5 % 7)
        after[top : top + 3, left : left + 4] = 255 - after[top : top + 3, left : left + 4]
    return after


@pytest.mark.parametrize("tiles_a_move", [1, 2, 4])
def test_a_game_of_few_moves_is_not_idle_not_even_at_the_ends(tiles_a_move: int) -> None:
    shown = [moved(picture(1), number // tiles_a_move) for number in range(60)]
    assert idle(shown) == []


def test_a_picture_that_hardly_changes_does_not_return() -> None:
    """Something else must have been in between, not only time."""
    shown = [moved(picture(1), number // 12) for number in range(60)]
    assert idle(play(10), shown, play(60, 1)) == []


def test_a_short_stretch_is_not_idle_however_often_it_is_seen() -> None:
    assert idle(card(14), play(40), interval_s=4.0) == []
    assert idle(card(16), play(40), interval_s=4.0) == [(0.0, 62.0)]


@pytest.mark.parametrize("colour", [0, 1, 2])
def test_what_changes_in_one_colour_has_changed(colour: int) -> None:
    def stays(cells_changing: int) -> list[Cells]:
        shown = [cells % 200 for cells in card(5)]
        for cells in shown[1::2]:
            cells[1, 1 : 1 + cells_changing, colour] += 50
        return shown

    assert idle(stays(28), play(20)) == [(0.0, 270.0)]
    assert idle(stays(29), play(20)) == []


@pytest.mark.parametrize("count", [6, 20, 21, 25, 26, 99, 105])
def test_however_long_a_picture_stays_all_of_it_is_one_stretch(count: int) -> None:
    assert idle(card(count), play(count + 5)) == [(0.0, (count - 1) * INTERVAL_S + 30.0)]


def test_what_is_a_little_different_is_no_other_picture() -> None:
    dark = picture(1) % 200
    shown = tiles([dark], play(1), [(dark + 10).astype(np.int16)])
    assert list(varied_order(shown, range(3), 0)) == [0, 1, 2]


def test_a_few_cells_are_a_few_over_all_of_a_stretch() -> None:
    """In each tile another cell is a little different: 28 of them, and no more, are one picture."""
    shown = []
    for number in range(60):
        cells = card(1)[0] % 200
        if number:
            row, col = divmod(number, 30)
            cells[1 + row, 1 + col] += 10
        shown.append(cells)
    assert idle(shown[:29], play(40)) == idle(shown, play(70)) == [(0.0, 28 * INTERVAL_S + 30.0)]


@pytest.mark.parametrize(
    "blank", [np.full((CELL_ROWS, CELL_COLS, 3), 11, np.int16), np.full((CELL_ROWS, CELL_COLS, 3), 200, np.int16)]
)
def test_blank_tiles_are_idle_wherever_they_are_but_not_alone(blank: Cells) -> None:
    assert idle(play(10), [blank] * 2, play(10, 1)) == [(570.0, 690.0)]
    assert idle(play(10), [blank], play(10, 1)) == []


def test_a_dark_scene_is_not_blank() -> None:
    dark = [(cells // 12).astype(np.int16) for cells in play(4, 7)]  # levels up to 21
    assert idle(play(10), dark, play(10, 1)) == []


def test_a_storyboard_that_shows_nothing_but_stillness_is_not_believed() -> None:
    assert idle(card(40)) == []
    assert idle(card(21), play(19)) == []
    assert idle(card(19), play(21)) == [(0.0, 18 * 60 + 30.0)]


def test_less_than_two_tiles_tell_nothing() -> None:
    assert idle(play(1)) == []


def test_idle_stretches_are_cut_out_of_labels() -> None:
    labels = (LabelledSpan(Span(0, 100), "1", LABEL), LabelledSpan(Span(200, 300), "1", LABEL))
    left = busy(labels, (Span(50, 250), Span(260, 270)))
    assert [(within.span.start_s, within.span.end_s) for within in left] == [(0, 50), (250, 260), (270, 300)]
    assert busy(labels, ()) == labels


def test_the_order_takes_other_pictures_first_then_other_times() -> None:
    shown = tiles(card(4, seed=1), card(4, seed=2), card(4, seed=3))
    order = list(varied_order(shown, range(12), first=0))
    assert sorted(order) == list(range(12))
    assert {number // 4 for number in order[:3]} == {0, 1, 2}
    assert order[:4] == [0, 11, 5, 8]  # other pictures, as far in time as they can be; then times alone


def test_a_strange_picture_is_not_preferred_to_an_ordinary_one() -> None:
    """A white picture is farther from all others than they are from each other, and yet it waits for its time."""
    plain = [(100 + cells // 4).astype(np.int16) for cells in play(32)]
    plain[5] = np.full_like(plain[5], 255)
    order = list(varied_order(tiles(plain), range(32), first=0))
    assert order[:3] == [0, 31, 15]
    assert order.index(5) >= 4


def chosen(shown: Tiles, limit: int, labels: list[LabelledSpan] | None = None, sample: Sample = SAMPLE) -> tuple:
    moments_s = [10.0 * number for number in range(200)]
    spans = labels or [LabelledSpan(Span(0, 2000), "1", LABEL)]
    return chosen_moments(("vod", "1"), shown, moments_s, spans, limit=limit, sample=sample)


def test_as_many_moments_as_wanted_are_chosen_inside_the_labels_and_apart() -> None:
    spans = [LabelledSpan(Span(300, 900), "1", LABEL)]
    found = chosen(tiles(play(30)), 10, spans)
    assert len(found) == len(set(found)) == 10
    assert all(300 <= moment_s < 900 and moment_s % 60 == 0 for moment_s in found)
    assert chosen(tiles(play(30)), 10, spans) == found
    assert chosen(tiles(play(30)), 11, spans) == ()  # of ten tiles
    assert chosen(tiles(play(30)), 0, spans) == ()
    gaps = [b - a for a, b in pairwise(sorted(chosen(tiles(play(30)), 8, sample=Sample(min_spacing_s=100))))]
    assert min(gaps) >= 100


def test_a_tile_stands_for_the_picture_nearest_to_it() -> None:
    found = chosen(tiles(play(30), interval_s=54.0), 30)
    assert sorted(found) == [float(10 * round(54 * number / 10 - 0.01)) for number in range(30)]


def test_two_tiles_of_one_picture_make_one_target() -> None:
    found = chosen(tiles(play(30), interval_s=4.0), 13)
    assert sorted(found) == [10.0 * number for number in range(13)]


def test_what_repeats_is_chosen_once_before_it_is_chosen_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harvester.sampling.doubt.LEVELS", (99.0,) * 3)  # else what moves comes last
    found = chosen(tiles(card(10, seed=1), play(10), card(10, seed=1)), 11)
    still = [moment_s for moment_s in found if not 600 <= moment_s < 1200]
    assert len(still) == 1


def test_a_lively_stretch_of_a_calm_vod_gets_three_times_its_share_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("harvester.sampling.doubt.LEVELS", (99.0,) * 3)  # else it comes last
    shown = tiles(card(60, seed=1), play(20), card(20, seed=1), interval_s=20.0)
    found = chosen(shown, 20)
    lively = [moment_s for moment_s in found if 1200 <= moment_s < 1600]
    assert len(found) == 20
    assert 5 <= len(lively) <= 12  # of 20, in a fifth of the time
    assert min(b - a for a, b in pairwise(sorted(found))) >= 2000 / 60


def test_moments_that_are_crowded_come_after_all_others() -> None:
    shown = tiles(card(4, seed=1), play(4), card(4, seed=1), interval_s=10.0)
    order = list(varied_order(shown, range(12), first=0, apart_s=20.0))
    assert sorted(order) == list(range(12))
    spaced = list(
        takewhile(lambda place: all(abs(order[place] - other) >= 2 for other in order[:place]), range(12))
    )
    assert 4 <= len(spaced) < 8
    assert list(varied_order(shown, range(12), first=0, apart_s=10.0)) == list(varied_order(shown, range(12), 0))


def test_tiles_without_their_moments_cannot_be_made() -> None:
    cells = np.zeros((1, CELL_ROWS, CELL_COLS, 3), np.int16)
    lumas = np.zeros((1, POINT_ROWS, POINT_COLS), np.uint8)
    textures = np.zeros((1, RATIOS))
    assert Tiles((0.0,), 1.0, cells, np.zeros(1), lumas, textures).moments_s == (0.0,)
    for given in (
        (cells[[0, 0]], np.zeros(1), lumas, textures),
        (cells, np.zeros(2), lumas, textures),
        (cells, np.zeros(1), lumas[:, 1:], textures),
        (cells, np.zeros(1), lumas, textures[:, 1:]),
    ):
        with pytest.raises(ValueError, match="of 1 moments"):
            Tiles((0.0,), 1.0, *given)


# -- detail -------------------------------------------------------------------------------------------------------


def test_detail_follows_what_is_to_be_seen_and_knows_no_brightness() -> None:
    rng = np.random.default_rng(5)
    noise = rng.integers(0, 60, (90, 160, 3), dtype=np.uint8)
    flat, coarse = np.full_like(noise, 90), noise[::3, ::3].repeat(3, axis=0).repeat(3, axis=1)
    assert log_detail(flat) == math.log(LEAST_BITS)
    assert log_detail(flat) < log_detail(coarse) < log_detail(noise)
    assert log_detail(noise + np.uint8(100)) == pytest.approx(log_detail(noise))


def test_detail_between_tiles_lies_between_theirs_and_is_relative() -> None:
    cells = np.zeros((3, CELL_ROWS, CELL_COLS, 3), np.int16)
    tiles = board(cells, 10.0, np.array([1.0, 3.0, 2.0]))
    found = [tiles.detail_at(moment_s) for moment_s in (-5, 0, 5, 10, 18, 20, 99)]
    assert found == pytest.approx([-1, -1, 0, 1, 0.2, 0, 0])


def test_detail_is_interpolated_as_numpy_does() -> None:
    rng = np.random.default_rng(9)
    moments_s, details = np.sort(rng.uniform(0, 900, 40)), rng.normal(size=40)
    cells = np.zeros((40, CELL_ROWS, CELL_COLS, 3), np.int16)
    tiles = replace(board(cells, 20.0, details), moments_s=tuple(moments_s.tolist()))
    asked = [-1.0, 901.0, *moments_s.tolist(), *rng.uniform(-10, 910, 200).tolist()]
    expected = np.interp(asked, moments_s, details) - details.mean()
    assert [tiles.detail_at(moment_s) for moment_s in asked] == pytest.approx(expected.tolist(), abs=1e-12)
