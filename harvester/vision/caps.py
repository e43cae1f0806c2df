"""Caps: how many frames of a category one broadcaster and one day may give, so that no class is one person's.

A cap is decided like everything else, in rank order and from what was decided before: a :class:`Tally` of the kept
frames against the :class:`Caps` of the run. A capped target needs no picture. What the caps count by is known from
the source's row alone, before anything is opened::

    broadcaster   whose source it is
    day           UTC day on which the source was made; of an archive that is when the broadcast began

The even share: with a target of N frames and ``min_broadcasters`` M, nobody gets more than N / M (rounded up) as
long as fewer than M broadcasters have frames. Nothing waits for broadcasters that may never come: the rest of the
sources goes on, the run ends, and what was held back comes back as soon as there are M.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from harvester.config import Sample
from harvester.model import Source

#: Reason of a target whose broadcaster already has as many frames of the category as one may.
BROADCASTER_CAP = "broadcaster-cap"
#: Reason of a target whose source was made on a day that already has as many frames as one may.
DAY_CAP = "day-cap"
#: Reason of a target whose broadcaster has its even share while too few others have frames; it comes back.
FEW_BROADCASTERS = "few-broadcasters"
#: All of them: a target that is dropped for one may never have been looked at, its source never opened.
CAP_REASONS = (BROADCASTER_CAP, DAY_CAP, FEW_BROADCASTERS)


@dataclass(frozen=True, slots=True)
class Origin:
    """What the caps count a picture by. ``day``: ISO date, "" where it is unknown: that counts for no day."""

    broadcaster_id: str
    day: str = ""

    @classmethod
    def of(cls, source: Source) -> Self:
        """That of all pictures of a source."""
        return cls(source.broadcaster_id, source.created_at.date().isoformat())


@dataclass(frozen=True, slots=True)
class Caps:
    """Most kept frames of a category, 0 = any number: of a broadcaster, of a day, and (``even_share``) of a
    broadcaster as long as fewer than ``min_broadcasters`` have any."""

    per_broadcaster: int = 0
    per_day: int = 0
    even_share: int = 0
    min_broadcasters: int = 0

    def __post_init__(self) -> None:
        if min(self.per_broadcaster, self.per_day, self.even_share, self.min_broadcasters) < 0:
            raise ValueError("a cap is negative")

    @classmethod
    def of(cls, sample: Sample, target: int | None) -> Self:
        """The configured caps for a target of so many frames a category; without one there is no share of it."""
        share = -(-target // sample.min_broadcasters) if target and sample.min_broadcasters > 1 else 0
        return cls(sample.max_per_broadcaster, sample.max_per_day, share, sample.min_broadcasters)

    def held_back(self, kept_by_broadcaster: Mapping[str, int]) -> set[str]:
        """Broadcasters that have their even share and may not have more yet."""
        if not self.even_share or sum(n > 0 for n in kept_by_broadcaster.values()) >= self.min_broadcasters:
            return set()
        return {id_ for id_, kept in kept_by_broadcaster.items() if kept >= self.even_share}


#: Any number of frames from anybody.
NO_CAPS = Caps()


@dataclass(slots=True)
class Tally:
    """Kept frames of a category, by what the caps count."""

    by_broadcaster: Counter[str] = field(default_factory=Counter)
    by_day: Counter[str] = field(default_factory=Counter)

    def count(self, origin: Origin, n: int = 1) -> None:
        """``n`` more kept frames; fewer, where they have left the dataset."""
        self.by_broadcaster[origin.broadcaster_id] += n
        if not self.by_broadcaster[origin.broadcaster_id]:
            del self.by_broadcaster[origin.broadcaster_id]  # so that their number is that of the broadcasters
        if origin.day:
            self.by_day[origin.day] += n

    def reached(self, caps: Caps, origin: Origin) -> str:
        """Which cap keeps out the next frame of that origin; "" if none does."""
        kept = self.by_broadcaster[origin.broadcaster_id]
        if caps.per_broadcaster and kept >= caps.per_broadcaster:
            return BROADCASTER_CAP
        if caps.per_day and origin.day and self.by_day[origin.day] >= caps.per_day:
            return DAY_CAP
        few = caps.even_share and len(self.by_broadcaster) < caps.min_broadcasters
        return FEW_BROADCASTERS if few and kept >= caps.even_share else ""
