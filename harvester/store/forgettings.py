"""What the ledger does about the forgotten: it erases it, and knows which tombstones have been carried out.

A tombstone is noted by its digest, for its ids stand in ``tombstones.json`` and nowhere else. What others were
decided by stays decided: a duplicate of a forgotten picture names it no more (``near_key`` NULL), and what was
decided up to ``through_seq`` may rest on what nobody can look at again.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from harvester.store.absences import Absences
from harvester.store.records import without_category
from harvester.store.tombstones import Tombstone

#: A source as (category id, kind, id): the key of the tables that know it.
SourceKey = tuple[str, str, str]

_OF_SOURCES = "IN (SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]')"
_WORD = re.compile(r"[\w-]+")


@dataclass(frozen=True, slots=True)
class Erased:
    """How much the ledger knew of what a tombstone covers: decisions, and sources that were listed."""

    decisions: int = 0
    sources: int = 0

    def __add__(self, other: Erased) -> Erased:
        return Erased(self.decisions + other.decisions, self.sources + other.sources)

    def __bool__(self) -> bool:
        return self.decisions + self.sources > 0


class Forgettings(Absences):
    """The part of the ledger that forgets."""

    def newest_seq(self) -> int:
        """Number of the newest decision there ever was, 0 before the first: no number is used again."""
        known = self._database.one("SELECT max(seq) FROM outcomes") or 0
        return max(known, self.forgotten_through())

    def forgotten_through(self) -> int:
        """The newest decision (seq) that may rest on what was forgotten since; 0 if nothing was."""
        return int(self._database.one("SELECT max(through_seq) FROM forgettings") or 0)

    def has_forgotten(self, stone: Tombstone) -> bool:
        """True once everything that the tombstone covers has gone, from the ledger's file too."""
        query = "SELECT 1 FROM forgettings WHERE stone = ? AND done_at IS NOT NULL"
        return self._database.one(query, _digest(stone)) is not None

    def sources_covered(self, stone: Tombstone) -> list[SourceKey]:
        """Sources that a tombstone covers and the ledger knows, also those of which only decisions are left."""
        listed, arguments = _covered(stone, "id")
        decided, _ = _covered(stone, "source_id")
        rows = self._database.rows(
            f"SELECT category_id, kind, id FROM sources WHERE {listed}"
            f" UNION SELECT category_id, kind, source_id FROM outcomes WHERE {decided}",
            *arguments,
            *arguments,
        )
        return [tuple(row) for row in rows]

    def count_covered(self, stone: Tombstone) -> Erased:
        """What :meth:`erase` would erase."""
        condition, arguments = _covered(stone, "source_id")
        decisions = self._database.one(f"SELECT count(*) FROM outcomes WHERE {condition}", *arguments)
        return Erased(int(decisions or 0), len(self.sources_covered(stone)))

    def erase(self, stone: Tombstone) -> Erased:
        """Delete everything that the ledger knows of what a tombstone covers, in one transaction."""
        gone = self.count_covered(stone)
        sources = self.sources_covered(stone)
        with self._database.transaction():
            self._database.execute(
                "INSERT INTO forgettings (stone, through_seq) VALUES (?1, ?2)"
                " ON CONFLICT (stone) DO UPDATE SET through_seq = max(through_seq, ?2), done_at = NULL",
                (_digest(stone), self.newest_seq()),
            )
            self._erase_decisions(stone)
            self._erase_sources(stone, sources)
            if stone.is_category:
                self._erase_category(str(stone.category_id))
            self._erase_mentions(stone, sources)
        return gone

    def cleanse(self) -> None:
        """Write the file anew without what was erased from it. Raises MachineError (disk full, file in use)."""
        self._database.rewrite()

    def commit_forgotten(self, stones: Collection[Tombstone], now: datetime) -> None:
        """Nothing is left of what these tombstones cover."""
        with self._database.transaction():
            self._database.executemany(
                "INSERT INTO forgettings VALUES (?1, ?2, ?3) ON CONFLICT (stone) DO UPDATE SET done_at = ?3",
                [(_digest(stone), self.newest_seq(), now.isoformat()) for stone in stones],
            )

    # -- inside a transaction -----------------------------------------------------------------------------

    def _erase_decisions(self, stone: Tombstone) -> None:
        condition, arguments = _covered(stone, "source_id")
        doomed = f"(SELECT seq FROM outcomes WHERE {condition})"
        self._database.execute(f"DELETE FROM removals WHERE seq IN {doomed}", arguments)
        shown = f"(SELECT broadcaster_id FROM outcomes WHERE {condition})"
        self._database.execute(f"UPDATE overlays SET boxes = NULL WHERE broadcaster_id IN {shown}", arguments)
        self._database.execute(
            f"UPDATE outcomes SET near_key = NULL, near_distance = NULL WHERE near_key IN {doomed}", arguments
        )
        self._database.execute(f"DELETE FROM outcomes WHERE {condition}", arguments)
        self._database.execute(
            "DELETE FROM overlays WHERE boxes IS NULL AND NOT EXISTS (SELECT 1 FROM outcomes o"
            " WHERE o.phash IS NOT NULL AND o.broadcaster_id = overlays.broadcaster_id)"
        )

    def _erase_sources(self, stone: Tombstone, sources: Collection[SourceKey]) -> None:
        keys = (json.dumps(sources),)
        for table in ("visits", "parts"):
            known = f"(category_id, kind, source_id) {_OF_SOURCES} FROM json_each(?))"
            self._database.execute(f"DELETE FROM {table} WHERE {known}", keys)
        for column in ("category_id", "listed"):
            known = f"({column}, 'vod', source_id) {_OF_SOURCES} FROM json_each(?))"
            self._database.execute(f"DELETE FROM held WHERE {known}", keys)
        self._database.execute(
            f"DELETE FROM sources WHERE (category_id, kind, id) {_OF_SOURCES} FROM json_each(?))", keys
        )
        single = [(category_id, f"{kind}:{source_id}") for category_id, kind, source_id in sources]
        self._database.executemany("DELETE FROM passes WHERE category_id = ? AND scope = ?", single)
        gone = {(kind, source_id) for _, kind, source_id in sources}
        if stone.source_type is not None and stone.source_id is not None:
            gone.add((stone.source_type, stone.source_id))
        if stone.category_id is None:
            self._database.executemany("DELETE FROM absences WHERE kind = ? AND source_id = ?", sorted(gone))
        self._unlink_clips([source_id for kind, source_id in gone if kind == "vod"])

    def _unlink_clips(self, vods: Collection[str]) -> None:
        """Clips name the VOD they were cut from no more, unless the ledger still knows that."""
        self._database.execute(
            "UPDATE sources SET record = json_set(record, '$.video_id', NULL, '$.vod_offset_s', NULL)"
            " WHERE kind = 'clip' AND json_extract(record, '$.video_id') IN (SELECT value FROM json_each(?))"
            " AND json_extract(record, '$.video_id') NOT IN (SELECT id FROM sources WHERE kind = 'vod')",
            (json.dumps(sorted(vods)),),
        )

    def _erase_category(self, category_id: str) -> None:
        for condition in ("passes WHERE category_id", "held WHERE category_id", "held WHERE listed"):
            self._database.execute(f"DELETE FROM {condition} = ?", (category_id,))
        rows = self._database.rows(
            "SELECT category_id, kind, source_id, first_k, evidence FROM parts WHERE instr(evidence, ?)",
            json.dumps(category_id),
        )
        changed = [(without_category(evidence, category_id), *key) for *key, evidence in rows]
        self._database.executemany(
            "UPDATE parts SET evidence = ? WHERE category_id = ? AND kind = ? AND source_id = ? AND first_k = ?",
            changed,
        )

    def _erase_mentions(self, stone: Tombstone, sources: Collection[SourceKey]) -> None:
        """Take what is forgotten out of the reports of earlier runs; their numbers stay."""
        ids = {source_id for _, _, source_id in sources} | {stone.source_id, stone.broadcaster_id} - {None}
        names: set[str] = set()
        if stone.is_category:
            ids.add(stone.category_id)
            rows = self._database.rows("SELECT name FROM categories WHERE id = ?", stone.category_id)
            names = {name for (name,) in rows}
            self._database.execute("DELETE FROM categories WHERE id = ?", (stone.category_id,))
        category_id = stone.category_id if stone.is_category else None
        for number, text in self._database.rows("SELECT number, report FROM runs WHERE report IS NOT NULL"):
            fresh = json.dumps(_without_mentions(json.loads(text), category_id, ids, names))
            if fresh != text:
                self._database.execute("UPDATE runs SET report = ? WHERE number = ?", (fresh, number))


