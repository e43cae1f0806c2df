"""From Helix's items to our records, and which of them a listing wants.

Items are taken as twitchAPI built them; what Twitch left out is then a missing attribute. An item whose identity,
time or length cannot be read is refused with :class:`ValueError`; cosmetic fields have defaults.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Any

from harvester.model import Clip, Vod, VodType
from harvester.ports import ListingScope

#: Helix spells a video's length ``3h8m33s``: optional hours, minutes and seconds, no days, no fractions.
_DURATION = re.compile(r"(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,9})s)?", re.ASCII)

#: What building a record from an item of unknown shape may raise; OSError is how C refuses a time far off.
UNREADABLE = (AttributeError, TypeError, ValueError, OverflowError, OSError)


def parse_duration_s(text: str) -> float:
    """Seconds of a length such as ``3h8m33s`` or ``21s``. Raises :class:`ValueError` for anything else."""
    match = _DURATION.fullmatch(text)
    if match is None or not text:
        raise ValueError("not a duration")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return float(hours * 3600 + minutes * 60 + seconds)


def vod_of(video: Any, category_id: str) -> Vod:
    """The VOD of a Helix video item. Raises one of :data:`UNREADABLE`."""
    return Vod(
        id=video.id,
        category_id=category_id,
        broadcaster_id=video.user_id,
        broadcaster=getattr(video, "user_name", None) or getattr(video, "user_login", None) or "",
        title=getattr(video, "title", None) or "",
        created_at=_utc(video.created_at),
        duration_s=parse_duration_s(video.duration),
        type=VodType(video.type.value),
        language=getattr(video, "language", None) or "",
        views=getattr(video, "view_count", None) or 0,
    )


def clip_of(item: Any, category_id: str) -> Clip:
    """The clip of a Helix clip item. Raises one of :data:`UNREADABLE`; so does a clip of another category."""
    if item.game_id != category_id:
        raise ValueError("a clip of another category")
    duration_s = float(item.duration)
    if not math.isfinite(duration_s):
        raise ValueError("not a duration")
    offset = getattr(item, "vod_offset", None)
    return Clip(
        id=item.id,
        category_id=category_id,
        broadcaster_id=item.broadcaster_id,
        broadcaster=getattr(item, "broadcaster_name", None) or "",
        title=getattr(item, "title", None) or "",
        created_at=_utc(item.created_at),
        duration_s=duration_s,
        language=getattr(item, "language", None) or "",
        views=getattr(item, "view_count", None) or 0,
        video_id=getattr(item, "video_id", None) or None,
        vod_offset_s=None if offset is None or offset < 0 else float(offset),
    )


def is_wanted(source: Vod | Clip, scope: ListingScope) -> bool:
    """Our own filters, also for what Helix was asked to filter: a stand-in or an outage may ignore it."""
    languages = {language.lower() for language in scope.languages}
    return (
        (not languages or source.language.lower() in languages)
        and source.views >= scope.min_views
        and source.duration_s >= scope.min_duration_s
        and (scope.since is None or source.created_at >= scope.since)
        and (scope.until is None or source.created_at < scope.until)
        and (not isinstance(source, Vod) or source.type in scope.vod_types)
    )


def _utc(moment: Any) -> datetime:
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise ValueError("not a time with a zone")
    return moment.astimezone(UTC)
