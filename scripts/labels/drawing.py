"""What all drawn pictures are made of: gradients, soft noise, lettering, a talking head. BGR, uint8."""

from __future__ import annotations

import random
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Colour = tuple[int, int, int]

#: Size of every picture (px): the smallest that still has the lettering of cards and of games.
WIDTH, HEIGHT = 640, 360
_FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_TRIPLEX, cv2.FONT_HERSHEY_COMPLEX)
_WORDS = ("the", "of", "and", "a", "to", "in", "he", "was", "it", "that", "his", "her", "with", "as", "had", "for")


def colour(rng: random.Random, low: int = 20, high: int = 235) -> Colour:
    """Any colour."""
    return rng.randint(low, high), rng.randint(low, high), rng.randint(low, high)


def gradient(one: Colour, other: Colour, *, across: bool) -> Image:
    """From one colour to another, across or down."""
    way = np.linspace(0, 1, WIDTH if across else HEIGHT, dtype=np.float32)
    way = way[None, :, None] if across else way[:, None, None]
    mixed = np.array(one, np.float32) * (1 - way) + np.array(other, np.float32) * way
    return np.ascontiguousarray(np.broadcast_to(mixed, (HEIGHT, WIDTH, 3)).astype(np.uint8))


def clouds(seed: int, grain: int, width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.float32]:
    """Soft noise in 0..1, ``grain`` blobs across: float32 (height, width)."""
    coarse = np.random.default_rng(seed).random((max(2, grain * height // width), grain), np.float32)
    soft = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(soft, 0, 1), np.float32)


def painted(seed: int, grain: int, colours: Sequence[Colour]) -> Image:
    """Soft noise in bands of colours."""
    bands = np.minimum((clouds(seed, grain) * len(colours)).astype(np.int64), len(colours) - 1)
    return np.array(colours, np.uint8)[bands]


def write(
    image: Image,
    text: str,
    at: tuple[int, int],
    size: float,
    ink: Colour = (255, 255, 255),
    *,
    font: int = 0,
    weight: int = 2,
) -> None:
    """Letter ``text`` with its lower left corner ``at`` (x, y)."""
    cv2.putText(image, text, at, _FONTS[font % len(_FONTS)], size, ink, weight, cv2.LINE_AA)


def centred(image: Image, text: str, y: int, size: float, ink: Colour, *, font: int = 0, weight: int = 2) -> None:
    """Letter ``text`` in the middle of a line."""
    (width, _), _ = cv2.getTextSize(text, _FONTS[font % len(_FONTS)], size, weight)
    write(image, text, ((WIDTH - width) // 2, y), size, ink, font=font, weight=weight)


def box(image: Image, left: int, top: int, width: int, height: int, fill: Colour) -> None:
    """A filled rectangle; what lies outside the picture is left out."""
    cv2.rectangle(image, (left, top), (left + width - 1, top + height - 1), fill, cv2.FILLED)


def sentence(rng: random.Random, words: int) -> str:
    """Words in no order that means anything."""
    return " ".join(rng.choice(_WORDS) for _ in range(words))


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    return f"{int(seconds) // 60:02d}:{int(seconds) % 60:02d}"


def head(image: Image, window: tuple[int, int, int, int], rng: random.Random, at_s: float) -> None:
    """Somebody in front of a camera, drawn into (left, top, width, height): sways, nods, talks.

    ``rng``: who it is, the same each time.
    """
    left, top, width, height = window
    skin = (rng.randint(90, 190), rng.randint(120, 205), rng.randint(170, 245))
    room, shirt, hair = colour(rng, 10, 110), colour(rng), colour(rng, 10, 120)
    phase = rng.uniform(0, 6)
    part = np.full((height, width, 3), room, np.uint8)
    box(part, int(width * rng.uniform(0, 0.6)), 0, width // 5, height // 2, colour(rng, 30, 150))
    sway, nod = np.sin(at_s * 0.61 + phase), np.sin(at_s * 1.37 + phase)
    x, y = int(width * (0.5 + 0.07 * sway)), int(height * (0.48 + 0.04 * nod))
    size = int(height * 0.2)
    cv2.ellipse(part, (x, height), (int(width * 0.34), int(height * 0.36)), 0, 0, 360, shirt, cv2.FILLED)
    cv2.ellipse(part, (x, y - size // 3), (size, size), 0, 0, 360, hair, cv2.FILLED)
    cv2.ellipse(part, (x, y), (int(size * 0.8), size), 0, 0, 360, skin, cv2.FILLED)
    for side in (-1, 1):
        cv2.circle(part, (x + side * size // 3, y - size // 5), max(1, size // 9), (20, 20, 20), cv2.FILLED)
    mouth = max(1, int(size * 0.2 * abs(np.sin(at_s * 2.9 + phase))))
    cv2.ellipse(part, (x, y + size // 2), (size // 3, mouth), 0, 0, 360, (40, 30, 120), cv2.FILLED)
    image[top : top + height, left : left + width] = part


def chat_column(image: Image, window: tuple[int, int, int, int], seed: str, at_s: float) -> None:
    """Lines of a chat in (left, top, width, height), the newest at the bottom; a new one every few seconds."""
    left, top, width, height = window
    box(image, left, top, width, height, (24, 20, 18))
    newest = int(at_s / 3.5)
    for row in range(height // 13):
        rng = random.Random(f"{seed}:{newest - row}")
        y = top + height - 5 - 13 * row
        write(
            image, rng.choice(("mika", "olaf", "zed", "pixel", "rana"))[:6], (left + 3, y), 0.28, colour(rng, 90)
        )
        words = sentence(rng, rng.randint(1, 4))[: max(1, (width - 40) // 6)]
        write(image, words, (left + 38, y), 0.26, (200, 200, 200), weight=1)
