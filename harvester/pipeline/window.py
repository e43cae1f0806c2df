"""How far work may run ahead of decisions: a bound in targets and, by the largest picture met, in bytes.

Categories share the window, each through a *lane* of its own. A free slot goes to the lane that is filled least,
so that a run which ends early has filled all categories evenly. If it may keep only so many frames, what those
need that are being listed meanwhile is left for them.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from enum import Enum
from types import TracebackType
from typing import Self

#: Bytes of a decoded 1080p 4:2:0 picture: what a target is assumed to hold until a larger picture is met.
PICTURE_BYTES = 1920 * 1080 * 3 // 2

#: Targets begun besides as many as frames are needed: a duplicate or two costs no extra round trip.
SPARE_TARGETS = 2


class Wants(Enum):
    """What a lane wants. ``LATER``: nobody knows yet; it is being listed."""

    LATER = "later"
    MORE = "more"
    NOTHING = "nothing"


class Window:
    """Slots for targets that are being fetched, decoded, or wait for their turn to be decided.

    ``frames``, ``n_bytes``: its bounds; ``frames_left``: frames that the run may still keep.
    """

    def __init__(self, frames: int, n_bytes: int, frames_left: Callable[[], float] = lambda: math.inf) -> None:
        self._frames = frames
        self._bytes = n_bytes
        self._frames_left = frames_left
        self._largest = PICTURE_BYTES
        self._held = 0
        self._lanes: list[Lane] = []

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

    def lane(self, filled: Callable[[], float]) -> Lane:
        """A new lane, open while its ``with`` block runs. ``filled``: how much it has of what it wants."""
        return Lane(self, filled)

    def open(self, lane: Lane) -> None:
        self._lanes.append(lane)

    def close(self, lane: Lane) -> None:
        self._lanes.remove(lane)
        self.admit()

    def release(self) -> None:
        """Give a slot back."""
        self._held -= 1
        self.admit()

    def admit(self) -> None:
        """Give free slots to the lane that is filled least; to no other, as long as that one wants more."""
        while self._held < self.slots:
            wanting = [lane for lane in self._lanes if lane.wants is Wants.MORE]
            neediest = min(wanting, key=Lane.filled, default=None)
            if neediest is None or not self._is_room_for(neediest) or not neediest.enter():
                return
            self._held += 1

    def _is_room_for(self, neediest: Lane) -> bool:
        """True if the frames that may still be kept suffice for one more of that lane, beside what is under way
        and what brings those up to it that come later; also if there are none: who is let in then ends the run."""
        left = self._frames_left()
        if left == math.inf or left <= 0:
            return True
        level = neediest.filled() + 1
        later = sum(max(0, level - lane.filled()) for lane in self._lanes if lane.wants is Wants.LATER)
        return self._held + later < left + SPARE_TARGETS


class Lane:
    """One category's way into the window.

    From its first :meth:`acquire` on it wants slots, one after the other, until it says that it rests. Between two
    of them it must not wait for anything: others that are filled more would wait with it.
    """

    def __init__(self, window: Window, filled: Callable[[], float]) -> None:
        self._window = window
        self._filled = filled
        self._turn: asyncio.Future[None] | None = None
        self.wants = Wants.LATER

    def __enter__(self) -> Self:
        self._window.open(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._window.close(self)

    def filled(self) -> float:
        """How much it has of what it wants."""
        return self._filled()

    def enter(self) -> bool:
        """Take the slot that is offered; False if it does not ask for one at this moment."""
        turn, self._turn = self._turn, None
        if turn is None:
            return False
        turn.set_result(None)
        return True

    async def acquire(self) -> None:
        """Take a slot as soon as there is one and no lane that is filled less wants it."""
        turn = self._turn = asyncio.get_running_loop().create_future()
        self.wants = Wants.MORE
        self._window.admit()
        try:
            await turn
        except asyncio.CancelledError:
            self._turn = None
            if not turn.cancelled():  # the slot had just been given
                self._window.release()
            raise

    def rest(self) -> None:
        """Want nothing until the next :meth:`acquire`."""
        self.wants = Wants.NOTHING
        self._window.admit()
