"""When a source that does not open is gone for good: after two looks on different days, and never on one.

A missing token or playlist also means too fresh, private for an hour, or an outage. So ``gone`` is a candidate
first. On a later day the source is opened again; if that fails alike, Helix is asked for its id: what it leaves
out is gone, what it still lists is only unplayable and is tried again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from harvester.clock import Clock
from harvester.errors import SourceError, TargetError, TryAgainLater
from harvester.model import Category, Source
from harvester.ports import Catalog
from harvester.store.passes import Passes

GONE = "gone"
#: From the start of the run that found a source gone to that of the next look: "the next night", for a timer that
#: starts up to four hours earlier than the night before.
ANOTHER_DAY = timedelta(hours=20)


@dataclass(frozen=True, slots=True)
class SecondLook:
    """Judges failures to open. Days count from start to start of runs: how long a run takes decides nothing."""

    catalog: Catalog
    passes: Passes
    clock: Clock

    async def judge(self, source: Source, failure: TargetError) -> TargetError:
        """The failure itself, or what a second look makes of it; only ``gone`` for good is not retryable.

        Raises :class:`CredentialsRefused` if Helix refuses ours.
        """
        if failure.reason != GONE or not self._is_another_day(source):
            return failure
        try:
            listed = await self._is_listed(source)
        except TryAgainLater as trouble:
            return SourceError(f"{failure}; is it listed? {trouble}", reason="unavailable", retryable=True)
        if listed:
            return SourceError(f"{failure}; yet Twitch lists it", reason="unplayable", retryable=True)
        return SourceError(f"{failure}; nor does Twitch list it any more", reason=GONE)

    def _is_another_day(self, source: Source) -> bool:
        first = self.passes.gone_since(source.category_id, source.kind, source.id)
        return first is not None and self.clock.start - first >= ANOTHER_DAY

    async def _is_listed(self, source: Source) -> bool:
        """True if Helix knows the id, of whatever category it now is."""
        category = Category(source.category_id, source.category_id)  # a name would only be for the message
        try:
            await self.catalog.find_source(category, source.kind, source.id)
        except SourceError as error:
            return error.reason != GONE
        return True
