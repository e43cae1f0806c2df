"""What is checked of an Annex B access unit before a decoder sees it, because the decoder would not tell.

A slice may name a parameter set that this unit does not carry: a decoder that lives for many streams may still
have one of that number, of another stream, and decodes with it. An HEVC slice may be cut: past its end libavcodec
reads zeros, which is a valid way to go on, to the last block of the picture. And a picture that needs others may
come out of a GPU as if it were whole: libavcodec refuses it, of NVDEC nothing says that it does.
Clauses are of ITU-T H.264 and H.265.
"""

from __future__ import annotations

from collections.abc import Iterator

from harvester.errors import MediaError
from harvester.media.bitstream import START_CODE, start_codes
from harvester.model import Codec

#: Put behind each HEVC slice. To CABAC ones say "the slice ends" after each block (9.3.4.3.5): a slice that was
#: cut leaves the rest of its blocks undecoded, which :mod:`harvester.decode.cpu` sees; a whole one is never read
#: so far. Measured on 216 cuts of three 640x360 pictures, 36 of them in the last 12 bytes: with nothing behind the
#: slice 94 gave a wrong picture, from 1024 bytes on 35, all cut in the last 12 bytes (wrong in the last block).
SLICE_END = b"\xff" * 8192

#: NAL units of one access unit. HEVC level 6.2 allows 600 slice segments, each with SEI messages.
MAX_UNITS = 65_536
#: Slice segments of one HEVC picture: level 6.2 allows 600 (A.4.2). Each gets a :data:`SLICE_END`.
MAX_SLICES = 600

#: Bytes of a NAL unit that the headers read here can take, emulation prevention included.
_HEADER_BYTES = 64

_H264_SPS, _H264_PPS, _H264_SLICES, _H264_I = 7, 8, frozenset((1, 2, 5)), frozenset((2, 7))  # table 7-6
_HEVC_SPS, _HEVC_PPS, _HEVC_SLICES, _HEVC_IRAP = 33, 34, range(32), range(16, 24)


def nal_units(data: bytes) -> Iterator[tuple[int, int]]:
    """``(start, end)`` of each NAL unit of a byte stream (Annex B), without its start code.

    Raises :class:`MediaError` (corrupt) if there are more than :data:`MAX_UNITS`.
    """
    places = start_codes(data)
    place = next(places, None)
    for _ in range(MAX_UNITS):
        if place is None:
            return
        start, place = place + len(START_CODE), next(places, None)
        yield start, len(data) if place is None else place
    raise MediaError(f"more than {MAX_UNITS} NAL units in one access unit", reason="corrupt")


def with_slice_ends(data: bytes) -> bytes:
    """An HEVC access unit with :data:`SLICE_END` behind every slice segment.

    Raises :class:`MediaError` (corrupt) if there are more than :data:`MAX_SLICES`.
    """
    parts: list[bytes] = []
    slices = 0
    for start, end in nal_units(data):
        parts += [START_CODE, data[start:end]]
        if start < end and _hevc_type(data[start]) in _HEVC_SLICES:
            slices += 1
            if slices > MAX_SLICES:
                raise MediaError(f"more than {MAX_SLICES} slice segments in one picture", reason="corrupt")
            parts.append(SLICE_END)
    return b"".join(parts)


def check_parameter_sets(codec: Codec, data: bytes) -> None:
    """Raise :class:`MediaError` (corrupt) unless this very access unit has all that its slices need.

    That is their parameter sets; and none of them may predict from another picture.
    """
    sets, pictures, slices = set[int](), dict[int, int](), set[int]()
    read = _read_h264 if codec is Codec.H264 else _read_hevc
    for start, end in nal_units(data):
        if start < end:
            read(data[start : min(end, start + _HEADER_BYTES)], sets, pictures, slices)
    missing = {number for number in slices if pictures.get(number) not in sets}
    if missing or not slices:
        what = "has no slice" if not slices else "lacks the parameter sets of its slices"
        raise MediaError(f"{codec} access unit {what}", reason="corrupt")


def _read_h264(unit: bytes, sets: set[int], pictures: dict[int, int], slices: set[int]) -> None:
    kind = unit[0] & 31
    if kind == _H264_SPS:
        sets.add(_Bits(unit[4:]).ue())  # 7.3.2.1.1: profile, constraints and level come first
    elif kind == _H264_PPS:
        bits = _Bits(unit[1:])
        number = bits.ue()
        pictures[number] = bits.ue()
    elif kind in _H264_SLICES:
        bits = _Bits(unit[1:])
        bits.ue()  # 7.3.3: first_mb_in_slice
        _check_intra(bits.ue() in _H264_I)
        slices.add(bits.ue())


def _read_hevc(unit: bytes, sets: set[int], pictures: dict[int, int], slices: set[int]) -> None:
    kind = _hevc_type(unit[0])
    if kind == _HEVC_SPS:
        sets.add(_hevc_sps_number(_Bits(unit[2:])))
    elif kind == _HEVC_PPS:
        bits = _Bits(unit[2:])
        number = bits.ue()
        pictures[number] = bits.ue()
    elif kind in _HEVC_SLICES:
        _check_intra(kind in _HEVC_IRAP)
        bits = _Bits(unit[2:])
        bits.u(2)  # 7.3.6.1: first_slice_segment_in_pic, no_output_of_prior_pics
        slices.add(bits.ue())


def _check_intra(intra: bool) -> None:
    if not intra:
        raise MediaError("the picture needs others", reason="corrupt")


def _hevc_sps_number(bits: _Bits) -> int:
    """``sps_seq_parameter_set_id`` stands behind profile_tier_level (7.3.2.2.1, 7.3.3)."""
    bits.u(4)
    sub_layers = bits.u(3)
    bits.u(1 + 88 + 8)
    present = [(bits.u(1), bits.u(1)) for _ in range(sub_layers)]
    if sub_layers:
        bits.u(2 * (8 - sub_layers))
    for profile, level in present:
        bits.u(88 * profile + 8 * level)
    return bits.ue()


def _hevc_type(first_byte: int) -> int:
    return first_byte >> 1 & 63


class _Bits:
    """Bits of a NAL unit's payload from its front; emulation prevention bytes are taken out."""

    def __init__(self, payload: bytes) -> None:
        raw = payload.replace(b"\x00\x00\x03", b"\x00\x00")
        self._value = int.from_bytes(raw, "big")
        self._left = 8 * len(raw)

    def u(self, count: int) -> int:
        """``count`` bits, unsigned."""
        if count > self._left:
            raise MediaError("a header ends in its middle", reason="corrupt")
        self._left -= count
        return self._value >> self._left & ((1 << count) - 1)

    def ue(self) -> int:
        """Exp-Golomb code, unsigned (9.1)."""
        zeros = 0
        while not self.u(1):
            zeros += 1
        return (1 << zeros) - 1 + self.u(zeros)
