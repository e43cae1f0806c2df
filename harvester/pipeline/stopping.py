"""Why and how a run ends before its work does: a signal, or one of its bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from harvester.clock import Clock
from harvester.config import Run
from harvester.stats import Traffic

T = TypeVar("T")


class Stopped(Exception):
    """Raised inside a run where it waits for something that a stop made pointless."""


class Stop:
    """Asks a run to end. ``cut``: what is under way is dropped; else it is finished first."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()
        self._cut = asyncio.Event()
        self.reason = ""
        self.signal_number: int | None = None

    def ask(self, reason: str, *, cut: bool, signal_number: int | None = None) -> None:
        """Begin to end; the first reason counts, a later cut still cuts."""
        if not self._asked.is_set():
            self.reason = reason
            self.signal_number = signal_number
        elif signal_number is not None:
            self.reason, self.signal_number = reason, signal_number
        self._asked.set()
        if cut:
            self._cut.set()

    @property
    def asked(self) -> bool:
        return self._asked.is_set()

    @property
    def cut(self) -> bool:
        return self._cut.is_set()

    async def or_cut(self, awaitable: Awaitable[T]) -> T:
        """The awaitable's result; raises Stopped (and cancels it) as soon as a cut is asked."""
        work = asyncio.ensure_future(awaitable)
        cut = asyncio.ensure_future(self._cut.wait())
        try:
            await asyncio.wait({work, cut}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            raise Stopped
        finally:
            cut.cancel()
            if not work.done():
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)


class Bounds:
    """Checks a run's bounds and asks it to stop when one is reached."""

    def __init__(self, run: Run, clock: Clock, traffic: Traffic, stop: Stop, kept: Callable[[], int]) -> None:
        self._run = run
        self._clock = clock
        self._traffic = traffic
        self._stop = stop
        self._kept = kept

    def check(self) -> bool:
        """True if nothing more may be begun."""
        run = self._run
        if self.full():
            return True
        if run.max_time_s and self._clock.elapsed_s() >= run.max_time_s:
            self._stop.ask("max_time", cut=True)
        elif run.max_bytes and sum(self._traffic.bytes.values()) >= run.max_bytes:
            self._stop.ask("max_bytes", cut=False)
        elif run.max_requests and sum(self._traffic.requests.values()) >= run.max_requests:
            self._stop.ask("max_requests", cut=False)
        return self._stop.asked

    def full(self) -> bool:
        """True if the run has kept as many frames as it may."""
        if self._run.max_frames and self._kept() >= self._run.max_frames:
            self._stop.ask("max_frames", cut=True)
            return True
        return False

    async def watch_time(self) -> None:
        """Ask for a stop when the time is over, whatever the run waits for then."""
        if self._run.max_time_s:
            await asyncio.sleep(max(0.0, self._run.max_time_s - self._clock.elapsed_s()))
            self._stop.ask("max_time", cut=True)
