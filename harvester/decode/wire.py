"""What a run and a GPU's worker say to each other, one question and one answer at a time on each lane.

A lane is a socket for these records and a piece of shared memory for what is large: the access unit on its way in,
the NV12 lines of a kept picture on their way out. The memory has no name (memfd): nothing is left of it when its
two processes are gone, however they went.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harvester.model import Measurement, StreamInfo


@dataclass(frozen=True, slots=True)
class Decode:
    """Decode the access unit of ``n_bytes`` in the lane's memory, measure its picture, hold it.

    ``at_once``: put it into the lane's memory instead of holding it.
    """

    stream: StreamInfo
    n_bytes: int
    at_once: bool = False
    released: tuple[int, ...] = ()  # handles of pictures that nobody wants any more


@dataclass(frozen=True, slots=True)
class Give:
    """Put the picture of ``handle`` into the lane's memory."""

    handle: int
    released: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Given:
    """A picture's NV12 lines are in the lane's memory: ``shape``, and bytes of a sample."""

    shape: tuple[int, int]
    itemsize: int


@dataclass(frozen=True, slots=True)
class Measured:
    """``handle``: under which the picture is held; None: there is no room for it, or it was ``given`` at once."""

    handle: int | None
    measurement: Measurement
    given: Given | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """No picture. ``kind``: corrupt (the device gave none that can be believed) | refused (it does not decode such
    a stream) | device (package or driver raised)."""

    kind: Literal["corrupt", "refused", "device"]
    why: str


@dataclass(frozen=True, slots=True)
class Hello:
    """The worker's first word. ``problem``: why it cannot work, "" if it can. ``note``: what a user must know."""

    problem: str = ""
    note: str = ""


Question = Decode | Give
Answer = Measured | Given | Failed
