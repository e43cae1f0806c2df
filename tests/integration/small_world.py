"""Footage of noise for worlds with many targets: every GOP is a picture of its own, two frames a second."""

from __future__ import annotations

import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

FPS = 2
GOP_FRAMES = 2 * FPS
#: Blocks of a picture, over its height and width: coarse enough to survive any encoder, and no two hashes near.
BLOCKS = (9, 16)


def write_footage(
    folder: Path, *, games: int, sessions: int, gops: int, sizes: Sequence[tuple[int, int]] = ((160, 90),)
) -> Path:
    """An index of ``sessions`` recordings of each of ``games`` games ("Game 0" ...), a channel each.

    ``gops``: length in GOPs of 2 s. ``sizes``: width and height of the pictures; a second size has 360 lines.
    """
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for number in range(games * sessions):
        names = [f"{number}-{height}.mp4" for _, height in sizes]
        for name, (width, height) in zip(names, sizes, strict=True):
            _encode(folder / name, number, gops, width, height)
        entry = {
            "game": f"Game {number % games}",
            "slug": f"game-{number % games}",
            "session": f"session {number}",
        }
        entry |= {"channel": f"channel {number}", "seconds": gops * 2, "fps": FPS, "file": names[0]}
        entry |= {"width": sizes[0][0], "height": sizes[0][1]}
        entries.append(entry | ({"file_360p": names[1]} if len(sizes) > 1 else {}))
    index = folder / "index.json"
    index.write_text(json.dumps(entries), encoding="utf-8")
    return index


def _encode(path: Path, seed: int, gops: int, width: int, height: int) -> None:
    structure = f"keyint={GOP_FRAMES}:min-keyint={GOP_FRAMES}:scenecut=0:open-gop=0:bframes=0:threads=1"
    rng = np.random.default_rng(seed)
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "x264-params": structure})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for gop in range(gops):
            planes = np.full((height * 3 // 2, width), 128, np.uint8)
            planes[:height] = _picture(rng, width, height)
            for number in range(GOP_FRAMES):
                frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
                frame.pts, frame.time_base = gop * GOP_FRAMES + number, Fraction(1, FPS)
                output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


def _picture(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    blocks = rng.integers(40, 220, BLOCKS, dtype=np.uint8)
    rows, columns = np.arange(height) * BLOCKS[0] // height, np.arange(width) * BLOCKS[1] // width
    picture: np.ndarray = blocks[rows[:, None], columns]
    return picture
