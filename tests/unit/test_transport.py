"""The HTTP client against servers that misbehave: each resource is named by what it does wrong."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, TypeVar

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from harvester.config import Fetch
from harvester.errors import FetchError
from harvester.model import ByteRange
from harvester.stats import RequestKind, Traffic
from harvester.transport import (
    AllowedHosts,
    Backoff,
    RateLimit,
    Response,
    StatusError,
    Transport,
    retry_after_s,
    where,
)

T = TypeVar("T")
MEDIA = RequestKind.MEDIA
CONTENT = bytes(i * 7 % 251 for i in range(300_000))
QUICK = Fetch(attempts=3, retry_base_s=0.002, retry_max_s=0.02, read_timeout_s=0.5, connect_timeout_s=0.5)


class Server:
    """Resources named by misbehaviour; ``counts``: requests by path; ``peak``: most connections at a time."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.headers: list[dict[str, str]] = []
        self.sent_bytes = 0
        self.base = ""
        self.open = self.peak = 0
        self.gate = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        name = request.path.strip("/").split("/")[0]
        self.counts[name] = self.counts.get(name, 0) + 1
        self.headers.append(dict(request.headers))
        self.open += 1
        self.peak = max(self.peak, self.open)
        try:
            resource: Callable[[web.Request], Awaitable[web.StreamResponse]] = getattr(
                self, name.replace("-", "_")
            )
            return await resource(request)
        finally:
            self.open -= 1

    def nth(self, request: web.Request) -> int:
        return self.counts[request.path.strip("/").split("/")[0]]

    async def good(self, request: web.Request) -> web.StreamResponse:
        span = request.http_range
        if span.start is None:
            return web.Response(body=CONTENT)
        stop = min(span.stop or len(CONTENT), len(CONTENT))
        if span.start >= len(CONTENT):
            return web.Response(status=416, headers={"Content-Range": f"bytes */{len(CONTENT)}"})
        told = f"bytes {span.start}-{stop - 1}/{len(CONTENT)}"
        return web.Response(status=206, body=CONTENT[span.start : stop], headers={"Content-Range": told})

    async def ignores_range(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(CONTENT) * 100)})
        await response.prepare(request)
        for _ in range(100):
            await response.write(CONTENT)
            self.sent_bytes += len(CONTENT)
        return response

    async def ignores_range_small(self, request: web.Request) -> web.StreamResponse:
        return web.Response(body=CONTENT[:1000])

    async def wrong_range(self, request: web.Request) -> web.StreamResponse:
        return web.Response(status=206, body=CONTENT[5:15], headers={"Content-Range": "bytes 5-14/300000"})

    async def no_range_told(self, request: web.Request) -> web.StreamResponse:
        return web.Response(status=206, body=CONTENT[:10])

    async def part_inside(self, request: web.Request) -> web.StreamResponse:
        return web.Response(status=206, body=CONTENT[:4], headers={"Content-Range": "bytes 0-3/300000"})

    async def part_lies(self, request: web.Request) -> web.StreamResponse:
        return web.Response(status=206, body=CONTENT[:4], headers={"Content-Range": "bytes 0-9/300000"})

    async def status(self, request: web.Request) -> web.StreamResponse:
        code = int(request.path.split("/")[2])
        return web.Response(status=code, text="refused", headers={"Retry-After": "0"} if code == 429 else {})

    async def second_try(self, request: web.Request) -> web.StreamResponse:
        code = int(request.path.split("/")[2])
        return web.Response(status=code) if self.nth(request) == 1 else web.Response(body=b"at last")

    async def short_body(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"x" * 400)
        assert request.transport is not None
        request.transport.close()
        return response

    async def reset(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async def silent(self, request: web.Request) -> web.StreamResponse:
        await self.gate.wait()
        return web.Response()

    async def drips(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while not self.gate.is_set():
            await response.write(b".")
            await asyncio.sleep(0.02)
        return response

    async def busy(self, request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.01)
        return web.Response(status=503)

    async def endless(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while not self.gate.is_set():
            await response.write(CONTENT)
        return response

    async def bomb(self, request: web.Request) -> web.StreamResponse:
        return web.Response(body=gzip.compress(bytes(20_000_000)), headers={"Content-Encoding": "gzip"})

    async def zipped(self, request: web.Request) -> web.StreamResponse:
        return web.Response(body=gzip.compress(CONTENT), headers={"Content-Encoding": "gzip"})

    async def redirects(self, request: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": request.query.get("to", "/redirects")})


@asynccontextmanager
async def serving() -> AsyncIterator[Server]:
    server = Server()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", server.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        server.gate.set()
        await runner.cleanup()


def run(test: Callable[[Server], Coroutine[Any, Any, T]]) -> T:
    async def whole() -> T:
        async with serving() as server:
            return await test(server)

    return asyncio.run(whole())


def client(fetch: Fetch = QUICK, traffic: Traffic | None = None, **timeouts: float) -> Transport:
    return Transport(fetch, loopback=True, traffic=traffic or Traffic(), **timeouts)


def ask(path: str, wanted: ByteRange | None = None, limit_bytes: int = 1 << 20, **options: Any) -> Response:
    async def test(server: Server) -> Response:
        async with client(**options) as transport:
            return await transport.get(server.base + path, kind=MEDIA, byte_range=wanted, limit_bytes=limit_bytes)

    return run(test)


def refused(path: str, wanted: ByteRange | None = None, **options: Any) -> tuple[FetchError, int]:
    """The error of a request, and how many tries it took."""

    async def test(server: Server) -> tuple[FetchError, int]:
        async with client(**options) as transport:
            with pytest.raises(FetchError) as caught:
                await transport.get(server.base + path, kind=MEDIA, byte_range=wanted, limit_bytes=1 << 20)
            return caught.value, sum(server.counts.values())

    return run(test)


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


REAL = AllowedHosts(loopback=False, suffixes=("cloudfront.net", ".twitch.tv", "", "localhost", "10.0.0.1"))
LOOPBACK = AllowedHosts(loopback=True, suffixes=("cloudfront.net",))


@pytest.mark.parametrize(
    "url",
    [
        "https://d1.cloudfront.net/a/1.ts",
        "https://cloudfront.net/",
        "https://gql.twitch.tv/gql",
        "https://D1.CloudFront.NET./x",
    ],
)
def test_real_world_reaches(url: str) -> None:
    assert REAL.check(url).host


@pytest.mark.parametrize(
    "url",
    [
        "http://d1.cloudfront.net/1.ts",
        "https://evilcloudfront.net/",
        "https://cloudfront.net.evil.org/",
        "https://localhost/",
        "https://10.0.0.1/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://d1.cloudfront.net@evil.org/",
        "https://user:pw@d1.cloudfront.net/",
        "ftp://d1.cloudfront.net/",
        "//d1.cloudfront.net/",
        "",
        "https://",
        "https://evil.org\\@d1.cloudfront.net/",
        "https://evil.org#.twitch.tv",
        "https://evil.org?.twitch.tv/",
        "file:///etc/passwd",
    ],
)
def test_real_world_refuses(url: str) -> None:
    with pytest.raises(FetchError) as caught:
        REAL.check(url)
    assert (caught.value.reason, caught.value.retryable) == ("host-refused", False)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8080/x", "http://localhost/", "https://[::1]:1/", "http://127.9.9.9/"]
)
def test_loopback_world_reaches(url: str) -> None:
    assert LOOPBACK.check(url).host


@pytest.mark.parametrize(
    "url",
    [
        "https://d1.cloudfront.net/1.ts",
        "http://10.0.0.1/",
        "http://0.0.0.0/",
        "http://127.0.0.1.evil.org/",
        "http://localhost.evil.org/",
        "ftp://127.0.0.1/",
        "http://169.254.169.254/",
        "http://127.0.0.1@evil.org/",
    ],
)
def test_loopback_world_refuses(url: str) -> None:
    with pytest.raises(FetchError, match="refused"):
        LOOPBACK.check(url)


@given(st.text(max_size=60))
def test_any_text_is_checked_or_refused(text: str) -> None:
    for hosts in (REAL, LOOPBACK):
        for url in (text, f"https://{text}", f"http://127.0.0.1{text}"):
            try:
                allowed = hosts.check(url)
            except FetchError as error:
                assert error.reason == "host-refused"
            else:
                host = (allowed.host or "").rstrip(".").lower()
                assert (
                    host.startswith("127.")
                    or host in ("localhost", "::1")
                    or host.endswith(("cloudfront.net", "twitch.tv"))
                )


def test_signed_urls_are_sent_byte_for_byte() -> None:
    url = "http://127.0.0.1:1/AT-cm%7C1.mp4?sig=ab&token=%7B%22a%22%3A1%2c%22b%22%7D"
    assert str(LOOPBACK.check(url)) == url


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


def test_retry_after_as_a_date_is_measured_by_the_servers_clock() -> None:
    server_now = datetime(2031, 1, 1, 12, 0, 0, tzinfo=UTC)
    headers = {
        "Date": format_datetime(server_now, usegmt=True),
        "Retry-After": format_datetime(server_now + timedelta(seconds=7), usegmt=True),
    }
    assert retry_after_s(headers) == 7
    assert retry_after_s({**headers, "Retry-After": headers["Date"]}) == 0
    assert retry_after_s({"Retry-After": "3"}) == 3
    assert retry_after_s({}) is None


@given(st.text(max_size=40))
def test_retry_after_is_a_wait_or_nothing(text: str) -> None:
    wait_s = retry_after_s({"Retry-After": text, "Date": text})
    assert wait_s is None or wait_s >= 0


@given(st.integers(1, 10_000), st.none() | st.floats(allow_nan=False))
def test_backoff_stays_within_its_bounds(attempt: int, asked_s: float | None) -> None:
    wait_s = Backoff(0.5, 30).wait_s(attempt, asked_s)
    assert 0 <= wait_s <= 30.5
    if asked_s is None:
        assert wait_s <= 0.5 * 2.0 ** min(attempt - 1, 30)
    else:
        assert wait_s >= min(max(asked_s, 0), 30)


def test_rate_limit_spreads_evenly() -> None:
    async def test() -> float:
        limit = RateLimit(200)
        loop = asyncio.get_running_loop()
        start = loop.time()
        for _ in range(5):
            async with limit:
                pass
        return loop.time() - start

    assert asyncio.run(test()) >= 4 / 200 * 0.95  # the first enters at once, each other 5 ms later
