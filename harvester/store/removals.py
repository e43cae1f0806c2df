"""What has left the dataset after it was kept, in the ledger (invariants §3).

A kept outcome stays as it was decided; a row of ``removals`` says at which *barrier* its image left and why. It is
leaving from the commit of its barrier on, and has left (``left_at``) once its image is gone. Its hash stays an
anchor.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from harvester.model import Vod
from harvester.store.boxes import Boxes
from harvester.store.sightings import DAY, RETENTION, SIGHTINGS, WITH_SOURCE, Barrier
from harvester.vision.caps import Origin, Tally

#: UTC day on which a source was made, as the caps count it: what was adopted from the metadata counts for no day,
#: whatever is listed later.
CAPPED_DAY = f"CASE WHEN o.k IS NULL THEN '' ELSE {DAY} END"


class Removals(Boxes):
    """The part of the ledger that knows what is kept now, and what has left."""

    # -- what is kept now ---------------------------------------------------------------------------------

    def kept_files(self) -> set[str]:
        """Names of all images the ledger keeps."""
        rows = self._database.rows(
            "SELECT file_name FROM outcomes WHERE file_name IS NOT NULL AND seq NOT IN (SELECT seq FROM removals)"
        )
        return {name for (name,) in rows}

    def sha256_of(self, file_name: str) -> str | None:
        """Hash of the image of that name as it was decided; None if the ledger does not know it."""
        found = self._database.one("SELECT sha256 FROM outcomes WHERE file_name = ?", file_name)
        return None if found is None else str(found)

    def kept_by_broadcaster(self, category_id: str) -> Counter[str]:
        """Kept frames of the category by broadcaster id."""
        kept = self._database.rows(
            "SELECT broadcaster_id, count(*) FROM outcomes WHERE category_id = ? AND verdict = 'kept'"
            " GROUP BY broadcaster_id",
            category_id,
        )
        left = self._database.rows(
            "SELECT o.broadcaster_id, count(*) FROM removals r JOIN outcomes o ON o.seq = r.seq"
            " WHERE r.category_id = ? GROUP BY o.broadcaster_id",
            category_id,
        )
        return Counter(dict(kept)) - Counter(dict(left))

    def kept_by_day(self, category_id: str) -> Counter[str]:
        """Kept frames of the category by the UTC day on which their source was made, as far as that is known."""
        kept = self._database.rows(
            "WITH RECURSIVE ran (id) AS (SELECT min(run_id) FROM outcomes UNION ALL"
            " SELECT (SELECT min(run_id) FROM outcomes WHERE run_id > ran.id) FROM ran WHERE ran.id IS NOT NULL),"
            " given AS MATERIALIZED (SELECT o.kind, o.source_id, count(*) AS n FROM ran"
            " CROSS JOIN outcomes o INDEXED BY outcomes_of_run ON o.run_id = ran.id"  # all of it is in that index
            " WHERE o.category_id = ?1 AND o.verdict = 'kept' AND o.k IS NOT NULL GROUP BY o.kind, o.source_id)"
            f" SELECT {DAY}, sum(given.n) FROM given CROSS JOIN sources s ON s.category_id = ?1"
            " AND s.kind = given.kind AND s.id = given.source_id GROUP BY 1",
            category_id,
        )
        left = self._database.rows(
            f"SELECT {CAPPED_DAY}, count(*) FROM removals r JOIN outcomes o ON o.seq = r.seq"
            f" JOIN {WITH_SOURCE} WHERE r.category_id = ? GROUP BY 1",
            category_id,
        )
        days = Counter(dict(kept)) - Counter(dict(left))
        days.pop("", None)
        return days

    def tally(self, category_id: str, *, by_day: bool) -> Tally:
        """What the caps count of the category; days only where they matter: that looks at every source."""
        days = self.kept_by_day(category_id) if by_day else Counter[str]()
        return Tally(self.kept_by_broadcaster(category_id), days)

    def kept_count(self, category_id: str) -> int:
        """Kept frames of the category."""
        decided = "SELECT count(*) FROM outcomes WHERE category_id = ? AND verdict = 'kept'"
        return int(self._database.one(decided, category_id) or 0) - self.removed_of(category_id).total()

    def vain_targets(self, vod: Vod) -> set[int]:
        """Numbers of the VOD's targets that were looked at and gave nothing: their pictures were dropped, or have
        left again for what they show."""
        rows = self._database.rows(
            "SELECT o.k FROM outcomes o LEFT JOIN removals r ON r.seq = o.seq"
            " LEFT JOIN barriers b ON b.number = r.barrier WHERE o.category_id = ? AND o.kind = 'vod'"
            " AND o.source_id = ? AND o.k IS NOT NULL"
            f" AND (b.cause = '{SIGHTINGS}' OR (o.verdict = 'dropped' AND o.offset_s IS NOT NULL))",
            vod.category_id,
            vod.id,
        )
        return {k for (k,) in rows}

    # -- what has left ------------------------------------------------------------------------------------

    def removed_of(self, category_id: str) -> Counter[str]:
        """Frames of the category that have left, by reason."""
        return self._removed("WHERE category_id = ? GROUP BY reason", category_id)

    def removed_in(self, run_id: str) -> dict[str, Counter[str]]:
        """Frames that have left in a run, by category id and reason."""
        rows = self._database.rows(
            "SELECT r.category_id, r.reason, count(*) FROM removals r JOIN barriers b ON b.number = r.barrier"
            " WHERE b.run_id = ? GROUP BY r.category_id, r.reason",
            run_id,
        )
        found: dict[str, Counter[str]] = {}
        for category_id, reason, count in rows:
            found.setdefault(category_id, Counter())[reason] = count
        return found

    def _removed(self, which: str, *arguments: Any) -> Counter[str]:
        return Counter(dict(self._database.rows(f"SELECT reason, count(*) FROM removals {which}", *arguments)))

    def left_of(self, category_id: str) -> dict[int, str]:
        """Anchors (seq) of the category whose images have left, with their reasons."""
        rows = self._database.rows("SELECT seq, reason FROM removals WHERE category_id = ?", category_id)
        return dict(rows)

    def left_before(self, barrier: int) -> set[int]:
        """Decisions (seq) whose images left at earlier barriers."""
        return {seq for (seq,) in self._database.rows("SELECT seq FROM removals WHERE barrier < ?", barrier)}

    def left_at(self, barrier: int) -> dict[int, tuple[str, Origin, str]]:
        """Category id, origin and reason of what left at a barrier, by seq."""
        rows = self._database.rows(
            f"SELECT r.seq, r.category_id, o.broadcaster_id, {CAPPED_DAY}, r.reason FROM removals r"
            f" JOIN outcomes o ON o.seq = r.seq LEFT JOIN {WITH_SOURCE} WHERE r.barrier = ?",
            barrier,
        )
        return {seq: (category_id, Origin(who, day), why) for seq, category_id, who, day, why in rows}

    def leaving(self) -> set[str]:
        """Names of images that are leaving and may still be there."""
        rows = self._database.rows(
            "SELECT o.file_name FROM removals r JOIN outcomes o ON o.seq = r.seq WHERE r.left_at IS NULL"
        )
        return {name for (name,) in rows}

    def kept_seqs(self, file_names: Collection[str]) -> dict[str, int]:
        """The decisions (seq) that keep these images now, by name."""
        rows = self._database.rows(
            "SELECT file_name, seq FROM outcomes WHERE file_name IN (SELECT value FROM json_each(?))"
            " AND seq NOT IN (SELECT seq FROM removals)",
            json.dumps(sorted(file_names)),
        )
        return dict(rows)

    def files_of(self, seqs: Iterable[int]) -> set[str]:
        """Names of the images of these decisions."""
        rows = self._database.rows(
            "SELECT file_name FROM outcomes WHERE seq IN (SELECT value FROM json_each(?))",
            json.dumps(sorted(seqs)),
        )
        return {name for (name,) in rows}

    # -- barriers -----------------------------------------------------------------------------------------

    def barriers(self) -> Iterator[tuple[Barrier, str]]:
        """All barriers in their order, each with the id of its run."""
        after = -1
        for number, through, cause, run_id in self._database.rows(
            "SELECT number, through_seq, cause, run_id FROM barriers ORDER BY number"
        ):
            yield Barrier(number, after, through, cause), run_id
            after = through if cause == SIGHTINGS else after

    def next_barrier(self) -> Barrier | None:
        """The barrier that is due now; None if nothing was decided since the last one."""
        query = "SELECT coalesce(max(through_seq), -1) FROM barriers WHERE cause = ?"
        after = int(self._database.one(query, SIGHTINGS))
        through = self._database.one("SELECT max(seq) FROM outcomes")
        return None if through is None or through <= after else Barrier(self._next_barrier(), after, through)

    def retention_barrier(self) -> Barrier:
        """A barrier now at which no sightings are looked at."""
        through = int(self._database.one("SELECT max(seq) FROM outcomes") or 0)
        return Barrier(self._next_barrier(), through, through, RETENTION)

    def _next_barrier(self) -> int:
        return 1 + int(self._database.one("SELECT max(number) FROM barriers") or 0)

    def commit_barrier(
        self,
        barrier: Barrier,
        run_id: str,
        now: datetime,
        reasons: Mapping[int, str],
        overlays: Mapping[str, str | None] = MappingProxyType({}),
    ) -> None:
        """Commit a barrier; the images of the decisions in ``reasons`` are leaving from now on.

        ``overlays``: those that it found, by broadcaster id; None: too little is known.
        """
        with self._database.transaction():
            self._database.execute(
                "INSERT INTO barriers VALUES (?, ?, ?, ?, ?)",
                (barrier.number, run_id, barrier.through, now.isoformat(), barrier.cause),
            )
            self._database.executemany(
                "INSERT INTO removals (seq, barrier, category_id, reason)"
                " SELECT seq, ?2, category_id, ?3 FROM outcomes WHERE seq = ?1",
                [(seq, barrier.number, reason) for seq, reason in sorted(reasons.items())],
            )
            self._note_overlays(overlays)

    def commit_left(self, now: datetime) -> None:
        """The images of all that was leaving are gone."""
        with self._database.transaction():
            self._database.execute("UPDATE removals SET left_at = ? WHERE left_at IS NULL", (now.isoformat(),))
