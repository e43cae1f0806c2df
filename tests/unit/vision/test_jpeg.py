"""Colours against libswscale and against H.273's own equations; sizes; the JPEG itself."""

from __future__ import annotations

import io
import itertools
import subprocess

import av
import numpy as np
import pytest
from av.video.reformatter import Interpolation, VideoReformatter
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from harvester.model import Codec, Picture, StreamInfo
from harvester.vision.jpeg import encode, stored_size, to_rgb
from tests.unit.vision.conftest import FRAMES, gray_picture, random_picture

#: H.273 MatrixCoefficients -> AVColorSpace as libswscale takes it, and (Kr, Kb) from the standard.
SWS_MATRIX = {1: 1, 5: 5, 6: 5, 9: 9}
WEIGHTS = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}
RANGES = [False, True]


def swscale(picture: Picture, *, matrix: int | None = None) -> np.ndarray:
    """RGB by libswscale, with accurate rounding and chroma at every pixel."""
    stream = picture.stream
    full = 2 if stream.full_range else 1
    source = av.VideoFrame.from_ndarray(packed(picture), format=f"yuv{stream.chroma}p")
    flags = Interpolation.POINT | 0x40000 | 0x2000  # SWS_ACCURATE_RND, SWS_FULL_CHR_H_INT
    number = SWS_MATRIX[matrix or stream.matrix]
    return VideoReformatter().reformat(
        source, format="rgb24", src_colorspace=number, dst_colorspace=number, src_color_range=full,
        dst_color_range=2, interpolation=int(flags),
    ).to_ndarray()  # fmt: skip


def packed(picture: Picture) -> np.ndarray:
    assert picture.u is not None and picture.v is not None
    planes = (picture.y, picture.u, picture.v)
    if picture.stream.chroma == "444":
        return np.stack(planes)
    return np.concatenate([plane.ravel() for plane in planes]).reshape(-1, picture.stream.width)


