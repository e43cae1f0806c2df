"""The measurement against its definition, computed the slow way."""

from __future__ import annotations

import math
import struct
import tracemalloc
import zlib
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harvester.model import Codec, Measurement, Variogram
from harvester.vision.measure import luma8, measure, pack, unpack
from tests.unit.vision.conftest import gray_picture, random_picture

HEADER_BYTES = 38

SIZES = [
    (1, 1),
    (1, 40),
    (40, 1),
    (7, 5),
    (31, 33),
    (32, 32),
    (64, 32),
    (17, 300),
    (321, 183),
    (270, 480),
    (1922, 1082),
]


def coverage(size: int) -> np.ndarray:
    """A[i, j] = overlap of [i·n, (i + 1)·n) with [32j, 32j + 32), word for word."""
    matrix = np.zeros((32, size), np.int64)
    for i in range(32):
        for j in range(size):
            matrix[i, j] = max(0, min((i + 1) * size, 32 * j + 32) - max(i * size, 32 * j))
    return matrix


def by_definition(y: np.ndarray) -> Measurement:
    exact = y.astype(np.int64)
    height, width = y.shape
    rows = [math.floor(Fraction(i * height, 18)) for i in range(19)]
    columns = [math.floor(Fraction(j * width, 32)) for j in range(33)]
    tiles = [[exact[a:b, c:d] for c, d in pairwise(columns)] for a, b in pairwise(rows)]
    return Measurement(
        codec=Codec.H264,
        width=width,
        height=height,
        grid=coverage(height) @ exact @ coverage(width).T,
        histogram=np.array([(y == level).sum() for level in range(256)], np.int64),
        tile_sums=np.array([[tile.sum() for tile in row] for row in tiles], np.int64),
        tile_squares=np.array([[(tile**2).sum() for tile in row] for row in tiles], np.int64),
        gradient=int(np.abs(np.diff(exact, axis=0)).sum() + np.abs(np.diff(exact, axis=1)).sum()),
        variogram=variogram(exact),
    )


def variogram(y: np.ndarray) -> Variogram:
    """Every pair of pixels one by one."""
    height, width = y.shape
    lag = max(1, math.floor(Fraction(min(height, width), 60) + Fraction(1, 2)))
    lines = range(0, height, lag)
    sums = {lag: 0, 2 * lag: 0}
    for far in sums:
        for line in lines:
            sums[far] += sum((y[line, far:] - y[line, : max(0, width - far)]) ** 2)
            sums[far] += sum((y[line + far] - y[line]) ** 2) if line + far < height else 0
    return Variogram(int(sums[lag]), int(sums[2 * lag]))


def assert_equal(one: Measurement, other: Measurement) -> None:
    for name in ("codec", "width", "height", "gradient", "variogram"):
        assert getattr(one, name) == getattr(other, name), name
    for name in ("grid", "histogram", "tile_sums", "tile_squares"):
        got, wanted = getattr(one, name), getattr(other, name)
        assert got.dtype == wanted.dtype == np.int64, name
        np.testing.assert_array_equal(got, wanted, err_msg=name)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_equals_the_definition(width: int, height: int) -> None:
    y = np.random.default_rng(width).integers(0, 256, (height, width), dtype=np.uint8)
    assert_equal(measure(gray_picture(y)), by_definition(y))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 3))
def test_equals_the_definition_at_any_size(width: int, height: int, seed: int) -> None:
    y = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    assert_equal(measure(gray_picture(y)), by_definition(y))


def test_white_8k_is_exact() -> None:
    measurement = measure(gray_picture(np.full((4320, 7680), 255, np.uint8)))
    assert (measurement.grid == 255 * 4320 * 7680).all()
    assert measurement.histogram[255] == 4320 * 7680
    assert (measurement.tile_squares == 255**2 * 240 * 240).all()


def test_counts_past_float32_are_exact() -> None:
    measurement = measure(gray_picture(np.full((4099, 4097), 7, np.uint8)))
    assert measurement.histogram[7] == 4099 * 4097 == 2**24 + 16_387


def test_pairs_past_float32_are_exact() -> None:
    """Pixels are counted as pairs of half a picture each: 2^24 of them are more than 8K has."""
    measurement = measure(gray_picture(np.full((4202, 8001), 7, np.uint8)))
    assert measurement.histogram[7] == 4202 * 8001 == 2 * (2**24 + 32_885)


def test_squares_past_int32_are_exact() -> None:
    """Black and white by turns, lag by lag: every near difference is the greatest there is, and no far one."""
    lag = 2160 // 60
    y = np.kron(np.indices((60, 108)).sum(0) % 2, np.full((lag, lag), 255)).astype(np.uint8)
    pairs = 60 * (107 * lag) + 59 * (108 * lag)
    assert measure(gray_picture(y)).variogram == Variogram(255**2 * pairs, 0)


def test_tall_pictures_are_exact() -> None:
    """1,024 lines of 255² in a piece are past float32."""
    measurement = measure(gray_picture(np.full((32 * 1025, 3), 255, np.uint8)))
    assert measurement.tile_squares.sum() == 255**2 * 32 * 1025 * 3


