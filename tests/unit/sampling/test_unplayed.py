"""Unplayed scenes of a storyboard: what moves on them does not hide them; games that stand still keep theirs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from harvester.model import Label, LabelledSpan, Span
from harvester.sampling import steady
from harvester.sampling import unplayed as limits
from harvester.sampling.labels import Evidence
from harvester.sampling.scene import Scene
from harvester.sampling.storyboard import CELL_COLS, CELL_ROWS, Tiles
from harvester.sampling.unplayed import Unplayed, unplayed, with_unplayed
from tests.unit.sampling.boards import board

INTERVAL_S = 20.0
GAME, SECOND, TALKS = "7", "8", "509658"
LABEL = Label("chapter", 0.9)
Cells = NDArray[np.int16]


def picture(seed: int) -> Cells:
    """A picture like no other, in colours of its own."""
    rng = np.random.default_rng(seed)
    low = rng.integers(0, 150, 3)
    cells: Cells = (low + rng.integers(0, 100, (CELL_ROWS, CELL_COLS, 3))).astype(np.int16)
    return cells


def play(count: int, seed: int = 1) -> list[Cells]:
    return [picture(1000 * seed + number) for number in range(count)]


def scene(count: int, seed: int, moving: float = 0.3) -> list[Cells]:
    """One picture; ``moving``: the share of it that shows something else each time, the same parts."""
    rng = np.random.default_rng(seed)
    hidden = rng.random((CELL_ROWS, CELL_COLS)) < moving
    shown = []
    for number in range(count):
        cells = picture(seed)
        cells[hidden] = picture(seed + 100_000 * (number + 1))[hidden]
        shown.append(cells)
    return shown


def shuffled(count: int, seed: int) -> list[Cells]:
    """The same colours, each time somewhere else."""
    rng = np.random.default_rng(seed)
    return [
        rng.permuted(picture(seed).reshape(-1, 3), axis=0).reshape(CELL_ROWS, CELL_COLS, 3) for _ in range(count)
    ]


def tiles(*pieces: Sequence[Cells], interval_s: float = INTERVAL_S) -> Tiles:
    cells = np.stack([cells for piece in pieces for cells in piece])
    return board(cells, interval_s)


def labelled(*spans: tuple[str, int, int]) -> list[LabelledSpan]:
    """Labelled spans from tile to tile, the last one not among them."""
    return [LabelledSpan(Span(a * INTERVAL_S, b * INTERVAL_S), category, LABEL) for category, a, b in spans]


def found(board: Tiles, *spans: tuple[str, int, int]) -> Unplayed:
    length_s = len(board.moments_s) * board.interval_s
    return unplayed(board, labelled(*(spans or ((GAME, 0, len(board.moments_s)),))), length_s)


def tiles_of(which: Unplayed) -> list[tuple[float, float]]:
    """The spans in tiles, without their margins of half a tile."""
    return [(s.start_s / INTERVAL_S + 0.5, s.end_s / INTERVAL_S - 0.5) for s in which.spans]


@pytest.mark.parametrize("moving", [0.0, 0.2, 0.35])
def test_a_scene_of_which_the_most_stands_is_unplayed(moving: float) -> None:
    which = found(tiles(play(20), scene(8, 5, moving), play(20, 2)))
    assert tiles_of(which) == [(20, 27)]
    (known,) = which.scenes
    hidden = np.random.default_rng(5).random((CELL_ROWS, CELL_COLS)) < moving
    assert not known.standing[hidden].any()
    assert known.standing[1:-1, 1:-1].mean() == pytest.approx(1 - moving, abs=0.06)
    assert not known.standing[[0, -1]].any()
    assert (known.cells[known.standing] == picture(5)[known.standing]).all()


def test_where_too_much_moves_nothing_is_told() -> None:
    assert found(tiles(play(20), scene(8, 5, 0.6), play(20, 2))) == Unplayed()


def test_colours_that_stay_are_a_scene_too_if_they_stay_longer() -> None:
    long = found(tiles(play(20), shuffled(steady.COLOUR_TILES, 5), play(20, 2)))
    assert tiles_of(long) == [(20, 20 + steady.COLOUR_TILES - 1)]
    assert not long.scenes[0].standing.any()
    assert found(tiles(play(20), shuffled(steady.COLOUR_TILES - 1, 5), play(20, 2))) == Unplayed()


def test_a_scene_lasts_a_minute_and_a_half_and_five_tiles() -> None:
    for count, lasts in ((4, False), (5, True)):
        board = tiles(play(20), scene(count, 5), play(20, 2), interval_s=60.0)
        assert bool(unplayed(board, labelled((GAME, 0, 150)), 2700.0).spans) is lasts
    for count, lasts in ((18, False), (19, True)):
        board = tiles(play(40), scene(count, 5, 0.0), play(40, 2), interval_s=5.0)
        assert bool(unplayed(board, labelled((GAME, 0, 99)), 500.0).spans) is lasts
    assert steady.LASTS_S == 90


def test_shorter_scenes_tell_that_a_game_stands_still() -> None:
    views = [cells for n in range(limits.SCENES) for cells in (*scene(13, 20 + n), *play(13, 20 + n))]
    card = scene(20, 5)
    for shown, spans in ((views[26:], 1), (views, 0)):  # two scenes of a minute, and three
        board = tiles(play(40), card, shown, play(60, 2), interval_s=5.0)
        assert len(unplayed(board, labelled((GAME, 0, 99)), 990.0).spans) == spans


def test_one_other_picture_does_not_end_it_and_two_do() -> None:
    shown = scene(12, 5, 0.0)
    assert tiles_of(found(tiles(play(20), shown[:6], play(1, 3), shown[6:], play(20, 2)))) == [(20, 25), (27, 32)]
    halves = tiles(play(20), shown[:4], play(1, 3), shown[4:8], play(20, 2))  # neither would be enough
    assert tiles_of(found(halves)) == [(20, 23), (25, 28)]
    twice = found(tiles(play(20), shown[:6], play(2, 3), shown[6:], play(20, 2)))
    assert tiles_of(twice) == [(20, 25), (28, 33)]
    assert len(twice.scenes) == 1


def test_what_stands_all_over_the_vod_is_an_overlay() -> None:
    framed = play(20) + scene(8, 5, 0.0) + play(20, 2)
    for cells in framed:
        cells[:, :20] = picture(99)[:, :20]
    assert found(tiles(framed)) == Unplayed()  # what is left of the scene is less than half of the picture
    for cells in framed:
        cells[:, 10:20] = picture(int(cells[5, 25, 0]) + 500)[:, 10:20]
    (known,) = found(tiles(framed)).scenes or (None,)
    assert known is not None and not known.standing[:, :10].any()


def test_scenes_are_exceptions() -> None:
    cards = [[*scene(6, 10 + n), *play(12, 10 + n)] for n in range(limits.SCENES + 1)]
    assert len(found(tiles(play(20), *cards[:-1])).scenes) == limits.SCENES
    assert found(tiles(play(20), *cards)) == Unplayed()
    assert found(tiles(scene(21, 5), play(20))) == Unplayed()
    assert found(tiles(scene(19, 5), play(20))).spans


def test_a_game_that_stands_still_keeps_its_scenes() -> None:
    assert found(tiles(*(scene(7, 10 + n, 0.2) for n in range(12)))) == Unplayed()
    for views, spans in ((7, 1), (8, 0)):  # of three tiles, one of which shows the same as both its neighbours
        some = [cells for n in range(views) for cells in scene(4, 50 + n, 0.2)]
        assert len(found(tiles(play(40 - 4 * views), scene(8, 5), some)).spans) == spans
    table = [*scene(50, 5, 0.4)]
    assert found(tiles(table)) == Unplayed()


def test_what_is_usual_is_no_exception_though_another_game_moves_beside_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A table that stands for a while, under a changing light before and after; then something else."""
    light = [(picture(5) + (12 if n % 2 else -12)).astype(np.int16) for n in range(24)]
    board = tiles(light[:12], scene(10, 5, 0.0), light[12:], play(14, 4))
    assert found(board) == Unplayed()
    monkeypatch.setattr(limits, "APART", 0.0)
    assert found(board).spans


