"""What tests and benchmarks see and shape: the request log with its counters, and the line."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

Kind = Literal["auth", "helix", "gql", "usher", "playlist", "media", "storyboard", "other"]

#: Log entries kept; the oldest go first. Counters go on.
LOG_ENTRIES = 200_000


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One request as the server saw it. ``bytes``: body bytes handed to the connection; secrets are masked.

    ``ms``: time to answer; ``at_s``: when it came, in seconds since the log began; ``status`` 0: no answer.
    """

    kind: Kind
    method: str
    path: str
    query: str
    range: str | None
    status: int
    bytes: int
    ms: float
    host: str
    at_s: float = 0.0


class RequestLog:
    """Bounded log with counters by kind; safe to read from another thread. ``clock``: monotonic seconds."""

    def __init__(self, entries: int = LOG_ENTRIES, clock: Callable[[], float] = time.monotonic) -> None:
        self._lock = threading.Lock()
        self._clock = clock
        self._began_s = clock()
        self._entries: deque[LogEntry] = deque(maxlen=entries)
        self._requests: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        self._parallel: Counter[str] = Counter()
        self._peak: Counter[str] = Counter()
        self._recent: defaultdict[str, deque[float]] = defaultdict(deque)  # arrivals of the last second
        self._peak_per_s: Counter[str] = Counter()
        self._connections = 0
        self._peak_open = 0

    def begin(self, kind: Kind) -> float:
        """A request of that kind has arrived. Returns when (s since the log began)."""
        with self._lock:
            at_s = self._clock() - self._began_s
            self._parallel[kind] += 1
            self._peak[kind] = max(self._peak[kind], self._parallel[kind])
            recent = self._recent[kind]
            recent.append(at_s)
            while recent[0] <= at_s - 1:
                recent.popleft()
            self._peak_per_s[kind] = max(self._peak_per_s[kind], len(recent))
            return at_s

    def connected(self, now_open: int, *, new: bool) -> None:
        """So many connections are open while a request arrives, maybe on a new one."""
        with self._lock:
            self._connections += new
            self._peak_open = max(self._peak_open, now_open)

    def end(self, entry: LogEntry) -> None:
        """It has been answered."""
        with self._lock:
            self._parallel[entry.kind] -= 1
            self._entries.append(entry)
            self._requests[entry.kind] += 1
            self._bytes[entry.kind] += entry.bytes

    def entries(self, kind: Kind | None = None) -> list[LogEntry]:
        """The entries kept, oldest first, of one kind or of all."""
        with self._lock:
            return [entry for entry in self._entries if kind is None or entry.kind == kind]

    def stats(self) -> dict[str, Any]:
        """By kind: requests, bytes, most under way at once, most that came within any second.

        And connections: how many were opened, and how many were open at once at most.
        """
        with self._lock:
            return {
                "requests": dict(self._requests),
                "bytes": dict(self._bytes),
                "peak_parallel": dict(self._peak),
                "peak_per_s": dict(self._peak_per_s),
                "connections": self._connections,
                "peak_connections": self._peak_open,
            }

    def clear(self) -> None:
        """Forget entries and counters (not what is under way)."""
        with self._lock:
            self._entries.clear()
            for counter in (self._requests, self._bytes, self._peak, self._peak_per_s):
                counter.clear()
            self._recent.clear()
            self._connections = self._peak_open = 0

    def as_json(self) -> list[dict[str, Any]]:
        """The entries as plain dictionaries."""
        return [asdict(entry) for entry in self.entries()]


class Line:
    """A line with latency and bandwidth, shared by all connections. 0 = none of it.

    ``rtt_ms`` delays every answer once, and the first of a connection once more (its handshake); ``mbps`` is
    megabits a second over everything sent, first come first served.
    """

    def __init__(self, rtt_ms: float = 0, mbps: float = 0) -> None:
        self.rtt_s = rtt_ms / 1000
        self.bytes_per_s = mbps * 1e6 / 8
        self._free_at = 0.0

    async def travel(self, round_trips: int) -> None:
        """Wait for that many round trips."""
        if self.rtt_s:
            await asyncio.sleep(self.rtt_s * round_trips)

    async def carry(self, size: int) -> None:
        """Wait until ``size`` bytes have gone over the line."""
        if not self.bytes_per_s or not size:
            return
        now = time.monotonic()
        self._free_at = max(now, self._free_at) + size / self.bytes_per_s
        await asyncio.sleep(self._free_at - now)


def line_from(document: object) -> Line:
    """The line that ``{"rtt_ms": 40, "mbps": 20}`` tells, both or one. Raises ValueError for anything else."""
    if not isinstance(document, dict) or not document or set(document) - {"rtt_ms", "mbps"}:
        raise ValueError('{"rtt_ms": 40, "mbps": 20} or one of them is needed')
    for name, value in document.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not 0 <= value < math.inf:
            raise ValueError(f"{name} must be a number, 0 or more, got {value!r}")
    return Line(**document)
