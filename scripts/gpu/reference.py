"""What libavcodec makes of an access unit, in this very process: the picture that every other way must equal."""

from __future__ import annotations

import hashlib
import threading
from functools import lru_cache

import numpy as np

from harvester.decode.cpu import CpuDecoder
from harvester.model import AccessUnit, Measurement, Picture

_local = threading.local()


def decode(unit: AccessUnit) -> Picture:
    """By this thread's decoder, afresh."""
    if not hasattr(_local, "decoder"):
        _local.decoder = CpuDecoder()
    picture: Picture = _local.decoder.decode(unit)
    return picture


@lru_cache(maxsize=32)
def _nv12(unit: AccessUnit) -> np.ndarray:
    return nv12(decode(unit))


def expected(unit: AccessUnit) -> np.ndarray:
    """The NV12 block of a unit; kept for the next time."""
    return _nv12(unit)


def nv12(picture: Picture) -> np.ndarray:
    """A 4:2:0 picture as NV12 lines: luma, then rows of interleaved chroma; deeper values in the low bits."""
    assert picture.u is not None and picture.v is not None
    height, width = picture.y.shape
    block = np.empty((height + picture.u.shape[0], width), picture.y.dtype)
    block[:height], block[height:, 0::2], block[height:, 1::2] = picture.y, picture.u, picture.v
    return block


def sha256(block: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(block).tobytes()).hexdigest()


def same(block: np.ndarray, unit: AccessUnit) -> bool:
    """Whether an NV12 block is the picture of that unit, bit for bit."""
    wanted = expected(unit)
    return block.shape == wanted.shape and bool(np.array_equal(block, wanted))


def same_measurement(one: Measurement, other: Measurement) -> bool:
    """Every integer of two measurements."""
    arrays = ("grid", "histogram", "tile_sums", "tile_squares")
    numbers = ("width", "height", "gradient", "variogram")
    return all(getattr(one, name) == getattr(other, name) for name in numbers) and all(
        np.array_equal(getattr(one, name), getattr(other, name)) for name in arrays
    )
