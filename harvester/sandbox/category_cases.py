"""Categories and clips that a client must cope with: beside the scenario VODs, what else ``--scenario`` can add.

A case changes a world; it is applied before any scenario VOD, since crowds repeat the videos and clips that a
world has. Nothing is encoded for them, but for the clip cases.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

from harvester.sandbox.clip_cases import with_clip_cases
from harvester.sandbox.crowd import (
    CLIPPED,
    STREAMED,
    another_clip,
    another_video,
    with_crowd_of_clips,
    with_crowd_of_videos,
)
from harvester.sandbox.world import Game, World

#: Two categories of one name: ``/games?name=`` gives one of them, the search both (twitchdev/issues #883).
TWINS = tuple(Game(number, "Scenario same-name", "scenario-same-name") for number in ("660001", "660002"))
#: A category whose listings are empty from half a day after the start of the world on.
EMPTIED = Game("660003", "Scenario emptied", "scenario-emptied")
EMPTIED_AFTER = timedelta(hours=12)
#: Age of the sources of these (s), and clips of the category that empties.
_AGE_S, _CLIPS = 86_400, 4


@dataclass(frozen=True, slots=True)
class CategoryCase:
    """One case. ``outcome``: what harvester makes of it; ``add``: the world with it."""

    name: str
    meaning: str
    outcome: str
    add: Callable[[World], World]


def _with_twins(world: World) -> World:
    rng = random.Random("same-name")
    videos = (another_video(world, game, number, _AGE_S, rng) for number, game in enumerate(TWINS))
    return replace(world, games=(*world.games, *TWINS), videos=(*world.videos, *videos))


def _with_emptied(world: World) -> World:
    game, rng = replace(EMPTIED, empty_from=world.now + EMPTIED_AFTER), random.Random("emptied")
    clips = (another_clip(world, game, number, _AGE_S + number, rng) for number in range(_CLIPS))
    video = another_video(world, game, 0, _AGE_S, rng)
    return replace(world, games=(*world.games, game), videos=(*world.videos, video), clips=(*world.clips, *clips))


CATEGORY_CASES = (
    CategoryCase(
        "crowded-clips",
        f"category {CLIPPED.name!r}: 1,500 clips in a day, listings that repeat, leak and lose",
        "windows are split until all are found",
        with_crowd_of_clips,
    ),
    CategoryCase(
        "crowded-videos",
        f"category {STREAMED.name!r}: 700 VODs, of which a question gives 500",
        "types and languages are asked for until all are found",
        with_crowd_of_videos,
    ),
    CategoryCase(
        "same-name",
        "two categories of one name",
        f"the name is refused with both ids; {' and '.join(f'id:{game.id}' for game in TWINS)} are two categories",
        _with_twins,
    ),
    CategoryCase(
        "emptied",
        "a category of which nothing is listed any more on the next day",
        "frames today; tomorrow exit code 5, and nothing is lost",
        _with_emptied,
    ),
    CategoryCase(
        "clips",
        "clips, each in a category of its own, 'Clip case NAME':",
        "as follows",
        with_clip_cases,
    ),
)
