"""What all HTTP clients of a run share, whichever library they use: a cap on bytes, and the breakers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Self

from harvester.config import Fetch
from harvester.transport.breaker import Breakers


class ByteRate:
    """At most ``bytes_per_s`` on the long run, over all who share it; 0 = no cap. Thread-safe.

    What has arrived is paid for afterwards, piece by piece: each payer waits until everything paid for before it,
    and its own piece, would have come at that rate. So turns are taken in the order of arrival and nobody starves;
    idle time is not saved up.
    """

    def __init__(self, bytes_per_s: float, now_s: Callable[[], float] = time.monotonic) -> None:
        self._bytes_per_s = bytes_per_s
        self._now_s = now_s
        self._lock = threading.Lock()
        self._free_s = float("-inf")  # when all that has come is paid for

    @property
    def capped(self) -> bool:
        """True if there is a cap."""
        return self._bytes_per_s > 0

    def pay(self, n_bytes: int) -> float:
        """Seconds to wait before reading on, after ``n_bytes`` have come."""
        if not self.capped:
            return 0.0
        with self._lock:
            now_s = self._now_s()
            self._free_s = max(now_s, self._free_s) + n_bytes / self._bytes_per_s
            return self._free_s - now_s


class SharedLimits:
    """One for a run, given to each of its clients; as built by default it limits nothing.

    ``pauses_s``: of the breakers, () = none ever opens; ``bytes_per_s``: 0 = no cap.
    """

    def __init__(self, pauses_s: Sequence[float] = (), bytes_per_s: float = 0) -> None:
        self.breakers = Breakers(pauses_s)
        self.byte_rate = ByteRate(bytes_per_s)

    @classmethod
    def of(cls, fetch: Fetch) -> Self:
        """As the configuration wants them."""
        return cls(fetch.outage_pauses_s, fetch.max_mbit_per_s * 1e6 / 8)
