"""Another game of a broadcaster in the middle of a VOD that tells nothing of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harvester.model import Category, Chapter, Span
from harvester.sampling import untold as limits
from harvester.sampling.labels import Evidence
from harvester.sampling.looks import WIDTH, Glance, looks_of
from harvester.sampling.untold import Board, Untold, untold
from tests.unit.sampling.test_changes import INTERVAL_S, A, B, C, tiles


def glance(shown: str, seed: int = 0, interval_s: float = INTERVAL_S) -> Glance:
    """A tile of the category of each letter, unlike those of another ``seed``."""
    board = tiles("0" * seed + shown, interval_s)
    return Glance(board.moments_s[: len(shown)], looks_of(board.cells[seed:]))


def board(source_id: str, told: str, shown: str, seed: int = 0, **fields: object) -> Board:
    """A VOD of one category, as Twitch tells it."""
    known = Board.of(source_id, Evidence(told, (), told, glance=glance(shown, seed), **fields))  # type: ignore[arg-type]
    assert known is not None
    return known


OTHER = board("other", B, B * 90, 500)


def in_tiles(found: tuple[Untold, ...]) -> list[tuple[str, float, float, str, str]]:
    return [
        (one.source_id, one.span.start_s / INTERVAL_S, one.span.end_s / INTERVAL_S, one.told, one.shown)
        for one in found
    ]


def test_a_stretch_of_another_game_is_found_with_what_lies_beside_it() -> None:
    mixed = board("mixed", A, A * 50 + B * 10 + A * 40)
    assert in_tiles(untold([mixed, OTHER])) == [("mixed", 49, 60, A, B)]
    assert in_tiles(untold([OTHER, mixed])) == [("mixed", 49, 60, A, B)]


def test_the_other_game_must_be_told_somewhere() -> None:
    mixed = board("mixed", A, A * 50 + B * 10 + A * 40)
    assert untold([mixed]) == ()
    assert untold([mixed, board("third", C, C * 90, 500)]) == ()
    assert untold([]) == ()


def test_nothing_is_found_where_all_is_as_told() -> None:
    assert untold([board("1", A, A * 100), OTHER, board("3", C, C * 70, 300)]) == ()


def test_a_whole_vod_is_found_if_others_show_what_it_is_told_to_be() -> None:
    wrong = board("wrong", A, B * 40)
    assert untold([wrong, OTHER]) == ()
    right = board("right", A, A * 90, 200)
    assert in_tiles(untold([right, wrong, OTHER])) == [("wrong", 0, np.inf, A, B)]


def test_games_that_look_alike_are_left_alone() -> None:
    half = board("half", A, A * 45 + B * 55)
    assert untold([half, OTHER]) == ()
    assert untold([board("half", A, A * 60 + B * 40), OTHER]) != ()


def test_look_alikes_come_again_and_again() -> None:
    twice = board("twice", A, A * 40 + B * 6 + A * 20 + B * 6 + A * 40)
    assert untold([twice, OTHER]) == ()


@pytest.mark.parametrize(("shown", "found"), [(3, 0), (4, 1)])
def test_a_stretch_lasts_four_tiles(shown: int, found: int) -> None:
    mixed = board("mixed", A, A * 50 + B * shown + A * 40)
    assert len(untold([mixed, OTHER])) == found == (shown >= limits.LASTS_TILES)


def test_a_stretch_lasts_a_minute_and_a_half() -> None:
    for interval_s, found in ((12.0, 0), (13.0, 1)):  # eight tiles
        mixed = Evidence(A, (), A, glance=glance(A * 50 + B * 8 + A * 40, interval_s=interval_s))
        board_ = Board.of("mixed", mixed)
        assert board_ is not None
        assert len(untold([board_, OTHER])) == found


def test_a_few_other_tiles_do_not_end_it() -> None:
    some = board("mixed", A, A * 50 + B * 3 + "0" * limits.GAP_TILES + B * 3 + A * 40)
    assert in_tiles(untold([some, OTHER])) == [("mixed", 49, 59, A, B)]
    more = board("mixed", A, A * 50 + B * 3 + "0" * (limits.GAP_TILES + 1) + B * 3 + A * 40)
    assert untold([more, OTHER]) == ()


def test_what_was_told_wrongly_does_not_make_the_other_game_look_wrong() -> None:
    mixed = board("mixed", A, A * 50 + B * 20 + A * 30)
    third = board("third", C, C * 40 + A * 8 + C * 42, 250)
    found = in_tiles(untold([mixed, third, OTHER]))
    assert found == [("mixed", 49, 70, A, B), ("third", 39, 48, C, A)]


def test_what_two_games_show_alike_is_nobodys() -> None:
    levels = board("1", A, A * 50 + C * 10 + A * 40), board("2", B, B * 50 + C * 10 + B * 40, 300)
    assert untold(levels) == ()


def test_what_lies_near_an_end_teaches_nothing() -> None:
    late = board("late", A, A * 90 + C * 10), board("2", B, B * 50 + C * 10 + B * 40, 300)
    assert in_tiles(untold(late)) == [("late", 89, np.inf, A, B)]


def flat(source_id: str, told: str, *levels: tuple[int, int]) -> Board:
    """So many tiles of one level each."""
    shown = [level for level, count in levels for _ in range(count)]
    looks = np.repeat(np.array(shown, np.int8)[:, None], WIDTH, axis=1)
    moments_s = tuple(INTERVAL_S * number for number in range(len(shown)))
    known = Board.of(source_id, Evidence(told, glance=Glance(moments_s, looks)))
    assert known is not None
    return known


def test_what_shows_the_same_in_another_coding_is_near() -> None:
    other = flat("other", B, (60, 90))
    for level, found in ((64, 1), (65, 0)):
        assert len(untold([flat("mixed", A, (0, 50), (level, 10), (0, 40)), other])) == found


@pytest.mark.parametrize(("level", "found"), [(2, 1), (12, 1), (13, 0), (14, 0)])
def test_a_stretch_is_nearer_the_other_game_than_the_told_one_is(level: int, found: int) -> None:
    """The told game lies 40 from the other one, of which nothing is nearer to anything than 14."""
    told = flat("told", A, (40, 50), (level, 10), (40, 40))
    many = ((away, 1) for away in (-56, -14, -70, -28, 0, -84, -42, -98, -126, -112))
    other = flat("other", B, (-127, 10), *many, (-127, 10))
    assert len(untold([told, other])) == found


def test_what_lies_near_an_end_does_not_make_a_stretch_its_games_own() -> None:
    other = flat("other", B, (60, 90))
    at_the_end = flat("mixed", A, (0, 50), (64, 10), (0, 20), (65, 20))
    assert len(untold([at_the_end, other])) == 1
    earlier = flat("mixed", A, (0, 35), (65, 15), (64, 10), (0, 40))
    assert untold([earlier, other]) == ()


def test_chapters_and_doubts_tell_each_tile() -> None:
    told = tuple(
        Chapter(Span(first * INTERVAL_S, last * INTERVAL_S), category)
        for first, last, category in ((0, 40, Category(A, "A")), (40, 60, None), (60, 100, Category(B, "B")))
    )
    evidence = Evidence(A, told, glance=glance(A * 100), doubted=(Span(30 * INTERVAL_S, 40 * INTERVAL_S),), game=C)
    known = Board.of("1", evidence)
    assert known is not None
    assert "".join(letter or "-" for letter in known.told) == A * 30 + "-" * 30 + B * 40
    third = 40 // 3 + 1
    assert known.sure.nonzero()[0].tolist() == [*range(third, 40 - third + 1), *range(60 + third, 101 - third)]


def test_without_chapters_the_vods_own_category_is_told_else_the_listed_one() -> None:
    for evidence, told in ((Evidence(A, (), B), B), (Evidence(A), A), (Evidence(None), "")):
        known = Board.of("1", Evidence(evidence.listed, evidence.chapters, evidence.game, glance=glance(A * 9)))
        assert known is not None
        assert set(known.told) == {told}
        assert known.tells_more(board("1", A, A * 8)) is bool(told)
    assert Board.of("1", Evidence(A)) is None


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([A, B, C]),
            st.lists(st.tuples(st.sampled_from([A, B, C, "0"]), st.integers(1, 40)), min_size=1, max_size=4),
        ),
        max_size=4,
    )
)
def test_what_is_found_is_told_otherwise_and_of_the_minority(
    vods: list[tuple[str, list[tuple[str, int]]]],
) -> None:
    boards = [
        board(str(number), told, "".join(letter * count for letter, count in shown), 200 * number)
        for number, (told, shown) in enumerate(vods)
    ]
    found = untold(boards)
    assert found == untold(boards)
    for one in found:
        its = boards[int(one.source_id)]
        assert one.told == its.told[0] != one.shown
        assert any(other.told[0] == one.shown for other in boards)
        inside = [moment_s for moment_s in its.glance.moments_s if moment_s in one.span]
        assert inside[-1] - inside[0] >= limits.LASTS_S


def test_a_board_is_told_of_each_tile() -> None:
    with pytest.raises(ValueError, match="each tile"):
        Board("1", glance(A * 9), (A,) * 8, np.ones(9, np.bool_))
    with pytest.raises(ValueError, match="8 moments"):
        Glance((0.0,) * 8, glance(A * 9).looks)
