"""The stand-in as a server: how it misbehaves on demand, what it counts, and that it stops in peace."""

from __future__ import annotations

import gc
import http.client
import json
import logging
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from typing import Any

import pytest

from harvester.sandbox import Fault, SandboxServer, default_world


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Message
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(server: SandboxServer, path: str, data: object = None, **headers: str) -> Answer:
    """One plain request; ``data`` is posted as JSON."""
    body = None if data is None else json.dumps(data).encode()
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(server.origin + path, headers=sent, data=body)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return Answer(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as error:
        return Answer(error.code, error.headers, error.read())


@pytest.fixture(scope="module")
def running() -> Iterator[SandboxServer]:
    with SandboxServer(default_world()).running() as server:
        yield server


@pytest.fixture
def server(running: SandboxServer) -> SandboxServer:
    running.faults.clear()
    running.log.clear()
    return running


@pytest.fixture
def signed(server: SandboxServer) -> dict[str, str]:
    """Headers that Helix accepts."""
    secrets = server.environ
    form = f"client_id={secrets['TWITCH_CLIENT_ID']}&client_secret={secrets['TWITCH_CLIENT_SECRET']}"
    token = ask(server, f"/oauth2/token?{form}&grant_type=client_credentials", data={}).json["access_token"]
    return {"Client_Id": secrets["TWITCH_CLIENT_ID"], "Authorization": f"Bearer {token}"}


@pytest.fixture
def segment(server: SandboxServer) -> str:
    """Path of a segment."""
    video = next(video for video in server.world.videos if video.container == "ts")
    return f"/cdn/{video.distribution}/{video.special}/chunked/0.ts"


def test_a_page_may_be_empty_and_have_a_cursor(server: SandboxServer, signed: dict[str, str]) -> None:
    server.inject(Fault(path="games/top", empty_page_with_cursor=True, times=2))
    first = ask(server, "/helix/games/top?first=2", **signed).json
    assert first["data"] == []
    cursor = first["pagination"]["cursor"]
    asked = ask(server, f"/helix/games/top?first=2&after={cursor}", **signed).json
    assert asked == {"data": [], "pagination": {"cursor": cursor}}
    assert len(ask(server, f"/helix/games/top?first=2&after={cursor}", **signed).json["data"]) == 2


def test_a_cursor_may_never_change(server: SandboxServer, signed: dict[str, str]) -> None:
    server.inject(Fault(path="games/top", same_cursor=True, times=0))
    first = ask(server, "/helix/games/top?first=5", **signed).json
    cursor = first["pagination"]["cursor"]
    second = ask(server, f"/helix/games/top?first=5&after={cursor}", **signed).json
    assert second["pagination"]["cursor"] == cursor
    assert second["data"]
    assert not {game["id"] for game in second["data"]} & {game["id"] for game in first["data"]}


def test_what_is_no_page_is_left_as_it_is(server: SandboxServer, segment: str) -> None:
    whole = ask(server, segment).body
    server.inject(Fault(path="/0.ts", same_cursor=True, empty_page_with_cursor=True))
    assert ask(server, segment).body == whole


def test_headers_can_be_left_out(server: SandboxServer, signed: dict[str, str], segment: str) -> None:
    server.inject(Fault(path="^/helix/", drop_headers=("ratelimit-reset", "Ratelimit-Remaining")))
    headers = ask(server, "/helix/games/top", **signed).headers
    assert headers["Ratelimit-Limit"] == "800"
    assert headers["Ratelimit-Reset"] is headers["Ratelimit-Remaining"] is None
    whole = ask(server, segment)
    server.inject(Fault(path="/0.ts", drop_headers=("Content-Length",)))
    chunked = ask(server, segment)
    assert whole.headers["Content-Length"] == str(len(whole.body))
    assert chunked.headers["Content-Length"] is None
    assert chunked.body == whole.body


def test_a_range_may_be_another_than_asked_for(server: SandboxServer, segment: str) -> None:
    server.inject(Fault(path="/0.ts", wrong_range=True))
    wrong, right = (ask(server, segment, Range="bytes=10-19") for _ in range(2))
    total = right.headers["Content-Range"].partition("/")[2]
    assert right.headers["Content-Range"] == f"bytes 10-19/{total}"
    assert (wrong.status, wrong.headers["Content-Range"]) == (206, f"bytes 11-20/{total}")


def test_an_answer_may_drip_and_may_break_off(server: SandboxServer, segment: str) -> None:
    whole = ask(server, segment, Range="bytes=0-2999").body
    server.inject(Fault(path="/0.ts", drip=60_000))
    begun = time.monotonic()
    assert ask(server, segment, Range="bytes=0-2999").body == whole
    assert time.monotonic() - begun >= 3000 / 60_000
    server.inject(Fault(path="/0.ts", drip=1_000_000, cut=1000))
    with pytest.raises(http.client.IncompleteRead) as broken:
        ask(server, segment, Range="bytes=0-2999")
    assert broken.value.partial == whole[:1000]
    assert [entry.bytes for entry in server.log.entries("media")] == [3000, 3000, 1000]


@pytest.mark.parametrize("body", [b"", b"{}"])
def test_an_answer_shorter_than_its_cut_breaks_off_too(server: SandboxServer, segment: str, body: bytes) -> None:
    server.inject(Fault(path="/0.ts", body=body, cut=1000))
    with pytest.raises(http.client.IncompleteRead) as broken:
        ask(server, segment)
    assert broken.value.partial == body


def test_a_fault_may_ask_for_a_header(server: SandboxServer, segment: str) -> None:
    fault = {"match": {"header": {"Range": "^bytes=0-"}}, "action": {"status": 503}, "times": 0}
    assert ask(server, "/_control/faults", data=fault).status == 200
    statuses = [ask(server, segment, Range=f"bytes={start}-99").status for start in (0, 1)]
    assert [*statuses, ask(server, segment).status] == [503, 206, 200]


@pytest.mark.parametrize(
    ("path", "data", "word"),
    [
        ("faults", [{"action": {"status": 500}}, {"when": 1}], "no key 'when'"),
        ("faults", "x", "a fault must be an object"),
        ("clock", {"now": "yesterday"}, "Invalid isoformat"),
        ("clock", {"now": "2026-11-02"}, "zone"),
        ("clock", [], "TIME"),
        ("rate", {}, "helix"),
        ("rate", {"helix": {"points": "many"}}, "points must be a whole number"),
        ("rate", {"helix": {"points": 0}}, "at least 1"),
        ("rate", {"gql": {"size": 1}}, "a bucket is"),
        ("line", {}, "is needed"),
        ("line", {"latency": 1}, "is needed"),
        ("line", {"rtt_ms": "40"}, "rtt_ms must be a number"),
        ("line", {"mbps": -1}, "0 or more"),
    ],
)
def test_bad_input_is_refused_with_a_clear_word_and_changes_nothing(
    server: SandboxServer, signed: dict[str, str], path: str, data: object, word: str
) -> None:
    now = server.world.now
    answer = ask(server, f"/_control/{path}", data=data)
    assert answer.status == 400
    assert word in answer.json["error"]
    assert server.world.now == now
    assert ask(server, "/helix/games/top", **signed).status == 200


def test_input_that_is_no_json_is_refused(server: SandboxServer) -> None:
    for path in ("faults", "clock", "rate", "line"):
        request = urllib.request.Request(f"{server.origin}/_control/{path}", data=b"\xff{")
        with pytest.raises(urllib.error.HTTPError, match="400"):
            urllib.request.urlopen(request, timeout=10)


def test_the_line_can_be_shaped_while_it_serves(server: SandboxServer, segment: str) -> None:
    assert ask(server, "/_control/line", data={"rtt_ms": 20, "mbps": 1}).status == 200
    begun = time.monotonic()
    assert len(ask(server, segment, Range="bytes=0-4999").body) == 5000
    assert time.monotonic() - begun >= 2 * 0.020 + 5000 * 8 / 1e6  # a handshake and an answer, and its bits
    assert ask(server, "/_control/line", data={"rtt_ms": 0}).status == 200


def test_rate_buckets_can_be_set(server: SandboxServer, signed: dict[str, str]) -> None:
    small = {"points": 2, "per_minute": 1}
    assert ask(server, "/_control/rate", data={"helix": small, "gql": small}).status == 200
    answers = [ask(server, "/helix/games/top", **signed) for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert [answer.headers["Ratelimit-Remaining"] for answer in answers] == ["1", "0", "0"]
    assert int(answers[2].headers["Ratelimit-Reset"]) > time.time() + 60
    gql = [ask(server, "/gql", data=[{"operationName": "x"}], Client_ID="x").status for _ in range(3)]
    assert gql == [200, 200, 429]
    assert ask(server, "/_control/rate", data={"helix": {"points": 800}, "gql": None}).status == 200
    assert ask(server, "/helix/games/top", **signed).headers["Ratelimit-Remaining"] == "799"
    assert ask(server, "/gql", data=[{"operationName": "x"}], Client_ID="x").status == 200


def test_the_log_tells_when_and_the_stats_how_many_at_once(server: SandboxServer, segment: str) -> None:
    server.inject(Fault(path="/0.ts", delay_s=0.1, times=0))
    kept = [http.client.HTTPConnection("127.0.0.1", server.port, timeout=10) for _ in range(3)]
    for _ in range(2):
        for connection in kept:
            connection.request("GET", segment, headers={"Range": "bytes=0-9"})
        assert [connection.getresponse().read()[:1] for connection in kept] == [b"G"] * 3
    stats = ask(server, "/_control/stats").json
    assert stats["requests"] == {"media": 6}
    assert stats["bytes"] == {"media": 60}
    assert stats["peak_parallel"] == {"media": 3}
    assert 3 <= stats["peak_per_s"]["media"] <= 6
    assert (stats["connections"], stats["peak_connections"]) == (3, 3)
    moments = sorted(entry["at_s"] for entry in ask(server, "/_control/log").json)
    assert moments[3] >= moments[0] + 0.1
    for connection in kept:
        connection.close()


def test_it_stops_in_peace_while_answers_are_held_back_from_those_who_wait_and_those_who_left(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.DEBUG, logger="asyncio"), SandboxServer(default_world()).running() as held:
        held.inject(Fault(delay_s=600, times=0))
        callers = [http.client.HTTPConnection("127.0.0.1", held.port, timeout=10) for _ in range(4)]
        for number, caller in enumerate(callers, start=1):
            caller.request("GET", "/oauth2/validate")
            while held.log.stats()["peak_parallel"].get("auth", 0) < number:
                time.sleep(0.005)
        for caller in callers[:2]:
            caller.close()
        ask(held, "/_control/stats")  # by now it knows that they have left
    for caller in callers[2:]:
        with pytest.raises((OSError, http.client.HTTPException)):
            caller.getresponse()
        caller.close()
    gc.collect()  # a task that nobody ended complains when it is collected
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "destroyed" not in capfd.readouterr().err
    assert [entry.status for entry in held.log.entries()] == [0] * 4
