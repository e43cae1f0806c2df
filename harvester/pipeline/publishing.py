"""The one committer: decisions in the order they were made, published in batches."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from harvester.pipeline.sinks import Decision, Sink
from harvester.stats import StageTimes, Wait

#: A batch is published when it holds this many frames ...
BATCH_FRAMES = 64
#: ... or this many outcomes of any kind ...
BATCH_OUTCOMES = 512
#: ... or is this old (s): what a kill can cost (invariants §1).
BATCH_AGE_S = 1.0
#: Decisions that may wait for the committer; then deciding waits. A file is some 0.2 MB.
QUEUE_DECISIONS = 128
#: Where decisions carry pixels (6 MB at 1080p) in place of files: a batch, and as many that wait.
PIXEL_FRAMES = 4


@dataclass(frozen=True, slots=True, eq=False)
class _Marker:
    """Everything before it is durable when it is reached; then ``action`` runs and ``reached`` is set."""

    action: Callable[[], None]
    reached: asyncio.Event


class Publisher:
    """Writes decisions through a sink, in one thread of its own."""

    def __init__(self, sink: Sink, times: StageTimes) -> None:
        self._sink = sink
        self._times = times
        self._batch_frames = PIXEL_FRAMES if sink.pixels else BATCH_FRAMES
        self._queue: asyncio.Queue[asyncio.Future[Decision] | _Marker | None] = asyncio.Queue(
            PIXEL_FRAMES if sink.pixels else QUEUE_DECISIONS
        )
        self._collected: deque[Wait] = deque()  # of the decisions that are in no batch yet, in order
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="publish")

    async def put(self, decision: asyncio.Future[Decision]) -> None:
        """Hand over the next decision; its picture may still be being encoded."""
        self._collected.append(self._times.waiting("batch").begin())
        with self._times.waiting("publish"):
            await self._queue.put(decision)

    async def after_all(self, action: Callable[[], None]) -> None:
        """Run ``action`` once everything handed over so far is durable, and wait for it."""
        marker = _Marker(action, asyncio.Event())
        await self._queue.put(marker)
        await marker.reached.wait()

    async def finish(self) -> None:
        """No more decisions will come."""
        await self._queue.put(None)

    async def run(self) -> None:
        """Publish until finished. Raises what the sink raises (disk full, no permission)."""
        try:
            while await self._batch():
                pass
            await self._in_thread(self._sink.finish)
        finally:
            self._thread.shutdown(wait=True)

    async def _batch(self) -> bool:
        """Collect and publish one batch; False when there will be no other."""
        item = await self._queue.get()
        opened = time.monotonic()
        batch: list[Decision] = []
        frames = 0
        while isinstance(item, asyncio.Future):
            decision = await item
            batch.append(decision)
            frames += decision.frame is not None
            if frames >= self._batch_frames or len(batch) >= BATCH_OUTCOMES:
                break
            try:
                item = await self._next(opened + BATCH_AGE_S - time.monotonic())
            except TimeoutError:
                break
        await self._publish(batch)
        if isinstance(item, _Marker):
            await self._in_thread(item.action)
            item.reached.set()
        return item is not None

    async def _next(self, within_s: float) -> asyncio.Future[Decision] | _Marker | None:
        """What comes next, if it does within that time. Raises TimeoutError."""
        if within_s <= 0 or self._queue.empty():
            return await asyncio.wait_for(self._queue.get(), max(0.0, within_s))
        return self._queue.get_nowait()

    async def _publish(self, batch: list[Decision]) -> None:
        if batch:
            for _ in batch:
                self._collected.popleft().end()
            with self._times.timed("publish"):
                await self._in_thread(lambda: self._sink.publish(batch))

    async def _in_thread(self, action: Callable[[], None]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, action)
