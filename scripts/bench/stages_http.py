"""What a range request costs its client: harvester's transport beside other ways to send the same bytes."""

from __future__ import annotations

import asyncio
import http.client
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import aiohttp
import urllib3

from bench.stages_timing import Stage
from harvester.config import Fetch
from harvester.model import ByteRange
from harvester.stats import RequestKind, Traffic
from harvester.transport import Transport

#: Requests one after another over one connection, a call: so setting the call up weighs little.
REQUESTS = 16
#: Heads as they are asked for (bytes): 480p, 1080p.
LENGTHS = (40_000, 160_000)
#: Size of what ranges are asked of.
RESOURCE = bytes(range(256)) * 4096


@contextmanager
def served() -> Iterator[int]:
    """The port of a server in a process of its own, so that its work is not counted."""
    command = [sys.executable, "-c", "from bench.stages_http import serve; serve()"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=_scripts()) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def _scripts() -> str:
    return __file__.rsplit("bench", 1)[0]


def serve() -> None:
    """Answer range requests on a free port of loopback, told on stdout, until terminated."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while request := await _head(reader):
            start, end = (int(n) for n in request.lower().split(b"range: bytes=")[1].split(b"\r\n")[0].split(b"-"))
            body = RESOURCE[start : end + 1]
            told = f"bytes {start}-{end}/{len(RESOURCE)}"
            writer.write(
                f"HTTP/1.1 206 Partial Content\r\nContent-Type: video/mp2t\r\nContent-Range: {told}\r\n"
                f"Content-Length: {len(body)}\r\n\r\n".encode()
                + body
            )
            await writer.drain()
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    asyncio.run(run())


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return b""


def http_stages(port: int, stack: ExitStack) -> list[Stage]:
    """One for each length; the clients are open until ``stack`` ends."""
    return [_requests(port, length, stack) for length in LENGTHS]


def _requests(port: int, length: int, stack: ExitStack) -> Stage:
    url = f"http://127.0.0.1:{port}/0.ts"
    runner = stack.enter_context(asyncio.Runner())
    wanted = ByteRange(4096, length)
    transport = runner.run(_opened(Transport(Fetch(), loopback=True, traffic=Traffic()), stack, runner))
    session = runner.run(_opened(_session(), stack, runner))
    streams = runner.run(asyncio.open_connection("127.0.0.1", port))
    stack.callback(streams[1].close)
    plain = http.client.HTTPConnection("127.0.0.1", port)
    stack.callback(plain.close)
    pool = urllib3.PoolManager()
    head = {"Range": wanted.header(), "Accept-Encoding": "identity"}

    async def ours() -> bytes:
        got = await transport.get(url, kind=RequestKind.MEDIA, byte_range=wanted, limit_bytes=length)
        return bytes(got.body)

    async def bare() -> bytes:
        async with session.get(url, headers=head) as answer:
            return await answer.read()

    async def raw() -> bytes:
        reader, writer = streams
        writer.write(f"GET /0.ts HTTP/1.1\r\nHost: 127.0.0.1\r\nRange: {head['Range']}\r\n\r\n".encode())
        told = await reader.readuntil(b"\r\n\r\n")
        return await reader.readexactly(int(told.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))

    def blocking() -> bytes:
        plain.request("GET", "/0.ts", headers=head)
        return plain.getresponse().read()

    def of_urllib3() -> bytes:
        return pool.request("GET", url, headers=head).data

    once: dict[str, Callable[[], bytes]] = {
        "harvester": lambda: runner.run(ours()),
        "aiohttp alone": lambda: runner.run(bare()),
        "asyncio streams": lambda: runner.run(raw()),
        "http.client": blocking,
        "urllib3": of_urllib3,
    }
    many: dict[str, Callable[[], Any]] = {
        "harvester": lambda: runner.run(_times(ours)),
        "aiohttp alone": lambda: runner.run(_times(bare)),
        "asyncio streams": lambda: runner.run(_times(raw)),
        "http.client": lambda: [blocking() for _ in range(REQUESTS)],
        "urllib3": lambda: [of_urllib3() for _ in range(REQUESTS)],
    }

    def check() -> None:
        for name, way in once.items():
            assert way() == RESOURCE[4096 : 4096 + length], name

    return Stage(f"range request, {length // 1000} kB", many, check, calls=REQUESTS, unit="request")


async def _times(request: Callable[[], Any]) -> None:
    for _ in range(REQUESTS):
        await request()


async def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession()


async def _opened(client: Any, stack: ExitStack, runner: asyncio.Runner) -> Any:
    """``client`` opened, to be closed in the same loop."""
    client = await client if asyncio.iscoroutine(client) else client
    opened = await client.__aenter__()
    stack.callback(lambda: runner.run(client.__aexit__(None, None, None)))
    return opened
