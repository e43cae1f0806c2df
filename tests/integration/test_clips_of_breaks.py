"""Clips that are cut from where nobody plays, through the whole program: their VOD's storyboard tells.

It does not matter what is harvested first: clips by themselves, or the VOD.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harvester.sandbox import SandboxServer, default_world
from harvester.sandbox.world import Clip, World
from tests.integration.commands import Commands
from tests.integration.test_labels import EVERY_SEGMENT, piece_of, video_of
from tests.integration.test_leaving import card
from tests.integration.wholeness import check_books, check_whole, outcomes, removed, rows_of

#: Where the break is in the VOD of :func:`world_of` (s).
BREAK_S = (24.0, 120.0)
PLAYED, BROKEN, LONE = "ClipOfPlay", "ClipOfBreak", "ClipOfBreakAlone"
GONE = tuple(f"ClipOfPlayAlone{n}" for n in range(3))


def world_of() -> World:
    """A VOD of 216 s with a break in the middle, and clips: one of its play; one of the middle of the break, of a
    picture that the rest of it does not show; of VODs that are gone three of play, and one of that break."""
    world = default_world()
    shown = (
        ("Teeworlds", 0),
        ("Teeworlds", 1),
        ("Hedgewars", 0),
        ("Minetest", 0),
        ("SuperTuxKart", 0),
        ("Hedgewars", 1),
        ("Minetest", 1),
    )
    game, *games, other, unlike, played = (piece_of(world, *which) for which in shown)
    vod = video_of(world, 0, "Teeworlds", (game, *[card(world)] * 12, *games, game))
    model = next(clip for clip in world.clips if clip.condition == "fine")
    mine = {"channel": vod.channel, "creator": vod.channel, "game": vod.game, "start_s": 0.0, "duration_s": 8.0}
    gone = {"video_id": "", "vod_offset_s": None} | mine
    clips: list[Clip] = [
        replace(model, id=PLAYED, piece=played, video_id=vod.id, vod_offset_s=144, **mine),
        replace(model, id=BROKEN, piece=unlike, video_id=vod.id, vod_offset_s=48, **mine),
        replace(model, id=LONE, piece=card(world), **gone),
    ]
    clips += [replace(model, id=name, piece=other, **(gone | {"start_s": 8.0 * n})) for n, name in enumerate(GONE)]
    return replace(world, videos=(vod,), clips=tuple(clips))


def harvested(
    folder: Path, capsys: pytest.CaptureFixture[str], *runs: tuple[str, ...], world: World
) -> tuple[set[tuple[Any, ...]], set[tuple[str, str]]]:
    """Frames that stay, sources and reasons of those that left. The last run is repeated."""
    folder.mkdir()
    out = folder / "dataset"
    sandbox = SandboxServer(world, cache_dir=folder.parent / "media")
    with sandbox.running():
        commands = Commands(sandbox, folder, capsys)
        for words in (*runs, runs[-1]):
            ended = commands("run", "--category", "Teeworlds", *words, "--out", out, "--json", **EVERY_SEGMENT)
            assert ended.code == 0, ended.err
            check_books(out, ended.json)
            check_whole(out)
        assert (ended.json["planned"], ended.json["removed"]) == (0, {})
        assert commands("verify", "--out", out, "--replay").code == 0
    reasons = {row["seq"]: row["reason"] for row in removed(out).values()}
    left = {(row["source_id"], reasons[row["seq"]]) for row in outcomes(out) if row["seq"] in reasons}
    rows = [row for its in rows_of(out).values() for row in its]
    return {(row["source_id"], row["offset_s"], row["phash"]) for row in rows}, left


CLIPS, VODS = ("--source-type", "clip"), ("--source-type", "vod")


def test_clips_of_a_break_leave_whatever_is_harvested_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world = world_of()
    _, left = harvested(tmp_path / "before", capsys, CLIPS, world=world)
    assert left == set()  # nobody has looked at the VOD yet
    for name, runs in (("clips", (CLIPS, VODS)), ("vods", (VODS, CLIPS)), ("both", ((),))):
        kept, left = harvested(tmp_path / name, capsys, *runs, world=world)
        assert left == {(BROKEN, "idle"), (LONE, "idle")}, name
        assert {source for source, *_ in kept} == {world.videos[0].id, PLAYED, *GONE}
        of_vod = [offset_s for source, offset_s, _ in kept if source == world.videos[0].id]
        assert of_vod
        assert not [offset_s for offset_s in of_vod if BREAK_S[0] <= offset_s < BREAK_S[1]]
