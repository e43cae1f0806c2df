"""A scriptable stand-in of Twitch's id, Helix, GQL and usher servers; answers are set by the tests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from aiohttp import web

from harvester.config import Endpoints
from tests.unit.loopback import answering

T = TypeVar("T")
CLIENT_ID, SECRET = "an-application", "TOPSECRET0123456789"
Answer = web.StreamResponse | Awaitable[web.StreamResponse]
Answerer = Callable[[web.Request, int], Answer]


def reply(document: Any, status: int = 200, **headers: str) -> web.Response:
    return web.json_response(document, status=status, headers={k.replace("_", "-"): v for k, v in headers.items()})


def video(number: int, **changes: Any) -> dict[str, Any]:
    item = {
        "id": str(2000 + number),
        "stream_id": "318400000001",
        "user_id": "9001",
        "user_login": "ann",
        "user_name": "Ann",
        "title": "any%",
        "description": "",
        "created_at": f"2026-11-01T12:{number % 60:02}:00Z",
        "published_at": "2026-11-01T12:00:00Z",
        "url": f"https://www.twitch.tv/videos/{2000 + number}",
        "thumbnail_url": "",
        "viewable": "public",
        "view_count": 42 + number,
        "language": "en",
        "type": "archive",
        "duration": "3h8m33s",
        "muted_segments": [{"duration": 30, "offset": 120}],
    }
    return {key: value for key, value in {**item, **changes}.items() if value is not ...}


def clip(number: int, **changes: Any) -> dict[str, Any]:
    item = {
        "id": f"BraveClip-{number}",
        "url": "https://clips.twitch.tv/x",
        "embed_url": "",
        "broadcaster_id": "9001",
        "broadcaster_name": "Ann",
        "creator_id": "9100",
        "creator_name": "v",
        "video_id": "2001",
        "game_id": "492535",
        "language": "en",
        "title": "wow",
        "view_count": 17,
        "created_at": "2026-11-01T12:40:05Z",
        "thumbnail_url": "",
        "duration": 28.5,
        "vod_offset": 2350,
        "is_featured": False,
    }
    return {key: value for key, value in {**item, **changes}.items() if value is not ...}


class StandIn:
    """``answers``: by ``METHOD /path``, a function of the request and its number (from 1) on that path."""

    def __init__(self) -> None:
        self.answers: dict[str, Answerer] = {
            "POST /oauth2/token": lambda request, n: reply(
                {"access_token": f"token-{n}", "expires_in": 5_000_000, "token_type": "bearer"}
            )
        }
        self.asked: list[str] = []
        self.queries: list[dict[str, list[str]]] = []
        self.headers: list[dict[str, str]] = []
        self.bodies: list[Any] = []
        self.base = ""
        self.gate = asyncio.Event()

    def count(self, route: str) -> int:
        return self.asked.count(route)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        path = "/usher" if request.path.startswith("/usher/") else request.path
        route = f"{request.method} {path}"
        self.asked.append(route)
        self.queries.append({key: request.query.getall(key) for key in request.query})
        self.headers.append(dict(request.headers))
        body = await request.read()
        self.bodies.append(json.loads(body) if body[:1] in (b"{", b"[") else body)
        answerer = self.answers.get(route)
        if answerer is None:
            return web.Response(status=599, text=f"not expected: {route}")
        answer = answerer(request, self.count(route))
        return answer if isinstance(answer, web.StreamResponse) else await answer

    @property
    def endpoints(self) -> Endpoints:
        return Endpoints(
            helix=f"{self.base}/helix/",
            auth=f"{self.base}/oauth2/",
            gql=f"{self.base}/gql",
            usher=f"{self.base}/usher",
        )


@asynccontextmanager
async def standing_in() -> AsyncIterator[StandIn]:
    server = StandIn()
    async with answering(server.answer) as server.base:
        try:
            yield server
        finally:
            server.gate.set()


def run(test: Callable[[StandIn], Coroutine[Any, Any, T]]) -> T:
    async def whole() -> T:
        async with standing_in() as server:
            return await test(server)

    return asyncio.run(whole())
