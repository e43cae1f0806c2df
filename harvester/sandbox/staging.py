"""From scenarios to videos: which footage each shows, in which sizes, on which channel."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace

from harvester.model import VodType
from harvester.sandbox.build import look_of
from harvester.sandbox.clip_cases import with_clip_cases
from harvester.sandbox.footage import PACKAGE_INDEX, FootageFile, Session, read_index
from harvester.sandbox.scenarios import ALL, CLIPS, SMALL, Scenario, Sizes, scenario_game, scenarios_named
from harvester.sandbox.world import Channel, Chapter, Coding, Game, Piece, Video, World

#: Categories of chapters that are not the scenario's own, and their numbers.
_OTHERS = {"Scenario prelude": 1, "Scenario encore": 2}


def with_scenarios(world: World, names: Iterable[str]) -> World:
    """``world`` and the scenarios of those names; ``clips``: the clip cases. Raises UsageError."""
    wanted = frozenset(names)
    chosen = scenarios_named(wanted)
    sessions = read_index(PACKAGE_INDEX)
    videos = tuple(_video(scenario, sessions, world) for scenario in chosen)
    others = {_other(name) for scenario in chosen for name, _, _ in scenario.chapters if name}
    staged = replace(
        world,
        games=(*world.games, *(scenario.game for scenario in chosen), *sorted(others, key=lambda game: game.id)),
        channels=(*world.channels, *(video.channel for video in videos)),
        videos=(*world.videos, *videos),
    )
    return with_clip_cases(staged) if wanted & {ALL, CLIPS} else staged


def _chapter_game(scenario: Scenario, name: str | None) -> str | None:
    """Id of a chapter's category; None where none was set."""
    if name is None:
        return None
    return (_other(name) if name else scenario.game).id


def _other(name: str) -> Game:
    """The category of a chapter that is not the scenario's own."""
    return scenario_game(name, _OTHERS[name])


def _video(scenario: Scenario, sessions: tuple[Session, ...], world: World) -> Video:
    rng = random.Random(f"scenario:{scenario.id}")
    login = f"scenario_{scenario.name.replace('-', '_')}"
    archive = scenario.type is VodType.ARCHIVE
    return Video(
        id=scenario.id,
        stream_id=f"31840000{scenario.id}" if archive else None,
        channel=Channel(str(90_000_000 + int(scenario.id)), login, login.title()),
        game=scenario.game,
        pieces=tuple(_pieces(scenario, sessions)),
        cutting=scenario.cutting,
        container=scenario.container,
        title=scenario.meaning,
        created_at=world.now - scenario.age,
        language="en",
        views=100,
        type=scenario.type,
        distribution="d" + "".join(rng.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=13)),
        chapters=tuple(
            Chapter(_chapter_game(scenario, name), start_s, length_s)
            for name, start_s, length_s in scenario.chapters
        ),
        delivery=scenario.deliver(world.now),
    )


def _pieces(scenario: Scenario, sessions: tuple[Session, ...]) -> Iterable[Piece]:
    """What is shown. One that cannot be played would show footage as it is: nothing is encoded for it."""
    played = [number for number, session in enumerate(sessions) if session.game is not None]
    first = int(scenario.id)
    if not scenario.shots:
        yield Piece(sessions[played[0]], played[0])
    if scenario.intro:
        yield from _intro(sessions)
    for shot, sizes in enumerate(scenario.shots):
        number = played[(first + shot) % len(played)]
        session = _resized(sessions[number], sizes, scenario.footage_s)
        look = look_of(random.Random(f"scenario:{scenario.id}:{shot}"))
        yield Piece(session, number, look, int(scenario.game.id), scenario.coding)


def _intro(sessions: tuple[Session, ...]) -> Iterable[Piece]:
    """Ten times half a minute of a card that says that it will start soon, black, a minute of a menu."""
    by_name = {session.name: (number, session) for number, session in enumerate(sessions)}
    (soon_number, soon), (black_number, black) = by_name["starting_soon_A"], by_name["black"]
    card = Piece(_resized(soon, SMALL, 6.0), soon_number, coding=Coding())
    nothing = Piece(_resized(black, SMALL, 4.0), black_number, coding=Coding())
    yield from (card,) * 10
    yield nothing
    yield from (replace(nothing, drawing="menu"),) * 3


def _resized(session: Session, sizes: Sizes, seconds: float) -> Session:
    """The first ``seconds`` of a session, to be encoded in those sizes from the smallest footage that will do."""
    lines = max(height for _, height, _ in sizes)
    source = min(
        (file for file in session.files if file.height >= min(lines, session.files[0].height)),
        key=lambda f: f.height,
    )
    files = tuple(FootageFile(source.path, width, height, 0, codec) for width, height, codec in sizes)
    return replace(session, seconds=min(seconds, session.seconds), files=files)
