"""All that verdicts are made of, measured on the luma plane in integers: the same bits on every backend.

The 32x32 grid is S = A_h · Y · A_wᵀ, where A[i, j] is how much of pixel [32j, 32j + 32) lies in [i·n, (i + 1)·n),
in 1/32 pixel. Lines (and columns) between two borders of grid or tiles have the same weights, so they are summed
first; what is left is small. OpenCV and BLAS compute in floating point in places, but only with integers that the
type holds exactly, in any order: float32 below 2^24 (255² · 258 lines), float64 below 2^53.

Where the time goes (1080p, 12 game pictures, one core of an AMD EPYC): histogram 1.1 ms, sums 0.25, squares 0.25,
gradient 0.07, variogram 0.09, the rest 0.1. ``scripts/bench_stages.py`` measures it beside the plain ways.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from harvester.model import GRID_SIDE, TILE_COLS, TILE_ROWS, Codec, Measurement, Picture, Variogram
from harvester.vision.opencv import opencv

#: Most lines whose squared values add up exactly in float32: 258 · 255² < 2^24.
_EXACT_LINES = 258
#: Most pixels that a float32 counter counts exactly.
_EXACT_COUNT = 1 << 24

#: Lags of a variogram in the shorter side of a picture: 18 pixels at 1080p, 3 at 160p. Blur of a smaller radius is
#: that of any small rendition; :mod:`harvester.vision.filters` has what was measured.
LAGS = 60

_Luma = NDArray[np.uint8]
_Sums = NDArray[np.float64]


def measure(picture: Picture) -> Measurement:
    """The measurement of a picture's display area."""
    y = luma8(picture)
    down, across = _layout(y.shape[0], TILE_ROWS), _layout(y.shape[1], TILE_COLS)
    sums = across.piece_sums(_line_sums(y, down))
    squares = across.piece_sums(_line_squares(y))
    grid = down.grid @ sums @ across.grid.T
    return Measurement(
        codec=picture.stream.codec,
        width=y.shape[1],
        height=y.shape[0],
        grid=grid.astype(np.int64),
        histogram=_histogram(y),
        tile_sums=(down.tiles @ sums @ across.tiles.T).astype(np.int64),
        tile_squares=(squares @ across.tiles.T).astype(np.int64),
        gradient=_gradient(y),
        variogram=_variogram(y),
    )