def _covered(stone: Tombstone, source_column: str) -> tuple[str, tuple[str, ...]]:
    """The condition for rows that a tombstone covers, and its arguments."""
    columns = ("kind", source_column, "broadcaster_id", "category_id")
    given = [(column, value) for column, value in zip(columns, stone.key, strict=True) if value is not None]
    return " AND ".join(f"{column} = ?" for column, _ in given), tuple(value for _, value in given)


def _digest(stone: Tombstone) -> str:
    return hashlib.sha256(json.dumps(stone.key).encode()).hexdigest()


def _without_mentions(
    report: dict[str, Any], category_id: str | None, ids: Collection[str | None], names: Collection[str]
) -> dict[str, Any]:
    """A run's report whose lines name none of these; of the category its numbers stay."""
    categories = report.get("categories", {})
    names = {*names}
    if category_id in categories:
        names.add(categories[category_id]["name"])
        categories[category_id] |= {"name": f"category {category_id}", "note": ""}
    for key in ("errors", "notes"):
        report[key] = [line for line in report.get(key, []) if not _mentions(line, ids, names)]
    return report


def _mentions(line: str, ids: Collection[str | None], names: Collection[str]) -> bool:
    return not set(_WORD.findall(line)).isdisjoint(ids) or any(name in line for name in names)
