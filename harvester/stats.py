"""Counters and timers of a run; they add with ``+`` and may be fed from several threads."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum


class RequestKind(StrEnum):
    """What a request was for. ``media``: segment heads, init sections, clip indexes and clip ranges."""

    AUTH = "auth"
    HELIX = "helix"
    GQL = "gql"
    USHER = "usher"
    PLAYLIST = "playlist"
    MEDIA = "media"


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


class StageTimes:
    """Busy seconds and calls by stage (fetch, decode, encode, publish ...), summed over threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.busy_s: dict[str, float] = defaultdict(float)
        self.wait_s: dict[str, float] = defaultdict(float)
        self.calls: Counter[str] = Counter()

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the time spent inside the ``with`` block to ``stage``."""
        with self._lock:
            self.calls[stage] += 1
        with self._adding(self.busy_s, stage):
            yield

    @contextmanager
    def waiting(self, stage: str) -> Iterator[None]:
        """Add the time spent waiting inside the ``with`` block (of many tasks at once) to ``stage``."""
        with self._adding(self.wait_s, stage):
            yield

    @contextmanager
    def _adding(self, sums: dict[str, float], stage: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            elapsed = time.perf_counter() - start
            with self._lock:
                sums[stage] += elapsed

    def __add__(self, other: StageTimes) -> StageTimes:
        total = StageTimes()
        for times in (self, other):
            for stage, seconds in times.busy_s.items():
                total.busy_s[stage] += seconds
            for stage, seconds in times.wait_s.items():
                total.wait_s[stage] += seconds
        total.calls = self.calls + other.calls
        return total
