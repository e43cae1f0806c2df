"""Designs of junk: cards before, between and after games, and talks. Drawn from a seed, BGR 640 x 360.

A design is a way of drawing; a *skin* (whose card it is) chooses its colours, words and layout, so that no two
broadcasters show the same picture. Of three kinds: still; ticking, where a clock or a bar moves and nothing else;
animated, where a part or all of the picture moves all the time. ``at_s``: seconds since the card came up.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from labels.drawing import (
    HEIGHT,
    WIDTH,
    Image,
    box,
    centred,
    chat_column,
    clock,
    clouds,
    colour,
    gradient,
    head,
    painted,
    sentence,
    write,
)

Motion = Literal["still", "ticking", "animated", "talk"]
#: How a design is drawn: its skin's random numbers (the same every time), what it says, seconds since it came up.
Draw = Callable[[random.Random, str, float], Image]
#: What clocks count down from (s).
COUNTDOWN_S = 300


@dataclass(frozen=True, slots=True)
class Design:
    """A way of drawing a card or a talk."""

    name: str
    motion: Motion
    draw: Draw

    def picture(self, skin: str, says: str, at_s: float) -> Image:
        """The card of ``skin`` as it looks then."""
        return self.draw(random.Random(f"{self.name}:{skin}"), says, at_s)


def _ground(rng: random.Random) -> Image:
    return gradient(colour(rng, 10, 160), colour(rng, 60, 230), across=rng.random() < 0.5)


def _plain(rng: random.Random, says: str, _at_s: float) -> Image:
    image = _ground(rng)
    centred(image, says, rng.randint(130, 230), rng.uniform(1.0, 1.5), (250, 250, 250), font=rng.randrange(4))
    return image


def _art(rng: random.Random, says: str, _at_s: float) -> Image:
    image = painted(rng.randrange(1 << 30), rng.randint(5, 12), [colour(rng) for _ in range(6)])
    box(image, 60, 130, 520, 90, colour(rng, 0, 60))
    centred(image, says, 190, 1.1, (240, 240, 240), font=rng.randrange(4))
    return image


def _schedule(rng: random.Random, says: str, _at_s: float) -> Image:
    image = np.full((HEIGHT, WIDTH, 3), colour(rng, 10, 90), np.uint8)
    box(image, 0, 0, rng.randint(180, 320), HEIGHT, colour(rng, 60, 200))
    write(image, says, (24, 60), 1.0, (245, 245, 245))
    for row, day in enumerate(("MON", "WED", "FRI", "SUN")):
        write(image, f"{day}  {sentence(rng, 3)}", (340, 120 + 52 * row), 0.5, colour(rng, 120), weight=1)
    return image


def _polygons(rng: random.Random, says: str, _at_s: float) -> Image:
    image = _ground(rng)
    for _ in range(18):
        points = np.array([[rng.randrange(WIDTH), rng.randrange(HEIGHT)] for _ in range(3)], np.int32)
        cv2.fillPoly(image, [points], colour(rng))
    cv2.rectangle(image, (8, 8), (WIDTH - 9, HEIGHT - 9), (230, 230, 230), 6)
    centred(image, says, 320, 1.0, (255, 255, 255))
    return image


def _countdown(rng: random.Random, says: str, at_s: float) -> Image:
    image = _ground(rng)
    centred(image, says, 120, 1.1, (250, 250, 250), font=rng.randrange(4))
    centred(image, clock(max(0, COUNTDOWN_S - at_s)), 240, 2.6, (255, 255, 255), weight=5)
    return image


def _corner_clock(rng: random.Random, says: str, at_s: float) -> Image:
    image = _art(rng, says, at_s)
    box(image, 500, 310, 130, 40, (20, 20, 20))
    write(image, clock(at_s), (515, 340), 0.9, (120, 240, 120))
    return image


def _bar(rng: random.Random, says: str, at_s: float) -> Image:
    image = _polygons(rng, says, at_s)
    box(image, 70, 170, 500, 26, (30, 30, 30))
    box(image, 70, 170, 1 + int(499 * min(1.0, at_s / COUNTDOWN_S)), 26, (80, 210, 250))
    return image


def _quotes(rng: random.Random, says: str, at_s: float) -> Image:
    image = _ground(rng)
    centred(image, says, 90, 1.2, (250, 250, 250), font=rng.randrange(4))
    said = sentence(random.Random(f"{says}:{int(at_s // 30)}"), 7)
    centred(image, said, 220, 0.7, (240, 240, 200))
    write(image, clock(max(0, COUNTDOWN_S - at_s)), (280, 330), 0.8)
    return image


def _particles(rng: random.Random, says: str, at_s: float) -> Image:
    image = _ground(rng)
    for _ in range(90):
        x, y, speed = rng.random(), rng.random(), rng.uniform(0.02, 0.12)
        at = int(x * WIDTH), int((y - speed * at_s) % 1 * HEIGHT)
        cv2.circle(image, at, rng.randint(2, 7), colour(rng, 150, 255), cv2.FILLED)
    centred(image, says, 190, 1.3, (255, 255, 255), font=rng.randrange(4))
    return image


def _stripes(rng: random.Random, says: str, at_s: float) -> Image:
    one, other, wide = colour(rng, 20, 120), colour(rng, 90, 220), rng.randint(40, 90)
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    image: Image = np.array([one, other], np.uint8)[((rows + columns + int(23 * at_s)) // wide) % 2]
    box(image, 90, 120, 460, 110, (25, 25, 25))
    centred(image, says, 190, 1.1, (250, 250, 250))
    return image


def _bouncing(rng: random.Random, says: str, at_s: float) -> Image:
    image = np.full((HEIGHT, WIDTH, 3), colour(rng, 10, 70), np.uint8)
    x, y = (abs((speed * at_s) % 2 - 1) for speed in (rng.uniform(0.1, 0.3), rng.uniform(0.1, 0.3)))
    box(image, int(x * 440), int(y * 260), 200, 100, colour(rng, 80, 230))
    write(image, says[:12], (int(x * 440) + 12, int(y * 260) + 58), 0.8, (20, 20, 20))
    return image


def _plasma(rng: random.Random, says: str, at_s: float) -> Image:
    phase, fine = rng.uniform(0, 6), rng.uniform(0.01, 0.03)
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    waves = np.sin(columns * fine + at_s * 0.4 + phase) + np.sin(rows * fine * 1.7 - at_s * 0.3)
    level = ((waves + 2) * 63).astype(np.uint8)
    image: Image = cv2.applyColorMap(
        level, rng.choice((cv2.COLORMAP_OCEAN, cv2.COLORMAP_TWILIGHT, cv2.COLORMAP_HOT))
    )
    centred(image, says, 190, 1.4, (255, 255, 255), font=rng.randrange(4), weight=3)
    return image


def _ticker(rng: random.Random, says: str, at_s: float) -> Image:
    image = _art(rng, says, at_s)
    box(image, 0, 300, WIDTH, 44, (15, 15, 15))
    line = sentence(rng, 30)
    write(image, line, (int(WIDTH - (70 * at_s) % 2600), 330), 0.8, (240, 240, 240))
    return image


def _spectrum(rng: random.Random, says: str, at_s: float) -> Image:
    image = _ground(rng)
    ink = colour(rng, 100, 250)
    for bar in range(32):
        high = int(120 * abs(np.sin(at_s * (1 + bar % 5) + bar * 1.7)))
        box(image, bar * 20, HEIGHT - high, 16, high + 1, ink)
    centred(image, says, 140, 1.2, (255, 255, 255), font=rng.randrange(4))
    return image


CARDS: tuple[Design, ...] = (
    Design("plain", "still", _plain),
    Design("art", "still", _art),
    Design("schedule", "still", _schedule),
    Design("polygons", "still", _polygons),
    Design("countdown", "ticking", _countdown),
    Design("corner clock", "ticking", _corner_clock),
    Design("bar", "ticking", _bar),
    Design("quotes", "ticking", _quotes),
    Design("particles", "animated", _particles),
    Design("stripes", "animated", _stripes),
    Design("bouncing", "animated", _bouncing),
    Design("plasma", "animated", _plasma),
    Design("ticker", "animated", _ticker),
    Design("spectrum", "animated", _spectrum),
)


# -- talks --------------------------------------------------------------------------------------------------------


def _room(rng: random.Random, says: str, at_s: float) -> Image:
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    head(image, (0, 0, 480, HEIGHT), rng, at_s)
    chat_column(image, (480, 0, 160, HEIGHT), says, at_s)
    return image


def _desk(rng: random.Random, says: str, at_s: float) -> Image:
    image = painted(rng.randrange(1 << 30), 9, [colour(rng, 10, 120) for _ in range(4)])
    head(image, (210, 40, 400, 300), rng, at_s)
    chat_column(image, (12, 40, 180, 300), says, at_s)
    return image


def _browser(rng: random.Random, says: str, at_s: float) -> Image:
    page = random.Random(f"{says}:{int(at_s // 40)}")
    image = np.full((HEIGHT, WIDTH, 3), 236, np.uint8)
    box(image, 0, 0, WIDTH, 28, (200, 196, 190))
    for row in range(18):
        write(image, sentence(page, 8), (20, 60 + 17 * row), 0.36, (50, 50, 50), weight=1)
    box(image, 330, 50, 120, 90, colour(page))
    head(image, (470, 210, 170, 150), rng, at_s)
    chat_column(image, (470, 30, 170, 175), says, at_s)
    return image


def _close(rng: random.Random, says: str, at_s: float) -> Image:
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    head(image, (0, 0, WIDTH, HEIGHT), rng, at_s)
    light = clouds(rng.randrange(1 << 30), 4)[..., None]
    lit: Image = (image * (0.6 + 0.4 * light)).astype(np.uint8)
    chat_column(lit, (16, 190, 150, 150), says, at_s)
    return lit


TALKS: tuple[Design, ...] = (
    Design("room", "talk", _room),
    Design("desk", "talk", _desk),
    Design("browser", "talk", _browser),
    Design("close", "talk", _close),
)
