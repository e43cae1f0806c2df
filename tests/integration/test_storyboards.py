"""Storyboards through the whole program: what nothing happens in is not fetched, and nothing depends on them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harvester.sampling.doubt import BEGINNING_S
from harvester.sandbox import Fault, SandboxServer, default_world
from harvester.sandbox.world import Cutting, Piece, Video, World
from tests.integration.cases import Worlds, die, unkilled
from tests.integration.commands import Commands, Ended
from tests.integration.killing import Processes
from tests.integration.wholeness import check_books, outcomes

GAME = "Teeworlds"
#: Most frames of a VOD, and so the targets that it is given first; of the VOD the card fills the first 120 s.
MOST = 20
SETTINGS = {
    "HARVESTER_SAMPLE_MIN_HEIGHT": "100",
    "HARVESTER_SAMPLE_MAX_PER_VOD": str(MOST),
    "HARVESTER_SAMPLE_MIN_SPACING_S": "10",  # so many do not fit behind the beginning
}
CARD_S = 120.0


def card_of(world: World) -> Piece:
    """Footage of a card that says that the stream starts soon."""
    pieces = (piece for video in world.videos for piece in video.pieces)
    return next(piece for piece in pieces if piece.session.name.startswith("starting"))


def world_of(*, first: bool = True) -> World:
    """One VOD: a card, 8 s of footage fifteen times over, then six minutes of a game; one too short to look at."""
    world = default_world()
    played = next(video for video in world.videos if video.game.name == GAME and video.container == "ts")
    long = replace(
        played,
        pieces=(card_of(world), played.pieces[-1]),
        cutting=Cutting(4.0, repeats=15),
    )
    short = replace(
        played, id="3001", distribution="dshort", channel=world.channels[-1], pieces=(played.pieces[-1],)
    )
    return World(world.seed, world.now, world.games, world.channels, (long, short), (), world.pts_mode)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxServer]:
    sandbox = SandboxServer(world_of(), cache_dir=tmp_path_factory.mktemp("media"))
    with sandbox.running():
        yield sandbox


@pytest.fixture
def harvester(server: SandboxServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Commands:
    server.faults.clear()
    server.log.clear()
    return Commands(server, tmp_path, capsys)


def long_vod(world: World) -> Video:
    return next(video for video in world.videos if video.cutting.repeats > 1)


def harvested(harvester: Commands, out: Path, **environment: str) -> tuple[list[float], Ended]:
    """The offsets that were looked at first in the long VOD (s), not in place of others; and how the run ended."""
    ended = harvester("run", "--category", GAME, "--out", out, "--json", **(SETTINGS | environment))
    assert ended.code == 0, ended.err
    check_books(out, ended.json)
    assert harvester("verify", "--out", out, "--replay").code == 0
    mine = [row for row in outcomes(out) if row["source_id"] == long_vod(harvester.server.world).id]
    return sorted(row["offset_s"] for row in mine if row["k"] < MOST), ended


def test_a_card_is_passed_over_and_the_report_says_what_that_saved(harvester: Commands, tmp_path: Path) -> None:
    offsets, ended = harvested(harvester, tmp_path / "dataset")
    assert min(offsets) >= CARD_S
    assert len(offsets) == MOST
    report: dict[str, Any] = ended.json
    assert report["requests"]["storyboard"] == len(harvester.server.log.entries("storyboard")) == 2
    seen = report["storyboards"]
    assert (seen["seen"], seen.get("unseen"), seen["skipped_in"]) == (1, None, 1)
    plain, ended = harvested(harvester, tmp_path / "plain", HARVESTER_SAMPLE_STORYBOARD="off")
    assert seen["skipped"] == len([offset for offset in plain if offset < CARD_S]) > 2
    assert "storyboard" not in ended.json["requests"]
    assert ended.json["storyboards"] == {}
    measured = report["kept"] + sum(report["dropped"].values())
    assert seen["saved_bytes"] == round(seen["skipped"] * report["bytes"]["media"] / measured)


def test_the_summary_says_so_too(harvester: Commands, tmp_path: Path) -> None:
    ended = harvester("run", "--category", GAME, "--out", tmp_path / "dataset", **SETTINGS)
    (line,) = [line for line in ended.out.splitlines() if line.startswith("foreseen")]
    assert "storyboards of 1 VOD; idle stretches of them passed over: " in line


LISTS, SHEETS = r"/storyboards/.*json$", r"/storyboards/.*jpg$"


FAULTS = (
    Fault(path=LISTS, status=404, times=0),
    Fault(path=LISTS, status=500, times=0),
    Fault(path=LISTS, body=b"[{}]", times=0),
    Fault(path=SHEETS, html=True, times=0),
    Fault(path=SHEETS, reset=True, times=0),
    Fault(path=SHEETS, body=b"\xff\xd8\xff\xe0 no picture", times=0),
    Fault(path="^/gql", sent="SeekbarPreview|seekPreviewsURL", body=b'[{"errors": [{"message": "x"}]}]', times=0),
)


def test_without_a_storyboard_a_run_is_as_good_as_without_asking(harvester: Commands, tmp_path: Path) -> None:
    plain, _ = harvested(harvester, tmp_path / "plain", HARVESTER_SAMPLE_STORYBOARD="off")
    for number, fault in enumerate(FAULTS):
        harvester.server.faults.clear()
        harvester.server.inject(fault)
        offsets, ended = harvested(harvester, tmp_path / str(number))
        assert offsets == plain, fault
        assert not ended.json["failed"]
        assert ended.json["storyboards"] == ({"unseen": 1} if fault.sent == "" else {}), fault


def test_the_beginning_of_a_vod_without_a_storyboard_is_left_out_where_the_rest_is_enough(
    harvester: Commands, tmp_path: Path
) -> None:
    close = {"HARVESTER_SAMPLE_MIN_SPACING_S": "4"}
    harvester.server.inject(Fault(path=LISTS, status=404, times=0))
    for number, off in enumerate(
        ({}, {"HARVESTER_SAMPLE_STORYBOARD": "off"}, {"HARVESTER_DISCOVER_DETAILS": "off"})
    ):
        offsets, _ = harvested(harvester, tmp_path / str(number), **(close | off))
        assert (len(offsets), min(offsets) >= BEGINNING_S) == (MOST, True), off
    harvester.server.faults.clear()
    offsets, _ = harvested(harvester, tmp_path / "seen", **close)
    assert CARD_S <= min(offsets) < BEGINNING_S


def test_the_plan_counts_the_requests(harvester: Commands, tmp_path: Path) -> None:
    asked = ("plan", "--category", GAME, "--out", tmp_path / "dataset", "--json")
    (planned,) = harvester(*asked, **SETTINGS).json["plan"]
    assert planned["requests"]["storyboard"] == 2
    (planned,) = harvester(*asked, **SETTINGS, HARVESTER_SAMPLE_STORYBOARD="off").json["plan"]
    assert "storyboard" not in planned["requests"]


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    environ = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    with closing(Processes(tmp_path_factory.mktemp("commands"), environ)) as served:
        yield served


@pytest.mark.long
def test_a_run_killed_anywhere_looks_at_what_it_would_have_looked_at(processes: Processes, tmp_path: Path) -> None:
    """Storyboards are gone when the killed run goes on: what was chosen is remembered, not found again."""
    with ExitStack() as stack:
        worlds = Worlds(processes, tmp_path, stack)
        harvesting = worlds.harvesting("--category", GAME, world=world_of())
        case = unkilled(harvesting, tmp_path)
        for at in range(len(case.steps["committed"]), 3, -4):
            root = tmp_path / f"killed-{at}"
            die(case.harvesting, root, "committed", at)
            case.finish(root)
