"""Scenarios put into a world by name: which footage each VOD shows, in which sizes, on which channel."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from harvester.errors import UsageError
from harvester.model import VodType
from harvester.sandbox.build import look_of
from harvester.sandbox.category_cases import CATEGORY_CASES, CategoryCase
from harvester.sandbox.clip_cases import CASES
from harvester.sandbox.faults import Fault
from harvester.sandbox.footage import PACKAGE_INDEX, FootageFile, Session, read_index
from harvester.sandbox.scenarios import SCENARIOS, SMALL, Scenario, Sizes, scenario_game
from harvester.sandbox.world import Channel, Chapter, Coding, Game, Piece, Video, World

#: Categories of chapters that are not the scenario's own, and their numbers.
_OTHERS = {"Scenario prelude": 1, "Scenario encore": 2}

#: The name that stands for all of them.
ALL = "all"

_CASES: tuple[Scenario | CategoryCase, ...] = (*SCENARIOS, *CATEGORY_CASES)
_KNOWN: Mapping[str, Scenario | CategoryCase] = {case.name: case for case in _CASES}


def offered() -> Iterator[tuple[str, str]]:
    """Every name, with what it shows and what harvester makes of it; clip cases indented below their own."""
    yield ALL, "every one of these"
    for case in _KNOWN.values():
        yield case.name, f"{case.meaning} -> {case.outcome}"
    for clip in CASES:
        outcome = "a frame" if clip.outcome == "kept" else f"none: {clip.outcome}"
        yield f"  {clip.name}", f"{clip.meaning} -> {outcome}"


def scenarios_named(names: Iterable[str]) -> tuple[Scenario | CategoryCase, ...]:
    """The scenarios of those names, each once; ``all`` is every one. Raises UsageError for an unknown name."""
    wanted = set(names)
    if unknown := ", ".join(sorted(wanted - _KNOWN.keys() - {ALL})):
        raise UsageError(
            f"no scenario {unknown}; there are: {ALL}, {', '.join(sorted(_KNOWN))};"
            " harvester sandbox --help tells what each shows"
        )
    return tuple(case for name, case in _KNOWN.items() if ALL in wanted or name in wanted)


def with_scenarios(world: World, names: Iterable[str]) -> World:
    """``world`` and the scenarios of those names. Raises UsageError for an unknown name."""
    chosen = scenarios_named(names)
    for case in chosen:
        world = case.add(world) if isinstance(case, CategoryCase) else world
    return _with_videos(world, tuple(case for case in chosen if isinstance(case, Scenario)))


def faults_of(world: World, names: Iterable[str]) -> tuple[Fault, ...]:
    """The faults that belong to the scenarios of those names, as they are in ``world``."""
    faulty = (case for case in scenarios_named(names) if isinstance(case, Scenario) and case.faults)
    return tuple(
        replace(fault, path=f"^/cdn/{video.distribution}/.*{fault.path}")
        for case in faulty
        for video in world.videos
        if video.id == case.id
        for fault in case.faults
    )


def _with_videos(world: World, chosen: tuple[Scenario, ...]) -> World:
    sessions = read_index(PACKAGE_INDEX)
    videos = tuple(_video(scenario, sessions, world) for scenario in chosen)
    named = {name for scenario in chosen for name in (scenario.shows, *(name for name, _, _ in scenario.chapters))}
    others = {_other(name) for name in named if name}
    return replace(
        world,
        games=(*world.games, *(scenario.game for scenario in chosen), *sorted(others, key=lambda game: game.id)),
        channels=(*world.channels, *(video.channel for video in videos)),
        videos=(*world.videos, *videos),
    )


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
        told_game=_other(scenario.shows) if scenario.shows else None,
        live=scenario.live,
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
