"""Scenes to video files, drawn once and kept: H.264, 640 x 360, a GOP of two pictures in two seconds a segment.

Beside each file stand the hashes of the pictures that its segments begin with, as they are decoded.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np

from harvester.model import Codec, Picture, StreamInfo
from harvester.vision.measure import measure
from harvester.vision.phash import phash
from labels.cards import CARDS, TALKS
from labels.drawing import HEIGHT, WIDTH, Image
from labels.footage import Footage
from labels.games import DRAWN
from labels.overlays import overlay_of
from labels.world import SEGMENT_S, Scene

#: Part of every name in the cache: raise it when a scene would be drawn differently.
VERSION = 1
#: Closed GOPs of two pictures; quality like that of a stream of 360 lines (some 12 kB a keyframe).
_X264 = "keyint=2:min-keyint=2:scenecut=0:open-gop=0:bframes=0:threads=1"
_CRF = "24"
_DESIGNS = {design.name: design for design in (*CARDS, *TALKS)}


@dataclass(frozen=True, slots=True)
class Drawn:
    """A scene as video, and the hashes of the first pictures of its segments."""

    path: Path
    hashes: tuple[int, ...]


class Studio:
    """Draws scenes into the folder ``cache``. ``games``: names by category id; ``footage``: by name."""

    def __init__(self, cache: Path, games: Mapping[str, str], footage: Mapping[str, Footage], mark: str) -> None:
        self._cache, self._games, self._footage, self._mark = cache, games, footage, mark
        cache.mkdir(parents=True, exist_ok=True)

    def picture(self, scene: Scene, segment: int) -> Image:
        """What the segment of that number begins with."""
        shown, at_s = scene.shown, segment * SEGMENT_S
        if not shown.game:
            return _DESIGNS[shown.design].picture(scene.skin, scene.says, at_s)
        image = self.gameplay(self._games[shown.game], scene.seed, segment)
        overlay_of(scene.skin).lay_over(image, at_s)
        return image

    def gameplay(self, game: str, seed: str, number: int, *, held_out: bool = False) -> Image:
        """The bare game, the picture of that number of a broadcast."""
        if game in DRAWN:
            return DRAWN[game](seed, number * SEGMENT_S)
        return self._footage[game].picture(seed, number, held_out=held_out)

    def draw(self, scenes: Sequence[Scene]) -> list[Drawn]:
        """All of them, those that are missing first drawn, on all cores."""
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            return list(pool.map(self._drawn, scenes))

    def _drawn(self, scene: Scene) -> Drawn:
        name = hashlib.sha256(
            repr((VERSION, self._mark, scene, sorted(self._games.items()))).encode()
        ).hexdigest()[:32]
        path, told = self._cache / f"{name}.mp4", self._cache / f"{name}.json"
        if not told.is_file():
            unfinished = self._cache / f"{name}.{os.getpid()}.{threading.get_ident()}.mp4"
            _encode(unfinished, (self.picture(scene, segment) for segment in range(scene.segments)))
            unfinished.replace(path)
            told.write_text(json.dumps(list(_hashes(path))), encoding="utf-8")
        return Drawn(path, tuple(json.loads(told.read_text(encoding="utf-8"))))


def _encode(path: Path, pictures: Iterator[Image]) -> None:
    with av.open(str(path), "w", options={"movflags": "faststart"}) as output:
        stream = cast(Any, output.add_stream("libx264", rate=1))
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.options = {"preset": "ultrafast", "crf": _CRF, "x264-params": _X264}
        number = 0
        for image in pictures:
            for _ in range(2):
                frame = av.VideoFrame.from_ndarray(image, format="bgr24").reformat(format="yuv420p")
                frame.pts, frame.time_base = number, Fraction(1)
                number += 1
                output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


def _hashes(path: Path) -> Iterator[int]:
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        video.codec_context.skip_frame = "NONKEY"
        for frame in container.decode(video):
            y = np.ascontiguousarray(frame.to_ndarray()[:HEIGHT, :WIDTH], np.uint8)
            yield phash(measure(Picture(StreamInfo(Codec.H264, WIDTH, HEIGHT, chroma="400"), y, None, None)).grid)
