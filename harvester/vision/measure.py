"""All that verdicts are made of, measured on the luma plane in integers: the same bits on every backend.

The 32x32 grid is S = A_h · Y · A_wᵀ, where A[i, j] is how much of pixel [32j, 32j + 32) lies in [i·n, (i + 1)·n),
in 1/32 pixel. Lines (and columns) between two borders of grid or tiles have the same weights, so they are summed
first; what is left is small. OpenCV and BLAS compute in floating point here, but only with integers that the type
holds exactly, in any order: float32 below 2^24 (255² · 258 lines), float64 below 2^53.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from harvester.model import GRID_SIDE, TILE_COLS, TILE_ROWS, Codec, Measurement, Picture
from harvester.vision.opencv import opencv

#: Most lines whose squared values add up exactly in float32: 258 · 255² < 2^24.
_EXACT_LINES = 258
#: Most pixels that a float32 counter counts exactly.
_EXACT_COUNT = 1 << 24

_Luma = NDArray[np.uint8]
_Sums = NDArray[np.float64]


def measure(picture: Picture) -> Measurement:
    """The measurement of a picture's display area (1.4 ms at 720p, 1.9 ms at 1080p on one core)."""
    y = luma8(picture)
    sums, squares = _line_sums(y)
    down, across = _layout(y.shape[0], TILE_ROWS), _layout(y.shape[1], TILE_COLS)
    grid = down.grid @ across.piece_sums(sums) @ across.grid.T
    return Measurement(
        codec=picture.stream.codec,
        width=y.shape[1],
        height=y.shape[0],
        grid=grid.astype(np.int64),
        histogram=_histogram(y),
        tile_sums=_tiles(sums, down, across),
        tile_squares=_tiles(squares, down, across),
        gradient=_gradient(y),
    )


