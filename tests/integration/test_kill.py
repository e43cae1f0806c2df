"""Killed anywhere, the same dataset: every command here is a real process that dies by itself, at a counted step.

Whatever step it was, a reader finds every listed image whole at once (I4); a run that follows ends with the very
dataset, and the very decisions, of a run that was never killed (I5); its books sum (I1), what is decided is a
prefix of the ranks (I2), and every verdict can be repeated (I3, ``verify --replay``).
"""

from __future__ import annotations

import json
import logging
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from harvester.sandbox import Fault, default_world
from harvester.sandbox.world import World
from tests.integration.cases import (
    CAPPED,
    KILLING,
    SHORTEST_S,
    SIX,
    TEN,
    TWO,
    Case,
    Worlds,
    aimed,
    cut,
    die,
    exhaustively,
    has_uncommitted,
    has_unlisted,
    sampled,
    spread,
    trouble,
    unkilled,
)
from tests.integration.killing import BESIDE_SHARE, Harvesting, Processes
from tests.integration.wholeness import (
    assert_same,
    check_books,
    check_raw,
    check_whole,
    content,
    outcomes,
    rows_of,
)


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    with closing(_served(tmp_path_factory)) as processes:
        yield processes


@pytest.fixture(scope="module")
def crew(processes: Processes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Processes, ...]]:
    """Two servers of processes, for two threads."""
    with closing(_served(tmp_path_factory)) as other:
        yield processes, other


def _served(tmp_path_factory: pytest.TempPathFactory) -> Processes:
    environ = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return Processes(tmp_path_factory.mktemp("commands"), environ)


@pytest.fixture(scope="module", autouse=True)
def silent_sandbox() -> Iterator[None]:
    """A killed client breaks off in the middle of requests; the server need not tell each one."""
    log = logging.getLogger("aiohttp.server")
    log.disabled = True
    yield
    log.disabled = False


@pytest.fixture(scope="module")
def worlds(processes: Processes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worlds]:
    with ExitStack() as stack:
        yield Worlds(processes, tmp_path_factory.mktemp("worlds"), stack)