def test_what_the_rest_of_the_vod_is_related_to_is_the_games() -> None:
    def related(count: int) -> list[Cells]:
        rest = play(20, 2)
        for cells in rest[:count]:
            cells[1:-1, 1:13] = picture(5)[1:-1, 1:13]  # 0.4 of the cells
        return rest

    most = int(limits.RELATED_SHARE * 40)
    assert found(tiles(play(20), scene(8, 5, 0.0), related(most))).spans
    assert not found(tiles(play(20), scene(8, 5, 0.0), related(most + 1))).spans


def test_each_game_is_judged_on_its_own() -> None:
    still = [cells for n in range(8) for cells in scene(6, 30 + n)]
    board = tiles(play(20), scene(8, 5), play(20, 2), still)
    which = found(board, (GAME, 0, 48), (SECOND, 48, 96))
    assert tiles_of(which) == [(20, 27)]
    assert len(which.scenes) == 1
    assert found(board) == Unplayed()
    again = tiles(play(20), scene(8, 5), play(20, 2), still, scene(8, 5))
    assert tiles_of(found(again, (GAME, 0, 48), (SECOND, 48, 104))) == [(20, 27)]


def test_what_stands_in_no_game_is_remembered_and_left_alone() -> None:
    board = tiles(scene(15, 5), play(12), scene(8, 6), play(32, 2))
    which = found(board, (TALKS, 0, 45), (GAME, 45, 67))
    assert which.spans == ()
    assert len(which.scenes) == 2
    assert len(found(board, (GAME, 0, 67)).spans) == 2


