"""Bits, NAL units and what both H.26x families write the same way.

A coded video is a row of NAL units: a header byte or two, then a payload in which ``00 00 03`` stands for
``00 00`` so that the start code ``00 00 01`` never appears inside (H.264 §7.4.1, HEVC §7.4.2). Headers are a few
dozen bits of fixed and Exp-Golomb fields; only those are unescaped and read here, never the picture data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from harvester.errors import MediaError
from harvester.model import Codec, StreamInfo

if TYPE_CHECKING:
    from collections.abc import Iterator

START_CODE = b"\x00\x00\x01"

#: Longest parameter set that is read (bytes). x264 and x265 write under 120; full scaling lists reach about 1,500.
MAX_HEADER_BYTES = 4096
#: Bytes at the front of a slice that hold every field read here: at most 14, more only by escapes.
SLICE_PEEK_BYTES = 48
#: NAL units or OBUs of one sample: HEVC level 6.2 allows 600 slice segments.
MAX_NALS = 4096
#: Longest side of a coded picture (pixels): HEVC level 6.2 and AV1 level 6.3 end at 16,888 and 16,384.
MAX_SIDE_PX = 16_888
#: Largest coded picture (luma pixels): MaxLumaPs of HEVC level 6.2 and MaxFS of H.264 level 6.2.
MAX_LUMA_PX = 35_651_584

#: Bytes searched for start codes at a time.
_SEARCHED_BYTES = 1 << 17

_EXTENDED_SAR = 255
CHROMA: tuple[Literal["400", "420", "422", "444"], ...] = ("400", "420", "422", "444")


def start_codes(stream: bytes) -> Iterator[int]:
    """Where each start code of a byte stream (Annex B) stands, in order.

    Block by block in vectors, and by pairs of bytes: each start code has one pair of its bytes at an even place,
    00 00 or 00 01, and few other places have such a pair. ``bytes.find`` takes 110 us for the 170 kB of a slice,
    comparing every byte with 00 00 01 takes 40, this 26.
    """
    data = np.frombuffer(stream, np.uint8)
    for at in range(0, len(stream) - 1, _SEARCHED_BYTES):
        pairs = np.frombuffer(stream, "<u2", min(_SEARCHED_BYTES, len(stream) - at) // 2, at)
        places = ((pairs & 0xFEFF) == 0).nonzero()[0]
        if places.size:
            odd = pairs[places] != 0  # 00 01: the start code began a byte earlier
            starts = 2 * places + at - odd
            third = data.take(starts + np.where(odd, 0, 2), mode="clip")
            yield from starts[(third == ~odd) & (starts >= 0)].tolist()


class HeaderEnds(MediaError):
    """The bytes at hand end inside a header."""

    default_reason = "truncated"


class BitReader:
    """Reads bits from the front of ``data`` (already unescaped), most significant first."""

    __slots__ = ("_end", "_left", "_value")

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._end = self._left = 8 * len(data)

    def bits(self, count: int) -> int:
        """The next ``count`` bits as an unsigned number (u(n))."""
        left = self._left - count
        if left < 0:
            raise HeaderEnds("a header ends early")
        self._left = left
        return (self._value >> left) & ((1 << count) - 1)

    def flag(self) -> bool:
        """The next bit (u(1))."""
        return self.bits(1) == 1

    def skip(self, count: int) -> None:
        """Pass over ``count`` bits."""
        self.bits(count)

    def ue(self, limit: int = 0xFFFF_FFFE) -> int:
        """Unsigned Exp-Golomb number (H.264 §9.1), at most ``limit``; beyond it the header is corrupt."""
        zeros = self._left - (self._value & ((1 << self._left) - 1)).bit_length()
        if zeros > 31:
            raise MediaError("an Exp-Golomb number is longer than 32 bits")
        value = self.bits(2 * zeros + 1) - 1
        if value > limit:
            raise MediaError(f"a header field is {value}, at most {limit} is allowed")
        return value

    def se(self) -> int:
        """Signed Exp-Golomb number (H.264 §9.1.1)."""
        code = self.ue()
        return (code + 1) >> 1 if code & 1 else -(code >> 1)

    @property
    def bytes_read(self) -> int:
        """Bytes touched so far."""
        return (self._end - self._left + 7) >> 3


def unescape(nal: bytes) -> bytes:
    """``nal`` without its emulation prevention bytes."""
    return nal.replace(b"\x00\x00\x03", b"\x00\x00")


def escaped_length(nal: bytes, unescaped: int) -> int:
    """How many bytes of ``nal`` yield its first ``unescaped`` unescaped bytes."""
    length = unescaped
    while length < len(nal) and len(unescape(nal[:length])) < unescaped:
        length += 1
    return length


def header_reader(nal: bytes, header_bytes: int) -> BitReader:
    """Reader over a parameter set, standing behind its ``header_bytes`` of NAL header."""
    if len(nal) > MAX_HEADER_BYTES:
        raise MediaError(f"a parameter set of {len(nal)} bytes")
    return BitReader(unescape(nal)[header_bytes:])


def length_prefixed(sample: bytes, prefix: int) -> Iterator[bytes]:
    """NAL units of an MP4 sample: each behind its length in ``prefix`` bytes (ISO 14496-15 §5.3.3).

    Raises:
        MediaError: a length points past the sample's end, or there are more than ``MAX_NALS``.
    """
    at, count = 0, 0
    while at < len(sample):
        count += 1
        if count > MAX_NALS:
            raise MediaError(f"more than {MAX_NALS} NAL units in one sample")
        body = at + prefix
        at = body + int.from_bytes(sample[body - prefix : body], "big")
        if body > len(sample) or at > len(sample):
            raise MediaError("a NAL unit is longer than its sample")
        if at > body:
            yield sample[body:at]


def read_colour(reader: BitReader) -> tuple[bool, int]:
    """Front of the VUI, common to H.264 §E.1.1 and HEVC §E.2.1: (full range, H.273 matrix coefficients)."""
    if reader.flag() and reader.bits(8) == _EXTENDED_SAR:
        reader.skip(32)
    if reader.flag():  # overscan_info_present_flag
        reader.skip(1)
    full_range, matrix = False, 2
    if reader.flag():  # video_signal_type_present_flag
        reader.skip(3)
        full_range = reader.flag()
        if reader.flag():  # colour_description_present_flag
            reader.skip(16)
            matrix = reader.bits(8)
    return full_range, matrix


def checked_stream(
    codec: Codec,
    *,
    size: tuple[int, int],
    crop: tuple[int, int, int, int] = (0, 0, 0, 0),
    bit_depth: int = 8,
    chroma: Literal["400", "420", "422", "444"] = "420",
    full_range: bool = False,
    matrix: int = 2,
    interlaced: bool = False,
) -> StreamInfo:
    """A :class:`StreamInfo`, or MediaError where the header asks for a picture no decoder should try."""
    width, height = size
    if not 0 < width <= MAX_SIDE_PX or not 0 < height <= MAX_SIDE_PX or width * height > MAX_LUMA_PX:
        raise MediaError(f"a coded picture of {width}x{height}")
    if crop[0] + crop[2] >= width or crop[1] + crop[3] >= height:
        raise MediaError(f"cropping leaves nothing of {width}x{height}")
    return StreamInfo(
        codec=codec,
        coded_width=width,
        coded_height=height,
        crop=crop,
        bit_depth=bit_depth,
        chroma=chroma,
        full_range=full_range,
        matrix=matrix,
        interlaced=interlaced,
    )
