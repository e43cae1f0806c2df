"""What is kept and what is dropped, at and beside each threshold."""

from __future__ import annotations

import numpy as np
import pytest

from harvester.config import Filter
from harvester.vision.filters import SCORE_NAMES, judge
from harvester.vision.measure import measure
from tests.unit.vision.conftest import gray_picture

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
