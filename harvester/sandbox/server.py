"""The stand-in of Twitch as a server on loopback: one address for Helix, OAuth, GQL, usher and CDN.

:class:`SandboxServer` runs in a thread of its own, so that tests and the demo talk to it like to any server.
Around the routes it counts, shapes and misbehaves on demand (``/_control/...``).

What steers it: ``POST /_control/faults`` (:mod:`harvester.sandbox.faults`; ``DELETE`` forgives all), ``clock``
(``{"now": TIME}``), ``rate`` (buckets), ``line`` (``{"rtt_ms": 40, "mbps": 20}``), ``expire_tokens``; what tells:
``GET /_control/log`` and ``stats``. Bad input is answered with 400, says what is wrong and changes nothing.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from weakref import WeakSet

from aiohttp import web

from harvester.errors import MachineError
from harvester.sandbox.answering import Handler, Sending
from harvester.sandbox.buckets import HELIX_POINTS
from harvester.sandbox.control import Kind, Line, LogEntry, RequestLog, line_from
from harvester.sandbox.faults import Fault, FaultBook
from harvester.sandbox.routes import CLIENT_ID, Routes, client_secret
from harvester.sandbox.world import World
from harvester.text import redact

HOST = "127.0.0.1"
#: How long a stopping server waits for answers under way (s).
SHUTDOWN_S = 0.5


class SandboxServer:
    """One world on one port. ``port`` 0 takes a free one; ``rtt_ms`` and ``mbps`` shape the line (0 = not).

    ``cache_dir``: where encodes of varied footage are kept (None: a folder of the platform's temp).
    ``public_origin``: where media is said to lie instead of here (a front that leads here stands there).
    ``helix_points``: Helix requests a minute; ``gql_points``: GQL requests a minute, 0 = any number.
    ``any_hash``: accept unknown GQL hashes of known operations.
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
        gql_points: int = 0,
        any_hash: bool = False,
    ) -> None:
        from harvester.sandbox.reels import MediaReels  # loads libav, which importing this module must not

        self.world = world
        self.port = port
        self._public_origin = public_origin
        self.log = RequestLog()
        self.faults = FaultBook()
        self._reels = MediaReels(world, cache_dir)
        self._routes = Routes(
            world, self._reels, helix_points=helix_points, gql_points=gql_points, any_hash=any_hash
        )
        self._line = Line(rtt_ms, mbps)
        self._connections: WeakSet[asyncio.BaseTransport] = WeakSet()
        self._runner: web.AppRunner | None = None

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
            "\n[discover]\n"
            "requests_per_s = 50  # there is nobody to be polite to\n"
            "\n[sample]\n"
            "min_spacing_s = 2  # the footage is short\n"
            "\n[fetch]\n"
            "gql_requests_per_s = 50\n"
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
        runner = self._runner = web.AppRunner(self._app(), access_log=None, shutdown_timeout=SHUTDOWN_S)
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
            loop.run_until_complete(_let_go())
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
        app.router.add_post("/_control/rate", self._post_rate)
        app.router.add_post("/_control/line", self._post_line)
        app.router.add_post("/_control/expire_tokens", self._post_expire)
        return app

    async def _around(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Shape, break and log every request but the control ones."""
        if request.path.startswith("/_control/"):
            return await handler(request)
        kind, begun = _kind_of(request.path), time.perf_counter()
        at_s = self.log.begin(kind)
        sending = Sending(self._line)
        try:
            await self._line.travel(1 + self._note_connection(request))
            sent = (await request.read()).decode("utf-8", "replace")
            fault = self.faults.take(request.method, request.path, request.query_string, request.headers, sent)
            sending.fault = fault or sending.fault
            return await sending.answer(request, handler)
        finally:
            ms = (time.perf_counter() - begun) * 1000
            self.log.end(
                LogEntry(
                    kind=kind,
                    method=request.method,
                    path=request.path,
                    query=redact(request.rel_url.raw_query_string),
                    range=request.headers.get("Range"),
                    status=sending.status,
                    bytes=sending.sent_bytes,
                    ms=round(ms, 3),
                    host=request.host,
                    at_s=round(at_s, 4),
                )
            )

    def _note_connection(self, request: web.Request) -> bool:
        """Count connections; True if this request is the first of its own."""
        transport, server = request.transport, self._runner.server if self._runner else None
        new = transport is not None and transport not in self._connections
        if transport is not None:
            self._connections.add(transport)
        self.log.connected(len(server.connections) if server else 0, new=new)
        return new

    async def _get_log(self, _request: web.Request) -> web.Response:
        return web.json_response(self.log.as_json())

    async def _get_stats(self, _request: web.Request) -> web.Response:
        return web.json_response(self.log.stats())

    async def _post_faults(self, request: web.Request) -> web.Response:
        """One fault or a list of them: all are written down, or none."""
        try:
            document = json.loads(await request.text())
            faults = [Fault.from_json(entry) for entry in (document if isinstance(document, list) else [document])]
        except (ValueError, RecursionError) as error:
            return _bad_input(error)
        for fault in faults:
            self.faults.add(fault)
        return web.json_response({"ok": True})

    async def _delete_faults(self, _request: web.Request) -> web.Response:
        self.faults.clear()
        return web.json_response({"ok": True})

    async def _post_clock(self, request: web.Request) -> web.Response:
        try:
            moment = _moment(json.loads(await request.text()))
        except (ValueError, RecursionError) as error:
            return _bad_input(error)
        self.world.now = moment
        return web.json_response({"now": moment.isoformat()})

    async def _post_rate(self, request: web.Request) -> web.Response:
        """``{"helix": {"points": 30, "per_minute": 600}}``: new rate buckets, full; ``gql`` null = none."""
        try:
            self._routes.set_buckets(json.loads(await request.text()))
        except (ValueError, RecursionError) as error:
            return _bad_input(error)
        return web.json_response({"ok": True})

    async def _post_line(self, request: web.Request) -> web.Response:
        """``{"rtt_ms": 40, "mbps": 20}``: the line from now on; what is not named or 0 is not shaped."""
        try:
            self._line = line_from(json.loads(await request.text()))
        except (ValueError, RecursionError) as error:
            return _bad_input(error)
        return web.json_response({"ok": True})

    async def _post_expire(self, _request: web.Request) -> web.Response:
        self._routes.expire_tokens()
        return web.json_response({"ok": True})


def _bad_input(error: Exception) -> web.Response:
    return web.json_response({"error": str(error) or "not readable"}, status=400)


def _moment(document: object) -> datetime:
    """The UTC time that ``{"now": "..."}`` tells. Raises ValueError."""
    now = document.get("now") if isinstance(document, dict) else None
    if not isinstance(now, str):
        raise ValueError('{"now": TIME} is needed, such as 2026-11-02T03:00:00Z')  # noqa: TRY004
    moment = datetime.fromisoformat(now)
    if moment.tzinfo is None:
        raise ValueError("now must carry its zone, such as 2026-11-02T03:00:00Z")
    return moment.astimezone(UTC)


async def _let_go() -> None:
    """End what still waits, such as an answer that a fault delays: a loop that closes over a task complains."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


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
    if path.startswith("/cdn/") and "/storyboards/" in path:
        return "storyboard"
    if path.startswith("/cdn/"):
        return "playlist" if path.endswith(".m3u8") else "media"
    return "other"
