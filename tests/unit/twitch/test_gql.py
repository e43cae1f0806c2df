"""Details of VODs over GQL: one batched question, and every way in which that interface fails."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st
from streamlink.plugins.twitch import TwitchAPI
from yarl import URL

from harvester.clock import Clock
from harvester.config import Fetch
from harvester.errors import SourceError
from harvester.model import Category, Span, VideoDetails, Vod, VodType
from harvester.stats import RequestKind, Traffic
from harvester.transport import RateLimit, SharedLimits, host_of
from harvester.transport.breaker import LIMITS, TIMEOUT, Ticket
from harvester.twitch.desk import player_headers
from harvester.twitch.gql import FAILURES_IN_A_ROW, HASH_TRIES, GqlDetails
from harvester.twitch.operations import CLIENT_ID, OPERATIONS, Outcome, complaint_of, outcome_of
from harvester.twitch.playback import StreamlinkResolver
from tests.unit.twitch.conftest import Answerer, StandIn, reply, run

GQL = "POST /gql"
QUICK = Fetch(attempts=3, retry_base_s=0.001, retry_max_s=0.01, read_timeout_s=0.5, gql_requests_per_s=1000)
NAMES = [op.name for op in OPERATIONS]
CELESTE = Category("492535", "Celeste")

CHAPTERS = [
    {"type": "GAME_CHANGE", "positionMilliseconds": 0, "durationMilliseconds": 60_000, "details": {"game": None}},
    {
        "type": "GAME_CHANGE",
        "positionMilliseconds": 60_000,
        "durationMilliseconds": 0,
        "details": {"game": {"id": "492535", "displayName": "Celeste"}},
    },
]
VIDEO = {
    "VideoMetadata": {
        "game": {"id": "492535", "displayName": "Celeste"},
        "owner": {"login": "ann", "displayName": "Ann"},
        "lengthSeconds": 100,
        "broadcastType": "ARCHIVE",
    },
    "VideoPlayer_ChapterSelectButtonVideo": {"moments": {"edges": [{"node": node} for node in CHAPTERS]}},
    "VideoPlayer_VODSeekbarPreviewVideo": {
        "seekPreviewsURL": "https://d1.cloudfront.net/s/storyboards/1-info.json"
    },
}
METADATA, MOMENTS, PREVIEWS = NAMES
NO_VIDEO: dict[str, Any] = {"data": {"video": None}}
ANOTHER = {"data": {"video": {"id": "another"}}}


def good(question: dict[str, Any]) -> dict[str, Any]:
    """The right answer to one operation, however it is spelt."""
    return {"data": {"video": {"id": question["variables"]["videoID"], **VIDEO[question["operationName"]]}}}


def complaint(message: str, **more: Any) -> dict[str, Any]:
    return {"errors": [{"message": message}], "extensions": {"requestID": "x"}, **more}


def by_name(**odd: Any) -> Answerer:
    """The right answer, but for operations in ``odd``: a document, or a function of the question."""

    def answer(request: web.Request, n: int) -> Any:
        async def wait() -> web.Response:
            entries = []
            for question in json.loads(await request.read()):
                entry = odd.get(question["operationName"], good)
                entries.append(entry(question) if callable(entry) else entry)
            return reply(entries)

        return wait()

    return answer


def then(*answers: Answerer) -> Answerer:
    return lambda request, n: answers[min(n, len(answers)) - 1](request, n)


def status(code: int, document: Any = None, **headers: str) -> Answerer:
    return lambda request, n: reply(document or {"error": "No", "status": code, "message": "no"}, code, **headers)


def html(request: web.Request, n: int) -> web.Response:
    return web.Response(text="<html>Please wait</html>", content_type="text/html")


def hangs_up(request: web.Request, n: int) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


Asked = Callable[[GqlDetails], Any]


def ask(answer: Answerer, vods: Sequence[str] = ("2001",), **options: Any) -> tuple[list[Any], StandIn, bool]:
    """What ``of_vod`` gave for each VOD (or the SourceError), and whether anything is still asked."""

    async def test(server: StandIn) -> tuple[list[Any], StandIn, bool]:
        server.answers = {GQL: answer}
        limit = RateLimit(1000)
        async with GqlDetails(
            server.endpoints, QUICK, options.pop("traffic", Traffic()), limit, **options
        ) as door:
            told: list[Any] = []
            for vod in vods:
                try:
                    told.append(await asyncio.wait_for(door.of_vod(vod), 5))
                except SourceError as error:
                    told.append(error)
            return told, server, door.working

    return run(test)


def names_asked(server: StandIn) -> list[list[str]]:
    return [[question["operationName"] for question in body] for body in server.bodies]


def test_one_request_tells_everything() -> None:
    traffic = Traffic()
    (told,), server, working = ask(by_name(), traffic=traffic, headers={"User-Agent": "Player/1"})
    assert told == VideoDetails(
        id="2001",
        category=CELESTE,
        length_s=100,
        broadcast_type="ARCHIVE",
        owner_login="ann",
        owner_name="Ann",
        chapters=told.chapters,
        storyboard_url=VIDEO[PREVIEWS]["seekPreviewsURL"],
    )
    assert [(c.span, c.category) for c in told.chapters] == [(Span(0, 60), None), (Span(60, 100), CELESTE)]
    assert (server.asked, working) == ([GQL], True)
    assert traffic.requests == {RequestKind.GQL: 1}
    assert traffic.bytes[RequestKind.GQL] > 300
    headers = server.headers[0]
    assert (headers["Client-ID"], headers["User-Agent"]) == (CLIENT_ID, "Player/1")
    assert names_asked(server) == [NAMES]
    assert all(question["extensions"]["persistedQuery"]["sha256Hash"] for question in server.bodies[0])


def test_previews_that_nobody_wants_are_not_asked_for_and_do_not_count() -> None:
    async def test(server: StandIn) -> tuple[list[VideoDetails | None], StandIn]:
        server.answers = {GQL: by_name(**{PREVIEWS: complaint("PersistedQueryNotFound")})}
        async with GqlDetails(server.endpoints, QUICK, Traffic(), RateLimit(1000)) as door:
            vods = [str(number) for number in range(FAILURES_IN_A_ROW)]
            told = [await door.of_vod(vod, previews=False) for vod in vods]
            server.answers = {GQL: by_name()}
            return [*told, await door.of_vod("2001")], server

    told, server = run(test)
    assert [each.category for each in told if each] == [CELESTE] * (FAILURES_IN_A_ROW + 1)
    assert [bool(each.storyboard_url) for each in told if each] == [False] * FAILURES_IN_A_ROW + [True]
    assert names_asked(server) == [[METADATA, MOMENTS]] * FAILURES_IN_A_ROW + [NAMES]


def test_the_player_s_names_are_those_that_streamlink_knows() -> None:
    assert CLIENT_ID == TwitchAPI.CLIENT_ID
    assert "Mozilla" in player_headers()["User-Agent"]


def test_a_hash_that_is_not_known_is_spelt_out_for_the_rest_of_the_run() -> None:
    def rotated(question: dict[str, Any]) -> dict[str, Any]:
        return good(question) if "query" in question else complaint("PersistedQueryNotFound")

    told, server, _ = ask(by_name(**{MOMENTS: rotated}), ["2001", "2002"])
    assert [len(each.chapters) for each in told] == [2, 2]
    assert names_asked(server) == [NAMES, *[[MOMENTS]] * HASH_TRIES, NAMES]
    last = {question["operationName"]: question for question in server.bodies[-1]}
    assert "query" in last[MOMENTS]
    assert "extensions" not in last[MOMENTS]
    assert "query" not in last[METADATA]


def test_a_good_hash_that_is_not_found_once_is_asked_again() -> None:
    one = then(by_name(**{METADATA: complaint("PersistedQueryNotFound")}), by_name())
    (told,), server, _ = ask(one)
    assert (told.category, len(told.chapters)) == (CELESTE, 2)
    assert names_asked(server) == [NAMES, [METADATA]]
    assert "query" not in server.bodies[-1][0]


def test_an_operation_that_is_gone_is_given_up_alone_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    vods = [str(number) for number in range(FAILURES_IN_A_ROW + 2)]
    with caplog.at_level(logging.WARNING):
        told, server, working = ask(by_name(**{PREVIEWS: complaint("PersistedQueryNotFound")}), vods)
    assert working
    assert all(each.category == CELESTE and each.storyboard_url is None for each in told)
    assert names_asked(server)[-1] == [METADATA, MOMENTS]
    assert len(server.bodies) == HASH_TRIES + FAILURES_IN_A_ROW * QUICK.attempts + 2
    assert [PREVIEWS in record.getMessage() for record in caplog.records] == [True]


@pytest.mark.parametrize(
    "answer",
    [
        by_name(**{METADATA: complaint("failed integrity check")}),
        lambda request, n: reply(complaint("failed integrity check")),
        status(400, {"error": "Bad Request", "status": 400, "message": 'The "Client-ID" header is invalid.'}),
        status(401),
        status(403),
        lambda request, n: reply({"error": "Unauthorized", "status": 401, "message": "token"}),
    ],
)
def test_a_refusal_ends_all_questions_with_one_warning(answer: Answerer, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        told, server, working = ask(answer, ["2001", "2002", "2003"])
    assert (told, len(server.asked), working) == ([None] * 3, 1, False)
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    "fault",
    [
        status(500),
        status(502),
        status(429, Retry_After="0"),
        html,
        hangs_up,
        lambda request, n: reply([]),
        lambda request, n: reply([good({"variables": {"videoID": "2001"}, "operationName": METADATA})] * 2),
        lambda request, n: reply(complaint("service timeout")),
        lambda request, n: reply({"data": {"video": None}}),
        lambda request, n: reply(good({"variables": {"videoID": "2001"}, "operationName": METADATA})),
        by_name(**dict.fromkeys(NAMES, complaint("service error", data={"video": None}))),
        by_name(**dict.fromkeys(NAMES, complaint("server error", data=None))),
        by_name(**dict.fromkeys(NAMES, 5)),
        by_name(**dict.fromkeys(NAMES, ANOTHER)),
        lambda request, n: web.Response(body=b"[" * 100_000),
        lambda request, n: web.Response(body=b"\xff\xfe"),
    ],
)
def test_passing_faults_are_tried_again_and_an_outage_ends(
    fault: Answerer, caplog: pytest.LogCaptureFixture
) -> None:
    (told,), server, _ = ask(then(fault, by_name()))
    assert (told.category, len(told.chapters), len(server.asked)) == (CELESTE, 2, 2)
    with caplog.at_level(logging.WARNING):
        lost, server, working = ask(fault, ["2001"] * (FAILURES_IN_A_ROW + 1))
    assert (lost, working) == ([None] * (FAILURES_IN_A_ROW + 1), False)
    assert len(server.asked) == FAILURES_IN_A_ROW * QUICK.attempts
    assert len(caplog.records) == 1


def test_a_host_that_was_given_up_costs_the_details_and_not_the_run() -> None:
    async def test(server: StandIn) -> tuple[list[VideoDetails | None], list[str]]:
        server.answers = {GQL: by_name()}
        limits = SharedLimits(pauses_s=(1e-9,))
        circuit = limits.breakers.circuit(host_of(URL(server.endpoints.gql)), RequestKind.GQL)
        for _ in range(LIMITS[TIMEOUT] + 1):  # as those who open sources have found it
            leave = circuit.enter()
            assert isinstance(leave, Ticket)
            circuit.settle(leave, TIMEOUT)
        async with GqlDetails(server.endpoints, QUICK, Traffic(), RateLimit(1000), limits=limits) as door:
            return [await door.of_vod("2001")], server.asked

    assert run(test) == ([None], [])


def test_one_operation_in_error_does_not_lose_the_others() -> None:
    (told,), server, working = ask(by_name(**{METADATA: complaint("service timeout")}))
    assert (told.category, told.length_s, len(told.chapters)) == (None, None, 1)
    assert told.storyboard_url
    assert (len(server.asked), working) == (QUICK.attempts, True)


def test_a_failure_now_and_then_is_no_reason_to_give_up() -> None:
    flaky = complaint("service timeout")
    per_vod = [by_name(**{PREVIEWS: flaky})] * QUICK.attempts
    answers = (per_vod * (FAILURES_IN_A_ROW - 1) + [by_name()]) * 2
    told, _, working = ask(then(*answers), ["2001"] * 6)
    assert [bool(each.storyboard_url) for each in told] == [False, False, True] * 2
    assert working


def test_a_video_that_is_gone() -> None:
    (error,), server, working = ask(by_name(**dict.fromkeys(NAMES, NO_VIDEO)))
    assert (error.reason, error.retryable, len(server.asked), working) == ("gone", True, 1, True)
    (told,), _, _ = ask(by_name(**{MOMENTS: NO_VIDEO}))
    assert (told.category, told.chapters) == (CELESTE, None)


def test_nulls_are_no_answer_where_something_failed() -> None:
    nulls = dict.fromkeys(NAMES, complaint("service timeout", data={"video": None}))
    (told,), _, _ = ask(by_name(**nulls))
    assert told is None


def test_one_pace_for_these_questions_and_for_playback_tokens() -> None:
    class Counting(RateLimit):
        entries = 0

        async def __aenter__(self) -> None:
            self.entries += 1

    async def test(server: StandIn) -> int:
        token = {"data": {"clip": None, "videoPlaybackAccessToken": None}}
        server.answers = {GQL: then(by_name(), lambda request, n: reply(token))}
        limit = Counting(1)
        vod = Vod("2001", "1", "9", "Ann", "t", datetime(2026, 1, 1, tzinfo=UTC), 10, VodType.ARCHIVE, "en", 1)
        async with GqlDetails(server.endpoints, QUICK, Traffic(), limit) as door:
            await door.of_vod("2001")
        async with StreamlinkResolver(server.endpoints, QUICK, Traffic(), Clock(), gql_limit=limit) as resolver:
            with pytest.raises(SourceError):
                await resolver.renditions(vod)
        return limit.entries

    assert run(test) == 2


def test_only_the_configured_host_is_asked() -> None:
    async def test(server: StandIn) -> None:
        server.answers = {GQL: lambda r, n: web.Response(status=307, headers={"Location": "http://127.0.0.1:9/"})}
        async with GqlDetails(server.endpoints, QUICK, Traffic(), RateLimit(1000)) as door:
            assert await door.of_vod("2001") is None
        assert set(server.asked) == {GQL}

    run(test)


documents = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 500) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["data", "video", "errors", "error", "message", "status", "id"]), inner)
    ),
    max_leaves=10,
)


@given(documents)
def test_any_entry_has_one_outcome(document: Any) -> None:
    outcome = outcome_of(document)
    assert isinstance(complaint_of(document), str)
    if outcome is Outcome.ANSWERED:
        assert "video" in document["data"]


@settings(max_examples=25, deadline=None)
@given(st.lists(documents, min_size=3, max_size=3) | documents)
def test_any_answer_ends_in_a_record_none_or_gone(document: Any) -> None:
    (told,), server, _ = ask(lambda request, n: reply(document))
    assert told is None or isinstance(told, VideoDetails | SourceError)
    assert len(server.asked) <= QUICK.attempts + HASH_TRIES
