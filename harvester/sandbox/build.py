"""Builds a world from footage: who streamed it, when, under which titles, and what was clipped from it.

One session is a VOD of its channel. Junk sessions stand in front of the VODs of their channel, if it has any.
Each session also gives clips. All invention (ids, times, views, titles) is drawn from the seed and the name of
the thing itself, so adding footage does not change what was there.
"""

from __future__ import annotations

import hashlib
import itertools
import random
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from harvester.model import SplitName, VodType
from harvester.sandbox.delivery import PtsMode
from harvester.sandbox.footage import PACKAGE_INDEX, Session, read_index
from harvester.sandbox.world import (
    GOP_S,
    Channel,
    Clip,
    Container,
    Cutting,
    Game,
    Look,
    Piece,
    Video,
    World,
    split_of,
)

DEFAULT_NOW = datetime(2026, 11, 2, 3, 0, tzinfo=UTC)
DEFAULT_SEED = "harvester"

#: A category that exists and holds nothing, like many on Twitch; last in the list of top games.
EMPTY_GAME = Game("509658", "Just Chatting", "just-chatting")

#: Segments of package footage: one GOP each, so that a 24 s session has 12.
PACKAGE_SEGMENT_S = 2.0
#: Segments of footage from an index: two GOPs, a compromise between Twitch's 10 s and enough segments.
INDEX_SEGMENT_S = 4.0
#: Segments of a multiplied world: Twitch's own length.
ROLLING_SEGMENT_S = 10.0

#: Titles as streamers write them; some try to break terminals, pages and paths.
TITLES = (
    "any% practice",
    "chill evening, first playthrough 🎮✨",
    "\u202egnitset\u202c right to left \u200f\u05e9\u05dc\u05d5\u05dd",
    "</script><script>alert(1)</script>",
    "../../etc/passwd | CON | NUL",
    "ranked grind \x1b[31mRED\x1b[0m",
    "day 12 of the challenge " + "very " * 40 + "long",
    "第一次玩这个游戏",
    "quotes \" and ' and % {format} %s",
    "co-op with friends !discord",
)
LANGUAGES = ("en", "en", "de", "fr", "es", "ja")
_SPARE_SPLITS: tuple[SplitName, ...] = ("validation", "test", "train")


def default_world(
    *,
    seed: str = DEFAULT_SEED,
    now: datetime = DEFAULT_NOW,
    multiply: int = 1,
    stamped: bool = False,
    pts_mode: PtsMode = "rising",
    extra_games: Sequence[Game] = (),
) -> World:
    """The world of the footage inside the package: five games, ten channels, a VOD and two clips each.

    ``multiply`` > 1 gives every session that many looks (crop window, mirror, tint), each a VOD whose 10 s
    segments start one GOP of the footage after another; ``stamped`` draws the bar code of
    :mod:`harvester.sandbox.stamp` into every picture. Both need encodes, which the server makes once and keeps in
    its cache folder. ``extra_games``: categories without any source.
    """
    return world_from_index(
        PACKAGE_INDEX,
        seed=seed,
        now=now,
        multiply=multiply,
        stamped=stamped,
        pts_mode=pts_mode,
        segment_s=ROLLING_SEGMENT_S if multiply > 1 else PACKAGE_SEGMENT_S,
        extra_games=(EMPTY_GAME, *extra_games),
    )


def world_from_index(
    path: Path,
    *,
    seed: str = DEFAULT_SEED,
    now: datetime = DEFAULT_NOW,
    multiply: int = 1,
    stamped: bool = False,
    pts_mode: PtsMode = "rising",
    segment_s: float | None = None,
    extra_games: Sequence[Game] = (),
) -> World:
    """The world of the footage that ``path`` lists. Raises ConfigError for a bad index.

    ``segment_s``: least segment length; None = 4 s, or 10 s when multiplied.
    """
    builder = _Builder(
        sessions=read_index(path),
        seed=seed,
        now=now,
        multiply=multiply,
        stamped=stamped,
        cutting=Cutting(
            segment_s or (ROLLING_SEGMENT_S if multiply > 1 else INDEX_SEGMENT_S), rolling=multiply > 1
        ),
    )
    games, channels = builder.games(), builder.channels()
    videos = tuple(builder.videos(games, channels))
    return World(
        seed=seed,
        now=now,
        games=(*games.values(), *extra_games),
        channels=tuple(channels.values()),
        videos=videos,
        clips=tuple(clip for video in videos for clip in builder.clips(video)),
        pts_mode=pts_mode,
    )


