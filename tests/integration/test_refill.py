"""A VOD that shows the same twice gives as many frames all the same: further moments are looked at for those in vain."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest

from harvester.sandbox import SandboxServer, default_world
from harvester.sandbox.world import World
from tests.integration.cases import Case, Worlds, unkilled
from tests.integration.commands import Commands
from tests.integration.killing import Processes
from tests.integration.test_labels import EVERY_SEGMENT, piece_of, video_of
from tests.integration.wholeness import check_books, check_whole, outcomes, rows_of

#: Most frames of a VOD; equal steps, so that what is looked at first is not chosen by look.
FEW = {"HARVESTER_SAMPLE_MAX_PER_VOD": "8", "HARVESTER_SAMPLE_STORYBOARD": "off"}
WORDS = ("--category", "Teeworlds")


def world_of(*copies: int) -> World:
    """VODs that show the same 24 s so many times, and something else in the end."""
    world = default_world()
    first, other, last = (
        piece_of(world, *which) for which in (("Teeworlds", 0), ("Teeworlds", 1), ("Hedgewars", 0))
    )
    vods = [video_of(world, n, "Teeworlds", (*[first] * count, other, last)) for n, count in enumerate(copies)]
    return replace(world, videos=tuple(vods), clips=())


@pytest.fixture
def commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Commands]:
    sandbox = SandboxServer(world_of(5, 2), cache_dir=tmp_path / "media")
    with sandbox.running():
        yield Commands(sandbox, tmp_path, capsys)


def test_a_moment_in_vain_is_made_good_by_another(commands: Commands, tmp_path: Path) -> None:
    out = tmp_path / "dataset"
    first, second = (
        commands("run", *WORDS, "--out", out, "--json", **EVERY_SEGMENT, **FEW).json for _ in range(2)
    )
    check_books(out, first)
    check_whole(out)
    rows = outcomes(out)
    moments = {(row["source_id"], row["offset_s"]) for row in rows}
    assert len(moments) == len(rows) > 16  # none twice
    assert first["dropped"]["duplicate"] == len(rows) - first["kept"] > 0
    in_first_turn = sum(row["verdict"] == "kept" for row in rows if row["k"] < 8)
    assert in_first_turn < first["kept"] <= 16
    assert second["planned"] == 0
    assert commands("verify", "--out", out, "--replay").code == 0
    assert sum(map(len, rows_of(out).values())) == first["kept"]


def test_a_target_that_is_met_needs_none(commands: Commands, tmp_path: Path) -> None:
    out = tmp_path / "dataset"
    met = commands("run", *WORDS, "--frames", 4, "--out", out, "--json", **EVERY_SEGMENT, **FEW).json
    assert (met["kept"], {row["pass_id"] for row in outcomes(out)}) == (4, {1})


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    environ = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    with closing(Processes(tmp_path_factory.mktemp("commands"), environ | EVERY_SEGMENT | FEW)) as served:
        yield served


@pytest.fixture
def case(processes: Processes, tmp_path: Path) -> Iterator[Case]:
    with ExitStack() as stack:
        case = unkilled(Worlds(processes, tmp_path, stack).harvesting(*WORDS, world=world_of(5, 2)), tmp_path)
        assert any(row["k"] >= 8 for row in outcomes(tmp_path / "unkilled"))
        yield case


@pytest.mark.long
def test_killed_at_any_commit_the_same_moments_make_it_good(case: Case, tmp_path: Path) -> None:
    for kind in ("torn", "committed"):
        for at in range(1, len(case.steps[kind]) + 1, 2):
            case.survives(tmp_path / f"{kind}-{at}", (kind, at))
