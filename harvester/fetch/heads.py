"""How many bytes to ask for: the head of a segment up to the end of its first picture, whose size nobody tells.

Asking too little costs a second request, asking too much costs bytes; both are limited. So each ask is a
newsvendor's order: over the sizes that may come, the one with the least expected cost, where a byte that is
fetched in vain costs 1 and a miss costs as many bytes as some average heads. A stream of even keyframes gets a
tight ask with hardly a miss; one that jumps between menus and battles is allowed to miss where covering its
largest pictures every time would cost more. How many heads a miss costs begins at :data:`MISS_HEADS` and follows
the run: each miss raises it, each head lowers it, so that over all sources a share of :data:`MISSES` misses, and
no byte is spent on missing less.

"The sizes that may come" is a weighted set of log sizes:

- the heads seen of this source, each smeared a little; those near in time weigh more, since a scene lasts
  (without that misses rise by a quarter);
- one log-normal around their mean, for what a handful of heads has not shown yet;
- a thin wide one around what other sources need in bytes a pixel: it catches jumps (a black screen first, then the
  game) and is all there is for the very first head of a source.

Where a storyboard has shown a source before, the set moves with how detailed the picture of the moment is: log
sizes go with log detail, by a slope that the run learns (0.6 to 2.1 in single sources). Measured on 17 streams of
seven games (some each minute another scene), counted from the second head of a source on, bytes and requests by
how far apart the storyboard's tiles are::

    none            every 2 s       10 s            20 s            40 s
    1.65  1.077     1.43  1.060     1.51  1.066     1.57  1.075     1.63  1.082

Measured with a fixed price on the heads of 51 streams: 18 recordings of 7 free games, as they are (720p, constant
quality) and encoded by x264 veryfast with AAC at 1.4 (480p30), 3 (720p60) and 6 Mbit/s (1080p60), 2-s GOPs, cut
to TS. Each recording twice to four times, at slightly different size, makes a source of 12-40 heads, visited in
spread order, four in flight; the first four heads of each source are not counted. Mean of 8 mixtures: bytes
relative to the access units themselves (TS and sound alone take 1.04), requests per head::

                                        all mixed      as recorded     3 Mbit/s     other scene each minute
    mean + 1.25 sigma of the log size   1.49  1.093    1.37  1.091    1.55  1.085    1.51  1.089
    mean + 1.5 sigma                    1.60  1.056    1.44  1.053    1.69  1.052    1.62  1.052
    1.1 x the largest of the last 8     1.51  1.059    1.40  1.061    1.55  1.056    1.55  1.062
    this, MISS_HEADS = 2                1.36  1.098    1.34  1.101    1.40  1.088    1.43  1.092
    this, MISS_HEADS = 2.7              1.39  1.069    1.36  1.071    1.45  1.063    1.47  1.062
    this, MISS_HEADS = 3                1.40  1.063    1.38  1.065    1.46  1.057    1.49  1.055

Counted from the second head of a source on, requests are some 0.02 higher: a source must be seen to be known. The
weights, spreads and smear below lie on a plateau: a third more or less of each, one at a time, changed
bytes + 1.7 x requests by under 0.015.

With the price that follows, from the second head of a source on, on 21 of these streams as 2-s and as 10-s
segments, on the even half of them, and on 30 longer sources of several scenes and 5 to 60 frames a second. Not all
heads of a source are asked for at once: the more have come, the more are under way
(:class:`~harvester.fetch.turns.Turns`)::

                                        2-s segments   10-s segments  even half      many scenes
    fixed price 2.7, four at a time     1.42  1.101    1.43  1.102    1.34  1.048    1.63  1.086
    price that follows, four            1.43  1.085    1.44  1.078    1.32  1.048    1.70  1.067
    price and turns, as it stands       1.42  1.067    1.45  1.071    1.30  1.044    1.69  1.070
    same, less each recording's start   1.42  1.066    1.43  1.063

"Many scenes" has no good answer: its best single ask in hindsight takes 1.44 and 1.087.

Tried on 88 streams, a half of the games for choosing and the other for judging, and left, for bytes at 1.065
requests stayed within 0.5 % of 1.431 on the other half: weights over 3, 10, 40 s and all time, mixed by how
well each foretold the source so far (1.429); a normal of 16 or 32 points, out to 2.2 sigma (1.431); the mean's
own variance (1.437). The best of 24 settings chosen for each source in hindsight would save 0.03 requests. And
what else is known of a source says nothing that its heads do not: keyframes relative to the bit rate spread
between sources as widely as keyframes do (sigma of the log 0.44 to 0.61 and 0.43 to 0.57), and the size of a
segment, which its first answer tells, goes with that of its head only loosely (correlation 0.26 and 0.49 in the
two halves).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harvester.fetch.indexes import IndexSizes

if TYPE_CHECKING:
    from harvester.model import Rendition

#: Price of a miss at first, in average heads of this run. More: fewer misses, more bytes (table above).
MISS_HEADS = 2.7
#: Misses per head, a source's first left out, that the price settles at; the budget is 0.07.
MISSES = 0.065
#: Log step of the price at a miss, and the prices (in average heads) that it stays between: below, every head
#: would be asked for twice; above, one freak picture would set the price of all.
_PRICE_STEP, _PRICES = 0.2, (1.0, 6.0)
#: Heads of one source that are remembered: 32 do as well, 16 cost 0.5 % more bytes and misses.
REMEMBERED = 64
#: Weight of a head of the source: _FAR + exp(-seconds apart / _NEAR_S).
_FAR, _NEAR_S = 0.1, 10.0
#: Weights of the source's log-normal and of the one around other sources, in heads seen right here.
_SOURCE_WEIGHT, _OTHERS_WEIGHT = 0.5, 0.15
#: Spread (sigma of log size) around what other sources say; within a source before it is known; and how many
#: heads that a-priori spread is worth against the source's own.
_OTHERS_SIGMA, _WITHIN_SIGMA, _WITHIN_HEADS = 0.5, 0.35, 8.0
#: Smear of a seen head, as a share of the source's sigma (at most _SMEAR_SIGMA of it).
_SMEAR, _SMEAR_SIGMA = 0.3, 0.4
#: A rendition's keyframe before anything is known (bytes a pixel, TS): mean of the measured streams.
_BYTES_PER_PIXEL = 0.11
#: How many sources that assumption is worth, and a source of another kind of rendition.
_ASSUMED_SOURCES, _OTHER_KIND = 2.0, 0.25
#: Size of a picture when the playlist does not tell (pixels): 720p.
_UNKNOWN_PIXELS = 1280 * 720
#: A continuation asks for at least this many times what is held.
_GROWTH = 1.15
#: Never ask for less (bytes): a handful of TS packets is not worth a request of its own.
SMALLEST_ASK = 2048

#: How many heads the a-priori spread is worth against what all sources of the run show; and the largest deviation
#: that counts (a jump to another scene is no spread).
_POOL_HEADS, _OUTLIER = 20, 0.5

#: Slope of log size over log detail before a run has shown any, and how much it is worth (squared deviations of
#: detail: a head in a source of several scenes has some 0.1); any of 0.5 to 1.5 and 1 to 10 did as well.
_SLOPE, _SLOPE_WEIGHT = 1.0, 3.0

#: Eight points of equal weight that stand for a normal distribution.
_NORMAL = np.array([-1.5, -0.9, -0.5, -0.17, 0.17, 0.5, 0.9, 1.5])
_SOURCE_WEIGHTS, _OTHERS_WEIGHTS = np.full(_NORMAL.size, _SOURCE_WEIGHT), np.full(_NORMAL.size, _OTHERS_WEIGHT)

_Floats = NDArray[np.float64]
_Kind = tuple[int | None, bool, str]


class HeadSizes:
    """What all sources of a run have taught; one for the run, used from one event loop.

    :meth:`source` gives the estimator of one rendition of one source; ``indexes`` that of clips' indexes.
    """

    def __init__(self) -> None:
        self.indexes = IndexSizes()
        self._means: dict[_Kind, list[float]] = {}  # kind -> [sum of the sources' mean log bytes a pixel, sources]
        self._squares = _WITHIN_SIGMA**2 * _POOL_HEADS  # pooled squared deviations within sources ...
        self._degrees = float(_POOL_HEADS)  # ... and their degrees of freedom
        self._bytes, self._heads = 0.0, 0
        self._price = MISS_HEADS
        self._together, self._alone = _SLOPE * _SLOPE_WEIGHT, _SLOPE_WEIGHT  # of detail and size, of detail

    def source(self, rendition: Rendition) -> SourceHeads:
        """The estimator for the heads of one source's ``rendition``."""
        return SourceHeads(self, rendition)

    def miss_price(self, pixels: int) -> float:
        """What a miss costs (bytes); before anything is known, by the picture's size."""
        mean = self._bytes / self._heads if self._heads else pixels * _BYTES_PER_PIXEL
        return self._price * mean

    @property
    def slope(self) -> float:
        """By how much log sizes rise with log detail."""
        return self._together / self._alone

    def relate(self, detail: float, size: float, heads: int) -> None:
        """Take in how far a head lies from the means of ``heads`` earlier ones of its source, both in logs."""
        weight, told = heads / (heads + 1), self.slope * detail
        self._together += weight * detail * (told + min(max(size - told, -_OUTLIER), _OUTLIER))
        self._alone += weight * detail * detail

    def missed(self) -> None:
        """A request asked for too little."""
        self._reprice(_PRICE_STEP)

    def _reprice(self, log_step: float) -> None:
        low, high = _PRICES
        self._price = min(high, max(low, self._price * math.exp(log_step)))

    def centre(self, kind: _Kind) -> float:
        """Log bytes a pixel to expect of a source of that kind of rendition that has not been seen."""
        total, weight = math.log(_BYTES_PER_PIXEL) * _ASSUMED_SOURCES, _ASSUMED_SOURCES
        for other, (means, sources) in self._means.items():
            share = 1.0 if other == kind else _OTHER_KIND
            total += share * means
            weight += share * sources
        return total / weight

    def within_sigma(self) -> float:
        """Spread of log sizes inside a source, pooled over all sources."""
        return math.sqrt(self._squares / self._degrees)

    def learn(self, kind: _Kind, size: int, before: float | None, after: float, deviation: float) -> None:
        """Take in a head of ``size`` bytes that moved its source's mean log bytes a pixel.

        ``deviation``: its own log bytes a pixel less the mean ``before``.
        """
        means = self._means.setdefault(kind, [0.0, 0.0])
        means[0] += after - (before or 0.0)
        if before is None:
            means[1] += 1
        else:
            self._squares += min(abs(deviation), _OUTLIER) ** 2
            self._degrees += 1
            self._reprice(-MISSES * _PRICE_STEP)
        self._bytes += size
        self._heads += 1


