"""Keyframes of recorded games, in as many looks as are wanted, held apart from those that nobody trains on.

A session is held out with all that derives from it. What is held out shows no picture that is harvested.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import av
import cv2
import numpy as np

from harvester.sandbox.build import look_of
from harvester.sandbox.footage import Session, read_index
from harvester.sandbox.world import Look
from labels.drawing import HEIGHT, WIDTH, Image

#: Size in which footage is held (px): a look shows 0.7 of it at least, and is never enlarged.
_HELD = (960, 540)
Span = tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Footage:
    """Keyframes of a game, session after session. ``shared``: there is one session only, so the looks differ and
    the footage does not."""

    game: str
    harvested: tuple[Image, ...]
    held_out: tuple[Image, ...]
    shared: bool

    def picture(self, seed: str, number: int, *, held_out: bool = False) -> Image:
        """Keyframe ``number`` of a broadcast: one after the other, each time round in another look."""
        pictures = self.held_out if held_out else self.harvested
        take, place = divmod(number, len(pictures))
        return looked(pictures[place], look_of(random.Random(f"look:{seed}:{take}")))


def looked(image: Image, look: Look) -> Image:
    """A picture in a look, 640 x 360."""
    height, width = image.shape[:2]
    left, top = int(look.left * width), int(look.top * height)
    part = image[top : top + int(look.scale * height), left : left + int(look.scale * width)]
    sized = cv2.resize(part, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    tinted = np.clip(sized.astype(np.int16) + np.array([look.tint[0], 0, look.tint[1]], np.int16), 0, 255)
    shown = tinted.astype(np.uint8)
    return np.ascontiguousarray(shown[:, ::-1] if look.mirror else shown)


def read(index: Path) -> dict[str, Footage]:
    """The footage of every game of an index, by name. Raises ConfigError for a bad index."""
    sessions = read_index(index)
    spans = [_gameplay(entry) for entry in json.loads(index.read_text(encoding="utf-8"))]
    games: dict[str, list[tuple[Session, list[Span]]]] = {}
    for session, played in zip(sessions, spans, strict=True):
        if session.game is not None and played:
            games.setdefault(session.game, []).append((session, played))
    return {game: _footage(game, takes) for game, takes in games.items()}


def _gameplay(entry: dict[str, object]) -> list[Span]:
    """Where a session shows gameplay (s); all of it where the index does not tell."""
    spans = entry.get("content_spans")
    if not isinstance(spans, list):
        return [(0.0, float(cast(float, entry["seconds"])))]
    return [(float(span["start"]), float(span["end"])) for span in spans if span["kind"] == "gameplay"]


def _footage(game: str, takes: Sequence[tuple[Session, list[Span]]]) -> Footage:
    roots = [session.derived_from or session.name for session, _ in takes]
    last = sorted(set(roots))[-1]
    kept_apart = len(set(roots)) > 1
    harvested: list[Image] = []
    held_out: list[Image] = []
    for root, (session, spans) in zip(roots, takes, strict=True):
        (held_out if root == last else harvested).extend(_keyframes(session, spans))
    if not kept_apart:
        harvested = held_out
    return Footage(game, tuple(harvested), tuple(held_out), shared=not kept_apart)


def _keyframes(session: Session, spans: Sequence[Span]) -> list[Image]:
    found = []
    with av.open(str(session.files[0].path)) as container:
        video = container.streams.video[0]
        video.codec_context.skip_frame = "NONKEY"
        for frame in container.decode(video):
            if any(start <= (frame.time or 0.0) < end for start, end in spans):
                small = frame.reformat(*_HELD, "bgr24", interpolation="AREA")
                found.append(np.asarray(small.to_ndarray(), np.uint8))
    return found
