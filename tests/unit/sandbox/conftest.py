"""Tiny footage: 320x180 pictures whose brightness tells session and number, closed two-second GOPs with B-frames."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

FPS = 6
SECONDS = 12


def make_video(path: Path, base: int, *, width: int = 320, height: int = 180, seconds: int = SECONDS) -> None:
    """A video whose pictures drift from luma ``base``, brighter to the right, with a moving bar."""
    structure = f"keyint={2 * FPS}:min-keyint={2 * FPS}:scenecut=0:open-gop=0:bframes=2:b-adapt=0:threads=1"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "x264-params": structure})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(seconds * FPS):
            planes = np.full((height * 3 // 2, width), 128, np.uint8)
            planes[:height] = base + number + np.arange(width) * 40 // width
            planes[:height, (number * 3) % width] = 235
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


def entry(name: str, game: str | None, channel: str, **more: object) -> dict[str, object]:
    """One index entry for ``name.mp4``."""
    slug = "junk" if game is None else game.lower().replace(" ", "-")
    base = {"file": f"{name}.mp4", "game": game, "slug": slug, "session": name, "channel": channel}
    size = {"seconds": SECONDS, "width": 320, "height": 180, "fps": float(FPS), "bytes": 1, "licence": "CC0"}
    return {**base, **size, "derived_from": None, **more}


@pytest.fixture(scope="session")
def tiny_index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two games, three channels, junk in front of one of them and junk of a channel without a game."""
    folder = tmp_path_factory.mktemp("footage")
    for number, name in enumerate(("alpha", "beta", "gamma", "soon")):
        seconds = 4 if name == "soon" else SECONDS
        make_video(folder / f"{name}.mp4", 40 + 30 * number, seconds=seconds)
    sessions = [
        entry("alpha", "First Game", "ann"),
        entry("beta", "First Game", "bob"),
        entry("gamma", "Second Game", "cleo"),
        entry("soon", None, "bob", seconds=4),
        entry("soon", None, "nobody", seconds=4, session="lost"),
    ]
    index = folder / "index.json"
    index.write_text(json.dumps(sessions))
    return index


def decoded(data: bytes | Path) -> list[tuple[float, np.ndarray]]:
    """(presentation time, luma) of every picture, by libavformat and libavcodec: the oracle."""
    import io

    source = io.BytesIO(data) if isinstance(data, bytes) else str(data)
    with av.open(source) as container:
        return [
            (float(frame.pts * frame.time_base), frame.to_ndarray(format="yuv420p")[: frame.height].copy())
            for frame in container.decode(video=0)
        ]
