"""H.264 headers (ITU-T H.264, 08/2021): SPS §7.3.2.1, PPS §7.3.2.2, slice header §7.3.3, SEI §7.3.2.3."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from harvester.errors import MediaError
from harvester.media.bitstream import (
    CHROMA,
    SLICE_PEEK_BYTES,
    BitReader,
    HeaderEnds,
    checked_stream,
    escaped_length,
    header_reader,
    read_colour,
    unescape,
)
from harvester.media.nal import Nal, RandomAccess, Role, Slice, annex_b
from harvester.model import Codec, StreamInfo

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: MaxFS of level 6.2 (table A-1): no slice starts behind it.
MAX_MACROBLOCKS = 139_264
#: SEI messages of one NAL unit that are looked at; encoders write one to four. An empty one takes two bytes.
MAX_SEI_MESSAGES = 1024

_IDR = 5
_SEI = 6
_SPS = 7
_RECOVERY_POINT = 6  # SEI payload type (§D.1.8)
_I_SLICES = frozenset({2, 7})  # slice_type (table 7-6); SI is a switching slice, not a random access point
#: Profiles whose SPS carries chroma format and bit depth (§7.3.2.1.1).
_HIGH_PROFILES = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})
_ROLES = {
    1: Role.SLICE,
    _IDR: Role.SLICE,
    _SEI: Role.SEI,
    _SPS: Role.PARAMETERS,
    8: Role.PARAMETERS,
    9: Role.DELIMITER,
    10: Role.END,
    11: Role.END,
    15: Role.DELIMITER,
    16: Role.DELIMITER,
    17: Role.DELIMITER,
    18: Role.DELIMITER,
}


@dataclass(frozen=True, slots=True)
class Sps:
    """What of a sequence parameter set is needed: the stream, and how its slice headers are laid out."""

    id: int
    stream: StreamInfo
    frame_num_bits: int
    frame_mbs_only: bool
    separate_planes: bool


@lru_cache(maxsize=64)
def parse_sps(nal: bytes) -> Sps:
    """Read an SPS NAL unit (header byte included).

    Raises:
        MediaError: a field is out of its range or the unit ends early (reason ``corrupt``).
    """
    try:
        return _read_sps(header_reader(nal, 1))
    except HeaderEnds as error:
        raise MediaError("an SPS ends early") from error


def _read_sps(reader: BitReader) -> Sps:
    profile = reader.bits(8)
    reader.skip(16)
    sps_id = reader.ue(31)
    chroma_idc, separate, bit_depth = _read_format(reader) if profile in _HIGH_PROFILES else (1, False, 8)
    frame_num_bits = reader.ue(12) + 4
    _skip_picture_order(reader)
    reader.ue(64)  # max_num_ref_frames
    reader.skip(1)
    width_mbs, map_units = reader.ue(2047) + 1, reader.ue(2047) + 1
    frame_mbs_only = reader.flag()
    reader.skip(1 if frame_mbs_only else 2)
    field_rows = 1 if frame_mbs_only else 2
    crop = _read_crop(reader, 0 if separate else chroma_idc, field_rows) if reader.flag() else (0, 0, 0, 0)
    full_range, matrix = read_colour(reader) if reader.flag() else (False, 2)
    stream = checked_stream(
        Codec.H264,
        size=(16 * width_mbs, 16 * map_units * field_rows),
        crop=crop,
        bit_depth=bit_depth,
        chroma=CHROMA[chroma_idc],
        full_range=full_range,
        matrix=matrix,
        interlaced=not frame_mbs_only,
    )
    return Sps(sps_id, stream, frame_num_bits, frame_mbs_only, separate)


def _read_format(reader: BitReader) -> tuple[int, bool, int]:
    """chroma_format_idc, separate_colour_plane_flag, luma bit depth."""
    chroma_idc = reader.ue(3)
    separate = chroma_idc == 3 and reader.flag()
    bit_depth = reader.ue(6) + 8
    reader.ue(6)
    reader.skip(1)
    if reader.flag():
        for index in range(12 if chroma_idc == 3 else 8):
            if reader.flag():
                _skip_scaling_list(reader, 16 if index < 6 else 64)
    return chroma_idc, separate, bit_depth


def _skip_scaling_list(reader: BitReader, size: int) -> None:
    last = 8
    for _ in range(size):
        last = (last + reader.se()) % 256
        if last == 0:
            return


def _skip_picture_order(reader: BitReader) -> None:
    kind = reader.ue(2)
    if kind == 0:
        reader.ue(12)
    elif kind == 1:
        reader.skip(1)
        for _ in range(2):
            reader.se()
        for _ in range(reader.ue(255)):
            reader.se()


def _read_crop(reader: BitReader, chroma_idc: int, field_rows: int) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) in luma pixels; the units are table 6-1's subsampling, doubled for fields."""
    unit_x = 2 if chroma_idc in (1, 2) else 1
    unit_y = (2 if chroma_idc == 1 else 1) * field_rows
    left, right, top, bottom = (reader.ue() for _ in range(4))
    return (left * unit_x, top * unit_y, right * unit_x, bottom * unit_y)


