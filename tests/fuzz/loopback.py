"""A server on loopback that answers every request with bytes given to it, right or wrong, and hangs up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

from harvester.clock import Clock
from tests.unit.twitch.test_playback import NOW

#: Requests for one input: a dozen questions that bring nothing new, of three pages each, for VODs and for clips, and
#: what led there.
MAX_REQUESTS = 120


class Server:
    """``ask`` runs a client against answers that a function of the request line gives."""

    def __init__(self, loop: asyncio.Runner) -> None:
        self.clock = Clock(NOW)
        self._loop = loop
        self._answer: Callable[[str], bytes] = lambda line: b""
        self._requests = 0
        self._server = loop.run(asyncio.start_server(self._serve, "127.0.0.1", 0))

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}{path}"

    def ask(self, client: Callable[[], Awaitable[object]], answer: Callable[[str], bytes]) -> object:
        self._answer, self._requests = answer, 0

        async def whole() -> object:
            return await client()

        found = self._loop.run(whole())
        assert self._requests <= MAX_REQUESTS, f"{self._requests} requests for one input"
        return found

    def close(self) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            length = next(
                (int(line[15:]) for line in head.split("\r\n") if line.lower().startswith("content-length:")), 0
            )
            await reader.readexactly(length)
            self._requests += 1
            writer.write(self._answer(head.split("\r\n", 1)[0]))
            await writer.drain()
        writer.close()


@contextmanager
def answering() -> Iterator[Server]:
    """A server, and the event loop that it and its clients share."""
    with asyncio.Runner() as loop:
        server = Server(loop)
        try:
            yield server
        finally:
            server.close()
