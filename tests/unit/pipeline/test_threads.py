"""Threads that end before everybody has stopped handing work over."""

from __future__ import annotations

import asyncio

import pytest

from harvester.pipeline.threads import DecodeThreads


def test_what_comes_after_the_end_is_cancelled() -> None:
    async def scenario() -> None:
        threads = DecodeThreads(1)
        loop = asyncio.get_running_loop()
        assert await loop.run_in_executor(threads, lambda: 7) == 7
        threads.shutdown()
        with pytest.raises(asyncio.CancelledError):
            await loop.run_in_executor(threads, lambda: 7)

    asyncio.run(scenario())
