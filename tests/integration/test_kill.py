"""Killed anywhere, the same dataset: every command here is a real process that dies by itself, at a counted step.

Whatever step it was, a reader finds every listed image whole at once (I4); a run that follows ends with the very
dataset, and the very decisions, of a run that was never killed (I5); its books sum (I1), what is decided is a
prefix of the ranks (I2), and every verdict can be repeated (I3, ``verify --replay``).
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from harvester.sandbox import Fault, SandboxServer, default_world
from harvester.sandbox.world import World
from tests.integration.killing import (
    SAMPLE,
    Content,
    Finished,
    Harvesting,
    Processes,
    assert_same,
    check_books,
    check_raw,
    check_whole,
    content,
    outcomes,
    rows_of,
    spread,
)

SETTINGS = {
    **{f"HARVESTER_SAMPLE_{key.upper()}": str(getattr(SAMPLE, key)) for key in SAMPLE.model_fields_set},
    "HARVESTER_DISCOVER_REQUESTS_PER_S": "1000",
    "HARVESTER_FETCH_GQL_REQUESTS_PER_S": "1000",
    "HARVESTER_FETCH_ATTEMPTS": "2",
    "HARVESTER_FETCH_RETRY_BASE_S": "0.01",
    "HARVESTER_FETCH_RETRY_MAX_S": "0.02",
}


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    environ = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    served = Processes(tmp_path_factory.mktemp("commands"), environ)
    yield served
    served.close()


@dataclass
class Worlds:
    """Sandboxes that run as long as the tests of this module."""

    processes: Processes
    folder: Path
    stack: ExitStack

    def harvesting(
        self,
        *arguments: str,
        world: World | None = None,
        faults: tuple[Fault, ...] = (),
        rtt_ms: float = 0,
        **more: str,
    ) -> Harvesting:
        """Aimed at a sandbox of its own; ``more``: environment variables without their HARVESTER_."""
        server = SandboxServer(world or default_world(), rtt_ms=rtt_ms, helix_points=1_000_000)
        self.stack.enter_context(server.running())
        for fault in faults:
            server.inject(fault)
        config = self.folder / f"{server.port}.toml"
        config.write_text(server.config_toml())
        settings = {**SETTINGS, **{f"HARVESTER_{key}": value for key, value in more.items()}}
        return Harvesting(self.processes, config, {**server.environ, **settings}, arguments)


@pytest.fixture(scope="module")
def worlds(processes: Processes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worlds]:
    with ExitStack() as stack:
        yield Worlds(processes, tmp_path_factory.mktemp("worlds"), stack)


def aimed(harvesting: Harvesting, *arguments: str, **more: str) -> Harvesting:
    """The same world asked for something else, or with other settings."""
    environ = {**harvesting.environ, **{f"HARVESTER_{key}": value for key, value in more.items()}}
    return replace(harvesting, arguments=arguments, environ=environ)


TWO = ("--category", "Minetest", "--category", "Hedgewars")
SIX = (*TWO, "--frames", "6")
TEN = (*TWO, "--frames", "10")


#: What a step can be (killing.py).
KINDS = ("step", "torn", "committed")


@dataclass(frozen=True)
class Case:
    """A run that will be killed: what it starts from (None: nothing), and how it ends when nobody kills it."""

    harvesting: Harvesting
    before: Path | None
    wanted: Content
    steps: dict[str, list[str]]
    codes: tuple[int, ...]

    def fresh(self, root: Path) -> Path:
        if self.before is not None:
            shutil.copytree(self.before, root)
        return root

    def finish(self, root: Path) -> None:
        """Run to the end: the dataset must be the one that nobody killed."""
        self.harvesting.finish(root, *self.codes)
        assert_same(content(root), self.wanted)

    def survives(self, root: Path, *deaths: tuple[str, int]) -> bool:
        """Kill one run after the other, then finish. False if not even the first was killed any more."""
        self.fresh(root)
        killed = [die(self.harvesting, root, kind, at) for kind, at in deaths]
        self.finish(root)
        shutil.rmtree(root)
        return killed[0]


def die(harvesting: Harvesting, root: Path, kind: str, at: int) -> bool:
    """Run until killed at that step; whatever it was, a reader finds no fault. False if the run ended before."""
    done = harvesting.run(root, kind=kind, at=at)
    assert done.killed or done.code >= 0, done.err[-2000:]
    check_raw(root)
    return done.killed


def case(harvesting: Harvesting, folder: Path, before: Path | None = None, codes: tuple[int, ...] = (0,)) -> Case:
    """Run it once for each kind of step, which must already give the same dataset, and count them."""
    steps, found = {}, []
    for kind in KINDS:
        root = folder / f"unkilled-{kind}"
        if before is not None:
            shutil.copytree(before, root)
        done = harvesting.run(root, kind=kind)
        assert done.code in codes, done.err[-2000:]
        check_books(root, done.report)
        check_whole(root)
        steps[kind] = done.steps
        found.append(content(root))
    for other in found[1:]:
        assert_same(other, found[0])
    return Case(harvesting, before, found[0], steps, codes)


def sampled(case: Case, tmp_path: Path, *, every: int, seed: int) -> None:
    """Kill at a sample of all steps; each second time also in the run that comes after."""
    rng = random.Random(seed)
    for kind in KINDS:
        for turn, at in enumerate(spread(len(case.steps[kind]), every, seed)):
            again = [("step", rng.randrange(1, 60))] if turn % 2 else []
            case.survives(tmp_path / f"{kind}-{at}", (kind, at), *again)


def exhaustively(case: Case, tmp_path: Path, *, seed: int) -> None:
    """Kill at the first step, at the second, ... until a run has fewer; each third time again and again."""
    rng = random.Random(seed)
    for kind in KINDS:
        at = 1
        while True:
            again = [("step", rng.randrange(1, 60)) for _ in range(rng.randrange(1, 4))] if at % 3 == 0 else []
            if not case.survives(tmp_path / f"{kind}-{at}", (kind, at), *again):
                break
            at += 1
        assert at >= 0.9 * len(case.steps[kind])


# -- the cases --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plain(worlds: Worlds, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A first run: two categories, six frames each."""
    return case(worlds.harvesting(*SIX), tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def raised(plain: Case, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A second run on the dataset of the first, for more frames."""
    folder = tmp_path_factory.mktemp("raised")
    before = folder / "before"
    plain.harvesting.finish(before)
    return case(aimed(plain.harvesting, *TEN), folder, before)


@pytest.fixture(scope="module")
def troubled(worlds: Worlds, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Everything there is of a world where much fails for ever: sources, playlists, segments; and with a cap."""
    world = default_world()
    harvesting = worlds.harvesting(*TWO, world=world, faults=trouble(world), SAMPLE_MAX_PER_BROADCASTER="7")
    return case(harvesting, tmp_path_factory.mktemp("troubled"), codes=(0, 4))


def trouble(world: World) -> tuple[Fault, ...]:
    """A VOD of each game that usher refuses or breaks, playlists and segments that are missing or broken."""
    minetest, hedgewars = ([v for v in world.videos if v.game.name == name] for name in ("Minetest", "Hedgewars"))
    clip = next(clip for clip in world.clips if clip.game.name == "Hedgewars")
    return (
        Fault(path=rf"/vod/(v2/)?{minetest[0].id}", status=403, times=0),
        Fault(path=rf"/cdn/{hedgewars[0].distribution}/.*m3u8", status=500, times=0),
        Fault(path=rf"/cdn/{minetest[1].distribution}/.*/[135]\.(ts|mp4)", status=403, times=0),
        Fault(path=rf"/cdn/{hedgewars[1].distribution}/.*/[24]\.(ts|mp4)", status=503, times=0),
        Fault(path=rf"/cdn/clips/{clip.id}/", status=403, times=0),
    )


# -- kill -9 ----------------------------------------------------------------------------------------------------


def test_killed_at_a_step_of_the_first_run(plain: Case, tmp_path: Path) -> None:
    sampled(plain, tmp_path, every=12, seed=1)


def test_killed_at_a_step_of_a_later_run(raised: Case, tmp_path: Path) -> None:
    sampled(raised, tmp_path, every=25, seed=2)


def test_killed_where_sources_and_targets_fail(troubled: Case, tmp_path: Path) -> None:
    verdicts = {(key[-3], key[-2]) for key in troubled.wanted.decisions}
    assert {verdict for verdict, _ in verdicts} == {"kept", "dropped", "failed"}
    assert ("dropped", "broadcaster-cap") in verdicts
    sampled(troubled, tmp_path, every=25, seed=3)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["plain", "raised", "troubled"])
def test_killed_at_every_step(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    exhaustively(request.getfixturevalue(name), tmp_path, seed=4)
