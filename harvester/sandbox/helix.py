"""Helix, Twitch's official API, over a world: query in, answer out. No sockets here.

Shapes and limits follow Twitch's reference; how its listings misbehave is :class:`ListingQuirks`. Unverified on
Twitch itself: whether ``after`` works together with ``game_id`` on ``/videos`` (here it does), and how exactly
window edges of ``/clips`` are rounded (here to ten minutes, outwards).
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from harvester.model import VodType
from harvester.sandbox.quirks import ListingQuirks
from harvester.sandbox.world import Clip, Game, Video, World, whole_minutes

#: ``/videos?game_id=`` ends here, however many there are.
VIDEO_CAP = 500
#: Wider windows of ``/clips`` may lose some (``wide_loss``).
WIDE = timedelta(days=1)
_PERIODS = {"all": None, "day": timedelta(days=1), "week": timedelta(days=7), "month": timedelta(days=30)}

Answer = dict[str, Any]
ItemT = TypeVar("ItemT")

if TYPE_CHECKING:
    from multidict import MultiMapping

    Query = MultiMapping[str]  # a parsed query string, in which a key may stand several times


class HelixError(Exception):
    """An answer that is an error: HTTP status and message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def games(world: World, query: Query, origin: str) -> Answer:
    """``GET /games``: by id, exact name or IGDB id; unknown ones are left out."""
    ids, names, igdb = (query.getall(key, []) for key in ("id", "name", "igdb_id"))
    if not 1 <= len(ids) + len(names) + len(igdb) <= 100:
        raise HelixError(400, "between 1 and 100 id, name and igdb_id parameters are needed")
    by_name = {game.name: game for game in reversed(world.games)}  # of two with one name, one comes back
    wanted = {by_name[name].id for name in names if name in by_name} | set(ids)
    found = [game for game in world.games if game.id in wanted or (game.igdb_id and game.igdb_id in igdb)]
    return {"data": [_game(game, origin) for game in found]}


def top_games(world: World, query: Query, origin: str) -> Answer:
    """``GET /games/top``: by current viewers."""
    ranked = sorted(world.games, key=lambda game: (-game.viewers, game.id))
    return _page(ranked, query, lambda game: _game(game, origin))


def search_categories(world: World, query: Query, origin: str) -> Answer:
    """``GET /search/categories``: every word must occur in the name, case ignored."""
    words = query.get("query", "").casefold().split()
    if not words:
        raise HelixError(400, 'The parameter "query" is required')
    found = [game for game in world.games if all(word in game.name.casefold() for word in words)]
    return _page(found, query, lambda game: {k: v for k, v in _game(game, origin).items() if k != "igdb_id"})


def videos(world: World, query: Query, origin: str) -> Answer:
    """``GET /videos``: by ids, by channel or by game; at most 500 of a game."""
    kind = _one_of(query, ("id", "user_id", "game_id"))
    if kind == "id":
        ids = query.getall("id", [])
        found = [video for video in map(world.video, ids[:100]) if video]
        if not found:
            raise HelixError(404, "videos not found")
        return {"data": [_video(world, video, origin) for video in found], "pagination": {}}
    value = query.get(kind, "")
    game_id = value if kind == "game_id" else None
    listed = game_id is None or _listed(world, game_id)
    found = _sorted(world.find_videos(_video_filter(world, query, kind, value), game_id), query) if listed else []
    return _page(found[:VIDEO_CAP], query, lambda video: _video(world, video, origin), most=world.quirks.page)


def clips(world: World, query: Query, origin: str) -> Answer:
    """``GET /clips``: by ids, by channel or by game, in a window of ``created_at``; most views first."""
    kind = _one_of(query, ("id", "broadcaster_id", "game_id"))
    if kind == "id":
        found = [clip for clip in map(world.clip, query.getall("id", [])[:100]) if clip]
        return {"data": [_clip(clip, origin) for clip in found], "pagination": {}}
    value = query.get(kind, "")
    game_id = value if kind == "game_id" else None
    listed = game_id is None or _listed(world, game_id)
    if query.get("before"):
        raise HelixError(400, "cursor is not valid")
    quirks = world.quirks
    since, until = _window(query)
    wide = since is None or until - since > WIDE
    since = since and since - quirks.leak

    def wanted(clip: Clip) -> bool:
        owner = clip.game.id if kind == "game_id" else clip.channel.id
        return owner == value and (since is None or since <= clip.created_at) and clip.created_at < until

    found = world.find_clips(wanted, game_id) if listed else []
    if quirks.wide_loss and len(found) > 100 and wide:
        found = [clip for number, clip in enumerate(found) if number % 3 != 2]
    return _clip_page(found, query, quirks, lambda clip: _clip(clip, origin))


