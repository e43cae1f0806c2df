"""Texture is of how a picture was made: it tells sharp from smooth, and knows no brightness."""

from __future__ import annotations

import math
from itertools import pairwise

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from harvester.sampling.texture import LAGS, RATIOS, log_texture, log_textures

Image = NDArray[np.uint8]


def noise(contrast: int = 200, seed: int = 3) -> Image:
    values = np.random.default_rng(seed).integers(0, contrast, (90, 160, 1), dtype=np.uint8)
    return values.repeat(3, axis=2)


def by_loops(image: Image, lag: int) -> float:
    """What the module computes, pixel by pixel."""
    green = image[..., 1].tolist()
    height, width = len(green), len(green[0])
    across = [(green[y][x] - green[y][x + lag]) ** 2 for y in range(0, height, 2) for x in range(width - lag)]
    down = [(green[y][x] - green[y + lag][x]) ** 2 for y in range(height - lag) for x in range(0, width, 2)]
    return sum(across) / len(across) + sum(down) / len(down)


@pytest.mark.parametrize("shape", [(90, 160), (62, 111), (124, 220), (18, 32)])
def test_it_is_of_mean_squared_differences(shape: tuple[int, int]) -> None:
    image = cv2.resize(noise(), shape[::-1])
    changes = [by_loops(image, lag) for lag in LAGS]
    expected = [math.log((far + 1) / (near + 1)) for near, far in pairwise(changes)]
    assert log_textures(image) == pytest.approx(expected, abs=1e-12)


def test_the_smoother_a_picture_is_the_more_it_changes_over_twice_the_way() -> None:
    ramp = np.arange(160, dtype=np.uint8)[None, :, None].repeat(90, axis=0).repeat(3, axis=2)
    blurred = [cv2.GaussianBlur(noise(), (0, 0), sigma) for sigma in (0.7, 1.0, 2.0)]
    found = np.array([log_textures(image) for image in (noise(), *blurred)])
    assert found.shape == (4, RATIOS)
    assert (np.diff(found, axis=0) > 0.02).all()
    assert found[0] == pytest.approx(0.0, abs=0.05)
    assert 0 < found.max() < math.log(4)
    assert log_textures(ramp)[1] == pytest.approx(math.log(17 / 5))


def test_it_knows_neither_brightness_nor_much_of_contrast() -> None:
    scene = cv2.GaussianBlur(noise(), (0, 0), 1.5)
    assert log_textures(scene + np.uint8(40)) == log_textures(scene)
    assert log_textures(scene // np.uint8(2)) == pytest.approx(log_textures(scene), abs=0.1)


def test_what_shows_nothing_has_no_texture() -> None:
    assert log_textures(np.full((90, 160, 3), 77, np.uint8)) == [0.0] * RATIOS
    assert log_textures(noise(2)) == pytest.approx([0.0] * RATIOS, abs=0.05)
    assert log_texture(0, 0) == 0.0
