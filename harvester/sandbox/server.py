"""The stand-in of Twitch as a server on loopback: one address for Helix, OAuth, GQL, usher and CDN.

:class:`SandboxServer` runs in a thread of its own, so that tests and the demo talk to it like to any server.
Around the routes it counts, shapes and misbehaves on demand (``/_control/...``).
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from weakref import WeakSet

from aiohttp import web

from harvester.errors import MachineError
from harvester.sandbox.control import Fault, FaultBook, Kind, Line, LogEntry, RequestLog
from harvester.sandbox.routes import CLIENT_ID, HELIX_POINTS, Routes, client_secret
from harvester.sandbox.world import World
from harvester.text import redact

HOST = "127.0.0.1"
#: Bodies above this go out in pieces of this size, so that a client that stops reading is not sent the rest.
CHUNK_BYTES = 64 << 10
#: How long a stopping server waits for answers under way (s).
SHUTDOWN_S = 0.5

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class SandboxServer:
    """One world on one port. ``port`` 0 takes a free one; ``rtt_ms`` and ``mbps`` shape the line (0 = not).

    ``cache_dir``: where encodes of varied footage are kept (None: a folder of the platform's temp).
    ``public_origin``: where media is said to lie instead of here (a front that leads here stands there).
    ``helix_points``: Helix requests a minute. ``any_hash``: accept unknown GQL hashes of known operations.
    """

    def __init__(
        self,
        world: World,
        port: int = 0,
        rtt_ms: float = 0,
        mbps: float = 0,
        *,
        cache_dir: Path | None = None,
        public_origin: str | None = None,
        helix_points: int = HELIX_POINTS,
        any_hash: bool = False,
    ) -> None:
        from harvester.sandbox.reels import MediaReels  # loads libav, which importing this module must not

        self.world = world
        self.port = port
        self._public_origin = public_origin
        self.log = RequestLog()
        self.faults = FaultBook()
        self._reels = MediaReels(world, cache_dir)
        self._routes = Routes(world, self._reels, helix_points=helix_points, any_hash=any_hash)
        self._line = Line(rtt_ms, mbps)
        self._connections: WeakSet[asyncio.BaseTransport] = WeakSet()

    @property
    def origin(self) -> str:
        """``http://127.0.0.1:PORT``."""
        return f"http://{HOST}:{self.port}"

    @property
    def environ(self) -> dict[str, str]:
        """Environment variables with the credentials this world accepts."""
        return {"TWITCH_CLIENT_ID": CLIENT_ID, "TWITCH_CLIENT_SECRET": client_secret(self.world.seed)}

    def config_toml(self) -> str:
        """A ready configuration for the harvester; valid while the server runs."""
        return (
            "# Written by `harvester sandbox`: a stand-in of Twitch on this machine.\n"
            "[endpoints]\n"
            f'helix = "{self.origin}/helix/"\n'
            f'auth = "{self.origin}/oauth2/"\n'
            f'gql = "{self.origin}/gql"\n'
            f'usher = "{self.origin}"\n'
            "\n[run]\n"
            f'now = "{self.world.now:%Y-%m-%dT%H:%M:%SZ}"\n'
            "\n[rights]\n"
            'basis = "none needed: pictures of the footage that the stand-in serves"\n'
            "\n[sample]\n"
            "min_spacing_s = 2  # the footage is short\n"
            "\n[fetch]\n"
            "gql_requests_per_s = 50  # there is nobody to be polite to\n"
        )

    def inject(self, fault: Fault) -> None:
        """Let a fault happen, like ``POST /_control/faults``."""
        self.faults.add(fault)

    @contextmanager
    def running(self) -> Iterator[SandboxServer]:
        """Serve while the block runs. Raises :class:`MachineError` if the port cannot be had.

        Footage that the world varies is encoded first, if the cache folder lacks it.
        """
        self._reels.prepare()
        loop = asyncio.new_event_loop()
        runner = web.AppRunner(self._app(), access_log=None, shutdown_timeout=SHUTDOWN_S)
        try:
            self._listen(loop, runner)
            thread = threading.Thread(target=loop.run_forever, name="sandbox", daemon=True)
            thread.start()
            try:
                yield self
            finally:
                asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
                loop.call_soon_threadsafe(loop.stop)
                thread.join()
        finally:
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

    def _listen(self, loop: asyncio.AbstractEventLoop, runner: web.AppRunner) -> None:
        loop.run_until_complete(runner.setup())
        try:
            loop.run_until_complete(web.TCPSite(runner, HOST, self.port).start())
        except OSError as error:
            loop.run_until_complete(runner.cleanup())
            raise MachineError(
                f"cannot listen on {HOST}:{self.port}: {error.strerror}; take another port"
            ) from None
        self.port = runner.addresses[0][1]
        self._routes.origin = self._public_origin or self.origin

    def _app(self) -> web.Application:
        @web.middleware
        async def around(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._around(request, handler)

        app = web.Application(middlewares=[around], client_max_size=1 << 20)
        self._routes.add_to(app)
        app.router.add_get("/_control/log", self._get_log)
        app.router.add_get("/_control/stats", self._get_stats)
        app.router.add_post("/_control/faults", self._post_faults)
        app.router.add_delete("/_control/faults", self._delete_faults)
        app.router.add_post("/_control/clock", self._post_clock)
        app.router.add_post("/_control/expire_tokens", self._post_expire)
        return app

    async def _around(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Shape, break and log every request but the control ones."""
        if request.path.startswith("/_control/"):
            return await handler(request)
        kind, begun = _kind_of(request.path), time.perf_counter()
        self.log.begin(kind)
        sent = _Sent()
        try:
            return await self._answer(request, handler, sent)
        finally:
            ms = (time.perf_counter() - begun) * 1000
            self.log.end(
                LogEntry(
                    kind=kind,
                    method=request.method,
                    path=request.path,
                    query=redact(request.rel_url.raw_query_string),
                    range=request.headers.get("Range"),
                    status=sent.status,
                    bytes=sent.bytes,
                    ms=round(ms, 3),
                    host=request.host,
                )
            )

    async def _answer(self, request: web.Request, handler: Handler, sent: _Sent) -> web.StreamResponse:
        await self._line.travel(1 + self._is_new_connection(request))
        fault = self.faults.take(request.method, request.path, request.query_string)
        if fault is not None and fault.delay_s:
            await asyncio.sleep(fault.delay_s)
        if fault is not None and fault.reset:
            return _broken_off(request)
        response = _invented(fault) or await _handled(_without_range(request, fault), handler)
        sent.status = response.status
        if fault is not None:
            for name, value in fault.headers.items():
                response.headers[name] = _relative(value)
        body = response.body if isinstance(response.body, bytes) else b""
        if fault is not None and fault.cut is not None:
            return await self._cut_off(request, response, body, fault.cut, sent)
        if len(body) > CHUNK_BYTES and request.method != "HEAD":
            return await self._in_pieces(request, response, body, sent)
        await self._line.carry(len(body))
        sent.bytes = 0 if request.method == "HEAD" else len(body)
        return response

    def _is_new_connection(self, request: web.Request) -> bool:
        transport = request.transport
        if transport is None or transport in self._connections:
            return False
        self._connections.add(transport)
        self.log.connections += 1
        return True

    async def _in_pieces(
        self, request: web.Request, response: web.Response, body: bytes, sent: _Sent
    ) -> web.StreamResponse:
        stream = web.StreamResponse(status=response.status, headers=response.headers)
        stream.content_length = len(body)
        await stream.prepare(request)
        for start in range(0, len(body), CHUNK_BYTES):
            piece = body[start : start + CHUNK_BYTES]
            await self._line.carry(len(piece))
            await stream.write(piece)
            sent.bytes += len(piece)
        await stream.write_eof()
        return stream

    async def _cut_off(
        self, request: web.Request, response: web.Response, body: bytes, cut: int, sent: _Sent
    ) -> web.StreamResponse:
        stream = web.StreamResponse(status=response.status, headers=response.headers)
        stream.content_length = len(body)
        await stream.prepare(request)
        await self._line.carry(min(cut, len(body)))
        await stream.write(body[:cut])
        sent.bytes = len(body[:cut])
        if request.transport is not None:
            request.transport.close()
        return stream

    async def _get_log(self, _request: web.Request) -> web.Response:
        return web.json_response(self.log.as_json())

    async def _get_stats(self, _request: web.Request) -> web.Response:
        return web.json_response(self.log.stats())

    async def _post_faults(self, request: web.Request) -> web.Response:
        try:
            document = json.loads(await request.text())
            for entry in document if isinstance(document, list) else [document]:
                self.faults.add(Fault.from_json(entry))
        except (ValueError, TypeError, AttributeError) as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response({"ok": True})

    async def _delete_faults(self, _request: web.Request) -> web.Response:
        self.faults.clear()
        return web.json_response({"ok": True})

    async def _post_clock(self, request: web.Request) -> web.Response:
        try:
            moment = datetime.fromisoformat(json.loads(await request.text())["now"])
            if moment.tzinfo is None:
                raise ValueError("now must carry its zone, such as 2026-11-02T03:00:00Z")
        except (ValueError, TypeError, KeyError) as error:
            return web.json_response({"error": str(error)}, status=400)
        self.world.now = moment
        return web.json_response({"now": moment.isoformat()})

    async def _post_expire(self, _request: web.Request) -> web.Response:
        self._routes.expire_tokens()
        return web.json_response({"ok": True})


class _Sent:
    """What left for one request; status 0 = nothing."""

    def __init__(self) -> None:
        self.status = 0
        self.bytes = 0


async def _handled(request: web.Request, handler: Handler) -> web.Response:
    try:
        response = await handler(request)
    except web.HTTPException as error:  # aiohttp's own 404 and 405
        return web.Response(status=error.status, text=error.reason)
    assert isinstance(response, web.Response)
    return response


def _invented(fault: Fault | None) -> web.Response | None:
    """The answer a fault gives in place of the real one, if it does."""
    if fault is None:
        return None
    if fault.html:
        return web.Response(text="<!DOCTYPE html><title>Please wait</title>", content_type="text/html")
    if fault.status is None and fault.body is None:
        return None
    default = json.dumps({"error": "Injected", "status": fault.status, "message": ""}).encode()
    body = default if fault.body is None else fault.body
    return web.Response(status=fault.status or 200, body=body, content_type="application/json")


def _without_range(request: web.Request, fault: Fault | None) -> web.Request:
    if fault is None or not fault.ignore_range:
        return request
    headers = request.headers.copy()
    headers.popall("Range", None)
    return request.clone(headers=headers)


def _broken_off(request: web.Request) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def _relative(value: str) -> str:
    """``+2`` as a header value means unix time in two seconds."""
    return str(int(time.time()) + int(value)) if value.startswith("+") and value[1:].isdigit() else value


def _kind_of(path: str) -> Kind:
    prefixes: tuple[tuple[str, Kind], ...] = (
        ("/oauth2/", "auth"),
        ("/helix/", "helix"),
        ("/gql", "gql"),
        ("/vod/", "usher"),
    )
    for prefix, kind in prefixes:
        if path.startswith(prefix):
            return kind
    if path.startswith("/cdn/"):
        return "playlist" if path.endswith(".m3u8") else "media"
    return "other"
