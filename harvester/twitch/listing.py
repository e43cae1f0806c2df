"""Reads a listing to its end: our filters, our limit, one record a source, and why it stopped."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any, TypeVar

from harvester.model import Clip, Vod
from harvester.ports import Listing, ListingScope
from harvester.twitch.paging import STOPS, Stopped
from harvester.twitch.records import UNREADABLE, is_wanted
from harvester.twitch.refusals import NothingThere

_log = logging.getLogger(__name__)

SourceT = TypeVar("SourceT", Vod, Clip)


async def list_sources(
    items: AsyncGenerator[Any, None], convert: Callable[[Any], SourceT], scope: ListingScope
) -> Listing[SourceT]:
    """The wanted sources of one query, in Helix's order, at most ``scope.limit``.

    ``items``: Helix items, None for unreadable ones, last a :class:`Stopped`. Unreadable ones are left out and
    counted in ``seen``; a category that Helix no longer knows (404) has no sources.
    """
    found: dict[str, SourceT] = {}
    stopped, seen, unreadable = "end" if scope.limit else "limit", 0, 0
    async with aclosing(items):
        try:
            while len(found) < scope.limit:
                item = await anext(items)
                if isinstance(item, Stopped):
                    stopped = item.reason
                    break
                seen += 1
                source = _readable(item, convert)
                if source is None:
                    unreadable += 1
                elif is_wanted(source, scope):
                    found.setdefault(source.id, source)
            else:
                stopped = "limit"
        except NothingThere:
            _log.info("Twitch knows nothing under the id asked for")
    if unreadable:
        _log.warning("%d of %d items of a listing could not be read and are left out", unreadable, seen)
    return Listing(tuple(found.values()), stopped, seen)


def merge_vods(parts: Sequence[Listing[Vod]], limit: int) -> Listing[Vod]:
    """One listing of several queries' results: newest first, each id once, at most ``limit``."""
    found = {vod.id: vod for part in parts for vod in part.sources}
    newest = sorted(found.values(), key=lambda vod: (vod.created_at, int(vod.id)), reverse=True)
    reasons = [part.stopped for part in parts] + (["limit"] if len(newest) > limit else [])
    stopped = min(reasons, key=STOPS.index, default="end")
    return Listing(tuple(newest[:limit]), stopped, sum(part.seen for part in parts))


def _readable(item: Any, convert: Callable[[Any], SourceT]) -> SourceT | None:
    try:
        return convert(item)
    except UNREADABLE:
        return None
