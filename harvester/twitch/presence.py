"""Which of many sources Helix still lists, a hundred ids a request."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any

from harvester.twitch.paging import PAGE, Stopped
from harvester.twitch.refusals import NothingThere


async def listed_among(ids: Sequence[str], ask: Callable[[list[str]], AsyncGenerator[Any, None]]) -> set[str]:
    """Those of ``ids`` that ``ask``, given some of them, finds. Raises TryAgainLater, CredentialsRefused."""
    found: set[str] = set()
    for first in range(0, len(ids), PAGE):
        some = list(ids[first : first + PAGE])
        found |= await _found(ask(some), some)
    return found & set(ids)


async def _found(items: AsyncGenerator[Any, None], asked: list[str]) -> set[str]:
    """Ids of the items; all that were asked for if one of them is unreadable: it may be any."""
    found: set[str] = set()
    async with aclosing(items):
        try:
            async for item in items:
                if item is None:
                    return set(asked)
                if not isinstance(item, Stopped):
                    found.add(str(item.id))
        except NothingThere:  # none of them
            pass
    return found
