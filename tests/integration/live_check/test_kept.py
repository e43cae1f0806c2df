"""What the stand-in keeps holds, and is told as documented."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

from streamlink.plugins import twitch as plugin

from harvester.sandbox import SandboxServer
from tests.integration.live_check.running import (
    GAME,
    HOLDS,
    KEPT,
    SCRIPTS,
    SECRET,
    Run,
)


def test_everything_that_the_stand_in_keeps_holds(check: Run, server: SandboxServer) -> None:
    done = check(server, "--category", GAME)
    assert done.code == 0
    assert {number for number, answer in done.answers.items() if answer == HOLDS} >= KEPT
    assert set(done.answers) == set(range(1, 14))
    assert done.document["requests"] == server.log.stats()["requests"]
    assert 25 <= done.requests() <= 40
    assert "122 VODs found" in done.check(1)["evidence"]
    assert len(done.check(2)["lines"]) == 5
    assert re.search(r"5 equal; [1-4] with chapters of other categories", done.check(2)["evidence"])
    assert re.search(r"the VOD [1-4] place its start there, 0 its end", done.check(11)["evidence"])


def test_as_documented_it_prints_a_table(server: SandboxServer, tmp_path: Path) -> None:
    config = tmp_path / "sandbox.toml"
    config.write_text(server.config_toml(), encoding="utf-8")
    command = [sys.executable, str(SCRIPTS / "live_check.py"), "--config", str(config), "--category", GAME]
    variables = os.environ | server.environ | {"PYTHONPATH": str(SCRIPTS.parent)}
    ended = subprocess.run(command, env=variables, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ended.returncode, sorted(tmp_path.iterdir())) == (0, [config]), ended.stderr
    rows = re.findall(r"^ ?(\d+)  (holds|does not hold|could not tell) ", ended.stdout, re.MULTILINE)
    assert {int(number) for number, answer in rows if answer == HOLDS} >= KEPT
    assert f"configuration: {config}" in ended.stderr
    assert not SECRET.search(ended.stdout + ended.stderr)


def test_the_most_watched_category_is_taken_without_a_name(check: Run, server: SandboxServer) -> None:
    most = max(server.world.games, key=lambda game: game.viewers)
    assert most.name in check(server).document["category"]
    assert GAME in check(server, HARVESTER_DISCOVER_CATEGORIES=f'["{GAME}"]').document["category"]


def test_the_hashes_asked_are_those_of_the_installed_streamlink(script: ModuleType) -> None:
    scene = importlib.import_module("live.scene")
    source = inspect.getsource(plugin)
    assert scene.PLAYBACK_HASH in source
    assert scene.CLIP_HASH in source
