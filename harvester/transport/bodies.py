"""What is read of an answer: the body or the part that was asked for, complete and no further.

Whatever a server sends, no more is held than was asked for; what comes is counted as it comes, and paid for where
the run has a cap on bytes.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from harvester.errors import FetchError
from harvester.text import is_page
from harvester.transport.answers import (
    Response,
    StatusError,
    Wanted,
    content_length,
    content_range,
    too_large,
    unsatisfied,
)
from harvester.transport.hosts import where
from harvester.transport.pace import retry_after_s

if TYPE_CHECKING:
    import aiohttp

    from harvester.model import ByteRange
    from harvester.stats import RequestKind, Traffic
    from harvester.transport.limits import ByteRate

#: Longest time for one body (seconds). The largest single body is a segment head of a few MB; a server that drips
#: a byte every ten seconds never runs into the read time-out.
BODY_TIMEOUT_S = 120.0

#: Bodies of refusals up to this size are read, so that their connection can be used again (bytes).
_REFUSAL_BYTES = 64 * 1024


class Bodies:
    """Reads the bodies of one client's answers, each within ``timeout_s``; all raise :class:`FetchError`."""

    def __init__(self, traffic: Traffic, byte_rate: ByteRate, timeout_s: float) -> None:
        self._traffic = traffic
        self._byte_rate = byte_rate
        self._timeout_s = timeout_s

    async def receive(self, answer: aiohttp.ClientResponse, wanted: Wanted) -> Response:
        """What was wanted, of a final answer that has begun."""
        if answer.status == 206 and wanted.byte_range is not None:
            return await self._part(answer, wanted.kind, wanted.byte_range)
        if answer.status != 200:
            raise await self._refusal(answer, wanted.kind)
        if wanted.byte_range is None:
            return await self._whole(answer, wanted.kind, wanted.limit_bytes)
        return await self._slice(answer, wanted.kind, wanted.byte_range)

    async def _whole(self, answer: aiohttp.ClientResponse, kind: RequestKind, limit_bytes: int) -> Response:
        total = content_length(answer)
        if total is not None and total > limit_bytes:
            raise too_large(answer.url, limit_bytes)
        body = await self.read(answer, kind, 0, limit_bytes + 1)
        if len(body) > limit_bytes:
            raise too_large(answer.url, limit_bytes)
        return Response(200, body, total, answer.headers)

    async def _slice(self, answer: aiohttp.ClientResponse, kind: RequestKind, wanted: ByteRange) -> Response:
        """The server ignored ``Range`` and sends everything: take ours on the way by, then hang up."""
        body = await self.read(answer, kind, wanted.start, wanted.length, media=True)
        total = content_length(answer)
        if total == 0:
            raise FetchError(f"{where(answer.url)}: an empty answer", reason="short-body")
        if not body:
            raise StatusError(
                f"{where(answer.url)} ends before the range asked for", status=416, total_bytes=total
            )
        return Response(200, body, total, answer.headers)

    async def _part(self, answer: aiohttp.ClientResponse, kind: RequestKind, wanted: ByteRange) -> Response:
        start, end, total = content_range(answer)
        cut = total is not None and end == total
        if start != wanted.start or end <= start or (end < wanted.end and not cut):
            raise FetchError(f"{where(answer.url)}: another range than asked for came", reason="wrong-range")
        length = min(end, wanted.end) - start
        body = await self.read(answer, kind, 0, length)
        if len(body) < length:
            raise FetchError(
                f"{where(answer.url)}: {len(body)} of {length} bytes came", reason="short-body", status=206
            )
        return Response(206, body, total, answer.headers)

    async def read(
        self, answer: aiohttp.ClientResponse, kind: RequestKind, skip: int, take: int, *, media: bool = False
    ) -> bytes:
        """Up to ``take`` bytes of the body after ``skip``; nothing is read beyond the chunk that completes them.

        An unread rest makes the connection close instead of returning to the pool. ``media``: a body that begins
        like a web page is none, whatever lies at ``skip``.
        """
        position, end = 0, skip + take
        kept: list[bytes] = []
        here = answer.content.is_eof()  # all of it has come already: there is nothing to wait for, nor to limit
        async with asyncio.timeout(None if here else self._timeout_s) as limit:
            async for chunk in answer.content.iter_any():
                self._traffic.received(kind, len(chunk))
                if media and not position and is_page(chunk):
                    raise FetchError(f"{where(answer.url)}: a page in place of media", reason="foreign-body")
                kept.append(chunk[max(0, skip - position) : max(0, end - position)])
                position += len(chunk)
                await self._pay(len(chunk), limit)
                if position >= end:
                    break
        return b"".join(kept)

    async def _pay(self, n_bytes: int, limit: asyncio.Timeout) -> None:
        """Wait as the cap on bytes demands, which is no slowness of the server's."""
        wait_s = self._byte_rate.pay(n_bytes)
        if wait_s > 0:
            if (when_s := limit.when()) is not None:
                limit.reschedule(when_s + wait_s)
            await asyncio.sleep(wait_s)

    async def _refusal(self, answer: aiohttp.ClientResponse, kind: RequestKind) -> StatusError:
        if (content_length(answer) or 0) <= _REFUSAL_BYTES:
            await self.read(answer, kind, 0, _REFUSAL_BYTES)
        return StatusError(
            f"{where(answer.url)} answered {answer.status}",
            status=answer.status,
            retry_after_s=retry_after_s(answer.headers),
            total_bytes=unsatisfied(answer.headers),
        )
