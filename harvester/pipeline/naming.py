"""Which category is meant: by name or id, by a name it had, or by what Twitch says that a single source shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from harvester.errors import AMBIGUOUS, TryAgainLater, UnknownCategory, UsageError
from harvester.model import Category, SourceKind, VideoDetails
from harvester.ports import Catalog, Details
from harvester.text import printable

_SAY_IT = "say which category its frames get by --category"


@dataclass(frozen=True, slots=True)
class Memory:
    """What is known of names that Twitch knows no more. ``id_of``: of the category that had a name, None if none
    did; ``tell``: given a line on each category that was found so."""

    id_of: Callable[[str], str | None]
    tell: Callable[[str], None]


#: Nothing is known.
NO_MEMORY = Memory(lambda _: None, lambda _: None)


async def category_named(catalog: Catalog, query: str, memory: Memory) -> Category:
    """The category of that name or id; one that Twitch has renamed by a name it had before.

    A list of names in a configuration would else lose a category the night it is renamed. Raises UnknownCategory.
    """
    try:
        return await catalog.find_category(query)
    except UnknownCategory as error:
        name = query.removeprefix("name:").strip()
        by_name = error.reason != AMBIGUOUS and not query.startswith("id:")
        category_id = memory.id_of(name) if by_name else None
        if category_id is None:
            raise
    found = await catalog.find_category(f"id:{category_id}")
    now = f"{printable(name)!r} is named {printable(found.name)!r} on Twitch now"
    memory.tell(f"{now}: id:{found.id} means it whatever its name is")
    return found


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
