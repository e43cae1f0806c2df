"""HTTP routes over a world: OAuth, Helix, GQL, usher and the CDN tree. What misbehaves or is counted is elsewhere.

Every answer but large media goes out in one write, headers and body together: the twitchAPI library loses answers
whose body comes later than their headers.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import re
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

from aiohttp import web

from harvester.sandbox import helix
from harvester.sandbox.gql import Gql, Signer
from harvester.sandbox.playback import media_playlist, multivariant, playlist_name
from harvester.sandbox.storyboards import Storyboards, listing, storyboard_path
from harvester.sandbox.world import Video, World

if TYPE_CHECKING:
    from datetime import datetime

    from harvester.sandbox.reels import MediaReels

CLIENT_ID = "sandboxclient0000000000000000"
PLAYLIST_TYPE = "application/vnd.apple.mpegurl"
TOKEN_LIFE_S = 5_011_271
#: Points per minute of an application token on Twitch.
HELIX_POINTS = 800
DENIED = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
)
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_SEGMENT = re.compile(r"(\d{1,9})\.(ts|mp4)")
_INIT = re.compile(r"init-(\d{1,9})\.mp4")


@dataclass(slots=True)
class RateBucket:
    """``points`` at most, refilled evenly within a minute. In real time: clients sleep until its reset."""

    points: int = HELIX_POINTS
    left: float = field(init=False)
    _at: float = field(init=False)

    def __post_init__(self) -> None:
        self.left, self._at = float(self.points), time.monotonic()

    def take(self) -> bool:
        """Take a point; False if there is none."""
        now = time.monotonic()
        self.left = min(self.points, self.left + (now - self._at) * self.points / 60)
        self._at = now
        if self.left < 1:
            return False
        self.left -= 1
        return True

    def headers(self) -> dict[str, str]:
        """The three headers that Helix answers carry; reset = when the bucket is full again."""
        full_in_s = math.ceil((self.points - self.left) * 60 / self.points)
        return {
            "Ratelimit-Limit": str(self.points),
            "Ratelimit-Remaining": str(int(self.left)),
            "Ratelimit-Reset": str(int(time.time()) + full_in_s),
        }


def client_secret(seed: str) -> str:
    """The secret of the world's only application."""
    return hashlib.sha256(f"secret:{seed}".encode()).hexdigest()[:30]


