"""A contact sheet: one picture that shows at a glance what a dataset holds, a row of frames for each category."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harvester.errors import MachineError
from harvester.report.writing import replace_file
from harvester.text import printable
from harvester.vision.opencv import opencv

#: Most frames shown of a category: eight of 240 pixels make a sheet that fits a full-HD screen.
FRAMES_PER_CATEGORY = 8
#: Size of a frame on the sheet (pixels), 16:9 as nearly all streams are; others are letterboxed into it.
TILE_WIDTH, TILE_HEIGHT = 240, 135
#: Most categories shown, in the order given: 64 rows are 11 000 pixels, far below JPEG's 65 535.
MAX_CATEGORIES = 64

_LABEL_HEIGHT = 28
_GAP = 4
_PAPER, _INK, _EMPTY = 24, 230, 48  # grey levels
_FONT_SCALE = 0.55
_CHARACTER_WIDTH = 11  # widest of cv2's Hershey simplex at that scale (pixels)
_JPEG_QUALITY = 85

Image = NDArray[np.uint8]


def contact_sheet(
    images: Sequence[tuple[str, Sequence[Path]]],
    out: Path,
    *,
    per_category: int = FRAMES_PER_CATEGORY,
    seed: str = "harvester",
) -> Path | None:
    """Draw rows of up to ``per_category`` frames under their category's label into the JPEG file ``out``.

    ``images``: label and image files of each category. Which frames are shown depends on ``seed`` and their file
    names alone. An image that cannot be read leaves its place grey. Returns ``out``, or None (and writes nothing)
    when there is no image at all. Raises :class:`MachineError` if ``out`` cannot be written; an older sheet of
    that name is then still whole.
    """
    rows = [(label, pick(files, per_category, seed)) for label, files in images if files]
    if not rows:
        return None
    shown = rows[:MAX_CATEGORIES]
    strips = [_row(label, files, per_category) for label, files in shown]
    if len(rows) > len(shown):
        strips.append(_label(f"... and {len(rows) - len(shown)} more categories", _sheet_width(per_category)))
    replace_file(out, _jpeg(np.vstack(strips)), "the contact sheet")
    return out


def pick(files: Iterable[Path], count: int, seed: str) -> list[Path]:
    """``count`` of the ``files`` by seeded chance, whatever their order, sorted by name."""

    def chance(file: Path) -> bytes:
        return hashlib.sha256(f"{seed}\0{file.name}".encode(errors="surrogateescape")).digest()

    return sorted(sorted(files, key=chance)[:count])


def ascii_fold(text: str) -> str:
    """``text`` in the printable ASCII that cv2 can draw: accents off, what is left over as ``?``."""
    folded = unicodedata.normalize("NFKD", printable(text))
    bare = "".join(c for c in folded if not unicodedata.combining(c))
    return bare.encode("ascii", "replace").decode()


def _sheet_width(per_category: int) -> int:
    return per_category * (TILE_WIDTH + _GAP) + _GAP


def _row(label: str, files: Sequence[Path], per_category: int) -> Image:
    """A label and its frames (height, width, 3), BGR."""
    width = _sheet_width(per_category)
    strip = _paper(TILE_HEIGHT + _GAP, width)
    for place, file in enumerate(files):
        left = _GAP + place * (TILE_WIDTH + _GAP)
        strip[:TILE_HEIGHT, left : left + TILE_WIDTH] = _tile(file)
    return np.vstack([_label(label, width), strip])


def _paper(height: int, width: int) -> Image:
    return np.full((height, width, 3), _PAPER, np.uint8)


def _label(text: str, width: int) -> Image:
    cv2 = opencv()
    strip = _paper(_LABEL_HEIGHT, width)
    fitting = ascii_fold(text)[: width // _CHARACTER_WIDTH]
    baseline = (2 * _GAP, _LABEL_HEIGHT - 2 * _GAP)
    cv2.putText(strip, fitting, baseline, cv2.FONT_HERSHEY_SIMPLEX, _FONT_SCALE, (_INK,) * 3, 1, cv2.LINE_AA)
    return strip


def _tile(file: Path) -> Image:
    """The image, shrunk or enlarged into a tile with its aspect kept (TILE_HEIGHT, TILE_WIDTH, 3), BGR."""
    tile = np.full((TILE_HEIGHT, TILE_WIDTH, 3), _EMPTY, np.uint8)
    image = read_picture(file)
    if image is None:
        return tile
    height, width = image.shape[:2]
    scale = min(TILE_WIDTH / width, TILE_HEIGHT / height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    left, top = (TILE_WIDTH - size[0]) // 2, (TILE_HEIGHT - size[1]) // 2
    tile[top : top + size[1], left : left + size[0]] = opencv().resize(
        image, size, interpolation=opencv().INTER_AREA
    )
    return tile


def read_picture(file: Path) -> Image | None:
    """A picture (H, W, 3), BGR; None for what is no picture."""
    cv2 = opencv()
    try:
        data = np.frombuffer(file.read_bytes(), np.uint8)
    except OSError:
        return None
    image: Image | None = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    return image


def _jpeg(sheet: Image) -> bytes:
    cv2 = opencv()
    done, data = cv2.imencode(".jpg", sheet, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    if not done:
        raise MachineError("the contact sheet could not be encoded as JPEG")
    return bytes(data)