def streams(world: World, query: Query, _origin: str) -> Answer:
    """``GET /streams``: the broadcasts that go on now, of everyone or of the users and games asked for."""
    users, games_asked = query.getall("user_id", []), query.getall("game_id", [])

    def wanted(video: Video) -> bool:
        asked = (not users or video.channel.id in users) and (not games_asked or video.game.id in games_asked)
        return asked and not world.ended(video)

    return _page(world.find_videos(wanted), query, _stream)


ENDPOINTS: Mapping[str, Callable[[World, Query, str], Answer]] = {
    "games": games,
    "games/top": top_games,
    "search/categories": search_categories,
    "videos": videos,
    "clips": clips,
    "streams": streams,
}


def _one_of(query: Query, kinds: Sequence[str]) -> str:
    given = [kind for kind in kinds if query.getall(kind, [])]
    if len(given) != 1:
        raise HelixError(400, f"exactly one of {', '.join(kinds)} is needed")
    return given[0]


def _listed(world: World, game_id: str) -> bool:
    """True if listings of the game tell what there is. Raises HelixError for an unknown one."""
    game = next((game for game in world.games if game.id == game_id), None)
    if game is None:
        raise HelixError(404, "game not found")
    return game.listed_at(world.now)


def _video_filter(world: World, query: Query, kind: str, value: str) -> Callable[[Video], bool]:
    period, wanted_type, language = query.get("period", "all"), query.get("type", "all"), query.get("language", "")
    if period not in _PERIODS or query.get("sort", "time") not in ("time", "trending", "views"):
        raise HelixError(400, 'The parameter "period" or "sort" has no such value')
    if wanted_type not in ("all", *VodType):
        raise HelixError(400, 'The parameter "type" has no such value')
    age = _PERIODS[period]
    since = world.now - age if age else datetime.min.replace(tzinfo=UTC)

    def wanted(video: Video) -> bool:
        owner = video.game.id if kind == "game_id" else video.channel.id
        fits = wanted_type in ("all", video.type) and language in ("", video.language)
        return owner == value and fits and video.created_at >= since

    return wanted


def _sorted(found: list[Video], query: Query) -> list[Video]:
    if query.get("sort", "time") == "time":
        return found
    return sorted(found, key=lambda video: (-video.views, video.id))


def _window(query: Query) -> tuple[datetime | None, datetime]:
    """Half-open window of ``created_at``; only a start given means seven days, as on Twitch."""
    since, until = (_moment(query.get(key, "")) for key in ("started_at", "ended_at"))
    if since is None:
        return None, until or datetime.max.replace(tzinfo=UTC)
    until = until or since + timedelta(days=7)
    return _ten_minutes(since), _ten_minutes(until + timedelta(minutes=10) - timedelta(microseconds=1))


def _ten_minutes(moment: datetime) -> datetime:
    return whole_minutes(moment) - timedelta(minutes=moment.minute % 10)


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise HelixError(400, "the date is not RFC 3339") from None
    if moment.tzinfo is None or not 1970 <= moment.year < 9999:
        raise HelixError(400, "the date is not RFC 3339")
    return moment.astimezone(UTC)


def _clip_page(found: list[Clip], query: Query, quirks: ListingQuirks, shape: Callable[[Clip], Answer]) -> Answer:
    """A page of clips; of more than the cap there is no end, but what ``quirks.beyond`` says."""
    given, start = found[: quirks.clip_cap], _offset(query.get("after", ""))
    if len(found) <= quirks.clip_cap or quirks.beyond == "end":
        return _page(given, query, shape, most=quirks.page)
    end = start + min(_first(query), quirks.page)
    if start < len(given):
        return {"data": [shape(clip) for clip in given[start:end]], "pagination": {"cursor": cursor(end)}}
    if quirks.beyond == "error":
        raise HelixError(500, "")
    if quirks.beyond == "empty":
        return {"data": [], "pagination": {"cursor": cursor(end)}}
    again = start % len(given) if quirks.beyond == "repeat" else 0
    after = cursor(end) if quirks.beyond == "repeat" else query.get("after", "")
    return {"data": [shape(clip) for clip in given[again : again + end - start]], "pagination": {"cursor": after}}


