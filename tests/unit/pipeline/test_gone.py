"""Gone for good: when a second look counts, and what Helix has to say to it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast

import pytest

from harvester.clock import Clock
from harvester.errors import (
    CredentialsRefused,
    FetchError,
    HarvesterError,
    SourceError,
    TargetError,
    TryAgainLater,
)
from harvester.model import Category, Source, SourceKind
from harvester.pipeline.gone import ANOTHER_DAY, SecondLook
from harvester.pipeline.work import Failed
from harvester.store.ledger import Ledger
from tests.unit.pipeline.conftest import NOW, clip, decided, item, judge, measured, vod

NOT_THERE = SourceError("no token", reason="gone", retryable=True)
LEFT_OUT = SourceError("Twitch does not know it", reason="gone", retryable=True)
OF_ANOTHER_CATEGORY = SourceError("of another category", reason="other-category")


@dataclass
class Helix:
    """A catalog that says one thing about every id, and remembers what it was asked."""

    says: HarvesterError | None
    asked: list[tuple[str, SourceKind, str]] = field(default_factory=list)

    async def find_source(self, category: Category, kind: SourceKind, source_id: str) -> Source:
        self.asked.append((category.id, kind, source_id))
        if self.says is not None:
            raise self.says
        return vod()


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(None)


def night(
    ledger: Ledger, start: datetime, failure: TargetError, says: HarvesterError | None
) -> tuple[TargetError, Helix]:
    """A run that fails to open VOD 7: what becomes of the failure, committed."""
    helix, run_id = Helix(says), f"run {ledger.next_seq()}"
    ledger.begin_run(run_id, start, {})
    look = SecondLook(cast("Any", helix), ledger, Clock(start))
    seen = asyncio.run(look.judge(vod(7), failure))
    decided(judge(ledger, run_id=run_id, now=start), ledger, item(vod(7)), Failed(seen, whole_source=True))
    return seen, helix


@pytest.mark.parametrize(
    ("after", "final"),
    [
        (timedelta(0), False),
        (ANOTHER_DAY - timedelta(seconds=1), False),
        (ANOTHER_DAY, True),
        (timedelta(days=9), True),
    ],
)
def test_days_count_from_start_to_start_of_runs(ledger: Ledger, after: timedelta, final: bool) -> None:
    first, helix = night(ledger, NOW, NOT_THERE, LEFT_OUT)
    assert (first.reason, first.retryable, helix.asked) == ("gone", True, [])
    second, helix = night(ledger, NOW + after, NOT_THERE, LEFT_OUT)
    assert (second.reason, second.retryable) == ("gone", not final)
    assert helix.asked == ([("1001", "vod", "7")] if final else [])


@pytest.mark.parametrize(
    ("says", "reason", "retryable"),
    [
        (LEFT_OUT, "gone", False),
        (None, "unplayable", True),
        (OF_ANOTHER_CATEGORY, "unplayable", True),
        (TryAgainLater("down"), "unavailable", True),
    ],
)
def test_what_helix_says_decides(
    ledger: Ledger, says: HarvesterError | None, reason: str, retryable: bool
) -> None:
    night(ledger, NOW, NOT_THERE, None)
    seen, _ = night(ledger, NOW + ANOTHER_DAY, NOT_THERE, says)
    assert (seen.reason, seen.retryable) == (reason, retryable)


def test_credentials_that_are_refused_meanwhile_are_loud(ledger: Ledger) -> None:
    night(ledger, NOW, NOT_THERE, None)
    with pytest.raises(CredentialsRefused):
        night(ledger, NOW + ANOTHER_DAY, NOT_THERE, CredentialsRefused("no"))


def test_other_failures_are_no_looks_and_need_none(ledger: Ledger) -> None:
    for days, failure in enumerate(
        (
            FetchError("timeout"),
            SourceError("x", reason="sub-only"),
            SourceError("x", reason="not-ready", retryable=True),
        )
    ):
        seen, helix = night(ledger, NOW + timedelta(days=days), failure, LEFT_OUT)
        assert seen is failure
        assert not helix.asked
    assert night(ledger, NOW + timedelta(days=9), NOT_THERE, LEFT_OUT)[0].retryable


def test_a_source_that_was_opened_in_between_is_looked_at_anew(ledger: Ledger) -> None:
    night(ledger, NOW, NOT_THERE, LEFT_OUT)
    decided(judge(ledger), ledger, item(vod(7), 1), measured(1, k=1))
    seen, helix = night(ledger, NOW + timedelta(days=2), NOT_THERE, LEFT_OUT)
    assert (seen.retryable, helix.asked) == (True, [])
    seen, _ = night(ledger, NOW + timedelta(days=3), NOT_THERE, LEFT_OUT)
    assert not seen.retryable


def test_a_look_at_one_source_says_nothing_of_another(ledger: Ledger) -> None:
    night(ledger, NOW, NOT_THERE, LEFT_OUT)
    look = SecondLook(cast("Any", Helix(LEFT_OUT)), ledger, Clock(NOW + timedelta(days=5)))
    for other in (vod(8), clip("7")):
        assert asyncio.run(look.judge(other, NOT_THERE)).retryable
