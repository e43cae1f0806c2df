"""The Python API: frames without files."""

from __future__ import annotations

import asyncio
import os
import queue
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial

from harvester.clock import Clock
from harvester.config import Config, credentials, load
from harvester.model import Frame

#: Frames that may wait for the consumer (6 MB each at 1080p); then the pipeline waits.
QUEUE_FRAMES = 8


def frames(categories: str | Sequence[str], *, n: int, config: Config | None = None) -> Iterator[Frame]:
    """Harvest up to ``n`` frames of each category; nothing is written to disk.

    ``categories``: names or ids as for ``harvester run --category``. ``config``: None = what the command line
    would take (``config.toml`` of the working directory, environment). Credentials come from the environment.
    Each :class:`~harvester.model.Frame` has its picture in ``image`` (RGB, uint8, (H, W, 3)); its ``sha256`` is
    empty. Closing the iterator stops fetching. Raises :class:`~harvester.errors.HarvesterError`.
    """
    wanted = (categories,) if isinstance(categories, str) else tuple(categories)
    settings = load(environ=os.environ).config if config is None else config
    stream = _FrameStream(settings, wanted, n)
    try:
        yield from stream
    finally:
        stream.close()


class _FrameStream:
    """Runs the pipeline in a thread of its own and hands its frames over a bounded queue."""

    def __init__(self, config: Config, categories: tuple[str, ...], n: int) -> None:
        self._config = config
        self._categories = categories
        self._n = n
        self._queue: queue.Queue[Frame | BaseException | None] = queue.Queue(QUEUE_FRAMES)
        self._closed = threading.Event()
        self._ask_stop: Callable[[], object] | None = None
        self._secrets = credentials(os.environ)
        self._thread = threading.Thread(target=self._run, name="harvest", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Frame]:
        while (item := self._queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item

    def close(self) -> None:
        """Stop fetching and wait until the pipeline has ended."""
        self._closed.set()
        if self._ask_stop is not None:
            with suppress(RuntimeError):  # the harvest has ended by itself, and its loop with it
                self._ask_stop()
        while self._thread.is_alive():
            self._drain()
            self._thread.join(timeout=0.05)

    def _drain(self) -> None:
        try:
            while True:
                self._queue.get_nowait()
        except queue.Empty:
            pass

    def _deliver(self, item: Frame | BaseException | None) -> None:
        while not self._closed.is_set():
            try:
                self._queue.put(item, timeout=0.05)
            except queue.Full:
                continue
            return

    def _run(self) -> None:
        try:
            asyncio.run(self._harvest())
        except BaseException as error:  # noqa: BLE001 - handed to the consumer, who raises it
            self._deliver(error)
        else:
            self._deliver(None)

    async def _harvest(self) -> None:
        from harvester.pipeline.admission import admitted
        from harvester.pipeline.harvest import Harvest, Store
        from harvester.pipeline.listing import Request
        from harvester.pipeline.outside import reach
        from harvester.pipeline.sinks import FrameSink
        from harvester.store.ledger import Ledger

        clock = Clock(self._config.run.start)
        ledger = Ledger(None)
        store = Store(ledger, FrameSink(ledger, self._config, self._deliver))
        request = Request(categories=self._categories, frames=self._n)
        async with reach(self._config, self._secrets, clock) as outside:
            harvest = Harvest(self._config, outside, uuid.uuid4().hex)
            self._ask_stop = partial(
                asyncio.get_running_loop().call_soon_threadsafe, partial(harvest.stop.ask, "closed")
            )
            if not self._closed.is_set():
                found = await harvest.discover(request)
                categories, _ = admitted(found, self._config.discover, None)
                await harvest.run(store, categories, request)
        for error in harvest.result.errors:
            raise error
