"""How far work may run ahead of decisions: a bound in targets and, by the largest picture met, in bytes."""

from __future__ import annotations

import asyncio

#: Bytes of a decoded 1080p 4:2:0 picture: what a target is assumed to hold until a larger picture is met.
PICTURE_BYTES = 1920 * 1080 * 3 // 2


class Window:
    """Slots for targets that are being fetched, decoded, or wait for their turn to be decided."""

    def __init__(self, frames: int, n_bytes: int) -> None:
        self._frames = frames
        self._bytes = n_bytes
        self._largest = PICTURE_BYTES
        self._held = 0
        self._changed = asyncio.Condition()

    @property
    def slots(self) -> int:
        """Slots there are now; at least one, so that a huge picture still passes."""
        return max(1, min(self._frames, self._bytes // self._largest))

    @property
    def held(self) -> int:
        """Slots taken."""
        return self._held

    def met(self, picture_bytes: int) -> None:
        """Take note of a decoded picture's size."""
        self._largest = max(self._largest, picture_bytes)

    async def acquire(self) -> None:
        """Take a slot as soon as there is one."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._held < self.slots)
            self._held += 1

    async def release(self) -> None:
        """Give a slot back."""
        async with self._changed:
            self._held -= 1
            self._changed.notify_all()
