"""Runs while GQL refuses one operation: by its hash alone, and however it is asked."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from harvester.clock import Clock
from harvester.config import Config, Credentials, Discover, Endpoints, Fetch
from harvester.pipeline.outside import reach
from harvester.ports import ListingScope
from harvester.sandbox import Fault, SandboxServer, world_from_index
from harvester.transport.breaker import LIMITS, REFUSED
from harvester.twitch.playback import SLOTS
from harvester.twitch.questions import HASH_TRIES, OPENING
from tests.integration.commands import QUICK, Commands, Ended
from tests.integration.small_world import write_footage
from tests.integration.wholeness import check_whole, outcomes

#: VODs of eight seconds, whose first segment the guard leaves out.
VODS, VOD_TARGETS = 12, 3
PROBES = len(json.loads(QUICK["HARVESTER_FETCH_OUTAGE_PAUSES_S"]))
UNKNOWN = b'{"errors":[{"message":"PersistedQueryNotFound"}],"data":null}'
MISPUT = b'{"errors":[{"message":"Cannot query field \\"value\\" on type \\"PlaybackAccessToken\\"."}]}'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxServer]:
    index = write_footage(tmp_path_factory.mktemp("footage"), games=1, sessions=VODS, gops=4)
    with SandboxServer(world_from_index(index, segment_s=2.0), helix_points=1_000_000).running() as sandbox:
        yield sandbox


class Night:
    """Runs against that world; ``CLIPS``: how many it has."""

    def __init__(self, commands: Commands, out: Path) -> None:
        self.commands, self.out, self.server = commands, out, commands.server
        self.clips = len(self.server.world.clips)
        self.start = self.server.world.now

    def run(self, *arguments: str, now: datetime | None = None, **environment: str) -> Ended:
        self.server.log.clear()
        settings = {
            "HARVESTER_RUN_NOW": f"{now or self.start:%Y-%m-%dT%H:%M:%SZ}",
            "HARVESTER_SAMPLE_MIN_SPACING_S": "2",
            "HARVESTER_SAMPLE_MIN_HEIGHT": "90",
            "HARVESTER_SAMPLE_MAX_PER_CLIP": "1",
            "HARVESTER_DISCOVER_DETAILS": "off",  # what opens sources is asked alone
        }
        command = ("run", "--category", "Game 0", *arguments, "--out", self.out, "--json")
        return self.commands(*command, **(settings | environment))

    def refuse(self, kind: str, *, sent: str = "", body: bytes = UNKNOWN) -> None:
        """Refuse what opens sources of that kind; ``sent``: only questions that hold it."""
        pattern = f'"{OPENING[kind]}".*{sent}'  # type: ignore[index]
        self.server.inject(Fault(path="^/gql", sent=pattern, body=body, times=0))

    def asked(self) -> int:
        count: int = self.server.log.stats()["requests"]["gql"]
        return count

    def failures(self, kind: str) -> Counter[str]:
        """Decisions on sources that did not open, by reason."""
        rows = [row for row in outcomes(self.out) if row["verdict"] == "failed" and row["kind"] == kind]
        assert all(row["k"] is None for row in rows)
        return Counter(row["reason"] for row in rows)

    def looked_at(self, kind: str) -> set[tuple[Any, Any]]:
        """Targets that were fetched and judged."""
        rows = [row for row in outcomes(self.out) if row["verdict"] != "failed" and row["kind"] == kind]
        return {(row["source_id"], row["k"]) for row in rows}


@pytest.fixture
def night(server: SandboxServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Night:
    server.faults.clear()
    return Night(Commands(server, tmp_path, capsys), tmp_path / "dataset")


@pytest.mark.parametrize("kind", ["vod", "clip"])
def test_sources_come_although_the_hash_of_what_opens_them_has_changed(night: Night, kind: str) -> None:
    night.refuse(kind, sent="persistedQuery")
    ended = night.run()
    assert (ended.code, ended.json["failed"]) == (0, {}), ended.err
    assert len(night.looked_at("vod")) == VODS * VOD_TARGETS
    assert len(night.looked_at("clip")) == night.clips
    assert night.asked() <= VODS + night.clips + HASH_TRIES + SLOTS - 1
    check_whole(night.out)


@pytest.mark.parametrize("body", [UNKNOWN, b'{"errors":[{"message":"failed integrity check"}]}'])
def test_one_kind_refused_is_left_for_later_and_the_other_comes(night: Night, body: bytes) -> None:
    night.refuse("vod", body=body)
    ended = night.run()
    assert (ended.code, ended.json["status"], ended.json["pending"]) == (4, "partial", 0), ended.err
    assert len(night.looked_at("clip")) == night.clips
    assert night.failures("vod") == {"refused": VODS}
    refused = LIMITS[REFUSED] + SLOTS - 1 + PROBES
    assert night.clips + LIMITS[REFUSED] <= night.asked() <= night.clips + refused
    assert ended.err.count("Twitch refuses every question of PlaybackAccessToken") == 1
    due = {row["retry_at"] for row in outcomes(night.out) if row["reason"] == "refused"}
    assert due == {(night.start + timedelta(hours=1)).isoformat()}
    night.server.faults.clear()
    later = night.run(now=night.start + timedelta(hours=1))
    assert later.code == 0, later.err
    assert len(night.looked_at("vod")) == VODS * VOD_TARGETS
    check_whole(night.out)


def test_what_is_refused_night_after_night_is_never_given_up(night: Night) -> None:
    night.refuse("vod")
    for day in range(6):  # one more than a failing source is looked at
        assert night.run(now=night.start + timedelta(days=day)).code in (4, 5)
    assert set(night.failures("vod")) == {"refused"}
    night.server.faults.clear()
    assert night.run(now=night.start + timedelta(days=6)).code == 0
    assert len(night.looked_at("vod")) == VODS * VOD_TARGETS
    check_whole(night.out)


def test_the_first_sources_of_a_night_lose_no_try_to_a_refusal(night: Night) -> None:
    """Fewer than it takes to see that every question is refused."""
    night.refuse("vod", sent='"query"', body=MISPUT)
    night.refuse("vod", sent="persistedQuery")
    source = night.server.world.videos[0].id
    for day in range(6):
        ended = night.run("--source", source, now=night.start + timedelta(days=day))
        assert (ended.code, night.failures("vod")) == (5, {"refused": day + 1})
    night.server.faults.clear()
    assert night.run("--source", source, now=night.start + timedelta(days=6)).code == 0
    assert len(night.looked_at("vod")) == VOD_TARGETS


def test_a_run_that_is_refused_all_it_wants_ends_with_the_rest_pending(night: Night) -> None:
    night.refuse("vod")
    ended = night.run("--source-type", "vod")
    assert ended.code == 5
    assert "look for a newer version" in ended.err
    assert "refused" not in ended.json["failed"]
    assert night.asked() <= LIMITS[REFUSED] + SLOTS - 1 + PROBES
    night.server.faults.clear()
    assert night.run("--source-type", "vod", now=night.start + timedelta(hours=1)).code == 0
    assert len(night.looked_at("vod")) == VODS * VOD_TARGETS


def test_a_run_in_which_both_kinds_are_refused_ends(night: Night) -> None:
    night.refuse("vod")
    night.refuse("clip")
    ended = night.run()
    assert ended.code == 5, ended.err
    assert night.asked() <= 2 * (LIMITS[REFUSED] + SLOTS - 1 + PROBES)
    night.server.faults.clear()
    assert night.run(now=night.start + timedelta(hours=1)).code == 0
    assert len(night.looked_at("vod")) == VODS * VOD_TARGETS
    assert len(night.looked_at("clip")) == night.clips


def test_a_text_that_twitch_does_not_understand_costs_nothing_while_hashes_are_known(night: Night) -> None:
    night.refuse("vod", sent='"query"', body=MISPUT)
    night.server.inject(Fault(path="^/gql", sent="PlaybackAccessToken", body=UNKNOWN, times=HASH_TRIES))
    ended = night.run()
    assert (ended.code, ended.json["failed"]) == (0, {}), ended.err


def test_neither_hash_nor_text_is_understood(night: Night) -> None:
    night.refuse("vod", sent='"query"', body=MISPUT)
    night.refuse("vod", sent="persistedQuery")
    ended = night.run()
    assert ended.code == 4, ended.err
    assert night.failures("vod") == {"refused": VODS}
    assert night.asked() <= night.clips + LIMITS[REFUSED] + SLOTS - 1 + PROBES


def test_all_who_ask_gql_share_four_connections(server: SandboxServer) -> None:
    server.faults.clear()
    now, origin, known = server.world.now, server.origin, server.environ
    credentials = Credentials(known["TWITCH_CLIENT_ID"], known["TWITCH_CLIENT_SECRET"])

    async def ask_all(gql: SandboxServer) -> None:
        endpoints = Endpoints(
            helix=f"{origin}/helix/", auth=f"{origin}/oauth2/", gql=f"{gql.origin}/gql", usher=origin
        )
        config = Config(
            endpoints=endpoints, fetch=Fetch(gql_requests_per_s=500), discover=Discover(requests_per_s=500)
        )
        async with reach(config, credentials, Clock(now)) as outside:
            assert outside.details is not None
            category = await outside.catalog.find_category("Game 0")
            vods = (await outside.catalog.list_vods(category, ListingScope())).sources
            clips = (await outside.catalog.list_clips(category, ListingScope())).sources
            asks = [outside.details.of_vod(vod.id) for vod in vods]
            await asyncio.gather(*asks, *(outside.resolver.renditions(source) for source in (*vods, *clips)))

    with SandboxServer(server.world, helix_points=1_000_000).running() as gql:
        gql.inject(Fault(path="^/gql", delay_s=0.03, times=0))  # so that the answers of one wait for another's
        asyncio.run(ask_all(gql))
        asked = gql.log.stats()
    assert asked["requests"] == {"gql": 2 * VODS + len(server.world.clips)}
    assert asked["peak_connections"] == SLOTS + 1 == 4
