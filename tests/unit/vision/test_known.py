"""Known scenes: found by what of them stands, whatever moves before it, or by their colours."""

from __future__ import annotations

import numpy as np
import pytest

from harvester.vision.known import COLOUR_LEVELS, LEAST_PARTS, LEAST_TELLING, PART_LEVELS, SHOWN, exceptions, shows

RNG = np.random.default_rng(7)
CARD = RNG.integers(30, 220, 576).astype(np.uint8)
GAME = RNG.integers(30, 220, 576).astype(np.uint8)


def standing(parts: int) -> np.ndarray:
    return np.arange(576) < parts


@pytest.mark.parametrize(("hidden", "shown"), [(120, True), (121, False)])
def test_a_scene_is_shown_if_most_of_what_stands_is_seen(hidden: int, shown: bool) -> None:
    assert SHOWN == 0.7
    seen = CARD + np.uint8(PART_LEVELS)
    seen[:hidden] += 30
    seen[400:] = GAME[400:]  # what does not stand is not looked at
    assert shows(seen[None], CARD[None], standing(400)).tolist() == [shown]
    assert not shows(CARD[None] + np.uint8(PART_LEVELS + 1), CARD[None], standing(400)).any()


def plain(telling: int) -> np.ndarray:
    """A dark card with so many bright parts."""
    return np.where(np.arange(576) < telling, 200, 30).astype(np.uint8)


@pytest.mark.parametrize(("seen", "shown"), [(0, False), (39, False), (40, True), (100, True)])
def test_of_a_card_of_one_colour_what_is_on_it_must_be_seen(seen: int, shown: bool) -> None:
    picture, card, all_ = plain(seen)[None], plain(100)[None], standing(576)
    assert shows(picture, card, all_).tolist() == [shown]
    assert shows(picture, card, all_, telling=False).all()


def test_a_card_with_next_to_nothing_on_it_is_found_nowhere() -> None:
    for parts, shown in ((LEAST_TELLING - 1, False), (LEAST_TELLING, True)):
        assert shows(plain(parts)[None], plain(parts)[None], standing(576)).tolist() == [shown]
        assert shows(plain(parts)[None], plain(parts)[None], standing(576), telling=False).all()


def test_any_formula_will_do_and_each_picture_is_judged_alone() -> None:
    assert shows(np.array([GAME, CARD]), np.array([GAME[::-1], CARD]), standing(576)).tolist() == [False, True]
    assert shows(np.array([GAME, CARD]), np.array([CARD, GAME[::-1]]), standing(576)).tolist() == [False, True]
    assert not len(shows(np.zeros((0, 576), np.uint8), CARD[None], standing(576)))


def test_where_little_stands_colours_are_compared_wherever_they_are() -> None:
    few, enough = standing(LEAST_PARTS - 1), standing(LEAST_PARTS)
    moved = np.roll(CARD, 100)
    assert shows(moved[None], CARD[None], few).all()
    assert not shows(moved[None], CARD[None], enough).any()
    brighter = moved + np.uint8(int(COLOUR_LEVELS) + 1)
    assert not shows(brighter[None], CARD[None], few).any()


def test_what_a_source_mostly_shows_is_no_exception() -> None:
    sources = np.array([0, 0, 0, 0, 1, 1, 1])
    assert exceptions(np.array([0, 1, 4, 5]), sources).tolist() == [0, 1]
    assert exceptions(np.zeros(0, np.int64), sources).tolist() == []