def parse_pps_ids(nal: bytes) -> tuple[int, int]:
    """(pic_parameter_set_id, seq_parameter_set_id) of a PPS NAL unit."""
    reader = BitReader(unescape(nal[1:SLICE_PEEK_BYTES]))
    try:
        return reader.ue(255), reader.ue(31)
    except HeaderEnds as error:
        raise MediaError("a PPS ends early") from error


def sei_payloads(rbsp: bytes) -> Iterator[tuple[int, bytes]]:
    """(payload type, payload) of each message of an unescaped SEI body (§7.3.2.3.1); stops where it breaks.

    No more than :data:`MAX_SEI_MESSAGES` are looked at.
    """
    at = 0
    for _ in range(MAX_SEI_MESSAGES):
        if at + 2 >= len(rbsp):
            return
        numbers = []
        for _ in range(2):
            ones = at
            while at < len(rbsp) and rbsp[at] == 0xFF:
                at += 1
            if at >= len(rbsp):
                return
            numbers.append(255 * (at - ones) + rbsp[at])
            at += 1
        yield numbers[0], rbsp[at : at + numbers[1]]
        at += numbers[1]


def recovery_frame_count(nal: bytes) -> int | None:
    """recovery_frame_cnt of a recovery point SEI in ``nal``; None if it holds none that can be read."""
    for kind, payload in sei_payloads(unescape(nal[1:])):
        if kind == _RECOVERY_POINT:
            try:
                return BitReader(payload[:8]).ue(1 << 16)
            except MediaError:
                return None
    return None


class H264Syntax:
    """H.264 grammar and the parameter sets learnt so far."""

    header_bytes = 1

    def __init__(self) -> None:
        self._sps: dict[int, bytes] = {}
        self._pps: dict[int, tuple[int, bytes]] = {}

    def role(self, header: bytes) -> Role:
        forbidden = header[0] & 0x80  # damaged, no telling what it was
        return Role.NEUTRAL if forbidden else _ROLES.get(header[0] & 0x1F, Role.NEUTRAL)

    def learn(self, nal: bytes) -> None:
        if nal[0] & 0x1F == _SPS:
            self._sps[parse_sps(nal).id] = nal
        else:
            pps_id, sps_id = parse_pps_ids(nal)
            self._pps[pps_id] = (sps_id, nal)

    def read_slice(self, head: bytes) -> Slice:
        raw = head[:SLICE_PEEK_BYTES]
        reader = BitReader(unescape(raw[1:]))
        first_mb = reader.ue(MAX_MACROBLOCKS)
        kind = reader.ue(9)
        pps_id = reader.ue(255)
        frame_num, parity = self._read_frame_num(reader, pps_id)
        nal_type, reference = raw[0] & 0x1F, int(raw[0] & 0x60 != 0)
        return Slice(
            nal_type=nal_type,
            first=first_mb == 0,
            intra=kind in _I_SLICES,
            pps_id=pps_id,
            identity=(int(nal_type == _IDR), frame_num, parity, reference),
            field=parity,
            frame_num=frame_num,
            bytes_read=escaped_length(raw, 1 + reader.bytes_read),
        )

    def _read_frame_num(self, reader: BitReader, pps_id: int) -> tuple[int, int]:
        """(frame_num, field: 0 frame, 1 top, 2 bottom); frame_num is -1 without the parameter sets."""
        sps = self._sps_of(pps_id)
        if sps is None:
            return -1, 0
        if sps.separate_planes:
            reader.skip(2)
        frame_num = reader.bits(sps.frame_num_bits)
        if sps.frame_mbs_only or not reader.flag():
            return frame_num, 0
        return frame_num, 2 if reader.flag() else 1

    def _sps_of(self, pps_id: int) -> Sps | None:
        nal = self._sps.get(self._pps.get(pps_id, (-1, b""))[0])
        return None if nal is None else parse_sps(nal)

    def random_access(self, slices: Sequence[Slice], nals: Sequence[Nal]) -> RandomAccess | None:
        """IDR, or an I picture with a recovery point right there (recovery_frame_cnt 0, §D.2.8).

        Of two fields only the first must be intra (§7.4.1.2.4); a field without its other is no picture.

        Raises:
            MediaError: an IDR picture with predicted slices.
        """
        first = slices[0]
        sps = self._sps_of(first.pps_id)
        if sps is None or not first.first or not (first.nal_type == _IDR or _recovers(nals)):
            return None
        if not all(each.intra for each in slices if each.field == first.field):
            if first.nal_type == _IDR:
                raise MediaError("an IDR picture with slices that are not intra")
            return None
        if first.field and all(each.field == first.field for each in slices):
            return None
        return RandomAccess(sps.stream, annex_b([*self._in_force(slices), *nals]), first.nal_type != _IDR)

    def _in_force(self, slices: Sequence[Slice]) -> list[bytes]:
        """The parameter sets that ``slices`` name, each once: SPS, then PPS."""
        named = [
            self._pps[pps_id] for pps_id in dict.fromkeys(each.pps_id for each in slices) if pps_id in self._pps
        ]
        sps = [self._sps[sps_id] for sps_id in dict.fromkeys(sps_id for sps_id, _ in named) if sps_id in self._sps]
        return sps + [nal for _, nal in named]


def _recovers(nals: Sequence[Nal]) -> bool:
    return any(nal[0] & 0x1F == _SEI and recovery_frame_count(bytes(nal)) == 0 for nal in nals)