def _first(query: Query) -> int:
    first = query.get("first", "20")
    if not (first.isascii() and first.isdigit() and 1 <= int(first) <= 100):
        raise HelixError(400, 'The parameter "first" must be between 1 and 100')
    return int(first)


def _page(items: Sequence[ItemT], query: Query, shape: Callable[[ItemT], Answer], *, most: int = 100) -> Answer:
    first, start = _first(query), _offset(query.get("after", ""))
    end = start + min(first, most)
    pagination = {"cursor": cursor(end)} if end < len(items) else {}
    return {"data": [shape(item) for item in items[start:end]], "pagination": pagination}


def cursor(offset: int) -> str:
    """A cursor as Twitch's are made: base64 JSON around a base64 decimal offset."""
    inner = base64.b64encode(str(offset).encode()).decode()
    return base64.b64encode(json.dumps({"b": None, "a": {"Cursor": inner}}).encode()).decode()


def _offset(text: str) -> int:
    if not text:
        return 0
    try:
        offset = int(base64.b64decode(json.loads(base64.b64decode(text))["a"]["Cursor"]))
    except (ValueError, KeyError, TypeError, binascii.Error):
        raise HelixError(400, "cursor is not valid") from None
    if offset < 0:
        raise HelixError(400, "cursor is not valid")
    return offset


def _game(game: Game, origin: str) -> Answer:
    art = f"{origin}/art/{game.id}-{{width}}x{{height}}.jpg"
    return {"id": game.id, "name": game.name, "box_art_url": art, "igdb_id": game.igdb_id}


def _video(world: World, video: Video, origin: str) -> Answer:
    return {
        "id": video.id,
        "stream_id": video.stream_id,
        "user_id": video.channel.id,
        "user_login": video.channel.login,
        "user_name": video.channel.name,
        "title": video.title,
        "description": "",
        "created_at": iso(video.created_at),
        "published_at": iso(video.created_at),
        "url": f"https://www.twitch.tv/videos/{video.id}",
        "thumbnail_url": f"{origin}/thumb/{video.id}-%{{width}}x%{{height}}.jpg",
        "viewable": "public",
        "view_count": video.views,
        "language": video.language,
        "type": video.type.value,
        "duration": duration_text(world.listed_s(video)),
        "muted_segments": _muted(video),
    }


def _stream(video: Video) -> Answer:
    return {
        "id": video.stream_id,
        "user_id": video.channel.id,
        "user_login": video.channel.login,
        "user_name": video.channel.name,
        "game_id": video.game.id,
        "game_name": video.game.name,
        "type": "live",
        "title": video.title,
        "viewer_count": video.views,
        "started_at": iso(video.created_at),
        "language": video.language,
    }


def _muted(video: Video) -> list[Answer] | None:
    if video.muted_s is None:
        return None
    start_s, length_s = map(round, video.muted_s)
    return [{"duration": length_s, "offset": start_s}]


def _clip(clip: Clip, origin: str) -> Answer:
    return {
        "id": clip.id,
        "url": f"https://clips.twitch.tv/{clip.id}",
        "embed_url": f"https://clips.twitch.tv/embed?clip={clip.id}",
        "broadcaster_id": clip.channel.id,
        "broadcaster_name": clip.channel.name,
        "creator_id": clip.creator.id,
        "creator_name": clip.creator.name,
        "video_id": clip.video_id,
        "game_id": clip.game.id,
        "language": clip.language,
        "title": clip.title,
        "view_count": clip.views,
        "created_at": iso(clip.created_at),
        "thumbnail_url": f"{origin}/thumb/clip.jpg",
        "duration": round(clip.duration_s, 1),
        "vod_offset": clip.vod_offset_s,
        "is_featured": False,
    }


def iso(moment: datetime) -> str:
    """``2026-11-01T18:03:11Z``."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def duration_text(seconds: float) -> str:
    """``3h8m33s``, ``3m21s``, ``45s``: whole seconds, no empty leading parts."""
    hours, rest = divmod(int(seconds), 3600)
    minutes, left = divmod(rest, 60)
    head = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{head}{left}s"
