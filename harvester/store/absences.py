"""Frames that should perhaps not be there: of refused broadcasters, or of sources that have gone from Twitch."""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import datetime, timedelta

from harvester.model import SourceKind
from harvester.store.removals import Removals


class Absences(Removals):
    """The part of the ledger that knows which sources were not public when Twitch was asked."""

    def kept_of_others(
        self, allowed: Collection[str], denied: Collection[str], categories: Collection[str]
    ) -> int:
        """Kept frames of ``denied`` broadcasters and ``categories``, and of all broadcasters but ``allowed``, if
        there are any."""
        if not (allowed or denied or categories):
            return 0
        ids = [json.dumps(sorted(some)) for some in (allowed, denied, categories)]
        count = self._database.one(
            "SELECT count(*) FROM outcomes WHERE verdict = 'kept' AND seq NOT IN (SELECT seq FROM removals)"
            " AND ((json_array_length(?1) > 0 AND broadcaster_id NOT IN (SELECT value FROM json_each(?1)))"
            " OR broadcaster_id IN (SELECT value FROM json_each(?2))"
            " OR category_id IN (SELECT value FROM json_each(?3)))",
            *ids,
        )
        return int(count or 0)

    def note_absences(
        self, asked: Collection[tuple[SourceKind, str]], absent: Collection[tuple[SourceKind, str]], now: datetime
    ) -> None:
        """Take note which of the sources that Twitch was asked about are not public now; it may be for a while."""
        there = sorted(set(asked) - set(absent))
        with self._database.transaction():
            self._database.executemany("DELETE FROM absences WHERE kind = ? AND source_id = ?", there)
            self._database.executemany(
                "INSERT INTO absences VALUES (?1, ?2, ?3, ?3)"
                " ON CONFLICT (kind, source_id) DO UPDATE SET last_at = max(last_at, ?3)",
                [(kind, source_id, now.isoformat()) for kind, source_id in sorted(absent)],
            )

    def gone_sources(self, for_at_least: timedelta) -> dict[tuple[SourceKind, str], datetime]:
        """Sources that were not public at two looks so far apart, and at none between; since when (UTC)."""
        rows = self._database.rows("SELECT kind, source_id, first_at, last_at FROM absences ORDER BY 1, 2")
        times = {(kind, id_): (datetime.fromisoformat(a), datetime.fromisoformat(b)) for kind, id_, a, b in rows}
        return {key: first for key, (first, last) in times.items() if last - first >= for_at_least}
