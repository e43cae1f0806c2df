"""MPEG-2 transport stream packets and tables (ISO/IEC 13818-1): which PID carries the video, and its bytes.

A packet is 188 bytes: sync byte 0x47, a 13-bit PID, flags, maybe an adaptation field, payload (§2.4.3.2). All
header fields of a head are read at once as numpy columns; per packet Python work is left for tables only.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harvester.errors import MediaError
from harvester.model import Codec

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKET_BYTES = 188
_PACKET_WORDS = PACKET_BYTES // 4
SYNC_BYTE = 0x47
_HEADER_BYTES = 4
# Bits of the four header bytes (§2.4.3.3).
_ERROR, _UNIT_START, _PID_MASK = 0x80_0000, 0x40_0000, 0x1F_FF00
_SCRAMBLED, _HAS_FIELD, _HAS_PAYLOAD = 0xC0, 0x20, 0x10
_PAT_PID, _PAT_TABLE, _PMT_TABLE = 0, 0, 2
_STUFFING = 0xFF
_CRC_BYTES = 4  # CRC_32 at a section's end
#: Packets of one table that are looked into for an intact one. Tables come every 0.1 s or so, a hundred in a
#: segment of 10 s; one packet can hold 61 empty sections, so a head of nothing else would take a minute.
MAX_TABLE_PACKETS = 2048

_CODECS = {0x1B: Codec.H264, 0x24: Codec.HEVC}
#: stream_type of video that is not read: MPEG-1/2/4, H.264 and HEVC layers, JPEG 2000, VVC, EVC, AVS, VC-1.
_OTHER_VIDEO = frozenset({0x01, 0x02, 0x10, 0x1E, 0x1F, 0x20, 0x21, 0x25, 0x33, 0x35, 0x42, 0xD2, 0xEA})
_AV1_REGISTRATION = b"\x05\x04AV01"  # registration descriptor of private stream type 0x06

_REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass(frozen=True, slots=True, eq=False)
class PacketTable:
    """Columns over whole packets of a head, in order: all of them, or those of one PID.

    ``rows``: uint8 (packets of the head, 188). ``numbers``: int64 (n,), rows of these packets. ``words``: int64
    (n,), their four header bytes. ``trouble``: why the table ends before the head does (lost sync, or a partial
    packet at the end of a complete segment); None if it does not.
    """

    rows: NDArray[np.uint8] = field(repr=False)
    numbers: NDArray[np.int64] = field(repr=False)
    words: NDArray[np.int64] = field(repr=False)
    trouble: MediaError | None

    def of(self, pid: int) -> PacketTable:
        """The packets of ``pid``; one marked as damaged keeps its PID."""
        mine = (self.words & _PID_MASK == pid << 8).nonzero()[0]
        return PacketTable(self.rows, self.numbers[mine], self.words[mine], self.trouble)

    def front(self, packets: int) -> PacketTable:
        """Its first ``packets`` packets, as if the head ended there."""
        return PacketTable(self.rows, self.numbers[:packets], self.words[:packets], None)

    def unit_starts(self) -> list[int]:
        """Which of these packets begin a PES packet or a section, counted from 0."""
        starts: list[int] = (self.words & _UNIT_START).nonzero()[0].tolist()
        return starts


def packet_table(head: bytes, *, complete: bool) -> PacketTable:
    """Lay ``head`` out as packets, as far as sync bytes hold.

    Raises:
        MediaError: it does not begin with a sync byte: not a transport stream (reason ``corrupt``).
    """
    if head[:1] != bytes([SYNC_BYTE]) and (head or complete):
        raise MediaError("not an MPEG transport stream: no sync byte at its start")
    count = len(head) // PACKET_BYTES
    rows = np.frombuffer(head, np.uint8, count * PACKET_BYTES).reshape(count, PACKET_BYTES)
    words = np.frombuffer(head, ">u4", count * _PACKET_WORDS)[::_PACKET_WORDS].astype(np.int64)
    lost = (words >> 24 != SYNC_BYTE).nonzero()[0]
    trouble: MediaError | None = None
    if lost.size:
        words = words[: lost[0]]
        trouble = MediaError(f"sync is lost at packet {lost[0]}")
    elif complete and len(head) % PACKET_BYTES:
        trouble = MediaError("the segment ends inside a packet", reason="truncated")
    return PacketTable(rows, np.arange(len(words)), words, trouble)


@dataclass(frozen=True, slots=True)
class VideoTrack:
    """The video of a program. ``packets``: packets after which the tables that name it are complete."""

    pid: int
    codec: Codec
    packets: int


@dataclass(frozen=True, slots=True)
class Section:
    """A table section whose CRC holds; ``body`` lies between its 8-byte header and the CRC."""

    body: bytes
    packets: int  # packets of the head up to the one that completes it


def find_video(table: PacketTable) -> VideoTrack | None:
    """The first supported video of the first program that has video; None if the tables are not there yet.

    Raises:
        MediaError: ``no-video``, or ``unsupported-codec`` when the only video is of another codec.
    """
    programs = next(_sections(table.of(_PAT_PID), _PAT_TABLE), None)
    if programs is None:
        return None
    refusal = MediaError("no program of the stream has video", reason="no-video")
    for pid in _map_pids(programs.body):
        streams = next(_sections(table.of(pid), _PMT_TABLE), None)
        if streams is None:
            return None
        try:
            found_pid, codec = _choose_video(streams.body)
        except MediaError as error:
            refusal = error if error.reason == "unsupported-codec" else refusal
            continue
        return VideoTrack(found_pid, codec, max(programs.packets, streams.packets))
    raise refusal


def _map_pids(body: bytes) -> list[int]:
    """PIDs of the program maps in a PAT (§2.4.4.3), without the network's."""
    entries = [body[at : at + 4] for at in range(0, len(body) - 3, 4)]
    pids = [int.from_bytes(entry[2:], "big") & 0x1FFF for entry in entries if entry[:2] != b"\x00\x00"]
    return list(dict.fromkeys(pids))


