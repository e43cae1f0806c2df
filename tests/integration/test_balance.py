"""Caps, even shares and evenly filled categories, through the whole program, and killed."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from harvester.sandbox import SandboxServer, default_world
from harvester.sandbox.world import Video, World
from tests.integration.cases import Case, Worlds, sampled, unkilled
from tests.integration.commands import Commands
from tests.integration.killing import Processes
from tests.integration.test_labels import EVERY_SEGMENT, piece_of, video_of
from tests.integration.wholeness import assert_same, check_books, check_whole, content, outcomes, rows_of

GAME = ("--category", "Teeworlds")

#: VODs under one game, of different pictures: channel, footage, its number, days ago.
Made = tuple[int, str, int, int]
A_FIRST, A_SECOND = (0, "Teeworlds", 0, 2), (0, "Minetest", 0, 1)
B_FIRST, C_FIRST, D_FIRST = (1, "Hedgewars", 0, 2), (2, "SuperTuxKart", 0, 3), (3, "Freedoom", 0, 1)


def world_of(*made: Made) -> World:
    world = default_world()

    def vod(number: int, channel: int, game: str, footage: int, days_ago: int) -> Video:
        video = video_of(world, number, "Teeworlds", (piece_of(world, game, footage),))
        at = world.now - timedelta(days=days_ago)
        return replace(video, created_at=at, channel=world.channels[channel])

    return replace(world, videos=tuple(vod(n, *which) for n, which in enumerate(made)), clips=())


@contextmanager
def harvesting(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Commands]:
    sandbox = SandboxServer(world, cache_dir=tmp_path / "media")
    with sandbox.running():
        yield Commands(sandbox, tmp_path, capsys)


def run(harvester: Commands, out: Path, *words: str, **settings: str) -> dict[str, Any]:
    """The report of a run that ends well, and leaves everything as it should be."""
    more = {f"HARVESTER_SAMPLE_{key}": value for key, value in settings.items()}
    ended = harvester("run", *words, "--out", out, "--json", **EVERY_SEGMENT, **more)
    assert ended.code == 0, ended.err
    check_books(out, ended.json)
    check_whole(out)
    verified = harvester("verify", "--out", out, "--replay")
    assert verified.code == 0, verified.err
    return ended.json


def status(harvester: Commands, out: Path) -> dict[str, Any]:
    (entry,) = harvester("status", "--out", out, "--json").json["categories"].values()
    assert isinstance(entry, dict)
    return entry


def kept(out: Path) -> list[dict[str, Any]]:
    return [row for rows in rows_of(out).values() for row in rows]


def days_of(world: World, rows: Sequence[dict[str, Any]]) -> Counter[str]:
    made = {video.id: f"{video.created_at:%Y-%m-%d}" for video in world.videos}
    return Counter(made[row["source_id"]] for row in rows)


def test_a_day_gives_no_more_than_its_cap_in_all_runs_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few, out = world_of(A_FIRST, B_FIRST, C_FIRST), tmp_path / "dataset"
    with harvesting(few, tmp_path, capsys) as harvester:
        report = run(harvester, out, *GAME, MAX_PER_DAY="7")
        assert set(days_of(few, kept(out)).values()) == {7}
        assert len({row["broadcaster_id"] for row in kept(out)}) == 3
        assert report["capped"] == {"day-cap": report["dropped"]["day-cap"]} != {"day-cap": 0}
    more = world_of(A_FIRST, B_FIRST, C_FIRST, (3, "Freedoom", 0, 2), A_SECOND)
    with harvesting(more, tmp_path, capsys) as harvester:
        run(harvester, out, *GAME, MAX_PER_DAY="7")
    assert sorted(days_of(more, kept(out)).values()) == [7, 7, 7]
    late = [row for row in outcomes(out) if row["source_id"] == more.videos[3].id]
    assert {row["reason"] for row in late} == {"day-cap"}


def test_with_few_broadcasters_each_has_its_share_and_the_rest_comes_once_there_are_more(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, out = (*GAME, "--frames", "18"), tmp_path / "dataset"
    with harvesting(world_of(A_FIRST, A_SECOND, B_FIRST), tmp_path, capsys) as harvester:
        report = run(harvester, out, *words, MIN_BROADCASTERS="3")
        assert sorted(Counter(row["broadcaster_id"] for row in kept(out)).values()) == [6, 6]
        held_back = report["capped"]["few-broadcasters"]
        assert held_back == report["dropped"]["few-broadcasters"] > 0
        (books,) = report["categories"].values()
        assert "held back" in books["note"]
        told = status(harvester, out)
        assert (told["wanted"], told["shortfall"]["missing"], told["shortfall"]["held_back"]) == (18, 6, held_back)
        again = run(harvester, out, *words, MIN_BROADCASTERS="3")
        assert (again["planned"], again["bytes"].get("media", 0)) == (0, 0)
        assert "6 short of 18" in harvester("status", "--out", out).out
    world = world_of(A_FIRST, A_SECOND, B_FIRST, C_FIRST)
    with harvesting(world, tmp_path, capsys) as harvester:
        report = run(harvester, out, *words, MIN_BROADCASTERS="3", MAX_PER_VOD="4")
        assert len(kept(out)) == 18
        counts = Counter(row["broadcaster_id"] for row in kept(out))
        assert sorted(counts.values())[0] <= 4  # so that others gave more than their share
        came_back = [row for row in outcomes(out) if row["run_id"] == report["run_id"] and row["pass_id"] > 2]
        assert came_back
        assert status(harvester, out)["shortfall"] is None


def test_how_far_work_runs_ahead_does_not_matter_to_a_share_that_opens_on_the_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is begun while a broadcaster has its share may be decided when others have frames too."""
    words = (*GAME, "--frames", "20")
    settings = {"MIN_BROADCASTERS": "4", "ROUND_SIZE": "6", "MAX_PER_DAY": "9"}
    with harvesting(world_of(A_FIRST, A_SECOND, B_FIRST, C_FIRST, D_FIRST), tmp_path, capsys) as harvester:
        for frames in ("1", "96"):
            monkeypatch.setenv("HARVESTER_FETCH_WINDOW_FRAMES", frames)
            run(harvester, tmp_path / frames, *words, **settings)
    one, many = content(tmp_path / "1"), content(tmp_path / "96")
    reasons = {key[-2] for key in one.decisions}
    assert "few-broadcasters" in reasons
    assert_same(many, one)


