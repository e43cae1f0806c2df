"""The stand-in server of the benchmark, a process of its own behind a shaped link.

    python -m bench.server QUALITY FOOTAGE-FOLDER

Prints one JSON line when it listens. ``/_bench/line`` shapes the link, ``/_bench/begin`` empties the log,
``/_bench/log`` tells requests and bytes since then, and the processor time that this process took.
"""

from __future__ import annotations

import asyncio
import json
import re
import resource
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, cast
from weakref import WeakSet

from aiohttp import web

from bench.footage import QUALITIES, Quality
from bench.stock import Place, Stock
from bench.world import Reels, world_of
from harvester.sandbox.reels import MediaReels
from harvester.sandbox.routes import Routes
from harvester.sandbox.server import SandboxServer

#: Bytes sent at once: the link's turn goes round among connections at this grain.
PIECE_BYTES = 32 << 10
#: Unsent bytes a connection holds in the kernel: what a client that hangs up has not read is hardly counted.
SEND_BUFFER_BYTES = 64 << 10
#: The link makes up for timers that fire late (s).
SLACK_S = 0.01

_SEGMENT = re.compile(r"/cdn/dbench/[^/]+_(\d+)_\d+/chunked/(\d+)\.ts")
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
_FIRST_STREAM = 318_000_000_000

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Link:
    """Latency of every answer, twice that of a connection's first; a bandwidth shared by all. 0 = none of it."""

    def __init__(self, rtt_ms: float = 0, mbps: float = 0) -> None:
        self._rtt_s, self._bytes_per_s = rtt_ms / 1000, mbps * 1e6 / 8
        self._free_at = 0.0

    async def travel(self, round_trips: int) -> None:
        """Wait for that many round trips."""
        if self._rtt_s:
            await asyncio.sleep(self._rtt_s * round_trips)

    async def carry(self, size: int) -> None:
        """Wait until ``size`` bytes have gone over the link, first come first served."""
        if self._bytes_per_s:
            now = time.monotonic()
            self._free_at = max(now - SLACK_S, self._free_at) + size / self._bytes_per_s
            if self._free_at > now:
                await asyncio.sleep(self._free_at - now)


class Server:
    """The routes of the sandbox, with segments out of a :class:`Stock`."""

    def __init__(self, quality: Quality, folder: Path) -> None:
        self._stock = Stock(quality, folder)
        self._world = world_of(quality)
        self._routes = Routes(self._world, cast(MediaReels, Reels(quality, self._stock)), helix_points=100_000)
        self._link = Link()
        self._log: list[dict[str, Any]] = []
        self._connections: WeakSet[asyncio.BaseTransport] = WeakSet()
        self._opened = 0

    def application(self) -> web.Application:
        """Everything it answers."""
        app = web.Application(middlewares=[self._shaped()])
        app.router.add_post("/_bench/line", self._shape)
        app.router.add_post("/_bench/begin", self._begin)
        app.router.add_get("/_bench/log", self._tell)
        self._routes.add_to(app)
        return app

    def describe(self, port: int) -> dict[str, Any]:
        """What a client needs: configuration, credentials, media playlists by VOD."""
        sandbox = SandboxServer(self._world, port)  # never started: it words the configuration
        self._routes.origin = sandbox.origin
        playlists = [
            f"{sandbox.origin}/cdn/{video.distribution}/{video.special}/chunked/index-dvr.m3u8"
            for video in self._world.videos
        ]
        return {"config": sandbox.config_toml(), "environ": sandbox.environ, "playlists": playlists}

    def _shaped(self) -> Any:
        @web.middleware
        async def around(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.path.startswith("/_bench/"):
                return await handler(request)
            entry: dict[str, Any] = {
                "path": request.path,
                "range": request.headers.get("Range"),
                "bytes": 0,
                "at": time.time(),
            }
            self._log.append(entry)
            await self._link.travel(1 + self._is_new(request))
            match = _SEGMENT.fullmatch(request.path)
            if match:
                return await self._segment(request, Place(int(match[1]) - _FIRST_STREAM, int(match[2])), entry)
            response = await handler(request)
            assert isinstance(response, web.Response)
            entry["bytes"] = len(cast(bytes, response.body or b""))
            await self._link.carry(entry["bytes"])
            return response

        return around

    def _is_new(self, request: web.Request) -> bool:
        transport = request.transport
        if transport is None or transport in self._connections:
            return False
        self._connections.add(transport)
        self._opened += 1
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        cast(asyncio.WriteTransport, transport).set_write_buffer_limits(high=PIECE_BYTES)
        return True

    async def _segment(self, request: web.Request, place: Place, entry: dict[str, Any]) -> web.StreamResponse:
        try:
            size = self._stock.size(place)
        except LookupError:
            return web.Response(status=403)
        start, end = _asked(request.headers.get("Range", ""), size)
        if start >= end:
            return web.Response(status=416, headers={"Content-Range": f"bytes */{size}"})
        headers = {"Content-Type": "video/MP2T", "Accept-Ranges": "bytes", "ETag": f'"{place.vod}-{size}"'}
        partial = "Range" in request.headers
        if partial:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        stream = web.StreamResponse(status=206 if partial else 200, headers=headers)
        stream.content_length = end - start
        await stream.prepare(request)
        data = memoryview(self._stock.read(place, start, end))
        with suppress(ConnectionError):  # the client has what it wants
            for first in range(0, len(data), PIECE_BYTES):
                piece = data[first : first + PIECE_BYTES]
                await self._link.carry(len(piece))
                await stream.write(piece)
                entry["bytes"] += len(piece)
            await stream.write_eof()
        return stream

    async def _shape(self, request: web.Request) -> web.Response:
        self._link = Link(**await request.json())
        return web.Response()

    async def _begin(self, _request: web.Request) -> web.Response:
        self._log.clear()
        self._opened = 0
        return web.Response()

    async def _tell(self, _request: web.Request) -> web.Response:
        used = resource.getrusage(resource.RUSAGE_SELF)
        told = {"log": self._log, "connections": self._opened, "cpu_s": used.ru_utime + used.ru_stime}
        return web.json_response(told)


def _asked(header: str, size: int) -> tuple[int, int]:
    match = _RANGE.fullmatch(header)
    if match is None:
        return 0, size
    return int(match[1]), min(size, int(match[2]) + 1) if match[2] else size


async def serve(quality: Quality, folder: Path) -> None:
    """Serve on a free port of loopback until standard input ends."""
    server = Server(quality, folder)
    runner = web.AppRunner(server.application(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    print(json.dumps({"port": port, **server.describe(port)}), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(serve(QUALITIES[sys.argv[1]], Path(sys.argv[2])))
