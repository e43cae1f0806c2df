"""Refills: as many further moments as gave nothing, none twice, no more than the bounds say."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.config import Sample
from harvester.model import Clip, Label, LabelledSpan, Source, Span, Target, Vod, VodType
from harvester.sampling.parts import Media, open_parts
from harvester.sampling.plan import Opened, Part, first_part
from harvester.sampling.refill import LEAST_YIELD, MOST_LOOKS, are_known, is_refill, refill_part, refills

NOW = datetime(2026, 11, 1, tzinfo=UTC)
SAMPLE = Sample(max_per_vod=8, min_spacing_s=10, guard_s=0)
LENGTH_S = 1000.0
VOD = Vod("1", "7", "9", "ann", "title", NOW, LENGTH_S, VodType.ARCHIVE, "en", 5)
MEDIA = Media([10.0 * n for n in range(100)], LENGTH_S, ended=True)
LABEL = Label("chapter", 0.9)
SPANS = (LabelledSpan(Span(100, 400), "7", LABEL), LabelledSpan(Span(600, 900), "7", LABEL))


def opened(
    parts: Sequence[Part] = (), spans: Sequence[LabelledSpan] = SPANS, media: Media = MEDIA
) -> tuple[tuple[Part, ...], dict[int, Target]]:
    return open_parts(VOD, parts or [first_part(VOD, SAMPLE)], media, SAMPLE, spans)


def filled_up(vain_in: Collection[int]) -> tuple[tuple[Part, ...], dict[int, Target]]:
    """All refills that follow when the targets of those numbers give nothing."""
    parts, targets = opened()
    while (part := refill_part(VOD, parts, set(vain_in) & targets.keys(), SAMPLE)) is not None:
        parts, targets = opened((*parts, part))
    return parts, targets


def test_as_many_further_moments_as_gave_nothing() -> None:
    parts, first = opened()
    part = refill_part(VOD, parts, {1, 4, 6}, SAMPLE)
    assert part == Part(8, 3, 0.0, LENGTH_S)
    again, targets = opened((*parts, part))
    assert again[0] == parts[0]
    assert targets.keys() == set(range(11))
    assert {k: targets[k] for k in first} == first
    assert refill_part(VOD, again, {1, 4, 6}, SAMPLE) is None
    assert refill_part(VOD, again, {1, 4, 6, 9}, SAMPLE) == Part(11, 1, 0.0, LENGTH_S)


def test_they_lie_in_the_widest_gaps_of_the_labelled_spans() -> None:
    parts, first = opened()
    taken_s = sorted(target.moment_s for target in first.values())
    _, targets = opened((*parts, Part(8, 1, 0.0, LENGTH_S)))
    moments_s = [s for s in MEDIA.moments_s if any(s in within.span for within in SPANS)]

    def away_s(moment_s: float) -> float:
        return min(abs(moment_s - other_s) for other_s in taken_s)

    assert away_s(targets[8].moment_s) == max(map(away_s, moments_s))
    assert targets[8].label == LABEL


def test_what_is_committed_of_a_refill_stays_whatever_else_changes() -> None:
    parts, _ = opened()
    again, targets = opened((*parts, Part(8, 3, 0.0, LENGTH_S)))
    assert opened(again, spans=()) == (again, targets)
    shifted = Media([10.0 * n + 0.4 for n in range(100)], LENGTH_S, ended=True)
    assert {k: target.item for k, target in opened(again, media=shifted)[1].items()} == {
        k: target.item for k, target in targets.items()
    }


def test_a_storyboards_choice_goes_on_where_it_ended() -> None:
    chosen_s = (*(100.0 + 10 * n for n in range(8)), 700.0, 105.0, 600.0)
    found = Opened(Span(0, LENGTH_S), 8, True, SPANS, chosen_s)
    parts, targets = opened([replace(first_part(VOD, SAMPLE), opened=found), Part(8, 3, 0.0, LENGTH_S)])
    assert [targets[k].moment_s for k in range(8)] == [100.0 + 10 * n for n in range(8)]
    assert [targets[k].moment_s for k in (8, 9)] == [700.0, 600.0]  # 105 is too near to those that were looked at
    assert parts[1].opened is not None
    assert parts[1].opened.targets == 2
    assert refill_part(VOD, parts, set(range(8)), SAMPLE) is None  # it found fewer than it should: nothing is left


@given(st.frozensets(st.integers(0, 30)))
def test_no_moment_comes_twice_and_the_bounds_hold(vain: frozenset[int]) -> None:
    parts, targets = filled_up(vain)
    moments_s = sorted(target.moment_s for target in targets.values())
    assert all(later - earlier >= SAMPLE.min_spacing_s for earlier, later in pairwise(moments_s))
    assert len(targets) <= MOST_LOOKS * SAMPLE.max_per_vod
    assert len(targets.keys() - vain) <= SAMPLE.max_per_vod
    assert all(is_refill(part, before) for before, part in pairwise(parts))
    assert are_known(parts)


def test_a_vod_that_shows_nothing_new_is_given_up() -> None:
    parts, _ = opened()
    again, _ = opened((*parts, Part(8, 6, 0.0, LENGTH_S)))
    assert LEAST_YIELD > 0
    assert refill_part(VOD, again, set(range(14)), SAMPLE) is None
    assert refill_part(VOD, again, set(range(14)) - {9}, SAMPLE) == Part(
        14, 2, 0.0, LENGTH_S
    )  # one in six is enough


@pytest.mark.parametrize(
    "change",
    [{"ended": False}, {"targets": 7, "chosen_s": ()}],
    ids=["it may still grow", "there were no more moments"],
)
def test_some_have_no_refill(change: dict[str, object]) -> None:
    (part,), _ = opened()
    assert part.opened is not None
    other = replace(part, opened=replace(part.opened, **change))
    assert refill_part(VOD, [part], {1}, SAMPLE) is not None
    assert refill_part(VOD, [other], {1}, SAMPLE) is None
    assert refill_part(VOD, [replace(part, opened=None)], {1}, SAMPLE) is None


def test_a_clip_has_none() -> None:
    clip: Source = Clip("c", "7", "9", "ann", "title", NOW, LENGTH_S, "en", 5)
    (part,), _ = opened()
    assert refill_part(clip, [part], {1}, SAMPLE) is None


def test_a_part_of_a_growing_source_is_no_refill() -> None:
    found = Opened(Span(10, 500), 4, False, SPANS)
    parts = [Part(0, 8, 0.0, 500.0, found), Part(8, 4, 500.0, LENGTH_S)]
    assert refills(parts) == []
    ended = Opened(Span(500, LENGTH_S), 4, True, SPANS)
    assert refill_part(VOD, [parts[0], replace(parts[1], opened=ended)], {1}, SAMPLE) is None
    assert not are_known(parts)
    assert not are_known([replace(parts[0], opened=None)])
    assert are_known([parts[0], replace(parts[1], from_s=0.0)])


def test_a_storyboard_that_chose_no_more_than_the_first_leaves_the_gaps() -> None:
    found = Opened(Span(0, LENGTH_S), 8, True, SPANS, tuple(100.0 + 10 * n for n in range(8)))
    _, targets = opened([replace(first_part(VOD, SAMPLE), opened=found), Part(8, 3, 0.0, LENGTH_S)])
    assert [targets[k].moment_s for k in (8, 9)] == [890.0, 600.0]  # the farthest from 170, then from both
