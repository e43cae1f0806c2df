"""Storms: a tenth of all requests fails, in every way there is, for the whole run; and nearly nothing is missing.

The same world is harvested twice, in peace and in the storm. A storm is seeded, and strikes the n-th request of a
path whatever came before it; so one that is survived here is survived everywhere.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harvester.sandbox import Fault, SandboxServer, world_from_index
from tests.integration.commands import QUICK
from tests.integration.small_world import write_footage
from tests.integration.wholeness import check_books, check_raw, outcomes, rows_of

#: Share of requests that fail.
SHARE = 0.10
CONNECTIONS, HELIX_PER_S, GQL_PER_S = 4, 100, 60

_COMPLAINT = b'{"errors":[{"message":"service timeout"}],"data":null}'
#: One way to fail each, for any request and for some.
WAYS: tuple[dict[str, Any], ...] = (
    {"status": 500},
    {"status": 502, "html": True},
    {"status": 503, "headers": {"Retry-After": "0"}},
    {"status": 429, "headers": {"Retry-After": "0", "Ratelimit-Reset": "+0"}},
    {"reset": True},
    {"cut": 40},
    {"delay_s": 0.02, "status": 504},
    {"html": True},
    {"body": b""},
    {"path": "^/gql", "body": _COMPLAINT},
    {"path": "^/cdn/.*(ts|mp4)$", "wrong_range": True},
    {"path": "^/helix/(videos|clips)", "empty_page_with_cursor": True},
)


def storm(seed: str) -> list[Fault]:
    """Every way for ever, together for about :data:`SHARE` of the requests of any path."""
    everywhere = sum("path" not in way for way in WAYS) + 1
    share = 1 - (1 - SHARE) ** (1 / everywhere)
    return [Fault(times=0, probability=share, seed=f"{seed}:{number}", **way) for number, way in enumerate(WAYS)]


@dataclass(frozen=True)
class Harvested:
    """What a run left."""

    out: Path
    report: dict[str, Any]
    code: int
    err: str

    def frames(self) -> Counter[tuple[str, str, float, str]]:
        """Every listed frame, by where it is from and what it is labelled."""
        return Counter(
            (row["source_type"], row["source_id"], row["offset_s"], row["label"])
            for rows in rows_of(self.out).values()
            for row in rows
        )


@dataclass(frozen=True)
class Weather:
    """A world and how to harvest it, each time into a directory of its own."""

    server: SandboxServer
    folder: Path

    def harvest(self, name: str, games: int) -> Harvested:
        config, out = self.folder / "sandbox.toml", self.folder / name
        config.write_text(self.server.config_toml(), encoding="utf-8")
        settings = QUICK | {
            "HARVESTER_SAMPLE_MIN_HEIGHT": "90",
            "HARVESTER_SAMPLE_MAX_PER_VOD": "1000",
            "HARVESTER_FETCH_CONNECTIONS_PER_HOST": str(CONNECTIONS),
            "HARVESTER_DISCOVER_REQUESTS_PER_S": str(HELIX_PER_S),
            "HARVESTER_FETCH_GQL_REQUESTS_PER_S": str(GQL_PER_S),
        }
        command = [sys.executable, "-m", "harvester", "run", "--config", str(config), "--top", str(games)]
        done = subprocess.run(
            [*command, "--out", str(out), "--json"],
            env={**os.environ, **self.server.environ, **settings},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        return Harvested(out, json.loads(done.stdout.splitlines()[-1]), done.returncode, done.stderr)


@contextmanager
def weather(folder: Path, games: int, sessions: int, gops: int) -> Iterator[Weather]:
    index = write_footage(folder / "footage", games=games, sessions=sessions, gops=gops)
    with SandboxServer(world_from_index(index, segment_s=2.0), helix_points=1_000_000).running() as server:
        yield Weather(server, folder)


def survive(weather: Weather, games: int, seed: str, targets: int) -> None:
    """Harvest in peace, then in the storm: nearly every frame arrives, none twice, and the bounds hold."""
    quiet = weather.harvest("quiet", games)
    assert (quiet.code, quiet.report["failed"]) == (0, {})
    assert quiet.report["planned"] >= targets
    weather.server.log.clear()
    for fault in storm(seed):
        weather.server.inject(fault)
    stormy = weather.harvest("stormy", games)
    assert stormy.code == 0, stormy.err
    struck = _share_struck(weather.server)
    assert SHARE / 2 < struck < 2 * SHARE, f"a storm that strikes {struck:.3f} of the requests is none"
    _check_frames(quiet, stormy)
    _check_bounds(weather.server, stormy)


def _share_struck(server: SandboxServer) -> float:
    """Share of requests whose answer was visibly none: others were cut, empty or pages."""
    entries = server.log.entries()
    return sum(entry.status in (0, 429, 500, 502, 503, 504) or entry.bytes in (0, 40) for entry in entries) / len(
        entries
    )


def _check_frames(quiet: Harvested, stormy: Harvested) -> None:
    wanted, got = quiet.frames(), stormy.frames()
    assert max(got.values()) == 1
    assert (wanted & got).total() >= 0.99 * wanted.total(), stormy.report["failed"]
    images = [row["sha256"] for rows in rows_of(stormy.out).values() for row in rows]
    assert len(images) == len(set(images)), "every GOP has a picture of its own"
    check_raw(stormy.out)
    check_books(stormy.out, stormy.report)
    looked_at = Counter(
        (row["category_id"], row["kind"], row["source_id"], row["k"])
        for row in outcomes(stormy.out)
        if row["measurement"] is not None
    )
    assert max(looked_at.values()) == 1, "a target is decided by its picture once"


def _check_bounds(server: SandboxServer, stormy: Harvested) -> None:
    """As the server saw it: connections at once, and requests in the time there was."""
    stats, seconds = server.log.stats(), stormy.report["seconds"] + 1
    assert stats["peak_parallel"]["media"] <= CONNECTIONS
    assert stats["peak_parallel"]["playlist"] <= CONNECTIONS
    assert stats["peak_connections"] <= CONNECTIONS + 4 + 2 * 4  # media, Helix, a desk's GQL and usher
    assert stats["requests"]["helix"] + stats["requests"]["auth"] <= HELIX_PER_S * seconds + 1
    assert stats["requests"]["gql"] <= GQL_PER_S * seconds + 1
    assert {kind: n for kind, n in stats["requests"].items() if n != stormy.report["requests"].get(kind)} == {}


@pytest.mark.long
def test_a_small_storm(tmp_path: Path) -> None:
    with weather(tmp_path, games=2, sessions=2, gops=24) as small:
        survive(small, games=2, seed="small", targets=100)


@pytest.mark.long
def test_a_storm_over_two_thousand_targets(tmp_path: Path) -> None:
    with weather(tmp_path, games=4, sessions=17, gops=32) as large:
        survive(large, games=4, seed="large", targets=2000)
