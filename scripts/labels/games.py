"""Three drawn games that stand still for long: cards, text, map. What they show follows from a seed and the time.

They are what filters of idle pictures throw away first: nothing moves for minutes but a pointer or a date, and it
is gameplay all the same. BGR, 640 x 360.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import lru_cache

import cv2
import numpy as np

from labels.drawing import HEIGHT, WIDTH, Image, box, clouds, colour, gradient, painted, sentence, write

#: Draws what is seen of a game: who plays it in which broadcast (a seed), and when (s).
Play = Callable[[str, float], Image]

#: How long somebody thinks over a move at cards (s), from one to the other.
THINKING_S = (15.0, 40.0, 20.0, 120.0, 25.0, 60.0)
#: Moves of one deal; a scene of the text game lasts so long (s), a line of it so long.
MOVES = 7
SCENE_S, LINE_S = 200.0, 14.0
#: How long the map stays where it is (s).
VIEW_S = 75.0
_SUITS = ((30, 30, 30), (40, 40, 200))


def cards(seed: str, at_s: float) -> Image:
    """A table with a hand of cards, a pile and two opponents; a move when somebody has thought enough."""
    round_s = sum(THINKING_S)
    rounds, inside = divmod(at_s, round_s)
    move = int(rounds) * len(THINKING_S) + int(np.searchsorted(np.cumsum(THINKING_S), inside, side="right"))
    skin, deal = random.Random(f"table:{seed}"), random.Random(f"deal:{seed}:{move // MOVES}")
    felt = (skin.randint(20, 90), skin.randint(60, 130), skin.randint(10, 80))
    image = gradient(felt, (felt[0] // 2, felt[1] // 2, felt[2] // 2), across=False)
    step, hand = move % MOVES, [deal.randrange(52) for _ in range(MOVES + 2)]
    left = len(hand) - step
    for place in range(left):
        _card(image, 320 - left * 29 + place * 58, 268, hand[place])
    for number in range(step + 1):
        turned = random.Random(f"{seed}:{move // MOVES}:{number}")
        _card(image, 250 + turned.randint(-40, 90), 130 + turned.randint(-30, 30), deal.randrange(52))
    for opponent in range(2):
        for place in range(deal.randint(3, 7)):
            box(image, 40 + opponent * 400 + place * 26, 16, 40, 56, (120, 50, 40 + 60 * opponent))
    write(image, f"{move * 35 % 990}", (20, 250), 0.8, (220, 220, 120))
    if int(at_s) % 4 < 2:
        box(image, 300, 352, 40, 4, (120, 240, 250))  # whose turn it is blinks
    return image


def _card(image: Image, left: int, top: int, face: int) -> None:
    box(image, left, top, 50, 76, (235, 240, 240))
    ink = _SUITS[face % 2]
    write(image, "A23456789TJQK"[face % 13], (left + 6, top + 26), 0.8, ink)
    cv2.circle(image, (left + 25, top + 52), 6 + face % 4 * 3, ink, cv2.FILLED)


@lru_cache(maxsize=16)
def _scene(seed: str, number: int) -> Image:
    rng = random.Random(f"scene:{seed}:{number}")
    image = painted(rng.randrange(1 << 30), rng.randint(3, 8), [colour(rng, 30, 220) for _ in range(5)])
    horizon = rng.randint(120, 220)
    box(image, 0, horizon, WIDTH, HEIGHT - horizon, colour(rng, 30, 150))
    for _ in range(rng.randint(2, 6)):
        box(image, rng.randrange(600), horizon - rng.randint(30, 110), rng.randint(30, 110), 150, colour(rng, 20))
    x = rng.choice((190, 320, 450))
    cv2.ellipse(image, (x, 330), (70, 150), 0, 0, 360, colour(rng), cv2.FILLED)
    cv2.circle(image, (x, 150), 42, (150, 190, 230), cv2.FILLED)
    return image


def text(seed: str, at_s: float) -> Image:
    """Somebody stands in a scene and says one line after the other, letter by letter."""
    image = _scene(seed, int(at_s // SCENE_S)).copy()
    number, inside = divmod(at_s, LINE_S)
    said = sentence(random.Random(f"line:{seed}:{int(number)}"), 22)[: int(inside * 12) + 1]
    box(image, 20, 258, 600, 90, (50, 28, 22))
    for row in range(0, min(len(said), 156), 52):
        write(image, said[row : row + 52], (34, 284 + row // 52 * 26), 0.55, (240, 240, 240), weight=1)
    return image


@lru_cache(maxsize=8)
def _land(seed: str) -> Image:
    rng = random.Random(f"land:{seed}")
    wide, high = 2 * WIDTH, 2 * HEIGHT
    heights = 0.6 * clouds(rng.randrange(1 << 30), 9, wide, high) + 0.4 * clouds(
        rng.randrange(1 << 30), 31, wide, high
    )
    image: Image = np.full((high, wide, 3), (150, 110, 60), np.uint8)
    regions = (clouds(rng.randrange(1 << 30), 14, wide, high) * 8).astype(np.int64)
    owners = np.array([colour(rng, 50, 220) for _ in range(9)], np.uint8)
    land = heights > 0.47
    image[land] = owners[regions[land]]
    edges = cv2.Canny((regions * 28).astype(np.uint8), 10, 20)
    image[(edges > 0) & land] = (30, 30, 30)
    return image


def strategy(seed: str, at_s: float) -> Image:
    """A map that stays where it is for a minute, units that crawl, a date that ticks."""
    rng = random.Random(f"view:{seed}:{int(at_s // VIEW_S)}")
    left, top = rng.randrange(WIDTH), rng.randrange(HEIGHT)
    image = np.ascontiguousarray(_land(seed)[top : top + HEIGHT, left : left + WIDTH])
    for unit in range(6):
        lot = random.Random(f"unit:{seed}:{unit}")
        x = int(lot.randrange(2 * WIDTH) + at_s * lot.uniform(-0.5, 0.5)) % (2 * WIDTH) - left
        y = lot.randrange(2 * HEIGHT) - top
        box(image, x, y, 16, 12, (20, 20, 200 if unit % 2 else 20))
    box(image, 0, 0, WIDTH, 26, (60, 70, 84))
    days = int(at_s / 2)
    write(image, f"{1 + days % 28:02d}.{1 + days // 28 % 12:02d}.{1444 + days // 336}", (530, 19), 0.5)
    write(image, f"gold {400 + int(at_s // 60) * 13}", (12, 19), 0.5, (120, 220, 240))
    return image


#: Drawn games by their names.
DRAWN: dict[str, Play] = {"Quiet Tables": cards, "Long Letters": text, "Border Wars": strategy}
