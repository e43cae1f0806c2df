"""Drawn pictures, as luma planes 288 lines high: games that stand still, and scenes that are no game.

Each design is a function of the second and a seed; what a seed changes is what another channel would have otherwise.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Luma = NDArray[np.uint8]
Design = Callable[[float, int], Luma]

HEIGHT, WIDTH = 288, 512


def _noise(seed: int, rows: int = 36, cols: int = 64, low: int = 40, high: int = 200) -> Luma:
    small = np.random.default_rng(seed).integers(low, high, (rows, cols)).astype(np.uint8)
    return cv2.resize(small, (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST)


def _backdrop(seed: int, low: int = 40, high: int = 120) -> Luma:
    small = np.random.default_rng(seed).integers(low, high, (3, 4)).astype(np.uint8)
    return cv2.resize(small, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)


def _write(y: Luma, text: str, x: int, base: int, size: float = 0.5, level: int = 220) -> None:
    cv2.putText(y, text, (x, base), cv2.FONT_HERSHEY_SIMPLEX, size, level, 1 + int(size), cv2.LINE_AA)


def _clock(t: float) -> str:
    return f"{int(t) // 60:02d}:{int(t) % 60:02d}"


def _person(y: Luma, t: float, box: tuple[int, int, int, int], seed: int) -> None:
    """Somebody before a camera who moves a little all the time; ``box``: left, top, width, height."""
    left, top, wide, high = box
    rng = np.random.default_rng((seed, int(t * 2)))
    y[top : top + high, left : left + wide] = 90
    x = left + wide // 2 + int(rng.integers(-wide // 8, wide // 8 + 1))
    middle = top + high * 2 // 5 + int(rng.integers(-high // 12, high // 12 + 1))
    cv2.ellipse(y, (x, middle), (wide // 6, high // 4), 0, 0, 360, 170, -1)
    cv2.ellipse(y, (x, top + high), (wide // 3, high // 3), 0, 180, 360, 50, -1)


# -- what is no game ---------------------------------------------------------------------------------------------


def still_card(t: float, seed: int) -> Luma:
    y = _backdrop(seed)
    _write(y, "BE RIGHT BACK", 120 + seed % 40, 150, 1.2)
    return y


def ticking_card(t: float, seed: int) -> Luma:
    y = _backdrop(seed, 30, 90)
    _write(y, "starting soon", 150, 100, 1.0)
    _write(y, _clock(600 - t), 190, 200, 1.8)
    return y


def spinner_card(t: float, seed: int) -> Luma:
    y = _backdrop(seed, 60, 160)
    _write(y, "one moment", 170, 120, 1.0)
    angle = t * 200 % 360
    cv2.ellipse(y, (256, 200), (24, 24), 0, angle, angle + 250, 230, 4)
    return y


def progress_card(t: float, seed: int) -> Luma:
    y = _noise(seed, 9, 16, 40, 90)
    _write(y, "BREAK", 200, 120, 1.2)
    y[220:232, 100 : 100 + int(t) % 300] = 200
    return y


def drifting_card(t: float, seed: int) -> Luma:
    """A logo that wanders over the picture."""
    y = _backdrop(seed, 20, 70)
    x, top = int(60 + abs(t * 7 % 600 - 300)), int(40 + abs(t * 5 % 300 - 150))
    cv2.rectangle(y, (x, top), (x + 90, top + 50), 180, -1)
    return y


def snowing_card(t: float, seed: int) -> Luma:
    """Flakes over all of the picture."""
    y = _backdrop(seed, 30, 80)
    for x, start, pace in np.random.default_rng(seed).integers(0, 512, (60, 3)):
        cv2.circle(y, (int(x), int(start + t * (20 + pace % 30)) % HEIGHT), 3, 210, -1)
    _write(y, "SOON", 200, 160, 1.5)
    return y


def chat_scene(t: float, seed: int) -> Luma:
    """Somebody who talks, and a column of chat that goes on."""
    y = _backdrop(seed, 40, 100)
    _person(y, t, (20, 30, 330, 250), seed)
    for line in range(16):
        said = np.random.default_rng((seed, int(t / 3) + line)).integers(97, 123, 12).astype(np.uint8)
        _write(y, said.tobytes().decode(), 370, 20 + 17 * line, 0.4)
    return y


IDLE_SCENES: dict[str, Design] = {
    design.__name__: design
    for design in (still_card, ticking_card, spinner_card, progress_card, drifting_card, snowing_card, chat_scene)
}


# -- games that stand still ----------------------------------------------------------------------------------------


def card_game(t: float, seed: int) -> Luma:
    """A table: two hands, cards in the middle, a move every 25 s, a clock and the player's camera."""
    y = _noise(seed, 18, 32, 60, 75)
    move = int(t / 25)
    for slot in range(7):
        for row, top in enumerate((5, 110, 225)):
            shown = np.random.default_rng((seed, slot, row, (move + slot * 3 + row) // 7)).integers(0, 256)
            if shown > 70:
                x = 90 + 52 * slot
                cv2.rectangle(y, (x, top), (x + 42, top + 58), int(shown), -1)
                _write(y, str(shown % 10), x + 14, top + 40, 0.8, int(255 - shown))
    _write(y, _clock(t % 75), 440, 150, 0.6)
    _person(y, t, (0, 220, 80, 68), seed)
    return y


def chess(t: float, seed: int) -> Luma:
    """A board; a move every 40 s, two clocks, the player's camera."""
    y = _noise(seed, 9, 16, 25, 40)
    board = 60 + 110 * (np.indices((8, 8)).sum(0) % 2)
    y[16:272, 40:296] = np.kron(board, np.ones((32, 32))).astype(np.uint8)
    pieces = list(np.random.default_rng((seed, int(t) // 1600)).permutation(64)[:28])
    for move in range(int(t % 1600 / 40)):
        chance = np.random.default_rng((seed, move))
        pieces[int(chance.integers(0, len(pieces)))] = int(chance.integers(0, 64))
    for number, place in enumerate(pieces):
        cv2.circle(y, (56 + 32 * (place % 8), 32 + 32 * (place // 8)), 11, 235 if number % 2 else 20, -1)
    _write(y, _clock(900 - t % 900), 330, 60, 0.8)
    _write(y, _clock(900 - t % 700), 330, 160, 0.8)
    _person(y, t, (320, 180, 180, 100), seed)
    return y


def strategy_map(t: float, seed: int) -> Luma:
    """A map that is scrolled every 70 s, units that move, a bar above and a small map in the corner."""
    look = int(t / 70)
    world = cv2.resize(_noise(seed, 100, 100), (3000, 3000), interpolation=cv2.INTER_LINEAR)
    x, top = np.random.default_rng((seed, look)).integers(0, 2400, 2)
    y = world[top : top + HEIGHT, x : x + WIDTH].copy()
    for unit in np.random.default_rng((seed, look, 1)).integers(20, 260, (6, 2)):
        cv2.circle(y, (int(unit[0] * 1.8 + t % 9), int(unit[1])), 5, 240, -1)
    y[:18] = 30
    _write(y, f"gold {int(t) * 3}   turn {int(t / 100)}   wood {int(t / 7)}", 10, 13, 0.4)
    y[208:, :110] = cv2.resize(world, (110, 80))
    cv2.rectangle(y, (0, 208), (110, 287), 200, 2)
    return y


def visual_novel(t: float, seed: int) -> Luma:
    """A scene of 400 s, somebody in it, a text box whose text changes every 12 s."""
    scene, line = int(t / 400), int(t / 12)
    y = cv2.GaussianBlur(_noise(seed + 100 * scene, 12, 20), (0, 0), 6)
    who = np.random.default_rng((seed, int(t / 60))).integers(0, 300)
    cv2.ellipse(y, (100 + int(who), 180), (50, 120), 0, 0, 360, 130 + int(who) % 90, -1)
    y[205:275, 20:492] = 40
    for row in range(2):
        letters = np.random.default_rng((seed, line, row)).integers(97, 123, 38).astype(np.uint8)
        _write(y, letters.tobytes().decode(), 30, 230 + 26 * row, 0.6)
    return y


def text_game(t: float, seed: int) -> Luma:
    """A page of text that is read for 50 s, then another one."""
    y = np.full((HEIGHT, WIDTH), 24, np.uint8)
    chance = np.random.default_rng((seed, int(t / 50)))
    for row in range(int(chance.integers(6, 15))):
        letters = chance.integers(97, 123, int(chance.integers(10, 45))).astype(np.uint8)
        _write(y, letters.tobytes().decode(), 12, 40 + 17 * row, 0.5)
    _write(y, f"> room {int(t / 50) % 9}   moves {int(t / 50)}", 12, 16, 0.5)
    return y


def pixel_art(t: float, seed: int) -> Luma:
    """Rooms of coarse blocks, one for 30 s; a figure in it."""
    y = _noise(seed + int(t / 30), 18, 32, 20, 110)
    x = int(t * 13) % 480
    y[200:216, x : x + 16] = 230
    return y


def dark_game(t: float, seed: int) -> Luma:
    """A dark corridor, seen by a lamp that moves."""
    y = (_noise(seed + int(t / 2), 36, 64, 18, 60) // 2 + 10).astype(np.uint8)
    lamp = np.zeros_like(y)
    cv2.circle(lamp, (int(256 + 120 * np.sin(t)), 150), 60, 255, -1)
    return np.where(lamp > 0, y * 2, y).astype(np.uint8)


def moving_game(t: float, seed: int) -> Luma:
    """A game that shows something else every second, with a bar of hearts."""
    y = cv2.GaussianBlur(_noise(seed * 10_000 + int(t), 18, 32), (0, 0), 3)
    y[4:16, 8:120] = 200
    return y


STILL_GAMES: dict[str, Design] = {
    game.__name__: game for game in (card_game, chess, strategy_map, visual_novel, text_game, pixel_art, dark_game)
}


# -- held out: no limit was set on these ---------------------------------------------------------------------------


def empty_chair(t: float, seed: int) -> Luma:
    """A room without anybody in it: coding noise, and a curtain that moves."""
    y = _noise(seed, 24, 40, 60, 140)
    y += np.random.default_rng((seed, int(t * 30))).integers(0, 3, y.shape).astype(np.uint8)
    x = 440 + int(8 * np.sin(t))
    y[:180, x : x + 30] = 180
    return y


def waves_card(t: float, seed: int) -> Luma:
    """Letters above a band of waves."""
    y = _backdrop(seed, 90, 140)
    _write(y, "back in 5", 160, 120, 1.4)
    across = np.arange(WIDTH)
    for x, top in zip(across, 262 + 8 * np.sin(across / 30 + t), strict=True):
        y[int(top) :, x] = 60
    return y


def end_card(t: float, seed: int) -> Luma:
    """Thanks, and names of which another one is marked every second."""
    y = _noise(seed, 6, 8, 30, 70)
    _write(y, "thanks for watching", 90, 60, 1.2)
    for row in range(8):
        _write(y, f"viewer {row * 37 + seed}", 200, 110 + 20 * row, 0.5, 255 if int(t) % 8 == row else 150)
    return y


def pattern_card(t: float, seed: int) -> Luma:
    """A pattern that wanders over all of the picture."""
    y = np.roll(_noise(seed, 18, 32, 40, 80), int(t * 11) % WIDTH, axis=1)
    _write(y, "SOON", 200, 160, 1.5)
    return y


def solitaire(t: float, seed: int) -> Luma:
    """Columns of cards on green; a move every 15 s, a new deal every 500 s."""
    deal, move = int(t / 500), int(t % 500 / 15)
    y = np.full((HEIGHT, WIDTH), 80, np.uint8)
    for column in range(7):
        chance = np.random.default_rng((seed, deal, column))
        for card in range(int(chance.integers(1, 8)) + (move + column) % 4):
            x, top = 60 + 58 * column, 60 + 18 * card
            cv2.rectangle(y, (x, top), (x + 44, top + 60), 230, -1)
            cv2.rectangle(y, (x, top), (x + 44, top + 60), 40, 1)
            _write(y, str(int(chance.integers(1, 13))), x + 4, top + 15, 0.5, 30)
    return y


def hex_map(t: float, seed: int) -> Luma:
    """A map that is seen whole; borders move every 30 s, a panel beside it."""
    lands = np.random.default_rng(seed).integers(0, 6, (16, 20))
    for turn in range(int(t / 30)):
        chance = np.random.default_rng((seed, turn))
        lands[tuple(chance.integers(0, (16, 20)))] = chance.integers(0, 6)
    y = np.full((HEIGHT, WIDTH), 30, np.uint8)
    y[:, :360] = np.kron(40 + 30 * lands, np.ones((18, 18))).astype(np.uint8)
    for row in range(7):
        _write(y, f"side {row}: {int(t / 30) * row}", 375, 40 + 30 * row, 0.5)
    return y


def rooms(t: float, seed: int) -> Luma:
    """Pictures in which something is to be found, 150 s each, without a frame; an arrow."""
    y = _noise(seed * 100 + int(t / 150), 36, 64, 30, 190)
    chance = np.random.default_rng((seed, int(t)))
    x, top = int(chance.integers(10, 490)), int(chance.integers(10, 270))
    cv2.line(y, (x, top), (x + 8, top + 14), 255, 3)
    return y


def paused_often(t: float, seed: int) -> Luma:
    """A game that moves, with a bar; every 400 s it is paused for 100 s and a menu lies over what was last seen."""
    paused = t % 400 >= 300
    y = moving_game(t - t % 400 + 300 if paused else t, seed)
    if paused:
        y = (y // 2 + 10).astype(np.uint8)
        y[80:210, 180:330] = 50
        for row, word in enumerate(("RESUME", "OPTIONS", "QUIT")):
            _write(y, word, 210, 110 + 36 * row, 0.7)
    return y


HELD_OUT_SCENES: dict[str, Design] = {
    design.__name__: design for design in (empty_chair, waves_card, end_card, pattern_card)
}
HELD_OUT_GAMES: dict[str, Design] = {game.__name__: game for game in (solitaire, hex_map, rooms, paused_often)}
