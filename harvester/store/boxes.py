"""What the ledger knows of the overlays of broadcasters (:mod:`harvester.store.overlays`)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from harvester.store.sightings import Sightings

#: Number of the last barrier before another (?1) at which sightings were looked at.
_LAST = "(SELECT coalesce(max(number), 0) FROM barriers WHERE cause = 'sightings' AND number < ?1)"


class Boxes(Sightings):
    """The part of the ledger that knows overlays: as JSON, or NULL where what they were found in is no longer
    enough."""

    def overlays(self) -> dict[str, str | None]:
        """Overlays by broadcaster id; none of those of whom too little was ever known."""
        return dict(self._database.rows("SELECT broadcaster_id, boxes FROM overlays"))

    def overlays_in_doubt(self, barrier: int, leaving: Iterable[int]) -> set[str]:
        """Broadcasters whose overlays may be others at this barrier although nothing new was seen: pictures have
        left since the last one, leave now (``leaving``, seq), or were forgotten."""
        rows = self._database.rows(
            "SELECT broadcaster_id FROM overlays WHERE boxes IS NULL OR broadcaster_id IN"
            " (SELECT broadcaster_id FROM outcomes WHERE seq IN (SELECT value FROM json_each(?2))"
            f" OR seq IN (SELECT seq FROM removals WHERE barrier > {_LAST}))",
            barrier,
            json.dumps(sorted(leaving)),
        )
        return {broadcaster_id for (broadcaster_id,) in rows}

    # -- inside a transaction -----------------------------------------------------------------------------

    def _note_overlays(self, found: Mapping[str, str | None]) -> None:
        """Enter overlays; None: too little is known. Who was always unknown stays so: after the ledger was lost,
        rows keep what they show."""
        known = [(broadcaster_id, boxes) for broadcaster_id, boxes in sorted(found.items()) if boxes is not None]
        self._database.executemany("INSERT OR REPLACE INTO overlays VALUES (?, ?)", known)
        unknown = [(broadcaster_id,) for broadcaster_id, boxes in sorted(found.items()) if boxes is None]
        self._database.executemany("UPDATE overlays SET boxes = NULL WHERE broadcaster_id = ?", unknown)
