"""A file server on loopback that counts what it sends, and tiny streams made by PyAV."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from aiohttp import web

from harvester.config import Fetch
from harvester.model import Rendition
from harvester.stats import Traffic
from harvester.transport import Transport

GOP = 12  # pictures of a segment
WIDTH, HEIGHT = 192, 108


@dataclass
class FileServer:
    """Serves ``files`` by path. The first folder of a path says how the server misbehaves with it.

    ``norange``: ignores Range · ``nototal``: tells no total length · ``refused``: 403 · ``gone``: 404 ·
    ``failing``: 503 · ``stream``: ignores Range and tells no length either · ``broken``: closes in the middle of the
    body, the first time. ``log``: (path, first byte, bytes sent).
    """

    files: dict[str, bytes] = field(default_factory=dict)
    log: list[tuple[str, int, int]] = field(default_factory=list)
    root: str = ""
    in_flight: int = 0
    most_in_flight: int = 0

    @property
    def sent(self) -> int:
        return sum(n for _, _, n in self.log)

    def url(self, path: str) -> str:
        return f"{self.root}/{path}"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.in_flight += 1
        self.most_in_flight = max(self.in_flight, self.most_in_flight)
        try:
            await asyncio.sleep(0)
            return await self._answer(request)
        finally:
            self.in_flight -= 1

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path.lstrip("/")
        misbehaviour = path.split("/")[0]
        if misbehaviour == "moved":
            self.log.append((path, 0, 0))
            return web.Response(status=302, headers={"Location": path.removeprefix("moved")})
        status = {"refused": 403, "gone": 404, "failing": 503}.get(misbehaviour)
        if status or path not in self.files:
            self.log.append((path, 0, 0))
            return web.Response(status=status or 404)
        body = self.files[path]
        if misbehaviour == "stream":
            return await self._stream(request, path, body)
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("Range", ""))
        if match is None or misbehaviour == "norange":
            self.log.append((path, 0, len(body)))
            return web.Response(body=body)
        first, last = int(match[1]), min(int(match[2]), len(body) - 1)
        if first >= len(body):
            self.log.append((path, first, 0))
            return web.Response(status=416)
        part = body[first : last + 1]
        self.log.append((path, first, len(part)))
        total = "*" if misbehaviour == "nototal" else len(body)
        headers = {"Content-Range": f"bytes {first}-{last}/{total}"}
        if misbehaviour == "broken" and [p for p, _, _ in self.log].count(path) == 1:
            return await self._break_off(request, part, headers)
        return web.Response(status=206, body=part, headers=headers)

    async def _stream(self, request: web.Request, path: str, body: bytes) -> web.StreamResponse:
        self.log.append((path, 0, len(body)))
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(body)
        await response.write_eof()
        return response

    async def _break_off(self, request: web.Request, part: bytes, headers: dict[str, str]) -> web.StreamResponse:
        response = web.StreamResponse(status=206, headers=headers | {"Content-Length": str(len(part))})
        await response.prepare(request)
        await response.write(part[: len(part) // 2])
        assert request.transport is not None
        request.transport.close()
        return response


@dataclass
class World:
    server: FileServer
    transport: Transport
    traffic: Traffic


@asynccontextmanager
async def world(files: dict[str, bytes], **fetch: float) -> AsyncIterator[World]:
    server = FileServer(files)
    app = web.Application()
    app.router.add_get("/{path:.*}", server.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.root = f"http://127.0.0.1:{runner.addresses[0][1]}"
    traffic = Traffic()
    config = Fetch(**({"retry_base_s": 0.001, "retry_max_s": 0.01, "attempts": 2} | fetch))
    try:
        async with Transport(config, loopback=True, traffic=traffic) as transport:
            yield World(server, transport, traffic)
    finally:
        await runner.cleanup()


@pytest.fixture
def in_world() -> Callable[..., object]:
    """``in_world(files, coroutine_function)`` runs it with a :class:`World`."""

    def run(files: dict[str, bytes], scenario: Callable[[World], Awaitable[object]], **fetch: float) -> object:
        async def main() -> object:
            async with world(files, **fetch) as here:
                return await scenario(here)

        return asyncio.run(main())

    return run


def encode(
    format: str,
    options: dict[str, str],
    gops: int,
    *,
    seed: int = 0,
    first_pts: int = 0,
    size: tuple[int, int] = (WIDTH, HEIGHT),
) -> bytes:
    """``gops`` closed GOPs of noise on a drifting gradient, with AAC between, in one container."""
    rng = np.random.default_rng(seed)
    sink = tempfile.NamedTemporaryFile()  # by name: faststart reads its own file again
    with av.open(sink.name, "w", format=format, options=options) as container:
        video = container.add_stream(
            "libx264", rate=24, options={"preset": "veryfast", "x264-params": "bframes=2"}
        )
        width, height = size
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.gop_size = GOP
        video.codec_context.options = {"sc_threshold": "0", "keyint_min": str(GOP), "flags": "+cgop"}
        audio = container.add_stream("aac", rate=48000)
        audio.layout = "stereo"
        ramp = np.add.outer(np.arange(height), np.arange(width)) // 2
        samples = first_pts * 2000
        for number in range(gops * GOP):
            noise = rng.integers(0, 40, (height, width))
            gray = ((ramp + number * 2) % 200 + noise).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(np.stack([gray] * 3, -1), format="rgb24")
            frame.pts, frame.time_base = first_pts + number, Fraction(1, 24)
            container.mux(video.encode(frame))
            while samples < (first_pts + number + 1) * 2000:
                sound = av.AudioFrame.from_ndarray(
                    rng.standard_normal((2, 1024)).astype(np.float32) * 0.05, format="fltp", layout="stereo"
                )
                sound.sample_rate, sound.pts = 48000, samples
                container.mux(audio.encode(sound))
                samples += 1024
        container.mux(video.encode(None))
        container.mux(audio.encode(None))
    with sink:
        return Path(sink.name).read_bytes()


@pytest.fixture(scope="session")
def ts_segments() -> list[bytes]:
    """Six MPEG-TS segments of one GOP each."""
    return [encode("mpegts", {}, 1, seed=seed, first_pts=seed * GOP) for seed in range(6)]


@pytest.fixture(scope="session")
def fmp4() -> tuple[bytes, list[bytes]]:
    """An init section and three fMP4 segments."""
    movflags = "frag_keyframe+empty_moov+default_base_moof"
    return split_fragments(encode("mp4", {"movflags": movflags}, 3, seed=7))


def split_fragments(data: bytes) -> tuple[bytes, list[bytes]]:
    boxes, offset = [], 0
    while offset < len(data):
        size = int.from_bytes(data[offset : offset + 4], "big")
        boxes.append((data[offset + 4 : offset + 8], data[offset : offset + size]))
        offset += size
    init = b"".join(box for kind, box in boxes if kind in (b"ftyp", b"moov"))
    segments: list[bytes] = []
    for kind, box in boxes:
        if kind == b"moof":
            segments.append(b"")
        if kind in (b"moof", b"mdat"):
            segments[-1] += box
    return init, segments


@pytest.fixture(scope="session")
def clip() -> bytes:
    """An MP4 of five GOPs with its index in front."""
    return encode("mp4", {"movflags": "faststart"}, 5, seed=3)


@pytest.fixture(scope="session")
def clip_index_last() -> bytes:
    """The same, with its index behind the media."""
    return encode("mp4", {}, 5, seed=3)


@pytest.fixture
def rendition() -> Rendition:
    return Rendition("108p", "http://127.0.0.1/x.m3u8", WIDTH, HEIGHT, 24.0, 400_000, "avc1.4D001F,mp4a.40.2")
