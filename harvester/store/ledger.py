"""The ledger: what was listed, planned, decided and why, in one SQLite file.

Every decision is a row of ``outcomes``; counters, the place where a pass goes on and the anchors of the
near-duplicate index are queries over committed rows, never stored beside them.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harvester.model import Category, Frame, Rank, Source, SourceKind
from harvester.sampling.plan import Visit
from harvester.store.database import Database
from harvester.store.records import Outcome, outcome_row, source_from, source_record

#: The tables, and their version, kept in ``PRAGMA user_version``.
SCHEMA = Path(__file__).with_name("schema.sql")
SCHEMA_VERSION = 1

#: Waits before a target that failed in a passing way is due again, counted from the start of the run, by number of
#: failures so far: the first retry follows in the same run, once everything else is decided; what stays broken is
#: left after the last (five looks over four days).
RETRY_WAITS = (timedelta(0), timedelta(hours=1), timedelta(hours=20), timedelta(hours=72))


@dataclass(frozen=True, slots=True)
class OpenPass:
    """A pass that still has undecided targets; ``last`` is the rank decided last (None: none yet).

    ``lost``: sources that could not be opened at a decided rank; their later ranks have no target in this pass.
    """

    id: int
    last: Rank | None = None
    lost: frozenset[tuple[SourceKind, str]] = frozenset()


class Ledger:
    """Open ledger; also ``Ledger(None)`` in memory, for harvests that write nothing."""

    def __init__(self, path: Path | None) -> None:
        self._database = Database(path, SCHEMA.read_text(encoding="utf-8"), SCHEMA_VERSION)
        self._seq = threading.Lock()
        self._next_seq = 1 + (self._database.one("SELECT max(seq) FROM outcomes") or 0)

    def close(self) -> None:
        """Close the file; committed rows are safe before this, too."""
        self._database.close()

    # -- runs and categories ------------------------------------------------------------------------------

    def begin_run(self, run_id: str, started_at: datetime, rules: Mapping[str, Any]) -> None:
        """Record a run and the rules it decides by (replay needs them)."""
        with self._database.transaction():
            self._database.execute(
                "INSERT INTO runs (id, started_at, rules) VALUES (?, ?, ?)",
                (run_id, started_at.isoformat(), json.dumps(rules, sort_keys=True)),
            )

    def end_run(self, run_id: str, ended_at: datetime, report: str) -> None:
        """Record the run's report (one JSON object)."""
        with self._database.transaction():
            self._database.execute(
                "UPDATE runs SET ended_at = ?, report = ? WHERE id = ?", (ended_at.isoformat(), report, run_id)
            )

    def rules_of_runs(self) -> dict[str, dict[str, Any]]:
        """The rules of every run, by run id."""
        return {run_id: json.loads(rules) for run_id, rules in self._database.rows("SELECT id, rules FROM runs")}

    def runs(self) -> list[dict[str, Any]]:
        """Runs, the latest first: id, started_at, ended_at (None: killed), report (parsed, or None)."""
        rows = self._database.rows("SELECT id, started_at, ended_at, report FROM runs ORDER BY number DESC")
        return [
            {"id": r[0], "started_at": r[1], "ended_at": r[2], "report": json.loads(r[3]) if r[3] else None}
            for r in rows
        ]

    def remember_category(self, category: Category, now: datetime) -> None:
        """Keep the newest name of a category, so that a name can be found without asking Twitch."""
        with self._database.transaction():
            self._database.execute(
                "INSERT INTO categories VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET name = ?2, seen_at = ?3",
                (category.id, category.name, now.isoformat()),
            )

    def categories(self) -> list[Category]:
        """All categories this dataset has harvested, by id."""
        return [Category(*row) for row in self._database.rows("SELECT id, name FROM categories ORDER BY id")]

    # -- passes -------------------------------------------------------------------------------------------

    def open_pass(self, category_id: str, scope: str) -> OpenPass | None:
        """The unfinished pass of that category and scope, if there is one."""
        pass_id = self._database.one(
            "SELECT min(id) FROM passes WHERE category_id = ? AND scope = ? AND done = 0", category_id, scope
        )
        return None if pass_id is None else OpenPass(pass_id, self._last_rank(pass_id), self._lost(pass_id))

    def new_pass_id(self) -> int:
        """Number of the next pass."""
        return 1 + (self._database.one("SELECT max(id) FROM passes") or 0)

    def commit_pass(
        self,
        pass_id: int,
        category_id: str,
        scope: str,
        *,
        opened_at: datetime,
        listing: Mapping[str, Any],
        visits: Iterable[Visit],
    ) -> int:
        """Close the listing of a pass: its sources and visits, in one transaction. Returns the number of visits.

        Failures that its retry visits take up are due no more.
        """
        count = 0
        with self._database.transaction():
            self._database.execute(
                "INSERT INTO passes (id, category_id, scope, opened_at, listing) VALUES (?, ?, ?, ?, ?)",
                (pass_id, category_id, scope, opened_at.isoformat(), json.dumps(listing)),
            )
            for visit in visits:
                self._insert_visit(category_id, visit)
                count += 1
        return count

    def finish_pass(self, pass_id: int) -> None:
        """All targets of the pass are decided."""
        with self._database.transaction():
            self._database.execute("UPDATE passes SET done = 1 WHERE id = ?", (pass_id,))

    def visits(self, pass_id: int, turn: int) -> list[Visit]:
        """Visits that have targets in round ``turn``, in rank order."""
        rows = self._database.rows(
            "SELECT s.kind, s.record, v.first_slot, v.count, v.round_size, v.broadcaster_hash, v.source_hash,"
            " v.retry"
            " FROM visits v JOIN sources s ON s.category_id = v.category_id AND s.kind = v.kind"
            " AND s.id = v.source_id WHERE v.pass_id = ? AND v.first_round <= ? AND v.last_round >= ?"
            " ORDER BY v.broadcaster_hash, v.source_hash, v.source_id",
            pass_id,
            turn,
            turn,
        )
        return [
            Visit(
                pass_id,
                source_from(kind, record),
                slot,
                count,
                size,
                bh,
                sh,
                tuple(json.loads(retry)) if retry else None,
            )
            for kind, record, slot, count, size, bh, sh, retry in rows
        ]

    def last_round(self, pass_id: int) -> int:
        """Number of the pass's last round; -1 if it has no visit."""
        last = self._database.one("SELECT max(last_round) FROM visits WHERE pass_id = ?", pass_id)
        return -1 if last is None else int(last)

    def known_sources(self, category_id: str) -> set[tuple[SourceKind, str]]:
        """Sources that earlier passes of the category have visited, and those that kept frames come from."""
        rows = self._database.rows("SELECT kind, id FROM sources WHERE category_id = ?", category_id)
        return {(kind, source_id) for kind, source_id in rows}

    def due_retries(self, category_id: str, now: datetime) -> list[tuple[Source, tuple[int, ...] | None]]:
        """Sources with failures that may be tried again: the failed targets, or None for the whole source."""
        rows = self._database.rows(
            "SELECT o.kind, s.record, o.k FROM outcomes o JOIN sources s ON s.category_id = o.category_id"
            " AND s.kind = o.kind AND s.id = o.source_id"
            " WHERE o.category_id = ? AND o.retry_at IS NOT NULL AND o.retry_at <= ?"
            " ORDER BY o.kind, o.source_id, o.k",
            category_id,
            now.isoformat(),
        )
        wanted: dict[tuple[str, str], set[int | None]] = {}
        for kind, record, k in rows:
            wanted.setdefault((kind, record), set()).add(k)
        return [
            (source_from(kind, record), None if None in ks else tuple(sorted(k for k in ks if k is not None)))
            for (kind, record), ks in wanted.items()
        ]

    def decided_targets(self, category_id: str, kind: SourceKind, source_id: str) -> set[int]:
        """Numbers of the source's targets that a picture, or a cap, has decided: they are never fetched again."""
        rows = self._database.rows(
            "SELECT k FROM outcomes WHERE category_id = ? AND kind = ? AND source_id = ?"
            " AND k IS NOT NULL AND verdict <> 'failed'",
            category_id,
            kind,
            source_id,
        )
        return {k for (k,) in rows}

    def failures_of(self, category_id: str, kind: SourceKind, source_id: str, k: int | None) -> int:
        """How often that target (or, with None, opening that source) has failed so far."""
        return int(
            self._database.one(
                "SELECT count(*) FROM outcomes WHERE category_id = ? AND kind = ? AND source_id = ?"
                " AND k IS ? AND verdict = 'failed'",
                category_id,
                kind,
                source_id,
                k,
            )
            or 0
        )

    # -- outcomes -----------------------------------------------------------------------------------------

    def next_seq(self) -> int:
        """A number for the next decision; numbers of decisions that were never committed are not missed."""
        with self._seq:
            seq = self._next_seq
            self._next_seq += 1
            return seq

    def commit(self, outcomes: Sequence[Outcome]) -> None:
        """Commit decisions, all or none."""
        with self._database.transaction():
            self._insert_outcomes(outcomes)

    def is_kept(self, file_name: str) -> bool:
        """True if a committed outcome keeps the image of that name."""
        return bool(
            self._database.one("SELECT 1 FROM outcomes WHERE file_name = ? AND verdict = 'kept'", file_name)
        )

    def kept_files(self) -> set[str]:
        """Names of all images the ledger keeps."""
        return {name for (name,) in self._database.rows("SELECT file_name FROM outcomes WHERE verdict = 'kept'")}

    def adopt(self, frames: Iterable[Frame], adopted_at: datetime) -> int:
        """Take up images that the metadata lists and the ledger does not know. Returns how many."""
        outcomes = [
            Outcome(
                seq=self.next_seq(),
                run_id=frame.run_id,
                category_id=frame.category_id,
                rank=Rank(0, 0, 0, 0, 0),
                kind=frame.source_type,
                source_id=frame.source_id,
                broadcaster_id=frame.broadcaster_id,
                k=None,
                verdict="kept",
                reason="",
                decided_at=adopted_at,
                offset_s=frame.offset_s,
                phash=int(frame.phash, 16),
                file_name=frame.file_name,
                sha256=frame.sha256,
                detail="adopted",
            )
            for frame in frames
        ]
        with self._database.transaction():
            self._insert_outcomes(outcomes)
        return len(outcomes)

    def anchors(self, category_id: str) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """Hashes (uint64) and keys (seq) of the category's kept frames, in order of decision."""
        rows = self._database.rows(
            "SELECT phash, seq FROM outcomes WHERE category_id = ? AND verdict = 'kept' ORDER BY seq", category_id
        )
        hashes = np.array([row[0] for row in rows], dtype=np.int64).view(np.uint64)
        return hashes, np.array([row[1] for row in rows], dtype=np.int64)

    def kept_by_broadcaster(self, category_id: str) -> Counter[str]:
        """Kept frames of the category by broadcaster id."""
        return Counter(
            dict(
                self._database.rows(
                    "SELECT broadcaster_id, count(*) FROM outcomes WHERE category_id = ? AND verdict = 'kept'"
                    " GROUP BY broadcaster_id",
                    category_id,
                )
            )
        )

    def totals(self, category_id: str) -> dict[tuple[str, str], int]:
        """Outcomes of the category so far, by (verdict, reason)."""
        rows = self._database.rows(
            "SELECT verdict, reason, count(*) FROM outcomes WHERE category_id = ? GROUP BY verdict, reason",
            category_id,
        )
        return {(verdict, reason): count for verdict, reason, count in rows}

    def kept_count(self, category_id: str) -> int:
        """Kept frames of the category."""
        return int(
            self._database.one(
                "SELECT count(*) FROM outcomes WHERE category_id = ? AND verdict = 'kept'", category_id
            )
            or 0
        )

    def decisions(self) -> Iterator[dict[str, Any]]:
        """Every committed outcome with all its columns, in order of decision."""
        for record in self._database.records("SELECT * FROM outcomes ORDER BY seq"):
            record["phash"] = None if record["phash"] is None else record["phash"] & (1 << 64) - 1
            yield record

    # -- inside -------------------------------------------------------------------------------------------

    def _insert_outcomes(self, outcomes: Sequence[Outcome]) -> None:
        rows = [outcome_row(outcome) for outcome in outcomes]
        if rows:
            marks = ", ".join("?" * len(rows[0]))
            self._database.executemany(f"INSERT INTO outcomes VALUES ({marks})", rows)

    def _insert_visit(self, category_id: str, visit: Visit) -> None:
        source = visit.source
        self._database.execute(
            "INSERT INTO sources VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET record = excluded.record",
            (category_id, source.kind, source.id, source.broadcaster_id, source_record(source)),
        )
        self._database.execute(
            "INSERT INTO visits VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(visit.pass_id, visit.broadcaster_hash, visit.source_hash),
                *(category_id, source.kind, source.id),
                *(visit.first_slot, visit.count, visit.round_size, visit.first_round, visit.last_round),
                None if visit.retry is None else json.dumps(visit.retry),
            ),
        )
        self._database.execute(
            "UPDATE outcomes SET retry_at = NULL WHERE category_id = ? AND kind = ? AND source_id = ?",
            (category_id, source.kind, source.id),
        )

    def _last_rank(self, pass_id: int) -> Rank | None:
        rows = self._database.rows(
            "SELECT pass_id, round, broadcaster_hash, source_hash, place FROM outcomes WHERE pass_id = ?"
            " ORDER BY seq DESC LIMIT 1",
            pass_id,
        )
        return Rank(*rows[0]) if rows else None

    def _lost(self, pass_id: int) -> frozenset[tuple[SourceKind, str]]:
        rows = self._database.rows("SELECT kind, source_id FROM outcomes WHERE pass_id = ? AND k IS NULL", pass_id)
        return frozenset((kind, source_id) for kind, source_id in rows)
