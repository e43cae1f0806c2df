"""The hash against its definition and beside its float cousin."""

from __future__ import annotations

import math
import statistics

import imagehash
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from harvester.vision.measure import measure
from harvester.vision.phash import hex16, phash
from tests.unit.vision.conftest import FRAMES, gray_picture


def by_definition(grid: np.ndarray) -> int:
    """In Python's own integers."""
    d = [[round(1024 * math.cos((2 * n + 1) * k * math.pi / 64)) for n in range(32)] for k in range(8)]
    s = grid.tolist()
    ds = [[sum(d[k][n] * s[n][j] for n in range(32)) for j in range(32)] for k in range(8)]
    c = [sum(ds[k][n] * d[m][n] for n in range(32)) for k in range(8) for m in range(8)]
    median = statistics.median(c[1:])
    return int("".join("1" if value > median else "0" for value in c), 2)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([1, 200, 255 * 1920 * 1080]))
def test_equals_the_definition(seed: int, top: int) -> None:
    grid = np.random.default_rng(seed).integers(0, top + 1, (32, 32))
    assert phash(grid) == by_definition(grid)


def test_white_8k_does_not_overflow() -> None:
    grid = np.full((32, 32), 255 * 7680 * 4320)
    grid[:, 16:] -= 1_000_000
    assert phash(grid) == by_definition(grid)


@pytest.mark.parametrize("turn", [np.fliplr, np.flipud, np.transpose])
def test_symmetric_pictures_too(game_frame: np.ndarray, turn) -> None:
    """Where float hashes differ by machine: half of the coefficients of a mirrored picture are exactly zero."""
    y = game_frame[:256, :256, 1].copy()
    grid = measure(gray_picture(np.maximum(y, turn(y)))).grid
    assert phash(grid) == by_definition(grid)


def test_the_mean_is_the_first_bit() -> None:
    grid = np.zeros((32, 32), np.int64)
    assert phash(grid) == 0  # nothing is above a median of zero
    assert phash(grid + 1000) == 1 << 63 or phash(grid + 1000) >> 63 == 1


def test_close_to_imagehash() -> None:
    distances = []
    for path in FRAMES:
        y = np.asarray(Image.open(path).convert("L"))
        theirs = int(str(imagehash.phash(Image.fromarray(y))), 16)
        distances.append((phash(measure(gray_picture(y)).grid) ^ theirs).bit_count())
    assert len(distances) >= 8
    assert statistics.median(distances) <= 2  # 0 on pictures of full size, which have less aliasing
    assert max(distances) <= 6


def test_a_smaller_picture_has_nearly_the_same_hash(game_frame: np.ndarray) -> None:
    y = Image.fromarray(game_frame).convert("L")
    hashes = [phash(measure(gray_picture(np.asarray(image))).grid) for image in (y, y.resize((240, 136)))]
    assert (hashes[0] ^ hashes[1]).bit_count() <= 4


def test_hex_digits() -> None:
    assert hex16(0) == "0" * 16
    assert hex16(0xFEDCBA9876543210) == "fedcba9876543210"
