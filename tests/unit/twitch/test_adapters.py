"""What lies under streamlink: hosts it may not reach, redirects, outages, the cap on bytes."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from streamlink.exceptions import StreamlinkError

from harvester.clock import Clock
from harvester.config import Endpoints, Fetch
from harvester.errors import FetchError, HarvesterError, SourceError, TryAgainLater
from harvester.model import SourceKind, Vod, VodType
from harvester.stats import RequestKind, Traffic
from harvester.transport import AllowedHosts, Proxies, RateLimit, SharedLimits
from harvester.transport.breaker import LIMITS, REFUSED, SERVER_ERROR
from harvester.twitch.adapter import Exchange
from harvester.twitch.desk import Desk
from harvester.twitch.playback import StreamlinkResolver
from harvester.twitch.questions import Questions
from tests.unit.transport.test_hosts import OUTSIDE
from tests.unit.twitch.conftest import Answerer, StandIn, reply, run
from tests.unit.twitch.test_playback import GQL, MASTER, USHER, gql, hangs_up, text, vod_token

NOW = datetime(2026, 11, 2, 3, tzinfo=UTC)
QUICK = Fetch(attempts=1, retry_base_s=0.001, retry_max_s=0.01, read_timeout_s=0.5, gql_requests_per_s=1000)
LIMIT = LIMITS[SERVER_ERROR]


def vod(number: int = 1) -> Vod:
    return Vod(str(2000 + number), "1", "9001", "Ann", "x", NOW - timedelta(9), 900, VodType.ARCHIVE, "en", 4)


def resolver(server: StandIn, limits: SharedLimits, traffic: Traffic | None = None) -> StreamlinkResolver:
    return StreamlinkResolver(server.endpoints, QUICK, traffic or Traffic(), Clock(NOW), limits=limits)


async def error_of(opener: StreamlinkResolver, number: int = 1) -> HarvesterError:
    with pytest.raises(HarvesterError) as caught:
        await opener.renditions(vod(number))
    return caught.value


def real_desk(traffic: Traffic) -> Desk:
    """A desk of the real world."""
    hosts = AllowedHosts(False, Fetch().hosts)
    return Desk(
        Endpoints(),
        Fetch(),
        [],
        Exchange(hosts, Questions(), SharedLimits(), Proxies(), traffic, threading.Event(), 0.5),
    )


#: requests itself makes a harmless URL of a port 0, before we see it.
PARSED = [url for url in OUTSIDE if ":0/" not in url]


@pytest.mark.parametrize("url", [*PARSED, "https://evil.org\\@gql.twitch.tv/"])
def test_no_url_leads_outside(url: str) -> None:
    """The no_network fixture sees every connection and look-up."""
    traffic = Traffic()
    desk = real_desk(traffic)
    with pytest.raises((StreamlinkError, ValueError)):
        desk._http.get(url)
    assert not traffic.requests


def test_files_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    desk = real_desk(Traffic())
    with pytest.raises((StreamlinkError, ValueError)):
        desk._http.get(f"file://{tmp_path}/secret")


@pytest.mark.parametrize(
    "to",
    [
        "http://169.254.169.254/meta",
        "https://d1.cloudfront.net/x",
        "//10.0.0.1/",
        "file:///etc/passwd",
        "ftp://127.0.0.1/",
    ],
)
@pytest.mark.parametrize("from_", [GQL, USHER])
def test_redirects_out_of_the_world_are_not_followed(to: str, from_: str) -> None:
    async def test(server: StandIn) -> None:
        traffic = Traffic()
        server.answers[GQL] = vod_token()
        server.answers[USHER] = text(MASTER)
        server.answers[from_] = lambda request, n: web.Response(status=307, headers={"Location": to})
        async with resolver(server, SharedLimits(), traffic) as opener:
            error = await error_of(opener)
        assert isinstance(error, SourceError)
        assert server.count(from_) == 1
        assert sum(traffic.requests.values()) == len(server.asked)

    run(test)


def failing(request: web.Request, n: int) -> web.Response:
    return web.Response(status=503)


def test_an_outage_of_usher_ends_the_run_after_few_requests() -> None:
    async def test(server: StandIn) -> None:
        server.answers[GQL], server.answers[USHER] = vod_token(), failing
        async with resolver(server, SharedLimits((0.01, 0.02))) as opener:
            errors = await asyncio.gather(*(error_of(opener, n) for n in range(60)))
        assert server.count(USHER) <= LIMIT + 4 + 2
        assert {type(error).__name__ for error in errors} == {"PassingTrouble", "TryAgainLater"}
        assert sum(isinstance(error, TryAgainLater) for error in errors) >= 60 - LIMIT - 6

    run(test)


def complains(message: str, status: int = 200) -> Answerer:
    return lambda request, n: reply({"errors": [{"message": message}]}, status)


@pytest.mark.parametrize(
    "answer",
    [
        complains("PersistedQueryNotFound"),
        complains("failed integrity check"),
        lambda request, n: reply({"error": "Bad Request", "status": 400, "message": "Client-ID"}, 400),
        lambda request, n: reply({"error": "Unauthorized", "status": 401, "message": "token"}, 401),
    ],
)
def test_what_every_source_would_be_answered_costs_few_sources_their_tries(answer: Answerer) -> None:
    async def test(server: StandIn) -> None:
        server.answers[GQL] = answer
        async with resolver(server, SharedLimits((0.01, 0.02))) as opener:
            errors = await asyncio.gather(*(error_of(opener, n) for n in range(40)))
            assert server.count(GQL) <= LIMITS[REFUSED] + 4 + 2
            assert sum(isinstance(error, TryAgainLater) for error in errors) >= 40 - LIMITS[REFUSED] - 6
            assert "every question is refused" in str(await error_of(opener))

    run(test)


@pytest.mark.parametrize("answer", [gql({"videoPlaybackAccessToken": None}), complains("service error")])
def test_what_one_source_is_answered_stops_no_other(answer: Answerer) -> None:
    async def test(server: StandIn) -> None:
        server.answers[GQL] = answer
        async with resolver(server, SharedLimits((0.01,))) as opener:
            errors = [await error_of(opener, n) for n in range(3 * LIMITS[REFUSED])]
        assert all(isinstance(error, SourceError) for error in errors)
        assert server.count(GQL) == len(errors)

    run(test)


def test_a_hash_that_is_forgotten_now_and_then_is_no_refusal() -> None:
    async def test(server: StandIn) -> None:
        unknown, known = complains("PersistedQueryNotFound"), vod_token()
        server.answers = {GQL: lambda request, n: (unknown if n % 3 else known)(request, n), USHER: text(MASTER)}
        async with resolver(server, SharedLimits((10_000.0,))) as opener:
            for number in range(LIMITS[REFUSED]):
                assert "PersistedQueryNotFound" in str(await error_of(opener))
                assert "PersistedQueryNotFound" in str(await error_of(opener))
                assert await asyncio.wait_for(opener.renditions(vod(number)), 5)

    run(test)


def test_what_is_refused_for_the_run_takes_no_turn_of_those_who_may_ask() -> None:
    class Counting(RateLimit):
        entries = 0

        async def __aenter__(self) -> None:
            self.entries += 1

    async def test(server: StandIn) -> None:
        server.answers[GQL] = complains("failed integrity check")
        pace = Counting(1)
        limits = SharedLimits((0.001,))
        kinds: tuple[SourceKind, ...] = ("vod", "clip")
        async with StreamlinkResolver(
            server.endpoints, QUICK, Traffic(), Clock(NOW), gql_limit=pace, limits=limits, kinds=kinds
        ) as opener:
            errors = [await error_of(opener, n) for n in range(LIMITS[REFUSED] + 20)]
        assert [error.reason for error in errors[LIMITS[REFUSED] :]] == ["refused"] * 20
        assert all(error.retryable for error in errors)
        assert server.count(GQL) == pace.entries == LIMITS[REFUSED] + 1

    run(test)


def test_a_probe_that_gets_no_answer_leaves_its_place_to_another() -> None:
    def answer(request: web.Request, n: int) -> Any:
        if n <= LIMITS[REFUSED]:
            return complains("failed integrity check")(request, n)
        return (hangs_up if n == LIMITS[REFUSED] + 1 else vod_token())(request, n)

    async def test(server: StandIn) -> None:
        server.answers = {GQL: answer, USHER: text(MASTER)}
        async with resolver(server, SharedLimits((0.001, 10_000.0))) as opener:
            for number in range(LIMITS[REFUSED] + 1):
                await error_of(opener, number)
            assert await asyncio.wait_for(opener.renditions(vod()), 5)

    run(test)


def test_an_outage_that_passes_is_waited_through() -> None:
    async def test(server: StandIn) -> None:
        server.answers[GQL] = lambda request, n: failing(request, n) if n <= LIMIT + 1 else vod_token()(request, n)
        server.answers[USHER] = text(MASTER)
        async with resolver(server, SharedLimits((0.01, 0.02, 0.03, 0.04))) as opener:
            asks = (opener.renditions(vod(n)) for n in range(60))
            results = await asyncio.gather(*asks, return_exceptions=True)
        assert sum(isinstance(result, BaseException) for result in results) <= LIMIT + 1
        assert sum(isinstance(result, list) for result in results) >= 60 - LIMIT - 1

    run(test)


def test_a_host_given_up_is_told_by_its_reason() -> None:
    limits = SharedLimits((0.001,))

    async def test(server: StandIn) -> None:
        server.answers[GQL], server.answers[USHER] = vod_token(), failing
        async with resolver(server, limits) as opener:
            while not isinstance(await error_of(opener), TryAgainLater):
                pass
            other = limits.breakers.circuit("other.host", RequestKind.USHER)
            leave = other.enter()
            assert not isinstance(leave, float)
            other.settle(leave, None)
            error = await error_of(opener)
        assert isinstance(error, FetchError)
        assert (error.reason, error.retryable) == ("host-down", True)

    run(test)


def test_closing_ends_the_threads_that_wait() -> None:
    limits = SharedLimits((10_000.0,))

    async def test(server: StandIn) -> None:
        server.answers[GQL], server.answers[USHER] = vod_token(), failing
        opener = resolver(server, limits)
        for _ in range(LIMIT):
            await error_of(opener)
        waiting = [asyncio.create_task(opener.renditions(vod())) for _ in range(3)]
        while server.count(GQL) < LIMIT + 3:
            await asyncio.sleep(0.005)
        assert server.count(USHER) == LIMIT
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        opener.close()
        for thread in threading.enumerate():
            if thread.name == "resolve":
                thread.join(5)
                assert not thread.is_alive()
        assert server.count(USHER) == LIMIT

    run(test)


def test_bytes_are_paid_for_without_running_into_time_outs() -> None:
    long = MASTER + "#" + "x" * 100_000

    async def test(server: StandIn) -> None:
        server.answers[GQL], server.answers[USHER] = vod_token(), text(long)
        paid: list[int] = []
        limits = SharedLimits()
        limits.byte_rate = Purse(paid)
        async with resolver(server, limits) as opener:
            assert await opener.renditions(vod())
        assert sum(paid) > 100_000

    run(test)


class Purse:
    """Notes what is paid."""

    capped = True

    def __init__(self, paid: list[int]) -> None:
        self._paid = paid

    def pay(self, n_bytes: int) -> Any:
        self._paid.append(n_bytes)
        return 0.001
