"""What was seen: the measured pictures of broadcasters, in the ledger, and the barriers that look at them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harvester.model import SourceKind
from harvester.sampling.labels import confidence
from harvester.store.passes import Passes
from harvester.store.records import labels_from

#: UTC day on which a source (s) of an outcome (o) was made; "" if that is unknown.
DAY = "coalesce(substr(json_extract(s.record, '$.created_at'), 1, 10), '')"
#: Joins that source.
WITH_SOURCE = "sources s ON s.category_id = o.category_id AND s.kind = o.kind AND s.id = o.source_id"

#: Rows with measurements read at a time: some 1.5 MB.
MEASURED_AT_ONCE = 256

#: Why frames leave at a barrier: what all sightings show, or how long a frame is kept.
SIGHTINGS, RETENTION = "sightings", "retention"


@dataclass(frozen=True, slots=True)
class Barrier:
    """A look at all sightings up to decision ``through``; those up to ``after`` were looked at before.

    ``cause``: :data:`SIGHTINGS`, or :data:`RETENTION`: no picture was looked at then.
    """

    number: int
    after: int
    through: int
    cause: str = SIGHTINGS


class Sighting(NamedTuple):
    """A measured picture of a broadcaster. ``source``: what was streamed at once, a clip's VOD if known; ``day``:
    when that was made (UTC date, "" if unknown); ``phash``: signed; ``offset_s``: from the start of the VOD, None
    in a clip; ``vod_s``: the same, also in a clip whose place in its VOD is told (to a second)."""

    seq: int
    kept: bool
    category_id: str
    source: str
    day: str
    phash: int
    offset_s: float | None
    vod_s: float | None


class Sightings(Passes):
    """The part of the ledger that knows what was seen."""

    def label_of(self, category_id: str) -> str:
        """What the images of a category are named after: several categories may share a label."""
        name = self._database.one(
            "SELECT file_name FROM outcomes WHERE category_id = ? AND verdict = 'kept' LIMIT 1", category_id
        )
        return category_id if name is None else str(name).partition("/")[0]

    def seen_categories(self) -> list[str]:
        """All categories of which anything was decided."""
        found, last = [], ""
        query = "SELECT min(category_id) FROM outcomes WHERE category_id > ?"
        while (category_id := self._database.one(query, last)) is not None:
            found.append(last := category_id)
        return found

    def broadcasters_seen(self, barrier: Barrier) -> list[str]:
        """Broadcasters with sightings that no earlier barrier knew."""
        rows = self._database.rows(
            "SELECT DISTINCT broadcaster_id FROM outcomes WHERE seq > ? AND seq <= ? AND phash IS NOT NULL"
            " ORDER BY broadcaster_id",
            barrier.after,
            barrier.through,
        )
        return [broadcaster_id for (broadcaster_id,) in rows]

    def sightings_of(self, broadcaster_id: str, through: int) -> list[Sighting]:
        """All sightings of a broadcaster, in an order that does not depend on when they were decided."""
        rows = self._database.rows(
            "SELECT o.seq, o.verdict = 'kept', o.category_id, coalesce(json_extract(s.record, '$.video_id'),"
            f" o.source_id), {DAY}, o.phash, CASE o.kind WHEN 'vod' THEN o.offset_s END,"
            " o.offset_s + CASE o.kind WHEN 'vod' THEN 0 ELSE json_extract(s.record, '$.vod_offset_s') END"
            f" FROM outcomes o LEFT JOIN {WITH_SOURCE} WHERE o.broadcaster_id = ? AND o.phash IS NOT NULL"
            " AND o.measurement IS NOT NULL AND o.seq <= ?"
            " ORDER BY o.category_id, o.kind, o.source_id, o.k, o.offset_s",
            broadcaster_id,
            through,
        )
        return [Sighting(seq, bool(kept), *rest) for seq, kept, *rest in rows]

    def measurements(self, seqs: Sequence[int]) -> Iterator[bytes]:
        """The packed measurements of these decisions, in this order."""
        for at in range(0, len(seqs), MEASURED_AT_ONCE):
            wanted = seqs[at : at + MEASURED_AT_ONCE]
            query = "SELECT seq, measurement FROM outcomes WHERE seq IN (SELECT value FROM json_each(?))"
            found = dict(self._database.rows(query, json.dumps(wanted)))
            yield from (found[seq] for seq in wanted)

    def hashes_elsewhere(
        self, categories: Sequence[str], broadcaster_id: str, through: int
    ) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """Hashes of all sightings of these categories at other broadcasters, and their decisions (seq)."""
        rows = self._database.rows(
            "SELECT phash, seq FROM outcomes INDEXED BY outcomes_of_category WHERE category_id IN"
            " (SELECT value FROM json_each(?)) AND phash IS NOT NULL AND broadcaster_id <> ? AND seq <= ?",
            json.dumps(list(categories)),
            broadcaster_id,
            through,
        )
        hashes, seqs = np.array(rows, np.int64).reshape(-1, 2).T
        return hashes.copy().view(np.uint64), seqs

    def broadcaster_of(self, seq: int) -> str:
        """Broadcaster (id) of a decision."""
        return str(self._database.one("SELECT broadcaster_id FROM outcomes WHERE seq = ?", seq))

    def confidence_of(self, seq: int) -> float:
        """How sure the label of a decision is; of one that nothing is known of, as sure as a listing."""
        row = self._database.rows(
            "SELECT category_id, kind, source_id, k, offset_s FROM outcomes WHERE seq = ?", seq
        )[0]
        category_id, kind, source_id, k, offset_s = row
        spans = self._spans(category_id, kind, source_id, k or 0)
        sure = [span.label.confidence for span in spans if span.span.start_s <= offset_s <= span.span.end_s]
        return max(sure, default=confidence(["listing"]))

    def _spans(self, category_id: str, kind: SourceKind, source_id: str, k: int) -> tuple[Any, ...]:
        labels = self._database.one(
            "SELECT labels FROM parts WHERE category_id = ? AND kind = ? AND source_id = ? AND first_k <= ?"
            " ORDER BY first_k DESC LIMIT 1",
            category_id,
            kind,
            source_id,
            k,
        )
        return () if labels is None else labels_from(category_id, labels)
