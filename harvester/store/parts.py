"""Parts of the ledger's sources: how far each has been sampled, and which target numbers are whose."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from harvester.model import Clip, Label, LabelledSpan, LabelSource, Source, SourceKind, Span, Vod
from harvester.sampling.labels import ClipMark, Evidence, confidence
from harvester.sampling.plan import Opened, Part
from harvester.store.database import Database
from harvester.store.records import evidence_from, evidence_record, labels_from, labels_record, source_from

#: Columns of a part ``p``, in the order of :func:`part_from`.
PART_COLUMNS = (
    "p.first_k, p.count, p.from_s, p.listed_s, p.start_s, p.end_s, p.targets, p.ended, p.labels, p.chosen,"
    " p.kind, p.category_id"
)


class Parts:
    """The part of the ledger that knows sources in parts (see :mod:`harvester.sampling.parts`)."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def parts_of(self, category_id: str, kind: SourceKind, source_id: str) -> tuple[Part, ...]:
        """The parts of a source, in order; none if no pass has visited it."""
        rows = self._database.rows(
            f"SELECT {PART_COLUMNS} FROM parts p WHERE category_id = ? AND kind = ? AND source_id = ?"
            " ORDER BY first_k",
            category_id,
            kind,
            source_id,
        )
        return tuple(part_from(row) for row in rows)

    def growing_sources(self, category_id: str) -> dict[tuple[SourceKind, str], datetime]:
        """Sources of the category that had not ended when they were last sampled, and the start of the run that
        planned that."""
        rows = self._database.rows(
            "SELECT p.kind, p.source_id, p.planned_at FROM parts p WHERE p.category_id = ? AND p.ended = 0"
            " AND p.first_k = (SELECT max(first_k) FROM parts WHERE category_id = p.category_id"
            " AND kind = p.kind AND source_id = p.source_id)",
            category_id,
        )
        return {(kind, source_id): datetime.fromisoformat(planned_at) for kind, source_id, planned_at in rows}

    def remember_opened(
        self, source: Source, parts: Sequence[Part], evidence: Evidence | None = None, held: Collection[str] = ()
    ) -> None:
        """Commit what opening a source has found of ``parts``; what is known of a part already stays.

        ``evidence``: what their labels rest on, None: on those of other parts; ``held``: ids of other
        categories that the source shows.
        """
        with self._database.transaction():
            for part in parts:
                if part.opened is not None:
                    self._update_part(source, part.first_k, part.opened, evidence)
            self._database.executemany(
                "INSERT INTO held VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                [(category_id, source.id, source.category_id) for category_id in sorted(held)],
            )

    def _update_part(self, source: Source, first_k: int, opened: Opened, evidence: Evidence | None) -> None:
        told = None if evidence is None else evidence_record(evidence)
        self._database.execute(
            "UPDATE parts SET start_s = ?, end_s = ?, targets = ?, ended = ?, labels = ?, evidence = ?, chosen = ?"
            " WHERE category_id = ? AND kind = ? AND source_id = ? AND first_k = ? AND ended IS NULL",
            (
                *(opened.span.start_s, opened.span.end_s, opened.targets, int(opened.ended)),
                *(labels_record(opened.labels), told, json.dumps(opened.chosen_s)),
                *(source.category_id, source.kind, source.id, first_k),
            ),
        )

    def clips_of(self, vod: Vod) -> tuple[ClipMark, ...]:
        """The known clips of a VOD: those of its category, and those of others that earlier runs have listed.

        What this run lists of other categories is left out: it is known sooner or later by how fast the run is.
        """
        rows = self._database.rows(
            "SELECT s.record FROM sources s JOIN parts p ON p.category_id = s.category_id AND p.kind = s.kind"
            " AND p.source_id = s.id AND p.first_k = 0"
            " WHERE s.kind = 'clip' AND json_extract(s.record, '$.video_id') = ?1 AND (s.category_id = ?2"
            " OR p.planned_at < (SELECT max(planned_at) FROM parts WHERE category_id = ?2 AND kind = 'vod'"
            " AND source_id = ?1)) ORDER BY s.id, s.category_id",
            vod.id,
            vod.category_id,
        )
        clips = (source_from("clip", record) for (record,) in rows)
        return tuple(mark for clip in clips if isinstance(clip, Clip) and (mark := _mark(clip)) is not None)

    def evidence_of(self, vod: Vod) -> Evidence | None:
        """What is known of a VOD that is not listed under its category, from opening it under another one."""
        record = self._database.one(
            "SELECT p.evidence FROM held h JOIN parts p ON p.category_id = h.listed AND p.kind = 'vod'"
            " AND p.source_id = h.source_id WHERE h.category_id = ? AND h.source_id = ? AND p.evidence IS NOT NULL"
            " ORDER BY p.planned_at DESC, p.first_k DESC, p.category_id LIMIT 1",
            vod.category_id,
            vod.id,
        )
        return None if record is None else replace(evidence_from(record), listed=None)

    def evidence_seen(self, broadcaster_id: str, through: int) -> Iterator[tuple[str, Evidence]]:
        """Of the broadcaster's VODs (ids) what they were labelled by, in no order that depends on when they were
        opened; of the parts of which a target was decided up to ``through`` (seq)."""
        for source_id, record in self._database.rows(
            "SELECT p.source_id, p.evidence FROM (SELECT DISTINCT o.category_id, o.source_id, q.first_k"
            " FROM outcomes o JOIN parts q ON q.category_id = o.category_id AND q.kind = o.kind"
            " AND q.source_id = o.source_id AND o.k >= q.first_k AND o.k < q.first_k + q.count"
            " WHERE o.broadcaster_id = ? AND o.kind = 'vod' AND o.phash IS NOT NULL AND o.seq <= ?) AS seen"
            " JOIN parts p ON p.category_id = seen.category_id AND p.kind = 'vod' AND p.source_id = seen.source_id"
            " AND p.first_k = seen.first_k WHERE p.evidence IS NOT NULL"
            " ORDER BY p.category_id, p.source_id, p.first_k",
            broadcaster_id,
            through,
        ):
            yield source_id, evidence_from(record)

    def end_growing(self, sources: Iterable[Source]) -> None:
        """Take note that these sources, which had not ended when they were last sampled, will give no more."""
        with self._database.transaction():
            self.mark_ended(sources)

    def mark_ended(self, sources: Iterable[Source]) -> None:
        """:meth:`end_growing`, inside a transaction."""
        self._database.executemany(
            "UPDATE parts SET ended = 1 WHERE category_id = ? AND kind = ? AND source_id = ? AND ended = 0",
            [(source.category_id, source.kind, source.id) for source in sources],
        )

    def plan_part(self, source: Source, part: Part, planned_at: datetime) -> None:
        """Take up a part, unless it is known; inside a transaction."""
        self._database.execute(
            "INSERT INTO parts (category_id, kind, source_id, first_k, count, from_s, listed_s, planned_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (
                *(source.category_id, source.kind, source.id),
                *(part.first_k, part.count, part.from_s, part.listed_s, planned_at.isoformat()),
            ),
        )