def test_a_bounded_run_fills_all_categories_evenly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("Teeworlds", "Minetest", "Hedgewars")
    words = [word for name in names for word in ("--category", name)]
    with harvesting(default_world(), tmp_path, capsys) as harvester:
        for frames in (12, 24):
            run(harvester, tmp_path / "dataset", *words, "--max-frames", "12")
            labels = Counter(row["label"] for row in kept(tmp_path / "dataset"))
            assert labels.total() == frames
            assert max(labels.values()) - min(labels[name] for name in names) <= 3


def test_the_category_that_has_least_catches_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, both = tmp_path / "dataset", (*GAME, "--category", "Minetest")
    with harvesting(default_world(), tmp_path, capsys) as harvester:
        run(harvester, out, *GAME, "--frames", "10")
        run(harvester, out, *both, "--max-frames", "8")
        labels = Counter(row["label"] for row in kept(out))
        assert labels.total() == 18
        assert labels["Minetest"] >= 6


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    environ = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    with closing(Processes(tmp_path_factory.mktemp("commands"), environ)) as served:
        yield served


@pytest.fixture
def capped(processes: Processes, tmp_path: Path) -> Iterator[Case]:
    """Shares that open on the way, held back targets that come back, days that are full."""
    world = world_of(A_FIRST, A_SECOND, B_FIRST, C_FIRST, D_FIRST)
    caps = {"SAMPLE_MIN_BROADCASTERS": "4", "SAMPLE_MAX_PER_DAY": "5", "SAMPLE_ROUND_SIZE": "6"}
    with ExitStack() as stack:
        harvesting = Worlds(processes, tmp_path, stack).harvesting(*GAME, "--frames", "16", world=world, **caps)
        case = unkilled(harvesting, tmp_path)
        reasons = Counter(key[-2] for key in case.wanted.decisions)
        assert reasons["few-broadcasters"]
        assert reasons["day-cap"]
        assert {key[0] for key in case.wanted.decisions} == {0, 1, 2}  # what was held back; refills
        yield case


@pytest.mark.long
def test_killed_anywhere_caps_and_shares_are_the_same(capped: Case, tmp_path: Path) -> None:
    sampled(capped, tmp_path, every=40, seed=3)
