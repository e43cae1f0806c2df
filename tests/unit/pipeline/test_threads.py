"""Threads that end before everybody has stopped handing work over."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from harvester.pipeline.threads import BESIDE, DecodeThreads, beside


def test_what_comes_after_the_end_is_cancelled() -> None:
    async def scenario() -> None:
        threads = DecodeThreads(1)
        loop = asyncio.get_running_loop()
        assert await loop.run_in_executor(threads, lambda: 7) == 7
        threads.shutdown()
        with pytest.raises(asyncio.CancelledError):
            await loop.run_in_executor(threads, lambda: 7)

    asyncio.run(scenario())


def test_what_is_done_beside_decoding_waits_for_its_two_threads() -> None:
    async def most_at_once() -> int:
        asyncio.get_running_loop().set_default_executor(beside())
        active, most, lock = 0, 0, threading.Lock()

        def busy() -> None:
            nonlocal active, most
            with lock:
                active += 1
                most = max(most, active)
            time.sleep(0.02)
            with lock:
                active -= 1

        await asyncio.gather(*(asyncio.to_thread(busy) for _ in range(8)))
        return most

    assert asyncio.run(most_at_once()) == BESIDE