def test_lines_may_have_gaps() -> None:
    y = np.random.default_rng(1).integers(0, 256, (90, 200), dtype=np.uint8)
    assert_equal(measure(gray_picture(y[:, 20:180])), measure(gray_picture(y[:, 20:180].copy())))


@pytest.mark.parametrize("depth", [9, 10, 12, 16])
def test_deep_luma_is_rounded_and_clipped(depth: int) -> None:
    y = np.arange(1 << depth, dtype=np.uint32).reshape(32, -1).astype(np.uint16)
    shift = depth - 8
    expected = np.minimum((y.astype(np.int64) + (1 << (shift - 1))) >> shift, 255)
    rounded = luma8(gray_picture(y, bit_depth=depth))
    assert rounded.dtype == np.uint8
    np.testing.assert_array_equal(rounded, expected)
    if depth == 10:
        np.testing.assert_array_equal(expected, np.minimum((y.astype(int) + 2) >> 2, 255))
    assert_equal(measure(gray_picture(y, bit_depth=depth)), by_definition(rounded))


def test_chroma_does_not_matter() -> None:
    picture = random_picture(64, 36)
    assert_equal(measure(picture), measure(gray_picture(picture.y)))


@pytest.mark.parametrize(("width", "height"), [(1, 1), (480, 270), (1920, 1080)])
@pytest.mark.parametrize("codec", list(Codec))
def test_packing_keeps_everything(width: int, height: int, codec: Codec) -> None:
    measured = measure(random_picture(width, height))
    measured = Measurement(codec, *(getattr(measured, name) for name in Measurement.__slots__[1:]))
    assert_equal(unpack(pack(measured)), measured)


def test_packing_keeps_what_needs_eight_bytes() -> None:
    measured = measure(gray_picture(np.full((4320, 7680), 255, np.uint8)))
    assert int(measured.grid.max()) > 1 << 32
    assert_equal(unpack(pack(measured)), measured)


def before_the_variogram(measured: Measurement) -> bytes:
    """As version 1 packed it, byte for byte."""
    parts = (measured.grid, measured.histogram, measured.tile_sums, measured.tile_squares)
    planes = np.concatenate([part.ravel() for part in parts]).astype("<u4").view(np.uint8).reshape(-1, 4).T
    numbers = struct.pack("<IIQ", measured.width, measured.height, measured.gradient)
    codec = list(Codec).index(measured.codec)
    return b"hm" + bytes([1, 4, codec, 0]) + numbers + zlib.compress(planes.tobytes(), 1)


def test_measurements_of_version_1_are_read_and_packed_as_they_were() -> None:
    measured = replace(measure(random_picture(48, 27)), variogram=None)
    packed = before_the_variogram(measured)
    assert_equal(unpack(packed), measured)
    assert pack(unpack(packed)) == packed


@pytest.mark.parametrize("sums", [(1, 5), (0, 1)])
def test_a_variogram_that_cannot_be_is_refused(sums: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="variogram"):
        unpack(PACKED[:22] + struct.pack("<QQ", *sums) + PACKED[38:])


def test_numbers_that_int64_cannot_hold_are_refused() -> None:
    packed = pack(measure(gray_picture(np.full((4320, 7680), 255, np.uint8))))
    planes = bytearray(zlib.decompress(packed[HEADER_BYTES:]))
    planes[-len(planes) // 8] = 0x80  # the first number's most significant byte
    with pytest.raises(ValueError, match="2\\^63"):
        unpack(packed[:HEADER_BYTES] + zlib.compress(planes))


def test_a_game_frame_packs_small(game_frame: np.ndarray) -> None:
    assert len(pack(measure(gray_picture(game_frame[:, :, 1].copy())))) < 7_000


PACKED = pack(measure(random_picture(48, 27)))


@pytest.mark.parametrize("cut", [0, 1, 10, 22, 23, 24, 30, 38, 39, len(PACKED) - 1])
def test_cut_packets_are_refused(cut: int) -> None:
    with pytest.raises(ValueError):
        unpack(PACKED[:cut])


def test_a_packet_cannot_unpack_to_much_more() -> None:
    bomb = PACKED[:HEADER_BYTES] + zlib.compress(bytes(20_000_000))
    tracemalloc.start()
    with pytest.raises(ValueError, match="length"):
        unpack(bomb)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_longer_packets_are_refused() -> None:
    with pytest.raises(ValueError):
        unpack(PACKED + b"\0")


def test_a_packet_of_another_version_is_refused() -> None:
    with pytest.raises(ValueError, match="version"):
        unpack(PACKED[:2] + b"\x03" + PACKED[3:])


@given(st.integers(0, len(PACKED) - 1), st.binary(min_size=1, max_size=4))
def test_hostile_packets_give_a_measurement_or_value_error(place: int, bytes_: bytes) -> None:
    try:
        unpack(PACKED[:place] + bytes_ + PACKED[place + len(bytes_) :])
    except ValueError:
        pass


@given(st.binary(max_size=300))
def test_noise_is_refused(noise: bytes) -> None:
    with pytest.raises(ValueError):
        unpack(noise)
