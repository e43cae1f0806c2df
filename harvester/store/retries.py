"""What is due again, in the ledger: failures that may pass, and targets that were held back.

Of a target several outcomes may follow each other, in passes of their own; the last one counts.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection
from datetime import datetime

from harvester.errors import PROGRAM_REFUSED
from harvester.model import Source, SourceKind
from harvester.store.parts import Parts
from harvester.store.records import source_from
from harvester.vision.caps import CAP_REASONS, FEW_BROADCASTERS

#: Outcomes of a target that may never have been looked at: its source need not have been open.
CAPPED = f"reason IN {CAP_REASONS}"
#: Outcomes that a later pass may follow with another of the same target.
_TO_FOLLOW = f"(verdict = 'failed' OR reason = '{FEW_BROADCASTERS}')"


class Retries(Parts):
    """The part of the ledger that knows which targets are undecided after all."""

    def due_retries(
        self, category_id: str, now: datetime, held_back: Collection[str] = ()
    ) -> list[tuple[Source, tuple[int, ...] | None]]:
        """Sources with failures that may be tried again: the failed targets, or None for the whole source.

        Also targets that were held back, but for those of broadcasters that are ``held_back`` still.
        """
        rows = self._database.rows(
            "SELECT o.kind, s.record, o.k FROM outcomes o JOIN sources s ON s.category_id = o.category_id"
            " AND s.kind = o.kind AND s.id = o.source_id"
            " WHERE o.category_id = ? AND o.retry_at IS NOT NULL AND o.retry_at <= ?"
            f" AND NOT (o.reason = '{FEW_BROADCASTERS}'"
            " AND o.broadcaster_id IN (SELECT value FROM json_each(?)))"
            " ORDER BY o.kind, o.source_id, o.k",
            category_id,
            now.isoformat(),
            json.dumps(sorted(held_back)),
        )
        wanted: dict[tuple[str, str], set[int | None]] = {}
        for kind, record, k in rows:
            wanted.setdefault((kind, record), set()).add(k)
        return [
            (source_from(kind, record), None if None in ks else tuple(sorted(k for k in ks if k is not None)))
            for (kind, record), ks in wanted.items()
        ]

    def due_again(self, category_id: str) -> tuple[Counter[str], str]:
        """How many failures and held back targets will be looked at again, by reason, and when the first failure
        will be (UTC, ISO; "" if there is none)."""
        rows = self._database.rows(
            f"SELECT reason, count(*), min(CASE WHEN reason <> '{FEW_BROADCASTERS}' THEN retry_at END)"
            " FROM outcomes WHERE category_id = ? AND retry_at IS NOT NULL GROUP BY reason ORDER BY reason",
            category_id,
        )
        return Counter({reason: n for reason, n, _ in rows}), min((at for *_, at in rows if at), default="")

    def undecided(self, category_id: str) -> int:
        """Undecided targets, at most, of unfinished passes of the category: a source may have fewer."""
        return sum(
            self._database.one("SELECT coalesce(sum(count), 0) FROM visits WHERE pass_id = ?", pass_id)
            - self._database.one("SELECT count(*) FROM outcomes WHERE pass_id = ?", pass_id)
            for (pass_id,) in self._database.rows(
                "SELECT id FROM passes WHERE category_id = ? AND done = 0", category_id
            )
        )

    def full_vods(self, category_id: str, targets: int) -> int:
        """VODs of the category that have given at least so many targets."""
        return int(
            self._database.one(
                "SELECT count(*) FROM (SELECT 1 FROM parts WHERE category_id = ? AND kind = 'vod'"
                " GROUP BY source_id HAVING sum(targets) >= ?)",
                category_id,
                targets,
            )
        )

    def decided_targets(self, category_id: str, kind: SourceKind, source_id: str) -> set[int]:
        """Numbers of the source's targets that are never fetched again: decided, or failed for good.

        A failure, or what was held back, that a later pass has taken up is due no more, and yet undecided as long
        as that pass has not decided it: it could not open the source, or has not come that far.
        """
        rows = self._database.rows(
            f"SELECT k, {_TO_FOLLOW}, retry_at, pass_id, max(seq) FROM outcomes WHERE category_id = ? AND kind = ?"
            " AND source_id = ? AND k IS NOT NULL GROUP BY k",
            category_id,
            kind,
            source_id,
        )
        taken_up = self._taken_up(category_id, kind, source_id)

        def is_final(k: int, retry_at: str | None, pass_id: int) -> bool:
            return retry_at is None and taken_up.get(k, 0) <= pass_id

        return {k for k, to_follow, due, pass_id, _ in rows if not to_follow or is_final(k, due, pass_id)}

    def _taken_up(self, category_id: str, kind: SourceKind, source_id: str) -> dict[int, int]:
        """The newest pass that visits the source for that target alone, by number of the target."""
        rows = self._database.rows(
            "SELECT wanted.value, max(v.pass_id) FROM visits v, json_each(v.retry) wanted"
            " WHERE v.category_id = ? AND v.kind = ? AND v.source_id = ? AND v.retry IS NOT NULL"
            " GROUP BY wanted.value",
            category_id,
            kind,
            source_id,
        )
        return dict(rows)

    def settled_elsewhere(self, source: Source, pass_id: int) -> set[int]:
        """Numbers of the source's targets that another pass of its category has kept or dropped for good."""
        rows = self._database.rows(
            "SELECT k FROM outcomes WHERE category_id = ? AND kind = ? AND source_id = ? AND pass_id <> ?"
            f" AND k IS NOT NULL AND NOT {_TO_FOLLOW}",
            source.category_id,
            source.kind,
            source.id,
            pass_id,
        )
        return {k for (k,) in rows}

    def failures_of(self, category_id: str, kind: SourceKind, source_id: str, k: int | None) -> int:
        """How often that target (or, with None, opening that source) has failed so far, by a fault of its own."""
        return int(
            self._database.one(
                "SELECT count(*) FROM outcomes WHERE category_id = ? AND kind = ? AND source_id = ?"
                " AND k IS ? AND verdict = 'failed' AND reason <> ?",
                category_id,
                kind,
                source_id,
                k,
                PROGRAM_REFUSED,
            )
            or 0
        )

    def gone_since(self, category_id: str, kind: SourceKind, source_id: str) -> datetime | None:
        """Start of the first run that found the source gone, since it was last opened; None if none has."""
        started_at = self._database.one(
            "SELECT min(r.started_at) FROM outcomes o JOIN runs r ON r.id = o.run_id"
            " WHERE o.category_id = ?1 AND o.kind = ?2 AND o.source_id = ?3 AND o.k IS NULL AND o.reason = 'gone'"
            " AND o.seq > (SELECT coalesce(max(seq), 0) FROM outcomes WHERE category_id = ?1 AND kind = ?2"
            f" AND source_id = ?3 AND k IS NOT NULL AND NOT {CAPPED})",
            category_id,
            kind,
            source_id,
        )
        return None if started_at is None else datetime.fromisoformat(started_at)
