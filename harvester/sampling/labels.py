"""Which stretches of a source show which category, by which evidence, and how sure that is. Pure.

Helix lists a VOD under a category without saying which part of it shows that game; a VOD may hold several games, a
starting card, an hour of talk. So a VOD is cut into labelled spans, each by the best evidence there is of it::

    chapters told        each chapter's category, chapter by chapter            chapter
    told that it has     the VOD's own single category, for all of it           vod
      no chapters
    neither              clips cut from it, [vod_offset, + length), and the     clip_span
                           stretches between clips of one category
                         the category Helix lists it under, for the rest        listing

What no evidence covers (gaps, chapters without a category beside others that have one) has no label and gives no
frame. Chapters of which none has a category tell nothing. A clip is its own evidence: Twitch stores with it which
category was set (``clip``).

**Guards.** People change the category late or early, and streams begin and end with cards: min(``guard_s``,
``guard_share`` of the span) is taken off at both ends of a chapter, and of a VOD; :data:`CLIP_GUARD_S` of a clip.
Chapters of one category that touch are one. The edge up to which a growing VOD may be sampled is no end. Where the
storyboard shows that the game changed sooner or later than that, guards are as wide
(:mod:`harvester.sampling.changes`).

**Confidence.** Every kind of evidence has a weight (:data:`WEIGHTS`): the share of pictures for which it alone is
believed to name the right game. Kinds that agree on a span leave less doubt, evidence against it halves the rest::

    confidence = (1 - product of (1 - weight) over the kinds that agree) * (0.5 if a clip, or the VOD's own
                                                                            category, says otherwise)

So 0.9 for a chapter of the listed category, 0.8 for a VOD of that category alone or a clip's place in a listed
VOD, 0.65 between two clips of it, 0.5 for the listing alone, and at most 0.47 for whatever is contradicted.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from harvester.config import Sample
from harvester.model import Chapter, Label, LabelledSpan, LabelSource, Source, Span
from harvester.sampling.looks import Glance
from harvester.sampling.scene import Scene

#: How far each kind of evidence is believed when it stands alone. Not measured on Twitch: they put the kinds in
#: the order of what is publicly known of them. Clips carry the category of their moment; chapters are the
#: broadcaster's own marks, at times late; a VOD without chapters may be one whose broadcaster forgot them;
#: ``around``: clips of the category before and after, or elsewhere in the chapter; a listing: somewhere in it.
WEIGHTS = {"clip": 0.9, "chapter": 0.8, "vod": 0.6, "clip_span": 0.6, "around": 0.3, "listing": 0.5}
#: What is left of a confidence when other evidence says otherwise.
CONTRADICTED = 0.5

#: Guard at both ends of a clip (s): it was cut on purpose, only its first and last pictures may be a transition.
CLIP_GUARD_S = 0.5
#: Chapters of one category that are no further apart are one (s): Twitch rounds where they begin and how long
#: they are on its own.
TOUCHING_S = 1.0
#: Clips of one category that are no further apart tell of what lies between them (s): chapters last from minutes
#: to hours, and two changes within an hour that no clip shows are rare. Not measured.
CLIPS_JOIN_S = 3600.0


@dataclass(frozen=True, slots=True)
class ClipMark:
    """A clip of a VOD: the stretch that was cut out, and the category that was set."""

    span: Span
    category_id: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of which category a VOD shows when.

    ``listed``: the category under which Helix lists it; None: under none that matters here. ``chapters``: () = it
    has none, None = not told. ``game``: id of the VOD's own category; None = unset or not told. ``idle``: where
    its storyboard shows no play, whatever the category; ``scenes``: what it shows there, if that stands;
    ``doubted``: where it shows another category than its chapters tell; ``glance``: what is remembered of it;
    ``unlike``: where it is unlike most of what it shows of a category (id).
    """

    listed: str | None
    chapters: tuple[Chapter, ...] | None = None
    game: str | None = None
    clips: tuple[ClipMark, ...] = ()
    idle: tuple[Span, ...] = ()
    scenes: tuple[Scene, ...] = ()
    doubted: tuple[Span, ...] = ()
    glance: Glance | None = None
    unlike: tuple[tuple[Span, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Extent:
    """A VOD as far as it may be sampled: ``[0, edge_s)``; ``ended``: nothing will follow."""

    edge_s: float
    ended: bool


def confidence(agreeing: Collection[str], *, contradicted: bool = False) -> float:
    """Confidence of a label by the kinds of evidence (keys of :data:`WEIGHTS`) that agree on it, 0..1."""
    doubt = math.prod(1 - WEIGHTS[kind] for kind in sorted(set(agreeing)))
    return round((1 - doubt) * (CONTRADICTED if contradicted else 1.0), 3)


def guarded(span: Span, guard_s: float, *, open_end: bool = False) -> Span:
    """The span without its guards; an empty one if nothing is left. ``open_end``: it goes on there."""
    start_s = span.start_s + guard_s
    return Span(start_s, max(start_s, span.end_s - (0.0 if open_end else guard_s)))


def guard_s(length_s: float, sample: Sample) -> float:
    """Guard at each end of a chapter or VOD of that length (s)."""
    return min(sample.guard_s, sample.guard_share * length_s)


def clip_guard_s(sample: Sample) -> float:
    """Guard at each end of a clip (s)."""
    return min(sample.guard_s, CLIP_GUARD_S)


def labelled_spans(source: Source, evidence: Evidence, extent: Extent, sample: Sample) -> tuple[LabelledSpan, ...]:
    """All spans of the source that have a label, of whatever category, in order; none is empty, none overlap."""
    if source.kind == "clip":
        whole = guarded(Span(0.0, extent.edge_s), clip_guard_s(sample))
        spans: Iterable[LabelledSpan] = [_labelled(whole, source.category_id, "clip", ["clip"])]
    elif evidence.chapters and any(chapter.category for chapter in evidence.chapters):
        spans = _by_marks(chapter_stretches(evidence.chapters, extent), "chapter", evidence, extent, sample)
    elif evidence.chapters == () and evidence.game is not None:
        whole_vod = (Span(0.0, extent.edge_s), evidence.game)
        spans = _by_marks([whole_vod], "vod", evidence, extent, sample)
    else:
        spans = (*_by_clips(evidence, sample), *_by_listing(evidence, extent, sample))
    inside = (_within(labelled, Span(0.0, extent.edge_s)) for labelled in spans)
    return tuple(sorted((s for s in inside if s.span.length_s > 0), key=lambda s: s.span.start_s))


def usable(spans: Sequence[LabelledSpan], category_id: str, min_confidence: float) -> tuple[LabelledSpan, ...]:
    """The spans of one category that are to be sampled: those at or over the floor; all, if none is.

    The latter's targets are kept out one by one, so that the books say why there is nothing.
    """
    mine = tuple(s for s in spans if s.category_id == category_id)
    return tuple(s for s in mine if s.label.confidence >= min_confidence) or mine


def clipped(spans: Iterable[LabelledSpan], stretch: Span) -> tuple[LabelledSpan, ...]:
    """What of the spans lies in ``stretch``."""
    inside = (_within(labelled, stretch) for labelled in spans)
    return tuple(labelled for labelled in inside if labelled.span.length_s > 0)


def _labelled(
    span: Span, category_id: str, source: LabelSource, agreeing: Collection[str], *, contradicted: bool = False
) -> LabelledSpan:
    return LabelledSpan(span, category_id, Label(source, confidence(agreeing, contradicted=contradicted)))


def _within(labelled: LabelledSpan, stretch: Span) -> LabelledSpan:
    start_s = min(max(labelled.span.start_s, stretch.start_s), stretch.end_s)
    return replace(labelled, span=Span(start_s, max(start_s, min(labelled.span.end_s, stretch.end_s))))


# -- chapters and the VOD's own category --------------------------------------------------------------------------


def chapter_stretches(chapters: Sequence[Chapter], extent: Extent) -> list[tuple[Span, str]]:
    """Chapters with a category, as far as the VOD may be sampled; those of one category that touch as one."""
    merged: list[tuple[Span, str]] = []
    before: str | None = None
    for chapter in chapters:
        if chapter.span.start_s >= extent.edge_s:
            break
        span = Span(chapter.span.start_s, min(chapter.span.end_s, extent.edge_s))
        shown = chapter.category.id if chapter.category else None
        if shown is not None:
            if shown == before and span.start_s - merged[-1][0].end_s <= TOUCHING_S:
                span = Span(merged.pop()[0].start_s, span.end_s)
            merged.append((span, shown))
        before = shown
    return merged


def _by_marks(
    stretches: Iterable[tuple[Span, str]], kind: LabelSource, evidence: Evidence, extent: Extent, sample: Sample
) -> Iterator[LabelledSpan]:
    """Stretches that Twitch marks with a category, guarded; without the clips that say otherwise."""
    for stretch, category_id in stretches:
        runs_on = not extent.ended and stretch.end_s >= extent.edge_s
        span = guarded(stretch, guard_s(stretch.length_s, sample), open_end=runs_on)
        of_it = [mark for mark in evidence.clips if _lies_in(mark.span, span)]
        against = [mark.span for mark in of_it if mark.category_id != category_id]
        agreeing = [kind, *(["listing"] if evidence.listed == category_id else [])]
        agreeing += ["around"] if any(mark.category_id == category_id for mark in of_it) else []
        for rest in without(span, [*against, *evidence.doubted]):
            yield _labelled(rest, category_id, kind, agreeing, contradicted=bool(against))


def _lies_in(clip: Span, span: Span) -> bool:
    """True if more than half of a clip does: one may well be cut across a change."""
    shared_s = min(clip.end_s, span.end_s) - max(clip.start_s, span.start_s)
    return shared_s > clip.length_s / 2


def without(span: Span, holes: Iterable[Span]) -> Iterator[Span]:
    """What the holes leave of the span, in order."""
    start_s = span.start_s
    for hole in sorted(holes, key=lambda hole: hole.start_s):
        if hole.start_s > start_s:
            yield Span(start_s, min(hole.start_s, span.end_s))
        start_s = min(max(start_s, hole.end_s), span.end_s)
    if start_s < span.end_s:
        yield Span(start_s, span.end_s)


# -- clips and the listing ----------------------------------------------------------------------------------------


def _places(clips: Iterable[ClipMark]) -> list[ClipMark]:
    """The places of the clips in order of their starts; clips of one category that overlap are one."""
    places: list[ClipMark] = []
    for mark in sorted(clips, key=lambda mark: (mark.category_id, mark.span.start_s, mark.span.end_s)):
        last = places[-1] if places and places[-1].category_id == mark.category_id else None
        if last is not None and mark.span.start_s <= last.span.end_s:
            span = Span(last.span.start_s, max(last.span.end_s, mark.span.end_s))
            places[-1] = ClipMark(span, mark.category_id)
        else:
            places.append(mark)
    return sorted(places, key=lambda mark: (mark.span.start_s, mark.category_id))


def _between(places: Sequence[ClipMark], end_guard_s: float) -> Iterator[ClipMark]:
    """The stretches between places that follow one another, near enough, of one category; with their guards."""
    for mark, following in pairwise(places):
        gap_s = following.span.start_s - mark.span.end_s
        if mark.category_id == following.category_id and gap_s <= CLIPS_JOIN_S:
            inner = (guarded(place.span, end_guard_s) for place in (mark, following))
            yield ClipMark(Span(next(inner).end_s, next(inner).start_s), mark.category_id)


def _by_clips(evidence: Evidence, sample: Sample) -> Iterator[LabelledSpan]:
    """The places of clips, and what lies between two of one category. Where clips of different categories overlap,
    neither is believed."""
    places, guard = _places(evidence.clips), clip_guard_s(sample)
    direct = (ClipMark(guarded(place.span, guard), place.category_id) for place in places)
    for kind, marks in (("clip_span", direct), ("around", _between(places, guard))):
        for mark in marks:
            others = [place.span for place in places if place.category_id != mark.category_id]
            agreeing = [kind, *(["listing"] if evidence.listed == mark.category_id else [])]
            for span in without(mark.span, others):
                yield _labelled(span, mark.category_id, "clip_span", agreeing)


def _by_listing(evidence: Evidence, extent: Extent, sample: Sample) -> Iterator[LabelledSpan]:
    """What clips leave of a listed VOD. A clip of another category, or another category of the VOD's own,
    contradicts all of it: nobody knows where the change is."""
    if evidence.listed is None:
        return
    told = {*(mark.category_id for mark in evidence.clips), *([evidence.game] if evidence.game else [])}
    against = bool(told - {evidence.listed})
    whole = guarded(Span(0.0, extent.edge_s), guard_s(extent.edge_s, sample), open_end=not extent.ended)
    places, guard = _places(evidence.clips), clip_guard_s(sample)
    same = [guarded(place.span, guard) for place in places if place.category_id == evidence.listed]
    others = [place.span for place in places if place.category_id != evidence.listed]
    for rest in without(whole, [*same, *others, *(mark.span for mark in _between(places, guard))]):
        yield _labelled(rest, evidence.listed, "listing", ["listing"], contradicted=against)
