"""Pictures that are not in the dataset, in the ledger: a few to look at, and what will be tried again.

The ledger keeps the measurement of every picture it decided on, and no picture. Its tiles (18 by 32 sums of luma)
are a small grey likeness, by which a person can still tell a menu from a talk.
"""

from __future__ import annotations

import json
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from harvester.store.removals import Removals
from harvester.vision.fold import DUPLICATE

#: Orders decisions as if by chance, always alike: Knuth's multiplicative hash (TAOCP 3, 6.4) of their numbers.
_BY_CHANCE = "seq * 2654435761 % 4294967296, seq"


class SeenPicture(NamedTuple):
    """A picture that was measured and is not in the dataset. ``reason``: why; ``measurement``: packed."""

    reason: str
    category_id: str
    kind: str
    source_id: str
    offset_s: float
    measurement: bytes


class Repeated(NamedTuple):
    """A kept picture that others have shown, too: decision, image, and of each of the others the decisions (seq)
    that dropped it as a duplicate, the earliest first."""

    seq: int
    file_name: str
    others: tuple[tuple[int, ...], ...]


class Pictures(Removals):
    """The part of the ledger that shows what was left out."""

    def dropped_pictures(self, count: int) -> dict[str, list[SeenPicture]]:
        """Up to ``count`` dropped pictures of each reason, chosen as if by chance, the same ones every time."""
        return self._chosen(
            "SELECT seq, reason FROM outcomes INDEXED BY outcomes_of_category"  # all of it is in that index
            " WHERE verdict = 'dropped' AND phash IS NOT NULL",
            count,
        )

    def removed_pictures(self, count: int) -> dict[str, list[SeenPicture]]:
        """... of the pictures that were kept and have left the dataset since."""
        return self._chosen("SELECT seq, reason FROM removals", count)

    def repeated_by_others(self, least: int) -> list[Repeated]:
        """Kept pictures, still in the dataset, that ``least`` or more other broadcasters have shown, too."""
        repeated = "SELECT near_key FROM outcomes WHERE near_key IS NOT NULL AND reason = ?1"
        rows = self._database.rows(
            "SELECT k.seq, k.file_name, d.broadcaster_id, d.seq FROM outcomes d"
            " JOIN outcomes k ON k.seq = d.near_key"
            f" WHERE d.near_key IN ({repeated} GROUP BY near_key HAVING count(DISTINCT broadcaster_id) >= ?2)"
            " AND d.reason = ?1 AND d.broadcaster_id <> k.broadcaster_id AND k.file_name IS NOT NULL"
            " AND k.measurement IS NOT NULL AND k.seq NOT IN (SELECT seq FROM removals) ORDER BY 1, 3, 4",
            DUPLICATE,
            least,
        )
        found = []
        for (seq, file_name), its in groupby(rows, itemgetter(0, 1)):
            others = tuple(tuple(row[3] for row in of_one) for _, of_one in groupby(its, itemgetter(2)))
            if len(others) >= least:
                found.append(Repeated(seq, file_name, others))
        return found

    def tried_again(self, now: datetime) -> dict[str, int]:
        """Failures (of targets and of whole sources) that will be tried again: due ``now``, and later."""
        rows = self._database.rows(
            "SELECT retry_at <= ?, count(*) FROM outcomes WHERE retry_at IS NOT NULL GROUP BY 1", now.isoformat()
        )
        found = {bool(due): int(count) for due, count in rows}
        return {"due": found.get(True, 0), "later": found.get(False, 0)}

    def last_success(self) -> datetime | None:
        """When the latest run that exited with 0 ended; None if there is none."""
        ended = self._database.one(
            "SELECT ended_at FROM runs WHERE json_extract(report, '$.exit_code') = 0 ORDER BY number DESC LIMIT 1"
        )
        return None if ended is None else datetime.fromisoformat(ended)

    def _chosen(self, query: str, count: int) -> dict[str, list[SeenPicture]]:
        chosen = self._database.rows(
            f"SELECT seq, reason FROM (SELECT seq, reason, row_number() OVER (PARTITION BY reason ORDER BY"
            f" {_BY_CHANCE}) AS place FROM ({query})) WHERE place <= ? ORDER BY reason, place",
            count,
        )
        rows = self._database.rows(
            "SELECT seq, category_id, kind, source_id, offset_s, measurement FROM outcomes"
            " WHERE seq IN (SELECT value FROM json_each(?)) AND measurement IS NOT NULL",
            json.dumps([seq for seq, _ in chosen]),
        )
        shown = {seq: rest for seq, *rest in rows}
        found: dict[str, list[SeenPicture]] = {}
        for seq, reason in chosen:
            if seq in shown:
                found.setdefault(reason, []).append(SeenPicture(reason, *shown[seq]))
        return found
