"""Many categories: what a killed run has listed is not listed again, and a thousand of them need no more memory."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from contextlib import ExitStack, closing
from datetime import timedelta
from pathlib import Path

import pytest

from harvester.sandbox import SandboxServer
from harvester.sandbox.crowd import many_games
from harvester.sandbox.quirks import ListingQuirks
from tests.integration.cases import Worlds
from tests.integration.commands import QUICK
from tests.integration.killing import Harvesting, Processes
from tests.integration.wholeness import LEDGER, assert_same, content


def listed_games(server: SandboxServer) -> set[str]:
    """Games whose clips were asked for."""
    queries = (entry.query for entry in server.log.entries("helix") if entry.path == "/helix/clips")
    return {match[1] for query in queries if (match := re.search(r"game_id=(\d+)", query))}


@pytest.mark.long
def test_a_killed_run_does_not_list_again_what_it_has_listed(tmp_path: Path) -> None:
    """Also where a limit leaves sources for later runs: the rerun of a killed run takes none of those."""
    settings = {"DISCOVER_MAX_CLIPS": "1", "DISCOVER_SOURCE_TYPES": '["clip"]', "SAMPLE_MAX_PER_CLIP": "1"}
    (tmp_path / "scratch").mkdir()
    with ExitStack() as stack:
        processes = Processes(tmp_path / "scratch", {"PATH": os.environ["PATH"]})
        stack.callback(processes.close)
        worlds = Worlds(processes, tmp_path, stack)
        harvesting = worlds.harvesting("--top", "30", world=many_games(30, clips=3), **settings)
        unkilled = harvesting.finish(tmp_path / "unkilled")
        wanted = content(tmp_path / "unkilled")
        killed = killed_within_listing(harvesting, tmp_path, len(unkilled.steps["committed"]))
        done = committed_games(killed)
        harvesting.server.log.clear()
        harvesting.finish(killed)
        assert not listed_games(harvesting.server) & done
        assert len(listed_games(harvesting.server) | done) == 30
        assert_same(content(killed), wanted)
        harvesting.server.log.clear()
        assert harvesting.run(killed).code == 0  # a run of its own: it takes the next of each
        assert len(listed_games(harvesting.server)) == 30


def killed_within_listing(harvesting: Harvesting, folder: Path, commits: int) -> Path:
    """A dataset whose run was killed when some of its categories were listed and some were not, of that many commits.

    How far the listing is at the k-th commit differs from run to run: the k that is too late or too early is halved.
    """
    low, high = 0, commits
    for tries in range(8):
        killed, at = folder / f"killed-{tries}", (low + high) // 2
        assert harvesting.run(killed, kind="committed", at=at).killed
        listed = len(committed_games(killed))
        if 5 <= listed <= 25:
            return killed
        low, high = (low, at) if listed > 25 else (at, high)
    pytest.fail(f"no kill among {commits} commits came within the listing")


def committed_games(root: Path) -> set[str]:
    """Categories whose listing is closed."""
    with closing(sqlite3.connect(f"file:{root / LEDGER}?mode=ro", uri=True)) as ledger:
        return {row[0] for row in ledger.execute("SELECT category_id FROM passes")}


def peak_bytes(server: SandboxServer, folder: Path, top: int) -> int:
    """Peak resident memory of ``harvester plan`` over that many categories."""
    config = folder / "sandbox.toml"
    config.write_text(server.config_toml(), encoding="utf-8")
    since = f"{server.world.now - timedelta(days=2):%Y-%m-%dT%H:%M:%SZ}"
    quick = QUICK | {"HARVESTER_DISCOVER_REQUESTS_PER_S": "100000", "HARVESTER_DISCOVER_SINCE": since}
    command = ["plan", "--config", str(config), "--top", str(top), "--out", str(folder / "none"), "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "harvester", *command],
        env={**os.environ, **server.environ, **quick},
        stdout=subprocess.DEVNULL,
    )
    try:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0
    return usage.ru_maxrss * 1024


@pytest.mark.long
def test_a_thousand_categories_are_listed_in_bounded_memory(tmp_path: Path) -> None:
    """Ten pages each at the least: short pages, as Twitch gives them too."""
    world = many_games(1000, clips=40, videos=40, quirks=ListingQuirks(page=8))
    server = SandboxServer(world, cache_dir=tmp_path / "media", helix_points=10_000_000)
    with server.running():
        few = peak_bytes(server, tmp_path, 30)
        server.log.clear()
        many = peak_bytes(server, tmp_path, 1000)
    assert server.log.stats()["requests"]["helix"] >= 10_000
    assert many - few < 48 << 20
