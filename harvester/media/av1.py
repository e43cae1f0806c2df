"""AV1 headers (AV1 Bitstream & Decoding Process Specification, 2019): OBU §5.3, sequence header §5.5.

In MP4 a sample is a temporal unit without its delimiter; only the last OBU may come without a size field
(AV1 in ISOBMFF §2.4). Decoders want the low-overhead format, so every OBU leaves here with one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from harvester.errors import MediaError
from harvester.media.bitstream import MAX_HEADER_BYTES, MAX_NALS, BitReader, HeaderEnds, checked_stream
from harvester.media.nal import RandomAccess
from harvester.model import Codec, StreamInfo

if TYPE_CHECKING:
    from collections.abc import Iterator

_SEQUENCE_HEADER, _FRAME_HEADER, _TILE_GROUP, _METADATA, _FRAME = 1, 3, 4, 5, 6
_KEPT = frozenset({_FRAME_HEADER, _TILE_GROUP, _METADATA, _FRAME, 7})
_KEY_FRAME = 0
_SELECT = 2  # SELECT_SCREEN_CONTENT_TOOLS
_SRGB = (1, 13, 0)  # primaries, transfer, matrix that mean 4:4:4 full range (§5.5.2)


@dataclass(frozen=True, slots=True)
class Obu:
    """One open bitstream unit: its header byte(s) with has_size_field set, and its payload."""

    type: int
    header: bytes
    payload: bytes

    def sized(self) -> bytes:
        """The unit in low-overhead format."""
        return self.header + _leb128(len(self.payload)) + self.payload


@dataclass(frozen=True, slots=True)
class SequenceHeader:
    """What of a sequence header is needed."""

    stream: StreamInfo
    reduced_still_picture: bool


def obus(data: bytes) -> Iterator[Obu]:
    """Units of a temporal unit in order.

    Raises:
        MediaError: a size points past the end, or there are more than ``MAX_NALS``.
    """
    at, count = 0, 0
    while at < len(data):
        count += 1
        if count > MAX_NALS:
            raise MediaError(f"more than {MAX_NALS} OBUs in one temporal unit")
        extended = bool(data[at] & 0x04)
        header = bytes([data[at] | 0x02]) + data[at + 1 : at + 1 + extended]
        body, size = at + 1 + extended, len(data) - at - 1 - extended
        if data[at] & 0x02:
            size, body = _read_leb128(data, body)
        if data[at] & 0x80 or size < 0 or body + size > len(data):
            raise MediaError("an OBU is longer than its temporal unit")
        yield Obu((data[at] >> 3) & 15, header, data[body : body + size])
        at = body + size


def _read_leb128(data: bytes, at: int) -> tuple[int, int]:
    """(value, offset behind it) of a leb128 number (§4.10.5)."""
    value = 0
    for index in range(8):
        if at + index >= len(data):
            break
        value |= (data[at + index] & 0x7F) << (7 * index)
        if not data[at + index] & 0x80:
            return value, at + index + 1
    raise MediaError("an OBU size does not end")


def _leb128(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def temporal_unit_picture(sample: bytes, config_obus: bytes) -> RandomAccess | None:
    """The key frame that one MP4 sample holds; None if it holds another kind of frame.

    ``config_obus``: those of ``av1C``, whose sequence header serves a sample without one of its own.
    """
    sequence: Obu | None = None
    body: list[Obu] = []
    for unit in obus(sample):
        if unit.type == _SEQUENCE_HEADER:
            sequence = sequence or unit
        elif unit.type in _KEPT:
            body.append(unit)
    sequence = sequence or next((unit for unit in obus(config_obus) if unit.type == _SEQUENCE_HEADER), None)
    if sequence is None or not body:
        return None
    header = parse_sequence_header(sequence.payload)
    if not _is_shown_key(body, header):
        return None
    data = b"".join(unit.sized() for unit in (sequence, *body))
    return RandomAccess(header.stream, data, leading=False)


def _is_shown_key(body: list[Obu], header: SequenceHeader) -> bool:
    """Is the first frame a key frame that is shown (§5.9.2)? MediaError if it has no tiles."""
    frame = next((unit for unit in body if unit.type in (_FRAME, _FRAME_HEADER)), None)
    if frame is None or not frame.payload:
        raise MediaError("a temporal unit without a frame")
    if frame.type == _FRAME_HEADER and not any(unit.type == _TILE_GROUP for unit in body):
        return False  # shows a frame decoded before, or is cut
    if header.reduced_still_picture:
        return True
    bits = frame.payload[0]
    return not bits & 0x80 and (bits >> 5) & 3 == _KEY_FRAME and bool(bits & 0x10)


@lru_cache(maxsize=64)
def parse_sequence_header(payload: bytes) -> SequenceHeader:
    """Read the payload of a sequence header OBU.

    Raises:
        MediaError: a field is out of its range or the payload ends early (reason ``corrupt``).
    """
    if len(payload) > MAX_HEADER_BYTES:
        raise MediaError(f"a sequence header of {len(payload)} bytes")
    try:
        return _read_sequence_header(BitReader(payload))
    except HeaderEnds as error:
        raise MediaError("a sequence header ends early") from error


def _read_sequence_header(reader: BitReader) -> SequenceHeader:
    profile = reader.bits(3)
    if profile > 2:
        raise MediaError(f"AV1 profile {profile} is reserved")
    reader.skip(1)
    reduced = reader.flag()
    if reduced:
        reader.skip(5)
    else:
        _skip_operating_points(reader)
    width_bits, height_bits = reader.bits(4) + 1, reader.bits(4) + 1
    size = (reader.bits(width_bits) + 1, reader.bits(height_bits) + 1)
    if not reduced and reader.flag():  # frame_id_numbers_present_flag
        reader.skip(7)
    reader.skip(3)
    if not reduced:
        _skip_inter_tools(reader)
    reader.skip(3)
    bit_depth, chroma, full_range, matrix = _read_color_config(reader, profile)
    stream = checked_stream(
        Codec.AV1, size=size, bit_depth=bit_depth, chroma=chroma, full_range=full_range, matrix=matrix
    )
    return SequenceHeader(stream, reduced)


def _skip_operating_points(reader: BitReader) -> None:
    delay_bits = _skip_timing(reader)
    display_delays = reader.flag()
    for _ in range(reader.bits(5) + 1):
        reader.skip(12)
        if reader.bits(5) > 7:
            reader.skip(1)
        if delay_bits and reader.flag():
            reader.skip(2 * delay_bits + 1)
        if display_delays and reader.flag():
            reader.skip(4)


def _skip_timing(reader: BitReader) -> int:
    """Timing and decoder model info; the bits of a buffer delay, 0 without a decoder model."""
    if not reader.flag():
        return 0
    reader.skip(64)
    if reader.flag():  # equal_picture_interval
        reader.ue()
    if not reader.flag():
        return 0
    delay_bits = reader.bits(5) + 1
    reader.skip(32 + 5 + 5)
    return delay_bits


def _skip_inter_tools(reader: BitReader) -> None:
    reader.skip(4)
    order_hint = reader.flag()
    if order_hint:
        reader.skip(2)
    screen_content = _SELECT if reader.flag() else reader.bits(1)
    if screen_content and not reader.flag():  # seq_choose_integer_mv
        reader.skip(1)
    if order_hint:
        reader.skip(3)


def _read_color_config(
    reader: BitReader, profile: int
) -> tuple[int, Literal["400", "420", "422", "444"], bool, int]:
    """§5.5.2: bit depth, chroma format, full range, matrix."""
    high = reader.flag()
    bit_depth = (12 if reader.flag() else 10) if profile == 2 and high else (10 if high else 8)
    mono = profile != 1 and reader.flag()
    description = (reader.bits(8), reader.bits(8), reader.bits(8)) if reader.flag() else (2, 2, 2)
    if mono:
        return bit_depth, "400", reader.flag(), description[2]
    if description == _SRGB:
        return bit_depth, "444", True, 0
    full_range = reader.flag()
    return bit_depth, _read_chroma(reader, profile, bit_depth), full_range, description[2]


def _read_chroma(reader: BitReader, profile: int, bit_depth: int) -> Literal["420", "422", "444"]:
    if profile < 2:
        return "444" if profile == 1 else "420"
    if bit_depth < 12:
        return "422"
    if not reader.flag():
        return "444"
    return "420" if reader.flag() else "422"
