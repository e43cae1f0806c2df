"""Labelled spans: what each kind of evidence labels, what it leaves out, and how sure that is."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.config import Sample
from harvester.model import Category, Chapter, Clip, LabelledSpan, Source, Span, Vod, VodType
from harvester.sampling.labels import (
    CLIPS_JOIN_S,
    WEIGHTS,
    ClipMark,
    Evidence,
    Extent,
    clipped,
    confidence,
    labelled_spans,
    usable,
)

NOW = datetime(2026, 11, 2, tzinfo=UTC)
A, B, C = Category("1", "Alpha"), Category("2", "Beta"), Category("3", "Gamma")
SAMPLE = Sample()
HOUR = 3600.0
VOD = Vod("7", A.id, "b", "B", "title", NOW, 4 * HOUR, VodType.ARCHIVE, "en", 5)
WHOLE = Extent(4 * HOUR, ended=True)


def chapters(*told: tuple[Category | None, float, float]) -> tuple[Chapter, ...]:
    return tuple(Chapter(Span(start_s, end_s), category) for category, start_s, end_s in told)


def mark(category: Category, start_s: float, length_s: float = 30) -> ClipMark:
    return ClipMark(Span(start_s, start_s + length_s), category.id)


def spans(
    evidence: Evidence, extent: Extent = WHOLE, source: Source = VOD, sample: Sample = SAMPLE
) -> list[tuple[str, float, float, str, float]]:
    """Category, start, end (s), label source and confidence of each span."""
    return [
        (s.category_id, s.span.start_s, s.span.end_s, s.label.source, s.label.confidence)
        for s in labelled_spans(source, evidence, extent, sample)
    ]


# -- clips --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("linked", [None, "7"])
def test_a_clip_is_its_own_evidence(linked: str | None) -> None:
    clip = Clip("Slug-1", "1", "b", "B", "title", NOW, 30.0, "en", 5, linked, 3.0 if linked else None)
    assert spans(Evidence("1"), Extent(30, ended=True), clip) == [("1", 0.5, 29.5, "clip", 0.9)]
    assert spans(Evidence("1"), Extent(0.9, ended=True), clip) == []


# -- chapters -----------------------------------------------------------------------------------------------------


def test_chapters_label_each_its_own_without_the_guards() -> None:
    told = chapters((A, 0, HOUR), (B, HOUR, 1.5 * HOUR), (A, 1.5 * HOUR, 4 * HOUR))
    assert spans(Evidence(A.id, told)) == [
        ("1", 90, 3510, "chapter", 0.9),
        ("2", 3690, 5310, "chapter", 0.8),  # of 1800 s 5 % are 90 s
        ("1", 5490, 14_310, "chapter", 0.9),
    ]


@pytest.mark.parametrize(("length_s", "guard_s"), [(1799, 89.95), (1800, 90), (1801, 90), (100, 5), (1, 0.05)])
def test_the_smaller_of_two_guards_holds_at_both_ends(length_s: float, guard_s: float) -> None:
    ((_, start_s, end_s, _, _),) = spans(Evidence(A.id, chapters((A, 5000, 5000 + length_s))))
    assert (start_s - 5000, 5000 + length_s - end_s) == pytest.approx((guard_s, guard_s))
    wide = Sample(guard_s=0)
    assert spans(Evidence(A.id, chapters((A, 10, 20))), sample=wide)[0][1:3] == (10, 20)


def test_what_no_chapter_covers_and_chapters_without_a_category_have_no_label() -> None:
    told = chapters((None, 0, 1000), (A, 2000, 3000), (None, 3000, 4000))
    assert spans(Evidence(A.id, told)) == [("1", 2050, 2950, "chapter", 0.9)]
    unset = Evidence(A.id, chapters((None, 0, 9000)), A.id)
    assert spans(unset) == [("1", 90, 14_310, "listing", 0.5)]
    assert spans(replace(unset, listed=None)) == []
    assert [s[0] for s in spans(Evidence(A.id, chapters((B, 0, 9000))))] == ["2"]


@pytest.mark.parametrize(("gap_s", "joined"), [(0, True), (1, True), (1.001, False)])
def test_chapters_of_one_category_that_touch_are_one(gap_s: float, joined: bool) -> None:
    told = chapters((A, 0, 1000), (replace(A, name="renamed"), 1000 + gap_s, 2000), (B, 2000, 3000))
    assert len(spans(Evidence(A.id, told))) == (2 if joined else 3)
    between = chapters((A, 0, 1000), (None, 1000, 1000.5), (A, 1000.5, 2000))
    assert len(spans(Evidence(A.id, between))) == 2  # it was unset for a moment: nobody knows why


def test_chapters_beyond_the_media_are_cut_and_their_end_is_guarded_there() -> None:
    told = chapters((A, 0, 600), (B, 600, 5000), (C, 5000, 9000))
    assert spans(Evidence(A.id, told), Extent(1600, ended=True)) == [
        ("1", 30, 570, "chapter", 0.9),
        ("2", 650, 1550, "chapter", 0.8),
    ]


def test_the_edge_of_a_growing_vod_is_no_end() -> None:
    told = chapters((A, 0, 600), (B, 600, 2000))
    assert spans(Evidence(A.id, told), Extent(1600, ended=False))[1][1:3] == (650, 1600)
    assert spans(Evidence(A.id, told), Extent(2000.1, ended=False))[1][1:3] == (670, 1930)
    single = Evidence(A.id, (), A.id)
    assert spans(single, Extent(1000, ended=False)) == [("1", 50, 1000, "vod", 0.8)]
    assert spans(Evidence(A.id), Extent(1000, ended=False)) == [("1", 50, 1000, "listing", 0.5)]


def test_clips_in_a_chapter_agree_or_take_their_place_out_and_half_of_its_confidence() -> None:
    told = chapters((A, 0, HOUR), (B, HOUR, 4 * HOUR))
    agreed = spans(Evidence(A.id, told, clips=(mark(A, 1000), mark(B, 8000))))
    assert [s[4] for s in agreed] == [0.93, 0.86]
    against = spans(Evidence(A.id, told, clips=(mark(B, 1000),)))
    assert against == [
        ("1", 90, 1000, "chapter", 0.45),
        ("1", 1030, 3510, "chapter", 0.45),
        ("2", 3690, 14_310, "chapter", 0.8),
    ]
    across = Evidence(A.id, chapters((A, 0, 100), (B, 100, 200)), clips=(mark(A, 80, 40),))
    assert [s[4] for s in spans(across)] == [0.9, 0.8]  # no more than half of it lies in either
    unlisted = spans(Evidence(None, told))
    assert [s[4] for s in unlisted] == [0.8, 0.8]


# -- the VOD's own category ---------------------------------------------------------------------------------------


def test_a_vod_without_chapters_is_all_of_its_own_category() -> None:
    assert spans(Evidence(A.id, (), A.id)) == [("1", 90, 14_310, "vod", 0.8)]
    assert spans(Evidence(A.id, (), B.id)) == [("2", 90, 14_310, "vod", 0.6)]
    assert spans(Evidence(A.id, (), A.id, (mark(A, 100),)))[0][4] == 0.86
    doubted = spans(Evidence(A.id, (), A.id, (mark(B, 1000),)))
    assert [(s[1], s[2], s[4]) for s in doubted] == [(90, 1000, 0.4), (1030, 14_310, 0.4)]


# -- the listing and clips ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("evidence", [Evidence(A.id), Evidence(A.id, ()), Evidence(A.id, None, A.id)])
def test_without_anything_else_the_listing_counts(evidence: Evidence) -> None:
    assert spans(evidence) == [("1", 90, 14_310, "listing", 0.5)]
    assert spans(replace(evidence, listed=None, game=None)) == []


def test_another_category_of_the_vods_own_contradicts_the_listing() -> None:
    assert spans(Evidence(A.id, None, B.id)) == [("1", 90, 14_310, "listing", 0.25)]


def test_clips_tell_of_their_place_and_of_what_lies_between_two_of_one_category() -> None:
    assert spans(Evidence(A.id, clips=(mark(A, 1000), mark(A, 2000)))) == [
        ("1", 90, 1000.5, "listing", 0.5),
        ("1", 1000.5, 1029.5, "clip_span", 0.8),
        ("1", 1029.5, 2000.5, "clip_span", 0.65),
        ("1", 2000.5, 2029.5, "clip_span", 0.8),
        ("1", 2029.5, 14_310, "listing", 0.5),
    ]


@pytest.mark.parametrize(("gap_s", "joined"), [(CLIPS_JOIN_S, True), (CLIPS_JOIN_S + 1, False)])
def test_clips_far_apart_tell_nothing_of_what_lies_between(gap_s: float, joined: bool) -> None:
    found = spans(Evidence(A.id, clips=(mark(A, 100, 30), mark(A, 130 + gap_s))))
    between = next(s for s in found if s[1] <= 2000 < s[2])
    assert between[3:] == (("clip_span", 0.65) if joined else ("listing", 0.5))


def test_a_clip_of_another_category_leaves_the_rest_in_doubt() -> None:
    found = spans(Evidence(A.id, clips=(mark(A, 1000), mark(B, 2000))))
    assert found == [
        ("1", 90, 1000.5, "listing", 0.25),
        ("1", 1000.5, 1029.5, "clip_span", 0.8),
        ("1", 1029.5, 2000, "listing", 0.25),
        ("2", 2000.5, 2029.5, "clip_span", 0.6),
        ("1", 2030, 14_310, "listing", 0.25),
    ]


def test_where_clips_of_two_categories_overlap_neither_is_believed() -> None:
    found = spans(Evidence(None, clips=(mark(A, 100, 40), mark(B, 120, 40))))
    assert found == [("1", 100.5, 120, "clip_span", 0.6), ("2", 140, 159.5, "clip_span", 0.6)]
    twice = spans(Evidence(A.id, clips=(mark(A, 100, 60), mark(A, 120, 20), mark(A, 150, 30))))
    assert [s[1:4] for s in twice] == [
        (90, 100.5, "listing"),
        (100.5, 179.5, "clip_span"),
        (179.5, 14_310, "listing"),
    ]
    astride = spans(Evidence(None, clips=(mark(B, 0, 400), mark(A, 100), mark(A, 500))))
    assert [s[:3] for s in astride] == [("2", 0.5, 100), ("2", 130, 399.5), ("1", 400, 500.5), ("1", 500.5, 529.5)]


# -- what is made of the spans ------------------------------------------------------------------------------------


def test_spans_under_the_floor_are_sampled_only_where_there_is_nothing_better() -> None:
    found = labelled_spans(VOD, Evidence(A.id, clips=(mark(A, 1000), mark(B, 2000))), WHOLE, SAMPLE)
    assert [s.label.confidence for s in usable(found, A.id, 0.5)] == [0.8]
    assert [s.label.confidence for s in usable(found, A.id, 0.8)] == [0.8]
    assert len(usable(found, A.id, 0.81)) == len(usable(found, A.id, 0)) == 4
    assert [s.category_id for s in usable(found, B.id, 0.9)] == [B.id]
    assert usable(found, C.id, 0) == ()


def test_spans_are_cut_to_a_stretch_with_their_labels() -> None:
    found = labelled_spans(VOD, Evidence(A.id, chapters((A, 0, HOUR), (A, 2 * HOUR, 3 * HOUR))), WHOLE, SAMPLE)
    cut = clipped(found, Span(3000, 2 * HOUR + 90))
    assert [(s.span, s.label) for s in cut] == [(Span(3000, 3510), found[0].label)]


def test_kinds_that_agree_leave_less_doubt_and_what_is_contradicted_stays_under_the_listing() -> None:
    assert confidence(["listing"]) == 0.5
    assert confidence(["chapter", "listing"]) == confidence(["listing", "chapter", "chapter"]) == 0.9
    assert confidence([]) == 0
    for kind in WEIGHTS:
        assert confidence([kind]) == WEIGHTS[kind]
        assert confidence([kind], contradicted=True) < WEIGHTS["listing"]
        assert kind == "around" or confidence([kind, "around"]) > confidence([kind])
    assert confidence(["chapter", "listing", "around"], contradicted=True) < WEIGHTS["listing"]
    assert SAMPLE.min_confidence <= WEIGHTS["listing"]  # the listing alone is enough, by default


moments = st.floats(0, 5 * HOUR, allow_nan=False)
told_chapters = st.lists(st.tuples(st.sampled_from([A, B, None]), moments), max_size=6).map(
    lambda starts: [
        (category, start_s, end_s)
        for (category, start_s), end_s in zip(
            sorted(starts, key=lambda s: s[1]),
            [s[1] for s in sorted(starts, key=lambda s: s[1])][1:],
            strict=False,
        )
        if end_s > start_s
    ]
)
told_clips = st.lists(st.builds(mark, st.sampled_from([A, B]), moments, st.floats(1, 90)), max_size=6)


@given(
    st.none() | told_chapters,
    st.sampled_from([None, A.id, B.id]),
    told_clips,
    moments,
    st.booleans(),
    st.booleans(),
)
def test_whatever_is_told_spans_are_in_order_apart_and_inside(
    told: list[tuple[Category | None, float, float]] | None,
    game: str | None,
    clips: list[ClipMark],
    edge_s: float,
    ended: bool,
    listed: bool,
) -> None:
    evidence = Evidence(A.id if listed else None, None if told is None else chapters(*told), game, tuple(clips))
    found = labelled_spans(VOD, evidence, Extent(edge_s, ended), SAMPLE)
    assert all(s.span.length_s > 0 and s.span.end_s <= edge_s for s in found)
    assert all(a.span.end_s <= b.span.start_s for a, b in pairwise(found))
    assert all(_is_backed(s, evidence) for s in found)
    assert found == labelled_spans(
        VOD, replace(evidence, clips=tuple(reversed(clips))), Extent(edge_s, ended), SAMPLE
    )


def _is_backed(labelled: LabelledSpan, evidence: Evidence) -> bool:
    """A span shows no category that nobody named, and none that a chapter contradicts."""
    named = {evidence.listed, evidence.game, *(m.category_id for m in evidence.clips)}
    if not any(c.category for c in evidence.chapters or ()):
        return labelled.category_id in named
    assert evidence.chapters is not None
    middle_s = (labelled.span.start_s + labelled.span.end_s) / 2
    shown = [c.category for c in evidence.chapters if middle_s in c.span]
    return [c and c.id for c in shown] == [labelled.category_id]
