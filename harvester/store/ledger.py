"""The ledger: what was listed, planned, decided and why, in one SQLite file.

Every decision is a row of ``outcomes``; counters, the place where a pass goes on and the anchors of the
near-duplicate index are queries over committed rows, never stored beside them.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harvester.model import Category, Frame, Rank
from harvester.store.database import Database
from harvester.store.forgettings import Forgettings
from harvester.store.migrations import MIGRATIONS
from harvester.store.pictures import Pictures
from harvester.store.records import Outcome, outcome_row
from harvester.store.removals import CAPPED_DAY
from harvester.store.sightings import WITH_SOURCE

#: The tables, and their version, kept in ``PRAGMA user_version``.
SCHEMA = Path(__file__).with_name("schema.sql")
SCHEMA_VERSION = 9

#: Condition for kept outcomes that an index of names answers: they are those that name a file.
_KEPT = "file_name IS NOT NULL"

#: Anchors read at a time (rows of two integers, 150 bytes each in Python).
ANCHORS_AT_ONCE = 65_536


class AnchorMark(NamedTuple):
    """Where the anchors of a ledger end: decision, how many up to it, its hash (signed), run and time (ISO).

    Rows are only appended, one run at a time, so equal marks mean the same anchors.
    """

    seq: int
    anchors: int
    phash: int
    run_id: str
    decided_at: str


class Ledger(Pictures, Forgettings):
    """Open ledger; also ``Ledger(None)`` in memory, for harvests that write nothing."""

    def __init__(self, path: Path | None, *, readonly: bool = False, alone: bool = False) -> None:
        super().__init__(_open(path, readonly=readonly, alone=alone))
        self._seq = threading.Lock()
        self._next_seq = 1 + self.newest_seq()

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

    def listed_by_killed_runs(self, since: datetime) -> set[tuple[str, str]]:
        """Category id and scope of the passes opened at ``since`` or later by runs that never ended, after which
        none ended either: who runs now goes on with them."""
        rows = self._database.rows(
            "SELECT DISTINCT p.category_id, p.scope FROM passes p JOIN runs r"
            " ON r.id = json_extract(p.listing, '$.run') WHERE p.opened_at >= ?"
            " AND r.number > (SELECT coalesce(max(number), 0) FROM runs WHERE ended_at IS NOT NULL)",
            since.isoformat(),
        )
        return {(category_id, scope) for category_id, scope in rows}

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
        """True if a committed outcome keeps the image of that name, or did before it left."""
        return bool(
            self._database.one("SELECT 1 FROM outcomes WHERE file_name = ? AND verdict = 'kept'", file_name)
        )

    def keeps_any(self) -> bool:
        """True if the ledger keeps an image."""
        return self._database.one(f"SELECT 1 FROM outcomes WHERE {_KEPT} LIMIT 1") is not None

    def kept_among(self, file_names: Collection[str]) -> set[str]:
        """Those of ``file_names`` that the ledger keeps, or kept before they left."""
        rows = self._database.rows(
            f"SELECT file_name FROM outcomes WHERE {_KEPT} AND file_name IN (SELECT value FROM json_each(?))",
            json.dumps(sorted(file_names)),
        )
        return {name for (name,) in rows}

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

    def anchors(
        self, category_id: str | None, after: int | None = None
    ) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """Hashes (uint64) and keys (seq) of kept frames, also those that left later, in order of decision: of a
        category, or of all (None).

        ``after``: only of later decisions than that.
        """
        scope, arguments = _scope(category_id)
        query = f"SELECT phash, seq FROM outcomes WHERE {scope} AND seq > ? ORDER BY seq LIMIT {ANCHORS_AT_ONCE}"
        at = -1 if after is None else after
        pages = [np.empty((0, 2), np.int64)]
        while rows := self._database.rows(query, *arguments, at):
            pages.append(np.array(rows, dtype=np.int64))
            at = rows[-1][1]
        found = np.concatenate(pages)
        return found[:, 0].copy().view(np.uint64), found[:, 1].copy()

    def anchor_mark(self, category_id: str | None, seq: int) -> AnchorMark:
        """What tells the anchors up to decision ``seq`` from another ledger's; no run if it is no anchor."""
        scope, arguments = _scope(category_id)
        counted = f"SELECT count(*) FROM outcomes WHERE {scope} AND +seq <= ?"  # + : by an index, not row by row
        count = self._database.one(counted, *arguments, seq)
        last = self._database.rows(
            f"SELECT phash, run_id, decided_at FROM outcomes WHERE {scope} AND seq = ?", *arguments, seq
        )
        return AnchorMark(seq, count, *(last[0] if last else (0, "", "")))

    def totals(self, category_id: str) -> dict[tuple[str, str], int]:
        """Outcomes of the category so far, by (verdict, reason)."""
        rows = self._database.rows(
            "SELECT verdict, reason, count(*) FROM outcomes WHERE category_id = ? GROUP BY verdict, reason",
            category_id,
        )
        return {(verdict, reason): count for verdict, reason, count in rows}

    def decided_in(self, run_id: str) -> list[tuple[str, str, str, bool, int]]:
        """What a run has committed: category id, verdict, reason, whether due again, how many targets.

        The newest outcome of a target counts; a source that failed to open counts no more once it did open.
        """
        rows = self._database.rows(
            "WITH mine AS (SELECT category_id, kind, source_id, k, seq, verdict, reason, retry_at, row_number()"
            " OVER (PARTITION BY category_id, kind, source_id, k ORDER BY seq DESC) AS age"
            " FROM outcomes WHERE run_id = ?1)"
            " SELECT category_id, verdict, reason, retry_at IS NOT NULL AS due, count(*) FROM mine"
            " WHERE age = 1 AND NOT (k IS NULL AND EXISTS (SELECT 1 FROM outcomes AS n WHERE n.run_id = ?1"
            " AND n.category_id = mine.category_id AND n.kind = mine.kind AND n.source_id = mine.source_id"
            " AND n.seq > mine.seq)) GROUP BY category_id, verdict, reason, due",
            run_id,
        )
        return [(category, verdict, reason, bool(due), n) for category, verdict, reason, due, n in rows]

    def committed_in(self, run_id: str) -> dict[str, int]:
        """How many outcomes a run has committed, by category id."""
        query = "SELECT category_id, count(*) FROM outcomes WHERE run_id = ? GROUP BY category_id"
        return dict(self._database.rows(query, run_id))

    def ranks(self) -> Iterator[dict[str, Any]]:
        """Number and rank of every committed outcome, pass by pass in order of decision."""
        columns = "seq, pass_id, round, broadcaster_hash, source_hash, place"
        return self._database.records(f"SELECT {columns} FROM outcomes ORDER BY pass_id, seq")

    def decisions(self) -> Iterator[dict[str, Any]]:
        """Every committed outcome with all its columns, in order of decision; ``day``: as the caps count it."""
        query = f"SELECT o.*, {CAPPED_DAY} AS day FROM outcomes o LEFT JOIN {WITH_SOURCE} ORDER BY o.seq"
        for record in self._database.records(query):
            record["phash"] = None if record["phash"] is None else record["phash"] & (1 << 64) - 1
            yield record

    # -- inside -------------------------------------------------------------------------------------------

    def _insert_outcomes(self, outcomes: Sequence[Outcome]) -> None:
        rows = [outcome_row(outcome) for outcome in outcomes]
        if rows:
            marks = ", ".join("?" * len(rows[0]))
            self._database.executemany(f"INSERT INTO outcomes VALUES ({marks})", rows)


def _scope(category_id: str | None) -> tuple[str, tuple[str, ...]]:
    """The condition for kept outcomes of a category, or of all, and its arguments."""
    return (
        ("verdict = 'kept'", ())
        if category_id is None
        else ("category_id = ? AND verdict = 'kept'", (category_id,))
    )


def _open(path: Path | None, **how: bool) -> Database:
    schema = SCHEMA.read_text(encoding="utf-8")
    return Database(path, schema, SCHEMA_VERSION, migrations=MIGRATIONS, **how)
