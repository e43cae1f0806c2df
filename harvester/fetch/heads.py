"""How many bytes to ask for: the head of a segment up to the end of its first picture, whose size nobody tells.

Asking too little costs a second request, asking too much costs bytes; both are limited. So each ask is a
newsvendor's order: over the sizes that may come, the one with the least expected cost, where a byte that is
fetched in vain costs 1 and a miss costs as many bytes as some average heads. A stream of even keyframes gets a
tight ask with hardly a miss; one that jumps between menus and battles is allowed to miss where covering its
largest pictures every time would cost more. How many heads a miss costs begins at :data:`MISS_HEADS` and follows
the run: each miss raises it, each head lowers it, so that over all sources a share of :data:`MISSES` misses; where
that takes fewer bytes than :data:`SPENT` nothing lowers it.

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
weights, spreads and smear lie on a plateau: a third more or less of each, one at a time, changed
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
from typing import TYPE_CHECKING

from harvester.fetch.indexes import IndexSizes
from harvester.fetch.source_heads import SourceHeads

if TYPE_CHECKING:
    from harvester.fetch.source_heads import Kind
    from harvester.model import Rendition

#: Price of a miss at first, in average heads of this run. More: fewer misses, more bytes (table above).
MISS_HEADS = 2.7
#: Misses per head, a source's first left out, that the price settles at; the budget is 0.07.
MISSES = 0.065
#: Bytes asked for a byte needed, over the run so far, up to which the price of a miss does not fall: what hard
#: streams do not need saves requests on even ones. 1.28 is 1.34 x the access units; the budget is 1.4. Simulated
#: sources of even spread, bytes and requests from the second head on: 1.18 and 1.025 -> 1.19 and 1.012 (sigma
#: 0.05), 1.27 and 1.052 -> 1.31 and 1.032 (0.1); from 0.2 on, and in the mixtures above, nothing changes.
SPENT = 1.28
#: Log step of the price at a miss, and the prices (in average heads) that it stays between: below, every head
#: would be asked for twice; above, one freak picture would set the price of all.
_PRICE_STEP, _PRICES = 0.2, (1.0, 6.0)
#: A rendition's keyframe before anything is known (bytes a pixel, TS): mean of the measured streams.
_BYTES_PER_PIXEL = 0.11
#: How many sources that assumption is worth, and a source of another kind of rendition.
_ASSUMED_SOURCES, _OTHER_KIND = 2.0, 0.25

#: Spread (sigma of log size) within a source before the run has shown any, how many heads that is worth, and the
#: largest deviation that counts (a jump to another scene is no spread).
_WITHIN_SIGMA, _POOL_HEADS, _OUTLIER = 0.35, 20, 0.5

#: Slope of log size over log detail before a run has shown any, and how much it is worth (squared deviations of
#: detail: a head in a source of several scenes has some 0.1); any of 0.5 to 1.5 and 1 to 10 did as well.
_SLOPE, _SLOPE_WEIGHT = 1.0, 3.0


class HeadSizes:
    """What all sources of a run have taught; one for the run, used from one event loop.

    :meth:`source` gives the estimator of one rendition of one source; ``indexes`` that of clips' indexes.
    """

    def __init__(self) -> None:
        self.indexes = IndexSizes()
        self._means: dict[Kind, list[float]] = {}  # kind -> [sum of the sources' mean log bytes a pixel, sources]
        self._squares = _WITHIN_SIGMA**2 * _POOL_HEADS  # pooled squared deviations within sources ...
        self._degrees = float(_POOL_HEADS)  # ... and their degrees of freedom
        self._bytes, self._heads, self._asked = 0.0, 0, 0.0
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

    def centre(self, kind: Kind) -> float:
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

    @property
    def spent(self) -> float:
        """Bytes asked for a byte needed, over the run so far."""
        return self._asked / self._bytes if self._bytes else math.inf

    def pay(self, asked: int, size: int) -> None:
        """Count ``asked`` bytes that were fetched for a head of ``size``."""
        self._asked += asked
        self._bytes += size
        self._heads += 1

    def learn(self, kind: Kind, before: float | None, after: float, deviation: float) -> None:
        """Take in a head that moved its source's mean log bytes a pixel.

        ``deviation``: its own log bytes a pixel less the mean ``before``.
        """
        means = self._means.setdefault(kind, [0.0, 0.0])
        means[0] += after - (before or 0.0)
        if before is None:
            means[1] += 1
        else:
            self._squares += min(abs(deviation), _OUTLIER) ** 2
            self._degrees += 1
            if self.spent >= SPENT:
                self._reprice(-MISSES * _PRICE_STEP)
