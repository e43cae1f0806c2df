"""Chapters that are late or early, by what a storyboard shows around their edges."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from harvester.config import Sample
from harvester.model import Category, Chapter, Span
from harvester.sampling import changes
from harvester.sampling.changes import doubted, with_doubts
from harvester.sampling.labels import Evidence, Extent, labelled_spans
from harvester.sampling.looks import Glance, looks_of
from harvester.sampling.storyboard import CELL_COLS, CELL_ROWS, Tiles
from tests.unit.sampling.boards import board
from tests.unit.sampling.test_labels import VOD

INTERVAL_S = 30.0
A, B, C = "1", "2", "3"
#: Darkest level, and how far red and blue are from green, of what a category shows; 0: a break.
COLOURS = {A: (20, 30, -10), B: (110, -20, 30), C: (60, 0, 80), "0": (200, 0, 0)}
Cells = NDArray[np.int16]


def picture(shown: str, seed: int) -> Cells:
    """A picture like no other, in the colours of its category."""
    low, red, blue = COLOURS[shown]
    rng = np.random.default_rng(seed)
    bright = low + rng.integers(0, 60, (CELL_ROWS, CELL_COLS)) + rng.integers(0, 12)
    cells: Cells = np.stack([bright + red, bright, bright + blue], axis=2).astype(np.int16)
    return cells


def tiles(shown: str, interval_s: float = INTERVAL_S) -> Tiles:
    """A tile of the category of each letter."""
    cells = np.stack([picture(letter, number) for number, letter in enumerate(shown)])
    return board(cells, interval_s)


def chapters(*told: tuple[str, int, int]) -> list[tuple[Span, str]]:
    """From tile to tile."""
    return [(Span(a * INTERVAL_S, b * INTERVAL_S), category) for category, a, b in told]


def doubts(board: Tiles, told: Sequence[tuple[Span, str]]) -> tuple[Span, ...]:
    return doubted(Glance(board.moments_s, looks_of(board.cells)), told)


def in_tiles(spans: Sequence[Span]) -> list[tuple[float, float]]:
    return [(span.start_s / INTERVAL_S, span.end_s / INTERVAL_S) for span in spans]


TOLD = chapters((A, 0, 60), (B, 60, 120))


def test_what_is_told_on_time_is_not_doubted() -> None:
    assert doubts(tiles(A * 60 + B * 60), TOLD) == ()


def test_before_a_late_edge_all_is_doubted_up_to_the_last_tile_of_what_was_before() -> None:
    assert in_tiles(doubts(tiles(A * 50 + B * 70), TOLD)) == [(49, 60)]


def test_after_an_early_edge_all_is_doubted_up_to_the_first_tile_of_what_comes() -> None:
    assert in_tiles(doubts(tiles(A * 70 + B * 50), TOLD)) == [(60, 70)]


def test_a_break_at_the_edge_does_not_hide_a_change() -> None:
    assert in_tiles(doubts(tiles(A * 48 + B * 6 + "0" * 6 + B * 60), TOLD)) == [(47, 60)]
    assert in_tiles(doubts(tiles(A * 60 + "0" * 6 + A * 6 + B * 48), TOLD)) == [(60, 72)]
    assert doubts(tiles(A * 54 + "0" * 12 + B * 54), TOLD) == ()


def test_what_looks_like_what_comes_counts_against_what_looks_like_what_was() -> None:
    some = A * 50 + B * 3 + A * 3 + B * 4
    assert in_tiles(doubts(tiles(some + B * 60), TOLD)) == [(55, 60)]  # the other three weigh no more than the A
    more = A * 44 + B * 8 + A * 3 + B * 5
    assert in_tiles(doubts(tiles(more + B * 60), TOLD)) == [(43, 60)]
    assert doubts(tiles(A * 50 + B * 4 + A * 6 + B * 60), TOLD) == ()


def test_a_change_is_looked_for_in_the_outer_thirds_and_no_farther_than_a_quarter_of_an_hour() -> None:
    short = chapters((A, 0, 30), (B, 30, 60))
    assert in_tiles(doubts(tiles(A * 15 + B * 45), short)) == []  # two thirds of the middle are A: not learnt
    assert in_tiles(doubts(tiles(A * 20 + B * 40), short)) == [(20, 30)]
    long = chapters((A, 0, 120), (B, 120, 240))
    for late in (10, 20, 30, 34):
        span = Span((120 - late) * INTERVAL_S, 120 * INTERVAL_S)
        ((start, end),) = in_tiles(doubts(tiles(A * (120 - late) + B * (120 + late)), long))
        assert (start, end) == (max(119 - late, 120 - changes.FAR_S / INTERVAL_S), 120), span


def test_categories_that_look_alike_are_left_alone() -> None:
    alike = tiles(A * 120)
    assert doubts(alike, TOLD) == ()
    mixed = "".join(A if number % 2 else B for number in range(60))
    assert doubts(tiles(mixed[:50] + B * 70), TOLD) == ()


def test_of_too_few_tiles_nothing_is_learnt() -> None:
    for count, found in ((4, []), (5, [(10, 15)])):  # tiles in the middle of the second chapter
        told = chapters((A, 0, 15), (B, 15, 15 + 3 * count))
        assert in_tiles(doubts(tiles(A * 10 + B * (5 + 3 * count)), told)) == found


def test_a_category_is_learnt_from_all_its_chapters() -> None:
    told = chapters((A, 0, 60), (B, 60, 66), (A, 66, 126), (B, 126, 144))
    shown = tiles(A * 55 + B * 11 + A * 60 + B * 18)
    assert in_tiles(doubts(shown, told)) == [(54, 60)]


def test_only_the_neighbour_chapters_count() -> None:
    told = chapters((A, 0, 60), (B, 60, 120), (C, 120, 180))
    assert doubts(tiles(A * 50 + C * 10 + B * 60 + C * 60), told) == ()
    assert in_tiles(doubts(tiles(A * 60 + B * 50 + C * 70), told)) == [(109, 120)]


def test_without_two_categories_there_is_no_edge() -> None:
    assert doubts(tiles(A * 60 + B * 60), chapters((A, 0, 60), (A, 60, 120))) == ()
    assert doubts(tiles(A * 60), []) == ()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([A, B, C, "0"]), st.integers(1, 40)), min_size=1, max_size=6), st.data())
def test_guards_are_only_widened_and_never_past_the_bound(
    shown: list[tuple[str, int]], data: st.DataObject
) -> None:
    letters = "".join(letter * count for letter, count in shown)
    inner = data.draw(st.lists(st.integers(1, max(1, len(letters) - 1)), max_size=3, unique=True))
    edges = sorted({0, *inner, len(letters)})
    told = [(data.draw(st.sampled_from([A, B, C])), first, last) for first, last in pairwise(edges)]
    found = doubts(tiles(letters), chapters(*told))
    for one, other in pairwise(found):
        assert one.end_s < other.start_s
    borders = [number * INTERVAL_S for number in edges]
    for span in found:
        assert span.length_s > 0
        inside = [border for border in borders if span.start_s <= border <= span.end_s]
        assert inside, "it lies at an edge"
        assert span.start_s >= min(inside) - changes.FAR_S
        assert span.end_s <= max(inside) + changes.FAR_S


def test_doubted_stretches_give_no_frames_of_any_category() -> None:
    told = tuple(Chapter(span, Category(category, category)) for span, category in TOLD)
    evidence, extent = Evidence(A, told), Extent(3600.0, ended=True)
    wider = with_doubts(evidence, tiles(A * 50 + B * 70), extent)
    assert in_tiles(wider.doubted) == [(49, 60)]
    spans = [(s.category_id, s.span.start_s, s.span.end_s) for s in labelled_spans(VOD, wider, extent, Sample())]
    assert spans == [(A, 90, 49 * INTERVAL_S), (B, 1890, 3510)]
    assert with_doubts(Evidence(A), tiles(A * 50 + B * 70), extent).doubted == ()


@pytest.mark.parametrize("interval_s", [12.0, 60.0, 219.0])
def test_the_doubt_goes_to_the_tile_before_whatever_lies_between_tiles(interval_s: float) -> None:
    board = tiles(A * 50 + B * 70, interval_s)
    told = [(Span(0.0, 53.5 * interval_s), A), (Span(53.5 * interval_s, 120 * interval_s), B)]
    (span,) = doubts(board, told)
    start_s = max(49 * interval_s, 53.5 * interval_s - changes.FAR_S)
    assert (span.start_s, span.end_s) == (start_s, 53.5 * interval_s)
