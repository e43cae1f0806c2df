"""How an answer leaves the stand-in: over a shaped line, whole or in pieces, and as broken as a fault wants it."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import hdrs, web

from harvester.sandbox.control import Line
from harvester.sandbox.faults import Fault
from harvester.sandbox.helix import cursor

#: Bodies above this go out in pieces of this size, so that a client that stops reading is not sent the rest.
CHUNK_BYTES = 64 << 10
#: A dripping answer is sent so many times a second.
DRIPS_PER_S = 20

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_PAGE = b"<!DOCTYPE html><html><head><title>Please wait</title></head><body>One moment.</body></html>\n"
_RANGE_NUMBERS = re.compile(r"bytes (\d+)-(\d+)/(.*)")
_HARMLESS = Fault()


@dataclass(slots=True)
class Sending:
    """One answer on its way over ``line``. ``status`` (0 = nothing) and ``sent_bytes`` tell what has left."""

    line: Line
    fault: Fault = _HARMLESS
    status: int = 0
    sent_bytes: int = 0

    async def answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let ``handler`` answer, or the fault in its place, and send that."""
        fault = self.fault
        if fault.delay_s:
            await asyncio.sleep(fault.delay_s)
        if fault.reset:
            return _broken_off(request)
        response = _invented(fault) or await _handled(_asked(request, fault), handler)
        _alter(fault, request, response)
        self.status = response.status
        body = response.body if isinstance(response.body, bytes) else b""
        if request.method != "HEAD" and self._needs_pieces(body):
            return await self._in_pieces(request, response, body)
        await self.line.carry(len(body))
        self.sent_bytes = 0 if request.method == "HEAD" else len(body)
        return response

    def _needs_pieces(self, body: bytes) -> bool:
        broken = self.fault.drip or self.fault.cut is not None or self._is_chunked()
        return bool(broken) or len(body) > CHUNK_BYTES

    def _is_chunked(self) -> bool:
        return any(name.lower() == "content-length" for name in self.fault.drop_headers)

    async def _in_pieces(self, request: web.Request, response: web.Response, body: bytes) -> web.StreamResponse:
        stream = web.StreamResponse(status=response.status, headers=response.headers)
        drip, cut = self.fault.drip, self.fault.cut
        end = len(body) if cut is None else min(cut, len(body))
        # more is promised than a cut lets through, of a short body too: else it would be a whole answer
        promised = len(body) if cut is None else max(len(body), end + 1)
        stream.content_length = None if self._is_chunked() else promised
        await stream.prepare(request)
        size = max(1, drip // DRIPS_PER_S) if drip else CHUNK_BYTES
        for start in range(0, end, size):
            await self._send(stream, body[start : min(start + size, end)])
        if cut is None:
            await stream.write_eof()
        elif request.transport is not None:
            request.transport.close()
        return stream

    async def _send(self, stream: web.StreamResponse, piece: bytes) -> None:
        if self.fault.drip:
            await asyncio.sleep(len(piece) / self.fault.drip)
        await self.line.carry(len(piece))
        await stream.write(piece)
        self.sent_bytes += len(piece)


def _broken_off(request: web.Request) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def _handled(request: web.Request, handler: Handler) -> web.Response:
    try:
        response = await handler(request)
    except web.HTTPException as error:  # aiohttp's own 404 and 405
        return web.Response(status=error.status, text=error.reason)
    assert isinstance(response, web.Response)
    return response


def _asked(request: web.Request, fault: Fault) -> web.Request:
    """The request as the handler sees it."""
    if not fault.ignore_range:
        return request
    headers = request.headers.copy()
    headers.popall(hdrs.RANGE, None)
    return request.clone(headers=headers)


def _invented(fault: Fault) -> web.Response | None:
    """The answer a fault gives in place of the real one, if it does."""
    if fault.html:
        return web.Response(status=fault.status or 200, body=_PAGE, content_type="text/html")
    if fault.status is None and fault.body is None:
        return None
    default = json.dumps({"error": "Injected", "status": fault.status, "message": ""}).encode()
    body = default if fault.body is None else fault.body
    return web.Response(status=fault.status or 200, body=body, content_type="application/json")


def _alter(fault: Fault, request: web.Request, response: web.Response) -> None:
    """Give the answer the fault's headers; spoil its page or range."""
    if fault.empty_page_with_cursor or fault.same_cursor:
        _spoil_page(fault, request, response)
    if fault.wrong_range:
        _shift_range(response)
    for name, value in fault.headers.items():
        response.headers[name] = _relative(value)
    for name in fault.drop_headers:
        response.headers.popall(name, None)


def _spoil_page(fault: Fault, request: web.Request, response: web.Response) -> None:
    try:
        page = json.loads(response.body if isinstance(response.body, bytes) else b"")
    except ValueError:
        return
    if not isinstance(page, dict) or "data" not in page:
        return
    asked, own = request.query.get("after"), page.get("pagination") or {}
    if fault.empty_page_with_cursor:
        page["data"] = []
    page["pagination"] = {"cursor": asked or own.get("cursor") or cursor(100)}
    response.body = json.dumps(page).encode()


def _shift_range(response: web.Response) -> None:
    match = _RANGE_NUMBERS.fullmatch(response.headers.get(hdrs.CONTENT_RANGE, ""))
    if match:
        response.headers[hdrs.CONTENT_RANGE] = f"bytes {int(match[1]) + 1}-{int(match[2]) + 1}/{match[3]}"


def _relative(value: str) -> str:
    """``+2`` as a header value means unix time in two seconds."""
    return str(int(time.time()) + int(value)) if re.fullmatch(r"\+\d{1,9}", value, re.ASCII) else value
