"""An elementary stream (Annex B) cut into coded pictures, as far as its bytes go.

A picture is known to be whole only when something that cannot belong to it has begun: a delimiter, a parameter
set, an SEI message, the first slice of another picture. Two fields of one H.264 frame count as one picture.
Everything is decided by what lies before it, so that a longer head of the same stream gives the same pictures.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harvester.errors import MediaError
from harvester.media.bitstream import SLICE_PEEK_BYTES, START_CODE, HeaderEnds, start_codes
from harvester.media.h264 import H264Syntax
from harvester.media.hevc import HevcSyntax
from harvester.media.nal import OPENING, Role, Slice, Syntax
from harvester.model import Codec

if TYPE_CHECKING:
    from collections.abc import Iterator


#: NAL units of one stream that are looked at. 10 s at 120 frames a second in 16 slices have about 24,000.
MAX_UNITS = 65_536


def syntax_for(codec: Codec) -> Syntax:
    """A fresh grammar of ``codec``, knowing no parameter sets yet."""
    return H264Syntax() if codec is Codec.H264 else HevcSyntax()


@dataclass(frozen=True, slots=True)
class NalUnit:
    """Where a NAL unit lies in its stream: ``[begin, end)`` without start code and trailing zeros.

    ``closed``: its end was seen. ``next``: where the following start code stands, or the stream's length.
    """

    begin: int
    end: int
    next: int
    closed: bool

    @property
    def start_code(self) -> int:
        return self.begin - len(START_CODE)


def nal_units(stream: bytes, *, closed: bool) -> Iterator[NalUnit]:
    """NAL units of an Annex B byte stream in order; ``closed``: the stream's end also ends its last unit.

    Raises:
        MediaError: there are more than ``MAX_UNITS``.
    """
    places = start_codes(stream)
    place = next(places, None)
    for _ in range(MAX_UNITS):
        if place is None:
            return
        begin, place = place + len(START_CODE), next(places, None)
        end = stop = len(stream) if place is None else place
        if stream[end - 1] == 0:
            end = begin + len(stream[begin:stop].rstrip(b"\x00"))
        yield NalUnit(begin, end, stop, closed or place is not None)
    raise MediaError(f"more than {MAX_UNITS} NAL units in one stream")


@dataclass(slots=True)
class CodedPicture:
    """One picture of the stream, growing while its slices come. Offsets count bytes of the stream.

    ``begin``: start code that opens its access unit. ``next_begin``: the one that opens the next access unit.
    ``proof``: bytes of the stream after which it is known to be whole. ``whole``: that point was reached.
    """

    begin: int
    slices: list[Slice] = field(default_factory=list)
    fields: set[int] = field(default_factory=set)  # of its slices: 0 frame, 1 top field, 2 bottom field
    nals: list[tuple[int, int]] = field(default_factory=list)  # SEI and slices, in order
    next_begin: int | None = None
    proof: int = 0
    whole: bool = False
    after_end: bool = False  # an end of sequence was seen behind its slices

    def bytes_of(self, stream: bytes) -> list[memoryview]:
        """Its SEI and slice NAL units, where they lie."""
        view = memoryview(stream)
        return [view[begin:end] for begin, end in self.nals]


class PictureScan:
    """Iterates over the pictures of ``stream``; the last is not ``whole`` unless the stream is ``closed``.

    ``syntax`` holds, when a picture comes out, the parameter sets in force for it.
    """

    def __init__(self, stream: bytes, syntax: Syntax, *, closed: bool) -> None:
        self._stream = stream
        self._syntax = syntax
        self._closed = closed
        self._picture = CodedPicture(max(stream.find(START_CODE), 0))

    def __iter__(self) -> Iterator[CodedPicture]:
        for nal in nal_units(self._stream, closed=self._closed):
            header = self._stream[nal.begin : min(nal.end, nal.begin + self._syntax.header_bytes)]
            if len(header) < self._syntax.header_bytes:
                continue
            role = self._syntax.role(header)
            piece = self._slice_of(nal) if role is Role.SLICE else None
            if role is Role.SLICE and piece is None:
                break
            if self._opens_next(role, piece):
                yield self._close(nal, piece)
            self._take(nal, role, piece)
        if self._picture.slices:
            yield self._close_at_end()

    def _slice_of(self, nal: NalUnit) -> Slice | None:
        """The slice header; None when the stream ends inside it."""
        try:
            return self._syntax.read_slice(self._stream[nal.begin : min(nal.end, nal.begin + SLICE_PEEK_BYTES)])
        except HeaderEnds as error:
            if nal.closed:
                raise MediaError("a slice header ends early") from error
        return None

    def _opens_next(self, role: Role, piece: Slice | None) -> bool:
        """Does this NAL unit prove that the picture at hand is over?"""
        slices = self._picture.slices
        if not slices or (self._awaits_field() and (piece is None or _completes_frame(slices[-1], piece))):
            return False
        if piece is None:
            return role in OPENING
        last = slices[-1]
        between = self._picture.next_begin is not None or self._picture.after_end
        return between or piece.first or piece.identity != last.identity

    def _awaits_field(self) -> bool:
        return self._picture.fields in ({1}, {2})

    def _close(self, nal: NalUnit, piece: Slice | None) -> CodedPicture:
        done = self._picture
        if done.next_begin is None:
            done.next_begin = nal.start_code
        done.proof = nal.begin + (piece.bytes_read if piece else self._syntax.header_bytes)
        done.whole = True
        self._picture = CodedPicture(done.next_begin)
        return done

    def _close_at_end(self) -> CodedPicture:
        self._picture.whole = self._closed
        self._picture.proof = len(self._stream)
        return self._picture

    def _take(self, nal: NalUnit, role: Role, piece: Slice | None) -> None:
        """Add the NAL unit to the picture at hand, or to what the next ones may need."""
        picture = self._picture
        if piece is not None:
            picture.slices.append(piece)
            picture.fields.add(piece.field)
            picture.nals.append((nal.begin, nal.end))
            picture.next_begin = None
        elif role is Role.END:
            picture.after_end = bool(picture.slices)
        elif role in OPENING and picture.slices and picture.next_begin is None:
            picture.next_begin = nal.start_code
        self._remember(nal, role)

    def _remember(self, nal: NalUnit, role: Role) -> None:
        if role is Role.PARAMETERS and nal.closed:
            self._syntax.learn(self._stream[nal.begin : nal.end])
        elif role is Role.SEI and not self._picture.slices:
            self._picture.nals.append((nal.begin, nal.end))


def _completes_frame(first: Slice, second: Slice) -> bool:
    """Is ``second`` of the other field of ``first``'s frame, or of the same field (H.264 §7.4.1.2.4)?"""
    if second.field == first.field:
        return not second.first and second.identity == first.identity
    return second.field != 0 and second.frame_num == first.frame_num and second.nal_type != 5
