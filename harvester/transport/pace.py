"""When to send: an even rate, and how long to wait before another try."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType

from aiolimiter import AsyncLimiter

#: A server counts when requests arrive, which strays by some 10 ms on loopback from when they were let go: evenly
#: spaced by 1/rate, three of two a second fell into one second there. This much further apart they do not.
SLACK = 1.03


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before a retry: exponential with full jitter, at least what the server asked for."""

    base_s: float
    max_s: float

    def wait_s(self, attempt: int, asked_s: float | None = None) -> float:
        """Seconds to wait after failed try number ``attempt`` (from 1).

        Without ``asked_s``: uniform in ``[0, min(max_s, base_s * 2^(attempt-1))]``. With it (``Retry-After``):
        that long, at most ``max_s``, plus up to ``base_s`` so that clients told the same do not return together.
        """
        if asked_s is not None:
            return min(max(asked_s, 0.0), self.max_s) + random.uniform(0, self.base_s)
        return random.uniform(0, min(self.max_s, self.base_s * 2.0 ** min(attempt - 1, 60)))


class RateLimit:
    """At most ``per_s`` entries in any second, evenly spread (no burst): ``async with limit: ...``."""

    def __init__(self, per_s: float) -> None:
        self._limiter = AsyncLimiter(1, SLACK / per_s)

    async def __aenter__(self) -> None:
        await self._limiter.acquire()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds that ``Retry-After`` asks for (RFC 9110 §10.2.3: seconds or an HTTP date); None if unusable.

    A date is compared with the answer's own ``Date`` where there is one: two machines' clocks may differ.
    """
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    moment = _http_date(value)
    if moment is None:
        return None
    return max(0.0, (moment - server_time(headers)).total_seconds())


def server_time(headers: Mapping[str, str]) -> datetime:
    """The server's clock when it answered (its ``Date``), else ours; UTC."""
    return _http_date(headers.get("Date", "")) or datetime.now(UTC)


def _http_date(value: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(value)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, IndexError, OverflowError):
        return None
