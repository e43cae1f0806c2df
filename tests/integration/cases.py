"""Runs that are to be killed: the worlds they happen in, what they give when nobody kills them, and the killing."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from harvester.sandbox import Fault, SandboxServer, default_world
from harvester.sandbox.world import World
from tests.integration.killing import Harvesting, Processes
from tests.integration.wholeness import SAMPLE, Content, assert_same, check_raw, content, outcomes, rows_of

#: Environment of every run: the sampling that is counted on, and no politeness.
SETTINGS = {
    **{f"HARVESTER_SAMPLE_{key.upper()}": str(getattr(SAMPLE, key)) for key in SAMPLE.model_fields_set},
    "HARVESTER_DISCOVER_REQUESTS_PER_S": "1000",
    "HARVESTER_FETCH_GQL_REQUESTS_PER_S": "1000",
    "HARVESTER_FETCH_ATTEMPTS": "2",
    "HARVESTER_FETCH_RETRY_BASE_S": "0.01",
    "HARVESTER_FETCH_RETRY_MAX_S": "0.02",
}


def spread(count: int, every: int, seed: int) -> list[int]:
    """Every ``every``-th of the numbers 1..count from a seeded start on, and the first and the last."""
    first = random.Random(seed).randrange(1, every + 1)
    return sorted({1, count, *range(first, count + 1, every)})


@dataclass
class Worlds:
    """Sandboxes that run as long as ``stack`` stands."""

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
        return Harvesting(self.processes, server, config, {**server.environ, **settings}, arguments)


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


def aimed(harvesting: Harvesting, *arguments: str, **more: str) -> Harvesting:
    """The same world asked for something else, or with other settings."""
    environ = {**harvesting.environ, **{f"HARVESTER_{key}": value for key, value in more.items()}}
    return replace(harvesting, arguments=arguments, environ=environ)


#: Kinds of steps at which runs are killed; before a COMMIT is among the first.
KILLING = ("step", "torn", "committed")

#: Cap of the troubled world, so that broadcasters reach it at different ranks.
CAPPED = {"SAMPLE_MAX_PER_BROADCASTER": "5"}

#: Random kills fall into about this time from the start of a command (s).
SHORTEST_S = 0.6

#: Searches for a step that leaves a certain state, before there is none.
SEARCHES = 4
#: Steps by which a run may take more than the one that was counted: what opens together is committed together.
MORE_STEPS = 4

TWO = ("--category", "Minetest", "--category", "Hedgewars")
SIX = (*TWO, "--frames", "6")
TEN = (*TWO, "--frames", "10")


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


def unkilled(
    harvesting: Harvesting, folder: Path, before: Path | None = None, codes: tuple[int, ...] = (0,)
) -> Case:
    """Run it, so far unkilled, and count its steps."""
    root = folder / "unkilled"
    if before is not None:
        shutil.copytree(before, root)
    done = harvesting.finish(root, *codes)
    return Case(harvesting, before, content(root), done.steps, codes)


def sampled(case: Case, tmp_path: Path, *, every: int, seed: int, kinds: Sequence[str] = KILLING) -> None:
    """Kill at a sample of all steps; each second time also in the run that comes after."""
    rng = random.Random(seed)
    for kind in kinds:
        for turn, at in enumerate(spread(len(case.steps[kind]), every, seed)):
            again = [("step", rng.randrange(1, 60))] if turn % 2 else []
            case.survives(tmp_path / f"{kind}-{at}", (kind, at), *again)


def exhaustively(
    case: Case, tmp_path: Path, crew: Sequence[Processes], *, seed: int, kinds: Sequence[str] = KILLING
) -> None:
    """Kill at the first step, at the second, ... until a run has fewer, in as many runs at a time as the crew is."""
    with ThreadPoolExecutor(len(crew)) as pool:
        shares = []
        for number, processes in enumerate(crew, start=1):
            mine = replace(case, harvesting=replace(case.harvesting, processes=processes))
            rng = random.Random(seed + number)
            shares.append(pool.submit(share, mine, tmp_path, range(number, 10_000, len(crew)), kinds, rng))
        for done in shares:
            done.result()


def share(case: Case, tmp_path: Path, numbers: range, kinds: Sequence[str], rng: random.Random) -> None:
    """Kill at the steps of these numbers; each third time again and again in the runs that come after."""
    for kind in kinds:
        for turn, at in enumerate(numbers):
            again = [("step", rng.randrange(1, 60)) for _ in range(rng.randrange(1, 4))] if turn % 3 == 0 else []
            killed = case.survives(tmp_path / f"{kind}-{at}", (kind, at), *again)
            if not killed and at >= len(case.steps[kind]):  # some runs need a batch less
                break


def cut(case: Case, root: Path, kind: str, is_meant: Callable[[Path], bool]) -> Path:
    """What the last kill of that kind leaves which leaves what is meant.

    Which step of a run does what depends on the order in which its sources open: what one search misses by a step or
    two the next one finds.
    """
    for _search in range(SEARCHES):
        for at in range(len(case.steps[kind]) + MORE_STEPS, 0, -1):
            case.fresh(root)
            killed = die(
                case.harvesting, root, kind, at
            )  # some runs need a batch less, or open a source less ahead
            if killed and is_meant(root):
                return root
            shutil.rmtree(root)
    raise AssertionError(f"no {kind} leaves that")


def listed(root: Path) -> set[str]:
    return {f"{split}/{row['file_name']}" for split, rows in rows_of(root).items() for row in rows}


def has_uncommitted(root: Path) -> bool:
    """A batch is in place and not committed. An early kill leaves a ledger without tables, and nothing listed."""
    names = listed(root)
    if not names:
        return False
    kept = {row["file_name"] for row in outcomes(root)}
    return any(name.partition("/")[2] not in kept for name in names)


def has_unlisted(root: Path) -> bool:
    """Images of a batch are in place and their rows are not."""
    return any(path.relative_to(root / "data").as_posix() not in listed(root) for path in root.glob("data/*/*/*"))
