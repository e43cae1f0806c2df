"""Who may come in: allow and deny lists by id, and what was forgotten on request.

Asked twice of every source, when it is listed and when a target of it is to be opened: lists change between
nights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from harvester.config import Discover
from harvester.errors import UsageError
from harvester.model import Category, Clip, Source, Vod, VodType
from harvester.store.ledger import Ledger
from harvester.store.tombstones import Tombstones
from harvester.vision.fold import DENIED, FORGOTTEN, NOT_ALLOWED


@dataclass(frozen=True, slots=True)
class Admission:
    """``forgotten``: asked whether a tombstone covers a source."""

    discover: Discover
    forgotten: Callable[[Source], bool]

    def refusal(self, source: Source) -> str:
        """Why nothing of the source is taken; "" if it may be."""
        allowed = self.discover.allow_broadcasters
        if self.forgotten(source):
            return FORGOTTEN
        if source.broadcaster_id in self.discover.deny_broadcasters:
            return DENIED
        if source.category_id in self.discover.deny_categories:
            return DENIED
        return NOT_ALLOWED if allowed and source.broadcaster_id not in allowed else ""

    def unlinked(self, source: Source) -> Source:
        """The source; a clip of a VOD that was forgotten names it no more."""
        if not isinstance(source, Clip) or not (source.video_id or "").isdigit():
            return source
        cut_from = Vod(
            id=str(source.video_id),
            category_id=source.category_id,
            broadcaster_id=source.broadcaster_id,
            broadcaster=source.broadcaster,
            title="",
            created_at=source.created_at,
            duration_s=0,
            type=VodType.ARCHIVE,
            language=source.language,
            views=0,
        )
        return replace(source, video_id=None, vod_offset_s=None) if self.forgotten(cut_from) else source


def admitted(
    categories: Sequence[Category], discover: Discover, tombstones: Tombstones | None
) -> tuple[list[Category], list[str]]:
    """The categories that may be harvested, and a note on each of the others, by id alone.

    Raises UsageError if there were some, and none is left.
    """
    stays: list[Category] = []
    notes: list[str] = []
    for category in categories:
        if tombstones is not None and tombstones.covers_category(category.id):
            notes.append(f"category id:{category.id} was forgotten and stays out")
        elif category.id in discover.deny_categories:
            notes.append(f"category id:{category.id} is denied by [discover] deny_categories")
        else:
            stays.append(category)
    if notes and not stays:
        raise UsageError("; ".join(notes))
    return stays, notes


def kept_of_refused(ledger: Ledger, discover: Discover) -> str:
    """A note on frames that were kept before their broadcaster or category was refused; "" if there are none."""
    count = ledger.kept_of_others(
        discover.allow_broadcasters, discover.deny_broadcasters, discover.deny_categories
    )
    if not count:
        return ""
    frames = "1 frame" if count == 1 else f"{count} frames"
    what = "of broadcasters or categories that are refused now"
    return f"{frames} {what} stay from earlier runs: harvester forget takes them out"
