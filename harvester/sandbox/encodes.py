"""Encodes of varied, stamped or drawn footage, kept in a folder that outlives the process.

An encode is made when it is first asked for, or beforehand by :meth:`Encodes.prepare`; it is a pure function of
the footage and its recipe, so its file's name is a hash of both.
"""

from __future__ import annotations

import getpass
import hashlib
import os
import stat
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache, cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harvester.sandbox.encoding import Encoding
from harvester.sandbox.media import encode
from harvester.sandbox.stamp import Stamp, draw_stamp
from harvester.sandbox.world import Coding, Piece

#: Part of every cache key: raise it when an encode would come out differently.
ENCODE_VERSION = 1
#: Encodes made at a time: each has two threads of its own.
_AT_A_TIME = max(1, (os.cpu_count() or 1) // 2)


class Encodes:
    """The cache folder. ``folder`` None: one of the platform's temp, private to the user. Thread-safe."""

    def __init__(self, folder: Path | None = None) -> None:
        self._given = folder

    @cached_property
    def _folder(self) -> Path:
        """The cache folder, found when it is first needed."""
        return self._given or private_folder()

    def prepare(self, pieces: Iterable[Piece]) -> int:
        """Make every encode of ``pieces`` that is missing; returns how many."""
        wanted = {
            self._target(piece, file.height): (piece, file.height)
            for piece in pieces
            if piece.encoded
            for file in piece.session.files
        }
        missing = [recipe for target, recipe in wanted.items() if not target.is_file()]
        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            for _ in pool.map(lambda recipe: self.path(*recipe), missing):
                pass
        return len(missing)

    def path(self, piece: Piece, height: int) -> Path:
        """The MP4 file of ``piece`` at that height, encoded if it is not there yet."""
        target = self._target(piece, height)
        if target.is_file():
            return target
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished = target.with_suffix(f".{os.getpid()}.{threading.get_ident()}.mp4")
        try:
            encode(
                piece.session.files[0].path,
                unfinished,
                _encoding(piece, height),
                seconds=piece.session.seconds,
                draw=_painter(piece),
            )
            unfinished.replace(target)
        finally:
            unfinished.unlink(missing_ok=True)
        return target

    def _target(self, piece: Piece, height: int) -> Path:
        stamp = (piece.stamp_category, piece.number if piece.stamp_category is not None else None)
        recipe = (_encoding(piece, height), piece.session.seconds, stamp, piece.drawing)
        text = repr((ENCODE_VERSION, _content(piece.session.files[0].path), recipe))
        return self._folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.mp4"


def private_folder() -> Path:
    """The folder of the platform's temp that the user's processes share; a new one where it cannot be trusted.

    Its name can be guessed: whoever makes it first, or a link in its place, could put in video of their own.
    """
    folder = Path(tempfile.gettempdir()) / f"harvester-sandbox-{getpass.getuser()}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077:
        return folder
    return Path(tempfile.mkdtemp(prefix=f"{folder.name}-"))


@cache
def _content(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _encoding(piece: Piece, height: int) -> Encoding:
    file = piece.session.file(height)
    coding = piece.coding or Coding()
    return Encoding(
        width=file.width,
        height=file.height,
        fps=coding.fps or 0,
        rate="crf=20",
        preset="veryfast" if piece.coding is None else "ultrafast",  # what only has to decode
        filters=tuple(_look_filters(piece)),
        codec=file.codec,
        gop_frames=coding.gop_frames,
    )


def _look_filters(piece: Piece) -> Iterator[tuple[str, str]]:
    look = piece.look
    if look is None:
        return
    yield "crop", f"iw*{look.scale}:ih*{look.scale}:iw*{look.left}:ih*{look.top}"
    if look.mirror:
        yield "hflip", ""
    yield "lutyuv", f"u=clip(val+{look.tint[0]}\\,16\\,240):v=clip(val+{look.tint[1]}\\,16\\,240)"


def _painter(piece: Piece) -> Callable[[NDArray[np.uint8], int], None] | None:
    """What paints on each picture: a menu, a stamp."""
    if piece.drawing == "menu":
        return lambda luma, _number: draw_menu(luma)
    category = piece.stamp_category
    if category is None:
        return None
    fps = piece.fps
    return lambda luma, number: draw_stamp(luma, Stamp(category, piece.number, round(1000 * number / fps)))


def draw_menu(luma: NDArray[np.uint8]) -> None:
    """Paint the main menu of no game in particular over the luma plane (height, width): title, four entries."""
    height, width = luma.shape
    luma[:] = (60 + np.arange(width) * 50 // width).astype(np.uint8)
    luma[height // 8 : height // 4, width // 6 : width // 2] = 210
    for entry in range(4):
        top = height * (7 + 3 * entry) // 20
        luma[top : top + height // 12, width // 6 : width // 6 + width // (3 + entry)] = 120 + 25 * entry
    luma[height // 2 :, width * 2 // 3 : width * 11 // 12] = 35
