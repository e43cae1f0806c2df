"""Hosts that fail for a while, for good, or in single files: how often they are asked, and what waits."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web

from harvester.config import Fetch
from harvester.errors import FetchError, TryAgainLater
from harvester.model import ByteRange
from harvester.stats import RequestKind, Traffic
from harvester.text import is_page
from harvester.transport import SharedLimits, Transport
from harvester.transport.breaker import LIMITS, SERVER_ERROR
from tests.unit.transport.server import CONTENT, MEDIA, QUICK, Server, run

LIMIT = LIMITS[SERVER_ERROR]
TWICE = QUICK.model_copy(update={"attempts": 2})
#: A pause that no test outlasts: who takes it hangs.
FOR_EVER = (10_000.0,)


def client(pauses_s: tuple[float, ...], fetch: Fetch = TWICE, **more: Any) -> Transport:
    limits = SharedLimits(pauses_s)
    return Transport(fetch, loopback=True, traffic=Traffic(), limits=limits, **more)


def ask(transport: Transport, url: str, kind: RequestKind = MEDIA) -> Any:
    return transport.get(url, kind=kind, byte_range=ByteRange(0, 100), limit_bytes=100)


async def settled(asks: list[Any]) -> list[Any]:
    return await asyncio.gather(*asks, return_exceptions=True)


def failing_first(times: int) -> Any:
    """A resource that is down for so many requests, then comes."""

    async def answer(self: Server, request: web.Request) -> web.StreamResponse:
        return web.Response(status=503) if self.nth(request) <= times else await self.good(request)

    return answer


def test_an_outage_is_waited_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Server, "busy", failing_first(LIMIT + 2))

    async def test(server: Server) -> None:
        async with client((0.01, 0.02, 0.03)) as transport:
            results = await settled([ask(transport, f"{server.base}/busy/{n}") for n in range(300)])
        failed = [result for result in results if isinstance(result, FetchError)]
        assert len(failed) <= (LIMIT + 2) / TWICE.attempts
        assert sum(not isinstance(result, BaseException) for result in results) == 300 - len(failed)

    run(test)


def test_a_host_that_stays_down_is_soon_asked_no_more() -> None:
    async def test(server: Server) -> None:
        async with client((0.01, 0.02, 0.03)) as transport:
            results = await settled([ask(transport, f"{server.base}/status/503/{n}") for n in range(300)])
            asked = server.counts["status"]
            assert asked <= LIMIT + QUICK.connections_per_host + 3  # stragglers and probes
            with pytest.raises(TryAgainLater):
                await ask(transport, f"{server.base}/good")
            assert server.counts["status"] == asked
            assert "good" not in server.counts
        ended = [result for result in results if isinstance(result, TryAgainLater)]
        assert len(ended) >= 300 - LIMIT

    run(test)


def test_two_hosts_of_which_one_is_down() -> None:
    async def test(server: Server) -> None:
        other = server.base.replace("127.0.0.1", "localhost")
        limits = SharedLimits((0.01,))
        patient = QUICK.model_copy(update={"retry_base_s": 1e6, "retry_max_s": 1e6})  # a retry would hang
        async with (
            Transport(TWICE, loopback=True, traffic=Traffic(), limits=limits) as transport,
            Transport(patient, loopback=True, traffic=Traffic(), limits=limits) as late,
        ):
            bad = asyncio.ensure_future(
                settled([ask(transport, f"{server.base}/status/503/{n}") for n in range(60)])
            )
            while not bad.done():
                assert (await ask(transport, f"{other}/good")).body == CONTENT[:100]
            with pytest.raises(FetchError) as caught:
                await ask(late, f"{server.base}/good")
        assert caught.value.reason == "host-down"
        reasons = {
            error.reason for error in bad.result()
        }  # how many fail twice before it opens is a matter of pace
        assert {"host-down"} <= reasons <= {"http-503", "host-down"}

    run(test)


@pytest.mark.parametrize("path", ["status/503", "reset"])
def test_broken_files_of_a_host_that_works_cost_no_pause(path: str) -> None:
    async def test(server: Server) -> None:
        async with client(FOR_EVER) as transport:
            await ask(transport, f"{server.base}/good")
            results = await settled([ask(transport, f"{server.base}/{path}/{n}") for n in range(60)])
            assert (await ask(transport, f"{server.base}/good")).body == CONTENT[:100]
        assert {type(result).__name__ for result in results} <= {"FetchError", "StatusError"}
        assert not any(result.reason == "host-down" for result in results)
        assert 2 < server.counts["good"] <= 2 + 120 / LIMIT + 1

    run(test)


def test_json_that_came_as_media_does_not_vouch_for_media(monkeypatch: pytest.MonkeyPatch) -> None:
    async def listing(self: Server, request: web.Request) -> web.StreamResponse:
        return web.Response(body=b'[{"count": 1}]')

    monkeypatch.setattr(Server, "listing", listing, raising=False)

    async def test(server: Server) -> None:
        async with client(FOR_EVER) as transport:

            def media(path: str) -> Any:
                span = ByteRange(0, 100)
                return transport.get(
                    f"{server.base}/{path}", kind=MEDIA, byte_range=span, limit_bytes=100, is_foreign=is_page
                )

            await media("good")
            await transport.get(f"{server.base}/listing", kind=MEDIA, limit_bytes=100)
            await asyncio.wait_for(settled([media(f"status/503/{n}") for n in range(60)]), 5)
            assert (await media("good")).body == CONTENT[:100]
            assert server.counts["listing"] == 1

    run(test)


@pytest.mark.parametrize("status", [401, 403, 404, 416])
def test_refusals_are_answers(status: int) -> None:
    async def test(server: Server) -> None:
        async with client(FOR_EVER) as transport:
            results = await settled([ask(transport, f"{server.base}/status/{status}/{n}") for n in range(60)])
            assert {result.reason for result in results} == {f"http-{status}"}
            await ask(transport, f"{server.base}/good")

    run(test)


def test_what_is_never_sent_says_nothing_about_the_host() -> None:
    limits = SharedLimits(FOR_EVER)
    fetch = QUICK.model_copy(update={"attempts": 1})

    async def test(server: Server) -> None:
        circuit = limits.breakers.circuit(server.base.removeprefix("http://"), MEDIA)
        async with Transport(fetch, loopback=True, traffic=Traffic(), limits=limits) as transport:
            for n in range(LIMIT):
                assert not circuit.is_open
                with pytest.raises(FetchError):
                    await ask(transport, f"{server.base}/status/503/{n}")
                with pytest.raises(FetchError, match="larger"):
                    await transport.get(server.base, kind=MEDIA, byte_range=ByteRange(0, 2), limit_bytes=1)
            assert circuit.is_open

    run(test)


def test_web_pages_in_place_of_media_open_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    async def page(self: Server, request: web.Request) -> web.StreamResponse:
        return web.Response(text="<!DOCTYPE html>", content_type="text/html")

    monkeypatch.setattr(Server, "busy", page)

    async def test(server: Server) -> None:
        def page_of(transport: Transport, url: str) -> Any:
            return transport.get(url, kind=MEDIA, limit_bytes=100, is_foreign=is_page)

        async with client((0.001,), QUICK.model_copy(update={"attempts": 1})) as transport:
            for n in range(LIMIT + 1):  # the last one is the probe
                with pytest.raises(FetchError, match="something else"):
                    await page_of(transport, f"{server.base}/busy/{n}")
            with pytest.raises(TryAgainLater):
                await page_of(transport, f"{server.base}/busy/more")
            await ask(transport, f"{server.base}/good", RequestKind.PLAYLIST)

    run(test)


def test_cancelling_those_who_wait_ends_at_once() -> None:
    async def test(server: Server) -> None:
        async with client(FOR_EVER) as transport:
            await settled([ask(transport, f"{server.base}/status/503/{n}") for n in range(LIMIT // 2)])
            waiting = [asyncio.create_task(ask(transport, f"{server.base}/good")) for _ in range(50)]
            await asyncio.sleep(0.01)
            assert "good" not in server.counts
            for task in waiting:
                task.cancel()
            results = await settled(waiting)
            assert all(isinstance(result, asyncio.CancelledError) for result in results)

    run(test)


def test_questions_of_one_try_are_held_back_too() -> None:
    async def test(server: Server) -> None:
        async def send(path: str) -> Any:
            return await transport.send("GET", server.base + path, kind=RequestKind.HELIX, limit_bytes=1000)

        async with client((0.001, 0.002)) as transport:
            for _ in range(LIMIT):
                assert (await send("/status/503")).status == 503
            for _ in range(2):
                await send("/status/500")
            with pytest.raises(TryAgainLater, match="helix"):
                await send("/status/404")
            assert server.counts["status"] == LIMIT + 2

    run(test)


def test_a_cap_is_no_time_out() -> None:
    """A body that takes longer by the cap than any server may."""

    async def test(server: Server) -> None:
        limits = SharedLimits(bytes_per_s=1_500_000)
        transport = Transport(QUICK, loopback=True, traffic=Traffic(), limits=limits, body_timeout_s=0.1)
        async with transport:
            start = asyncio.get_running_loop().time()
            body = (await transport.get(f"{server.base}/good", kind=MEDIA, limit_bytes=1 << 20)).body
            took_s = asyncio.get_running_loop().time() - start
        assert body == CONTENT
        assert took_s >= len(CONTENT) / 1_500_000 * 0.95

    run(test)


def test_a_cap_holds_for_bodies_that_come_with_their_headers_too() -> None:
    async def test(server: Server) -> None:
        part, count = ByteRange(0, 2000), 20
        transport = Transport(QUICK, loopback=True, traffic=Traffic(), limits=SharedLimits(bytes_per_s=1_000_000))
        async with transport:
            start = asyncio.get_running_loop().time()
            for _ in range(count):
                url = f"{server.base}/good"
                answer = await transport.get(url, kind=MEDIA, byte_range=part, limit_bytes=part.length)
                assert answer.body == CONTENT[: part.length]
            took_s = asyncio.get_running_loop().time() - start
        assert took_s >= count * part.length / 1_000_000 * 0.95

    run(test)


def test_connections_of_all_kinds_of_requests_to_a_host_together() -> None:
    fetch = QUICK.model_copy(update={"connections_per_host": 3, "attempts": 1})

    async def test(server: Server) -> None:
        async with client((), fetch) as transport:
            kinds = (MEDIA, RequestKind.PLAYLIST)
            await settled([ask(transport, f"{server.base}/busy/{n}", kinds[n % 2]) for n in range(24)])
        assert server.counts["busy"] == 24
        assert server.peak == 3

    run(test)
