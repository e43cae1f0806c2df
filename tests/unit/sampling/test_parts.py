"""Sources in parts: no moment twice, none left out, one cap over all, whatever listing and playlist say when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count, pairwise, takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.config import Sample
from harvester.model import Clip, Label, LabelledSpan, Source, Span, Target, Vod, VodType
from harvester.sampling.parts import REST, Media, cut_off, is_over, next_part, strongest
from harvester.sampling.parts import open_parts as labelled_open_parts
from harvester.sampling.plan import Opened, Part, first_part, given_out, guarded_span, pick_targets, target_limit

NOW = datetime(2026, 11, 1, tzinfo=UTC)
NIGHT = timedelta(hours=24)
SAMPLE = Sample(max_per_vod=40, min_spacing_s=10, min_growth_s=600)


def vod(duration_s: float) -> Vod:
    return Vod("1", "7", "9", "ann", "title", NOW, duration_s, VodType.ARCHIVE, "en", 5)


def segments(edge_s: float, ended: bool, every_s: float = 10.0) -> Media:
    """Segments of equal length, all that begin before the edge."""
    starts_s = takewhile(lambda start_s: start_s < edge_s, (every_s * n for n in count()))
    return Media(list(starts_s), edge_s, ended)


LABEL = Label("vod", 0.8)


def all_of(span: Span) -> tuple[LabelledSpan, ...]:
    """All of that span shows the category."""
    return (LabelledSpan(span, "7", LABEL),)


EVERYTHING = all_of(Span(0, 1e6))


def open_parts(
    source: Source,
    parts: Sequence[Part],
    media: Media,
    sample: Sample,
    spans: Sequence[LabelledSpan] = EVERYTHING,
) -> tuple[tuple[Part, ...], dict[int, Target]]:
    return labelled_open_parts(source, parts, media, sample, spans)


def opened(duration_s: float, media: Media, sample: Sample = SAMPLE) -> tuple[tuple[Part, ...], dict[int, Target]]:
    source = vod(duration_s)
    return open_parts(source, [first_part(source, sample)], media, sample)


def whole(source: Source, media: Media) -> tuple[Target, ...]:
    """Targets of a source that is one part."""
    span, limit = guarded_span(source.kind, media.edge_s, SAMPLE), target_limit(source, SAMPLE)
    return pick_targets((source.kind, source.id), media.moments_s, all_of(span), limit=limit, sample=SAMPLE)


def found(span: Span, targets: int, ended: bool) -> Opened:
    return Opened(span, targets, ended, all_of(span))


def test_a_whole_vod_has_the_targets_it_always_had() -> None:
    source, media = vod(3600), segments(3600, ended=True)
    parts, targets = opened(3600, media)
    assert list(targets.values()) == list(whole(source, media))
    assert list(targets) == [target.k for target in targets.values()]
    assert parts[0].opened == found(guarded_span("vod", 3600, SAMPLE), 40, True)
    assert next_part(vod(7200), parts, NIGHT, SAMPLE) is None


@pytest.mark.parametrize(
    ("grown_s", "waited", "over"),
    [
        (0, REST, True),
        (0, REST - timedelta(seconds=1), False),
        (300, NIGHT, True),
        (600, NIGHT, True),
        (601, NIGHT, False),
        (-50, NIGHT, True),  # parts of it were deleted
    ],
)
def test_what_hardly_grows_for_hours_has_ended(grown_s: float, waited: timedelta, over: bool) -> None:
    parts, _ = opened(3600, segments(3600, ended=False))
    assert is_over(vod(3600 + grown_s), parts, waited, SAMPLE) == over


def test_a_broadcast_that_goes_on_is_not_over_however_much_growth_is_wanted() -> None:
    patient = Sample(max_per_vod=40, min_spacing_s=10, min_growth_s=20 * 3600)
    parts, _ = opened(3600, segments(3600, ended=False), patient)
    grown = vod(3600 + 10 * 3600)
    assert next_part(grown, parts, timedelta(hours=10), patient) is None
    assert not is_over(grown, parts, timedelta(hours=10), patient)
    assert is_over(grown, parts, timedelta(hours=24), patient)


def test_a_source_whose_cap_is_used_up_is_over_however_it_grows() -> None:
    parts, _ = opened(3600, segments(3600, ended=False))
    small = SAMPLE.model_copy(update={"max_per_vod": given_out(parts)})
    assert not is_over(vod(9000), parts, NIGHT, SAMPLE)
    assert is_over(vod(9000), parts, timedelta(0), small)


def test_media_shorter_than_listed_moves_the_end_guard() -> None:
    _, targets = opened(1000, segments(500, ended=True))
    assert 450 < max(target.moment_s for target in targets.values()) < 475


def test_a_clip_is_one_part() -> None:
    clip = Clip("Slug", "7", "9", "ann", "t", NOW, 30, "en", 5)
    media = Media([2.0 * n for n in range(15)], 30, True)
    parts, targets = open_parts(clip, [first_part(clip, SAMPLE)], media, SAMPLE)
    assert tuple(targets.values()) == whole(clip, media)
    assert next_part(replace(clip, duration_s=9000), parts, NIGHT, SAMPLE) is None


def test_a_growing_vod_is_sampled_to_its_edge_with_half_of_its_cap() -> None:
    parts, targets = opened(3600, segments(3400, ended=False))
    assert parts[0].opened == found(Span(90, 3400), 20, False)
    assert max(target.moment_s for target in targets.values()) > 3400 - 3310 / 20


@pytest.mark.parametrize(
    ("listed_s", "gap_s"), [(4000.0, None), (3999.0, None), (4001.0, 3400.0), (90_000.0, 3400.0)]
)
def test_growth_must_be_useful(listed_s: float, gap_s: float | None) -> None:
    parts, _ = opened(3401, segments(3400, ended=False), Sample(max_per_vod=40, min_growth_s=600.5))
    following = next_part(vod(listed_s), parts, NIGHT, Sample(max_per_vod=40, min_growth_s=600.5))
    assert (following and following.from_s) == gap_s


def test_a_listing_that_lags_counts_by_its_own_growth() -> None:
    parts, _ = opened(1000, segments(3400, ended=False))
    assert next_part(vod(1599), parts, NIGHT, SAMPLE) is None
    late = next_part(vod(1600), parts, NIGHT, SAMPLE)  # still before what was sampled
    assert late is not None
    assert late.from_s == 3400


def test_a_listing_that_ran_ahead_and_stands_still_is_looked_at_again_but_not_the_same_night() -> None:
    ahead, _ = opened(9000, segments(3400, ended=False))
    assert next_part(vod(9000), ahead, REST - timedelta(seconds=1), SAMPLE) is None
    assert next_part(vod(9600), ahead, timedelta(0), SAMPLE) is not None
    following = next_part(vod(9000), ahead, REST, SAMPLE)
    assert following is not None
    in_vain, _ = open_parts(vod(9000), [*ahead, following], segments(3400, ended=False), SAMPLE)
    assert in_vain[1].opened == Opened(Span(3400, 3400), 0, False, ())
    assert next_part(vod(9000), in_vain, NIGHT, SAMPLE) is None
    assert next_part(vod(9001), in_vain, NIGHT, SAMPLE) is not None


def test_numbers_of_a_part_are_its_own_whatever_was_given_out() -> None:
    parts, first = opened(3600, segments(3400, ended=False))
    following = next_part(vod(20_000), parts, NIGHT, SAMPLE)
    assert following is not None
    assert following.first_k == 40 == target_limit(vod(3600), SAMPLE)
    both, targets = open_parts(vod(20_000), [*parts, following], segments(20_000, ended=True), SAMPLE)
    assert {k: target for k, target in targets.items() if k < 40} == first
    assert sorted(targets) == [*range(20), *range(40, 60)]
    assert given_out(both) == 40
    assert next_part(vod(90_000), both, NIGHT, SAMPLE) is None


def test_one_cap_for_all_nights() -> None:
    parts, counts = (), []
    for length_s in (3600, 7200, 10_800, 14_400):
        source, ended = vod(length_s), length_s == 14_400
        new = next_part(source, parts, NIGHT, SAMPLE) if parts else first_part(source, SAMPLE)
        assert new is not None
        parts, targets = open_parts(source, [*parts, new], segments(length_s, ended), SAMPLE)
        counts.append(len(targets))
        assert new.count <= 40 - (counts[-2] if len(counts) > 1 else 0)
    assert counts == [20, 30, 35, 40]
    full, _ = open_parts(vod(3600), [first_part(vod(3600), SAMPLE)], segments(3600, False), Sample(max_per_vod=1))
    assert next_part(vod(9000), full, NIGHT, Sample(max_per_vod=1)) is None


def test_targets_keep_their_distance_where_parts_meet() -> None:
    sample = Sample(max_per_vod=1000, min_spacing_s=15, min_growth_s=10, guard_s=0)
    parts, _ = opened(100, segments(50, ended=False), sample)
    following = next_part(vod(120), parts, NIGHT, sample)
    assert following is not None
    _, targets = open_parts(vod(120), [*parts, following], segments(120, ended=True), sample)
    assert sorted(target.moment_s for target in targets.values()) == [0, 20, 40, 60, 80, 100]


def test_targets_lie_in_the_labelled_spans_alone_and_bear_their_labels() -> None:
    sample = Sample(max_per_vod=1000, min_spacing_s=10)
    spans = (
        LabelledSpan(Span(100, 200), "7", LABEL),
        LabelledSpan(Span(3000, 3050.5), "7", Label("clip_span", 0.65)),
    )
    source, media = vod(3600), segments(3600, ended=True)
    parts, targets = open_parts(source, [first_part(source, sample)], media, sample, spans)
    found = {target.moment_s: target.label for target in targets.values()}
    assert sorted(found) == [*(100.0 + 10 * n for n in range(10)), *(3000.0 + 10 * n for n in range(6))]
    assert {label for moment_s, label in found.items() if moment_s < 200} == {LABEL}
    assert {label for moment_s, label in found.items() if moment_s >= 3000} == {Label("clip_span", 0.65)}
    assert given_out(parts) == 16
    assert open_parts(source, parts, media, sample, ()) == (parts, targets)
    assert (strongest(parts), strongest([first_part(source, sample)])) == ("vod", "none")
    nothing, none = open_parts(source, [first_part(source, sample)], media, sample, ())
    assert (given_out(nothing), none) == (0, {})


def test_few_targets_are_spread_over_all_spans_together() -> None:
    sample = Sample(max_per_vod=12, min_spacing_s=10)
    spans = tuple(LabelledSpan(Span(start_s, start_s + 300), "7", LABEL) for start_s in (200, 1500, 3000))
    source, media = vod(3600), segments(3600, ended=True)
    _, targets = open_parts(source, [first_part(source, sample)], media, sample, spans)
    per_span = [sum(target.moment_s in labelled.span for target in targets.values()) for labelled in spans]
    assert per_span == [4, 4, 4]


def test_a_further_part_has_the_labels_of_its_own_night() -> None:
    tonight, next_night = (all_of(Span(0, 3000)), (LabelledSpan(Span(3500, 9000), "7", Label("chapter", 0.9)),))
    first, before = open_parts(
        vod(3600), [first_part(vod(3600), SAMPLE)], segments(3400, ended=False), SAMPLE, tonight
    )
    following = next_part(vod(7200), first, NIGHT, SAMPLE)
    assert following is not None
    both, targets = open_parts(vod(7200), [*first, following], segments(7200, ended=True), SAMPLE, next_night)
    assert {k: targets[k] for k in before} == before
    assert max(target.moment_s for target in before.values()) < 3000
    late = [target for k, target in targets.items() if k not in before]
    assert min(target.moment_s for target in late) >= 3500
    assert {target.label for target in late} == {Label("chapter", 0.9)}
    assert both[1].opened is not None
    assert both[1].opened.labels[0].span == Span(3500, 7110)  # the VOD has ended: its guard


nights = st.lists(
    st.tuples(st.floats(0, 4000), st.floats(-900, 900), st.sampled_from([2.0, 10.0, 4.004])),
    min_size=1,
    max_size=5,
)


@given(nights, st.integers(1, 30), st.floats(1, 40), st.floats(1, 900))
def test_over_any_nights_no_moment_comes_twice_and_the_cap_holds(
    grown: list[tuple[float, float, float]], cap: int, spacing_s: float, growth_s: float
) -> None:
    sample = Sample(max_per_vod=cap, min_spacing_s=spacing_s, min_growth_s=growth_s)
    parts: tuple[Part, ...] = ()
    length_s, before = 0.0, {}
    every_s = grown[0][2]
    for night, (more_s, ahead_s, _) in enumerate(grown):
        length_s += more_s
        source = vod(max(1.0, length_s + ahead_s))
        new = next_part(source, parts, NIGHT, sample) if parts else first_part(source, sample)
        if new is None:
            continue
        media = segments(length_s, night == len(grown) - 1, every_s)
        parts, targets = open_parts(source, [*parts, new], media, sample)
        assert {k: target for k, target in targets.items() if k < new.first_k} == before
        again = open_parts(source, parts, segments(length_s + 5000, True, every_s), sample)
        assert again == (parts, targets)  # as it is found after a kill, or for a retry
        before = targets
        moments_s = sorted(target.moment_s for target in targets.values())
        assert all(b - a >= spacing_s * (1 - 1e-9) for a, b in pairwise(moments_s))
        assert len(moments_s) <= given_out(parts) <= max(cap, len(parts))
        assert all(
            k in part.numbers for k in targets for part in parts if part.first_k <= k < part.first_k + part.count
        )
        for a, b in pairwise(parts):
            assert a.opened is not None
            assert b.from_s == a.opened.span.end_s
        assert all(t.moment_s < length_s for t in targets.values())


@pytest.mark.parametrize(
    "fields",
    [(-1, 1, 0.0, 1.0), (0, 0, 0.0, 1.0), (0, 1, -1.0, 1.0), (0, 1, 0.0, 1.0, Opened(Span(0, 1), 2, True, ()))],
)
def test_parts_that_cannot_be(fields: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"numbers|targets"):
        Part(*fields)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="targets"):
        Opened(Span(0, 1), -1, True, ())


@pytest.mark.parametrize(("cap", "beyond"), [(40, 0), (31, 0), (30, 1), (5, 26)])
def test_what_the_cap_of_a_source_leaves_out_is_counted(cap: int, beyond: int) -> None:
    """300 s without guards, a moment every 10 s at the closest: 31 fit."""
    sample = SAMPLE.model_copy(update={"max_per_vod": cap, "guard_s": 0, "guard_share": 0.0})
    source, media = vod(301), segments(301, ended=True)
    planned = [first_part(source, sample)]
    assert cut_off(source, planned, sample) == 0  # nobody knows yet
    parts, targets = open_parts(source, planned, media, sample, all_of(Span(0, 300.5)))
    assert len(targets) + cut_off(source, parts, sample) == 31
    assert cut_off(source, parts, sample) == beyond
