"""Passes of the ledger: what was listed, and the place of every source and failure in a pass.

A pass is one closed listing of a category. Where it goes on is the rank of its last committed outcome.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from harvester.model import Rank, Source, SourceKind, Vod
from harvester.sampling.plan import Visit
from harvester.store.parts import PART_COLUMNS, part_from
from harvester.store.records import source_from, source_record
from harvester.store.retries import CAPPED, Retries

#: Visits read at a time, each with its source's record: some 2 ms, and half a megabyte.
VISITS_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class OpenPass:
    """A pass that still has undecided targets; ``last`` is the rank decided last (None: none yet).

    ``lost``: sources that could not be opened at a decided rank; their later ranks have no target in this pass.
    """

    id: int
    last: Rank | None = None
    lost: frozenset[tuple[SourceKind, str]] = frozenset()


class Passes(Retries):
    """The part of the ledger that plans: passes and their visits."""

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
        planned_at: datetime,
        listing: Mapping[str, Any],
        visits: Iterable[Visit],
        ended: Iterable[Source] = (),
    ) -> int:
        """Close the listing of a pass: its sources and visits, in one transaction. Returns the number of visits.

        ``planned_at``: start of the run, which is all that a later plan may know of when this one was made.
        Failures that its retry visits take up are due no more. ``ended``: sources as of :meth:`end_growing`.
        """
        count = 0
        with self._database.transaction():
            self._database.execute(
                "INSERT INTO passes (id, category_id, scope, opened_at, listing) VALUES (?, ?, ?, ?, ?)",
                (pass_id, category_id, scope, opened_at.isoformat(), json.dumps(listing)),
            )
            for visit in visits:
                self._insert_visit(category_id, visit, planned_at)
                count += 1
            self.mark_ended(ended)
        return count

    def finish_pass(self, pass_id: int) -> None:
        """All targets of the pass are decided."""
        with self._database.transaction():
            self._database.execute("UPDATE passes SET done = 1 WHERE id = ?", (pass_id,))

    def visits(
        self, pass_id: int, turn: int, last: Rank | None = None, *, through: int | None = None
    ) -> Iterator[Visit]:
        """Visits that have targets in round ``turn``, or up to round ``through``, each once, in their order.

        ``last``: only those that may have a target after that rank, if it is of this round. Read as they are
        asked for, some at a time.
        """
        within = (pass_id, turn if through is None else through, turn)
        goes_on = last is not None and last.round == turn and through is None
        at = (last.broadcaster_hash, last.source_hash, "") if last is not None and goes_on else (-1, -1, "")
        while page := self._visits_after(within, at):
            yield from page
            at = (page[-1].broadcaster_hash, page[-1].source_hash, page[-1].source.id)

    def _visits_after(self, within: tuple[int, int, int], at: tuple[int, int, str]) -> list[Visit]:
        """The next visits in their order. ``within``: pass, round by which they begin, round to which they go."""
        rows = self._database.rows(
            "SELECT s.kind, s.record, v.first_slot, v.count, v.round_size, v.broadcaster_hash, v.source_hash,"
            f" v.retry, {PART_COLUMNS}"
            " FROM visits v JOIN sources s ON s.category_id = v.category_id AND s.kind = v.kind"
            " AND s.id = v.source_id LEFT JOIN parts p ON p.category_id = v.category_id AND p.kind = v.kind"
            " AND p.source_id = v.source_id AND p.first_k = v.first_k AND v.retry IS NULL"
            " WHERE v.pass_id = ? AND v.first_round <= ? AND v.last_round >= ?"
            " AND (v.broadcaster_hash, v.source_hash, v.source_id) > (?, ?, ?)"
            f" ORDER BY v.broadcaster_hash, v.source_hash, v.source_id LIMIT {VISITS_AT_ONCE}",
            *within,
            *at,
        )
        return [
            Visit(
                within[0],
                source_from(kind, record),
                slot,
                count,
                size,
                bh,
                sh,
                tuple(json.loads(retry)) if retry else None,
                part_from(part) if part[0] is not None else None,
            )
            for kind, record, slot, count, size, bh, sh, retry, *part in rows
        ]

    def last_round(self, pass_id: int) -> int:
        """Number of the pass's last round; -1 if it has no visit."""
        last = self._database.one("SELECT max(last_round) FROM visits WHERE pass_id = ?", pass_id)
        return -1 if last is None else int(last)

    def known_sources(self, category_id: str) -> set[tuple[SourceKind, str]]:
        """Sources that earlier passes of the category have visited, and those that kept frames come from."""
        rows = self._database.rows("SELECT kind, id FROM sources WHERE category_id = ?", category_id)
        return {(kind, source_id) for kind, source_id in rows}

    def has_listed(self, category_id: str) -> bool:
        """True if Helix has ever listed a source under the category."""
        found = self._database.one(
            "SELECT 1 FROM sources WHERE category_id = ? AND coalesce(json_extract(record, '$.listed'), 1)"
            " LIMIT 1",
            category_id,
        )
        return found is not None

    def vods_holding(self, category_id: str, scope: str) -> list[Vod]:
        """VODs that passes of other categories, of that scope, have opened and found to show this category too.

        Only those opened at a decided rank: how far work ran ahead of the decisions must not reach a plan.
        """
        rows = self._database.rows(
            "SELECT s.record, p.id, p.done, v.first_round, v.broadcaster_hash, v.source_hash FROM held h"
            " CROSS JOIN passes p ON p.category_id = h.listed AND p.scope = ?2"  # in this order: held are few
            " CROSS JOIN visits v ON v.pass_id = p.id AND v.kind = 'vod' AND v.source_id = h.source_id"
            " CROSS JOIN sources s ON s.category_id = h.listed AND s.kind = 'vod' AND s.id = h.source_id"
            " WHERE h.category_id = ?1 AND NOT EXISTS (SELECT 1 FROM outcomes o WHERE o.category_id = h.listed"
            " AND o.kind = 'vod' AND o.source_id = h.source_id AND o.pass_id = p.id AND o.place = 0"
            f" AND o.{CAPPED}) ORDER BY json_extract(s.record, '$.duration_s'), h.listed",
            category_id,
            scope,
        )
        last = {pass_id: self._last_rank(pass_id) for _, pass_id, done, *_ in rows if not done}
        found: dict[str, Vod] = {}
        for record, pass_id, done, turn, broadcaster_hash, source_hash in rows:
            rank, vod = last.get(pass_id), source_from("vod", record)
            first = Rank(pass_id, turn, broadcaster_hash, source_hash, 0)
            if isinstance(vod, Vod) and (done or (rank is not None and first <= rank)):
                found[vod.id] = vod
        return [found[vod_id] for vod_id in sorted(found)]

    def newest_known(self, category_id: str, kind: SourceKind, count: int) -> list[datetime]:
        """When the newest known sources of that kind were created (UTC), the newest first; at most ``count``."""
        rows = self._database.rows(
            "SELECT json_extract(record, '$.created_at') AS made FROM sources WHERE category_id = ? AND kind = ?"
            " ORDER BY made DESC LIMIT ?",
            category_id,
            kind,
            count,
        )
        return [datetime.fromisoformat(made) for (made,) in rows]

    def vods_visited(self, category_id: str, scope: str) -> list[Vod]:
        """The VODs that the newest listing of that category and scope, and passes after it, have visited."""
        rows = self._database.rows(
            "SELECT DISTINCT s.record FROM passes p JOIN visits v ON v.pass_id = p.id AND v.kind = 'vod'"
            " JOIN sources s ON s.category_id = p.category_id AND s.kind = 'vod' AND s.id = v.source_id"
            " WHERE p.category_id = ?1 AND p.scope = ?2 AND p.id >= (SELECT coalesce(max(id), 0) FROM passes"
            " WHERE category_id = ?1 AND scope = ?2 AND json_extract(listing, '$.listed') IS NOT '{}')"
            " ORDER BY v.source_id",
            category_id,
            scope,
        )
        return [vod for (record,) in rows if isinstance(vod := source_from("vod", record), Vod)]

    def unfinished_sources(self, category_id: str) -> set[tuple[SourceKind, str]]:
        """Sources of the category that a pass which is not done visits."""
        rows = self._database.rows(
            "SELECT v.kind, v.source_id FROM passes p JOIN visits v ON v.pass_id = p.id"
            " WHERE p.category_id = ? AND p.done = 0",
            category_id,
        )
        return {(kind, source_id) for kind, source_id in rows}

    def _insert_visit(self, category_id: str, visit: Visit, planned_at: datetime) -> None:
        source = visit.source
        retry = None if visit.retry is None else json.dumps(visit.retry)
        first_k = 0 if visit.part is None else visit.part.first_k
        self._database.execute(
            "INSERT INTO sources VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET record = json_set("
            "excluded.record, '$.created_at', json_extract(record, '$.created_at'))",  # its day must stay
            (category_id, source.kind, source.id, source.broadcaster_id, source_record(source)),
        )
        if visit.part is not None:
            self.plan_part(source, visit.part, planned_at)
        self._database.execute(
            "INSERT INTO visits VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(visit.pass_id, visit.broadcaster_hash, visit.source_hash),
                *(category_id, source.kind, source.id),
                *(visit.first_slot, visit.count, visit.round_size, visit.first_round, visit.last_round),
                retry,
                first_k,
            ),
        )
        self._database.execute(
            "UPDATE outcomes SET retry_at = NULL WHERE category_id = ? AND kind = ? AND source_id = ?"
            " AND retry_at IS NOT NULL"
            " AND (k IS NULL OR (?4 IS NULL AND k >= ?5) OR k IN (SELECT value FROM json_each(?4)))",
            (category_id, source.kind, source.id, retry, first_k),
        )

    def _last_rank(self, pass_id: int) -> Rank | None:
        rows = self._database.rows(
            "SELECT pass_id, round, broadcaster_hash, source_hash, place FROM outcomes WHERE pass_id = ?"
            " ORDER BY seq DESC LIMIT 1",
            pass_id,
        )
        return Rank(*rows[0]) if rows else None

    def _lost(self, pass_id: int) -> frozenset[tuple[SourceKind, str]]:
        rows = self._database.rows(
            "SELECT kind, source_id FROM outcomes INDEXED BY outcomes_lost"
            " WHERE pass_id = ? AND k IS NULL AND verdict = 'failed'",
            pass_id,
        )
        return frozenset((kind, source_id) for kind, source_id in rows)