def luma8(picture: Picture) -> _Luma:
    """The luma plane in 8 bits; deeper ones rounded, (y + 2) >> 2 for 10 bits, and clipped."""
    shift = picture.stream.bit_depth - 8
    if not shift:
        return np.ascontiguousarray(picture.y, dtype=np.uint8)
    rounded = ((picture.y >> (shift - 1)) + 1) >> 1  # = (y + 2^(shift - 1)) >> shift, without overflow
    return np.asarray(np.minimum(rounded, 255), dtype=np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class _Layout:
    """One axis cut at every border of grid cells and tiles.

    ``starts``: first pixel of each piece. ``grid`` (32, pieces): weight of a pixel of the piece in the cell, 1/32
    pixel. ``tiles`` (tiles, pieces): 1 where the piece lies in the tile.
    """

    starts: tuple[int, ...]
    ends: tuple[int, ...]
    grid: _Sums
    tiles: _Sums

    def piece_sums(self, values: _Sums) -> _Sums:
        """``values`` (lines, pixels of this axis) summed over each piece: (lines, pieces)."""
        return np.asarray(np.add.reduceat(values, self.starts, axis=1))


@lru_cache(maxsize=64)
def _layout(size: int, tiles: int) -> _Layout:
    cuts = {0, size}
    for border in range(1, GRID_SIDE):
        whole, rest = divmod(border * size, GRID_SIDE)
        cuts |= {whole, whole + (rest > 0)}  # a pixel that a cell's border divides is a piece of its own
    tile_edges = np.array([i * size // tiles for i in range(tiles + 1)])
    edges = np.array(sorted(cuts | set(tile_edges.tolist())))
    starts, ends = edges[:-1], edges[1:]
    cells = np.arange(GRID_SIDE)[:, None] * size
    covered = np.minimum(cells + size, GRID_SIDE * ends) - np.maximum(cells, GRID_SIDE * starts)
    inside = (tile_edges[:-1, None] <= starts) & (ends <= tile_edges[1:, None])
    return _Layout(
        tuple(starts.tolist()),
        tuple(ends.tolist()),
        np.maximum(covered, 0) / (ends - starts),
        inside.astype(float),
    )


def _line_sums(y: _Luma) -> tuple[_Sums, _Sums]:
    """Sums of Y and of Y² down the lines of each piece of the vertical layout: two arrays (pieces, width)."""
    cv2 = opencv()
    layout = _layout(y.shape[0], TILE_ROWS)
    sums = np.empty((len(layout.starts), y.shape[1]), np.float64)
    squares = np.empty_like(sums)
    for piece, (start, end) in enumerate(zip(layout.starts, layout.ends, strict=True)):
        lines = y[start:end]
        exact = cv2.CV_32F if end - start <= _EXACT_LINES else cv2.CV_64F
        sums[piece] = cv2.reduce(lines, 0, cv2.REDUCE_SUM, dtype=exact)
        squares[piece] = cv2.reduce(np.multiply(lines, lines, dtype=np.uint16), 0, cv2.REDUCE_SUM, dtype=exact)
    return sums, squares


def _tiles(values: _Sums, down: _Layout, across: _Layout) -> NDArray[np.int64]:
    return (down.tiles @ across.piece_sums(values) @ across.tiles.T).astype(np.int64)


def _histogram(y: _Luma) -> NDArray[np.int64]:
    """Pixels per level; counted in slabs, since OpenCV hands its counts out as float32."""
    cv2 = opencv()
    counts = np.zeros(256, np.int64)
    lines = max(1, _EXACT_COUNT // y.shape[1])
    for top in range(0, y.shape[0], lines):
        slab = cv2.calcHist([y[top : top + lines]], [0], None, [256], [0, 256])
        counts += slab.ravel().astype(np.int64)
    return counts


def _gradient(y: _Luma) -> int:
    return _difference(y[:, 1:], y[:, :-1]) + _difference(y[1:], y[:-1])


def _difference(one: _Luma, other: _Luma) -> int:
    cv2 = opencv()
    return int(cv2.norm(one, other, cv2.NORM_L1)) if one.size else 0


#: Layout of a packed measurement: magic, version, bytes of a number, codec, width, height, gradient.
_HEADER = struct.Struct("<2sBBBxIIQ")
_MAGIC, _VERSION = b"hm", 1
_CODECS = tuple(Codec)
_PARTS = (GRID_SIDE * GRID_SIDE, 256, TILE_ROWS * TILE_COLS, TILE_ROWS * TILE_COLS)
_NUMBERS = sum(_PARTS)


def pack(measurement: Measurement) -> bytes:
    """A measurement as a few kilobytes for the ledger; :func:`unpack` gives it back exactly.

    Numbers of 4 bytes if all fit, else 8; sorted by significance of their bytes, which deflate likes (5 kB for a
    game picture; a fifth more unsorted).
    """
    numbers = np.concatenate(
        [
            part.ravel()
            for part in (measurement.grid, measurement.histogram, measurement.tile_sums, measurement.tile_squares)
        ]
    )
    size = 4 if int(numbers.max()) < 1 << 32 else 8
    planes = np.ascontiguousarray(numbers.astype(f"<u{size}")).view(np.uint8).reshape(-1, size).T
    header = _HEADER.pack(
        _MAGIC,
        _VERSION,
        size,
        _CODECS.index(measurement.codec),
        measurement.width,
        measurement.height,
        measurement.gradient,
    )
    return header + zlib.compress(planes.tobytes(), 6)


def unpack(packed: bytes) -> Measurement:
    """The measurement of :func:`pack`. Raises ValueError for anything else."""
    if len(packed) < _HEADER.size:
        raise ValueError("a packed measurement is longer")
    magic, version, size, codec, width, height, gradient = _HEADER.unpack_from(packed)
    if (magic, version) != (_MAGIC, _VERSION) or size not in (4, 8) or codec >= len(_CODECS):
        raise ValueError("no packed measurement of a version known here")
    planes = np.frombuffer(_inflate(packed[_HEADER.size :], size * _NUMBERS), np.uint8).reshape(size, -1)
    numbers = np.ascontiguousarray(planes.T).view(f"<u{size}").ravel().astype(np.int64)
    if int(numbers.min()) < 0:
        raise ValueError("a packed measurement has no numbers above 2^63")
    grid, histogram, sums, squares = np.split(numbers, np.cumsum(_PARTS)[:-1])
    return Measurement(
        codec=_CODECS[codec],
        width=width,
        height=height,
        grid=grid.reshape(GRID_SIDE, GRID_SIDE),
        histogram=histogram,
        tile_sums=sums.reshape(TILE_ROWS, TILE_COLS),
        tile_squares=squares.reshape(TILE_ROWS, TILE_COLS),
        gradient=gradient,
    )


def _inflate(data: bytes, length: int) -> bytes:
    """Exactly ``length`` bytes, never more memory than that whatever ``data`` unpacks to."""
    stream = zlib.decompressobj()
    try:
        unpacked = stream.decompress(data, length + 1)
    except zlib.error as error:
        raise ValueError(f"a packed measurement is damaged: {error}") from None
    if len(unpacked) != length or not stream.eof or stream.unused_data:
        raise ValueError("a packed measurement has the wrong length")
    return unpacked