def _choose_video(body: bytes) -> tuple[int, Codec]:
    """(PID, codec) of the first video we read in a PMT body (§2.4.4.8)."""
    at = 4 + (int.from_bytes(body[2:4], "big") & 0xFFF)
    other = False
    while at + 5 <= len(body):
        kind, pid = body[at], int.from_bytes(body[at + 1 : at + 3], "big") & 0x1FFF
        end = at + 5 + (int.from_bytes(body[at + 3 : at + 5], "big") & 0xFFF)
        if kind in _CODECS:
            return pid, _CODECS[kind]
        other |= kind in _OTHER_VIDEO or (kind == 0x06 and _AV1_REGISTRATION in body[at + 5 : end])
        at = end
    if other:
        raise MediaError("the video is of a codec that is not read from MPEG-TS", reason="unsupported-codec")
    raise MediaError("the program has no video", reason="no-video")


def _sections(table: PacketTable, table_id: int) -> Iterator[Section]:
    """Intact, current sections in packets of one PID, first packet first; damaged ones are passed over."""
    pending: bytes | None = None
    looked_at = table.front(MAX_TABLE_PACKETS)
    for number, word in zip(looked_at.numbers.tolist(), looked_at.words.tolist(), strict=True):
        payload = payload_of(table.rows[number], word)
        if word & _ERROR or not payload:
            pending = None if word & _ERROR else pending
            continue
        parts = [pending + payload] if pending is not None and not word & _UNIT_START else []
        if word & _UNIT_START:  # a pointer_field comes first
            start = 1 + payload[0]
            parts = [payload[start:]] if pending is None else [pending + payload[1:start], payload[start:]]
        pending = None
        for part in parts:
            for section in _whole_sections(part):
                if section[0] == table_id and section[5] & 1:
                    yield Section(section[8:-_CRC_BYTES], number + 1)
            pending = _open_section(part)


def _whole_sections(data: bytes) -> Iterator[bytes]:
    """Complete long-form sections with a right CRC at the front of ``data``."""
    at = 0
    while at + 3 <= len(data) and data[at] != _STUFFING:
        end = _section_end(data, at)
        section = data[at:end]
        if end <= len(data) and len(section) >= 12 and crc_32_mpeg(section) == 0:
            yield section
        at = end


def _open_section(data: bytes) -> bytes | None:
    """The section at the end of ``data`` that goes on in the next packet; None if there is none."""
    at = 0
    while at + 3 <= len(data) and data[at] != _STUFFING and _section_end(data, at) <= len(data):
        at = _section_end(data, at)
    return data[at:] if at < len(data) and data[at] != _STUFFING else None


def _section_end(data: bytes, at: int) -> int:
    return at + 3 + (int.from_bytes(data[at + 1 : at + 3], "big") & 0xFFF)


def crc_32_mpeg(data: bytes) -> int:
    """CRC of §2.4.4 Annex A; 0 over a section with its CRC_32. It is zlib's CRC with all bits mirrored."""
    mirrored = zlib.crc32(data.translate(_REVERSED_BITS)) ^ 0xFFFF_FFFF
    return int(f"{mirrored:032b}"[::-1], 2)


def payload_of(row: NDArray[np.uint8], word: int) -> bytes:
    """Payload of one packet; empty if it has none or its adaptation field is longer than the packet."""
    if not word & _HAS_PAYLOAD:
        return b""
    start = _HEADER_BYTES + (1 + int(row[_HEADER_BYTES]) if word & _HAS_FIELD else 0)
    return row[start:].tobytes()