def test_what_goes_on_under_a_game_or_comes_shortly_before_is_that_game() -> None:
    late = int(limits.LATE_S / INTERVAL_S)
    still = [cells for n in range(5) for cells in scene(8, 30 + n)]  # a game that stands, changed late
    board = tiles(scene(12, 5), still)
    for changed, scenes in ((12 + late, 1), (12 + late + 8, 2)):
        assert len(found(board, (TALKS, 0, changed), (GAME, changed, 52)).scenes) == scenes
    hand = scene(8, 6)  # one scene of the game, long before and long after
    again = tiles(scene(12, 5), hand, play(16), hand, still)
    assert len(found(again, (TALKS, 0, 36), (GAME, 36, 84)).scenes) == 1


def test_evidence_gets_what_is_found_beside_what_it_has() -> None:
    board = tiles(play(20), scene(8, 5), play(20, 2))
    labels, known = labelled((GAME, 0, 48)), Evidence(GAME, idle=(Span(0.0, 5.0),))
    more, found_ = with_unplayed(known, board, labels, 960.0), unplayed(board, labels, 960.0)
    assert more.idle == (Span(0.0, 5.0), *found_.spans)
    assert (len(more.scenes), more.listed) == (1, GAME)


def test_nothing_is_told_of_nothing() -> None:
    assert found(tiles(play(1))) == Unplayed()
    assert unplayed(tiles(scene(9, 5)), [], 180.0) == Unplayed()


def test_not_more_is_remembered_than_there_is_room_for() -> None:
    talks = [cells for n in range(limits.REMEMBERED + 2) for cells in scene(6, 40 + n)]
    which = found(tiles(talks, play(20)), (TALKS, 0, len(talks)), (GAME, len(talks) + 10, len(talks) + 20))
    assert len(which.scenes) == limits.REMEMBERED
    assert all(isinstance(one, Scene) for one in which.scenes)


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(5, 24),
    wide=st.integers(5, 18),
    stay=st.integers(1, 8),
    wobble=st.integers(0, 9),
    seed=st.integers(0, 1000),
)
def test_no_steady_window_is_passed_over_unseen(count: int, wide: int, stay: int, wobble: int, seed: int) -> None:
    """What is looked at closely is chosen by a cheaper look, which may be mistaken to one side only."""
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, 3, count)
    shown = [picture(seed if kinds[n // stay] else seed + n // stay) for n in range(count)]
    cells = np.stack(shown)[:, 1:-1, 1:-1].reshape(count, -1, 3).swapaxes(1, 2)
    cells = np.ascontiguousarray(cells + rng.integers(-wobble, wobble + 1, cells.shape)).astype(np.int16)
    free = rng.random(cells.shape[2]) < 0.8
    colours = np.sort(cells[..., free], axis=2)
    may_be = steady._may_be_steady(cells, colours, free, wide)
    assert len(may_be) == max(0, count - wide + 1)
    for start in range(len(may_be)):
        near = steady.Nearness.of(cells, colours, slice(start, start + wide), free)
        assert may_be[start] or near is None
