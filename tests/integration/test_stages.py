"""A run tells where its time went, and which stage starved the others: the line, or the threads that decode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harvester.sandbox import SandboxServer, default_world
from tests.integration.commands import Commands

#: All that two games of the world have, as quickly as it comes.
WANTED = ("--category", "SuperTuxKart", "--category", "Minetest")
WHOLE = {
    "HARVESTER_SAMPLE_MIN_SPACING_S": "0.1",
    "HARVESTER_SAMPLE_GUARD_S": "0",
    "HARVESTER_SAMPLE_GUARD_SHARE": "0",
}


@pytest.mark.parametrize(
    ("line", "settings", "starving"),
    [
        ({"rtt_ms": 20, "mbps": 12}, {}, "network"),
        ({}, {"HARVESTER_DECODE_THREADS": "1"}, "decode"),
    ],
    ids=["a slow line", "one thread for 720p pictures"],
)
def test_a_run_names_the_stage_that_starves_it(
    line: dict[str, float],
    settings: dict[str, str],
    starving: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server = SandboxServer(default_world(), **line)
    with server.running():
        commands = Commands(server, tmp_path, capsys)
        ended = commands("run", *WANTED, "--out", tmp_path / "out", "--json", **WHOLE, **settings)
    assert ended.code == 0, ended.err
    check_whole(told := ended.json)
    assert told["bound_by"] == starving
    other = {"network": "decode", "decode": "network"}[starving]
    assert told["queued"][starving] > told["queued"][other]


def check_whole(told: dict[str, Any]) -> None:
    """Every stage is told of; no second of the run is booked twice."""
    assert set(told["stages"]) == {"decode", "measure", "encode", "publish"}
    assert {"list", "open", "network", "decode", "order", "encode", "batch", "publish"} == set(told["waits"])
    assert set(told["waits"]) == set(told["queued"])
    assert 0 < sum(told["held_up"].values()) <= told["seconds"]
