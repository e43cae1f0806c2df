"""What the access unit search must know about a NAL codec; H.264 and HEVC each implement :class:`Syntax`."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import chain
from typing import TYPE_CHECKING, Protocol

from harvester.errors import MediaError
from harvester.media.bitstream import START_CODE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from harvester.model import StreamInfo


#: A NAL unit, or a view of it in its stream: a picture is copied once, when its units are put together.
Nal = bytes | memoryview

_LONG_START_CODE = b"\x00" + START_CODE


class Role(Enum):
    """What a NAL unit does for the order of access units (H.264 §7.4.1.2.3, HEVC §7.4.2.4.4)."""

    SLICE = auto()  # a piece of the base picture
    PARAMETERS = auto()  # VPS, SPS, PPS: behind a slice it opens the next access unit
    SEI = auto()  # prefix SEI: behind a slice it opens the next access unit
    DELIMITER = auto()  # anything else that opens the next access unit behind a slice
    END = auto()  # end of sequence or stream: whatever follows is another access unit
    NEUTRAL = auto()  # filler, suffix SEI, other layers: no say, and not kept


#: Roles that, behind a slice, open the next access unit.
OPENING = frozenset({Role.PARAMETERS, Role.SEI, Role.DELIMITER})


@dataclass(frozen=True, slots=True)
class Slice:
    """The few slice header fields that tell pictures apart."""

    nal_type: int
    first: bool  # it opens its picture
    intra: bool
    pps_id: int
    identity: tuple[int, ...]  # equal in all slices of one picture
    field: int  # 0 frame, 1 top field, 2 bottom field
    frame_num: int  # -1 where the codec has none
    bytes_read: int  # of the NAL unit, escapes included


@dataclass(frozen=True, slots=True)
class RandomAccess:
    """A picture that decodes without any other. ``leading``: pictures shown before it may follow it."""

    stream: StreamInfo
    data: bytes = field(repr=False)  # Annex B, parameter sets in front
    leading: bool


class Syntax(Protocol):
    """One codec's grammar together with the parameter sets learnt so far."""

    header_bytes: int

    def role(self, header: bytes) -> Role:
        """Role of the NAL unit that begins with ``header`` (``header_bytes`` of it)."""

    def learn(self, nal: bytes) -> None:
        """Remember a parameter set; a later one of the same id replaces it."""

    def read_slice(self, head: bytes) -> Slice:
        """Read the front of a slice. Raises HeaderEnds when ``head`` is too short."""

    def random_access(self, slices: Sequence[Slice], nals: Sequence[Nal]) -> RandomAccess | None:
        """The picture of ``slices``, whose SEI and slice NAL units are ``nals``; None if it needs others."""


def annex_b(nals: Iterable[Nal]) -> bytes:
    """NAL units behind four-byte start codes (H.264 Annex B)."""
    return b"".join(chain.from_iterable((_LONG_START_CODE, nal) for nal in nals))


def sample_picture(syntax: Syntax, nals: Iterable[bytes]) -> RandomAccess | None:
    """The random-access picture that one MP4 sample holds; None if it is none.

    A sample is a whole access unit by definition, so the only boundary to find is behind its last slice.
    """
    slices: list[Slice] = []
    kept: list[bytes] = []
    for nal in nals:
        if len(nal) < syntax.header_bytes:
            raise MediaError("an empty NAL unit")
        role = syntax.role(nal[: syntax.header_bytes])
        if role is Role.SLICE:
            slices.append(syntax.read_slice(nal))
            kept.append(nal)
        elif role is Role.PARAMETERS and not slices:
            syntax.learn(nal)
        elif role is Role.SEI and not slices:
            kept.append(nal)
    return syntax.random_access(slices, kept) if slices else None
