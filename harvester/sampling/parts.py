"""A source in parts: what a VOD that is still growing gives tonight, and where the next night goes on. Pure.

The playlist of a broadcast that goes on has no ENDLIST. Its last segments may still change, and what comes after
them is not there yet, so such a VOD is sampled up to its end less three segments, and is not done with. Each visit
covers one part, with target numbers of its own::

    night 1   [guard ........ edge)                          numbers 0 ... 39, of which 20 are given out
    night 2                  [edge ............. edge)       numbers 40 ... 59, of which 10 are
    night 3                                      [edge .. end - guard)       numbers 60 ... 69: it has ended

Where a part ends is not known when it is planned: the listing is older than the playlist, or ahead of it. It is
known once the playlist has been read; then it is committed, before any target of the part is decided. From there
on the part's targets are a function of committed facts and of segments that change no more, so a run that was
killed, and a retry nights later, find the same moment under the same number. An ended VOD and a clip are the case
of one part.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from harvester.config import Sample
from harvester.model import LabelledSpan, Source, Span, Target
from harvester.sampling.labels import clipped
from harvester.sampling.plan import (
    Opened,
    Part,
    cap_of,
    fitting,
    given_out,
    given_targets,
    guarded_span,
    pick_targets,
    spaced_moments,
)
from harvester.sampling.refill import MOST_LOOKS, is_refill, refilled
from harvester.sampling.storyboard import Tiles
from harvester.sampling.variety import chosen_moments

#: Segments at the end of a growing playlist that are left alone: players stay three behind the edge of a live
#: playlist too (RFC 8216 §6.3.3), for what is newer may not have reached every server.
UNSETTLED_SEGMENTS = 3
#: How long a growing source is left alone when its listing does not grow. Nightly runs come after some 24 h; a
#: second run of one night, such as one that goes on after a kill, must not plan what the first would not have.
REST = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class Media:
    """What an open source has to offer.

    ``moments_s``: rising times of the pictures that can be had (s from the source's start): segment starts of a
    VOD, keyframes of a clip. ``edge_s``: how far it may be sampled. ``ended``: it will not grow.
    """

    moments_s: Sequence[float]
    edge_s: float
    ended: bool


def next_part(source: Source, parts: Sequence[Part], waited: timedelta, sample: Sample) -> Part | None:
    """The part that follows ``parts`` of a source as it is listed now; None if there is none, or not enough.

    Enough: it is longer by ``min_growth_s`` than it was listed, or sampled, and its cap is not used up. A listing
    that stands still may have run ahead of the playlist: then it counts once :data:`REST` has passed
    (``waited``: since the last part was planned), unless the last visit went for nothing.
    """
    last = parts[-1]
    if last.opened is None or last.opened.ended:
        return None
    if source.duration_s <= last.listed_s and (waited < REST or _in_vain(last)):
        return None
    grown_s = source.duration_s - min(last.listed_s, last.opened.span.end_s)
    room = cap_of(source, sample) - given_out(parts)
    if grown_s < sample.min_growth_s or room < 1:
        return None
    return Part(
        last.first_k + last.count, min(room, fitting(grown_s, sample)), last.opened.span.end_s, source.duration_s
    )


def is_over(source: Source, parts: Sequence[Part], waited: timedelta, sample: Sample) -> bool:
    """True if no part will follow ``parts`` of a source that had not ended and has no next one now.

    Its cap is used up, or it has ended meanwhile: for :data:`REST` or longer its listing has hardly grown, not by
    what is worth a visit nor by half the time that has passed, as a broadcast that goes on has.
    """
    grown_s = source.duration_s - parts[-1].listed_s
    stands_still = waited >= REST and grown_s <= min(sample.min_growth_s, waited.total_seconds() / 2)
    return stands_still or given_out(parts) >= cap_of(source, sample)


def _in_vain(part: Part) -> bool:
    """True if a further visit found nothing."""
    return part.first_k > 0 and part.opened is not None and not part.opened.targets


def open_parts(
    source: Source,
    parts: Sequence[Part],
    media: Media,
    sample: Sample,
    spans: Sequence[LabelledSpan],
    *,
    tiles: Tiles | None = None,
) -> tuple[tuple[Part, ...], dict[int, Target]]:
    """The same parts, all opened now, and their targets by number.

    ``spans``: those of the source that may be sampled, as its evidence tells them now; a part that has been open
    keeps those that were found then. ``tiles``: its storyboard, to choose by how the moments look.
    Over all parts targets keep the minimum spacing and the source's cap. Of the cap's rest a part of a growing
    source takes half: another half is left for what is to come.
    """
    done: list[Part] = []
    targets: dict[int, Target] = {}
    for part in parts:
        if is_refill(part, done[-1] if done else None):
            taken_s = [target.moment_s for target in targets.values()]
            opened = part.opened or refilled(part, done, taken_s, media.moments_s, sample)
            done.append(replace(part, opened=opened))
            found = given_targets(opened.chosen_s, media.moments_s, opened.labels)
            targets.update(_numbered(part, found))
            continue
        free_s = max((t.moment_s for t in targets.values()), default=-sample.min_spacing_s) + sample.min_spacing_s
        room = cap_of(source, sample) - given_out(done)
        opened = part.opened or _opened(source, part, media, spans, free_s=free_s, room=room, sample=sample)
        seed = (source.kind, source.id, *([str(part.first_k)] if part.first_k else []))
        labels = clipped(opened.labels, _after(free_s, opened.span))
        if part.opened is None and tiles is not None:
            chosen_s = chosen_moments(
                *(seed, tiles, media.moments_s, labels),
                limit=opened.targets,
                sample=sample,
                spare=(MOST_LOOKS - 1) * cap_of(source, sample),
            )
            opened = replace(opened, chosen_s=chosen_s)
        done.append(replace(part, opened=opened))
        found = (
            given_targets(opened.chosen_s[: opened.targets], media.moments_s, labels)
            if opened.chosen_s
            else pick_targets(seed, media.moments_s, labels, limit=opened.targets, sample=sample)
        )
        targets.update(_numbered(part, found))
    return tuple(done), targets


def _numbered(part: Part, found: Iterable[Target]) -> dict[int, Target]:
    """Targets that are numbered from 0, under the part's own numbers."""
    return {part.first_k + target.k: replace(target, k=part.first_k + target.k) for target in found}


def _opened(
    source: Source,
    part: Part,
    media: Media,
    spans: Sequence[LabelledSpan],
    *,
    free_s: float,
    room: int,
    sample: Sample,
) -> Opened:
    span = _span(source, part, media, sample)
    labels = clipped(spans, span)
    limit = min(part.count, max(0, room) if media.ended else (max(0, room) + 1) // 2)
    fit = len(spaced_moments(media.moments_s, clipped(labels, _after(free_s, span)), sample))
    return Opened(span, min(limit, fit), media.ended, labels)


def strongest(parts: Iterable[Part]) -> str:
    """What most surely labels a source of those opened parts; "none" if nothing does."""
    labels = [s.label for part in parts if part.opened is not None for s in part.opened.labels]
    return max(labels, key=lambda label: label.confidence).source if labels else "none"


def cut_off(source: Source, parts: Sequence[Part], sample: Sample) -> int:
    """How many more moments of the opened parts would fit at the minimum spacing, but for the source's cap."""
    given = given_out(parts)
    if given < cap_of(source, sample):
        return 0
    spans = [s.span for part in parts if part.opened is not None for s in part.opened.labels]
    return max(0, sum(fitting(span.length_s, sample) for span in spans) - given)


def _after(moment_s: float, span: Span) -> Span:
    """What of the span does not lie before that moment."""
    return Span(min(max(span.start_s, moment_s), span.end_s), span.end_s)


def _span(source: Source, part: Part, media: Media, sample: Sample) -> Span:
    """Guards lie at the ends of the source, not where parts meet."""
    whole = guarded_span(source.kind, media.edge_s, sample)
    start_s = part.from_s or whole.start_s
    return Span(start_s, max(start_s, whole.end_s if media.ended else media.edge_s))
