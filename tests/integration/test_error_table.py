"""Every way Twitch is known to fail, one row each: what the ledger says, when it is due again, what it cost.

The world is one recording of 24 s (six targets) and its two clips, so that each request can be counted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from harvester.sandbox import Fault, SandboxServer, world_from_index
from tests.integration.commands import Commands, Ended
from tests.integration.small_world import write_footage
from tests.integration.wholeness import check_whole, outcomes, rows_of

#: Six targets of the VOD, three of each clip; one rendition is wanted, and one is there in its place.
SAMPLING = {
    "HARVESTER_DISCOVER_DETAILS": "off",  # the table is about playback; labels without an answer have their own
    "HARVESTER_SAMPLE_MIN_HEIGHT": "720",
    "HARVESTER_SAMPLE_MAX_PER_VOD": "6",
    "HARVESTER_SAMPLE_MAX_PER_CLIP": "3",
    "HARVESTER_SAMPLE_MIN_SPACING_S": "2",
}
VOD_TARGETS, TRIES = 6, 4
DENIED = b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code></Error>'
#: A transport stream of null packets: whole, in step, and nothing in it.
NO_PICTURE = (b"\x47\x1f\xff\x10" + b"\xff" * 184) * 40

SAME_RUN, TOMORROW = timedelta(0), timedelta(hours=20)
AN_HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxServer]:
    folder = tmp_path_factory.mktemp("table")
    index = write_footage(folder, games=1, sessions=1, gops=12, sizes=[(1280, 720), (640, 360)])
    with SandboxServer(world_from_index(index, segment_s=2.0), helix_points=1_000_000).running() as sandbox:
        yield sandbox


class Night:
    """Runs against that world, each with a clock of its own."""

    def __init__(self, commands: Commands, out: Path) -> None:
        self.commands, self.out = commands, out
        self.server = commands.server
        self.start = commands.server.world.now

    def run(self, *arguments: str, now: datetime | None = None, **environment: str) -> Ended:
        """Harvest all there is of the only game."""
        start = f"{now or self.start:%Y-%m-%dT%H:%M:%SZ}"
        variables = {**SAMPLING, "HARVESTER_RUN_NOW": start, **environment}
        return self.commands("run", "--category", "Game 0", *arguments, "--out", self.out, "--json", **variables)

    def asked(self) -> dict[str, int]:
        """Requests since the log was cleared, by kind, as the server counted them."""
        counted: dict[str, int] = self.server.log.stats()["requests"]
        return counted


@pytest.fixture
def night(server: SandboxServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Night:
    server.faults.clear()
    server.log.clear()
    return Night(Commands(server, tmp_path, capsys), tmp_path / "dataset")


def gql(document: object) -> bytes:
    return json.dumps(document).encode()


def complaint(message: str) -> bytes:
    return gql({"errors": [{"message": message}], "data": None})


def usher(code: str) -> bytes:
    return json.dumps([{"url": "x", "error": "x", "error_code": code, "type": "error"}]).encode()


def always(path: str, **action: Any) -> Fault:
    return Fault(path=path, times=0, **action)


def once(path: str, **action: Any) -> Fault:
    return Fault(path=path, **action)


GQL, USHER, PLAYLIST, CLIP = "^/gql", "^/vod/", r"\.m3u8$", "^/cdn/clips/"
#: In the body of a question that is not spelt out.
BY_HASH = "persistedQuery"
#: Header of a request that does not begin at the file's start.
INSIDE = {"Range": "^bytes=[1-9]"}
SEGMENT = r"/cdn/d.*/5\.(ts|mp4)$"


@dataclass(frozen=True)
class Row:
    """A line of the table. ``reason`` "": it heals within the run. ``due``: from its start, None = never.

    ``code``: exit code. ``asked``: requests of some kinds; ``lost``: targets that do not become pictures now.
    """

    symptom: str
    kind: str
    fault: Fault
    reason: str
    due: timedelta | None
    code: int
    asked: dict[str, int] = field(default_factory=dict)
    lost: int = VOD_TARGETS

    def __str__(self) -> str:
        return self.symptom


CLIP_TARGETS = 6
#: Two looks in one run, each as often as [fetch] attempts says: the retry after everything else, then an hour.
#: Where Twitch refuses the program, one: the source is not to blame.
TWICE = 2 * TRIES

TABLE = [
    # GQL
    Row("gql PersistedQueryNotFound", "vod", always(GQL, body=complaint("PersistedQueryNotFound")),
        "refused", AN_HOUR, 5, {"gql": TRIES}),
    Row("gql PersistedQueryNotFound once", "vod", once(GQL, body=complaint("PersistedQueryNotFound")),
        "", None, 0, {"gql": 2}, 0),
    Row("gql hash of VODs changed", "vod", always(GQL, sent=BY_HASH, body=complaint("PersistedQueryNotFound")),
        "", None, 0, {"gql": 3}, 0),
    Row("gql hash of clips changed", "clip", always(GQL, sent=BY_HASH, body=complaint("PersistedQueryNotFound")),
        "", None, 0, {}, 0),
    Row("gql service timeout", "vod", always(GQL, body=complaint("service timeout")),
        "unavailable", AN_HOUR, 5, {"gql": TWICE}),
    Row("gql service timeout twice", "vod", Fault(path=GQL, body=complaint("service timeout"), times=2),
        "", None, 0, {"gql": 3}, 0),
    Row("gql failed integrity check", "vod", always(GQL, body=complaint("failed integrity check")),
        "refused", AN_HOUR, 5, {"gql": TRIES}),
    Row("gql 401", "vod", always(GQL, status=401, body=gql({"error": "Unauthorized", "status": 401})),
        "refused", AN_HOUR, 5, {"gql": TRIES}),
    Row("gql 400", "vod", always(GQL, status=400, body=gql({"error": "Bad Request", "status": 400})),
        "refused", AN_HOUR, 5, {"gql": TRIES}),
    Row("gql 500", "vod", always(GQL, status=500), "unavailable", AN_HOUR, 5, {"gql": TWICE}),
    Row("gql 502 html", "vod", always(GQL, status=502, html=True), "unavailable", AN_HOUR, 5, {"gql": TWICE}),
    Row("gql 200 html", "vod", always(GQL, html=True), "unavailable", AN_HOUR, 5, {"gql": TWICE}),
    Row("gql 200 empty once", "vod", once(GQL, body=b""), "", None, 0, {"gql": 2}, 0),
    Row("gql reset once", "vod", once(GQL, reset=True), "", None, 0, {"gql": 2}, 0),
    Row("gql cut once", "vod", once(GQL, cut=20), "", None, 0, {"gql": 2}, 0),
    Row("gql token null", "vod", always(GQL, body=gql({"data": {"videoPlaybackAccessToken": None}})),
        "gone", TOMORROW, 4, {"gql": 1}),
    # usher
    Row("usher 403 sub-only", "vod", always(USHER, status=403, body=usher("vod_manifest_restricted")),
        "sub-only", None, 4, {"usher": 1}),
    Row("usher 403 entitlements", "vod", always(USHER, status=403, body=usher("unauthorized_entitlements")),
        "sub-only", None, 4, {"usher": 1}),
    Row("usher 403 region", "vod", always(USHER, status=403, body=usher("content_geoblocked")),
        "region", None, 4, {"usher": 1}),
    Row("usher 403 other", "vod", always(USHER, status=403, body=usher("nauth_token_invalid")),
        "broken", AN_HOUR, 4, {"usher": TWICE}),
    Row("usher 404", "vod", always(USHER, status=404, body=usher("transcode_does_not_exist")),
        "gone", TOMORROW, 4, {"usher": 1}),
    Row("usher 503", "vod", always(USHER, status=503), "unavailable", AN_HOUR, 5, {"usher": TWICE}),
    Row("usher 503 once", "vod", once(USHER, status=503), "", None, 0, {"usher": 2}, 0),
    Row("usher 200 html once", "vod", once(USHER, html=True), "", None, 0, {"usher": 2}, 0),
    # CDN, playlist
    Row("playlist 403 of one variant", "vod", always("/chunked/.*m3u8$", status=403, body=DENIED),
        "", None, 0, {"playlist": 2}, 0),
    Row("playlist 403 of all", "vod", always("^/cdn/.*m3u8$", status=403, body=DENIED),
        "gone", TOMORROW, 4, {"playlist": 2}),
    Row("playlist 500", "vod", always("^/cdn/.*m3u8$", status=500), "http-500", AN_HOUR, 5, {"playlist": TWICE}),
    Row("playlist 200 html", "vod", always("^/cdn/.*m3u8$", html=True), "foreign-body", AN_HOUR, 5,
        {"playlist": TWICE}),
    Row("playlist 200 zero bytes once", "vod", once("^/cdn/.*m3u8$", body=b""), "", None, 0, {}, 0),
    Row("playlist cut once", "vod", once("^/cdn/.*m3u8$", cut=60), "", None, 0, {"playlist": 2}, 0),
    # CDN, segment
    Row("segment 403", "vod", always(SEGMENT, status=403, body=DENIED), "http-403", None, 0, {}, 1),
    Row("segment 404", "vod", always(SEGMENT, status=404, body=DENIED), "http-404", None, 0, {}, 1),
    Row("segment 503", "vod", always(SEGMENT, status=503), "http-503", AN_HOUR, 0, {}, 1),
    Row("segment reset", "vod", always(SEGMENT, reset=True), "connection", AN_HOUR, 0, {}, 1),
    Row("segment reset twice", "vod", Fault(path=SEGMENT, reset=True, times=2), "", None, 0, {}, 0),
    Row("segment short body", "vod", always(SEGMENT, cut=100), "short-body", AN_HOUR, 0, {}, 1),
    Row("segment short body once", "vod", once(SEGMENT, cut=100), "", None, 0, {}, 0),
    Row("segment of another range", "vod", always(SEGMENT, wrong_range=True), "wrong-range", AN_HOUR, 0, {}, 1),
    Row("segment without ranges", "vod", always(SEGMENT, ignore_range=True), "", None, 0, {}, 0),
    Row("segment dripping", "vod", always(SEGMENT, drip=400_000), "", None, 0, {}, 0),
    Row("segment without length", "vod", always(SEGMENT, drop_headers=("Content-Length",)), "", None, 0, {}, 0),
    Row("segment 200 zero bytes", "vod", always(SEGMENT, body=b""), "short-body", AN_HOUR, 0, {}, 1),
    Row("segment 200 zero bytes once", "vod", once(SEGMENT, body=b""), "", None, 0, {}, 0),
    Row("segment 200 html", "vod", always(SEGMENT, html=True), "foreign-body", AN_HOUR, 0, {}, 1),
    Row("segment 200 html twice", "vod", Fault(path=SEGMENT, html=True, times=2), "", None, 0, {}, 0),
    # decode
    Row("segment without a picture", "vod", always(SEGMENT, body=NO_PICTURE), "corrupt", None, 0, {}, 1),
    # clips
    Row("clip null", "clip", always(GQL, body=gql({"data": {"clip": None}})), "gone", TOMORROW, 4, {"gql": 2},
        CLIP_TARGETS),
    Row("clip mp4 401 once", "clip", once(CLIP, status=401, body=b""), "", None, 0, {}, 0),
    Row("clip mp4 403", "clip", always(CLIP, status=403, body=DENIED), "gone", TOMORROW, 4, {}, CLIP_TARGETS),
    Row("clip mp4 404", "clip", always(CLIP, status=404, body=DENIED), "gone", TOMORROW, 4, {}, CLIP_TARGETS),
    Row("clip mp4 503", "clip", always(CLIP, status=503), "http-503", AN_HOUR, 5, {"gql": 4, "media": 2 * TWICE},
        CLIP_TARGETS),
    Row("clip mp4 503 once", "clip", once(CLIP, status=503), "", None, 0, {"gql": 2}, 0),
    Row("clip mp4 200 html once", "clip", once(CLIP, html=True), "", None, 0, {"gql": 2}, 0),
    Row("clip mp4 200 zero bytes once", "clip", once(CLIP, body=b""), "", None, 0, {"gql": 2}, 0),
    Row("clip mp4 200 html for a picture once", "clip", Fault(path=CLIP, header=INSIDE, html=True),
        "", None, 0, {"gql": 2}, 0),
    Row("clip mp4 cut once", "clip", once(CLIP, cut=9), "", None, 0, {"gql": 2}, 0),
]  # fmt: skip


def final(night: Night) -> dict[tuple[Any, ...], dict[str, Any]]:
    """The newest outcome of every target and source that failed to open."""
    return {(row["kind"], row["source_id"], row["k"]): row for row in outcomes(night.out)}


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_the_table(night: Night, row: Row) -> None:
    night.server.inject(row.fault)
    ended = night.run("--source-type", row.kind)
    everything = VOD_TARGETS if row.kind == "vod" else CLIP_TARGETS
    assert set(ended.json["failed"]) == ({row.reason} if row.reason else set()), ended.err
    assert ended.code == row.code
    assert ended.json["kept"] + sum(ended.json["dropped"].values()) == everything - row.lost
    failed = [outcome for outcome in final(night).values() if outcome["verdict"] == "failed"]
    due = None if row.due is None else (night.start + row.due).isoformat()
    assert {outcome["retry_at"] for outcome in failed} <= {due}
    assert night.asked().items() >= row.asked.items()
    check_whole(night.out)
    if row.reason:
        _nothing_is_lost(night, row, everything)


def _nothing_is_lost(night: Night, row: Row, everything: int) -> None:
    """When it behaves again, what is due comes; what failed for good is never asked for again."""
    night.server.faults.clear()
    night.server.log.clear()
    later = night.run("--source-type", row.kind, now=night.start + (row.due or timedelta(days=30)))
    assert later.code == 0, later.err
    looked_at = [o for o in final(night).values() if o["k"] is not None and o["verdict"] != "failed"]
    assert len(looked_at) == everything - (row.lost if row.due is None else 0)
    assert (later.json["planned"] > 0) == (row.due is not None)
    assert row.due is not None or not set(night.asked()) - {"auth", "helix"}
    check_whole(night.out)
    images = [frame["sha256"] for frames in rows_of(night.out).values() for frame in frames]
    assert len(images) == len(set(images)), "every GOP has a picture of its own: none may come twice"


@pytest.mark.parametrize("path", [GQL, USHER, "^/cdn/.*m3u8$", SEGMENT])
def test_an_answer_that_does_not_come_is_waited_for_so_long_and_asked_for_again(night: Night, path: str) -> None:
    night.server.inject(once(path, delay_s=600))
    ended = night.run("--source-type", "vod", HARVESTER_FETCH_READ_TIMEOUT_S="1")
    assert (ended.code, ended.json["kept"], ended.json["failed"]) == (0, VOD_TARGETS, {}), ended.err
    check_whole(night.out)


PAGE = gql({"data": [], "pagination": {}})
VIDEOS = "^/helix/videos"


@dataclass(frozen=True)
class Refusal:
    """A line of the table about the token service and Helix: exit code, requests to the path, what is said."""

    symptom: str
    fault: Fault
    code: int
    asked: int
    says: str = ""
    environment: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.symptom


TOKEN = "^/oauth2/token"
#: Tries of one question to Helix or its token service.
PATIENCE = 5

REFUSALS = [
    Refusal("id 400 wrong id", once(TOKEN), 3, 1, "TWITCH_CLIENT_ID",
            {"TWITCH_CLIENT_ID": "x"}),
    Refusal("id 403 wrong secret", once(TOKEN), 3, 1, "TWITCH_CLIENT_SECRET",
            {"TWITCH_CLIENT_SECRET": "x"}),
    Refusal("id 500", always(TOKEN, status=500), 5, PATIENCE, "try again"),
    Refusal("id 503 twice", Fault(path=TOKEN, status=503, times=2), 0, 3),
    Refusal("id 200 html once", once(TOKEN, html=True), 0, 2),
    Refusal("helix 401 once", once(VIDEOS, status=401), 0, 2),
    Refusal("helix 401", always(VIDEOS, status=401), 3, 2, "TWITCH_CLIENT_ID"),
    Refusal("helix 400", always(VIDEOS, status=400), 5, 1, "malformed"),
    Refusal("helix 403", always(VIDEOS, status=403), 5, 1, "REFUSES"),
    Refusal("helix 404", always(VIDEOS, status=404), 0, 1),
    Refusal("helix 429 once", once(VIDEOS, status=429, headers={"Ratelimit-Reset": "+1"}), 0, 2),
    Refusal("helix 429", always(VIDEOS, status=429, headers={"Ratelimit-Reset": "+0"}), 5, PATIENCE, "rate limit"),
    Refusal("helix 500", always(VIDEOS, status=500), 5, PATIENCE, "answered 500"),
    Refusal("helix 502 html twice", Fault(path=VIDEOS, status=502, html=True, times=2), 0, 3),
    Refusal("helix 503 once", once(VIDEOS, status=503), 0, 2),
    Refusal("helix 504 once", once(VIDEOS, status=504), 0, 2),
    Refusal("helix 200 html", always(VIDEOS, html=True), 5, PATIENCE, "cannot be asked"),
    Refusal("helix 200 nothing once", once(VIDEOS, body=b""), 0, 2),
    Refusal("helix reset once", once(VIDEOS, reset=True), 0, 2),
    Refusal("helix cut once", once(VIDEOS, cut=30), 0, 2),
    Refusal("helix 200 empty", always(VIDEOS, body=PAGE), 0, 1),
]  # fmt: skip


@pytest.mark.parametrize("row", REFUSALS, ids=str)
def test_what_helix_and_its_token_service_refuse(night: Night, row: Refusal) -> None:
    night.server.inject(row.fault)
    ended = night.run("--source-type", "vod", "--frames", "1", **row.environment)
    asked = [entry for entry in night.server.log.entries() if entry.path.startswith(row.fault.path[1:])]
    assert (ended.code, len(asked)) == (row.code, row.asked), ended.err
    assert row.says in ended.err
    night.server.faults.clear()
    if row.code:
        assert night.run("--source-type", "vod").json["kept"] == VOD_TARGETS


def test_a_category_that_is_suddenly_empty_is_an_outage_and_takes_nothing_away(night: Night) -> None:
    assert night.run().code == 0
    before = rows_of(night.out)
    night.server.inject(always("^/helix/(videos|clips)", body=PAGE))
    later = night.run(now=night.start + timedelta(days=1))
    assert (later.code, later.json["planned"]) == (5, 0)
    assert rows_of(night.out) == before
    night.server.faults.clear()
    assert night.run(now=night.start + timedelta(days=2)).code == 0
    assert rows_of(night.out) == before


@pytest.mark.parametrize("spoilt", [{"same_cursor": True}, {"empty_page_with_cursor": True}], ids=str)
def test_a_listing_whose_cursor_leads_nowhere_ends(night: Night, spoilt: dict[str, Any]) -> None:
    night.server.inject(always(VIDEOS, **spoilt))
    night.run("--source-type", "vod")
    assert 1 <= len([e for e in night.server.log.entries("helix") if e.path == "/helix/videos"]) <= 40
    night.server.faults.clear()
    night.run("--source-type", "vod")
    assert len([o for o in outcomes(night.out) if o["verdict"] != "failed"]) == VOD_TARGETS
