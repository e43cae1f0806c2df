"""When a paged listing is over: Twitch's own word is not enough.

``/clips`` goes on for ever past about 1,000 results, giving old clips with ever new cursors, or the same cursor
again; ``/videos`` ends at 500. A client that follows the cursor until there is none never returns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from harvester.errors import TryAgainLater

#: Items a page: Helix's maximum.
PAGE = 100

#: Most items Twitch gives for one query: videos by game 500 (documented), clips 1,020 to 1,100 (seen), after which
#: they repeat; searches and the top list are only ever wanted in part.
CAPS = {"videos": 500, "clips": 1100, "games/top": 1000, "search/categories": 300, "games": 100}

#: Why a listing stopped, from the most to the least worth telling when several queries are merged.
STOPS = (
    *("limit", "requests", "cap", "broken-off"),
    *("repeated-cursor", "no-new-ids", "empty-page", "end"),
)


def worst(*reasons: str) -> str:
    """The reason most worth telling."""
    return min(reasons, key=STOPS.index)


@dataclass(slots=True)
class Read:
    """What reading one query brought.

    ``stopped``: one of :data:`STOPS`, or ``more`` where reading on was of no use. ``inside``: readable items that
    the query was meant for; ``fresh``: items with ids that no earlier query gave; ``oldest``: of all readable.
    ``failure``: why it broke off, if it did.
    """

    stopped: str = "end"
    items: int = 0
    wanted: int = 0
    inside: int = 0
    fresh: int = 0
    oldest: datetime | None = None
    languages: dict[str, None] = field(default_factory=dict)  # in the order seen
    failure: TryAgainLater | None = None

    @property
    def requests(self) -> int:
        """How many requests that took, about."""
        return self.items // PAGE + 1


@dataclass(frozen=True, slots=True)
class Stopped:
    """Last item of a listing: why it ends here (one of :data:`STOPS`)."""

    reason: str


class Paging:
    """Follows one query of :data:`PAGE` items a page; ``cursor`` is what to ask for next.

    A cap counts places, and pages may leave out what stands at one (a VOD made private since). So a query whose
    pages had gaps and reached up to the cap's place has ended there, with however many items.
    """

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._ids: set[str] = set()
        self._cursors: set[str] = set()
        self._seen = 0
        self._places = 0
        self._gaps = False
        self.cursor: str | None = None

    def take(self, page: Mapping[str, Any]) -> tuple[list[dict[str, Any]], Stopped | None]:
        """Entries of ``page`` that no earlier page gave, and why to stop after them (None = ask for the next).

        An entry without an id is passed on as it is: whoever reads it will refuse it.
        """
        data = page.get("data")
        entries = [entry if isinstance(entry, dict) else {} for entry in (data if isinstance(data, list) else [])]
        known = len(self._ids)
        fresh = [entry for entry in entries if self._is_new(entry.get("id"))][: self._cap - self._seen]
        self._seen += len(fresh)
        self._places += PAGE
        self.cursor = _cursor(page)
        self._gaps |= self.cursor is not None and len(entries) < PAGE
        return fresh, self._stop(bool(entries), len(self._ids) > known)

    def _stop(self, any_entry: bool, any_new: bool) -> Stopped | None:
        cursor = self.cursor
        if self._seen >= self._cap:
            return Stopped("cap")
        if cursor is None:
            return Stopped("cap" if self._gaps and self._places >= self._cap else "end")
        if not any_entry:
            return Stopped("empty-page")
        if not any_new:
            return Stopped("no-new-ids")
        if cursor in self._cursors:
            return Stopped("repeated-cursor")
        self._cursors.add(cursor)
        return None

    def _is_new(self, id_: object) -> bool:
        if not isinstance(id_, str):
            return True
        new = id_ not in self._ids
        self._ids.add(id_)
        return new


def _cursor(page: Mapping[str, Any]) -> str | None:
    pagination = page.get("pagination")
    cursor = pagination.get("cursor") if isinstance(pagination, dict) else None
    return cursor if isinstance(cursor, str) and cursor else None
