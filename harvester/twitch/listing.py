"""Reads listings to their end: query after query, our filters, our limit, one record a source, and why it stopped.

Which queries there are is a plan's business (:mod:`~harvester.twitch.windows`, :mod:`~harvester.twitch.crossing`);
what they bring is gathered here. Of what is left out only ids are kept, so a listing's memory is bounded by its
limit and its requests.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

from harvester.errors import TryAgainLater
from harvester.model import Clip, Vod
from harvester.ports import Listing, ListingScope
from harvester.twitch.paging import Read, Stopped
from harvester.twitch.records import UNREADABLE, is_wanted
from harvester.twitch.refusals import NothingThere

#: Failures of one question that another question may not have; the rest (rate limit, refusal) are everybody's.
_OWN_FAILURES = ("unavailable", "bad-request")
#: Queries in a row that give nothing and do not say that this is all, after which none is asked any more.
MOST_BARREN = 3
#: The same of queries that give nothing new. A crowded window's halves, and VODs in another order, bring new
#: sources with nearly every question; a service that answers whatever it is asked with the same page must not be
#: asked thousands of times.
MOST_STALE = 12

_log = logging.getLogger(__name__)

SourceT = TypeVar("SourceT", Vod, Clip)
SourceT_contra = TypeVar("SourceT_contra", Vod, Clip, contravariant=True)


class Query(Protocol[SourceT_contra]):
    """One query of a plan."""

    @property
    def essential(self) -> bool:
        """True if the listing fails with it, and asks it even when it has found its limit elsewhere."""
        ...

    @property
    def most(self) -> int | None:
        """Items after which to read no further."""
        ...

    def holds(self, source: SourceT_contra) -> bool:
        """Whether such a source is what was asked for."""
        ...


QueryT = TypeVar("QueryT", bound=Query[Any])


class Plan(Protocol[QueryT]):
    """Which queries to ask, each after what the earlier ones brought; ``stopped`` and ``lost`` as in a Listing."""

    def next(self) -> QueryT | None:
        """The next query; None when there is none left."""
        ...

    def told(self, query: QueryT, read: Read) -> None:
        """What it brought."""
        ...

    @property
    def stopped(self) -> str: ...

    @property
    def lost(self) -> int: ...


async def list_planned(
    plan: Plan[QueryT], ask: Callable[[QueryT], AsyncGenerator[Any, None]], gathering: Gathering[SourceT]
) -> Listing[SourceT]:
    """What the plan's queries bring, newest first, until there are enough of them or none is left.

    Raises TryAgainLater when an essential query fails, or several at the very beginning.
    """
    barren = stale = 0
    stopped = "end"
    while gathering.limit and (query := plan.next()) is not None:
        if gathering.full and not query.essential:
            break
        read = await gathering.read(ask(query), query)
        barren = 0 if read.items or read.stopped == "end" else barren + 1
        if read.failure and (query.essential or (barren == MOST_BARREN and not gathering.seen)):
            raise read.failure
        plan.told(query, read)
        stale = 0 if read.fresh or read.stopped == "end" else stale + 1
        if barren == MOST_BARREN or stale == MOST_STALE:
            stopped = read.stopped if barren == MOST_BARREN else "no-new-ids"
            break
    gathering.warn()
    return gathering.listing(plan.stopped if stopped == "end" else stopped, plan.lost + (stopped != "end"))


class _ByIds:
    """A query that names its sources."""

    essential = True
    most = None

    def holds(self, _source: Vod | Clip) -> bool:
        """Whatever comes was asked for."""
        return True


async def list_one(items: AsyncGenerator[Any, None], gathering: Gathering[SourceT]) -> Listing[SourceT]:
    """What a single query by ids brings. Raises TryAgainLater."""
    read = await gathering.read(items, _ByIds())
    if read.failure is not None:
        raise read.failure
    return gathering.listing(read.stopped)


class Gathering(Generic[SourceT]):
    """What the queries of one listing have brought so far, each id once.

    ``convert``: Helix item to record; raises one of :data:`~harvester.twitch.records.UNREADABLE`.
    """

    def __init__(self, convert: Callable[[Any], SourceT], scope: ListingScope) -> None:
        self._convert: Callable[[Any], SourceT] = convert
        self._scope = scope
        self._found: dict[str, SourceT] = {}
        self._ids: set[str] = set()
        self._nameless = 0
        self._known: set[str] = set()
        self._unreadable = 0

    @property
    def limit(self) -> int:
        return self._scope.limit

    @property
    def full(self) -> bool:
        """True if as many sources as wanted are found."""
        return len(self._found) >= self.limit

    @property
    def seen(self) -> int:
        """Sources that were listed at all; without an id, every time."""
        return len(self._ids) + self._nameless

    async def read(self, items: AsyncGenerator[Any, None], query: Query[SourceT]) -> Read:
        """Read one query to its end, or until there is enough.

        ``items``: Helix items, None for unreadable ones, last a :class:`Stopped`. A category that Helix no longer
        knows (404) has no sources. Raises TryAgainLater for failures that are not this query's own.
        """
        read = Read()
        async with aclosing(items):
            try:
                async for item in items:
                    if isinstance(item, Stopped):
                        read.stopped = item.reason
                        break
                    self._take(item, query, read)
                    if reason := self._enough(query, read):
                        read.stopped = reason
                        break
            except NothingThere:
                _log.info("Twitch knows nothing under the id asked for")
            except TryAgainLater as error:
                if error.reason not in _OWN_FAILURES:
                    raise
                read.stopped, read.failure = "broken-off", error
        return read

    def listing(self, stopped: str = "end", lost: int = 0) -> Listing[SourceT]:
        """What was found, newest first; the limit is told before any other reason to stop."""
        newest = sorted(self._found.values(), key=_age, reverse=True)[: self.limit]
        stopped = "limit" if self.full else stopped
        cut = len(self._found) - len(newest)
        return Listing(tuple(newest), stopped, self.seen, len(self._known), lost, cut)

    def warn(self) -> None:
        """Say in the log what could not be read."""
        if self._unreadable:
            _log.warning(
                "%d of %d items of a listing could not be read and are left out", self._unreadable, self.seen
            )

    def _enough(self, query: Query[SourceT], read: Read) -> str:
        if read.wanted >= self.limit if query.essential else self.full:
            return "limit"
        return "more" if query.most is not None and read.items >= query.most else ""

    def _take(self, item: Any, query: Query[SourceT], read: Read) -> None:
        read.items += 1
        id_ = getattr(item, "id", None)
        new = self._is_new(id_)
        read.fresh += new and isinstance(id_, str)
        try:
            source = self._convert(item)
        except UNREADABLE:
            self._unreadable += new
            return
        read.inside += query.holds(source)
        read.oldest = min(read.oldest or source.created_at, source.created_at)
        read.languages[source.language] = None
        if is_wanted(source, self._scope):
            self._keep(source, read)

    def _keep(self, source: SourceT, read: Read) -> None:
        if source.id in self._scope.known:
            self._known.add(source.id)
        else:
            read.wanted += 1
            self._found.setdefault(source.id, source)

    def _is_new(self, id_: object) -> bool:
        if not isinstance(id_, str):
            self._nameless += 1
            return True
        new = id_ not in self._ids
        self._ids.add(id_)
        return new


def _age(source: Vod | Clip) -> tuple[datetime, int]:
    """Newest last; of the same moment, by number for VODs and as listed for clips."""
    return source.created_at, int(source.id) if isinstance(source, Vod) else 0
