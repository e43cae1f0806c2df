"""Rate limits as Twitch counts them: a bucket of points that refills evenly."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

#: Points a minute of an application token on Twitch.
HELIX_POINTS = 800


@dataclass(slots=True)
class RateBucket:
    """``points`` at most, refilled evenly with ``per_minute`` (0: as many). In real time: clients wait for it."""

    points: int = HELIX_POINTS
    per_minute: float = 0
    left: float = field(init=False)
    _at: float = field(init=False)

    def __post_init__(self) -> None:
        if self.points < 1 or self.per_minute < 0:
            raise ValueError("points must be at least 1 and per_minute not negative")
        self.per_minute = self.per_minute or self.points
        self.left, self._at = float(self.points), time.monotonic()

    def take(self) -> bool:
        """Take a point; False if there is none."""
        now = time.monotonic()
        self.left = min(self.points, self.left + (now - self._at) * self.per_minute / 60)
        self._at = now
        if self.left < 1:
            return False
        self.left -= 1
        return True

    def headers(self) -> dict[str, str]:
        """The three headers that Helix answers carry; reset = when the bucket is full again."""
        full_in_s = math.ceil((self.points - self.left) * 60 / self.per_minute)
        return {
            "Ratelimit-Limit": str(self.points),
            "Ratelimit-Remaining": str(int(self.left)),
            "Ratelimit-Reset": str(int(time.time()) + full_in_s),
        }


def bucket_from(document: object) -> RateBucket:
    """A full bucket from ``{"points": n, "per_minute": r}``. Raises :class:`ValueError` for anything else."""
    if not isinstance(document, dict) or set(document) - {"points", "per_minute"}:
        raise ValueError('a bucket is {"points": 800, "per_minute": 800}')
    for key, value in document.items():
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"{key} must be a whole number, got {value!r}")  # noqa: TRY004
    return RateBucket(**document)
