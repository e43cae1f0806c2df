"""A card that a broadcaster shows before every game leaves the dataset, and what looks like it stays out.

The worlds: VODs that begin with the same animated card, on several days or under several games.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from harvester.sandbox import SandboxServer, default_world
from harvester.sandbox.world import Piece, Video, World
from harvester.store.layout import LEDGER_FILE
from harvester.store.ledger import Ledger
from tests.integration.cases import Case, Worlds, unkilled
from tests.integration.commands import Commands
from tests.integration.killing import Processes
from tests.integration.test_labels import EVERY_SEGMENT, piece_of, video_of
from tests.integration.wholeness import check_books, check_whole, outcomes, removed, rows_of

#: Of one channel, as the worlds below have it: game of the listing, game and number of the footage, days ago.
FIRST, SECOND, THIRD = (
    ("Teeworlds", "Teeworlds", 0, 3),
    ("Teeworlds", "Teeworlds", 1, 2),
    ("Teeworlds", "Hedgewars", 0, 2),
)
OTHER_GAME = ("Minetest", "Minetest", 0, 3)


def card(world: World) -> Piece:
    """An animated card, 8 s."""
    return next(p for v in world.videos for p in v.pieces if p.session.game is None and p.session.seconds == 8)


def vod(world: World, number: int, listed: str, game: str, footage: int, days_ago: int) -> Video:
    made = world.now - timedelta(days=days_ago)
    pieces = (card(world), piece_of(world, game, footage))
    return replace(video_of(world, number, listed, pieces), created_at=made, channel=world.channels[0])


def world_of(*vods: tuple[str, str, int, int]) -> World:
    world = default_world()
    videos = tuple(vod(world, number, *which) for number, which in enumerate(vods))
    return replace(world, videos=videos, clips=())


def harvested(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], *words: str, runs: int = 2, **settings: str
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], Path]:
    """Rows, the reports of some runs of the same words, and the dataset."""
    out = tmp_path / "dataset"
    sandbox = SandboxServer(world, cache_dir=tmp_path / "media")
    reports = []
    with sandbox.running():
        commands = Commands(sandbox, tmp_path, capsys)
        for _ in range(runs):
            ended = commands("run", *words, "--out", out, "--json", **EVERY_SEGMENT, **settings)
            assert ended.code == 0, ended.err
            check_books(out, ended.json)
            check_whole(out)
            reports.append(ended.json)
        assert commands("verify", "--out", out, "--replay").code == 0
        told = commands("status", "--out", out, "--json").json["categories"]
        left = Counter(row["reason"] for row in removed(out).values())
        assert sum((Counter(entry["removed"]) for entry in told.values()), Counter()) == left
    return [row for rows in rows_of(out).values() for row in rows], reports, out


def of_cards(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["offset_s"] is not None and row["offset_s"] < 8]


def test_a_card_in_three_sources_on_two_days_leaves_and_the_room_is_filled_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world = world_of(FIRST, SECOND, THIRD)
    rows, (first, second), out = harvested(world, tmp_path, capsys, "--category", "Teeworlds", "--frames", "27")
    left = removed(out)
    assert not of_cards(rows)
    assert len(rows) == 27
    assert first["removed"] == {"recurring": len(left)} != {"recurring": 0}
    assert first["kept"] == 27 + len(left)
    assert {row["offset_s"] < 8 for row in outcomes(out) if row["seq"] in left} == {True}
    assert (second["planned"], second["removed"]) == (0, {})


def test_what_looks_like_a_card_that_left_is_dropped_for_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    three = (FIRST, SECOND, THIRD)
    harvested(world_of(*three), tmp_path, capsys, "--category", "Teeworlds", runs=1)
    more = world_of(*three, ("Teeworlds", "Hedgewars", 1, 1))
    rows, (report,), _ = harvested(more, tmp_path, capsys, "--category", "Teeworlds", runs=1)
    assert not of_cards(rows)
    assert report["dropped"]["recurring"]


def test_what_stands_under_two_games_of_a_broadcaster_leaves_both(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--category", "Teeworlds", "--category", "Minetest")
    rows, (first, second), out = harvested(world_of(FIRST, OTHER_GAME), tmp_path, capsys, *words)
    assert not of_cards(rows)
    assert {row["category_id"] for row in removed(out).values()} == {row["category_id"] for row in rows}
    assert first["removed"].keys() == {"recurring"}
    assert (second["planned"], second["removed"]) == (0, {})


def test_a_card_of_one_day_or_of_two_sources_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    same_day = [(*which[:3], 2) for which in (FIRST, SECOND, THIRD)]
    for name, vods in (("day", same_day), ("two", [FIRST, SECOND])):
        folder = tmp_path / name
        folder.mkdir()
        rows, (report,), _ = harvested(world_of(*vods), folder, capsys, "--category", "Teeworlds", runs=1)
        assert of_cards(rows)
        assert report["removed"] == {}


def test_what_another_broadcaster_of_the_game_shows_too_is_the_games_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world = world_of(FIRST, SECOND, THIRD, ("Teeworlds", "Hedgewars", 1, 1))
    *mine, last = world.videos
    world = replace(world, videos=(*mine, replace(last, channel=world.channels[1])))
    rows, (report,), _ = harvested(world, tmp_path, capsys, "--category", "Teeworlds", runs=1)
    assert of_cards(rows)
    assert report["removed"] == {}


#: No storyboard: it would keep the break from being fetched.
UNSEEN_BEFORE = {"HARVESTER_SAMPLE_STORYBOARD": "off"}
#: Where a break of 72 s is in the VOD of :func:`break_world`.
BREAK_S = (24, 96)


def break_world() -> World:
    """A VOD of 168 s with a break."""
    world = default_world()
    game, *games = (
        piece_of(world, *which)
        for which in (("Teeworlds", 0), ("Teeworlds", 1), ("Hedgewars", 0), ("Minetest", 0))
    )
    pieces = (game, *[card(world)] * 9, *games)
    return replace(world, videos=(video_of(world, 0, "Teeworlds", pieces),), clips=())


def of_break(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if BREAK_S[0] <= row["offset_s"] < BREAK_S[1]]


def test_a_break_of_one_vod_leaves_as_idle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--category", "Teeworlds")
    rows, (first, second), out = harvested(break_world(), tmp_path, capsys, *words, **UNSEEN_BEFORE)
    left = removed(out)
    assert not of_break(rows)
    assert first["removed"] == {"idle": len(left)} != {"idle": 0}
    assert len(of_break([row for row in outcomes(out) if row["seq"] in left])) == len(left)
    assert len(rows) == first["kept"] - len(left) > 10
    assert (second["planned"], second["removed"]) == (0, {})
    assert {"detail_share", "letterbox", "pillarbox"} <= rows[0].keys()


def test_a_break_in_the_middle_that_moves_is_not_even_fetched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """96 s of it in a VOD of 216 s; it neither comes back nor lies at an end."""
    world = default_world()
    game, *games = (
        piece_of(world, *which)
        for which in (("Teeworlds", 0), ("Teeworlds", 1), ("Hedgewars", 0), ("Minetest", 0))
    )
    vod = video_of(world, 0, "Teeworlds", (game, *[card(world)] * 12, *games, game))
    world = replace(world, videos=(vod,), clips=())
    rows, (first, second), out = harvested(world, tmp_path, capsys, "--category", "Teeworlds")
    offsets = [row["offset_s"] for row in outcomes(out)]
    assert not [offset_s for offset_s in offsets if 24 <= offset_s < 120]
    assert min(offsets) < 24 < 120 < max(offsets)
    assert first["storyboards"]["skipped"] > 10
    assert (len(rows), second["planned"]) == (first["kept"], 0)
    with closing(Ledger(out / ".harvester" / LEDGER_FILE, readonly=True)) as ledger:
        ((_, evidence),) = ledger.evidence_seen(vod.channel.id, ledger.newest_seq())
    assert evidence.scenes[0].standing.mean() > 0.6  # what stood is looked for in the channel's other VODs


def test_with_idle_off_a_break_stays_and_verify_tells_what_other_thresholds_would_change(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "dataset"
    sandbox = SandboxServer(break_world(), cache_dir=tmp_path / "media")
    with sandbox.running():
        commands = Commands(sandbox, tmp_path, capsys)
        words = ("run", "--category", "Teeworlds", "--out", out, "--json")
        ended = commands(*words, **EVERY_SEGMENT, **UNSEEN_BEFORE, HARVESTER_FILTER_IDLE="off")
        assert (ended.code, ended.json["removed"]) == (0, {})
        assert of_break([row for rows in rows_of(out).values() for row in rows])
        same = commands("verify", "--out", out, "--replay", "--json")
        assert (same.code, same.json["findings"], same.json["rejudged"]) == (0, [], [])
        other = commands("verify", "--out", out, "--replay", "--json", HARVESTER_FILTER_FLAT_DEVIATION="128")
        measured = sum(row["measurement"] is not None for row in outcomes(out))
        assert other.json["rejudged"] == [{"was": "", "would_be": "flat", "frames": measured}]
        assert (other.code, other.json["findings"]) == (0, [])


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    environ = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    with closing(Processes(tmp_path_factory.mktemp("commands"), environ)) as served:
        yield served


@pytest.fixture
def case(processes: Processes, tmp_path: Path) -> Iterator[Case]:
    """A card under two games and in three sources; the room of one game is filled again."""
    words = ("--category", "Teeworlds", "--category", "Minetest", "--frames", "8")
    world = world_of(FIRST, SECOND, OTHER_GAME)
    with ExitStack() as stack:
        harvesting = Worlds(processes, tmp_path, stack).harvesting(*words, world=world)
        case = unkilled(harvesting, tmp_path)
        assert removed(tmp_path / "unkilled")
        yield case


@pytest.mark.long
def test_killed_at_any_step_of_a_removal_the_same_frames_leave(case: Case, tmp_path: Path) -> None:
    """From the commit before to the one after; and in the rerun, too."""
    steps = case.steps["step"]
    unlinked = [at for at, step in enumerate(steps, start=1) if step.startswith("os.remove /data/")]
    assert unlinked
    for at in range(unlinked[0] - 3, unlinked[-1] + 4):
        again = [("step", at % 4 + 1)] if at % 3 == 0 else []
        assert case.survives(tmp_path / f"killed-{at}", ("step", at), *again)


@pytest.mark.long
def test_killed_at_any_commit_the_same_frames_leave(case: Case, tmp_path: Path) -> None:
    for kind in ("torn", "committed"):
        for at in range(1, len(case.steps[kind]) + 1, 2):
            case.survives(tmp_path / f"{kind}-{at}", (kind, at))
