"""Small pictures that stand inside a page, as ``data:`` URIs, within a budget of bytes."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harvester.report.contact import read_picture
from harvester.vision.measure import thumbnail, unpack
from harvester.vision.opencv import opencv

#: Longer side of a frame on the page (pixels): two abreast on a phone of 360 pixels with a dense screen.
FRAME_SIDE = 256
#: 256 by 144 pixels of a game at this quality: 6 to 10 kB.
_JPEG_QUALITY = 70
#: Darkest and brightest luma of video as it is coded (ITU-R BT.601, 8 bits).
_BLACK, _WHITE = 16, 235


class Budget:
    """Bytes of pictures that a page may still hold; ``left_out`` counts the pictures for which none were left."""

    def __init__(self, n_bytes: int) -> None:
        self._left = n_bytes
        self.left_out = 0

    def takes(self, uri: str) -> bool:
        """Whether the picture fits: then it is paid for."""
        if len(uri) > self._left:
            self.left_out += 1
            return False
        self._left -= len(uri)
        return True


def frame_uri(file: Path) -> str:
    """The image, shrunk to :data:`FRAME_SIDE`, as JPEG; "" if it cannot be read (it may just have left)."""
    image = read_picture(file)
    if image is None:
        return ""
    cv2 = opencv()
    height, width = image.shape[:2]
    scale = min(1.0, FRAME_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return _uri(".jpg", cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.IMWRITE_JPEG_QUALITY)


def tiles_uri(packed: bytes) -> str:
    """The likeness of 32 by 18 grey tiles that is left of a measured picture, as PNG; "" if it is damaged."""
    try:
        tiles = thumbnail(unpack(packed)).astype(np.int64)
    except ValueError:
        return ""
    grey = np.clip((tiles - _BLACK) * 255 // (_WHITE - _BLACK), 0, 255)
    return _uri(".png", grey.astype(np.uint8))


def _uri(form: str, image: NDArray[np.uint8], quality: int | None = None) -> str:
    done, data = opencv().imencode(form, image, [] if quality is None else [quality, _JPEG_QUALITY])
    if not done:
        return ""
    kind = {".jpg": "image/jpeg", ".png": "image/png"}[form]
    return f"data:{kind};base64,{base64.b64encode(bytes(data)).decode()}"