# -- the cases --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plain(worlds: Worlds, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A first run: two categories, six frames each."""
    return unkilled(worlds.harvesting(*SIX), tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def raised(plain: Case, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A second run on the dataset of the first, for more frames."""
    folder = tmp_path_factory.mktemp("raised")
    before = folder / "before"
    plain.harvesting.finish(before)
    return unkilled(aimed(plain.harvesting, *TEN), folder, before)


@pytest.fixture(scope="module")
def troubled(worlds: Worlds, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Everything there is of a world where much fails for ever: sources, playlists, segments; and with a cap."""
    world = default_world()
    harvesting = worlds.harvesting(*TWO, world=world, faults=trouble(world), **CAPPED)
    return unkilled(harvesting, tmp_path_factory.mktemp("troubled"), codes=(0, 4, 5))


@pytest.fixture(scope="module")
def beside(plain: Case, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """The second run with rows beside the metadata, as in a large dataset: they are listed at the end."""
    folder = tmp_path_factory.mktemp("beside")
    before = folder / "before"
    plain.harvesting.finish(before)
    raised = aimed(plain.harvesting, *TEN)
    large = replace(raised, environ={**raised.environ, BESIDE_SHARE: "100"})
    case = unkilled(large, folder, before)
    assert any("data/train/.metadata-" in step for step in case.steps["step"])
    return case


# -- signals: first, so that the server's late answers are over when it stops -------------------------------------


def test_a_signal_does_not_wait_for_a_server_that_hangs(worlds: Worlds, tmp_path: Path) -> None:
    """Another 10 s and it would be killed: stopping waits for no answer, in no thread, not even at the very end."""
    hanging = (Fault(path=r"/vod/", delay_s=15, times=0), Fault(path=r"/cdn/.*\.mp4", delay_s=15, times=0))
    harvesting, root = worlds.harvesting(*SIX, faults=hanging), tmp_path / "set"
    command = [sys.executable, "-m", "harvester", *harvesting.command(root)]
    environ = {**harvesting.processes.environ, **harvesting.environ}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ) as process:
        _wait_for(harvesting, "gql 2")
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=10)
    report = json.loads(out.splitlines()[-1])
    assert (process.returncode, report["status"], report["kept"]) == (143, "interrupted", 0)
    check_books(root, report)
    check_whole(root)


@pytest.mark.parametrize(
    ("number", "moment"),
    [
        (signal.SIGINT, "helix 1"),
        (signal.SIGTERM, "gql 2"),
        (signal.SIGINT, "media 3"),
        (signal.SIGTERM, "media 9"),
        (signal.SIGINT, "media 16"),
        (signal.SIGHUP, "gql 1"),
        (signal.SIGHUP, "media 5"),
    ],
)
def test_stopped_by_a_signal(
    plain: Case, slow: dict[str, Harvesting], number: signal.Signals, moment: str, tmp_path: Path
) -> None:
    """The run says that it was interrupted; its books sum; the next one goes on to the very same dataset.

    A terminal that is closed sends SIGHUP twice, and is told like SIGTERM.
    """
    harvesting, root = slow["plain"], tmp_path / "set"
    harvesting.server.log.clear()
    pid = harvesting.start(root)
    _wait_for(harvesting, moment)
    for _ in range(2 if number is signal.SIGHUP else 1):
        os.kill(pid, number)
        time.sleep(0.02)
    done = harvesting.processes.wait(pid)
    told = signal.SIGTERM if number is signal.SIGHUP else number
    assert (done.code, done.report["status"]) == (128 + told, "interrupted"), done.err[-2000:]
    assert done.report["exit_code"] == done.code
    if (root / "classes.json").exists():
        check_books(root, done.report)
        check_whole(root)
    plain.finish(root)


def _wait_for(harvesting: Harvesting, moment: str) -> None:
    kind, count = moment.split()
    while harvesting.server.log.stats()["requests"].get(kind, 0) < int(count):
        time.sleep(0.005)


# -- kill -9 ----------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_killed_at_a_step_of_the_first_run(plain: Case, tmp_path: Path) -> None:
    sampled(plain, tmp_path, every=50, seed=1)


def test_killed_at_a_step_of_a_later_run(raised: Case, tmp_path: Path) -> None:
    sampled(raised, tmp_path, every=60, seed=2, kinds=("step",))


@pytest.mark.long
def test_killed_with_rows_beside_the_metadata(raised: Case, beside: Case, tmp_path: Path) -> None:
    assert_same(beside.wanted, raised.wanted)
    sampled(beside, tmp_path, every=60, seed=7)


@pytest.mark.long
def test_killed_where_sources_and_targets_fail(troubled: Case, tmp_path: Path) -> None:
    verdicts = {(key[-3], key[-2]) for key in troubled.wanted.decisions}
    assert {verdict for verdict, _ in verdicts} == {"kept", "dropped", "failed"}
    assert ("dropped", "broadcaster-cap") in verdicts
    assert {key[0] for key in troubled.wanted.decisions} >= {0, 1}, "nothing was tried again in a second pass"
    sampled(troubled, tmp_path, every=100, seed=3, kinds=("step", "committed"))


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("plain", KILLING),
        ("raised", ("step", "torn")),
        ("beside", KILLING),
        ("troubled", ("step", "committed")),
    ],
)
def test_killed_at_every_step(
    name: str, kinds: Sequence[str], request: pytest.FixtureRequest, crew: Sequence[Processes], tmp_path: Path
) -> None:
    exhaustively(request.getfixturevalue(name), tmp_path, crew, seed=4, kinds=kinds)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_killed_at_random_moments(plain: Case, troubled: Case, tmp_path: Path) -> None:
    """By somebody else, between steps as well; three times in a row before each finish."""
    rng = random.Random(5)
    for turn in range(20):
        case, root = (plain, troubled)[turn % 2], tmp_path / str(turn)
        for _ in range(rng.choice((1, 1, 3))):
            pid = case.harvesting.start(root)
            time.sleep(rng.uniform(0, SHORTEST_S))
            os.kill(pid, signal.SIGKILL)
            case.harvesting.processes.wait(pid)
            check_raw(root)
        case.finish(root)
        shutil.rmtree(root)


# -- recovery ---------------------------------------------------------------------------------------------------


