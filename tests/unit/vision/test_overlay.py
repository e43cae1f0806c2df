"""Overlays over drawn games: scenes whose neighbouring tiles change together, one to a moment."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import cv2
import numpy as np
import pytest

from harvester.model import Measurement
from harvester.vision.activity import Activity
from harvester.vision.measure import measure
from harvester.vision.overlay import MIN_MOMENTS, MIN_PICTURES, MIN_SOURCES, Box, Evidence, overlays
from tests.unit.vision.conftest import gray_picture

HEIGHT, WIDTH = 90, 160
PICTURES = 100

#: Top, bottom, left, right (pixels) of what is drawn; a tile is 5 x 5.
LOGO = (5, 20, 120, 155)
CAMERA = (55, 90, 0, 40)
CHAT = (0, 90, 120, 160)

Luma = np.ndarray
Overlay = Callable[[Luma, np.random.Generator], None]


def scene(rng: np.random.Generator) -> Luma:
    coarse = rng.integers(20, 235, (5, 8)).astype(np.uint8)
    return cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)


def still(where: tuple[int, int, int, int], seed: int = 0) -> Overlay:
    top, bottom, left, right = where
    drawn = np.random.default_rng(seed).integers(20, 235, (bottom - top, right - left))

    def draw(luma: Luma, rng: np.random.Generator) -> None:
        luma[top:bottom, left:right] = drawn

    return draw


def camera(where: tuple[int, int, int, int] = CAMERA) -> Overlay:
    """A room and somebody in it, in changing light."""
    top, bottom, left, right = where
    room = cv2.resize(scene(np.random.default_rng(7)), (right - left, bottom - top)) // 2

    def draw(luma: Luma, rng: np.random.Generator) -> None:
        view = np.clip(room * rng.uniform(0.5, 1.5), 0, 255).astype(np.uint8)
        head = int((right - left) * rng.uniform(0.3, 0.7)), int((bottom - top) * 0.5)
        cv2.circle(view, head, (bottom - top) // 3, float(rng.uniform(120, 220)), -1)
        luma[top:bottom, left:right] = view

    return draw


def chat(where: tuple[int, int, int, int] = CHAT) -> Overlay:
    """Lines of text, anywhere, on a dark ground."""
    top, bottom, left, right = where

    def draw(luma: Luma, rng: np.random.Generator) -> None:
        luma[top:bottom, left:right] = 30
        for line in range(top + 1, bottom - 3, 5):
            start, end = sorted(rng.integers(left, right, 2))
            luma[line : line + 3, start:end] = 210

    return draw


def border(luma: Luma, rng: np.random.Generator) -> None:
    pattern = np.random.default_rng(3).integers(20, 235, luma.shape)
    inner = np.s_[10:-10, 10:-10]
    pattern[inner] = luma[inner]
    luma[:] = pattern


def checks(level: int, depth: int) -> Overlay:
    """A logo of fine checks: a flat one has less texture than a game's tile has on average."""
    top, bottom, left, right = LOGO
    rows, cols = np.mgrid[top:bottom, left:right]

    def draw(luma: Luma, rng: np.random.Generator) -> None:
        luma[top:bottom, left:right] = level + depth * ((rows + cols) % 2)

    return draw


def pictures(*drawn: Overlay, seed: int = 0, count: int = PICTURES) -> list[Measurement]:
    rng = np.random.default_rng(seed)
    measured = []
    for _ in range(count):
        luma = scene(rng)
        for draw in drawn:
            draw(luma, rng)
        noisy = np.clip(luma + rng.integers(-2, 3, luma.shape), 0, 255)
        measured.append(measure(gray_picture(noisy.astype(np.uint8))))
    return measured


def activity(*drawn: Overlay, seed: int = 0) -> Activity:
    return Activity.of(pictures(*drawn, seed=seed))


def shares(where: tuple[int, int, int, int]) -> tuple[float, float, float, float]:
    top, bottom, left, right = where
    return left / WIDTH, top / HEIGHT, right / WIDTH, bottom / HEIGHT


def sides(box: Box) -> tuple[float, float, float, float]:
    return box.left, box.top, box.right, box.bottom


def assert_at(box: Box, kind: str, where: tuple[int, int, int, int], within: float) -> None:
    assert box.kind == kind
    assert sides(box) == pytest.approx(shares(where), abs=within)


@pytest.mark.parametrize("seed", range(3))
def test_a_game_alone_has_no_overlay(seed: int) -> None:
    assert overlays(activity(seed=seed), [activity(seed=9)]) == ()
    assert overlays(activity(seed=seed), []) == ()


def test_what_stands_still_is_a_static_box() -> None:
    (box,) = overlays(activity(still(LOGO)), [activity(seed=1)])
    assert_at(box, "static", LOGO, 0.002)


def test_a_box_ends_inside_a_tile() -> None:
    (box,) = overlays(activity(still((7, 22, 118, 153))), [])
    assert_at(box, "static", (7, 22, 118, 153), 0.03)
    assert sides(box)[1] != pytest.approx(10 / HEIGHT, abs=0.01)


def test_a_border_is_four_boxes() -> None:
    boxes = overlays(activity(border), [])
    assert {box.kind for box in boxes} == {"static"}
    covered = np.zeros((HEIGHT, WIDTH), int)
    for box in boxes:
        rows = slice(round(box.top * HEIGHT), round(box.bottom * HEIGHT))
        covered[rows, round(box.left * WIDTH) : round(box.right * WIDTH)] += 1
    assert len(boxes) == 4
    assert covered[10:-10, 10:-10].sum() == 0
    covered[10:-10, 10:-10] = 1
    assert (covered == 1).all()


