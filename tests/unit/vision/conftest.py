"""Pictures for the tests of vision: frames of free games, and planes made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harvester.model import Codec, Picture, StreamInfo

FRAMES = sorted((Path(__file__).parents[2] / "data" / "frames").glob("*.jpg"))


@pytest.fixture(params=[path.stem for path in FRAMES])
def game_frame(request: pytest.FixtureRequest) -> np.ndarray:
    """One of several game frames, RGB (270, 480, 3)."""
    path = next(path for path in FRAMES if path.stem == request.param)
    return np.asarray(Image.open(path))


def gray_picture(y: np.ndarray, **info: Any) -> Picture:
    return Picture(StreamInfo(Codec.H264, y.shape[1], y.shape[0], chroma="400", **info), y, None, None)


def random_picture(width: int, height: int, seed: int = 0, **info: Any) -> Picture:
    """Noise with every level a plane can hold."""
    stream = StreamInfo(Codec.H264, width, height, **info)
    rng = np.random.default_rng(seed)
    across, down = {"420": (2, 2), "422": (2, 1), "444": (1, 1)}[stream.chroma]
    top, dtype = (1 << stream.bit_depth, np.uint8 if stream.bit_depth == 8 else np.uint16)
    small = (-(-height // down), -(-width // across))
    return Picture(
        stream, *(rng.integers(0, top, shape).astype(dtype) for shape in ((height, width), small, small))
    )