def recoveries(case: Case, tmp_path: Path, numbers: Callable[[int], list[int]]) -> None:
    """Kill the run after a torn batch while it still puts things in order, then finish."""
    broken = cut(case, tmp_path / "broken", "commit", has_uncommitted)
    shutil.copytree(broken, tmp_path / "probe")
    probe = case.harvesting.verify(tmp_path / "probe")
    assert probe.code == 0, probe.err
    assert any("staging" in step for step in probe.steps["step"]), "nothing was recovered"
    for kind in ("step", "torn"):
        for at in numbers(len(probe.steps[kind])):
            root = tmp_path / f"recovery-{kind}-{at}"
            shutil.copytree(broken, root)
            assert die(case.harvesting, root, kind, at)
            case.finish(root)
            shutil.rmtree(root)


@pytest.mark.long
def test_killed_while_recovering(plain: Case, tmp_path: Path) -> None:
    recoveries(plain, tmp_path, lambda count: spread(count, 12, 6))


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ["plain", "raised"])
def test_killed_at_every_step_of_recovering(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    recoveries(request.getfixturevalue(name), tmp_path, lambda count: list(range(1, count + 1)))


def forget(case: Case, root: Path) -> None:
    """Delete what is remembered of the runs, then run: labels, splits and images are those of the unkilled."""
    before = set(_labels(root).items())
    shutil.rmtree(root / ".harvester", ignore_errors=True)
    verified = case.harvesting.verify(root)
    assert verified.code == 0 or not (root / "classes.json").exists(), verified.err[-2000:]
    case.harvesting.finish(root, *case.codes)
    assert content(root).frames == case.wanted.frames
    assert before <= set(_labels(root).items())
    shutil.rmtree(root)


def _labels(root: Path) -> dict[str, tuple[int, str]]:
    rows = [row for rows in rows_of(root).values() for row in rows]
    return {f"{row['split']}/{row['file_name']}": (row["label_id"], row["sha256"]) for row in rows}


@pytest.mark.long
def test_memory_deleted_after_a_kill(plain: Case, raised: Case, tmp_path: Path) -> None:
    forget(plain, cut(plain, tmp_path / "unlisted", "rows", has_unlisted))
    forget(plain, cut(plain, tmp_path / "uncommitted", "commit", has_uncommitted))
    forget(raised, raised.fresh(tmp_path / "whole"))


def test_memory_deleted_with_rows_beside_the_metadata_loses_no_image(beside: Case, tmp_path: Path) -> None:
    """They are committed, and no reader has them: they lie where the images lie."""
    root = cut(beside, tmp_path / "set", "committed", lambda root: any(root.glob("data/*/.metadata-*")))
    before = set(root.glob("data/*/*/*"))
    assert has_unlisted(root)
    shutil.rmtree(root / ".harvester")
    verified = beside.harvesting.verify(root)
    assert verified.code == 0, verified.err[-2000:]
    assert set(root.glob("data/*/*/*")) == before
    check_raw(root)
    assert not has_unlisted(root)
    beside.harvesting.finish(root)
    assert content(root).frames == beside.wanted.frames


@pytest.mark.long
@pytest.mark.timeout(900)
def test_memory_deleted_after_a_kill_anywhere(plain: Case, tmp_path: Path) -> None:
    for at in range(1, len(plain.steps["step"]) + 1):
        root = plain.fresh(tmp_path / str(at))
        die(plain.harvesting, root, "step", at)
        forget(plain, root)


# -- raised, at another pace, twice at once, with other faults --------------------------------------------------


def test_a_raised_target_gives_what_the_higher_one_gives_at_once(
    plain: Case, raised: Case, troubled: Case, tmp_path: Path
) -> None:
    aimed(plain.harvesting, *TEN).finish(tmp_path / "plain")
    assert_same(content(tmp_path / "plain"), raised.wanted)
    for frames in ("3", "5", "8"):
        aimed(troubled.harvesting, *TWO, "--frames", frames).finish(tmp_path / "troubled", *troubled.codes)
    troubled.finish(tmp_path / "troubled")


def test_a_further_run_changes_nothing_and_reads_no_media(troubled: Case, tmp_path: Path) -> None:
    root = tmp_path / "set"
    troubled.finish(root)
    done = troubled.harvesting.finish(root)
    assert (done.report["planned"], done.report["requests"].get("media", 0)) == (0, 0)
    assert_same(content(root), troubled.wanted)


PACES = [
    {"FETCH_CONNECTIONS_PER_HOST": "1", "DECODE_THREADS": "1", "FETCH_WINDOW_FRAMES": "1"},
    {"FETCH_CONNECTIONS_PER_HOST": "4", "DECODE_THREADS": "2", "FETCH_WINDOW_FRAMES": "300"},
    {"FETCH_CONNECTIONS_PER_HOST": "8", "DECODE_THREADS": "3", "FETCH_WINDOW_FRAMES": "5"},
]


@pytest.mark.parametrize("rtt_ms", [0, pytest.param(30, marks=pytest.mark.long)])
@pytest.mark.parametrize("pace", [0, 1, pytest.param(2, marks=pytest.mark.long)])
def test_the_same_at_any_pace(
    plain: Case, troubled: Case, slow: dict[str, Harvesting], rtt_ms: int, pace: int, tmp_path: Path
) -> None:
    for name, case in (("plain", plain), ("troubled", troubled)):
        harvesting = slow[name] if rtt_ms else case.harvesting
        aimed(harvesting, *harvesting.arguments, **PACES[pace]).finish(tmp_path / name, *case.codes)
        assert_same(content(tmp_path / name), case.wanted)


@pytest.fixture(scope="module")
def slow(worlds: Worlds) -> dict[str, Harvesting]:
    """The same worlds, 30 ms away."""
    world = default_world()
    return {
        "plain": worlds.harvesting(*SIX, rtt_ms=30),
        "troubled": worlds.harvesting(*TWO, world=world, faults=trouble(world), rtt_ms=30, **CAPPED),
    }


def test_two_runs_at_once(plain: Case, slow: dict[str, Harvesting], tmp_path: Path) -> None:
    """The second one touches nothing, and says who is there."""
    harvesting, root = slow["plain"], tmp_path / "set"
    harvesting.server.log.clear()
    pid = harvesting.start(root)
    _wait_for(harvesting, "media 2")
    os.kill(pid, signal.SIGSTOP)
    second = harvesting.run(root)
    os.kill(pid, signal.SIGCONT)
    assert second.code == second.report["exit_code"] == 75
    assert f"process {pid} " in second.err
    assert harvesting.processes.wait(pid).code == 0
    check_whole(root)
    assert_same(content(root), plain.wanted)


@pytest.mark.long
def test_faults_that_come_and_go_repeat_no_decided_target(worlds: Worlds, tmp_path: Path) -> None:
    """The datasets need not be equal then; everything else must hold, and no picture is fetched a second time."""
    world, root = default_world(), tmp_path / "set"
    harvesting = worlds.harvesting(*TWO, "--frames", "4", world=world)
    harvesting.finish(root)
    first = decided_segments(root, world)
    assert first
    harvesting.server.log.clear()
    for fault in (Fault(path="/vod/", status=500, times=0), Fault(path="/cdn/clips/", status=500, times=0)):
        harvesting.server.inject(fault)
    broken = aimed(harvesting, *TEN).finish(root, 4, 5).report
    assert broken["failed"] and not broken["kept"]
    harvesting.server.faults.clear()
    later = {"RUN_NOW": (world.now + timedelta(hours=2)).isoformat()}
    mended = aimed(harvesting, *TWO, **later).finish(root).report
    assert mended["kept"] and not mended["failed"]
    asked = {entry.path for entry in harvesting.server.log.entries("media")}
    assert not {path for path in asked if _segment(path) in first}


def decided_segments(root: Path, world: World) -> set[tuple[str, int]]:
    """Distribution and number of the segments of VODs that pictures were decided of."""
    rows = [row for row in outcomes(root) if row["kind"] == "vod" and row["offset_s"] is not None]
    found = set()
    for row in rows:
        video = world.video(row["source_id"])
        assert video is not None
        found.add((video.distribution, int(row["offset_s"] // video.cutting.segment_s)))
    return found


def _segment(path: str) -> tuple[str, int] | None:
    match = re.fullmatch(r"/cdn/(\w+)/.*/(\d+)\.(?:ts|mp4)", path)
    return (match[1], int(match[2])) if match else None
