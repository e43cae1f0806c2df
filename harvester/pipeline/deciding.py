"""What a target becomes: its outcome for the ledger and, if it is kept, its frame."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from harvester.clock import Clock
from harvester.errors import PROGRAM_REFUSED
from harvester.model import Category, Frame, Source, SourceKind, Vod, VodType
from harvester.pipeline.gone import ANOTHER_DAY, GONE
from harvester.pipeline.sinks import Decision, Rendered, Sink
from harvester.pipeline.work import Capped, Doubtful, Failed, Item, Measured, Refused, Result, Void
from harvester.sampling.playlist import later
from harvester.stats import StageTimes
from harvester.store.classes import ClassEntry
from harvester.store.layout import frame_file_name
from harvester.store.ledger import Ledger
from harvester.store.passes import OpenPass
from harvester.store.records import Outcome
from harvester.text import printable, redact
from harvester.version import __version__
from harvester.vision.caps import FEW_BROADCASTERS, Origin
from harvester.vision.fold import KNOWN_MOMENT, LOW_CONFIDENCE, CategoryFold
from harvester.vision.jpeg import stored_size
from harvester.vision.measure import pack
from harvester.vision.phash import hex16

#: Waits before a target that failed in a passing way is due again, counted from the start of the run, by number of
#: failures so far: the first retry follows in the same run, once everything else is decided; what stays broken is
#: left after the last (five looks over four days).
RETRY_WAITS = (timedelta(0), timedelta(hours=1), timedelta(hours=20), timedelta(hours=72))
#: ... of a recording that is too fresh to be played, or that Twitch would not let us ask for: the same moment in
#: the same run finds it no different.
FRESH_WAITS = (timedelta(hours=1), *RETRY_WAITS[1:])

#: Longest error text kept with a failure (characters).
DETAIL_CHARS = 300


@dataclass(frozen=True, slots=True, eq=False)
class Ruling:
    """A decided target; a kept one has yet to be packed and rendered, outside the event loop: ``measured``."""

    outcome: Outcome
    source: Source
    scores: Mapping[str, float] = field(default_factory=dict)
    measured: Measured | None = None


@dataclass(frozen=True, slots=True)
class Judge:
    """Decides the targets of one category, strictly in the order in which it is asked."""

    run_id: str
    category: Category
    entry: ClassEntry
    fold: CategoryFold
    ledger: Ledger
    sink: Sink
    clock: Clock
    times: StageTimes
    short_side: int
    _lost: set[tuple[SourceKind, str]] = field(default_factory=set)

    def begin(self, open_pass: OpenPass) -> None:
        """Go on with a pass, from what is committed of it."""
        self._lost.clear()
        self._lost.update(open_pass.lost)

    def is_lost(self, source: Source) -> bool:
        """True once the source could not be opened at a decided rank of the pass: no later rank has a target."""
        return (source.kind, source.id) in self._lost

    def is_capped(self, source: Source) -> bool:
        """True if the next target of the source is dropped whatever it shows."""
        return bool(self.fold.capped(Origin.of(source)))

    def decide(self, item: Item, result: Result) -> Ruling | None:
        """The next ruling of the category; None where there is no such target.

        What was decided before counts first: ``result`` depends on how far ahead its work was begun. Of a source
        that is not capped any more it must not be Capped.
        """
        source = item.visit.source
        if self.is_lost(source):
            return None
        if reason := self._unlooked(source, result):
            return Ruling(self._drop(item, reason), source)
        match result:
            case Void():
                return None
            case Failed():
                return Ruling(self._failure(item, result), source)
            case Measured():
                return self._verdict(item, result)
            case Capped() | Refused() | Doubtful():
                raise AssertionError("a target that counts has been looked at")

    def _unlooked(self, source: Source, result: Result) -> str:
        """Why a target is dropped whatever its picture shows; "" if its picture counts."""
        if reason := self.fold.capped(Origin.of(source)):
            return reason
        if isinstance(result, Refused):
            return result.reason
        if isinstance(result, Doubtful):
            return LOW_CONFIDENCE
        moment_kept = isinstance(result, Measured) and self.ledger.is_kept(
            self._file_name(source, result.offset_s)
        )
        return KNOWN_MOMENT if moment_kept else ""

    def finish(self, ruling: Ruling) -> Decision:
        """The decision with its file and frame; runs in a decode thread, where JPEG encoding costs."""
        if ruling.measured is None:
            return Decision(ruling.outcome)
        look = ruling.measured.look
        with self.times.timed("encode"):
            rendered = self.sink.render(look.picture())
        sha256 = hashlib.sha256(rendered.jpeg).hexdigest() if rendered.jpeg else ""
        outcome = replace(ruling.outcome, sha256=sha256, measurement=pack(look.measurement))
        return Decision(outcome, self._frame(outcome, ruling, rendered), rendered.jpeg)

    def _verdict(self, item: Item, result: Measured) -> Ruling:
        seq = self.ledger.next_seq()
        source = item.visit.source
        decided = self.fold.decide(seq, Origin.of(source), result.look.measurement)
        kept = decided.verdict.kept
        outcome = self._outcome(
            item,
            seq=seq,
            k=result.k,
            verdict="kept" if kept else "dropped",
            reason=decided.verdict.reason,
            offset_s=result.offset_s,
            phash=decided.phash,
            measurement=None if kept else pack(result.look.measurement),
            near_key=decided.near_key,
            near_distance=decided.near_distance,
            file_name=self._file_name(source, result.offset_s) if kept else None,
        )
        return Ruling(outcome, source, decided.verdict.scores, result if kept else None)

    def _drop(self, item: Item, reason: str) -> Outcome:
        """A drop that no picture was needed for: the same row whether or not it was fetched ahead. Of what is held
        back :meth:`Lister.retries` tells when it is due; here it is said that it is."""
        return self._outcome(
            item,
            seq=self.ledger.next_seq(),
            k=item.visit.target_number(item.place),
            verdict="dropped",
            reason=reason,
            retry_at=self.clock.start if reason == FEW_BROADCASTERS else None,
        )

    def _failure(self, item: Item, result: Failed) -> Outcome:
        source = item.visit.source
        k = None if result.whole_source else item.visit.target_number(item.place)
        if result.whole_source:
            self._lost.add((source.kind, source.id))
        return self._outcome(
            item,
            seq=self.ledger.next_seq(),
            k=k,
            verdict="failed",
            reason=result.error.reason,
            detail=printable(redact(str(result.error)), DETAIL_CHARS),
            retry_at=self._retry_at(result, source, k),
        )

    def _retry_at(self, result: Failed, source: Source, k: int | None) -> datetime | None:
        """When a passing failure is due again; None for a lasting one, or after the last retry.

        Counted from the start of the run: how fast it is must not decide what a later pass takes up.
        """
        if not result.error.retryable:
            return None
        if result.error.reason == PROGRAM_REFUSED:  # no failure of the source's, however often
            return self.clock.start + FRESH_WAITS[0]
        if result.error.reason == GONE:  # a candidate; the look on another day ends it one way or the other
            return self.clock.start + ANOTHER_DAY
        waits = FRESH_WAITS if result.error.reason == "not-ready" else RETRY_WAITS
        failures = self.ledger.failures_of(self.category.id, source.kind, source.id, k)
        return self.clock.start + waits[failures] if failures < len(waits) else None

    def _outcome(self, item: Item, **columns: Any) -> Outcome:
        source = item.visit.source
        return Outcome(
            run_id=self.run_id,
            category_id=self.category.id,
            rank=item.rank,
            kind=source.kind,
            source_id=source.id,
            broadcaster_id=source.broadcaster_id,
            decided_at=self.clock.now(),
            **columns,
        )

    def _file_name(self, source: Source, offset_s: float) -> str:
        return frame_file_name(self.entry.slug, source.kind, source.id, offset_s)

    def _frame(self, outcome: Outcome, ruling: Ruling, rendered: Rendered) -> Frame:
        measured = ruling.measured
        if measured is None or outcome.file_name is None or outcome.offset_s is None or outcome.phash is None:
            raise AssertionError("only a kept outcome has a frame")
        source = ruling.source
        stream = measured.look.stream
        width, height = stored_size(stream.width, stream.height, self.short_side)
        return Frame(
            file_name=outcome.file_name,
            label=self.entry.name,
            label_id=self.entry.label_id,
            category_id=self.category.id,
            source_type=source.kind,
            source_id=source.id,
            broadcaster_id=source.broadcaster_id,
            offset_s=outcome.offset_s,
            streamed_at=streamed_at(source, outcome.offset_s, measured.on_air),
            width=width,
            height=height,
            rendition=measured.rendition,
            codec=stream.codec.value,
            decoder=measured.look.decoder,
            phash=hex16(outcome.phash),
            sha256=outcome.sha256 or "",
            label_source=measured.label.source,
            label_confidence=measured.label.confidence,
            scores=ruling.scores,
            split=self.sink.split(source.broadcaster_id),
            run_id=self.run_id,
            harvester_version=__version__,
            harvested_at=outcome.decided_at,
            url=moment_url(source, outcome.offset_s),
            image=rendered.image,
        )


def streamed_at(source: Source, offset_s: float, on_air: datetime | None = None) -> datetime | None:
    """When the picture was on air (UTC), None if unknown: as its playlist dates it (``on_air``), which knows of
    breaks in the broadcast; else of archives, which begin with it. What was uploaded was never on air."""
    if not isinstance(source, Vod) or source.type is VodType.UPLOAD:
        return None
    begun = source.created_at if source.type is VodType.ARCHIVE else None
    return on_air or later(begun, offset_s)


def moment_url(source: Source, offset_s: float) -> str:
    """Public page of the source, of a VOD at the picture's second."""
    if isinstance(source, Vod):
        minutes, seconds = divmod(int(offset_s), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{source.page_url}?t={hours}h{minutes}m{seconds}s"
    return source.page_url
