"""VODs of several games, through the whole program: every frame shows the game it is named after.

Which game a VOD shows at which second is known from the footage that it is made of.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harvester.sandbox import Fault, SandboxServer, default_world
from harvester.sandbox.world import Chapter, Game, Piece, Video, World
from tests.integration.cases import Worlds, die, unkilled
from tests.integration.commands import Commands
from tests.integration.killing import Processes
from tests.integration.wholeness import check_books, outcomes, rows_of

#: Settings of all runs: a picture of every segment, in the small rendition.
EVERY_SEGMENT = {"HARVESTER_SAMPLE_MIN_SPACING_S": "1", "HARVESTER_SAMPLE_MIN_HEIGHT": "100"}


#: Game whose footage stands for talk.
TALK = "Freedoom"


def piece_of(world: World, game: str, number: int = 0) -> Piece:
    """Footage of a game: the last piece of its ``number``-th VOD."""
    return [video for video in world.videos if video.game.name == game][number].pieces[-1]


def game_of(world: World, name: str) -> Game:
    return next(game for game in world.games if game.name == name)


def video_of(world: World, number: int, listed: str, pieces: tuple[Piece, ...], **fields: Any) -> Video:
    """A VOD that Helix lists under ``listed``, whatever its pieces show."""
    model = next(video for video in world.videos if video.container == "ts")
    channel = world.channels[number % len(world.channels)]
    special = {"id": str(3000 + number), "distribution": f"dlabels{number}", "channel": channel}
    return replace(model, pieces=pieces, game=game_of(world, listed), **special, **fields)


def chapter(world: World, game: str, start_s: float, end_s: float) -> Chapter:
    return Chapter(game_of(world, game).id, start_s, end_s - start_s)


def mixed_world() -> World:
    """Under Teeworlds: 24 s of it, 24 s of Minetest, 24 s of Teeworlds; and one that is all Hedgewars by its
    chapters, since its category was changed late. Under Minetest: a VOD of it without chapters. Under
    SuperTuxKart: one that is half talk."""
    world = default_world()
    tee, mine, other_tee = (
        piece_of(world, *which) for which in (("Teeworlds", 1), ("Minetest", 0), ("Teeworlds", 0))
    )
    hedge, more_mine = piece_of(world, "Hedgewars"), piece_of(world, "Minetest", 1)
    marks = [("Teeworlds", 0, 24), ("Minetest", 24, 48), ("Teeworlds", 48, 72)]
    videos = (
        video_of(world, 0, "Teeworlds", (tee, mine, other_tee), chapters=tuple(chapter(world, *m) for m in marks)),
        video_of(world, 1, "Teeworlds", (hedge,), chapters=(chapter(world, "Hedgewars", 0, 24),)),
        video_of(world, 2, "Minetest", (more_mine,)),
        video_of(
            world,
            3,
            "SuperTuxKart",
            (piece_of(world, "SuperTuxKart"), piece_of(world, TALK)),
            chapters=(chapter(world, "SuperTuxKart", 0, 22), chapter(world, "Just Chatting", 22, 44)),
        ),
    )
    return World(world.seed, world.now, world.games, world.channels, videos, (), world.pts_mode)


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    environ = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    with closing(Processes(tmp_path_factory.mktemp("commands"), environ)) as served:
        yield served


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxServer]:
    sandbox = SandboxServer(mixed_world(), cache_dir=tmp_path_factory.mktemp("media"))
    with sandbox.running():
        yield sandbox


@pytest.fixture
def harvester(server: SandboxServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Commands:
    server.faults.clear()
    server.log.clear()
    return Commands(server, tmp_path, capsys)


def harvested(
    harvester: Commands, out: Path, *games: str, **environment: str
) -> tuple[list[dict[str, Any]], dict]:
    """Rows and report of a run over those games; everything on the disk is as it should be."""
    words = [word for game in games for word in ("--category", game)]
    ended = harvester("run", *words, "--out", out, "--json", **(EVERY_SEGMENT | environment))
    assert ended.code == 0, ended.err
    check_books(out, ended.json)
    assert harvester("verify", "--out", out, "--replay").code == 0
    return [row for rows in rows_of(out).values() for row in rows], ended.json


def shown(world: World, row: Mapping[str, Any]) -> str:
    """The game that the picture shows."""
    video = next(video for video in world.videos if video.id == row["source_id"])
    return str(video.footage_at(row["offset_s"])[0].session.game)


def test_every_frame_shows_the_game_it_is_named_after(harvester: Commands, tmp_path: Path) -> None:
    rows, _ = harvested(harvester, tmp_path / "dataset", "Teeworlds")
    assert {row["source_id"] for row in rows} == {"3000"}
    assert {shown(harvester.server.world, row) for row in rows} == {row["label"] for row in rows} == {"Teeworlds"}
    assert {(row["label_source"], row["label_confidence"]) for row in rows} == {("chapter", 0.9)}
    offsets = sorted(row["offset_s"] for row in outcomes(tmp_path / "dataset"))
    assert offsets[0] >= 1.2  # guards of 5 % of 24 s
    assert not [offset for offset in offsets if 22.8 <= offset < 49.2 or offset >= 70.8]
    assert len(offsets) == 10 + 10  # segments at 2, 4 ... 22 s and at 50 ... 70 s, less the last one's guard


def test_a_vod_gives_frames_of_the_game_that_it_shows_if_that_is_wanted(
    harvester: Commands, tmp_path: Path
) -> None:
    out = tmp_path / "dataset"
    rows, _ = harvested(harvester, out, "Teeworlds", "Minetest", "Hedgewars")
    world = harvester.server.world
    assert all(shown(world, row) == row["label"] for row in rows)
    found = Counter((row["source_id"], row["label"], row["label_source"], row["label_confidence"]) for row in rows)
    assert found.keys() == {
        ("3000", "Teeworlds", "chapter", 0.9),
        ("3000", "Minetest", "chapter", 0.8),
        ("3001", "Hedgewars", "chapter", 0.8),
        ("3002", "Minetest", "vod", 0.8),
    }
    assert found["3000", "Minetest", "chapter", 0.8] >= 8
    check_whole_of_labels(out)
    before = len(harvester.server.log.entries("media"))
    again, second = harvested(harvester, out, "Teeworlds", "Minetest", "Hedgewars")
    assert (second["planned"], len(harvester.server.log.entries("media"))) == (0, before)
    assert len(again) == len(rows)


def check_whole_of_labels(out: Path) -> None:
    """No moment was decided twice in a category, and none outside its spans."""
    looked_at = Counter((row["category_id"], row["source_id"], row["offset_s"]) for row in outcomes(out))
    assert set(looked_at.values()) == {1}


def test_a_game_that_is_wanted_later_is_found_in_what_was_opened_before(
    harvester: Commands, tmp_path: Path
) -> None:
    out = tmp_path / "dataset"
    _, report = harvested(harvester, out, "Teeworlds")
    (books,) = report["categories"].values()
    assert books["labels"] == {"chapter": 1, "none": 1}
    asked = ("plan", "--category", "Hedgewars", "--out", out, "--json")
    (planned,) = harvester(*asked, **EVERY_SEGMENT).json["plan"]
    assert (planned["labels"], planned["requests"]["gql"]) == ({"elsewhere": 1}, 1)
    rows, report = harvested(harvester, out, "Hedgewars")
    (books,) = report["categories"].values()
    assert {row["source_id"] for row in rows if row["label"] == "Hedgewars"} == {"3001"}
    assert (books["labels"], books["note"]) == ({"chapter": 1}, "")
    (planned,) = harvester(*asked, **EVERY_SEGMENT).json["plan"]
    assert planned["note"] == "no new sources"


def test_without_gql_the_listing_counts_and_the_report_says_so(harvester: Commands, tmp_path: Path) -> None:
    out = tmp_path / "dataset"
    rows, report = harvested(harvester, out, "Teeworlds", HARVESTER_DISCOVER_DETAILS="off")
    assert {(row["label_source"], row["label_confidence"]) for row in rows} == {("listing", 0.5)}
    assert {row["source_id"] for row in rows} == {"3000", "3001"}  # of other games, too: nobody told
    (books,) = report["categories"].values()
    assert books["labels"] == {"listing": 2}
    (note,) = [note for note in report["notes"] if "chapters" in note]
    assert note.startswith("2 VODs were labelled without chapters")
    assert "[discover] details is off" in note


def test_where_gql_fails_the_listing_counts_and_the_report_says_so(harvester: Commands, tmp_path: Path) -> None:
    failing = Fault(path="^/gql", sent="moments|ChapterSelect", body=b'[{"errors": [{"message": "x"}]}]', times=0)
    harvester.server.inject(failing)
    rows, report = harvested(harvester, tmp_path / "dataset", "Teeworlds")
    assert {row["label_source"] for row in rows} == {"listing"}
    (note,) = [note for note in report["notes"] if "chapters" in note]
    assert "GQL did not tell" in note


def test_talk_is_a_class_of_its_own_if_it_is_asked_for(harvester: Commands, tmp_path: Path) -> None:
    from datasets import load_dataset

    out = tmp_path / "dataset"
    wanted = ("SuperTuxKart", "Just Chatting")
    rows, _ = harvested(harvester, out, *wanted, HARVESTER_DATASET_OTHER="on")
    talk = [row for row in rows if shown(harvester.server.world, row) == TALK]
    assert len(talk) >= 8
    assert {(row["label"], row["category_id"], row["label_source"]) for row in talk} == {
        ("_other", "509658", "chapter")
    }
    assert all(row["file_name"].startswith("_other/") for row in talk)
    assert {row["label"] for row in rows if row not in talk} == {"SuperTuxKart"}
    assert len({row["label_id"] for row in rows}) == 2
    loaded = load_dataset("imagefolder", data_dir=str(out), cache_dir=str(tmp_path / "cache"))
    assert sum(split.num_rows for split in loaded.values()) == len(rows)
    told = harvester("status", "--out", out, "--json").json["categories"]
    assert told["_other"]["frames"] == len(talk)
    assert "_other" in harvester("status", "--out", out).out
    rows, _ = harvested(harvester, tmp_path / "plain", *wanted)
    assert {row["label"] for row in rows} == set(wanted)
    top = harvester("run", "--top", "6", "--frames", "1", "--out", tmp_path / "top", "--json", **EVERY_SEGMENT)
    assert "509658" not in top.json["categories"]


def test_under_the_floor_nothing_is_fetched_and_the_books_say_why(harvester: Commands, tmp_path: Path) -> None:
    floor = {"HARVESTER_SAMPLE_MIN_CONFIDENCE": "0.95"}
    rows, report = harvested(harvester, tmp_path / "dataset", "Teeworlds", **floor)
    assert not rows
    assert not harvester.server.log.entries("media")
    assert report["dropped"] == {"low-confidence": report["planned"]}
    assert report["planned"] == 20


@pytest.mark.long
def test_a_run_killed_anywhere_gives_each_vod_the_labels_it_would_have_had(
    processes: Processes, tmp_path: Path
) -> None:
    """Also where it is killed between the categories' own listings and what others hold."""
    with ExitStack() as stack:
        games = ("--category", "Teeworlds", "--category", "Minetest", "--category", "Hedgewars")
        harvesting = Worlds(processes, tmp_path, stack).harvesting(*games, world=mixed_world())
        case = unkilled(harvesting, tmp_path)
        commits = len(case.steps["committed"])
        for at in range(commits, 3, -5):
            root = tmp_path / f"killed-{at}"
            die(case.harvesting, root, "committed", at)
            case.finish(root)
            assert labels(root) == labels(tmp_path / "unkilled")


def labels(root: Path) -> Counter[tuple[Any, ...]]:
    names = ("category_id", "source_id", "offset_s", "label_source", "label_confidence")
    return Counter(tuple(row[name] for name in names) for rows in rows_of(root).values() for row in rows)
