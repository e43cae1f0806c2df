"""Planning: ranks, rounds, guards, spacing, spread."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.config import Sample
from harvester.model import Clip, Label, LabelledSpan, Target, Vod, VodType
from harvester.sampling.plan import (
    Visit,
    Wish,
    guarded_span,
    pick_targets,
    plan_visits,
    rank_hash,
    spread_order,
    target_limit,
)

NOW = datetime(2026, 11, 1, tzinfo=UTC)
LABEL = Label("vod", 0.8)


def vod(number: int = 1, broadcaster: str = "9", duration_s: float = 3600) -> Vod:
    return Vod(str(number), "7", broadcaster, "ann", "title", NOW, duration_s, VodType.ARCHIVE, "en", 5)


def clip(slug: str = "Brave-aB3", duration_s: float = 30) -> Clip:
    return Clip(slug, "7", "9", "ann", "title", NOW, duration_s, "en", 5)


def targets_of(source: Vod, moments_s: list[float], sample: Sample) -> tuple[Target, ...]:
    """Targets of a whole source as long as it is listed."""
    span, limit = guarded_span("vod", source.duration_s, sample), target_limit(source, sample)
    return pick_targets(
        (source.kind, source.id), moments_s, [LabelledSpan(span, "7", LABEL)], limit=limit, sample=sample
    )


@pytest.mark.parametrize(
    ("duration_s", "start_s", "end_s"),
    [(7200, 90, 7110), (1000, 50, 950), (24, 1.2, 22.8), (0, 0, 0)],
)
def test_guard_is_the_smaller_of_seconds_and_share(duration_s: float, start_s: float, end_s: float) -> None:
    span = guarded_span("vod", duration_s, Sample())
    assert (span.start_s, span.end_s) == pytest.approx((start_s, end_s))


def test_limit_is_cap_or_what_fits_and_at_least_one() -> None:
    sample = Sample(max_per_vod=40, max_per_clip=8, min_spacing_s=4)
    assert target_limit(vod(duration_s=36000), sample) == 40
    assert target_limit(vod(duration_s=40), sample) == 10  # 36 s inside the guard: 0, 4 ... 36
    assert target_limit(clip(duration_s=60), sample) == 8
    assert target_limit(clip(duration_s=0.5), sample) == 1


@given(st.integers(0, 300))
def test_spread_order_is_a_permutation_whose_prefixes_cover_the_range(count: int) -> None:
    order = spread_order(count)
    assert sorted(order) == list(range(count))
    for size in (2, 4, 8, 16):
        if count >= 2 * size:
            places = sorted(order[:size])
            assert max(b - a for a, b in pairwise([*places, count])) <= 4 * count / size


moments = st.lists(st.floats(0, 5000, allow_nan=False), max_size=200, unique=True).map(sorted)


@given(moments, st.floats(0, 5000), st.integers(1, 60), st.floats(0.5, 60), st.text(max_size=5))
def test_targets_stay_inside_the_guard_apart_and_within_the_cap(
    moments_s: list[float], duration_s: float, cap: int, spacing_s: float, seed: str
) -> None:
    sample = Sample(max_per_vod=cap, min_spacing_s=spacing_s, seed=seed)
    source = vod(duration_s=duration_s)
    targets = targets_of(source, moments_s, sample)
    span = guarded_span("vod", duration_s, sample)
    assert [target.k for target in targets] == list(range(len(targets)))
    assert len(targets) <= target_limit(source, sample)
    assert all(span.start_s <= target.moment_s < span.end_s for target in targets)
    assert all(moments_s[target.item] == target.moment_s for target in targets)
    times = sorted(target.moment_s for target in targets)
    assert all(b - a >= spacing_s * (1 - 1e-9) for a, b in pairwise(times))
    if any(moment in span for moment in moments_s):
        assert targets


def test_moments_that_all_lie_early_give_a_target() -> None:
    sample = Sample(max_per_vod=1, min_spacing_s=1, seed="")
    assert [target.moment_s for target in targets_of(vod(duration_s=8), [1.0, 2.0], sample)] == [2.0]
    assert targets_of(vod(duration_s=8), [9.0, 12.0], sample) == ()


def test_a_long_vod_is_sampled_over_its_whole_length() -> None:
    sample = Sample(max_per_vod=10, min_spacing_s=4)
    targets = targets_of(vod(duration_s=3600), [10.0 * n for n in range(360)], sample)
    span = guarded_span("vod", 3600, sample)
    strata = {int((target.moment_s - span.start_s) / (span.length_s / 10)) for target in targets}
    assert len(targets) == 10
    assert len(strata) >= 9


def test_targets_are_the_same_each_time_and_differ_by_seed_and_source() -> None:
    starts_s = [2.0 * n for n in range(1800)]
    chosen = {
        (seed, number): targets_of(vod(number), starts_s, Sample(seed=seed))
        for seed in ("a", "b")
        for number in (1, 2)
    }
    assert targets_of(vod(1), starts_s, Sample(seed="a")) == chosen["a", 1]
    assert len({tuple(target.item for target in targets) for targets in chosen.values()}) == 4


def test_rounds_interleave_broadcasters() -> None:
    wishes = [Wish(vod(n, broadcaster=str(n % 3), duration_s=60)) for n in range(9)]
    visits = list(plan_visits(1, wishes, Sample(round_size=4)))
    ranked = sorted(
        (visit.rank(place), visit.source.broadcaster_id) for visit in visits for place in range(visit.count)
    )
    first_round = [broadcaster for rank, broadcaster in ranked if rank.round == 0]
    assert sorted(first_round) == sorted(["0", "1", "2"] * 4)
    assert len({rank for rank, _ in ranked}) == sum(visit.count for visit in visits)


@given(st.integers(0, 50), st.integers(1, 50), st.integers(1, 9))
def test_places_of_the_rounds_are_all_places_once(first_slot: int, count: int, round_size: int) -> None:
    visit = Visit(1, vod(), first_slot, count, round_size, 1, 2)
    turns = range(visit.first_round, visit.last_round + 1)
    places = [place for turn in turns for place in visit.places(turn)]
    assert places == list(range(count))
    assert all(visit.rank(place).round == turn for turn in turns for place in visit.places(turn))
    assert not visit.places(visit.last_round + 1)


def test_order_does_not_depend_on_the_order_of_listing() -> None:
    wishes = [Wish(vod(n, broadcaster=str(n % 4))) for n in range(12)]
    assert list(plan_visits(1, wishes, Sample())) == list(plan_visits(1, wishes[::-1], Sample()))


def test_a_retry_visit_has_a_place_per_failed_target() -> None:
    (visit,) = plan_visits(3, [Wish(vod(), (2, 7))], Sample())
    assert visit.count == 2
    assert [visit.target_number(place) for place in range(2)] == [2, 7]
    with pytest.raises(IndexError):
        visit.rank(2)


def test_rank_hash_fits_a_signed_integer_and_separates_its_parts() -> None:
    assert 0 <= rank_hash("s", "ab", "c") < 2**63
    assert rank_hash("s", "ab", "c") != rank_hash("s", "a", "bc")