class Routes:
    """The handlers. ``origin`` is set once the port is known; ``reels`` opens no video before it is asked."""

    def __init__(
        self, world: World, reels: MediaReels, *, helix_points: int = HELIX_POINTS, any_hash: bool = False
    ) -> None:
        self.world = world
        self.reels = reels
        self.origin = ""
        self.bucket = RateBucket(helix_points)
        self._any_hash = any_hash
        self._signer = Signer(world.seed)
        self._storyboards = Storyboards(reels)
        self._tokens: set[str] = set()
        self._issued = 0

    def add_to(self, app: web.Application) -> None:
        """Register every route."""
        app.router.add_post("/oauth2/token", self.token)
        app.router.add_get("/oauth2/validate", self.validate)
        app.router.add_post("/oauth2/revoke", self.revoke)
        app.router.add_get("/helix/{endpoint:.+}", self.helix)
        app.router.add_post("/gql", self.gql)
        app.router.add_get(r"/vod/v2/{id:\d+}.m3u8", self.usher)
        app.router.add_get(r"/vod/{id:\d+}.m3u8", self.usher)
        app.router.add_get(r"/vod/{id:\d+}", self.usher)
        app.router.add_get("/cdn/clips/{slug}/{quality}/index.mp4", self.clip)
        app.router.add_get("/cdn/{distribution}/{special}/storyboards/{name}", self.storyboard)
        app.router.add_get("/cdn/{distribution}/{special}/{folder}/{name}", self.cdn)

    def expire_tokens(self) -> None:
        """Make every token issued so far invalid."""
        self._tokens.clear()

    async def token(self, request: web.Request) -> web.Response:
        """Client credentials, in the query or as a form."""
        form = await request.post() if "form" in request.content_type else {}
        given = {**request.query, **{key: str(value) for key, value in form.items()}}
        if given.get("client_id") != CLIENT_ID:
            return _json(400, {"status": 400, "message": "invalid client"})
        if given.get("client_secret") != client_secret(self.world.seed):
            return _json(403, {"status": 403, "message": "invalid client secret"})
        if given.get("grant_type") != "client_credentials":
            return _json(400, {"status": 400, "message": "invalid grant type"})
        self._issued += 1
        self._tokens.add(token := f"sbx-{self._issued}")
        return _json(200, {"access_token": token, "expires_in": TOKEN_LIFE_S, "token_type": "bearer"})

    async def validate(self, request: web.Request) -> web.Response:
        """Whether a token is good."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme not in ("OAuth", "Bearer") or token not in self._tokens:
            return _json(401, {"status": 401, "message": "invalid access token"})
        return _json(200, {"client_id": CLIENT_ID, "scopes": [], "expires_in": TOKEN_LIFE_S})

    async def revoke(self, request: web.Request) -> web.Response:
        """Give a token back."""
        form = await request.post() if "form" in request.content_type else {}
        self._tokens.discard(str(form.get("token", request.query.get("token", ""))))
        return web.Response()

    async def helix(self, request: web.Request) -> web.Response:
        """Any Helix endpoint: token, rate bucket, then the world."""
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        if not self.bucket.take():
            return _helix_error(429, "", self.bucket.headers())
        endpoint = helix.ENDPOINTS.get(request.match_info["endpoint"])
        if endpoint is None:
            return _helix_error(404, "no such endpoint", self.bucket.headers())
        try:
            document = endpoint(self.world, request.query, self.origin)
        except helix.HelixError as error:
            return _helix_error(error.status, str(error), self.bucket.headers())
        return _json(200, document, self.bucket.headers())

    def _refusal(self, request: web.Request) -> web.Response | None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or not token:
            return _helix_error(401, "OAuth token is missing", {})
        if token not in self._tokens:
            return _helix_error(401, "Invalid OAuth token", {})
        if request.headers.get("Client-Id") != CLIENT_ID:
            return _helix_error(401, "Client ID and OAuth token do not match", {})
        return None

    async def gql(self, request: web.Request) -> web.Response:
        """One operation or a list of them; the answer has the same shape."""
        if "Client-ID" not in request.headers:
            message = 'The "Client-ID" header is missing or invalid.'
            return _json(400, {"error": "Bad Request", "status": 400, "message": message})
        try:
            document = json.loads(await request.text())
        except ValueError:
            document = None
        many = document if isinstance(document, list) else [document]
        if not many or not all(isinstance(operation, dict) for operation in many):
            return _json(400, {"error": "Bad Request", "status": 400, "message": "the body is no operation"})
        gql = Gql(self.world, self._signer, self.origin, self._any_hash)
        answers = [gql.answer(operation) for operation in many]
        return _json(200, answers if isinstance(document, list) else answers[0])

    async def usher(self, request: web.Request) -> web.Response:
        """The multivariant playlist of a VOD, for the bearer of its token."""
        video_id = request.match_info["id"]
        value = request.query.get("nauth") or request.query.get("token") or ""
        signature = request.query.get("nauthsig") or request.query.get("sig") or ""
        token = self._verified(value, signature)
        if token is None or str(token.get("vod_id")) != video_id:
            return _usher_error(403, request, "nauth_token_invalid", "token invalid or expired")
        video = self.world.video(video_id)
        if video is None:
            return _usher_error(404, request, "transcode_does_not_exist", "transcode does not exist")
        renditions = await asyncio.to_thread(self.reels.renditions, video)
        version = 2 if request.path.startswith("/vod/v2/") else 1
        text = multivariant(video, renditions, self.origin, version=version)
        return web.Response(text=text, content_type=PLAYLIST_TYPE)

    async def cdn(self, request: web.Request) -> web.Response:
        """Playlists, init sections and segments of VODs; 403 for whatever is not there, as S3 answers."""
        where = request.match_info
        video = self._video_at(where["distribution"], where["special"])
        if video is None:
            return _denied()
        height = await asyncio.to_thread(self.reels.height_of, video, where["folder"])
        if height is None:
            return _denied()
        if where["name"] == playlist_name(video):
            entries = self.world.aired(video, await asyncio.to_thread(self.reels.entries, video, height))
            text = media_playlist(video, entries, sound=not height, ended=self.world.ended(video))
            response = web.Response(text=text, content_type=PLAYLIST_TYPE)
            response.enable_compression()
            return response
        try:
            data = await self._media(video, height, where["name"])
        except LookupError:
            return _denied()
        kind = "video/MP2T" if where["name"].endswith(".ts") else "video/mp4"
        return ranged(request, data, kind, video.created_at)

    async def storyboard(self, request: web.Request) -> web.Response:
        """The seek previews of a VOD: the file that lists them, or one of its sheets. Unsigned."""
        where = request.match_info
        video = self._video_at(where["distribution"], where["special"])
        if video is None or storyboard_path(video, self.world.now) is None:
            return _denied()
        if where["name"] == f"{video.id}-info.json":
            return ranged(request, json.dumps(listing(video)).encode(), "application/json", video.created_at)
        try:
            data = await asyncio.to_thread(self._storyboards.sheet, video, where["name"])
        except LookupError:
            return _denied()
        return ranged(request, data, "image/jpeg", video.created_at)

    async def clip(self, request: web.Request) -> web.Response:
        """A clip's MP4, for the bearer of its token: 401 and nothing else without one."""
        clip = self.world.clip(request.match_info["slug"])
        token = self._verified(request.query.get("token", ""), request.query.get("sig", ""))
        uri = f"/cdn/clips/{request.match_info['slug']}"
        if clip is not None and clip.condition == "dead":
            return _denied() if token else web.Response(status=404)
        if token is None or not str(token.get("clip_uri")).endswith(uri):
            return web.Response(status=401)
        height = next((h for h in clip.heights if str(h) == request.match_info["quality"]), None) if clip else None
        if clip is None or height is None:
            return _denied()
        data = await asyncio.to_thread(self.reels.clip, clip, height)
        return ranged(request, data, "video/mp4", clip.created_at)

    async def _media(self, video: Video, height: int, name: str) -> bytes:
        """A segment or init section by file name. Raises LookupError if there is none of that name."""
        container = "mp4" if video.container == "fmp4" and height else "ts"
        if match := _SEGMENT.fullmatch(name):
            if match[2] != container:
                raise LookupError(name)
            entries = await asyncio.to_thread(self.reels.entries, video, height)
            if int(match[1]) >= len(self.world.aired(video, entries)):
                raise LookupError(name)
            return await asyncio.to_thread(self.reels.segment, video, height, int(match[1]))
        if match := _INIT.fullmatch(name):
            return await asyncio.to_thread(self.reels.init, video, height, int(match[1]))
        raise LookupError(name)

    def _video_at(self, distribution: str, special: str) -> Video | None:
        return next(
            iter(self.world.find_videos(lambda v: v.distribution == distribution and v.special == special)), None
        )

    def _verified(self, value: str, signature: str) -> dict[str, Any] | None:
        return self._signer.verified(value, signature, self.world.now.timestamp())