@dataclass(frozen=True, slots=True, eq=False)
class Payload:
    """Payload bytes of one PID joined in order, up to the first packet that is missing, damaged or scrambled.

    ``ends``: int64, end of each joined packet's payload in ``data``; ``packets``: int64, its number in the head.
    ``units``: offsets in ``data`` where a PES packet begins. ``trouble``: why ``data`` ends before the head does;
    None if it does not.
    """

    data: bytes = field(repr=False)
    ends: NDArray[np.int64] = field(repr=False)
    packets: NDArray[np.int64] = field(repr=False)
    units: list[int]
    trouble: MediaError | None

    def packets_for(self, length: int) -> int:
        """How many packets of the head hold ``data[:length]``."""
        index = int(np.searchsorted(self.ends, length, side="left"))
        return int(self.packets[min(index, len(self.packets) - 1)]) + 1 if len(self.packets) else 0


def join_payload(table: PacketTable) -> Payload:
    """Collect the payload of the packets of one PID."""
    trouble = table.trouble
    starts = _payload_starts(table)
    bad = (table.words & (_ERROR | _SCRAMBLED) != 0) | (starts > PACKET_BYTES)
    if bad.any():
        stop = int(np.argmax(bad))
        trouble = _refusal(int(table.words[stop]))
        table = table.front(stop)
    kept, jumped = _continuous(table, (table.words & _HAS_PAYLOAD).nonzero()[0])
    trouble = MediaError("packets of the video are missing") if jumped else trouble
    numbers, starts = table.numbers[kept], starts[kept]
    lengths = PACKET_BYTES - starts
    ends = lengths.cumsum()
    return Payload(
        data=_join(table.rows, numbers, starts),
        ends=ends,
        packets=numbers,
        units=(ends - lengths)[table.words[kept] & _UNIT_START != 0].tolist(),
        trouble=trouble,
    )


def _refusal(word: int) -> MediaError:
    if word & _SCRAMBLED and not word & _ERROR:
        return MediaError("the video is scrambled", reason="unsupported")
    return MediaError("a packet of the video is damaged")


def _payload_starts(table: PacketTable) -> NDArray[np.int64]:
    """Where each packet's payload starts; past the packet's end if its adaptation field is too long."""
    starts = np.full(len(table.words), _HEADER_BYTES, np.int64)
    with_field = (table.words & _HAS_FIELD).nonzero()[0]
    starts[with_field] += table.rows[table.numbers[with_field], _HEADER_BYTES].astype(np.int64) + 1
    return starts


def _continuous(table: PacketTable, carrying: NDArray[np.int64]) -> tuple[NDArray[np.int64], bool]:
    """Drop repeated packets and stop at a jump of the continuity counter (§2.4.3.3).

    Returns which of the packets stay of those ``carrying`` payload, and whether there was such a jump. One that
    the adaptation field announces (discontinuity_indicator) is none.
    """
    counters = table.words[carrying]
    odd = ((counters[1:] - counters[:-1]) & 15 != 1).nonzero()[0] + 1
    repeated: list[int] = []
    for at in odd.tolist():
        row, before = table.rows[table.numbers[carrying[at - 1 : at + 1][::-1]]]
        word, word_before = int(counters[at]), int(counters[at - 1])
        if word & 15 == word_before & 15 and _repeats(row, word, before, word_before):
            repeated.append(at)
        elif not _announced(row, word):
            return np.delete(carrying[:at], repeated), True
    return np.delete(carrying, repeated) if repeated else carrying, False


def _repeats(row: NDArray[np.uint8], word: int, before: NDArray[np.uint8], word_before: int) -> bool:
    """Is packet ``row`` the same as ``before``? Only its PCR may differ."""
    return word == word_before and payload_of(row, word) == payload_of(before, word)


def _announced(row: NDArray[np.uint8], word: int) -> bool:
    return bool(word & _HAS_FIELD and row[_HEADER_BYTES] > 0 and row[_HEADER_BYTES + 1] & 0x80)


def _join(rows: NDArray[np.uint8], chosen: NDArray[np.int64], starts: NDArray[np.int64]) -> bytes:
    """Payload bytes of the chosen packets: whole stretches at once, packets with adaptation fields singly."""
    width = PACKET_BYTES - _HEADER_BYTES
    payloads = np.ndarray(len(rows), f"V{width}", rows, _HEADER_BYTES, (PACKET_BYTES,))
    flat = payloads[chosen].view(np.uint8).data
    parts: list[memoryview] = []
    behind = 0
    for at in (starts != _HEADER_BYTES).nonzero()[0].tolist():
        parts.append(flat[behind * width : at * width])
        parts.append(flat[at * width + int(starts[at]) - _HEADER_BYTES : (at + 1) * width])
        behind = at + 1
    parts.append(flat[behind * width :])
    return b"".join(parts)
