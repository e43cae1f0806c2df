"""The one clock of a run: ``[run] now`` if it is set, else the machine's, then advancing monotonically.

Windows, retention, retries due and ``harvested_at`` ask it; rate limiters and time-outs never do.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta


class Clock:
    """UTC time that starts at ``now`` (aware; None = the machine's clock) and advances with monotonic time."""

    def __init__(self, now: datetime | None = None) -> None:
        if now is not None and now.tzinfo is None:
            raise ValueError("now must be an aware UTC time")
        self._start = (now or datetime.now(UTC)).astimezone(UTC)
        self._origin_s = time.monotonic()

    def now(self) -> datetime:
        """Current time of this run (UTC, microseconds)."""
        return self._start + timedelta(seconds=time.monotonic() - self._origin_s)

    @property
    def start(self) -> datetime:
        """Time at which the run started (UTC)."""
        return self._start

    def elapsed_s(self) -> float:
        """Seconds since the run started."""
        return time.monotonic() - self._origin_s
