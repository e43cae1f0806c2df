"""Parts of the ledger's sources: how far each has been sampled, and which target numbers are whose."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from harvester.model import Source, SourceKind, Span
from harvester.sampling.plan import Opened, Part
from harvester.store.database import Database

#: Columns of a part ``p``, in the order of :func:`part_from`.
PART_COLUMNS = "p.first_k, p.count, p.from_s, p.listed_s, p.start_s, p.end_s, p.targets, p.ended"


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

    def remember_opened(self, source: Source, parts: Sequence[Part]) -> None:
        """Commit what opening a source has found of ``parts``; what is known of a part already stays."""
        with self._database.transaction():
            for part in parts:
                if part.opened is not None:
                    span = part.opened.span
                    self._database.execute(
                        "UPDATE parts SET start_s = ?, end_s = ?, targets = ?, ended = ? WHERE category_id = ?"
                        " AND kind = ? AND source_id = ? AND first_k = ? AND ended IS NULL",
                        (
                            *(span.start_s, span.end_s, part.opened.targets, int(part.opened.ended)),
                            *(source.category_id, source.kind, source.id, part.first_k),
                        ),
                    )

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
    first_k, count, from_s, listed_s, start_s, end_s, targets, ended = row
    opened = None if ended is None else Opened(Span(start_s, end_s), targets, bool(ended))
    return Part(first_k, count, from_s, listed_s, opened)