class SourceHeads:
    """Head sizes of one rendition of one source."""

    def __init__(self, run: HeadSizes, rendition: Rendition) -> None:
        self._run = run
        self._kind = _kind_of(rendition)
        self._pixels = (rendition.width or 0) * (rendition.height or 0) or _UNKNOWN_PIXELS
        self._moments_s = np.empty(0)  # of the heads remembered ...
        self._values = np.empty(0)  # ... their log bytes a pixel ...
        self._details = np.empty(0)  # ... and log detail
        self._mean: float | None = None
        self._detail_at: Callable[[float], float] | None = None

    @property
    def count(self) -> int:
        """Heads remembered."""
        return len(self._values)

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

    def learn(self, moment_s: float, size: int) -> None:
        """The head of the segment at ``moment_s`` turned out to be ``size`` bytes long."""
        value, detail = math.log(max(size, 1) / self._pixels), self._detail(moment_s)
        if self.count and self._detail_at:
            self._run.relate(detail - float(self._details.mean()), value - float(self._values.mean()), self.count)
        before = self._mean
        self._moments_s = np.concatenate((self._moments_s[1 - REMEMBERED :], (moment_s,)))
        self._values = np.concatenate((self._values[1 - REMEMBERED :], (value,)))
        self._details = np.concatenate((self._details[1 - REMEMBERED :], (detail,)))
        levels = self._levels()
        after = float(levels.sum()) / self.count
        self._run.learn(self._kind, size, before, after, float(levels[-1]) - (before or 0.0))
        self._mean = after

    def _detail(self, moment_s: float) -> float:
        return self._detail_at(moment_s) if self._detail_at else 0.0

    def _levels(self) -> _Floats:
        """Log bytes a pixel of the heads remembered, were they all of mean detail."""
        return self._values - self._run.slope * self._details if self._detail_at else self._values

    def _sizes(self, moment_s: float) -> tuple[_Floats, _Floats]:
        """Sizes that may come (bytes, rising) and their weights."""
        points = [self._run.centre(self._kind) + _OTHERS_SIGMA * _NORMAL]
        weights = [_OTHERS_WEIGHTS]
        if self.count:
            levels = self._levels()
            near = _FAR + np.exp(np.abs(self._moments_s - moment_s) / -_NEAR_S)
            mean = float(levels @ near) / float(near.sum())
            sigma = self._sigma(levels - mean, near)
            smear = _SMEAR * min(sigma, _SMEAR_SIGMA)
            points += [mean + sigma * _NORMAL, (levels[:, None] + smear * _NORMAL).ravel()]
            weights += [_SOURCE_WEIGHTS, near.repeat(_NORMAL.size)]
        logs, flat = np.concatenate(points), np.concatenate(weights)
        order = logs.argsort()
        scale = self._pixels * math.exp(self._run.slope * self._detail(moment_s))
        return np.exp(logs[order]) * scale, flat[order]

    def _sigma(self, deviations: _Floats, weights: _Floats) -> float:
        expected = _WITHIN_HEADS * self._run.within_sigma() ** 2
        seen = float(weights @ (deviations * deviations))
        return math.sqrt((expected + seen) / (_WITHIN_HEADS + float(weights.sum())))

    def _order(self, sizes: _Floats, weights: _Floats) -> int:
        """The size with the least expected cost: bytes in vain when a smaller one comes, a miss for a larger."""
        covered = weights.cumsum()
        in_vain = sizes * covered - (sizes * weights).cumsum()
        missed = self._run.miss_price(self._pixels) * (covered[-1] - covered)
        best = int((in_vain + missed).argmin())
        return max(math.ceil(float(sizes[best])), SMALLEST_ASK)


def _kind_of(rendition: Rendition) -> _Kind:
    """Renditions whose keyframes are alike: same lines, same class of frame rate, same codec."""
    return rendition.height, (rendition.fps or 0) > 45, rendition.codecs[:4]
