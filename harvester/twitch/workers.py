"""Blocking calls in a few threads that never hold up the end of the program.

``concurrent.futures`` joins its threads when the interpreter ends: one stuck in a server's silence would keep a
stopped run from stopping. These are daemons, and one that is abandoned keeps its slot until it really ends, so
there are never more of them than slots.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Generic, TypeVar

ResultT = TypeVar("ResultT")


class Workers(Generic[ResultT]):
    """At most ``slots`` calls at a time, each in a daemon thread of its own (0.1 ms to start)."""

    def __init__(self, slots: int) -> None:
        self._slots = asyncio.Semaphore(slots)

    async def call(self, work: Callable[[], ResultT]) -> ResultT:
        """``work()``'s result or exception. Cancelling stops the waiting, not the thread."""
        await self._slots.acquire()
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[ResultT] = loop.create_future()
        threading.Thread(target=self._run, args=(loop, outcome, work), name="resolve", daemon=True).start()
        return await outcome

    def _run(
        self, loop: asyncio.AbstractEventLoop, outcome: asyncio.Future[ResultT], work: Callable[[], ResultT]
    ) -> None:
        try:
            deliver = partial(_deliver, outcome, work())
        except BaseException as error:  # noqa: BLE001 - nothing is swallowed: it is raised where call() waits
            deliver = partial(_fail, outcome, error)
        with suppress(RuntimeError):  # the loop has ended: nobody waits any more
            loop.call_soon_threadsafe(self._settle, deliver)

    def _settle(self, deliver: Callable[[], None]) -> None:
        self._slots.release()
        deliver()


def _deliver(outcome: asyncio.Future[ResultT], result: ResultT) -> None:
    if not outcome.done():
        outcome.set_result(result)


def _fail(outcome: asyncio.Future[ResultT], error: BaseException) -> None:
    if not outcome.done():
        outcome.set_exception(error)