def by_equation(picture: Picture, matrix: int) -> np.ndarray:
    """H.273 8.3 inverted, in float, chroma repeated."""
    stream = picture.stream
    kr, kb = WEIGHTS[matrix]
    scale = 1 << (stream.bit_depth - 8)
    height, width = picture.y.shape

    def whole(plane: np.ndarray) -> np.ndarray:
        down, across = -(-height // plane.shape[0]), -(-width // plane.shape[1])
        return np.repeat(np.repeat(plane, down, 0), across, 1)[:height, :width].astype(float)

    y, u, v = picture.y.astype(float), whole(picture.u), whole(picture.v)
    if stream.full_range:
        top = (1 << stream.bit_depth) - 1
        y, u, v = y / top, (u - 128 * scale) / top, (v - 128 * scale) / top
    else:
        y, u, v = (y / scale - 16) / 219, (u / scale - 128) / 224, (v / scale - 128) / 224
    red, blue = y + 2 * (1 - kr) * v, y + 2 * (1 - kb) * u
    green = (y - kr * red - kb * blue) / (1 - kr - kb)
    return np.clip(np.rint(255 * np.stack([red, green, blue], axis=2)), 0, 255).astype(int)


def game_picture(rgb: np.ndarray, chroma: str = "420", **info) -> Picture:
    """A game frame as a stream would carry it, made by libswscale."""
    stream = StreamInfo(Codec.H264, rgb.shape[1], rgb.shape[0], chroma=chroma, **info)
    frame = VideoReformatter().reformat(
        av.VideoFrame.from_ndarray(rgb, format="rgb24"), format=f"yuv{chroma}p", src_colorspace=SWS_MATRIX[stream.matrix],
        dst_colorspace=SWS_MATRIX[stream.matrix], src_color_range=2, dst_color_range=2 if stream.full_range else 1,
    )  # fmt: skip
    views = (np.frombuffer(p, np.uint8).reshape(p.height, p.line_size)[:, : p.width].copy() for p in frame.planes)
    return Picture(stream, *views)


def difference(one: np.ndarray, other: np.ndarray) -> int:
    return int(np.abs(one.astype(int) - other.astype(int)).max())


@pytest.mark.parametrize(("matrix", "full_range"), list(itertools.product(SWS_MATRIX, RANGES)))
def test_within_two_levels_of_swscale_on_game_frames(
    game_frame: np.ndarray, matrix: int, full_range: bool
) -> None:
    picture = game_picture(np.ascontiguousarray(game_frame), matrix=matrix, full_range=full_range)
    rgb = to_rgb(picture)
    assert rgb.shape == game_frame.shape and rgb.dtype == np.uint8
    assert difference(rgb, swscale(picture)) <= 2
    assert np.abs(rgb.astype(int) - game_frame).mean() < 4  # chroma at a quarter: the colours come back


@pytest.mark.parametrize("chroma", ["420", "422", "444"])
@pytest.mark.parametrize(("matrix", "full_range"), list(itertools.product(WEIGHTS, RANGES)))
def test_within_one_level_of_the_equations(matrix: int, full_range: bool, chroma: str) -> None:
    """On noise: every extreme and impossible colour."""
    picture = random_picture(64, 48, chroma=chroma, matrix=matrix, full_range=full_range)
    assert difference(to_rgb(picture), by_equation(picture, matrix)) <= 1


@pytest.mark.parametrize("depth", [10, 12, 16])
@pytest.mark.parametrize("full_range", RANGES)
def test_deep_pictures_lose_nothing_before_rounding(depth: int, full_range: bool) -> None:
    picture = random_picture(48, 40, bit_depth=depth, matrix=1, full_range=full_range)
    assert difference(to_rgb(picture), by_equation(picture, 1)) <= 1


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (63, 33), (33, 65), (97, 129), (32, 31)])
@pytest.mark.parametrize("chroma", ["420", "422", "444"])
def test_any_size(size: tuple[int, int], chroma: str) -> None:
    picture = random_picture(*size, chroma=chroma, matrix=6)
    assert difference(to_rgb(picture), by_equation(picture, 6)) <= 1


@pytest.mark.parametrize(("height", "matrix"), [(719, 6), (720, 1), (1080, 1)])
@pytest.mark.parametrize("unknown", [2, 3, 14])
def test_a_stream_that_does_not_tell_its_matrix(height: int, matrix: int, unknown: int) -> None:
    picture = random_picture(16, height, matrix=unknown)
    assert difference(to_rgb(picture), by_equation(picture, matrix)) <= 1


def test_monochrome_is_gray() -> None:
    y = np.arange(256, dtype=np.uint8).reshape(16, 16)
    full = to_rgb(gray_picture(y, full_range=True))
    assert (full == y[:, :, None]).all()
    limited = to_rgb(gray_picture(y)).astype(int)
    assert difference(limited[:, :, 1], np.clip(np.rint((y.astype(float) - 16) * 255 / 219), 0, 255)) <= 1
    assert (limited == limited[:, :, :1]).all()


@pytest.mark.parametrize(
    ("rgb", "tolerance"),
    [
        ((255, 0, 0), 2),
        ((0, 255, 0), 2),
        ((0, 0, 255), 2),
        ((255, 255, 255), 1),
        ((0, 0, 0), 1),
        ((180, 60, 200), 2),
    ],
)
@pytest.mark.parametrize(("matrix", "full_range"), list(itertools.product(SWS_MATRIX, RANGES)))
def test_flat_colours_survive_the_jpeg(rgb, tolerance: int, matrix: int, full_range: bool) -> None:
    picture = game_picture(np.full((32, 32, 3), rgb, np.uint8), matrix=matrix, full_range=full_range)
    seen = np.asarray(Image.open(io.BytesIO(encode(picture, quality=100))))
    assert difference(seen, np.broadcast_to(np.array(rgb), seen.shape)) <= 2 + tolerance


