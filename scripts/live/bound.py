"""The bound on requests: no request beyond it leaves, whichever of the three HTTP stacks wants to send it."""

from __future__ import annotations

from harvester.errors import FetchError
from harvester.stats import RequestKind, Traffic


class BoundedTraffic(Traffic):
    """Counts a run's requests and refuses the one after ``most``. Every stack counts just before it sends."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    @property
    def total(self) -> int:
        """Requests sent so far."""
        return self.requests.total()

    def sent(self, kind: RequestKind) -> None:
        """Count one request. Raises :class:`FetchError` ``request-bound`` in place of the one too many."""
        if self.total >= self.most:
            raise FetchError(
                f"the {self.most} requests of a check are used up", reason="request-bound", retryable=False
            )
        super().sent(kind)
