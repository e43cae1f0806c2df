"""Which scenes are idle, on drawn games and cards seen every 40 s or so, and on literal moments beside each limit."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from harvester.vision import idle as limits
from harvester.vision.idle import Moments, idle, may_be_idle
from harvester.vision.measure import measure, thumbnail
from tests.unit.vision.conftest import gray_picture
from tests.unit.vision.drawn import (
    HELD_OUT_GAMES,
    HELD_OUT_SCENES,
    IDLE_SCENES,
    STILL_GAMES,
    Design,
    moving_game,
)

Thumbnail = NDArray[np.uint8]

#: Designs in which too much moves for stillness to tell, and games that are paused: see the module's docstring.
TOO_MUCH_MOVES = {"drifting_card", "snowing_card", "chat_scene", "pattern_card"}
PAUSES = {"paused_often"}
FOUND = {name: scene for name, scene in (IDLE_SCENES | HELD_OUT_SCENES).items() if name not in TOO_MUCH_MOVES}
STANDING = {name: game for name, game in (STILL_GAMES | HELD_OUT_GAMES).items() if name not in PAUSES}

SEEN_EVERY_S = 41
SHOWN = (600, 900)


@cache
def seen(design: Design, t: float, seed: int) -> Thumbnail:
    return thumbnail(measure(gray_picture(design(t, seed)))).ravel()


def found(*vods: list[tuple[float, Thumbnail]]) -> list[set[tuple[int, float]]]:
    """The idle scenes of a broadcaster, as VODs and offsets; whatever the order of what was seen."""
    moments = [(n, t, picture) for n, vod in enumerate(vods) for t, picture in vod]
    scenes = []
    for order in (np.arange(len(moments)), np.random.default_rng(1).permutation(len(moments))):
        numbers = np.array([moments[at][0] for at in order], np.int64)
        offsets_s = np.array([moments[at][1] for at in order], np.float64)
        pictures = np.array([moments[at][2] for at in order], np.uint8)
        alike = idle(Moments(numbers, offsets_s, numbers, pictures))
        scenes.append([{moments[order[at]][:2] for at in one.tolist()} for one in alike])
    assert scenes[0] == scenes[1]
    return scenes[0]


def vod_of(game: Design, scene: Design | None = None, seed: int = 5) -> list[tuple[float, Thumbnail]]:
    times = np.arange(7, 1800, SEEN_EVERY_S).tolist()

    def shown(t: float) -> Design:
        return scene if scene is not None and SHOWN[0] <= t < SHOWN[1] else game

    return [(t, seen(shown(t), t, seed)) for t in times]


@pytest.mark.parametrize("scene", FOUND.values(), ids=FOUND.keys())
@pytest.mark.parametrize("game", [moving_game, STILL_GAMES["chess"], STILL_GAMES["strategy_map"]])
def test_a_scene_that_stands_still_apart_from_the_game_is_idle(game: Design, scene: Design) -> None:
    (scene_found,) = found(vod_of(game, scene))
    assert scene_found == {(0, t) for t, _ in vod_of(game) if SHOWN[0] <= t < SHOWN[1]}


@pytest.mark.parametrize("game", STANDING.values(), ids=STANDING.keys())
def test_a_game_that_stands_still_is_not_idle(game: Design) -> None:
    for seed in (5, 6):
        assert found(vod_of(game, seed=seed)) == []


# -- literal moments -------------------------------------------------------------------------------------------------

CARD = np.random.default_rng(1).integers(30, 200, 576).astype(np.uint8)


def game(n: int) -> Thumbnail:
    return np.random.default_rng(100 + n).integers(30, 200, 576).astype(np.uint8)


def changed(picture: Thumbnail, tiles: int, at: int = 0, by: int = limits.TILE_LEVELS + 1) -> Thumbnail:
    other = picture.copy()
    other[at : at + tiles] += np.uint8(by)
    return other


def vod(*cards: Thumbnail, step_s: float = 30, games: Callable[[int], Thumbnail] = game, rest: int = 9):
    """Some moments of a game, the cards, one more."""
    pictures = [*(games(n) for n in range(rest - 1)), *cards, games(rest)]
    return [(step_s * n, picture) for n, picture in enumerate(pictures)]


def test_still_is_three_moments_over_a_minute() -> None:
    assert len(found(vod(CARD, CARD, CARD))) == 1
    assert found(vod(CARD, CARD)) == found(vod(CARD, CARD, CARD, step_s=29.9)) == []
    assert found(vod(CARD, game(50), CARD, CARD)) == []


@pytest.mark.parametrize(("tiles", "idles"), [(limits.CONFINED_TILES, 1), (limits.CONFINED_TILES + 1, 0)])
def test_what_changes_is_confined_over_all_moments_together(tiles: int, idles: int) -> None:
    half = tiles // 2
    cards = CARD, changed(CARD, half), changed(CARD, tiles - half, at=half)
    assert len(found(vod(*cards))) == idles
    steady = CARD, changed(CARD, half), changed(CARD, 576, by=limits.TILE_LEVELS)
    assert len(found(vod(*steady))) == 1


def test_a_long_scene_is_seen_to_its_end() -> None:
    late = changed(CARD, limits.CONFINED_TILES + 1)
    for last, idles in ((CARD, 1), (late, 0)):
        assert len(found(vod(*[CARD] * limits.COMPARED, last, CARD, rest=40))) == idles


def test_another_source_of_the_broadcaster_corroborates() -> None:
    cards = CARD, changed(CARD, 60), changed(CARD, 60, at=60)
    elsewhere = [(5.0, changed(CARD, limits.CHANGED_TILES))]
    assert found(vod(*cards)) == []
    assert found(vod(*cards), elsewhere) == [{(0, 240.0), (0, 270.0), (0, 300.0), (1, 5.0)}]
    assert found(vod(*cards), [(5.0, changed(CARD, limits.CHANGED_TILES + 1))]) == []


@pytest.mark.parametrize(("related", "idles"), [(2, 1), (3, 0)])
@pytest.mark.parametrize("tiles", [limits.SHARED_TILES, limits.SHARED_TILES - 1])
def test_what_shares_its_tiles_with_the_rest_of_the_vod_is_the_games(related: int, idles: int, tiles: int) -> None:
    def framed(n: int) -> Thumbnail:
        picture = game(n)
        picture[np.abs(picture.astype(int) - CARD) <= limits.SHARED_LEVELS] += np.uint8(10)
        picture[:tiles] = (changed(CARD, 576, by=limits.SHARED_LEVELS) if n < related else picture)[:tiles]
        return picture

    vods = vod(CARD, CARD, CARD, games=framed, rest=8)
    assert len(found(vods)) == (idles if tiles == limits.SHARED_TILES else 1)


def test_many_still_scenes_are_a_game() -> None:
    for scenes, idles in ((limits.SCENES, limits.SCENES), (limits.SCENES + 1, 0)):
        cards = [game(200 + n) for n in range(scenes) for _ in range(3)]
        assert len(found(vod(*cards, rest=30))) == idles


def test_what_is_most_of_a_vod_is_what_it_is_about() -> None:
    assert len(found(vod(*[CARD] * 9, rest=9))) == 1
    assert found(vod(*[CARD] * 10, rest=9)) == []


def test_a_scene_that_comes_back_is_one_scene() -> None:
    cards = [CARD] * 3 + [game(60)] + [changed(CARD, 5)] * 4
    assert [len(scene) for scene in found(vod(*cards, rest=12))] == [7]


def test_clips_are_no_moments_of_a_vod() -> None:
    pictures = np.array([picture for _, picture in vod(CARD, CARD, CARD)], np.uint8)
    none, offsets_s = np.full(len(pictures), -1), 30.0 * np.arange(len(pictures))
    assert not may_be_idle(none, offsets_s)
    assert list(idle(Moments(none, offsets_s, none, pictures))) == []


def test_too_few_moments_are_not_looked_at() -> None:
    vods = np.zeros(6, np.int64)
    assert may_be_idle(vods, 12.0 * np.arange(6))
    assert not may_be_idle(vods, 11.9 * np.arange(6))
    assert not may_be_idle(vods[:5], 60.0 * np.arange(5))


def test_moments_fit_together() -> None:
    with pytest.raises(ValueError, match="thumbnails"):
        Moments(np.zeros(2, np.int64), np.zeros(2), np.zeros(2, np.int64), np.zeros((2, 575), np.uint8))
    with pytest.raises(ValueError, match="offset"):
        Moments(np.zeros(2, np.int64), np.zeros(1), np.zeros(2, np.int64), np.zeros((2, 576), np.uint8))