def ranged(request: web.Request, data: bytes, content_type: str, modified: datetime) -> web.Response:
    """``data``, or the part of it that the request's Range header names (RFC 9110 §14).

    A header that is no single byte range is ignored; one that starts beyond the end is answered with 416.
    """
    headers = {
        "Accept-Ranges": "bytes",
        "ETag": f'"{zlib.crc32(request.path.encode()):08x}-{len(data):x}"',  # bytes of a path never change
        "Last-Modified": format_datetime(modified, usegmt=True),
        "Content-Type": content_type,
    }
    match = _RANGE.fullmatch(request.headers.get("Range", ""))
    if match is None or match[0] == "bytes=-":
        return web.Response(body=data, headers=headers)
    start, end = _bounds(match[1], match[2], len(data))
    if match[1] and match[2] and int(match[1]) > int(match[2]):
        return web.Response(body=data, headers=headers)  # not valid, so not a range
    if start >= end:
        return web.Response(status=416, headers={"Content-Range": f"bytes */{len(data)}"})
    headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(data)}"
    return web.Response(status=206, body=data[start:end], headers=headers)


def _bounds(first: str, last: str, size: int) -> tuple[int, int]:
    """Half-open bounds of a byte range spec; a missing first number means the last so many bytes."""
    if not first:
        return max(0, size - int(last)), size if int(last) else 0
    return int(first), min(int(last) + 1, size) if last else size


def _json(status: int, document: object, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.json_response(document, status=status, headers=headers)


def _helix_error(status: int, message: str, headers: Mapping[str, str]) -> web.Response:
    names = {400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 429: "Too Many Requests"}
    return _json(status, {"error": names.get(status, "Error"), "status": status, "message": message}, headers)


def _usher_error(status: int, request: web.Request, code: str, message: str) -> web.Response:
    return _json(status, [{"url": request.path, "error": message, "error_code": code, "type": "error"}])


def _denied() -> web.Response:
    return web.Response(status=403, text=DENIED, content_type="application/xml")
