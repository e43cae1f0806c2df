"""What tests and benchmarks steer and see: the request log, injected faults, the shape of the line."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Kind = Literal["auth", "helix", "gql", "usher", "playlist", "media", "other"]

#: Log entries kept; the oldest go first. Counters go on.
LOG_ENTRIES = 200_000


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One request as the server saw it. ``bytes``: body bytes handed to the connection; secrets are masked."""

    kind: Kind
    method: str
    path: str
    query: str
    range: str | None
    status: int
    bytes: int
    ms: float
    host: str


class RequestLog:
    """Bounded log with counters by kind; safe to read from another thread."""

    def __init__(self, entries: int = LOG_ENTRIES) -> None:
        self._lock = threading.Lock()
        self._entries: deque[LogEntry] = deque(maxlen=entries)
        self._requests: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        self._parallel: Counter[str] = Counter()
        self._peak: Counter[str] = Counter()
        self.connections = 0

    def begin(self, kind: Kind) -> None:
        """A request of that kind has arrived."""
        with self._lock:
            self._parallel[kind] += 1
            self._peak[kind] = max(self._peak[kind], self._parallel[kind])

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
        """Requests, bytes and peak of parallel requests by kind; connections opened."""
        with self._lock:
            return {
                "requests": dict(self._requests),
                "bytes": dict(self._bytes),
                "peak_parallel": dict(self._peak),
                "connections": self.connections,
            }

    def clear(self) -> None:
        """Forget entries and counters (not what is under way)."""
        with self._lock:
            self._entries.clear()
            for counter in (self._requests, self._bytes, self._peak):
                counter.clear()
            self.connections = 0

    def as_json(self) -> list[dict[str, Any]]:
        """The entries as plain dictionaries."""
        return [asdict(entry) for entry in self.entries()]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fault:
    """One kind of misbehaviour, for ``times`` requests (0 = for ever) after ``skip`` that match.

    ``path``: regular expression searched in the path; ``query``: in the query string. ``status``, ``headers`` and
    ``body`` replace the answer's; a header ``Ratelimit-Reset: +2`` means two seconds from now. ``delay_s`` waits
    first; ``cut`` closes the connection after that many body bytes of the promised length; ``reset`` closes it
    without an answer; ``html`` answers 200 with a web page; ``ignore_range`` serves 200 and everything.
    """

    path: str = ""
    method: str = ""
    query: str = ""
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    delay_s: float = 0
    cut: int | None = None
    reset: bool = False
    html: bool = False
    ignore_range: bool = False
    times: int = 1
    skip: int = 0

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Fault:
        """A fault from ``{"match": {...}, "action": {...}, "times": n, "skip": n}``.

        Raises :class:`ValueError` or :class:`TypeError` for unknown keys or bad values.
        """
        action = dict(document.get("action", {}))
        body = action.get("body")
        if body is not None:
            action["body"] = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        match = document.get("match", {})
        unknown = set(document) - {"match", "action", "times", "skip"} | set(match) - {"path", "method", "query"}
        if unknown:
            raise ValueError(f"unknown keys: {', '.join(sorted(unknown))}")
        times, skip = int(document.get("times", 1)), int(document.get("skip", 0))
        return cls(**match, **action, times=times, skip=skip)

    def __post_init__(self) -> None:
        for pattern in (self.path, self.query):
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is no regular expression: {error}") from None

    def matches(self, method: str, path: str, query: str) -> bool:
        """True if the fault is meant for such a request."""
        wanted = not self.method or self.method.upper() == method
        return wanted and re.search(self.path, path) is not None and re.search(self.query, query) is not None


class FaultBook:
    """The faults waiting to happen, in the order they were written."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._left: dict[int, list[int]] = {}  # id of the fault -> [skips left, times left]

    def add(self, fault: Fault) -> None:
        """Write a fault down."""
        with self._lock:
            self._faults.append(fault)
            self._left[id(fault)] = [fault.skip, fault.times]

    def clear(self) -> None:
        """Back to good behaviour."""
        with self._lock:
            self._faults.clear()
            self._left.clear()

    def take(self, method: str, path: str, query: str) -> Fault | None:
        """The fault that happens to this request, used up by one."""
        with self._lock:
            for fault in self._faults:
                if fault.matches(method, path, query) and self._use(fault):
                    return fault
        return None

    def _use(self, fault: Fault) -> bool:
        left = self._left[id(fault)]
        if left[0] > 0:
            left[0] -= 1
            return False
        if fault.times and left[1] <= 0:
            return False
        left[1] -= 1
        return True


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
