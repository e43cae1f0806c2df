"""Decoded planes to RGB and to JPEG, in the right colours.

A stream says how its planes were made: matrix (BT.709, BT.601, ...) and range; JPEG (JFIF) knows one way, full
range BT.601, and libjpeg gets there from RGB. Chroma samples are repeated, not interpolated, as libswscale does at
equal size: averaged again by JPEG's 4:2:0 they come out as they went in; interpolated they would be blurred twice.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harvester.model import Picture, StreamInfo
from harvester.vision.opencv import opencv

#: (Kr, Kb) of MatrixCoefficients, ITU-T H.273 table 4: BT.709; FCC; BT.601 in its two forms; SMPTE 240M; BT.2020.
_LUMA_WEIGHTS = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
    10: (0.2627, 0.0593),
}
_BT709, _BT601 = 1, 6

#: A stream that does not tell its matrix is BT.709 from this many lines on, else BT.601, as Chromium takes it
#: (media/ffmpeg/ffmpeg_common.cc: "SD video is usually Rec.601, and HD is usually Rec.709").
HD_LINES = 720

#: (horizontal, vertical) luma samples of a chroma sample.
_SUBSAMPLING = {"420": (2, 2), "422": (2, 1), "444": (1, 1)}

#: Lines converted at a time (even), 0.4 MB at 1080p, which stay in a cache of level 2: 1.7 ms for the picture.
_BAND = 64

_Image = NDArray[np.uint8]


def to_rgb(picture: Picture, *, short_side: int = 0) -> _Image:
    """The picture as RGB, uint8 (height, width, 3); ``short_side`` as for :func:`encode`."""
    return _sized(_converted(picture, "RGB"), short_side)


def encode(picture: Picture, *, quality: int, short_side: int = 0) -> bytes:
    """The picture as a baseline JPEG, 4:2:0, ``quality`` 1..100; the same bytes every time.

    ``short_side`` (pixels, 0 = as decoded): the shorter side is reduced to it with an area filter, aspect kept; a
    smaller picture stays as it is.
    """
    cv2 = opencv()
    image = _sized(_converted(picture, "BGR"), short_side)
    sampling = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420)
    written, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality, *sampling])
    if not written:
        raise ValueError(f"no JPEG of {picture.stream.width}x{picture.stream.height} pixels")
    return bytes(data)


def stored_size(width: int, height: int, short_side: int) -> tuple[int, int]:
    """(width, height) in pixels of a picture that :func:`encode` has reduced; never enlarged, never empty."""
    shorter = min(width, height)
    if not short_side or shorter <= short_side:
        return width, height
    return _scaled(width, short_side, shorter), _scaled(height, short_side, shorter)


def _scaled(length: int, part: int, whole: int) -> int:
    return (2 * length * part + whole) // (2 * whole)  # rounded, halves up


def _sized(image: _Image, short_side: int) -> _Image:
    height, width = image.shape[:2]
    size = stored_size(width, height, short_side)
    if size == (width, height):
        return image
    cv2 = opencv()
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def _converted(picture: Picture, order: str) -> _Image:
    """RGB or BGR, as ``order`` names it. Band by band, so that what is between planes and image stays in cache."""
    stream = picture.stream
    matrix = _matrix(_matrix_number(stream), stream.full_range, stream.bit_depth, order)
    image = np.empty((stream.height, stream.width, 3), np.uint8)
    for top in range(0, stream.height, _BAND):
        band, lines = _band(picture, top), image[top : top + _BAND]
        if band.dtype == np.uint8:
            opencv().transform(band, matrix, dst=lines)  # rounded and clipped to the planes' type
        else:
            np.minimum(opencv().transform(band, matrix), 255, out=lines, casting="unsafe")
    return image


def _band(picture: Picture, top: int) -> Any:
    """Y, Cb, Cr of every pixel of the lines from ``top`` on: (lines, width, 3), of the planes' own type."""
    y = picture.y[top : top + _BAND]
    if picture.u is None or picture.v is None:
        neutral = np.full_like(y, 1 << (picture.stream.bit_depth - 1))
        return opencv().merge([y, neutral, neutral])
    across, down = _SUBSAMPLING[picture.stream.chroma]
    chroma = [plane[top // down : (top + _BAND) // down] for plane in (picture.u, picture.v)]
    return opencv().merge([y, *(_repeated(plane, across, down)[: y.shape[0], : y.shape[1]] for plane in chroma)])


def _repeated(plane: Any, across: int, down: int) -> Any:
    """Every sample ``across`` times to the right and ``down`` times downward.

    To the right by interleaving the plane with itself: cv2.resize takes half of the whole conversion for it.
    """
    wide = opencv().merge([plane] * across).reshape(plane.shape[0], -1) if across > 1 else plane
    return np.repeat(wide, down, axis=0) if down > 1 else wide


def _matrix_number(stream: StreamInfo) -> int:
    if stream.matrix in _LUMA_WEIGHTS:
        return stream.matrix
    return _BT709 if stream.height >= HD_LINES else _BT601


@lru_cache(maxsize=32)
def _matrix(number: int, full_range: bool, bit_depth: int, order: str) -> NDArray[np.float64]:
    """(3, 4): coded Y, Cb, Cr and 1 to 8-bit R, G, B (H.273 8.3, equations 20 ff., inverted)."""
    kr, kb = _LUMA_WEIGHTS[number]
    kg = 1 - kr - kb
    step = 1 << (bit_depth - 8)
    top = (1 << bit_depth) - 1
    black, luma, chroma = (0, top, top) if full_range else (16 * step, 219 * step, 224 * step)
    y, cb, cr = 255 / luma, 2 * (1 - kb) * 255 / chroma, 2 * (1 - kr) * 255 / chroma
    rows = {"R": (y, 0, cr), "G": (y, -cb * kb / kg, -cr * kr / kg), "B": (y, cb, 0)}
    linear = np.array([rows[colour] for colour in order])
    if bit_depth == 8:  # the precision of OpenCV's 8-bit transform: rounded here, greys come out exactly grey
        linear = np.rint(linear * 1024) / 1024
    zero = np.array([black, 128 * step, 128 * step])
    return np.hstack([linear, -linear @ zero[:, None]])


def decode(data: bytes) -> _Image:
    """A JPEG's picture as RGB, uint8 (height, width, 3). Raises :class:`ValueError` if libjpeg cannot read it.

    The size is the file's own: look at it first where it comes from outside.
    """
    cv2 = opencv()
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        image = None
    if image is None:
        raise ValueError("no readable JPEG")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))  # 50 times as quick as a copy of [:, :, ::-1]