@pytest.mark.parametrize(
    ("drawn", "where"),
    [
        (camera(), CAMERA),
        (camera((25, 60, 60, 105)), (25, 60, 60, 105)),
        (chat(), CHAT),
        (chat((0, 90, 0, 40)), (0, 90, 0, 40)),
        (chat((25, 60, 60, 105)), (25, 60, 60, 105)),
        (camera((0, 35, 110, 160)), (0, 35, 110, 160)),
    ],
)
def test_what_moves_on_its_own_is_a_moving_box(drawn: Overlay, where: tuple[int, int, int, int]) -> None:
    (box,) = overlays(activity(drawn), [activity(seed=1)])
    assert_at(box, "moving", where, 0.04)


def test_several_overlays_stand_from_the_top_on() -> None:
    boxes = overlays(activity(still(LOGO), camera()), [])
    assert [box.kind for box in boxes] == ["static", "moving"]


@pytest.mark.parametrize("panel", [still(LOGO), camera()])
def test_what_others_show_too_is_the_games(panel: Overlay) -> None:
    mine, others = activity(panel), [activity(panel, seed=seed) for seed in (1, 2)]
    assert len(overlays(mine, [])) == 1
    assert overlays(mine, others) == ()
    assert overlays(mine, [others[0], activity(seed=3), activity(seed=4)]) == ()


def test_few_of_many_others_may_show_the_same() -> None:
    mine, like_mine = activity(still(LOGO)), activity(still(LOGO), seed=1)
    assert len(overlays(mine, [like_mine, *[activity(seed=2)] * 4])) == 1


@pytest.mark.parametrize("other", [(80, 5), (48, 25)])
def test_another_logo_at_the_same_place_is_no_panel_of_the_game(other: tuple[int, int]) -> None:
    """Lighter, or of as much light and coarser."""
    (box,) = overlays(activity(checks(58, 5)), [activity(checks(*other), seed=1)] * 3)
    assert_at(box, "static", LOGO, 0.002)


def test_a_game_that_is_grey_on_average_is_no_grey_logo() -> None:
    (box,) = overlays(activity(checks(127, 5)), [activity(seed=seed) for seed in (1, 2, 3)])
    assert_at(box, "static", LOGO, 0.002)


def test_where_half_of_the_picture_is_still_nothing_static_is_told() -> None:
    table = still((0, 90, 0, 100))
    assert overlays(activity(table), []) == ()
    assert overlays(Activity.of(pictures(count=1)), []) == ()


def test_a_window_on_a_game_is_no_overlay() -> None:
    """What is cut off from the rest, but a large part of the picture, may be the game itself."""

    def window(luma: Luma, rng: np.random.Generator) -> None:
        luma[15:75, 30:130] = cv2.resize(scene(rng), (100, 60))

    assert overlays(activity(window), []) == ()


def test_small_pictures_have_tiles_without_pixels() -> None:
    rng = np.random.default_rng(0)
    tiny = [measure(gray_picture(rng.integers(0, 255, (9, 16)).astype(np.uint8))) for _ in range(20)]
    assert Activity.of(tiny).change.shape == (18, 32)


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_pictures_does_not_matter(seed: int) -> None:
    shown = pictures(still(LOGO), camera(), count=60)
    mixed = shown.copy()
    random.Random(seed).shuffle(mixed)
    one, other = Activity.of(shown), Activity.of(mixed)
    for name in Activity.__slots__:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert overlays(one, []) == overlays(other, [])


def test_activity_is_what_numpy_says_of_all_pictures_at_once() -> None:
    shown = pictures(camera(), count=30)
    found = Activity.of(iter(shown))
    means = np.array([one.tile_sums // 25 for one in shown])
    squares = np.array([one.tile_squares for one in shown])
    sums = np.array([one.tile_sums for one in shown])
    deviations = np.floor(np.sqrt((25 * squares - sums**2) // 625))
    np.testing.assert_allclose(found.mean, means.mean(axis=0))
    np.testing.assert_allclose(found.texture, deviations.mean(axis=0))
    np.testing.assert_allclose(found.change**2, means.var(axis=0) + deviations.var(axis=0))
    row, col = 3, 5
    one, across, down = means[:, row, col], means[:, row, col + 2], means[:, row + 2, col]
    for link, other in ((found.across[row, col], across), (found.down[row, col], down)):
        common = np.cov(one, other, bias=True)[0, 1]
        assert link == pytest.approx(common / np.sqrt((one.var() + 1) * (other.var() + 1)))


def test_renditions_of_several_sizes_are_one_picture_to_it() -> None:
    def larger(shown: Sequence[Measurement]) -> list[Measurement]:
        """The same, every pixel four times."""
        return [
            replace(
                one,
                width=2 * one.width,
                height=2 * one.height,
                grid=4 * one.grid,
                histogram=4 * one.histogram,
                tile_sums=4 * one.tile_sums,
                tile_squares=4 * one.tile_squares,
            )
            for one in shown
        ]

    shown = pictures(still(LOGO))
    assert overlays(Activity.of([*shown[:50], *larger(shown[50:])]), []) == overlays(Activity.of(shown), [])


def test_evidence_must_reach_every_minimum() -> None:
    least = Evidence(MIN_PICTURES, MIN_SOURCES, MIN_MOMENTS)
    assert least.is_enough
    for name in ("pictures", "sources", "moments"):
        assert not replace(least, **{name: getattr(least, name) - 1}).is_enough


@pytest.mark.parametrize("wrong", [(0.5, 0, 0.5, 1), (0, 0.6, 1, 0.5), (-0.1, 0, 1, 1), (0, 0, 1.1, 1)])
def test_a_box_lies_in_the_picture(wrong: tuple[float, float, float, float]) -> None:
    with pytest.raises(ValueError, match="no box"):
        Box("static", *wrong)
