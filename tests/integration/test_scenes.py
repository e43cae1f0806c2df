"""A screen that several channels of a game show: in the dataset once, and marked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harvester.sandbox import SandboxServer, default_world
from harvester.sandbox.world import World
from tests.integration.commands import Commands
from tests.integration.test_labels import EVERY_SEGMENT
from tests.integration.test_leaving import FIRST, SECOND, THIRD, world_of
from tests.integration.wholeness import check_whole, rows_of

#: What every VOD begins with (s).
CARD_S = 8.0
WORDS = ("--category", "Teeworlds", "--frames", "24")


def of_channels(count: int) -> World:
    """Three VODs that begin with the same screen, by so many channels."""
    world = world_of(FIRST, SECOND, THIRD)
    videos = [replace(v, channel=world.channels[n % count]) for n, v in enumerate(world.videos)]
    assert len(default_world().channels) >= count
    return replace(world, videos=tuple(videos))


def test_what_three_channels_show_is_marked_and_a_kill_makes_no_difference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "dataset"
    sandbox = SandboxServer(of_channels(3), cache_dir=tmp_path / "media")
    with sandbox.running():
        commands = Commands(sandbox, tmp_path, capsys)
        assert commands("run", *WORDS, "--out", out, **EVERY_SEGMENT).code == 0
        check_whole(out)
        rows = [row for its in rows_of(out).values() for row in its]
        files = {file: file.read_bytes() for file in out.glob("data/*/metadata.parquet")}
        for file in files:  # as who is killed before the end of a run leaves it
            table = pq.read_table(file)
            number = table.schema.get_field_index("scene")
            pq.write_table(table.set_column(number, "scene", pa.nulls(len(table), pa.string())), file)
        assert commands("run", *WORDS, "--out", out, **EVERY_SEGMENT).code == 0
        assert {file: file.read_bytes() for file in files} == files
        assert commands("verify", "--out", out, "--replay").code == 0
    marked = [row for row in rows if row["scene"] is not None]
    assert len(marked) == 1
    assert {row["scene"] for row in marked} == {"shared"}
    assert all(row["offset_s"] < CARD_S for row in marked)
    assert {row["scene"] for row in rows if row["offset_s"] >= CARD_S} == {None}


def test_what_two_channels_show_is_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "dataset"
    sandbox = SandboxServer(of_channels(2), cache_dir=tmp_path / "media")
    with sandbox.running():
        commands = Commands(sandbox, tmp_path, capsys)
        assert commands("run", *WORDS, "--out", out, **EVERY_SEGMENT).code == 0
    assert {row["scene"] for its in rows_of(out).values() for row in its} == {None}
