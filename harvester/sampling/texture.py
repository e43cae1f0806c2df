"""How smooth a picture is, by its variogram: what tells a drawn card or a blurred screen from a game. Pure.

Over twice the way brightness changes by more: up to four times as much, squared, where all is smooth, hardly
more where edges are sharp, and as much where there is but noise. That depends little on what a picture shows, how
bright and how rich it is, and much on what made it: a game's renderer, a camera, a drawing program, a blur.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

#: Ways over which the change of a storyboard's picture is taken (pixels), each twice the one before.
LAGS = (1, 2, 4)
#: Of one way and the one before.
RATIOS = len(LAGS) - 1

Textures = NDArray[np.float64]  # (n, ratios)


def log_textures(image: NDArray[np.uint8]) -> list[float]:
    """By how much more a picture (height, width, 3), each side longer than 4, changes over each way than over the
    one before, as logs (2). One level squared is added to each: so faint a picture has no texture."""
    green = image[..., 1].astype(np.float64)  # the most of luma; sums of its squares are exact
    changes = [_change(green, lag) for lag in LAGS]
    return [log_texture(near, far) for near, far in pairwise(changes)]


def log_texture(near: float, far: float) -> float:
    """The log of how much more a picture changes over twice a way than over it."""
    return math.log((far + 1.0) / (near + 1.0))


def _change(green: NDArray[np.float64], lag: int) -> float:
    """The mean squared difference of pixels so far apart, on every second line and column."""
    across = green[::2, lag:] - green[::2, :-lag]
    down = green[lag:, ::2] - green[:-lag, ::2]
    return float(np.vdot(across, across) / across.size + np.vdot(down, down) / down.size)
