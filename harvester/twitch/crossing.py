"""Which video queries to ask when one ends at Helix's 500: crossed with what may narrow it. Pure.

Types and languages part a query: when none of its parts is full, everything is known. So they come first. Sorts
and periods only show other videos of the same query, so they come last, for parts that are still full, and prove
nothing: such a listing says that it stopped at the cap.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, ClassVar, Literal

from harvester.model import Vod, VodType
from harvester.ports import ListingScope
from harvester.twitch.paging import Read, worst

Sort = Literal["time", "trending", "views"]

#: Languages of broadcasts, the most spoken first; one that Helix does not take as a filter (400) is skipped.
LANGUAGES = (
    *("en", "es", "pt", "de", "fr", "ru", "ja", "ko", "zh", "it", "pl", "tr", "th", "cs", "ar", "nl", "sv", "hu"),
    *("uk", "fi", "da", "no", "el", "ro", "vi", "id", "sk", "bg", "ca", "ms", "tl", "hi", "other", "asl"),
)
#: Helix's periods, the longest first.
PERIODS = ("all", "month", "week", "day")
#: Most queries of one listing: the first, three types, every language of each, and sorts and periods of some.
MOST_QUERIES = 150


@dataclass(frozen=True, slots=True)
class VideoQuery:
    """One query of videos. ``essential``: asked for by the user as it is, so its failure is the listing's."""

    type: VodType | None
    language: str | None
    period: str
    sort: Sort = "time"
    since: datetime | None = None
    essential: bool = False

    most: ClassVar[int | None] = None

    def holds(self, vod: Vod) -> bool:
        """Whether the video is of the type and language asked for."""
        return self.type in (None, vod.type) and self.language in (None, vod.language)

    def is_full(self, read: Read) -> bool:
        """Whether there may be wanted videos that were not given: newest first, none follow one too old."""
        reached = self.since is not None and read.oldest is not None and read.oldest < self.since
        return read.stopped == "cap" and not reached


Parts = Iterable[VideoQuery]


class Crossing:
    """The queries of a listing: ask :meth:`next`, tell :meth:`told` what came, until there is none."""

    def __init__(self, scope: ListingScope) -> None:
        self._queue = deque(_wanted_queries(scope))
        self._full: list[VideoQuery] = []
        self._stages: list[Callable[[VideoQuery], Parts]] = [_by_type, self._by_language]
        self._languages: dict[str, None] = {}  # those seen, in that order
        self._asked = 0
        self._parting = True
        self._failed = 0
        self._reason = "end"

    @property
    def lost(self) -> int:
        """Queries that hold more than they gave."""
        return len(self._full) + self._failed

    @property
    def stopped(self) -> str:
        """Why listing stops here."""
        return worst(self._reason, "cap" if self._full else "end")

    def next(self) -> VideoQuery | None:
        """The next query worth asking."""
        while not self._queue and self._full and self._parting:
            self._cross()
        if not self._queue:
            return None
        if self._asked >= MOST_QUERIES:
            self._reason = worst(self._reason, "requests")
            return None
        self._asked += 1
        return self._queue.popleft()

    def told(self, query: VideoQuery, read: Read) -> None:
        """Take note of what ``query`` gave."""
        self._languages |= dict.fromkeys(read.languages)
        if read.failure is not None:
            self._failed += 1
            self._reason = worst(self._reason, read.stopped)
        elif self._parting:
            if query.is_full(read):
                self._full.append(query)
                if not (read.inside or query.essential):
                    self._give_up()
            elif read.stopped not in ("cap", "limit"):
                self._reason = worst(self._reason, read.stopped)

    def _give_up(self) -> None:
        """Filters mean nothing to this service: narrower questions will not help."""
        self._queue.clear()
        self._parting = False

    def _cross(self) -> None:
        """Queue the parts of full queries; at last, when nothing parts them, other sides of them."""
        full, self._full = self._full, []
        if not self._stages:
            self._full, self._parting = full, False
            self._queue.extend(side for query in full for side in _other_sides(query))
            return
        stage = self._stages.pop(0)
        for query in full:
            parts = list(stage(query))
            self._queue.extend(parts)
            self._full += [] if parts else [query]

    def _by_language(self, query: VideoQuery) -> Parts:
        known = dict.fromkeys([*self._languages, *LANGUAGES])
        return () if query.language else (_part(query, language=language) for language in known if language)


def _wanted_queries(scope: ListingScope) -> Parts:
    """One query per wanted language and type; all types are one."""
    every = set(scope.vod_types) == set(VodType)
    types = [None] if every else list(dict.fromkeys(scope.vod_types))
    for language in scope.languages or (None,):
        for type_ in types:
            yield VideoQuery(type_, language, scope.period, since=scope.since, essential=True)


def _by_type(query: VideoQuery) -> Parts:
    return () if query.type else (_part(query, type=type_) for type_ in VodType)


def _part(query: VideoQuery, **narrower: Any) -> VideoQuery:
    return replace(query, essential=False, **narrower)


def _other_sides(query: VideoQuery) -> Parts:
    """The most watched and the trending of the query, in its period and in every shorter one."""
    for period in PERIODS[PERIODS.index(query.period) :]:
        for sort in ("views", "trending"):
            yield _part(query, sort=sort, period=period)
