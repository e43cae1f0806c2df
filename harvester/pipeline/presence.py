"""Are the sources of kept frames still public? One look; what two looks on different days say is retention's."""

from __future__ import annotations

from harvester.clock import Clock
from harvester.model import SourceKind
from harvester.pipeline.outside import OpenDataset
from harvester.ports import Catalog
from harvester.store.retention import kept_sources

#: The kinds of sources there are.
_KINDS: tuple[SourceKind, ...] = ("vod", "clip")


async def look_for(
    catalog: Catalog, opened: OpenDataset, clock: Clock, *, keep: bool
) -> set[tuple[SourceKind, str]]:
    """Ask Twitch for every source of a kept frame; those that are not public. ``keep``: note it in the ledger.

    Nothing is noted if an answer does not come. Raises CredentialsRefused, TryAgainLater.
    """
    asked = set(kept_sources(opened.dataset))
    absent: set[tuple[SourceKind, str]] = set()
    for kind in _KINDS:
        ids = sorted(source_id for its_kind, source_id in asked if its_kind == kind)
        public = await catalog.still_listed(kind, ids)
        absent |= {(kind, source_id) for source_id in ids if source_id not in public}
    if keep:
        opened.ledger.note_absences(asked, absent, clock.start)
    return absent
