"""Further moments of a VOD in place of those that gave nothing. Pure.

``max_per_vod`` is how many frames a VOD may give. A target whose picture the category has already, or is dropped
for what it shows, or leaves again, gives none, and so reopens: the VOD gets one more *part*, as many further
moments of the same labelled spans::

    pass 1   [0 ............. 40)      28 kept, 12 in vain
    pass 2                     [40 ... 52)      8 kept, 4 in vain
    pass 3                              [52 .. 56)      ...

The moments are those that its storyboard would have chosen next (they were committed with the first), or without
one the middles of the widest gaps between all that were looked at. A VOD is visited again in a later pass of the
same run, when all others have had their turn; so a run whose target is met fetches none of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise

import numpy as np

from harvester.config import Sample
from harvester.model import Source, Span
from harvester.sampling.plan import Moment, Opened, Part, cap_of, given_out, inside

#: Most targets of a VOD, as a multiple of the frames that it may give. Of the moments that scripts/bench_labels.py
#: could have (80 VODs of five games), once as many bring 80 %, twice 90 %, two and a half times no more.
MOST_LOOKS = 2
#: A VOD whose refills have kept a smaller share of their targets gets no more: what is left of it shows the same.
#: Of a map that stands still 3 % of the further moments are new, of cards 8 %, of games that move 25 to 80 %. To
#: stop at 1 of 8 saves an eighth of those targets and loses a thirtieth of their frames; never to stop takes a
#: sixth more for a sixtieth.
LEAST_YIELD = 0.05


def is_refill(part: Part, before: Part | None) -> bool:
    """True if a part lies over those before it; one of a growing source begins where the one ``before`` ended."""
    return before is not None and before.opened is not None and part.from_s < before.opened.span.end_s


def refills(parts: Sequence[Part]) -> list[Part]:
    """Those of a source's parts that are refills."""
    return [part for before, part in pairwise(parts) if is_refill(part, before)]


def are_known(parts: Sequence[Part]) -> bool:
    """True if it is committed which spans all of a source's parts lie in, so that no evidence need be asked."""
    before: Sequence[Part | None] = [None, *parts]
    pairs = zip(before, parts, strict=False)
    return all(part.opened is not None or is_refill(part, earlier) for earlier, part in pairs)


def refill_part(source: Source, parts: Sequence[Part], vain: Collection[int], sample: Sample) -> Part | None:
    """A part for the targets of a VOD that gave nothing (numbers ``vain``) and have no further one yet; None if
    there are none, nothing is left to look at, or it is not worth it.

    Where fewer targets were given out than the cap allows, there were no more moments. A VOD that was sampled
    while it grew has none: its cap is shared out among its parts.
    """
    last, again, cap = parts[-1], refills(parts), cap_of(source, sample)
    if source.kind != "vod" or last.opened is None or not last.opened.ended or given_out(parts) < cap:
        return None
    if len(again) != len(parts) - 1:
        return None
    if again and (last.opened.targets < last.count or not _are_worth_it(again, vain)):
        return None  # nothing is left, or nothing new
    count = min(len(vain) - given_out(again), MOST_LOOKS * cap - given_out(parts))
    return None if count < 1 else Part(last.first_k + last.count, count, 0.0, last.listed_s)


def _are_worth_it(again: Sequence[Part], vain: Collection[int]) -> bool:
    """True if enough targets of all refills so far showed something new."""
    numbers = [number for part in again for number in part.numbers]
    return sum(number not in vain for number in numbers) >= LEAST_YIELD * len(numbers)


def refilled(
    part: Part, done: Sequence[Part], taken_s: Collection[float], moments_s: Sequence[float], sample: Sample
) -> Opened:
    """The refill ``part`` opened: its moments, apart from one another and from ``taken_s`` by the minimum spacing.

    ``done``: the parts before it, opened; ``moments_s``: rising, all that can be had.
    """
    before = [earlier.opened for earlier in done if earlier.opened is not None]
    labels = tuple(dict.fromkeys(within for opened in before for within in opened.labels))
    spare_s = [moment_s for opened in before for moment_s in opened.chosen_s[opened.targets :]]
    chosen: list[float] = []
    for moment_s in spare_s or _in_gaps(list(inside(moments_s, labels)), taken_s):
        if len(chosen) == part.count:
            break
        if all(abs(moment_s - other_s) >= sample.min_spacing_s for other_s in (*taken_s, *chosen)):
            chosen.append(moment_s)
    whole = Span(before[0].span.start_s, before[-1].span.end_s)
    return Opened(whole, len(chosen), True, labels, tuple(chosen))


def _in_gaps(moments: Sequence[Moment], taken_s: Collection[float]) -> Iterator[float]:
    """The moments, each the farthest in time from all those before it and from ``taken_s``; the earlier of two."""
    offsets_s = np.array([moment.moment_s for moment in moments])
    away_s = np.full(len(moments), np.inf)
    for taken in taken_s:
        away_s = np.minimum(away_s, np.abs(offsets_s - taken))
    for _ in moments:
        place = int(np.argmax(away_s))
        yield float(offsets_s[place])
        away_s = np.minimum(away_s, np.abs(offsets_s - offsets_s[place]))
        away_s[place] = -1.0