def thumbnail(measurement: Measurement) -> NDArray[np.uint8]:
    """Mean luma of each tile, rounded down: uint8 (18, 32); a tile without pixels is 0."""
    pixels = np.maximum(1, tile_pixels(measurement.height, measurement.width))
    means: NDArray[np.uint8] = (measurement.tile_sums // pixels).astype(np.uint8)
    return means


@lru_cache(maxsize=64)
def tile_pixels(height: int, width: int) -> NDArray[np.int64]:
    """How many pixels each tile of a picture has: (18, 32); 0 for some if it is smaller than that. Read only."""
    heights = np.diff(np.arange(TILE_ROWS + 1) * height // TILE_ROWS)
    widths = np.diff(np.arange(TILE_COLS + 1) * width // TILE_COLS)
    pixels: NDArray[np.int64] = heights[:, None] * widths[None]
    pixels.flags.writeable = False
    return pixels


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

    def piece_sums(self, values: NDArray[np.int32] | _Sums) -> _Sums:
        """``values`` (lines, pixels of this axis) summed over each piece: (lines, pieces)."""
        return np.add.reduceat(values, self.starts, axis=1).astype(np.float64)


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


def _line_sums(y: _Luma, down: _Layout) -> NDArray[np.int32]:
    """Sums of Y down the lines of each piece of the vertical layout: (pieces, width)."""
    cv2 = opencv()
    sums = np.empty((len(down.starts), y.shape[1]), np.int32)
    for piece, (start, end) in enumerate(zip(down.starts, down.ends, strict=True)):
        sums[piece] = cv2.reduce(y[start:end], 0, cv2.REDUCE_SUM, dtype=cv2.CV_32S)
    return sums


def _line_squares(y: _Luma) -> _Sums:
    """Sums of Y² down the lines of each row of tiles: (TILE_ROWS, width); a row without lines is zero."""
    sums = np.zeros((TILE_ROWS, y.shape[1]), np.float64)
    for row in range(TILE_ROWS):
        lines = y[row * y.shape[0] // TILE_ROWS : (row + 1) * y.shape[0] // TILE_ROWS]
        if len(lines):
            sums[row] = _squares(lines)
    return sums


def _squares(lines: _Luma) -> _Sums:
    """Sums of squares down some lines, at least one: (1, width)."""
    cv2 = opencv()
    squares = lines.astype(np.uint16)
    squares *= squares
    exact = cv2.CV_32F if len(lines) <= _EXACT_LINES else cv2.CV_64F
    return np.asarray(cv2.reduce(squares, 0, cv2.REDUCE_SUM, dtype=exact), np.float64)


def _histogram(y: _Luma) -> NDArray[np.int64]:
    """Pixels per level.

    Counted as pairs of a pixel and the one half a picture below: half as many steps, and 65,536 counters to
    scatter over. Among 256 the next pixel's is often the one just written, and the processor waits for it: 1.7 ms
    at 1080p against 1.1.
    """
    half = y.shape[0] // 2
    counts = _joint_counts(y[:half], y[half : 2 * half])
    levels: NDArray[np.int64] = counts.sum(axis=0) + counts.sum(axis=1)
    if y.shape[0] % 2:
        levels += np.bincount(y[-1], minlength=256)
    return levels


def _joint_counts(one: _Luma, other: _Luma) -> NDArray[np.int64]:
    """How often each pair of levels stands at the same place, (256, 256); by slabs, OpenCV counts in float32."""
    cv2 = opencv()
    counts = np.zeros((256, 256), np.int64)
    lines = max(1, _EXACT_COUNT // one.shape[1])
    for top in range(0, one.shape[0], lines):
        slabs = [one[top : top + lines], other[top : top + lines]]
        counts += cv2.calcHist(slabs, [0, 1], None, [256, 256], [0, 256, 0, 256]).astype(np.int64)
    return counts


def _gradient(y: _Luma) -> int:
    return _difference(y[:, 1:], y[:, :-1]) + _difference(y[1:], y[:-1])


def _variogram(y: _Luma) -> Variogram:
    """Of every line that is a multiple of the lag: 60 of them tell as much as all do, in an 18th of the time."""
    lag = max(1, (min(y.shape) + LAGS // 2) // LAGS)
    lines = y[::lag]
    return Variogram(
        _squared_steps(lines[:, lag:], lines[:, :-lag]) + _squared_steps(lines[1:], lines[:-1]),
        _squared_steps(lines[:, 2 * lag :], lines[:, : -2 * lag]) + _squared_steps(lines[2:], lines[:-2]),
    )


def _squared_steps(one: _Luma, other: _Luma) -> int:
    """Not OpenCV's norm: that squares the root again, and is one off now and then."""
    return int(_squares(opencv().absdiff(one, other)).sum()) if one.size else 0


def _difference(one: _Luma, other: _Luma) -> int:
    cv2 = opencv()
    return int(cv2.norm(one, other, cv2.NORM_L1)) if one.size else 0


#: Layout of a packed measurement: magic, version, bytes of a number, codec, width, height, gradient; from
#: version 2 on the variogram.
_HEADER, _VARIOGRAM = struct.Struct("<2sBBBxIIQ"), struct.Struct("<QQ")
_MAGIC, _WITHOUT_VARIOGRAM, _VERSION = b"hm", 1, 2
_CODECS = tuple(Codec)
_PARTS = (GRID_SIDE * GRID_SIDE, 256, TILE_ROWS * TILE_COLS, TILE_ROWS * TILE_COLS)
_NUMBERS = sum(_PARTS)
#: Of deflate: level 6 packs 2 % smaller and takes half as long again (0.15 ms in place of 0.10).
_LEVEL = 1


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
    variogram = b"" if measurement.variogram is None else _VARIOGRAM.pack(*measurement.variogram)
    header = _HEADER.pack(
        _MAGIC,
        _VERSION if variogram else _WITHOUT_VARIOGRAM,
        size,
        _CODECS.index(measurement.codec),
        measurement.width,
        measurement.height,
        measurement.gradient,
    )
    return header + variogram + zlib.compress(planes.tobytes(), _LEVEL)


def unpack(packed: bytes) -> Measurement:
    """The measurement of :func:`pack`, also of earlier versions. Raises ValueError for anything else."""
    if len(packed) < _HEADER.size:
        raise ValueError("a packed measurement is longer")
    magic, version, size, codec, width, height, gradient = _HEADER.unpack_from(packed)
    known = magic == _MAGIC and version in (_WITHOUT_VARIOGRAM, _VERSION)
    if not known or size not in (4, 8) or codec >= len(_CODECS):
        raise ValueError("no packed measurement of a version known here")
    variogram, rest = _unpack_variogram(packed[_HEADER.size :], version)
    planes = np.frombuffer(_inflate(rest, size * _NUMBERS), np.uint8).reshape(size, -1)
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
        variogram=variogram,
    )


def _unpack_variogram(packed: bytes, version: int) -> tuple[Variogram | None, bytes]:
    """What follows the header: the variogram, None if that version had none, and the rest."""
    if version == _WITHOUT_VARIOGRAM:
        return None, packed
    if len(packed) < _VARIOGRAM.size:
        raise ValueError("a packed measurement is longer")
    return Variogram(*_VARIOGRAM.unpack_from(packed)), packed[_VARIOGRAM.size :]


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
