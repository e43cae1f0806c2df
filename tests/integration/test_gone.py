"""Gone is believed after two looks on different days, and not while Helix lists it; until then nothing is lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from harvester.sandbox import Fault, SandboxServer, world_from_index
from tests.integration.commands import Commands
from tests.integration.small_world import write_footage
from tests.integration.wholeness import check_whole, outcomes, rows_of

DAY = timedelta(days=1)
ANOTHER_DAY = timedelta(hours=20)

#: By kind of source: what no longer plays, and what Helix says of an id that it leaves out.
NOT_PLAYED = {
    "vod": Fault(path="^/gql", body=b'{"data":{"videoPlaybackAccessToken":null}}', times=0),
    "clip": Fault(path="^/gql", body=b'{"data":{"clip":null}}', times=0),
}
LEFT_OUT = {
    "vod": Fault(path="^/helix/videos", query=r"(^|&)id=", status=404, times=0),
    "clip": Fault(path="^/helix/clips", query=r"(^|&)id=", body=b'{"data":[],"pagination":{}}', times=0),
}
NO_PLAYLIST = Fault(path="^/vod/", status=404, body=b'[{"error_code":"transcode_does_not_exist"}]', times=0)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxServer]:
    index = write_footage(tmp_path_factory.mktemp("gone"), games=1, sessions=1, gops=8)
    with SandboxServer(world_from_index(index, segment_s=2.0), helix_points=1_000_000).running() as sandbox:
        yield sandbox


class Nights:
    """Runs over the sources of one kind, on days told by their distance from the first night."""

    def __init__(self, commands: Commands, out: Path, kind: str) -> None:
        self.commands, self.out, self.kind = commands, out, kind
        self.server = commands.server

    def run(self, after: timedelta, *faults: Fault) -> dict[str, Any]:
        """What a run reports, with nothing but these faults."""
        self.server.faults.clear()
        self.server.log.clear()
        for fault in faults:
            self.server.inject(fault)
        now = f"{self.server.world.now + after:%Y-%m-%dT%H:%M:%SZ}"
        arguments = ("--category", "Game 0", "--source-type", self.kind, "--out", self.out, "--json")
        settings = {"HARVESTER_RUN_NOW": now, "HARVESTER_SAMPLE_MIN_HEIGHT": "90"}
        return self.commands("run", *arguments, **settings).json

    def looks(self) -> list[dict[str, Any]]:
        """The failures to open a source, in order."""
        return [row for row in outcomes(self.out) if row["k"] is None]

    def due(self, after: timedelta) -> str:
        return (self.server.world.now + after).isoformat()

    def played(self) -> int:
        """Requests for playback since the last run began."""
        return len(self.server.log.entries("gql"))

    def images(self) -> list[str]:
        return sorted(row["sha256"] for rows in rows_of(self.out).values() for row in rows)


@pytest.fixture(params=["vod", "clip"])
def nights(
    request: pytest.FixtureRequest, server: SandboxServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Nights:
    return Nights(Commands(server, tmp_path, capsys), tmp_path / "dataset", request.param)


def test_two_looks_on_different_days_and_helix_leaving_it_out_end_it(nights: Nights) -> None:
    kind = nights.kind
    report = nights.run(timedelta(0), NOT_PLAYED[kind], LEFT_OUT[kind])
    assert (report["exit_code"], set(report["failed"])) == (4, {"gone"})
    sources = len(nights.looks())
    assert {look["retry_at"] for look in nights.looks()} == {nights.due(ANOTHER_DAY)}

    nights.run(ANOTHER_DAY - timedelta(minutes=1), NOT_PLAYED[kind], LEFT_OUT[kind])
    assert (nights.played(), len(nights.looks())) == (0, sources)

    report = nights.run(DAY, NOT_PLAYED[kind], LEFT_OUT[kind])
    assert (report["exit_code"], set(report["failed"])) == (4, {"gone"})
    assert nights.played() == sources
    second = nights.looks()[sources:]
    assert [(look["reason"], look["retry_at"]) for look in second] == [("gone", None)] * sources
    assert all("nor does Twitch list it" in look["detail"] for look in second)

    assert nights.run(9 * DAY)["planned"] == 0
    assert nights.played() == 0
    check_whole(nights.out)


def test_what_helix_still_lists_is_not_gone(nights: Nights) -> None:
    kind = nights.kind
    nights.run(timedelta(0), NOT_PLAYED[kind])
    sources = len(nights.looks())
    report = nights.run(DAY, NOT_PLAYED[kind])
    assert (report["exit_code"], set(report["failed"])) == (4, {"unplayable"})
    second = nights.looks()[sources:]
    assert {(look["reason"], look["retry_at"]) for look in second} == {
        ("unplayable", nights.due(DAY + timedelta(hours=1)))
    }
    assert len(second) == sources
    assert nights.run(2 * DAY)["kept"] > 0


def test_while_helix_cannot_be_asked_nothing_is_gone(nights: Nights) -> None:
    kind = nights.kind
    nights.run(timedelta(0), NOT_PLAYED[kind])
    down = Fault(path=LEFT_OUT[kind].path, query=LEFT_OUT[kind].query, status=503, times=0)
    report = nights.run(DAY, NOT_PLAYED[kind], down)
    assert (report["exit_code"], set(report["failed"])) == (5, {"unavailable"})
    assert nights.run(2 * DAY)["kept"] > 0


def test_what_comes_back_the_next_night_is_harvested_once_and_whole(nights: Nights) -> None:
    kind, out = nights.kind, nights.out
    first = nights.run(timedelta(0), *([NO_PLAYLIST] if kind == "vod" else [NOT_PLAYED[kind]]))
    assert (first["kept"], set(first["failed"])) == (0, {"gone"})
    second = nights.run(DAY)
    assert second["exit_code"] == 0
    assert nights.run(2 * DAY)["planned"] == 0
    images = nights.images()
    assert len(set(images)) == len(images) == second["kept"]
    check_whole(out)
    nights.out = out.with_name("quiet")
    nights.run(timedelta(0))
    assert nights.images() == images


@pytest.mark.parametrize("nights", ["vod"], indirect=True)
def test_a_target_whose_retry_finds_the_source_gone_is_not_lost(nights: Nights) -> None:
    """Night 1 it does not open, night 2 it does and its segments fail, night 3 it does not open: a first look anew."""
    nights.run(timedelta(0), NOT_PLAYED["vod"])
    opened = nights.run(DAY, Fault(path=r"^/cdn/.*\.(ts|mp4)$", status=503, times=0))
    assert set(opened["failed"]) == {"http-503"}
    again = nights.run(2 * DAY, NOT_PLAYED["vod"], LEFT_OUT["vod"])
    assert set(again["failed"]) == {"gone"}
    assert nights.looks()[-1]["retry_at"] == nights.due(2 * DAY + ANOTHER_DAY)
    assert nights.run(3 * DAY)["kept"] == sum(opened["failed"].values()) + opened["pending"]
    check_whole(nights.out)


def test_what_is_too_fresh_is_looked_at_again_an_hour_later(
    server: SandboxServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nights = Nights(Commands(server, tmp_path, capsys), tmp_path / "dataset", "vod")
    (video,) = server.world.videos
    age = video.created_at + timedelta(minutes=2) - server.world.now
    report = nights.run(age, NOT_PLAYED["vod"])
    assert (report["exit_code"], set(report["failed"])) == (4, {"not-ready"})
    assert nights.played() == 1
    assert [look["retry_at"] for look in nights.looks()] == [nights.due(age + timedelta(hours=1))]
    assert nights.run(age + timedelta(minutes=59))["planned"] == 0
    assert nights.run(age + timedelta(hours=1))["kept"] > 0


def test_the_failure_says_why_and_no_more(nights: Nights) -> None:
    nights.run(timedelta(0), NOT_PLAYED[nights.kind])
    for look in nights.looks():
        assert "token" in look["detail"] or "does not exist" in look["detail"]
        assert not {"sig=", "nauth"} & set(json.dumps(look["detail"]).split())