@dataclass(frozen=True, slots=True)
class _Builder:
    """Invents a world around ``sessions``; everything is drawn from ``seed`` and the name of the thing."""

    sessions: tuple[Session, ...]
    seed: str
    now: datetime
    multiply: int
    stamped: bool
    cutting: Cutting

    def __post_init__(self) -> None:
        if self.multiply < 1:
            raise ValueError(f"multiply must be at least 1, got {self.multiply}")

    def games(self) -> dict[str, Game]:
        """The games played, by slug."""
        games: dict[str, Game] = {}
        for session in self._played():
            if session.game is not None and session.slug not in games:
                taken = {EMPTY_GAME.id, *(game.id for game in games.values())}
                number = self._digits(f"game:{session.slug}", range(10_000, 500_000), taken)
                rng = self._random("game", session.slug)
                igdb, viewers = str(rng.randrange(1000, 300_000)), rng.randrange(100, 50_000)
                games[session.slug] = Game(number, session.game, session.slug, igdb, viewers)
        return games

    def channels(self) -> dict[str, Channel]:
        """The channels that play, by name; an id is chosen so that it falls into the split meant for it."""
        channels: dict[str, Channel] = {}
        for name, split in _wanted_splits(self._played()).items():
            taken = {channel.id for channel in channels.values()}
            number = int(self._digits(f"channel:{name}", range(10_000_000, 900_000_000), taken))
            while split_of(str(number)) != split or str(number) in taken:
                number += 1
            login = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or f"channel_{number}"
            shown = "_".join(word.capitalize() for word in login.split("_"))
            channels[name] = Channel(str(number), login, shown)
        return channels

    def videos(self, games: dict[str, Game], channels: dict[str, Channel]) -> Iterator[Video]:
        """A VOD per session and look, junk of its channel in front."""
        taken: set[str] = set()
        for order, session in enumerate(self._played()):
            for look in range(self.multiply):
                key = f"{session.slug}/{session.name}/{look}"
                number = self._digits(f"video:{key}", range(2_300_000_000, 2_700_000_000), taken)
                taken.add(number)
                owner = channels[session.channel]
                yield self._video(session, games[session.slug], owner, number=number, order=order, look=look)

    def _video(
        self, session: Session, game: Game, channel: Channel, *, number: str, order: int, look: int
    ) -> Video:
        rng = self._random("video", number)
        kind = VodType.HIGHLIGHT if order % 5 == 3 else VodType.ARCHIVE
        stream_id = str(rng.randrange(318_000_000_000, 320_000_000_000))
        junk = (other for other in self.sessions if other.game is None and other.channel == session.channel)
        return Video(
            id=number,
            stream_id=stream_id if kind is VodType.ARCHIVE else None,
            channel=channel,
            game=game,
            pieces=tuple(self._piece(shown, game, look) for shown in (*junk, session)),
            cutting=self.cutting,
            container=_container(order),
            title=TITLES[(order + look) % len(TITLES)],
            created_at=self.now - timedelta(hours=rng.randrange(6, 20 * 24), seconds=rng.randrange(3600)),
            language=LANGUAGES[rng.randrange(len(LANGUAGES))],
            views=int(rng.paretovariate(0.8) * 10),
            type=kind,
            distribution="d" + "".join(rng.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=13)),
        )

    def _piece(self, session: Session, game: Game, look: int) -> Piece:
        chosen = look_of(self._random("look", session.slug, session.name, look)) if look else None
        number = self.sessions.index(session)
        return Piece(session, number, chosen, int(game.id) if self.stamped else None)

    def clips(self, video: Video) -> Iterator[Clip]:
        """Two clips of the video's gameplay, of 6 to 10 s, starting on keyframes."""
        piece = video.pieces[-1]
        junk_s = sum(other.session.seconds for other in video.pieces[:-1])
        for number in range(2):
            rng = self._random("clip", video.id, number)
            duration_s = min(rng.choice((6.0, 8.0, 10.0)), piece.session.seconds)
            starts = max(1, int((piece.session.seconds - duration_s) / GOP_S) + 1)
            start_s = rng.randrange(starts) * GOP_S
            linked = not video.cutting.rolling and rng.random() < 0.8
            offset_s = int(junk_s + start_s)
            yield Clip(
                id=_slug(rng),
                channel=video.channel,
                game=video.game,
                piece=piece,
                start_s=start_s,
                duration_s=duration_s,
                title=TITLES[rng.randrange(len(TITLES))],
                created_at=video.created_at + timedelta(seconds=offset_s + duration_s + rng.randrange(10, 300)),
                language=video.language,
                views=int(rng.paretovariate(0.9) * 3),
                creator=Channel(str(rng.randrange(900_000_000, 990_000_000)), "viewer", f"Viewer{number + 1}"),
                video_id=video.id if linked else "",
                vod_offset_s=offset_s if linked else None,
            )

    def _played(self) -> list[Session]:
        return [session for session in self.sessions if session.game is not None]

    def _random(self, *key: object) -> random.Random:
        return random.Random(":".join([self.seed, *map(str, key)]))

    def _digits(self, name: str, choice: range, taken: Collection[str]) -> str:
        """An id out of ``choice``, drawn from the name; the next free one if it is taken."""
        digest = hashlib.sha256(f"{self.seed}:{name}".encode()).digest()
        number = choice[int.from_bytes(digest[:8], "big") % len(choice)]
        while str(number) in taken:
            number += 1
        return str(number)


