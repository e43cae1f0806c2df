"""The threads of a run that decode, measure and encode."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


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
