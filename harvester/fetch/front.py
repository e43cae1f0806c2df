"""The front of a resource, grown by range requests that never fetch a byte twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harvester.errors import FetchError, MediaError
from harvester.model import ByteRange
from harvester.stats import RequestKind
from harvester.text import is_page

if TYPE_CHECKING:
    from harvester.transport import Transport

_RANGE_NOT_SATISFIABLE = 416


class Front:
    """The first bytes of ``url``, or of the part ``window`` of it; offsets count from the window's start.

    ``complete``: all of it is held. ``limit_bytes``: never hold more than that.
    """

    def __init__(
        self, transport: Transport, url: str, *, window: ByteRange | None = None, limit_bytes: int
    ) -> None:
        self._transport = transport
        self._url = url
        self._start = window.start if window else 0
        self._length = window.length if window else None
        self._limit_bytes = limit_bytes
        self._held = b""
        self.complete = False

    def __len__(self) -> int:
        return len(self._held)

    @property
    def data(self) -> bytes:
        """The bytes held."""
        return self._held

    @property
    def length(self) -> int | None:
        """Bytes of the whole; None as long as nobody told."""
        return self._length

    async def grow(self, total_bytes: int) -> None:
        """Hold the first ``total_bytes``, or all there are.

        Raises :class:`MediaError` (``too-large``) beyond the limit, :class:`FetchError` when bytes do not come.
        """
        held = len(self._held)
        wanted = total_bytes if self._length is None else min(total_bytes, self._length)
        if wanted > self._limit_bytes:
            if held >= self._limit_bytes:
                raise MediaError(f"nothing usable in the first {self._limit_bytes} bytes", reason="too-large")
            wanted = self._limit_bytes
        if self.complete or wanted <= held:
            return
        await self._fetch(ByteRange(self._start + held, wanted - held))

    async def _fetch(self, missing: ByteRange) -> None:
        try:
            response = await self._transport.get(
                self._url,
                kind=RequestKind.MEDIA,
                byte_range=missing,
                limit_bytes=missing.length,
                is_foreign=None if self._held else is_page,
            )
        except FetchError as error:
            if error.status == _RANGE_NOT_SATISFIABLE and self._held:
                self.complete = True  # a server that never told the length: what is held was all
                return
            raise
        self._held += response.body
        if response.total_bytes is not None:
            rest = max(response.total_bytes - self._start, 0)
            self._length = rest if self._length is None else min(self._length, rest)
        ended = len(response.body) < missing.length
        self.complete = ended or (self._length is not None and len(self._held) >= self._length)
