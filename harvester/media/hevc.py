"""HEVC headers (ITU-T H.265, 08/2021): SPS §7.3.2.2, PPS §7.3.2.3, slice segment header §7.3.6.1."""

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
    from collections.abc import Sequence

_VPS, _SPS, _PPS = 32, 33, 34
_IRAP = range(16, 22)  # BLA_W_LP .. CRA_NUT (table 7-1); 22 and 23 are reserved
_WITHOUT_LEADING = frozenset({18, 20})  # BLA_N_LP, IDR_N_LP
_I_SLICE = 2
_MAX_DELTA_POCS = 32  # of one reference picture set; 16 are allowed, hostile sets would double at each prediction


@dataclass(frozen=True, slots=True)
class Sps:
    """What of a sequence parameter set is needed."""

    id: int
    vps_id: int
    stream: StreamInfo


@dataclass(frozen=True, slots=True)
class Pps:
    """What of a picture parameter set is needed: its ids and the bits in front of slice_type."""

    id: int
    sps_id: int
    extra_slice_header_bits: int


@lru_cache(maxsize=64)
def parse_sps(nal: bytes) -> Sps:
    """Read an SPS NAL unit (its two header bytes included).

    Raises:
        MediaError: a field is out of its range or the unit ends early (reason ``corrupt``).
    """
    try:
        return _read_sps(header_reader(nal, 2))
    except HeaderEnds as error:
        raise MediaError("an SPS ends early") from error


def _read_sps(reader: BitReader) -> Sps:
    vps_id = reader.bits(4)
    sub_layers = reader.bits(3)
    if sub_layers > 6:
        raise MediaError("an SPS of more than seven sub-layers")
    reader.skip(1)
    interlaced = _read_profile_tier_level(reader, sub_layers)
    sps_id = reader.ue(15)
    chroma_idc = reader.ue(3)
    separate = chroma_idc == 3 and reader.flag()
    size = (reader.ue(1 << 16), reader.ue(1 << 16))
    crop = _read_window(reader, 0 if separate else chroma_idc) if reader.flag() else (0, 0, 0, 0)
    bit_depth = reader.ue(8) + 8
    reader.ue(8)
    _skip_coding_tools(reader, sub_layers)
    full_range, matrix, fields = _read_vui(reader) if reader.flag() else (False, 2, False)
    stream = checked_stream(
        Codec.HEVC,
        size=size,
        crop=crop,
        bit_depth=bit_depth,
        chroma=CHROMA[chroma_idc],
        full_range=full_range,
        matrix=matrix,
        interlaced=interlaced or fields,
    )
    return Sps(sps_id, vps_id, stream)


def _read_profile_tier_level(reader: BitReader, sub_layers: int) -> bool:
    """§7.3.3; True if the source is said to be interlaced and not progressive."""
    reader.skip(8 + 32)
    progressive, interlaced = reader.flag(), reader.flag()
    reader.skip(2 + 43 + 1 + 8)
    present = [(reader.flag(), reader.flag()) for _ in range(sub_layers)]
    reader.skip(2 * (8 - sub_layers) if sub_layers else 0)
    for profile, level in present:
        reader.skip((88 if profile else 0) + (8 if level else 0))
    return interlaced and not progressive


def _read_window(reader: BitReader, chroma_idc: int) -> tuple[int, int, int, int]:
    """Conformance window as (left, top, right, bottom) in luma pixels."""
    unit_x = 2 if chroma_idc in (1, 2) else 1
    unit_y = 2 if chroma_idc == 1 else 1
    left, right, top, bottom = (reader.ue() for _ in range(4))
    return (left * unit_x, top * unit_y, right * unit_x, bottom * unit_y)


def _skip_coding_tools(reader: BitReader, sub_layers: int) -> None:
    """From log2_max_pic_order_cnt_lsb_minus4 to strong_intra_smoothing_enabled_flag."""
    poc_bits = reader.ue(12) + 4
    for _ in range(3 * (sub_layers + 1 if reader.flag() else 1)):
        reader.ue()
    for _ in range(6):
        reader.ue(64)
    if reader.flag() and reader.flag():
        _skip_scaling_lists(reader)
    reader.skip(2)
    if reader.flag():  # pcm_enabled_flag
        reader.skip(8)
        reader.ue(8)
        reader.ue(8)
        reader.skip(1)
    _skip_reference_sets(reader)
    if reader.flag():  # long_term_ref_pics_present_flag
        reader.skip(reader.ue(32) * (poc_bits + 1))
    reader.skip(2)


def _skip_scaling_lists(reader: BitReader) -> None:
    """§7.3.4."""
    for size_id in range(4):
        for _ in range(2 if size_id == 3 else 6):
            if not reader.flag():
                reader.ue(6)
                continue
            if size_id > 1:
                reader.se()
            for _ in range(16 if size_id == 0 else 64):
                reader.se()


def _skip_reference_sets(reader: BitReader) -> None:
    """Short-term reference picture sets (§7.3.7)."""
    deltas = 0
    for index in range(reader.ue(64)):
        predicted = index > 0 and reader.flag()
        deltas = _skip_predicted_set(reader, deltas) if predicted else _skip_plain_set(reader)


