"""Which sources cannot wait: a VOD is gone after a week, a fortnight or two months, by what its streamer is.

Twitch keeps the archives of partners and of streamers with Prime or Turbo for 60 days, those of affiliates for 14
and all others' for 7; highlights, uploads and clips stay. What a streamer is would cost a request each. But a VOD
that is listed at an age has outlived the shorter terms, so the next one is the soonest at which it may be gone.
"""

from __future__ import annotations

import math
from datetime import datetime

from harvester.model import Source, Vod, VodType

#: Ages at which archives are deleted (days).
TERMS_DAYS = (7, 14, 60)
#: Sources that may be gone within so many days come before those that stay longer. Two: a night that fails is not
#: the last one. Seven: a week in which only a part of a backlog is worked off.
TIERS_DAYS = (2, 7)

_DAY_S = 86_400.0


def days_left(source: Source, now: datetime) -> float:
    """Days after which the source may be gone at the soonest; infinite if it stays."""
    if not isinstance(source, Vod) or source.type is not VodType.ARCHIVE:
        return math.inf
    age_days = (now - source.created_at).total_seconds() / _DAY_S
    return min((term - age_days for term in TERMS_DAYS if term > age_days), default=math.inf)


def tier(source: Source, now: datetime) -> int:
    """Number of the group in which the source is visited, from 0: the smaller, the sooner it may be gone."""
    left = days_left(source, now)
    return sum(left > limit for limit in TIERS_DAYS)
