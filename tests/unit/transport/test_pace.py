"""When to send again."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from hypothesis import given
from hypothesis import strategies as st

from harvester.transport import (
    Backoff,
    RateLimit,
    retry_after_s,
)


def test_retry_after_as_a_date_is_measured_by_the_servers_clock() -> None:
    server_now = datetime(2031, 1, 1, 12, 0, 0, tzinfo=UTC)
    headers = {
        "Date": format_datetime(server_now, usegmt=True),
        "Retry-After": format_datetime(server_now + timedelta(seconds=7), usegmt=True),
    }
    assert retry_after_s(headers) == 7
    assert retry_after_s({**headers, "Retry-After": headers["Date"]}) == 0
    assert retry_after_s({"Retry-After": "3"}) == 3
    assert retry_after_s({}) is None


@given(st.text(max_size=40))
def test_retry_after_is_a_wait_or_nothing(text: str) -> None:
    wait_s = retry_after_s({"Retry-After": text, "Date": text})
    assert wait_s is None or wait_s >= 0


@given(st.integers(1, 10_000), st.none() | st.floats(allow_nan=False))
def test_backoff_stays_within_its_bounds(attempt: int, asked_s: float | None) -> None:
    wait_s = Backoff(0.5, 30).wait_s(attempt, asked_s)
    assert 0 <= wait_s <= 30.5
    if asked_s is None:
        assert wait_s <= 0.5 * 2.0 ** min(attempt - 1, 30)
    else:
        assert wait_s >= min(max(asked_s, 0), 30)


def entered(per_s: float, entries: int) -> float:
    """How long so many entries take (s)."""

    async def test() -> float:
        limit = RateLimit(per_s)
        loop = asyncio.get_running_loop()
        start = loop.time()
        for _ in range(entries):
            async with limit:
                pass
        return loop.time() - start

    return asyncio.run(test())


def test_rate_limit_spreads_evenly() -> None:
    assert entered(200, 5) >= 4 / 200 * 0.95  # the first enters at once, each other 5 ms later


def test_entries_keep_a_little_more_than_their_distance_for_who_counts_arrivals() -> None:
    assert entered(4, 2) >= 1.02 / 4  # so that five never fall into one second, though they stray by 20 ms
