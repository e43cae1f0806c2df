"""What the heads of one source say about the next: the set of sizes that may come, and the ask of least cost.

See :mod:`harvester.fetch.heads` for the idea and its figures. Two calls a target, each a handful of operations on
arrays of at most 64 heads: of sums a learnt head adds its share alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from harvester.fetch.heads import HeadSizes
    from harvester.model import Rendition

#: Heads of one source that are remembered: 32 do as well, 16 cost 0.5 % more bytes and misses.
REMEMBERED = 64
#: Weight of a head of the source: _FAR + exp(-seconds apart / _NEAR_S).
_FAR, _NEAR_S = 0.1, 10.0
#: Weights of the source's log-normal and of the one around other sources, in heads seen right here.
_SOURCE_WEIGHT, _OTHERS_WEIGHT = 0.5, 0.15
#: Spread (sigma of log size) around what other sources say.
_OTHERS_SIGMA = 0.5
#: How many heads the run's spread within sources is worth against the source's own.
_WITHIN_HEADS = 8.0
#: Smear of a seen head, as a share of the source's sigma (at most _SMEAR_SIGMA of it).
_SMEAR, _SMEAR_SIGMA = 0.3, 0.4
#: Size of a picture when the playlist does not tell (pixels): 720p.
_UNKNOWN_PIXELS = 1280 * 720
#: A continuation asks for at least this many times what is held.
_GROWTH = 1.15
#: Never ask for less (bytes): a handful of TS packets is not worth a request of its own.
SMALLEST_ASK = 2048

#: Eight points of equal weight that stand for a normal distribution.
_NORMAL = np.array([-1.5, -0.9, -0.5, -0.17, 0.17, 0.5, 0.9, 1.5])

_Floats = NDArray[np.float64]
#: Renditions whose keyframes are alike: height, frame rate above 45, codec.
Kind = tuple[int | None, bool, str]


class SourceHeads:
    """Head sizes of one rendition of one source."""

    def __init__(self, run: HeadSizes, rendition: Rendition) -> None:
        self._run = run
        self._kind = _kind_of(rendition)
        self._pixels = (rendition.width or 0) * (rendition.height or 0) or _UNKNOWN_PIXELS
        # Of the heads remembered, in the places of those forgotten: moment, log bytes a pixel, log detail.
        self._moments_s, self._values, self._details = np.empty((3, REMEMBERED))
        self._learnt = 0
        self._value_sum = self._detail_sum = 0.0
        self._mean: float | None = None
        self._detail_at: Callable[[float], float] | None = None

    @property
    def count(self) -> int:
        """Heads remembered."""
        return min(self._learnt, REMEMBERED)

    def foresee(self, detail_at: Callable[[float], float]) -> None:
        """Know from now on how detailed the picture at a moment (s) is: its log, less the source's mean of it."""
        if not self.count:  # heads of which that was not known cannot be compared
            self._detail_at = detail_at

    def first_ask(self, moment_s: float) -> int:
        """Bytes to ask for, for the head of the segment at ``moment_s``."""
        sizes, weights = self._sizes(moment_s)
        return self._order(sizes, weights)

    def next_ask(self, moment_s: float, held: int) -> int:
        """Bytes to hold after one more request, when the first ``held`` were too few: a miss, which is noted."""
        if self.count:  # the first head of a source is a guess that nothing could have made better
            self._run.missed()
        sizes, weights = self._sizes(moment_s)
        larger = sizes > held * _GROWTH
        if not larger.any():
            return math.ceil(held * _GROWTH**2) + SMALLEST_ASK
        return max(self._order(sizes[larger], weights[larger]), held + SMALLEST_ASK)

    def learn(self, moment_s: float, size: int, asked: int) -> None:
        """The head of the segment at ``moment_s`` turned out to be ``size`` bytes long; ``asked`` were fetched."""
        value, detail = math.log(max(size, 1) / self._pixels), self._detail(moment_s)
        count = self.count
        if count and self._detail_at:
            self._run.relate(detail - self._detail_sum / count, value - self._value_sum / count, count)
        self._remember(moment_s, value, detail)
        slope = self._run.slope if self._detail_at else 0.0  # as in _levels, in sums
        before, after = self._mean, (self._value_sum - slope * self._detail_sum) / self.count
        self._run.pay(asked, size)
        self._run.learn(self._kind, before, after, value - slope * detail - (before or 0.0))
        self._mean = after

    def _remember(self, moment_s: float, value: float, detail: float) -> None:
        place = self._learnt % REMEMBERED
        if self._learnt >= REMEMBERED:
            self._value_sum -= float(self._values[place])
            self._detail_sum -= float(self._details[place])
        self._moments_s[place], self._values[place], self._details[place] = moment_s, value, detail
        self._value_sum += value
        self._detail_sum += detail
        self._learnt += 1

    def _detail(self, moment_s: float) -> float:
        return self._detail_at(moment_s) if self._detail_at else 0.0

    def _levels(self) -> _Floats:
        """Log bytes a pixel of the heads remembered, were they all of mean detail."""
        values = self._values[: self.count]
        return values - self._run.slope * self._details[: self.count] if self._detail_at else values

    def _sizes(self, moment_s: float) -> tuple[_Floats, _Floats]:
        """Sizes that may come (bytes, rising) and their weights."""
        points, count = _NORMAL.size, self.count
        logs, weights = np.empty((2, (2 + count) * points if count else points))
        logs[:points] = self._run.centre(self._kind) + _OTHERS_SIGMA * _NORMAL
        weights[:points] = _OTHERS_WEIGHT
        if count:
            levels = self._levels()
            near = np.exp(np.abs(self._moments_s[:count] - moment_s) / -_NEAR_S) + _FAR
            total = float(np.add.reduce(near))
            mean = float(levels.dot(near)) / total
            sigma = self._sigma(levels - mean, near, total)
            smear = _SMEAR * min(sigma, _SMEAR_SIGMA)
            logs[points : 2 * points] = mean + sigma * _NORMAL
            weights[points : 2 * points] = _SOURCE_WEIGHT
            np.add(levels[:, None], smear * _NORMAL, out=logs[2 * points :].reshape(count, points))
            weights[2 * points :].reshape(count, points)[:] = near[:, None]
        order = logs.argsort()
        scale = self._pixels * math.exp(self._run.slope * self._detail(moment_s))
        return np.exp(logs[order]) * scale, weights[order]

    def _sigma(self, deviations: _Floats, weights: _Floats, total: float) -> float:
        expected = _WITHIN_HEADS * self._run.within_sigma() ** 2
        seen = float(weights.dot(deviations * deviations))
        return math.sqrt((expected + seen) / (_WITHIN_HEADS + total))

    def _order(self, sizes: _Floats, weights: _Floats) -> int:
        """The size with the least expected cost: bytes in vain when a smaller one comes, a miss for a larger."""
        covered, held = weights.cumsum(), (sizes * weights).cumsum()
        price = self._run.miss_price(self._pixels)
        # sizes * covered - held in vain, price * (all - covered) missed; what is the same for all is left out
        best = int(((sizes - price) * covered - held).argmin())
        return max(math.ceil(float(sizes[best])), SMALLEST_ASK)


def _kind_of(rendition: Rendition) -> Kind:
    """Renditions whose keyframes are alike: same lines, same class of frame rate, same codec."""
    return rendition.height, (rendition.fps or 0) > 45, rendition.codecs[:4]
