"""Which pictures recur, and which stand under two labels, on literal sightings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from harvester.vision import recurring as module
from harvester.vision.measure import measure, thumbnail
from harvester.vision.recurring import (
    ALIKE_TILES,
    COMPARED,
    TILE_LEVELS,
    Sightings,
    pairs_of_labels,
    recurring,
    shown_elsewhere,
    yielding,
)
from tests.unit.vision.conftest import gray_picture

CARD = np.random.default_rng(1).integers(20, 200, 576).astype(np.uint8)


@dataclass(frozen=True)
class Seen:
    label: int
    source: int
    day: int
    picture: NDArray[np.uint8]


def game(seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(100 + seed).integers(20, 200, 576).astype(np.uint8)


def animated(phase: int) -> NDArray[np.uint8]:
    """The card with another tenth of it in motion, and coding noise everywhere."""
    picture = CARD + np.random.default_rng(phase).integers(0, TILE_LEVELS, 576).astype(np.uint8)
    moving = slice(32 + 10 * (phase % 3), 32 + 10 * (phase % 3) + 57)
    picture[moving] = game(phase)[moving]
    return picture


def board(skin: int, moment: int) -> NDArray[np.uint8]:
    """A game that stands still: at any two moments a tenth of it at most differs, other skins differ in all of it."""
    picture = game(1000 + skin)
    picture[:40] = game(moment)[:40]
    return picture


def found(*seen: Seen, apart: bool = True) -> dict[int, str]:
    columns = [
        np.array(column, np.int64) for column in zip(*((s.label, s.source, s.day) for s in seen), strict=True)
    ]
    sightings = Sightings(*columns, np.array([s.picture for s in seen], np.uint8))
    return {number: why for number, why, _ in recurring(sightings, np.arange(len(seen)), apart=apart)}


def test_a_card_is_in_three_sources_on_two_days() -> None:
    cards = [Seen(0, source, source // 2, animated(source)) for source in range(3)]
    assert found(*cards, Seen(0, 9, 0, game(9))) == {0: "sources", 1: "sources", 2: "sources"}
    assert found(*cards[1:], Seen(0, 9, 0, game(9))) == {}
    assert found(*(Seen(0, source, 5, animated(source)) for source in range(3))) == {}
    assert found(*(Seen(0, 1, day, animated(day)) for day in range(3))) == {}


def test_two_labels_are_enough() -> None:
    assert found(Seen(0, 1, 1, animated(1)), Seen(1, 1, 1, animated(2))) == {0: "labels", 1: "labels"}
    assert found(Seen(0, 1, 1, animated(1)), Seen(1, 1, 1, game(1))) == {}


def moved(skin: int, moment: int) -> NDArray[np.uint8]:
    """The board when three quarters of it have changed."""
    picture = board(skin, moment)
    picture[144:] = game(500 + moment)[144:]
    return picture


def test_a_board_that_goes_on_in_every_vod_is_no_card_and_a_card_among_it_is() -> None:
    boards = [Seen(0, source, source, board(0, 10 * source + k)) for source in range(3) for k in range(3)]
    later = [Seen(0, source, source, moved(0, 10 * source + k)) for source in range(3) for k in range(4)]
    cards = [Seen(0, source, source, animated(source)) for source in range(3)]
    assert found(*boards, *later, apart=False) == dict.fromkeys(range(9), "sources")
    assert found(*boards, *later) == {}
    assert found(*boards, *later, *cards) == dict.fromkeys((21, 22, 23), "sources")


def test_what_a_source_shows_most_of_the_time_is_no_card() -> None:
    """... though the few other moments of it are of something else."""
    boards = [Seen(0, source, source, board(0, 10 * source + k)) for source in range(3) for k in range(4)]
    others = [Seen(0, source, source, game(10 * source + k)) for source in range(3) for k in range(4)]
    assert set(found(*boards, *others)) == set(range(12))  # half of the time
    assert found(*boards, *others[1:4], *others[5:8], *others[9:]) == {}


def test_a_board_moves_on_until_it_looks_unlike_itself_and_is_related_all_the_same() -> None:
    """Of 576 tiles 60 stand throughout, the frame of a game, and some moments of each VOD are alike."""
    frame = game(2000)[:60]

    def framed(seed: int) -> NDArray[np.uint8]:
        picture = game(3000 + seed)
        picture[:60] = frame
        return picture

    seen = [
        Seen(0, source, source, framed(k))
        for source in range(3)
        for k in (0, *range(10 * source + 1, 10 * source + 6))
    ]
    assert set(found(*seen, apart=False)) == {0, 6, 12}
    assert found(*seen) == {}


def test_where_a_source_shows_nothing_else_its_label_is_looked_at() -> None:
    """Clips of a board, and of a card, each wholly of it."""
    clips = [Seen(0, source, source, board(0, 10 * source + k)) for source in range(3) for k in range(2)]
    skins = [Seen(0, 9, 9, picture) for picture in (board(0, 77), *map(game, range(3)))]
    assert found(*clips, *skins) == dict.fromkeys(range(7), "sources")
    assert found(*clips, *skins[1:], Seen(0, 8, 8, moved(0, 1)), Seen(0, 7, 7, moved(0, 2))) == {}


@pytest.mark.parametrize(("differing", "alike"), [(576 - ALIKE_TILES, True), (577 - ALIKE_TILES, False)])
def test_pictures_are_alike_by_their_tiles(differing: int, alike: bool) -> None:
    other = CARD.copy() + np.uint8(TILE_LEVELS)
    other[:differing] += 1
    assert bool(found(Seen(0, 1, 1, CARD), Seen(1, 1, 1, other))) is alike
    assert bool(found(Seen(0, 1, 1, other), Seen(1, 1, 1, CARD))) is alike


def test_among_many_sightings_cards_are_found_too_in_any_order() -> None:
    n = COMPARED * 3
    cards = {n // 3: 0, n // 2: 1, n - 2: 2}
    seen = [
        Seen(0, cards[k], cards[k], animated(cards[k])) if k in cards else Seen(0, k % 50, k % 7, game(k))
        for k in range(n)
    ]
    assert found(*seen) == dict.fromkeys(cards, "sources")
    assert found(*reversed(seen)) == {n - 1 - k: "sources" for k in cards}


def test_what_others_show_is_the_games_own() -> None:
    look, far = np.uint64(0xFFFF0000FFFF0000), np.array([0, 0x00000000FFFF0000], np.uint64)
    assert not shown_elsewhere(np.array([look]), far).any()
    near = np.append(far, look ^ np.uint64((1 << module.SCENE_BITS) - 1))
    assert shown_elsewhere(np.array([look]), near).any()
    assert not shown_elsewhere(np.array([look]), np.zeros(0, np.uint64)).any()


@pytest.mark.parametrize("radius", [0, 3, 6, 10])
def test_pairs_under_two_labels_are_those_of_brute_force(radius: int) -> None:
    rng = np.random.default_rng(radius)
    base = rng.integers(0, 1 << 63, 40).astype(np.uint64)
    flips = np.array([sum(1 << b for b in rng.choice(64, rng.integers(0, 14), replace=False)) for _ in range(160)])
    hashes = np.concatenate([base, np.repeat(base, 4) ^ flips.astype(np.uint64)])
    labels, fresh = rng.integers(0, 3, len(hashes)), rng.random(len(hashes)) < 0.5
    wanted = {
        (i, j)
        for i in range(len(hashes))
        for j in range(i + 1, len(hashes))
        if labels[i] != labels[j]
        and (fresh[i] or fresh[j])
        and (int(hashes[i]) ^ int(hashes[j])).bit_count() <= radius
    }
    assert pairs_of_labels(hashes, labels, fresh, radius) == wanted


def test_the_less_sure_one_yields_or_both() -> None:
    assert yielding(0.9, 0.5) == (False, True)
    assert yielding(0.5, 0.7) == (True, False)
    assert yielding(0.7, 0.5) == (False, True)
    assert yielding(0.69, 0.5) == (True, True)


def test_a_thumbnail_is_the_mean_of_each_tile() -> None:
    luma = np.random.default_rng(3).integers(0, 256, (37, 101), dtype=np.uint8)
    wanted = [
        [
            int(luma[r * 37 // 18 : (r + 1) * 37 // 18, c * 101 // 32 : (c + 1) * 101 // 32].mean())
            for c in range(32)
        ]
        for r in range(18)
    ]
    assert thumbnail(measure(gray_picture(luma))).tolist() == wanted
