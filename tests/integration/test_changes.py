"""Chapters that are set late, through the whole program: storyboards tell, and what they told is remembered."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from harvester.sandbox import SandboxServer, default_world
from harvester.sandbox.world import Cutting, Video, World
from harvester.store.layout import LEDGER_FILE
from harvester.store.ledger import Ledger
from tests.integration.commands import Commands
from tests.integration.test_labels import chapter, game_of, piece_of, video_of
from tests.integration.wholeness import check_books, outcomes

FIRST, SECOND = "Teeworlds", "Minetest"
SETTINGS = {"HARVESTER_SAMPLE_MIN_HEIGHT": "100"}
#: The game changes at 360 s, its category at 460 s; both guards there are 5 %, less than 30 s.
CHANGE_S, TOLD_S, END_S = 360.0, 460.0, 720.0


def changed_late(world: World) -> Video:
    """24 s of either game, each fifteen times over."""
    pieces = (piece_of(world, FIRST), piece_of(world, SECOND))
    marks = ((FIRST, 0, TOLD_S), (SECOND, TOLD_S, END_S))
    told = tuple(chapter(world, *mark) for mark in marks)
    return video_of(world, 0, FIRST, pieces, chapters=told, cutting=Cutting(4.0, repeats=15))


def world_of() -> World:
    world = default_world()
    return World(world.seed, world.now, world.games, world.channels, (changed_late(world),), (), world.pts_mode)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxServer]:
    sandbox = SandboxServer(world_of(), cache_dir=tmp_path_factory.mktemp("media"))
    with sandbox.running():
        yield sandbox


def looked_at(commands: Commands, out: Path, *games: str, **settings: str) -> dict[str, list[float]]:
    """Offsets (s) of the pictures that were fetched for each game."""
    words = [word for game in games for word in ("--category", game)]
    ended = commands("run", *words, "--out", out, "--json", **SETTINGS, **settings)
    assert ended.code == 0, ended.err
    check_books(out, ended.json)
    ids = {game: game_of(commands.server.world, game).id for game in games}
    rows = outcomes(out)
    return {game: [row["offset_s"] for row in rows if row["category_id"] == id_] for game, id_ in ids.items()}


def test_nothing_is_fetched_between_a_change_and_a_late_edge(
    server: SandboxServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commands, out = Commands(server, tmp_path, capsys), tmp_path / "dataset"
    offsets = looked_at(commands, out, FIRST, SECOND)
    assert max(offsets[FIRST]) < CHANGE_S
    assert min(offsets[SECOND]) > TOLD_S  # what lies between is nobody's
    assert commands("verify", "--out", out, "--replay").code == 0
    second = game_of(server.world, SECOND).id
    with closing(Ledger(out / ".harvester" / LEDGER_FILE, readonly=True)) as ledger:
        (vod,) = ledger.vods_holding(second, "clip,vod")
        evidence = ledger.evidence_of(replace(vod, category_id=second))
    assert evidence is not None
    (doubted,) = evidence.doubted
    assert CHANGE_S - 8 <= doubted.start_s < CHANGE_S
    assert doubted.end_s == TOLD_S
    plain = looked_at(commands, tmp_path / "plain", FIRST, HARVESTER_SAMPLE_STORYBOARD="off")
    assert CHANGE_S < max(plain[FIRST]) < TOLD_S
