"""A night that cannot take all that is new takes first what may be gone by the next."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from harvester.model import VodType
from harvester.sandbox import SandboxServer, world_from_index
from harvester.sandbox.world import Video, World
from tests.integration.commands import Commands
from tests.integration.small_world import write_footage
from tests.integration.wholeness import outcomes


def test_the_oldest_vods_come_first_when_a_night_is_bounded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = world_from_index(write_footage(tmp_path / "footage", games=1, sessions=5, gops=6), segment_s=2.0)
    there.clips = ()
    whole = sorted(there.videos, key=lambda video: video.id)
    for oldest in (whole[0], whole[-1]):  # one of them is not first in the seeded order
        there.videos = tuple(_aged(there, video, 6.5 if video is oldest else 1.0) for video in whole)
        there.__post_init__()
        with SandboxServer(there, cache_dir=tmp_path / "cache").running() as server:
            out = tmp_path / oldest.id
            arguments = ("run", "--category", "Game 0", "--out", out, "--json", "--max-frames", "3")
            settings = {
                "HARVESTER_RUN_NOW": f"{there.now:%Y-%m-%dT%H:%M:%SZ}",
                "HARVESTER_SAMPLE_MIN_HEIGHT": "90",
            }
            ended = Commands(server, tmp_path, capsys)(*arguments, **settings)
            assert (ended.code, ended.json["kept"]) == (0, 3)
        assert {row["source_id"] for row in outcomes(out)} == {oldest.id}


def _aged(world: World, video: Video, days: float) -> Video:
    return replace(video, created_at=world.now - timedelta(days=days), type=VodType.ARCHIVE)
