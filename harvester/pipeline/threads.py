"""The threads of a run: those that decode, measure and encode, and those for what is done beside that."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

#: Threads for what is done beside decoding: storyboards, playlists, the ledger. As quick as the six of asyncio, of
#: which each had a storyboard and a heap of its own: at 1080p a run takes 387 to 396 MB, and took 416 to 420.
BESIDE = 2


def beside() -> ThreadPoolExecutor:
    """The threads that :func:`asyncio.to_thread` is to use."""
    return ThreadPoolExecutor(BESIDE, thread_name_prefix="beside")


class DecodeThreads(ThreadPoolExecutor):
    """A pool that ends while the event loop goes on, which hears signals meanwhile: what is handed over after its
    end is cancelled, like what was waiting for it."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        try:
            return super().submit(fn, *args, **kwargs)
        except RuntimeError:
            late: Future[T] = Future()
            late.cancel()
            late.set_running_or_notify_cancel()
            return late
