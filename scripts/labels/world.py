"""The benchmark's Twitch: who plays what when, which cards they show, what they tell Twitch of it.

Every broadcaster has one card before games, one for breaks, one way to talk and one overlay, a game of their own
and a second one, so that their cards recur over several sources and two categories. Their VODs in turn:

- plain: card, game, break, game, card; Twitch tells one game;
- mixed: card, own game, second game, with chapters; the category changes late;
- talk: card, game, a talk inside the game's time, game; Twitch tells one game;
- second: listed under the second game: a card, a talk in a chapter of Just Chatting, the game, a break.

One broadcaster in :data:`WRONG_EVERY` lists a whole VOD under the wrong game (the player is told the right one),
one in :data:`UNTOLD_EVERY` plays another game inside a plain VOD and tells nobody.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Literal, TypeVar

from harvester.model import Span, VodType
from harvester.sandbox.build import DEFAULT_NOW, EMPTY_GAME
from harvester.sandbox.footage import FootageFile, Session
from harvester.sandbox.world import GOP_S, Channel, Chapter, Clip, Cutting, Game, Piece, Video, World
from labels.cards import CARDS, TALKS, Design
from labels.drawing import HEIGHT, WIDTH
from labels.truth import Shown

Half = Literal["tuning", "reporting", "all"]
VodKind = Literal["plain", "mixed", "talk", "second"]
VOD_KINDS: tuple[VodKind, ...] = ("plain", "mixed", "talk", "second")

#: Segments of Twitch's own length (s): one picture heads each.
SEGMENT_S = 10.0
#: Broadcasters of each game. Four VODs each of forty targets make 3,200 judged frames of five games.
BROADCASTERS, QUICK_BROADCASTERS = 4, 1
#: Segments of a stretch, least and most. Nobody has published how long these are; guesses after watching some:
#: 3 to 6 minutes of countdown, 10 to 20 of a game, 2 to 4 of a break, 4 to 8 of a talk, 1 to 2 of farewell.
LENGTHS = {"idle": (18, 36), "gameplay": (60, 120), "break": (12, 24), "chat": (24, 48), "farewell": (6, 12)}
#: How late a category is changed (s). A guess, too: one in ten is later than the longest guard.
LATE_S = (0.0, 100.0)
#: Who lists a VOD under the wrong game, and who plays another game untold, for five minutes: in a VOD without
#: chapters; half as many numbers later in one whose chapters leave it out.
WRONG_EVERY, UNTOLD_EVERY, UNTOLD_SEGMENTS = 8, 16, 30
#: Segments of which a clip shows the first two seconds each. Of every other VOD one is cut from the middle of its
#: first game, and one from the middle of its break or talk.
CLIP_SEGMENTS, CLIPPED_EVERY = 5, 2
#: What is left out at both ends of a chapter or VOD: so many seconds, and no more than that share of it.
GUARD_S, GUARD_SHARE = 90.0, 0.05
_SEED = "labels"
_FIRST_VOD, _FIRST_CHANNEL, _FIRST_GAME = 2_450_000_000, 60_000_000, 610_001

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Scene:
    """A stretch to be drawn: what it shows, for how many segments, by whom (``skin``), where (``seed``)."""

    shown: Shown
    segments: int
    skin: str
    seed: str
    says: str = ""
    told: bool = field(default=True, repr=False)  # as a chapter, if there are any; it is drawn all the same

    @property
    def length_s(self) -> float:
        """How long it is shown (s)."""
        return self.segments * SEGMENT_S


@dataclass(frozen=True, slots=True)
class Broadcaster:
    """Somebody who streams: two games, a card before them, one for breaks, a way to talk."""

    number: int
    own: Game
    second: Game
    card: Design
    rest: Design
    talk: Design

    @property
    def channel(self) -> Channel:
        """As Twitch knows them."""
        name = f"streamer_{self.number}"
        return Channel(str(_FIRST_CHANNEL + self.number), name, name)


@dataclass(frozen=True, slots=True)
class Broadcast:
    """A VOD before it is drawn: its scenes, and what Twitch is told."""

    id: str
    by: Broadcaster
    listed: Game
    scenes: tuple[Scene, ...]
    chapters: tuple[Chapter, ...]
    told: Game | None
    age: timedelta

    @property
    def length_s(self) -> float:
        """How long it is (s)."""
        return sum(scene.length_s for scene in self.scenes)


def halved(things: Sequence[tuple[str, T]], half: Half) -> list[T]:
    """Every other one, in the order of seeded hashes of their names; the first goes to the reporting half."""
    ordered = sorted(things, key=lambda thing: hashlib.sha256(f"{_SEED}:{thing[0]}".encode()).digest())
    if half == "all":
        return [thing for _, thing in ordered]
    return [thing for _, thing in ordered[half == "tuning" :: 2]]


def designs(half: Half) -> tuple[list[Design], list[Design]]:
    """Cards of each kind of motion, and talks."""
    cards = []
    for motion in ("still", "ticking", "animated"):
        cards += halved([(card.name, card) for card in CARDS if card.motion == motion], half)
    return cards, halved([(talk.name, talk) for talk in TALKS], half)


def games_named(names: Sequence[str]) -> list[Game]:
    """A category for each name."""
    return [
        Game(str(_FIRST_GAME + number), name, name.lower().replace(" ", "-"), viewers=100 - number)
        for number, name in enumerate(sorted(names))
    ]


def cast_of(games: Sequence[Game], half: Half, each: int) -> list[Broadcaster]:
    """``each`` broadcasters of every game; every design is somebody's."""
    cards, talks = designs(half)
    cast = []
    for number in range(len(games) * each):
        own = number % len(games)
        second = (own + 1 + number // len(games) % (len(games) - 1)) % len(games)
        card, rest = cards[number % len(cards)], cards[(number + len(cards) // 2) % len(cards)]
        cast.append(Broadcaster(number, games[own], games[second], card, rest, talks[number % len(talks)]))
    return cast


def broadcasts_of(by: Broadcaster) -> list[Broadcast]:
    """Their VODs, on different days."""
    return [_Writer(by, number, kind).broadcast() for number, kind in enumerate(VOD_KINDS)]


class _Writer:
    """Writes the scenes of one VOD, by lot."""

    def __init__(self, by: Broadcaster, number: int, kind: VodKind) -> None:
        self._by, self._kind, self._number = by, kind, number
        self._id = str(_FIRST_VOD + 10 * by.number + number)
        self._rng = random.Random(f"{_SEED}:{self._id}")
        self._told: Game | None = None

    def broadcast(self) -> Broadcast:
        scenes = tuple(self._scenes())
        rng, by = self._rng, self._by
        chapters = tuple(self._chapters(scenes)) if self._kind in ("mixed", "second") else ()
        listed = by.second if self._kind == "second" else by.own
        age = timedelta(days=2 + 3 * self._number, minutes=rng.randrange(1000))
        return Broadcast(self._id, by, listed, scenes, chapters, self._told, age)

    def _scenes(self) -> Iterator[Scene]:
        by = self._by
        yield self._card("idle", "STARTING SOON")
        if self._kind == "mixed":
            yield from (self._game(by.own), self._game(by.second))
        elif self._kind == "second":
            yield from (self._talk(), self._game(by.second))
            if by.number % UNTOLD_EVERY == UNTOLD_EVERY // 2:
                yield self._untold(by.own)
            yield from (self._rest(), self._game(by.second))
        elif self._kind == "talk":
            yield from (self._game(by.own), self._talk(), self._game(by.own))
        else:
            yield from self._plain()
        yield self._card("farewell", "THANKS FOR WATCHING")

    def _plain(self) -> Iterator[Scene]:
        by = self._by
        shown = by.own
        if by.number % WRONG_EVERY == WRONG_EVERY - 1:
            shown = self._told = by.second
        yield self._game(shown)
        if by.number % UNTOLD_EVERY == 0:
            yield self._untold(by.second)
        yield from (self._rest(), self._game(shown))

    def _chapters(self, scenes: Sequence[Scene]) -> Iterator[Chapter]:
        """One for each run of scenes of a category, changed late; cards belong to what follows, at the end to what
        went before."""
        names: list[tuple[str, float]] = []
        at_s = 0.0
        for scene in scenes:
            told = scene.shown.game or (EMPTY_GAME.id if scene.shown.kind == "chat" else "")
            if scene.told and told and (not names or names[-1][0] != told):
                late_s = self._rng.uniform(*LATE_S) if names else 0.0
                names.append((told, at_s + late_s if names else 0.0))
            at_s += scene.length_s
        for (game, start_s), (_, end_s) in zip(names, [*names[1:], ("", at_s)], strict=True):
            yield Chapter(game, start_s, end_s - start_s)

    def _game(self, game: Game) -> Scene:
        return self._scene(Shown("gameplay", game.id), self._rng.randint(*LENGTHS["gameplay"]))

    def _untold(self, game: Game) -> Scene:
        return replace(self._scene(Shown("gameplay", game.id), UNTOLD_SEGMENTS), told=False)

    def _card(self, length: str, says: str) -> Scene:
        return self._scene(Shown("idle", design=self._by.card.name), self._rng.randint(*LENGTHS[length]), says)

    def _rest(self) -> Scene:
        shown = Shown("break", design=self._by.rest.name)
        return self._scene(shown, self._rng.randint(*LENGTHS["break"]), "BE RIGHT BACK")

    def _talk(self) -> Scene:
        shown = Shown("chat", design=self._by.talk.name)
        return self._scene(shown, self._rng.randint(*LENGTHS["chat"]), self._id)

    def _scene(self, shown: Shown, segments: int, says: str = "") -> Scene:
        skin = self._by.channel.login
        return Scene(shown, segments, skin, f"{self._id}:{self._rng.randrange(1 << 30)}", says)


def video_of(broadcast: Broadcast, files: Sequence[Path]) -> Video:
    """The VOD as the sandbox serves it. ``files``: its scenes, drawn; segment k begins with GOP k of a scene."""
    pieces = []
    for number, (scene, path) in enumerate(zip(broadcast.scenes, files, strict=True)):
        file = FootageFile(path, WIDTH, HEIGHT, path.stat().st_size)
        slug = broadcast.listed.slug
        session = Session(
            f"{broadcast.id}-{number}", broadcast.listed.name, slug, "", scene.segments * GOP_S, 1.0, (file,)
        )
        pieces.append(Piece(session, number))
    return Video(
        id=broadcast.id,
        stream_id=str(318_500_000_000 + int(broadcast.id) - _FIRST_VOD),
        channel=broadcast.by.channel,
        game=broadcast.listed,
        pieces=tuple(pieces),
        cutting=Cutting(SEGMENT_S, rolling=True),
        container="ts",
        title="benchmark",
        created_at=DEFAULT_NOW - broadcast.age,
        language="en",
        views=100,
        type=VodType.ARCHIVE,
        distribution="dlabels",
        chapters=broadcast.chapters,
        told_game=broadcast.told,
    )


def clips_of(broadcasts: Sequence[Broadcast], videos: Sequence[Video]) -> Iterator[tuple[Clip, int, int]]:
    """Clips of some VODs; of which scene (number) each is, and from which of its segments on."""
    for broadcast, video in list(zip(broadcasts, videos, strict=True))[::CLIPPED_EVERY]:
        kinds = [scene.shown.kind for scene in broadcast.scenes]
        played = kinds.index("gameplay")
        yield _clip(broadcast, video, played)
        yield from (_clip(broadcast, video, n) for n, kind in enumerate(kinds) if kind in ("break", "chat"))


def _clip(broadcast: Broadcast, video: Video, number: int) -> tuple[Clip, int, int]:
    """From the middle of a scene; its category is what the VOD is told to show, in a game the game."""
    scene, by = broadcast.scenes[number], broadcast.by
    first = scene.segments // 2
    start_s = sum(before.length_s for before in broadcast.scenes[:number]) + first * SEGMENT_S
    told = broadcast.told or broadcast.listed
    played = {game.id: game for game in (by.own, by.second)}.get(scene.shown.game, told)
    clip = Clip(
        id=f"Clip{broadcast.id}-{scene.shown.kind}",
        channel=by.channel,
        game=played,
        piece=video.pieces[number],
        start_s=first * GOP_S,
        duration_s=CLIP_SEGMENTS * GOP_S,
        title="benchmark",
        created_at=video.created_at + timedelta(seconds=start_s),
        language="en",
        views=10,
        creator=by.channel,
        video_id=broadcast.id,
        vod_offset_s=int(start_s),
    )
    return clip, number, first


def guards_of(broadcast: Broadcast) -> tuple[Span, ...]:
    """The guard bands of a VOD, where a label is not to be trusted: at both ends of each chapter that Twitch
    tells, and of a VOD without chapters."""
    told = [Span(chapter.start_s, chapter.start_s + chapter.length_s) for chapter in broadcast.chapters]
    bands = []
    for span in told or [Span(0.0, broadcast.length_s)]:
        guard_s = min(GUARD_S, GUARD_SHARE * span.length_s)
        bands += [Span(span.start_s, span.start_s + guard_s), Span(span.end_s - guard_s, span.end_s)]
    return tuple(bands)


def world_of(games: Sequence[Game], videos: Sequence[Video], clips: Sequence[Clip] = ()) -> World:
    """All of it."""
    channels = tuple(dict.fromkeys(video.channel for video in videos))
    return World(_SEED, DEFAULT_NOW, (*games, EMPTY_GAME), channels, tuple(videos), tuple(clips))
