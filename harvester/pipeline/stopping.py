"""Why and how a run ends before its work does: a signal, or one of its bounds."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from harvester.clock import Clock
from harvester.config import Run
from harvester.errors import MachineError
from harvester.stats import Traffic

T = TypeVar("T")

#: How often the disk is asked how much is free (s): on a network it takes milliseconds, and a run writes at most
#: some 100 MB in a second.
LOOK_S = 1.0
#: As disks count (bytes).
GB = 10**9

#: After a signal a run may take ten seconds to end (contract). So long it may still do what the next run would do
#: as well (s): the rest is contact sheet, card and report, 1 s with a million frames, 3 s on a busy machine.
PATIENCE_S = 3.0


class Stopped(Exception):
    """Raised inside a run where it waits for something that a stop made pointless."""


class Stop:
    """Asks a run to end. What is done and next in rank is still decided; what is under way is dropped."""

    def __init__(self) -> None:
        self._asked = False
        self._ending: asyncio.Future[None] | None = None  # done once a stop is asked
        self.reason = ""
        self.signal_number: int | None = None
        self._patient_until_s = math.inf  # the monotonic clock

    def ask(self, reason: str, *, signal_number: int | None = None) -> None:
        """Begin to end. The first reason counts, unless a signal follows."""
        if not self._asked or signal_number is not None:
            self.reason, self.signal_number = reason, signal_number
        if signal_number is not None:
            self._patient_until_s = min(self._patient_until_s, time.monotonic() + PATIENCE_S)
        self._asked = True
        if self._ending is not None and not self._ending.done():
            self._ending.set_result(None)

    @property
    def asked(self) -> bool:
        return self._asked

    def hurried(self) -> bool:
        """True once a signal has been waited for so long that what can be left to the next run is; thread-safe."""
        return time.monotonic() > self._patient_until_s

    def _when_asked(self) -> asyncio.Future[None]:
        if self._ending is None:
            self._ending = asyncio.get_running_loop().create_future()
            if self._asked:
                self._ending.set_result(None)
        return self._ending

    async def or_stopped(self, awaitable: Awaitable[T]) -> T:
        """The awaitable's result if it is there; else raises Stopped, and cancels it, once a stop is asked."""
        work = asyncio.ensure_future(awaitable)
        try:
            if not work.done():  # what is there costs no wait: so it is with most targets, several times each
                either: set[asyncio.Future[Any]] = {work, self._when_asked()}
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            raise Stopped
        finally:
            if not work.done():
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)


class Bounds:
    """Checks a run's bounds and asks it to stop when one is reached."""

    def __init__(
        self,
        run: Run,
        clock: Clock,
        traffic: Traffic,
        stop: Stop,
        kept: Callable[[], int],
        *,
        free_bytes: Callable[[], float] = lambda: math.inf,
    ) -> None:
        self._run = run
        self._free_bytes = free_bytes
        self._look_again_s = 0.0  # the monotonic clock
        self._clock = clock
        self._traffic = traffic
        self._stop = stop
        self._kept = kept

    def check(self) -> bool:
        """True if nothing more may be begun; asked before and after every target's work."""
        run = self._run
        if self.full():
            return True
        if run.max_time_s and self._clock.elapsed_s() >= run.max_time_s:
            self._stop.ask("max_time")
        elif reason := self._exhausted():
            self._stop.ask(reason)
        elif self._crowded():
            self._stop.ask("min_free_gb")
        return self._stop.asked

    def _crowded(self) -> bool:
        """True if the disk is as full as it may get; looks once in a while."""
        if not self._run.min_free_gb or time.monotonic() < self._look_again_s:
            return False
        self._look_again_s = time.monotonic() + LOOK_S
        return self._free_bytes() < self._run.min_free_gb * GB

    def full(self) -> bool:
        """True if the run has kept as many frames as it may."""
        if self._run.max_frames and self._kept() >= self._run.max_frames:
            self._stop.ask("max_frames")
            return True
        return False

    @property
    def frames_left(self) -> float:
        """Frames that the run may still keep; infinite without such a bound."""
        return max(0, self._run.max_frames - self._kept()) if self._run.max_frames else math.inf

    async def watch(self) -> None:
        """Ask for a stop when the time is over or the traffic used up, whatever the run waits for then.

        Traffic is looked at with every request and chunk: what is under way then is at most a chunk for each
        connection more than the bound, and not all that is planned ahead.
        """
        loop = asyncio.get_running_loop()

        def look() -> None:
            if not self._stop.asked and self._exhausted():
                loop.call_soon_threadsafe(self.check)

        self._traffic.grown = look
        try:
            left_s = self._run.max_time_s - self._clock.elapsed_s()
            await asyncio.sleep(max(0.0, left_s) if self._run.max_time_s else math.inf)
            self._stop.ask("max_time")
        finally:
            self._traffic.grown = None

    def _exhausted(self) -> str:
        """Which bound on traffic is reached; "" if none is."""
        run = self._run
        if run.max_bytes and sum(self._traffic.bytes.values()) >= run.max_bytes:
            return "max_bytes"
        if run.max_requests and sum(self._traffic.requests.values()) >= run.max_requests:
            return "max_requests"
        return ""


def require_room(run: Run, free_bytes: float) -> None:
    """Raise :class:`MachineError` if the disk has less free than a run shall leave: then it does not begin."""
    if free_bytes < run.min_free_gb * GB:
        raise MachineError(
            f"only {free_bytes / GB:.2f} GB are free where the dataset lies, and [run] min_free_gb is"
            f" {run.min_free_gb:g}: free some, or set it lower",
            reason="disk-full",
        )
