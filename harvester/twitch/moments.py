"""Answers about a VOD, as the web player gets them from GQL, to checked records. Pure; nothing in them is trusted.

Twitch marks chapters by moments of type GAME_CHANGE: where one begins, how long it lasts, which category is set.
What they are known or expected to do wrong, and what is made of it:

- a duration that is negative, or zero before the last one: that stretch is left out, nobody knows where it ends;
- zero for the last one of a VOD that still grows: it lasts to the end, if the length of the VOD is known;
- overlaps: a chapter ends where the next one begins, for it is the beginning that Twitch records;
- no category (unset): a chapter without one, which is no evidence for any game;
- a first chapter that does not begin at 0, and gaps: nothing is known of what is not covered;
- more than Twitch sent in one page: what comes after the last one sent stays uncovered.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harvester.model import Category, Chapter, Span
from harvester.text import printable

#: Positions and lengths beyond this are nonsense (s): the longest VODs have 48 h, uploads perhaps days.
MAX_LENGTH_S = 1e7

#: The kind of moment that chapters are made of.
_GAME_CHANGE = "GAME_CHANGE"


def video_of(document: object, video_id: str) -> Mapping[str, Any] | None:
    """``data.video`` of an answer; None where Twitch says that there is no such video.

    Raises :class:`ValueError` for any other shape, also for an answer about another video.
    """
    data = _object(document).get("data")
    if not isinstance(data, dict) or "video" not in data:
        raise ValueError("no data.video")
    video = data["video"]
    if video is None:
        return None
    if not isinstance(video, dict) or video.get("id", video_id) != video_id:
        raise ValueError("not the video that was asked for")
    return video


def metadata_of(video: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of :class:`VideoDetails` that VideoMetadata tells; what is missing or odd is left out."""
    owner = _object(video.get("owner"))
    told = {
        "category": category_of(video.get("game")),
        "length_s": _seconds(video.get("lengthSeconds"), 1) or None,
        "broadcast_type": _text(video.get("broadcastType")),
        "owner_login": _text(owner.get("login")),
        "owner_name": _text(owner.get("displayName")),
    }
    return {name: value for name, value in told.items() if value is not None and value != ""}


def storyboard_url_of(video: Mapping[str, Any]) -> str | None:
    """URL of the storyboard file; None for fresh VODs. Whether it may be asked is for the transport to say."""
    url = video.get("seekPreviewsURL")
    return url if isinstance(url, str) and url else None


def category_of(game: object) -> Category | None:
    """The category of a ``game`` object; None if it is unset or has no usable id."""
    fields = _object(game)
    name = _text(fields.get("displayName")) or _text(fields.get("name"))
    id_ = fields.get("id")
    try:
        return Category(id_, name or id_) if isinstance(id_, str) else None
    except ValueError:
        return None


def chapters_of(video: Mapping[str, Any], length_s: float | None) -> tuple[Chapter, ...] | None:
    """The chapters of a video ``length_s`` long (None = unknown), in order, without overlap; () if it has none.

    None when there is no list of moments, or nothing in it can be read: then it is not told which there are.
    """
    moments = _object(video.get("moments"))
    edges = moments.get("edges")
    if not isinstance(edges, list):
        return None
    marks = sorted(mark for edge in edges if (mark := _mark(_object(edge).get("node"))) is not None)
    whole = not _object(moments.get("pageInfo")).get("hasNextPage")
    chapters = tuple(_chapters(marks, _length_s(edges, length_s), whole=whole))
    return chapters if chapters or not edges else None


@dataclass(frozen=True, slots=True, order=True)
class _Mark:
    """One GAME_CHANGE; ordered by place, so that the order of the answer does not matter."""

    start_s: float
    duration_s: float
    game: tuple[str, str] = ("", "")  # id and name; ids are digits, so "" is none


def _mark(node: object) -> _Mark | None:
    """A moment; one without a readable duration still tells where the chapter before it ends."""
    fields = _object(node)
    start_s = _seconds(fields.get("positionMilliseconds"), 1000)
    if start_s is None or fields.get("type", _GAME_CHANGE) != _GAME_CHANGE:
        return None
    duration_s = _seconds(fields.get("durationMilliseconds"), 1000)
    category = category_of(_object(fields.get("details")).get("game"))
    game = (category.id, category.name) if category else ("", "")
    return _Mark(start_s, -1.0 if duration_s is None else duration_s, game)


def _chapters(marks: Sequence[_Mark], length_s: float | None, *, whole: bool) -> Iterator[Chapter]:
    for number, mark in enumerate(marks):
        last = number + 1 == len(marks)
        limit_s = MAX_LENGTH_S if length_s is None else length_s
        if not last:
            limit_s = min(limit_s, marks[number + 1].start_s)
        end_s = mark.start_s + mark.duration_s
        if last and whole and mark.duration_s == 0:
            end_s = length_s or 0.0
        end_s = min(end_s, limit_s)
        if end_s > mark.start_s:
            yield Chapter(Span(mark.start_s, end_s), Category(*mark.game) if mark.game[0] else None)


def _length_s(edges: Sequence[object], length_s: float | None) -> float | None:
    """The length of the VOD: as VideoMetadata told, else as the moments tell, each of which names it."""
    if length_s is not None:
        return length_s
    videos = (_object(_object(_object(edge).get("node")).get("video")) for edge in edges)
    told = [_seconds(video.get("lengthSeconds"), 1) for video in videos]
    return max((length for length in told if length), default=None)


def _seconds(value: object, per_s: int) -> float | None:
    """``value``, of which ``per_s`` are a second, in seconds; None unless it lies in 0..:data:`MAX_LENGTH_S`."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return value / per_s if 0 <= value <= MAX_LENGTH_S * per_s else None


def _text(value: object) -> str:
    return printable(value) if isinstance(value, str) else ""


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
