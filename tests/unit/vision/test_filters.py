"""What is kept and what is dropped, at and beside each threshold."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from harvester.config import Filter
from harvester.vision.filters import BAR_LEVEL, SCORE_NAMES, TILE_STEP, judge
from harvester.vision.measure import measure
from tests.unit.vision.conftest import gray_picture
from tests.unit.vision.drawn import HELD_OUT_GAMES, STILL_GAMES, Design

LIMITS = Filter()


def verdict(y: np.ndarray, limits: Filter = LIMITS):
    return judge(measure(gray_picture(y.astype(np.uint8))), limits)


def chequered(low: int, high: int, size: int = 100) -> np.ndarray:
    """Half of the pixels at each of two levels: mean and deviation are known exactly."""
    return np.where(np.indices((size, size)).sum(0) % 2, high, low)


def test_game_frames_stay(game_frame: np.ndarray) -> None:
    y = 16 + game_frame.mean(axis=2) * 219 / 255
    found = verdict(y)
    assert found.kept and found.reason == ""


def test_a_black_screen_with_a_spinner_is_black() -> None:
    y = np.full((100, 100), 16)
    y[50:60, 50:70] = 235  # two in a hundred
    assert verdict(y).reason == "black"
    y[60, 50] = 235
    assert verdict(y).kept is True


def test_black_level_itself_is_not_black() -> None:
    assert verdict(np.full((10, 10), LIMITS.black_level - 1)).reason == "black"
    assert verdict(np.full((10, 10), LIMITS.black_level)).reason == "flat"


def test_dark_is_below_the_mean() -> None:
    y = np.full((100, 100), 16)
    y[:10] = 56  # a tenth of the pixels: mean 20
    assert verdict(y).kept is True
    y[0, 0] = 16
    assert verdict(y).reason == "dark"


def lettered(rows: int) -> np.ndarray:
    """So many lines of characters on black."""
    y = np.full((360, 640), 16, np.uint8)
    for row in range(rows):
        cv2.putText(y, "#....@....#  a door opens", (60, 30 + 24 * row), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 200, 1)
    return y


def test_a_game_of_characters_on_black_is_not_too_dark() -> None:
    found = verdict(lettered(8))
    assert found.scores["luma_mean"] < LIMITS.dark_mean and found.scores["lit_share"] > LIMITS.lit_share
    assert found.kept
    assert verdict(lettered(8), Filter(lit_share=1)).reason == "dark"


def test_a_line_of_text_on_black_is_black() -> None:
    found = verdict(lettered(1))
    assert found.reason == "black" and 0 < found.scores["lit_share"] < LIMITS.lit_share


def test_a_game_that_fades_to_black_is_lit_nowhere(game_frame: np.ndarray) -> None:
    faded = 16 + game_frame.mean(axis=2) * 219 / 255 * 0.03
    found = verdict(faded.round())
    assert found.reason in ("black", "dark") and found.scores["lit_share"] == 0


def test_flat_is_below_the_deviation() -> None:
    assert verdict(chequered(97, 103)).kept is True
    assert verdict(chequered(98, 103)).reason == "flat"
    assert verdict(np.full((20, 20), 180)).reason == "flat"


@pytest.mark.parametrize(
    ("y", "reasons"),
    [
        (np.full((10, 10), 16), ["black", "dark", "flat"]),
        (np.full((10, 10), 18), ["black", "dark", "flat"]),
    ],
)
def test_the_most_telling_reason_is_given(y: np.ndarray, reasons: list[str]) -> None:
    off = {
        "black": {"black_share": 1.0, "black_level": 0},
        "dark": {"dark_mean": 0},
        "flat": {"flat_deviation": 0},
    }
    values: dict[str, float] = {}
    for reason in reasons:
        assert verdict(y, Filter(**values)).reason == reason
        values |= off[reason]
    assert verdict(y, Filter(**values)).kept


def test_scores_are_what_they_are_called() -> None:
    y = np.random.default_rng(2).integers(0, 256, (37, 53))
    scores = verdict(y).scores
    assert tuple(scores) == SCORE_NAMES
    assert scores["luma_mean"] == pytest.approx(y.mean(), rel=1e-12)
    assert scores["luma_deviation"] == pytest.approx(y.std(), rel=1e-12)
    assert scores["black_share"] == (y < LIMITS.black_level).mean()
    gradient = np.abs(np.diff(y, axis=0)).sum() + np.abs(np.diff(y, axis=1)).sum()
    assert scores["sharpness"] == gradient / y.size


def test_dropped_frames_keep_their_scores() -> None:
    assert tuple(verdict(np.full((10, 10), 16)).scores) == SCORE_NAMES


def test_a_spinner_on_a_pale_backdrop_has_low_information() -> None:
    y = np.full((180, 320), 60) + np.arange(320) // 16
    y[80:90, 150:160] = 200
    assert verdict(y).reason == "low-information"
    assert verdict(y, Filter(detail_share=0)).kept
    assert verdict(y, Filter(flat_deviation=50)).reason == "flat"
    y[20:30, 100:190] = 200  # a line of letters
    assert verdict(y).kept


def test_coarse_pixel_art_shows_something_in_every_tile() -> None:
    blocks = np.random.default_rng(4).integers(0, 5, (18, 32)) * 30 + 30
    scores = verdict(np.kron(blocks, np.ones((10, 10)))).scores
    assert scores["detail_share"] > 0.9
    backdrop = np.kron(np.arange(32) * (TILE_STEP - 1) % 200, np.ones((180, 10)))[:, :120]
    assert verdict(backdrop).scores["detail_share"] < 1


@pytest.mark.parametrize(
    "game", (STILL_GAMES | HELD_OUT_GAMES).values(), ids=(STILL_GAMES | HELD_OUT_GAMES).keys()
)
def test_drawn_games_have_information(game: Design) -> None:
    for t in (3.0, 200.0, 900.0):
        found = verdict(game(t, 7))
        assert found.kept
        assert found.scores["detail_share"] > 10 * LIMITS.detail_share


def blurred(y: np.ndarray, share: float) -> np.ndarray:
    """By a Gaussian whose radius is that share of the shorter side."""
    return cv2.GaussianBlur(y.astype(np.uint8), (0, 0), share * min(y.shape))


@pytest.mark.parametrize("height", [160, 270, 480, 1080])
def test_games_that_are_blurred_beyond_use_are_dropped_in_any_size(game_frame: np.ndarray, height: int) -> None:
    luma = (16 + game_frame.mean(axis=2) * 219 / 255).astype(np.uint8)
    y = cv2.resize(luma, (height * 16 // 9, height), interpolation=cv2.INTER_AREA)
    assert verdict(y).scores["blur"] < 0.6
    assert verdict(blurred(y, 1 / 180)).kept
    found = verdict(blurred(y, 1 / 40))
    assert found.reason == "blurred" and found.scores["blur"] > LIMITS.blur
    assert verdict(blurred(y, 1 / 40).T).reason == "blurred"
    assert verdict(blurred(y, 1 / 40), Filter(blur=1)).kept


def test_something_sharp_keeps_a_blurred_picture(game_frame: np.ndarray) -> None:
    y = blurred(16 + game_frame.mean(axis=2) * 219 / 255, 1 / 40)
    y[90:180, 180:300] = 30
    y[100:170:12, 200:280] = 220  # a menu over the paused game
    assert verdict(y).kept


def test_one_limit_holds_for_light_and_faint_pictures(game_frame: np.ndarray) -> None:
    y = 16 + game_frame.mean(axis=2) * 219 / 255
    scores = [verdict(100 + (y - 100) * share).scores["blur"] for share in (1, 0.5, 0.25)]
    assert scores == pytest.approx([scores[0]] * 3, abs=0.02)


def test_blur_is_the_quarter_of_a_ratio() -> None:
    scores = [verdict(np.tile(y, (90, 1))).scores["blur"] for y in (np.arange(160), np.arange(160) // 80 * 99)]
    lag = 90 / 60 + 0.5
    assert scores[0] == (2 * lag) ** 2 * (160 - 2 * lag) / (4 * lag**2 * (160 - lag))  # a ramp
    assert scores[1] == 0.5  # a step
    assert verdict(np.full((90, 160), 60)).scores["blur"] == 0
    assert verdict(np.full((1, 1), 60)).scores["blur"] == 0


def test_what_was_not_measured_for_blur_is_not_dropped_for_it(game_frame: np.ndarray) -> None:
    measured = measure(gray_picture(blurred(16 + game_frame.mean(axis=2) * 219 / 255, 1 / 40)))
    assert judge(measured, LIMITS).reason == "blurred"
    found = judge(replace(measured, variogram=None), LIMITS)
    assert found.kept
    assert tuple(found.scores) == tuple(name for name in SCORE_NAMES if name != "blur")


@pytest.mark.parametrize("level", [16, 18])
@pytest.mark.parametrize(("rows", "cols"), [(0, 0), (2, 0), (0, 4), (1, 3)])
def test_bars_are_measured_in_whole_tiles(level: int, rows: int, cols: int) -> None:
    y = np.random.default_rng(5).integers(17, 200, (180, 320))
    y[: 10 * rows + 4] = y[180 - 10 * rows :] = level
    y[:, : 10 * cols] = y[:, 320 - 10 * cols - 4 :] = level
    found = verdict(y)
    assert found.kept
    assert (found.scores["letterbox"], found.scores["pillarbox"]) == (2 * rows / 18, 2 * cols / 32)


def test_bars_stand_at_both_sides_and_are_black() -> None:
    y = np.random.default_rng(6).integers(17, 200, (180, 320))
    y[:60] = 16
    y[:, :50] = y[:, -50:] = BAR_LEVEL + 1
    scores = verdict(y).scores
    assert (scores["letterbox"], scores["pillarbox"]) == (0, 0)
    noisy = y.copy()
    noisy[:, :50] = noisy[:, -50:] = np.random.default_rng(7).choice([8, 24], (180, 50))
    assert verdict(noisy).scores["pillarbox"] == 0
    assert verdict(np.full((180, 320), 16)).scores["letterbox"] == 0


@pytest.mark.parametrize("shape", [(7, 11), (17, 320), (180, 31)])
def test_pictures_smaller_than_their_tiles_are_not_judged_by_them(shape: tuple[int, int]) -> None:
    y = np.random.default_rng(8).integers(16, 200, shape)
    scores = verdict(y).scores
    assert scores["detail_share"] == 1
    assert (scores["letterbox"], scores["pillarbox"]) == (0, 0)
