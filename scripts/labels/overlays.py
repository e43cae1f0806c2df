"""What broadcasters lay over their games: camera, chat, border, banner. One look for each of them, for good."""

from __future__ import annotations

import random
from dataclasses import dataclass

import cv2

from labels.drawing import HEIGHT, WIDTH, Colour, Image, box, chat_column, colour, head, write

Window = tuple[int, int, int, int]
#: Share of broadcasters who show the bare game.
BARE = 0.25


@dataclass(frozen=True, slots=True)
class Overlay:
    """A broadcaster's overlay. Windows are (left, top, width, height); None: there is none."""

    name: str
    camera: Window | None
    chat: Window | None
    border: Colour | None
    banner: Colour | None

    def lay_over(self, image: Image, at_s: float) -> None:
        """Draw it over a picture of the game, in place."""
        if self.chat:
            chat_column(image, self.chat, self.name, at_s)
        if self.camera:
            head(image, self.camera, random.Random(self.name), at_s)
        if self.banner:
            box(image, 0, HEIGHT - 22, WIDTH, 22, self.banner)
            write(image, f"{self.name}  !discord  !specs", (8, HEIGHT - 6), 0.45, (250, 250, 250), weight=1)
        if self.border:
            cv2.rectangle(image, (0, 0), (WIDTH - 1, HEIGHT - 1), self.border, 8)


def overlay_of(name: str) -> Overlay:
    """The overlay of the broadcaster of that name, drawn by lot."""
    rng = random.Random(f"overlay:{name}")
    if rng.random() < BARE:
        return Overlay(name, None, None, None, None)
    wide = rng.randint(100, 160)
    high = wide * 9 // 16
    left, top = rng.choice((0, WIDTH - wide)), rng.choice((0, (HEIGHT - high) // 2, HEIGHT - high - 22))
    chat_left = rng.choice((4, WIDTH - 124))
    return Overlay(
        name,
        camera=(left, top, wide, high) if rng.random() < 0.8 else None,
        chat=(chat_left, rng.choice((20, 120)), 120, 170) if rng.random() < 0.4 else None,
        border=colour(rng) if rng.random() < 0.3 else None,
        banner=colour(rng, 20, 150) if rng.random() < 0.4 else None,
    )