def part_from(row: Sequence[Any]) -> Part:
    """The part whose columns, :data:`PART_COLUMNS`, ``row`` holds."""
    first_k, count, from_s, listed_s, start_s, end_s, targets, ended, labels, chosen, kind, category_id = row
    if ended is None:
        return Part(first_k, count, from_s, listed_s)
    span = Span(start_s, end_s)
    known = (_unlabelled(span, kind, category_id),) if labels is None else labels_from(category_id, labels)
    chosen_s = tuple(json.loads(chosen or "[]"))
    return Part(first_k, count, from_s, listed_s, Opened(span, targets, bool(ended), known, chosen_s))


def _unlabelled(span: Span, kind: SourceKind, category_id: str) -> LabelledSpan:
    """A part that was opened by a version that knew no labels."""
    source: LabelSource = "clip" if kind == "clip" else "listing"
    return LabelledSpan(span, category_id, Label(source, confidence([source])))


def _mark(clip: Clip) -> ClipMark | None:
    """What a clip says of its VOD; None if its place there is not told."""
    if clip.vod_offset_s is None or clip.vod_offset_s < 0 or clip.duration_s <= 0:
        return None
    return ClipMark(Span(clip.vod_offset_s, clip.vod_offset_s + clip.duration_s), clip.category_id)
