"""Worlds with more sources than Helix lists at once, made of the package's footage: nothing is encoded for them.

:func:`crowd_world` is the default world with two games more: one with 1,500 clips within a day, one with 700
videos of all types and many languages. :func:`many_games` is a world of many games with a few sources each.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from harvester.model import VodType
from harvester.sandbox.build import DEFAULT_NOW, default_world
from harvester.sandbox.quirks import ListingQuirks
from harvester.sandbox.world import Clip, Game, Video, World

#: The two crowded games.
CLIPPED = Game("650001", "Crowded Clips", "crowded-clips", "650001", 90_000)
STREAMED = Game("650002", "Crowded Videos", "crowded-videos", "650002", 80_000)
#: All that Twitch has been seen to do at once.
NASTY = ListingQuirks(beyond="repeat", leak=timedelta(minutes=9), wide_loss=True)

_LANGUAGES = ("en",) * 8 + ("es", "pt", "de", "fr", "ru", "ja", "ko", "zh", "it", "pl", "tr", "other")
_TYPES = (VodType.ARCHIVE,) * 6 + (VodType.HIGHLIGHT,) * 3 + (VodType.UPLOAD,)
#: Length of a crowded game's history (videos) and of its busiest stretch (clips).
_HISTORY_S, _BUSY_S = 60 * 86_400, 2 * 3600


def crowd_world(
    *,
    seed: str = "crowd",
    now: datetime = DEFAULT_NOW,
    clips: int = 1500,
    videos: int = 700,
    quirks: ListingQuirks = NASTY,
) -> World:
    """The default world and a game with ``clips`` within one day, half of them in two hours of it, and one with
    ``videos`` over two months."""
    world = with_crowd_of_clips(default_world(now=now), seed=seed, clips=clips, quirks=quirks)
    return with_crowd_of_videos(world, seed=seed, videos=videos)


def with_crowd_of_clips(
    world: World, *, seed: str = "crowd", clips: int = 1500, quirks: ListingQuirks = NASTY
) -> World:
    """``world`` and the crowd of clips; its listings are as odd as Twitch's of so many."""
    rng = random.Random(f"{seed}:clips")
    day_s = [rng.randrange(86_400) if n % 2 else 30_000 + rng.randrange(_BUSY_S) for n in range(clips)]
    crowd = tuple(another_clip(world, CLIPPED, n, 7200 + age_s, rng) for n, age_s in enumerate(day_s))
    return replace(world, games=(*world.games, CLIPPED), clips=(*world.clips, *crowd), quirks=quirks)


def with_crowd_of_videos(world: World, *, seed: str = "crowd", videos: int = 700) -> World:
    """``world`` and the crowd of videos."""
    rng = random.Random(f"{seed}:videos")
    crowd = tuple(another_video(world, STREAMED, n, 7200 + rng.randrange(_HISTORY_S), rng) for n in range(videos))
    return replace(world, games=(*world.games, STREAMED), videos=(*world.videos, *crowd))


def many_games(
    games: int,
    *,
    clips: int = 1,
    videos: int = 0,
    seed: str = "many",
    now: datetime = DEFAULT_NOW,
    quirks: ListingQuirks | None = None,
) -> World:
    """A world of ``games`` games with so many clips and videos each, over the last day; most viewers first."""
    base = default_world(now=now)
    made = tuple(
        Game(str(700_000 + n), f"Game {n:04}", f"game-{n:04}", str(n + 1), games - n) for n in range(games)
    )
    rng = random.Random(seed)
    return replace(
        base,
        games=made,
        clips=tuple(_spread(base, made, clips, rng)),
        videos=tuple(
            another_video(base, game, place * videos + n, rng.randrange(86_400), rng)
            for place, game in enumerate(made)
            for n in range(videos)
        ),
        quirks=quirks or ListingQuirks(),
    )


def _spread(base: World, games: tuple[Game, ...], each: int, rng: random.Random) -> Iterator[Clip]:
    for place, game in enumerate(games):
        for n in range(each):
            yield another_clip(base, game, place * each + n, rng.randrange(86_400), rng)


def another_clip(world: World, game: Game, number: int, age_s: int, rng: random.Random) -> Clip:
    """A clip of the world under another id, game and time; its VOD is gone."""
    return replace(
        world.clips[number % len(world.clips)],
        id=f"CrowdedSandboxClip-{game.id}-{number}",
        game=game,
        created_at=world.now - timedelta(seconds=age_s),
        views=int(rng.paretovariate(0.9) * 3),
        language=rng.choice(_LANGUAGES),
        video_id="",
        vod_offset_s=None,
    )


def another_video(world: World, game: Game, number: int, age_s: int, rng: random.Random) -> Video:
    """A video of the world under another id, game and time."""
    kind = rng.choice(_TYPES)
    video_id = int(game.id) * 10_000 + number
    return replace(
        world.videos[number % len(world.videos)],
        id=str(video_id),
        stream_id=str(320_000_000_000 + video_id) if kind is VodType.ARCHIVE else None,
        game=game,
        created_at=world.now - timedelta(seconds=age_s),
        views=int(rng.paretovariate(0.8) * 10),
        language=rng.choice(_LANGUAGES),
        type=kind,
    )