def test_jpeg_shows_what_to_rgb_shows(game_frame: np.ndarray) -> None:
    picture = game_picture(np.ascontiguousarray(game_frame), matrix=1)
    seen = np.asarray(Image.open(io.BytesIO(encode(picture, quality=95)))).astype(int)
    rgb = to_rgb(picture).astype(int)
    assert np.abs(seen - rgb).mean() < 2.5
    assert np.abs((seen - rgb).mean(axis=(0, 1))).max() < 0.6  # no channel is off, none swapped


def test_jpeg_is_420_of_the_asked_quality_and_the_same_each_time(game_frame: np.ndarray) -> None:
    picture = game_picture(np.ascontiguousarray(game_frame), matrix=1)
    data = encode(picture, quality=90)
    assert data == encode(picture, quality=90)
    assert len(encode(picture, quality=50)) < len(data) < len(encode(picture, quality=98))
    image = Image.open(io.BytesIO(data))
    assert [layer[1:3] for layer in image.layer] == [(2, 2), (1, 1), (1, 1)]
    assert (image.size, image.mode) == ((480, 270), "RGB")
    assert image.quantization[0][0] == 3  # 16 at quality 50, scaled by 0.2


def test_a_player_reads_it_too() -> None:
    game_frame = np.asarray(Image.open(FRAMES[0]))
    picture = game_picture(np.ascontiguousarray(game_frame), matrix=1)
    command = ["ffmpeg", "-v", "error", "-f", "mjpeg", "-i", "-", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    done = subprocess.run(command, input=encode(picture, quality=95), capture_output=True, check=True)
    seen = np.frombuffer(done.stdout, np.uint8).reshape(game_frame.shape).astype(int)
    assert np.abs((seen - to_rgb(picture)).mean(axis=(0, 1))).max() < 2


@pytest.mark.parametrize("short_side", [0, 100, 135, 270, 500])
def test_short_side_reduces_and_never_enlarges(game_frame: np.ndarray, short_side: int) -> None:
    picture = game_picture(np.ascontiguousarray(game_frame), matrix=1)
    width, height = stored_size(480, 270, short_side)
    assert to_rgb(picture, short_side=short_side).shape == (height, width, 3)
    assert Image.open(io.BytesIO(encode(picture, quality=90, short_side=short_side))).size == (width, height)


def test_reduction_averages_areas(game_frame: np.ndarray) -> None:
    picture = game_picture(np.ascontiguousarray(game_frame), matrix=1)
    means = to_rgb(picture).reshape(135, 2, 240, 2, 3).mean(axis=(1, 3))
    assert difference(to_rgb(picture, short_side=135), np.rint(means)) <= 1


@pytest.mark.parametrize(
    ("given_", "short_side", "stored"),
    [
        ((1920, 1080), 0, (1920, 1080)),
        ((1920, 1080), 720, (1280, 720)),
        ((1080, 1920), 720, (720, 1280)),
        ((1280, 720), 720, (1280, 720)),
        ((852, 480), 720, (852, 480)),
        ((1922, 1082), 720, (1279, 720)),
        ((4000, 2), 1, (2000, 1)),
    ],
)
def test_stored_sizes(given_: tuple[int, int], short_side: int, stored: tuple[int, int]) -> None:
    assert stored_size(*given_, short_side) == stored


@given(st.integers(1, 8000), st.integers(1, 8000), st.integers(0, 4320))
def test_stored_sizes_keep_the_shape(width: int, height: int, short_side: int) -> None:
    small = stored_size(width, height, short_side)
    assert 1 <= small[0] <= width and 1 <= small[1] <= height
    if short_side:
        assert min(small) == min(width, height, short_side)
    factor = min(small) / min(width, height)
    assert abs(small[0] - width * factor) <= 0.5 and abs(small[1] - height * factor) <= 0.5
