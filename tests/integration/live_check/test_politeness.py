"""No request too many, none too soon; and how a check ends that cannot begin."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from harvester.clock import Clock
from harvester.config import Config, credentials, load
from harvester.pipeline.outside import reach
from harvester.sandbox import Fault, SandboxServer
from tests.integration.commands import QUICK
from tests.integration.live_check.running import (
    FAILS,
    GAME,
    HOLDS,
    UNTOLD,
    Run,
)


@pytest.mark.parametrize("most", [7, 9, 13, 17, 23])
def test_no_request_beyond_the_bound_leaves(
    check: Run, server: SandboxServer, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(check.script, "MOST_REQUESTS", most)
    done = check(server, "--category", GAME)
    assert done.code == 0
    assert done.requests() == most
    assert UNTOLD in done.answers.values()


def test_faults_do_not_lead_beyond_the_bound(check: Run, server: SandboxServer) -> None:
    server.inject(Fault(path="^/(cdn|gql|vod)", status=503, times=0))
    done = check(server, "--category", GAME)
    assert (done.code, done.answers[1]) == (0, HOLDS)
    assert done.requests() <= 40
    assert FAILS not in done.answers.values()


class Turns:
    """Counts who waits for a turn, and lets all pass."""

    def __init__(self) -> None:
        self.taken = 0

    async def __aenter__(self) -> None:
        self.taken += 1

    async def __aexit__(self, *_: object) -> None:
        return None


def test_every_request_has_its_turn(
    script: ModuleType, server: SandboxServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those to Helix are paced by [discover] requests_per_s, usher's follows its token at once."""
    file = tmp_path / "sandbox.toml"
    file.write_text(server.config_toml(), encoding="utf-8")
    config, turns = load(file, environ=QUICK).config, Turns()

    async def look() -> Any:
        async with (
            reach(config, credentials(server.environ), Clock(config.run.start)) as outside,
            script.set_up(config, outside, GAME, turns) as scene,
        ):
            await script._look(scene, script.Report("test"))
            return outside.traffic.requests

    requests = asyncio.run(look())
    paced = requests.total() - requests["auth"] - requests["helix"]
    growths = 2  # heads that were larger than guessed, an init section
    assert paced - 1 - growths <= turns.taken <= paced


def test_the_real_world_is_asked_slowly(script: ModuleType) -> None:
    config = script._polite(Config())
    assert config.fetch.gql_requests_per_s == config.discover.requests_per_s == 1
    assert (config.fetch.attempts, config.fetch.retry_base_s) == (2, 2)


def test_refused_credentials_end_it(check: Run, server: SandboxServer) -> None:
    done = check(server, "--category", GAME, TWITCH_CLIENT_SECRET="wrong")
    assert (done.code, done.document["exit_code"], done.document["checks"]) == (3, 3, [])


def test_an_unknown_category_ends_it(check: Run, server: SandboxServer) -> None:
    assert check(server, "--category", "No Such Game").code == 2


def test_nobody_there_ends_it(check: Run, server: SandboxServer, tmp_path: Path) -> None:
    config = tmp_path / "nobody.toml"
    config.write_text(re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:1", server.config_toml()), encoding="utf-8")
    done = check.bare(server, "--config", str(config))
    assert done.code == 5
    assert done.document["error"]


def test_without_rights_nothing_is_asked(check: Run, server: SandboxServer, tmp_path: Path) -> None:
    config = tmp_path / "real.toml"
    config.write_text("", encoding="utf-8")
    done = check.bare(server, "--config", str(config))
    assert (done.code, done.document["requests"]) == (2, {})
    assert "[rights] basis" in done.document["error"]


def test_a_bad_configuration_ends_it(check: Run, server: SandboxServer, tmp_path: Path) -> None:
    config = tmp_path / "bad.toml"
    config.write_text("[fetch]\nattemps = 3\n", encoding="utf-8")
    done = check.bare(server, "--config", str(config))
    assert done.code == 2
    assert "attempts" in done.document["error"]
