"""Whole runs over hosts that are down: for a while, for good, and while somebody presses Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import harvester
from harvester.config import Fetch
from harvester.sandbox import Fault, SandboxServer
from harvester.transport.breaker import LIMITS, SERVER_ERROR
from harvester.transport.limits import ByteRate
from tests.integration.commands import QUICK, Commands

LIMIT = LIMITS[SERVER_ERROR]
MEDIA = r"/cdn/.*\.(ts|mp4)$"
TEN = ("run", "--category", "Minetest", "--frames", "10", "--json", "--out")


def sums_up(report: dict[str, Any]) -> bool:
    decided = report["kept"] + sum(report["dropped"].values()) + sum(report["failed"].values())
    return bool(report["planned"] == decided + report["pending"])


def test_media_that_stay_down_end_the_run_with_the_rest_pending(
    default_commands: Commands, tmp_path: Path
) -> None:
    out, server = tmp_path / "dataset", default_commands.server
    server.inject(Fault(path=MEDIA, status=503, times=0))
    ended = default_commands(*TEN, out)
    assert ended.code == 5
    assert "is down for media requests" in ended.err
    assert "try again later" in ended.err
    assert ended.json["pending"] > 0
    assert sums_up(ended.json)
    assert ended.json["kept"] == 0
    probes = len(json.loads(QUICK["HARVESTER_FETCH_OUTAGE_PAUSES_S"]))
    assert len(server.log.entries("media")) <= LIMIT + Fetch().connections_per_host + probes
    server.faults.clear()
    again = default_commands(*TEN, out)
    assert (again.code, again.json["kept"]) == (0, 10), again.err


def test_an_outage_that_passes_costs_no_frame(default_commands: Commands, tmp_path: Path) -> None:
    for path, times in ((MEDIA, LIMIT + 1), (r"\.m3u8$", 3), (r"^/helix/", 2)):
        default_commands.server.inject(Fault(path=path, status=503, times=times))
    ended = default_commands(*TEN, tmp_path / "dataset", HARVESTER_FETCH_ATTEMPTS="10")
    assert (ended.code, ended.json["kept"]) == (0, 10), ended.err


def test_one_cap_is_paid_into_by_all_clients(
    default_commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paid: dict[ByteRate, int] = {}

    def pay(self: ByteRate, n_bytes: int) -> float:
        paid[self] = paid.get(self, 0) + n_bytes
        return 0.0

    monkeypatch.setattr(ByteRate, "pay", pay)
    ended = default_commands(*TEN, tmp_path / "dataset")
    assert {"auth", "helix", "gql", "usher", "playlist", "media"} <= ended.json["bytes"].keys()
    assert list(paid.values()) == [sum(ended.json["bytes"].values())]


def test_ctrl_c_in_a_pause_ends_the_run_at_once(world_server: SandboxServer, tmp_path: Path) -> None:
    world_server.faults.clear()
    world_server.log.clear()
    world_server.inject(Fault(path=MEDIA, status=503, times=0))
    config = tmp_path / "sandbox.toml"
    config.write_text(world_server.config_toml())
    root = Path(harvester.__file__).parent.parent
    environ = {**os.environ, **world_server.environ, **QUICK, "PYTHONPATH": str(root)}
    environ["HARVESTER_FETCH_OUTAGE_PAUSES_S"] = "[1000]"
    command = [sys.executable, "-m", "harvester", *TEN, str(tmp_path / "dataset"), "--config", str(config)]
    process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        while len(world_server.log.entries("media")) < LIMIT:
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
    finally:
        process.kill()
        world_server.faults.clear()
    report = json.loads(out.splitlines()[-1])
    assert (process.returncode, report["status"]) == (130, "interrupted"), err
    assert sums_up(report)
    assert "Traceback" not in err
    assert "never retrieved" not in err