def _wanted_splits(played: Sequence[Session]) -> dict[str, SplitName]:
    """Split of each channel: the first of every game trains, the others take validation, test, train in turn.

    A channel whose session derives from another's shares its pictures, so it shares its split.
    """
    originals_first = sorted(played, key=lambda session: session.derived_from is not None)
    origin = {session.name: session.channel for session in originals_first if session.derived_from is None}
    firsts: dict[str, str] = {}
    for session in originals_first:
        firsts.setdefault(session.slug, session.channel)
    wanted: dict[str, SplitName] = dict.fromkeys(firsts.values(), "train")
    turns = itertools.cycle(_SPARE_SPLITS)
    for session in originals_first:
        if session.channel not in wanted:
            parent = origin.get(session.derived_from or "", "")
            wanted[session.channel] = wanted[parent] if parent in wanted else next(turns)
    return wanted


def _container(order: int) -> Container:
    """Every third VOD is fragmented MP4, as broadcasts with several encodes are; the rest MPEG-TS."""
    return "fmp4" if order % 3 == 2 else "ts"


def look_of(rng: random.Random) -> Look:
    scale = round(rng.uniform(0.70, 0.92), 3)
    left, top = round(rng.uniform(0, 1 - scale), 3), round(rng.uniform(0, 1 - scale), 3)
    tint = (rng.randrange(-10, 11), rng.randrange(-10, 11))
    return Look(min(left, 1 - scale), min(top, 1 - scale), scale, rng.random() < 0.5, tint)


def _slug(rng: random.Random) -> str:
    words = (
        rng.choice(("Brave", "Quiet", "Sunny", "Clever", "Spicy", "Gentle")),
        rng.choice(("Sandbox", "Copper", "Velvet", "Paper", "Amber", "Cobalt")),
        rng.choice(("Otter", "Lantern", "Comet", "Pickle", "Walrus", "Teapot")),
    )
    tail = "".join(rng.choices("ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789_-", k=14))
    return f"{''.join(words)}-{tail}"
