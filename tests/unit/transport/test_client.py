"""The HTTP client against servers that misbehave: each resource is named by what it does wrong."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from harvester.errors import FetchError
from harvester.model import ByteRange
from harvester.stats import RequestKind, Traffic
from harvester.transport import (
    StatusError,
    where,
)
from tests.unit.transport.server import CONTENT, MEDIA, QUICK, Server, ask, client, refused, run


def test_whole_resource() -> None:
    response = ask("/good")
    assert (response.status, response.body, response.total_bytes) == (200, CONTENT, len(CONTENT))


@pytest.mark.parametrize(("start", "length"), [(0, 1), (0, 1000), (777, 4096), (299_999, 1)])
def test_range(start: int, length: int) -> None:
    response = ask("/good", ByteRange(start, length))
    assert response.body == CONTENT[start : start + length]
    assert (response.status, response.total_bytes) == (206, len(CONTENT))


def test_range_cut_by_the_end_comes_back_short() -> None:
    response = ask("/good", ByteRange(299_000, 5000))
    assert response.body == CONTENT[299_000:]


def test_ignored_range_is_sliced_and_the_rest_not_read() -> None:
    async def test(server: Server) -> None:
        traffic = Traffic()
        async with client(traffic=traffic) as transport:
            wanted = ByteRange(100_000, 50_000)
            url = server.base + "/ignores-range"
            response = await transport.get(url, kind=MEDIA, byte_range=wanted, limit_bytes=1 << 20)
            assert response.body == CONTENT[100_000:150_000]
            assert (response.status, response.total_bytes) == (200, 30_000_000)
            assert 150_000 <= traffic.bytes[MEDIA] < 500_000
        assert server.sent_bytes < 10_000_000  # the rest stays in the server: we hung up

    run(test)


def test_ignored_range_at_and_beyond_the_end() -> None:
    assert ask("/ignores-range-small", ByteRange(900, 500)).body == CONTENT[900:1000]
    error, tries = refused("/ignores-range-small", ByteRange(1000, 10))
    assert isinstance(error, StatusError)
    assert (error.reason, error.total_bytes, tries) == ("http-416", 1000, 1)


def test_unsatisfiable_range_tells_the_size() -> None:
    error, tries = refused("/good", ByteRange(300_000, 10))
    assert isinstance(error, StatusError)
    assert (error.reason, error.status, error.total_bytes) == ("http-416", 416, 300_000)
    assert not error.retryable
    assert tries == 1


@pytest.mark.parametrize("path", ["/wrong-range", "/no-range-told", "/part-inside"])
def test_other_range_than_asked_for(path: str) -> None:
    error, tries = refused(path, ByteRange(0, 10))
    assert (error.reason, error.retryable, tries) == ("wrong-range", True, 3)


def test_part_shorter_than_it_says() -> None:
    error, tries = refused("/part-lies", ByteRange(0, 10))
    assert (error.reason, tries) == ("short-body", 3)


@pytest.mark.parametrize(
    ("code", "retryable"),
    [(401, False), (403, False), (404, False), (429, True), (500, True), (502, True), (503, True), (504, True)],
)
def test_statuses(code: int, retryable: bool) -> None:
    error, tries = refused(f"/status/{code}")
    assert (error.reason, error.status, error.retryable) == (f"http-{code}", code, retryable)
    assert tries == (3 if retryable else 1)


@pytest.mark.parametrize("code", [408, 429, 500, 503])
def test_second_try_helps(code: int) -> None:
    assert ask(f"/second-try/{code}").body == b"at last"


@pytest.mark.parametrize(("path", "reason"), [("/short-body", "short-body"), ("/reset", "connection")])
def test_broken_connections_are_retried(path: str, reason: str) -> None:
    error, tries = refused(path)
    assert (error.reason, error.retryable, error.status) == (reason, True, None)
    assert tries >= 3  # aiohttp itself may repeat a request on a connection that it found dead


def test_nobody_listens() -> None:
    async def test(server: Server) -> None:
        async with client() as transport:
            with pytest.raises(FetchError) as caught:
                await transport.get("http://127.0.0.1:9/x.ts", kind=MEDIA, limit_bytes=10)
            assert caught.value.reason == "connection"

    run(test)


def test_silence_times_out() -> None:
    fetch = QUICK.model_copy(update={"read_timeout_s": 0.03, "attempts": 2})
    error, tries = refused("/silent", fetch=fetch)
    assert (error.reason, error.retryable, tries) == ("timeout", True, 2)


def test_drip_times_out_as_a_whole() -> None:
    fetch, traffic = QUICK.model_copy(update={"attempts": 1}), Traffic()
    error, _ = refused("/drips", fetch=fetch, traffic=traffic, body_timeout_s=0.06)
    assert error.reason == "timeout"
    assert 0 < traffic.bytes[MEDIA] < 50  # a drip every 20 ms


def test_waiting_for_a_free_connection_times_out() -> None:
    fetch = QUICK.model_copy(update={"connections_per_host": 1, "attempts": 1, "connect_timeout_s": 0.01})

    async def test(server: Server) -> None:
        async with client(fetch, pool_timeout_s=0.02) as transport:
            first = asyncio.create_task(transport.get(server.base + "/silent", kind=MEDIA, limit_bytes=10))
            while "silent" not in server.counts:
                await asyncio.sleep(0.001)
            with pytest.raises(FetchError) as caught:
                await transport.get(server.base + "/good", kind=MEDIA, limit_bytes=1 << 20)
            assert caught.value.reason == "timeout"
            assert "good" not in server.counts
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first

    run(test)


@pytest.mark.parametrize("path", ["/good", "/endless", "/bomb"])
def test_too_large(path: str) -> None:
    async def test(server: Server) -> None:
        traffic = Traffic()
        async with client(traffic=traffic) as transport:
            with pytest.raises(FetchError) as caught:
                await transport.get(server.base + path, kind=MEDIA, limit_bytes=100_000)
            assert (caught.value.reason, caught.value.retryable) == ("too-large", False)
        assert traffic.requests[MEDIA] == 1
        assert traffic.bytes[MEDIA] < 2_000_000

    run(test)


def test_range_larger_than_the_limit_is_not_asked() -> None:
    error, tries = refused("/good", ByteRange(0, 2 << 20))
    assert (error.reason, tries) == ("too-large", 0)


def test_gzip_is_undone_and_its_length_not_taken_for_the_size() -> None:
    response = ask("/zipped")
    assert response.body == CONTENT
    assert response.total_bytes is None


def test_redirect_is_followed_and_counted() -> None:
    async def test(server: Server) -> None:
        traffic = Traffic()
        async with client(traffic=traffic) as transport:
            url = server.base + "/redirects?to=/good"
            response = await transport.get(url, kind=MEDIA, byte_range=ByteRange(3, 4), limit_bytes=10)
        assert response.body == CONTENT[3:7]
        assert response.url == server.base + "/good"
        assert traffic.requests[MEDIA] == 2

    run(test)


def test_redirect_loop_ends() -> None:
    error, hops = refused("/redirects")
    assert (error.reason, error.retryable, hops) == ("redirects", False, 6)


@pytest.mark.parametrize(
    "to",
    [
        "http://169.254.169.254/meta",
        "https://d1.cloudfront.net/1.ts",
        "file:///etc/passwd",
        "//10.0.0.1/",
        "http://[::1",
        "http://evil@127.0.0.1/",
    ],
)
def test_redirect_out_of_the_world_is_refused(to: str) -> None:
    error, hops = refused(f"/redirects?to={to}")
    assert (error.reason, error.retryable, hops) == ("host-refused", False, 1)


def test_never_more_connections_than_configured_even_when_all_fails() -> None:
    fetch = QUICK.model_copy(update={"connections_per_host": 2})

    async def test(server: Server) -> None:
        async with client(fetch) as transport:
            asks = [transport.get(server.base + "/busy", kind=MEDIA, limit_bytes=10) for _ in range(8)]
            errors = await asyncio.gather(*asks, return_exceptions=True)
        assert all(isinstance(error, FetchError) for error in errors)
        assert server.counts["busy"] == 24
        assert server.peak == 2

    run(test)


def test_cancelling_frees_the_connection() -> None:
    fetch = QUICK.model_copy(update={"connections_per_host": 1})

    async def test(server: Server) -> None:
        async with client(fetch) as transport:
            task = asyncio.create_task(transport.get(server.base + "/silent", kind=MEDIA, limit_bytes=10))
            while "silent" not in server.counts:
                await asyncio.sleep(0.001)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            response = await transport.get(server.base + "/good", kind=MEDIA, limit_bytes=1 << 20)
            assert response.body == CONTENT

    run(test)


def test_traffic_counts_tries_and_broken_bodies() -> None:
    async def test(server: Server) -> None:
        traffic = Traffic()
        async with client(traffic=traffic) as transport:
            with pytest.raises(FetchError):
                await transport.get(server.base + "/short-body", kind=RequestKind.PLAYLIST, limit_bytes=5000)
        assert traffic.requests == {RequestKind.PLAYLIST: 3}
        assert traffic.bytes[RequestKind.PLAYLIST] == 1200

    run(test)


def test_says_who_it_is_and_asks_ranges_uncoded() -> None:
    async def test(server: Server) -> None:
        async with client() as transport:
            await transport.get(server.base + "/good", kind=MEDIA, byte_range=ByteRange(0, 9), limit_bytes=9)
        sent = server.headers[0]
        assert sent["User-Agent"].startswith("harvester/")
        assert (sent["Range"], sent["Accept-Encoding"]) == ("bytes=0-8", "identity")

    run(test)


def test_send_gives_any_status_and_follows_nothing() -> None:
    async def test(server: Server) -> None:
        async with client() as transport:
            for path, status in (("/status/503", 503), ("/redirects", 302), ("/good", 200)):
                response = await transport.send(
                    "GET", server.base + path, kind=RequestKind.HELIX, headers={"X-Own": "1"}, limit_bytes=1 << 20
                )
                assert response.status == status
            assert len(server.headers) == 3
            assert server.headers[0]["X-Own"] == "1"
            with pytest.raises(FetchError, match="larger"):
                await transport.send("GET", server.base + "/good", kind=RequestKind.HELIX, limit_bytes=99)

    run(test)


def test_environment_proxy_is_not_for_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert ask("/good").body == CONTENT


def test_messages_hold_no_signed_url() -> None:
    secret = "?sig=SECRET0123&token=%7B%22SECRET%22%7D"
    for path in ("/status/403", "/reset", "/short-body", "/wrong-range"):
        wanted = ByteRange(0, 10) if path == "/wrong-range" else None
        error, _ = refused(f"{path}/SECRETDIR/7.ts{secret}", wanted)
        assert "SECRET" not in str(error)
        assert error.__cause__ is None
        assert error.__suppress_context__ or error.__context__ is None
    assert "SECRET" not in where(f"https://h.example/SECRET/x.mp4{secret}")
    assert where("https://h.example/SECRET/x.mp4") == "h.example/…/x.mp4"


def test_retry_after_is_obeyed_up_to_the_maximum(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    real_sleep = asyncio.sleep

    async def note(delay_s: float, result: None = None) -> None:
        if delay_s >= 0.5:  # a wait of ours, not of the server
            waits.append(delay_s)
        await real_sleep(0)

    async def asks_to_wait(self: Server, request: web.Request) -> web.StreamResponse:
        told = ["5", "500", "x"][self.nth(request) - 1]
        return web.Response(status=503, headers={"Retry-After": told})

    monkeypatch.setattr(Server, "busy", asks_to_wait)
    monkeypatch.setattr(asyncio, "sleep", note)
    fetch = QUICK.model_copy(update={"retry_max_s": 30.0, "retry_base_s": 0.001})
    _, tries = refused("/busy", fetch=fetch)
    assert tries == 3
    assert [round(wait) for wait in waits] == [5, 30]
