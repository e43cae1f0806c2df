"""The run's clock: starts where it is told, goes on by itself, speaks UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from harvester import clock as module
from harvester.clock import Clock

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


@pytest.fixture
def monotonic(monkeypatch):
    """A monotonic clock that stands still until the test moves it (the only thing here that time passes by)."""
    seconds = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: seconds[0])
    return seconds


def test_it_starts_at_now_and_advances_with_the_monotonic_clock(monotonic):
    clock = Clock(NOON)
    assert clock.now() == clock.start == NOON
    monotonic[0] += 90.5
    assert clock.now() == NOON + timedelta(seconds=90.5)
    assert clock.elapsed_s() == 90.5
    assert clock.start == NOON


def test_without_now_it_is_the_machines(monotonic):
    before = datetime.now(UTC)
    clock = Clock()
    assert before <= clock.now() <= datetime.now(UTC)


def test_it_never_runs_backwards_by_itself():
    clock = Clock(NOON)
    readings = [clock.now() for _ in range(100)]
    assert readings == sorted(readings)
    assert readings[0] >= NOON


def test_another_zones_time_becomes_utc():
    clock = Clock(datetime(2026, 11, 1, 14, tzinfo=timezone(timedelta(hours=2))))
    assert clock.start == NOON
    assert clock.start.tzinfo is UTC
    assert clock.now().utcoffset() == timedelta(0)


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(ValueError, match="aware"):
        Clock(datetime(2026, 11, 1))
