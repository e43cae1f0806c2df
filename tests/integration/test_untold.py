"""Another game in the middle of a VOD that tells nothing of it, through the whole program."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harvester.sandbox import SandboxServer, default_world
from harvester.sandbox.world import Cutting, Look, World
from tests.integration.commands import Commands
from tests.integration.test_labels import piece_of, video_of
from tests.integration.wholeness import check_books, check_whole, outcomes, removed, rows_of

FIRST, SECOND = "Teeworlds", "Minetest"
#: Every moment is looked at: what is doubtful comes last else, and is not needed.
SETTINGS = {"HARVESTER_SAMPLE_MIN_HEIGHT": "100", "HARVESTER_SAMPLE_MAX_PER_VOD": "400"}
#: Each piece of footage is shown ten times over, 24 s long; the third one is of the game that is not told.
LONG_S = 240.0


def world_of() -> World:
    """Of one channel: a VOD with four minutes of another game in it, and a VOD of that other game, in a mirror."""
    world = default_world()
    first, again, second = (piece_of(world, *which) for which in ((FIRST, 0), (FIRST, 1), (SECOND, 0)))
    mirrored = replace(second, look=Look(0.0, 0.0, 1.0, mirror=True, tint=(0, 0)))
    vods = ((FIRST, (first, again, second, first)), (SECOND, (mirrored, mirrored)))
    videos = (
        video_of(world, number, listed, pieces, cutting=Cutting(4.0, repeats=10))
        for number, (listed, pieces) in enumerate(vods)
    )
    mine = tuple(replace(video, channel=world.channels[0]) for video in videos)
    return World(world.seed, world.now, world.games, world.channels, mine, (), world.pts_mode)


def test_frames_of_a_game_that_nobody_told_leave(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world, out = world_of(), tmp_path / "dataset"
    sandbox = SandboxServer(world, cache_dir=tmp_path / "media")
    with sandbox.running():
        commands = Commands(sandbox, tmp_path, capsys)
        words = ("run", "--category", FIRST, "--category", SECOND, "--out", out, "--json")
        ended = commands(*words, **SETTINGS)
        assert ended.code == 0, ended.err
        check_books(out, ended.json)
        check_whole(out)
        assert commands("verify", "--out", out, "--replay").code == 0
        again = commands(*words, **SETTINGS)
        assert (again.code, again.json["planned"], again.json["removed"]) == (0, 0, {})
    left = {row["seq"] for row in removed(out).values() if row["reason"] == "other-game"}
    gone = [row for row in outcomes(out) if row["seq"] in left]
    assert gone
    assert {row["source_id"] for row in gone} == {world.videos[0].id}
    assert ended.json["removed"]["other-game"] == len(gone)
    rows = [row for its in rows_of(out).values() for row in its if row["source_id"] == world.videos[0].id]
    assert rows
    assert not [row for row in rows if 2 * LONG_S <= row["offset_s"] < 3 * LONG_S]
