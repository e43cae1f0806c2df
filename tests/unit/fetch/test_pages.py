"""A web page with status 200 in place of media, wherever in the file the range lies: a fault that may pass."""

from __future__ import annotations

import asyncio

import pytest

from harvester.errors import FetchError
from harvester.model import ByteRange
from harvester.stats import RequestKind
from tests.unit.fetch.conftest import world

PAGE = b"\n<!DOCTYPE html><title>Please wait</title>" + b"<p>One moment.</p>" * 100


async def read(body: bytes, start: int) -> tuple[bytes, int]:
    """100 bytes of it from ``start`` on, by a server that ignores ranges; and how often it was asked."""
    async with world({"norange/0.ts": body}, attempts=3, retry_base_s=0.001) as there:
        try:
            answer = await there.transport.get(
                there.server.url("norange/0.ts"),
                kind=RequestKind.MEDIA,
                byte_range=ByteRange(start, 100),
                limit_bytes=100,
            )
        except FetchError as error:
            assert (error.reason, error.retryable) == ("foreign-body", True)
            return b"", len(there.server.log)
        return answer.body, len(there.server.log)


@pytest.mark.parametrize("start", [0, 500, len(PAGE) - 1, len(PAGE) + 500])
def test_a_page_is_tried_again_and_never_taken_for_media(start: int) -> None:
    assert asyncio.run(read(PAGE, start)) == (b"", 3)


@pytest.mark.parametrize("start", [0, 500])
def test_media_may_hold_anything_behind_its_first_byte(start: int) -> None:
    media = b"\x47" + PAGE
    assert asyncio.run(read(media, start)) == (media[start : start + 100], 1)
