"""What may be gone soon is visited first."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.config import Sample
from harvester.model import Clip, Vod, VodType
from harvester.sampling.plan import Wish, plan_visits
from harvester.sampling.urgency import TERMS_DAYS, days_left, tier

NOW = datetime(2026, 11, 20, 3, 30, tzinfo=UTC)
SAMPLE = Sample(max_per_vod=10)


def vod(number: int, age_days: float, type_: VodType = VodType.ARCHIVE, broadcaster: str = "9") -> Vod:
    created = NOW - timedelta(days=age_days)
    return Vod(str(number), "7", broadcaster, "someone", "title", created, 3600.0, type_, "en", 5)


@pytest.mark.parametrize(
    ("age_days", "left", "number"),
    [
        (0, 7, 1),
        (1, 6, 1),
        (5.5, 1.5, 0),
        (6.9, 0.1, 0),
        (7, 7, 1),
        (13, 1, 0),
        (14, 46, 2),
        (20, 40, 2),
        (59, 1, 0),
    ],
)
def test_the_next_term_that_a_vod_has_not_outlived_counts(age_days: float, left: float, number: int) -> None:
    assert days_left(vod(1, age_days), NOW) == pytest.approx(left)
    assert tier(vod(1, age_days), NOW) == number


def test_what_is_kept_for_good_comes_last() -> None:
    clip = Clip("Slug", "7", "9", "someone", "title", NOW - timedelta(days=6), 30.0, "en", 5)
    for source in (vod(1, 6, VodType.HIGHLIGHT), vod(1, 6, VodType.UPLOAD), vod(1, 400), clip):
        assert days_left(source, NOW) == math.inf
        assert tier(source, NOW) == 2


@given(st.lists(st.tuples(st.floats(0, 90), st.integers(0, 3)), min_size=1, max_size=30))
def test_all_that_may_be_gone_sooner_is_ranked_before_the_rest(sources: list[tuple[float, int]]) -> None:
    wishes = [Wish(vod(n, age, broadcaster=str(who))) for n, (age, who) in enumerate(sources)]
    visits = list(plan_visits(1, wishes, SAMPLE, tier=lambda source: tier(source, NOW)))
    assert sorted(visit.source.id for visit in visits) == sorted(wish.source.id for wish in wishes)
    ranked = sorted(
        (visit.rank(place), tier(visit.source, NOW)) for visit in visits for place in range(visit.count)
    )
    assert [number for _, number in ranked] == sorted(number for _, number in ranked)
    assert len({rank for rank, _ in ranked}) == len(ranked)


def test_without_tiers_the_plan_is_what_it_was() -> None:
    wishes = [Wish(vod(n, n, broadcaster=str(n % 3))) for n in range(12)]
    plain = list(plan_visits(1, wishes, SAMPLE))
    same = list(plan_visits(1, wishes, SAMPLE, tier=lambda _: 5))
    assert plain == same
    assert {visit.first_slot for visit in plain} == {0, 10, 20, 30}
    assert plain[0] == replace(plain[0], first_slot=0)


def test_the_terms_rise() -> None:
    assert list(TERMS_DAYS) == sorted(TERMS_DAYS)