def _skip_predicted_set(reader: BitReader, deltas: int) -> int:
    reader.skip(1)
    reader.ue(1 << 15)
    kept = sum(1 for _ in range(deltas + 1) if reader.flag() or reader.flag())
    if kept > _MAX_DELTA_POCS:
        raise MediaError("a reference picture set of more than 32 pictures")
    return kept


def _skip_plain_set(reader: BitReader) -> int:
    count = reader.ue(16) + reader.ue(16)
    for _ in range(count):
        reader.ue(1 << 15)
        reader.skip(1)
    return count


def _read_vui(reader: BitReader) -> tuple[bool, int, bool]:
    """(full range, matrix, field_seq_flag)."""
    full_range, matrix = read_colour(reader)
    if reader.flag():  # chroma_loc_info_present_flag
        reader.ue(5)
        reader.ue(5)
    reader.skip(1)
    return full_range, matrix, reader.flag()


def parse_pps(nal: bytes) -> Pps:
    """Read the front of a PPS NAL unit."""
    reader = BitReader(unescape(nal[2:SLICE_PEEK_BYTES]))
    try:
        pps_id, sps_id = reader.ue(63), reader.ue(15)
        reader.skip(2)
        return Pps(pps_id, sps_id, reader.bits(3))
    except HeaderEnds as error:
        raise MediaError("a PPS ends early") from error


def _role_of_type(nal_type: int) -> Role:
    if nal_type <= 9 or nal_type in _IRAP:
        return Role.SLICE
    if nal_type in (_VPS, _SPS, _PPS):
        return Role.PARAMETERS
    if nal_type in (36, 37):
        return Role.END
    if nal_type == 39:
        return Role.SEI
    return Role.DELIMITER if nal_type in (35, *range(41, 45), *range(48, 56)) else Role.NEUTRAL


_ROLES = tuple(_role_of_type(nal_type) for nal_type in range(64))


class HevcSyntax:
    """HEVC grammar and the parameter sets learnt so far. Only the base layer is looked at."""

    header_bytes = 2

    def __init__(self) -> None:
        self._vps: dict[int, bytes] = {}
        self._sps: dict[int, bytes] = {}
        self._pps: dict[int, tuple[Pps, bytes]] = {}

    def role(self, header: bytes) -> Role:
        if header[0] & 0x81 or header[1] & 0xF8:  # forbidden_zero_bit, or nuh_layer_id above 0
            return Role.NEUTRAL
        return _ROLES[header[0] >> 1]

    def learn(self, nal: bytes) -> None:
        nal_type = nal[0] >> 1
        if nal_type == _VPS:
            if len(nal) > 2:
                self._vps[nal[2] >> 4] = nal
        elif nal_type == _SPS:
            self._sps[parse_sps(nal).id] = nal
        else:
            pps = parse_pps(nal)
            self._pps[pps.id] = (pps, nal)

    def read_slice(self, head: bytes) -> Slice:
        raw = head[:SLICE_PEEK_BYTES]
        nal_type = raw[0] >> 1
        reader = BitReader(unescape(raw[2:]))
        first = reader.flag()
        if nal_type in range(16, 24):
            reader.skip(1)
        pps_id = reader.ue(63)
        return Slice(
            nal_type=nal_type,
            first=first,
            intra=first and self._is_intra(reader, pps_id),
            pps_id=pps_id,
            identity=(),
            field=0,
            frame_num=-1,
            bytes_read=escaped_length(raw, 2 + reader.bytes_read),
        )

    def _is_intra(self, reader: BitReader, pps_id: int) -> bool:
        pps, _ = self._pps.get(pps_id, (None, b""))
        if pps is None:
            return False
        reader.skip(pps.extra_slice_header_bits)
        return reader.ue(2) == _I_SLICE

    def random_access(self, slices: Sequence[Slice], nals: Sequence[Nal]) -> RandomAccess | None:
        """An IDR, CRA or BLA picture; its leading pictures come behind it and stay out.

        Raises:
            MediaError: such a picture whose first slice is not intra.
        """
        first = slices[0]
        found = self._in_force(slices)
        if first.nal_type not in _IRAP or not first.first or found is None:
            return None
        if not first.intra:
            raise MediaError("a random-access picture with slices that are not intra")
        stream, sets = found
        return RandomAccess(stream, annex_b([*sets, *nals]), first.nal_type not in _WITHOUT_LEADING)

    def _in_force(self, slices: Sequence[Slice]) -> tuple[StreamInfo, list[bytes]] | None:
        """The parameter sets that ``slices`` name, each once: VPS, SPS, PPS; None if one is missing."""
        named = [self._pps.get(pps_id) for pps_id in dict.fromkeys(each.pps_id for each in slices)]
        known = [each for each in named if each is not None and each[0].sps_id in self._sps]
        if len(known) < len(named):
            return None
        sps_nals = [self._sps[sps_id] for sps_id in dict.fromkeys(pps.sps_id for pps, _ in known)]
        sps = parse_sps(sps_nals[0])
        vps = [self._vps[sps.vps_id]] if sps.vps_id in self._vps else []
        return sps.stream, vps + sps_nals + [nal for _, nal in known]
