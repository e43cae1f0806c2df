"""Counters and timers of a run; they add with ``+`` and may be fed from several threads."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum


class RequestKind(StrEnum):
    """What a request was for. ``media``: segment heads, init sections, clip indexes and clip ranges.

    ``storyboard``: the file that lists a VOD's seek previews, and their sheets.
    """

    AUTH = "auth"
    HELIX = "helix"
    GQL = "gql"
    USHER = "usher"
    PLAYLIST = "playlist"
    MEDIA = "media"
    STORYBOARD = "storyboard"


class Traffic:
    """Requests sent and body bytes received, by kind. Thread-safe: three HTTP stacks count here.

    ``grown``: called after each count, in the thread that counts.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.grown: Callable[[], None] | None = None
        self.requests: Counter[RequestKind] = Counter()
        self.bytes: Counter[RequestKind] = Counter()

    def sent(self, kind: RequestKind) -> None:
        """Count one request, retries included, when it is sent."""
        with self._lock:
            self.requests[kind] += 1
        self._tell()

    def received(self, kind: RequestKind, n_bytes: int) -> None:
        """Count ``n_bytes`` of a body, complete or not."""
        with self._lock:
            self.bytes[kind] += n_bytes
        self._tell()

    def _tell(self) -> None:
        if (grown := self.grown) is not None:
            grown()

    def __add__(self, other: Traffic) -> Traffic:
        total = Traffic()
        total.requests = self.requests + other.requests
        total.bytes = self.bytes + other.bytes
        return total


#: Stages from the end of the flow to its beginning: what waits at one holds up all before it.
_BACKWARDS = ("publish", "encode", "measure", "decode", "network", "open", "list")
#: Whose workers a stage needs: pictures are encoded by the threads that decode.
_WORKERS = {"encode": "decode", "measure": "decode"}
#: What holds a run up while nothing waits and nothing works that is measured: its start and its end.
OTHER = "other"


class Wait:
    """One target's wait for a stage: ``with`` it, or :meth:`begin` and :meth:`end` it, from any thread.

    To end it twice, or before it began, changes nothing: work that begins ends it, and who gives up.
    """

    def __init__(self, times: StageTimes, stage: str) -> None:
        self._times = times
        self._stage = stage
        self._begun = False

    def begin(self) -> Wait:
        """From now on the target waits."""
        self._begun = True
        self._times.enter(self._stage)
        return self

    def end(self) -> None:
        """Its turn has come, or it is given up."""
        if self._begun:
            self._begun = False
            self._times.leave(self._stage)

    __enter__ = begin

    def __exit__(self, *_: object) -> None:
        self.end()


class StageTimes:
    """Where a run's time goes: who is busy, who waits for whom, and which stage holds the others up.

    ``busy_s``: seconds of work by stage, summed over threads; ``calls``: how often. ``wait_s``: seconds that
    targets waited for a stage, summed over targets: by the run's seconds, it is the mean length of that queue.
    ``held_up_s``: seconds of the run by the stage that held it up: at each moment the last one in the flow that
    something waits for, since all before it can but fill its queue. Thread-safe; a change costs a microsecond.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.busy_s: dict[str, float] = defaultdict(float)
        self.wait_s: dict[str, float] = defaultdict(float)
        self.held_up_s: dict[str, float] = defaultdict(float)
        self.calls: Counter[str] = Counter()
        self._waiting: Counter[str] = Counter()
        self._working: Counter[str] = Counter()
        self._waiting_since_s: dict[str, float] = {}  # by stage: when their number last changed
        self._holding = OTHER
        self._holding_since_s = time.perf_counter()

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the time spent inside the ``with`` block to ``stage``."""
        start = time.perf_counter()
        with self._lock:
            self.calls[stage] += 1
            self._change(self._working, stage, 1)
        try:
            yield
        finally:
            with self._lock:
                self._change(self._working, stage, -1)
                self.busy_s[stage] += time.perf_counter() - start

    def waiting(self, stage: str) -> Wait:
        """A target's wait for ``stage``, not yet begun."""
        return Wait(self, stage)

    def enter(self, stage: str) -> None:
        """One target more waits for ``stage``."""
        with self._lock:
            self._wait(stage, 1)

    def leave(self, stage: str) -> None:
        """One target fewer waits for ``stage``."""
        with self._lock:
            self._wait(stage, -1)

    def _wait(self, stage: str, by: int) -> None:
        targets = self._waiting[stage]
        now_s = self._change(self._waiting, stage, by)
        if targets:
            self.wait_s[stage] += targets * (now_s - self._waiting_since_s[stage])
        self._waiting_since_s[stage] = now_s

    def _change(self, counts: Counter[str], stage: str, by: int) -> float:
        """Count, and book what held the run up if that may be another now; the time (s)."""
        now_s = time.perf_counter()
        before = counts[stage]
        counts[stage] = before + by
        if not before or not before + by:
            self.held_up_s[self._holding] += now_s - self._holding_since_s
            self._holding, self._holding_since_s = self._holder(), now_s
        return now_s

    def _holder(self) -> str:
        for counts in (self._waiting, self._working):
            for stage in _BACKWARDS:
                if counts[stage]:
                    return _WORKERS.get(stage, stage)
        return OTHER

    def __add__(self, other: StageTimes) -> StageTimes:
        total = StageTimes()
        for times in (self, other):
            for name in ("busy_s", "wait_s", "held_up_s"):
                sums = getattr(total, name)
                for stage, seconds in getattr(times, name).items():
                    sums[stage] += seconds
        total.calls = self.calls + other.calls
        return total
