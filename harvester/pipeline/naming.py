"""Which category labels a single source when the user names none: what Twitch itself says that it shows."""

from __future__ import annotations

from harvester.errors import TryAgainLater, UsageError
from harvester.model import Category, SourceKind, VideoDetails
from harvester.ports import Catalog, Details
from harvester.text import printable

_SAY_IT = "say which category its frames get by --category"


async def category_of_source(
    catalog: Catalog, details: Details | None, kind: SourceKind, source_id: str
) -> Category:
    """The category of a clip by Helix, of a VOD by GQL, as Helix spells it.

    Raises UsageError when it has none, or several; TryAgainLater when GQL does not answer; SourceError ``gone``.
    """
    if kind == "clip":
        return await catalog.clip_category(source_id)
    if details is None:
        raise UsageError(f"[discover] details is off, so nothing tells what a VOD shows: {_SAY_IT}")
    told = await details.of_vod(source_id, previews=False)
    if told is None:
        raise TryAgainLater(f"Twitch does not tell now what VOD {printable(source_id)} shows: {_SAY_IT}")
    return await catalog.find_category(f"id:{_only_category(told).id}")


def _only_category(told: VideoDetails) -> Category:
    shown = {chapter.category.id: chapter.category for chapter in told.chapters or () if chapter.category}
    if len(shown) > 1:
        names = ", ".join(f"{printable(category.name)!r} (id:{id_})" for id_, category in shown.items())
        raise UsageError(f"VOD {told.id} shows several categories, {names}: {_SAY_IT}")
    found = told.category or next(iter(shown.values()), None)
    if found is None or (shown and found.id not in shown):
        raise UsageError(f"Twitch names no single category for VOD {told.id}: {_SAY_IT}")
    return found
