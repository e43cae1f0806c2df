"""A server whose resources are named by what they do wrong, and clients for it."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pytest
from aiohttp import web

from harvester.config import Fetch
from harvester.errors import FetchError
from harvester.model import ByteRange
from harvester.stats import RequestKind, Traffic
from harvester.transport import (
    Response,
    Transport,
)
from tests.unit.loopback import answering

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
    async with answering(server.answer) as server.base:
        try:
            yield server
        finally:
            server.gate.set()


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
