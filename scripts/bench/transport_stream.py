"""MPEG-TS whose clock can be set later: packets written once at time 0, moved to any time and place when served.

ISO/IEC 13818-1: packets of 188 bytes; PES headers carry PTS and DTS (2.4.3.7), the adaptation field the PCR
(2.4.3.5); the continuity counter of each PID rises from packet to packet, over segments too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PACKET = 188
PAT, PMT, VIDEO, AUDIO = 0, 0x1000, 0x100, 0x101
#: Ticks of PTS, DTS and of the PCR's base a second.
CLOCK_HZ = 90_000

_PCR_KIND, _PTS_ONLY, _PTS_FIRST, _DTS_SECOND = 0, 2, 3, 1  # the last three: the marker nibble of the field


@dataclass(frozen=True, slots=True)
class Unit:
    """One PES packet to be: ``pts``, ``dts`` in ticks; ``key``: random access starts here."""

    pid: int
    data: bytes
    pts: int
    dts: int
    key: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """Whole packets at time 0, and where their time stamps are.

    ``offsets``, ``kinds``, ``ticks``: of each stamp, rising by offset.
    """

    data: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    kinds: NDArray[np.int64]
    ticks: NDArray[np.int64]

    def count(self, pid: int) -> int:
        """Packets of that PID."""
        return int((_pids(self.data) == pid).sum())

    def moved(self, ticks: int, counters: dict[int, int], n_bytes: int | None = None) -> bytes:
        """The first ``n_bytes`` (None = all), ``ticks`` later, with continuity counters that much higher."""
        length = self.data.size if n_bytes is None else min(self.data.size, -(-n_bytes // PACKET) * PACKET)
        data = self.data[:length].copy()
        stamps = int(np.searchsorted(self.offsets, length))
        _stamp(data, self.offsets[:stamps], self.kinds[:stamps], self.ticks[:stamps] + ticks)
        pids, flags = _pids(data), data[3::PACKET]
        for pid, higher in counters.items():
            mine = pids == pid
            flags[mine] = flags[mine] & 0xF0 | (flags[mine] + higher % 16) & 0x0F
        return data[:n_bytes].tobytes()


def _pids(data: NDArray[np.uint8]) -> NDArray[np.int64]:
    return (data[1::PACKET].astype(np.int64) & 0x1F) << 8 | data[2::PACKET]


def _stamp(
    data: NDArray[np.uint8], at: NDArray[np.int64], kinds: NDArray[np.int64], ticks: NDArray[np.int64]
) -> None:
    pcr = kinds == _PCR_KIND
    where, value = at[pcr], ticks[pcr]
    for place, shift in enumerate((25, 17, 9, 1)):
        data[where + place] = value >> shift & 0xFF
    data[where + 4], data[where + 5] = (value & 1) << 7 | 0x7E, 0
    where, value, marker = at[~pcr], ticks[~pcr], kinds[~pcr]
    data[where] = marker << 4 | (value >> 30 & 7) << 1 | 1
    data[where + 1], data[where + 2] = value >> 22 & 0xFF, (value >> 15 & 0x7F) << 1 | 1
    data[where + 3], data[where + 4] = value >> 7 & 0xFF, (value & 0x7F) << 1 | 1


class Writer:
    """Packets one after another, counters from 0. A unit's PCR is its DTS less ``lead`` ticks."""

    def __init__(self, lead: int = CLOCK_HZ // 10) -> None:
        self._lead = lead
        self._packets: list[bytes] = []
        self._counters: dict[int, int] = {}
        self._stamps: list[tuple[int, int, int]] = []

    def tables(self) -> None:
        """PAT and PMT: H.264 and AAC (ADTS), PCR with the video."""
        program = (1).to_bytes(2, "big") + _pid_field(PMT)
        streams = b"\x1b" + _pid_field(VIDEO) + b"\xf0\x00" + b"\x0f" + _pid_field(AUDIO) + b"\xf0\x00"
        self._section(PAT, b"\x00", program)
        self._section(PMT, b"\x02", _pid_field(VIDEO) + b"\xf0\x00" + streams)

    def _section(self, pid: int, table: bytes, body: bytes) -> None:
        content = b"\x00\x01\xc1\x00\x00" + body
        section = table + (0xB000 | len(content) + 4).to_bytes(2, "big") + content
        section += _crc(section).to_bytes(4, "big")
        self._packet(pid, b"\x00" + section + b"\xff" * (PACKET - 5 - len(section)), start=True)

    def add(self, unit: Unit) -> None:
        """One PES packet."""
        both = unit.pts != unit.dts
        stream, size = (0xE0, 0) if unit.pid == VIDEO else (0xC0, len(unit.data) + 8)
        fields = 10 if both else 5
        header = b"\x00\x00\x01" + bytes([stream]) + size.to_bytes(2, "big")
        header += bytes([0x84, 0xC0 if both else 0x80, fields]) + bytes(fields)
        payload = header + unit.data
        adaptation = bytes([0x50 if unit.key else 0x10]) + bytes(6) if unit.pid == VIDEO else b""
        at = len(self._packets) * PACKET
        if adaptation:
            self._stamps.append((at + 6, _PCR_KIND, unit.dts - self._lead))
        space = PACKET - 4 - (len(adaptation) + 1 if adaptation else 0)
        # a payload that ends in this very packet is stuffed in front, which moves the header
        stamp = at + PACKET - min(space, len(payload)) + 9
        self._stamps.append((stamp, _PTS_FIRST if both else _PTS_ONLY, unit.pts))
        if both:
            self._stamps.append((stamp + 5, _DTS_SECOND, unit.dts))
        self._packet(unit.pid, payload[:space], start=True, adaptation=adaptation)
        for first in range(space, len(payload), PACKET - 4):
            self._packet(unit.pid, payload[first : first + PACKET - 4])

    def _packet(self, pid: int, payload: bytes, *, start: bool = False, adaptation: bytes = b"") -> None:
        counter = self._counters.get(pid, 0)
        self._counters[pid] = counter + 1
        room = PACKET - 4 - len(payload)
        if room:  # the adaptation field fills what the payload leaves
            flags = adaptation or (b"\x00" if room > 1 else b"")
            adaptation = bytes([room - 1]) + flags + b"\xff" * (room - 1 - len(flags))
        head = (0x47 << 16 | start << 14 | pid).to_bytes(3, "big")
        self._packets.append(head + bytes([(0x30 if room else 0x10) | counter & 0x0F]) + adaptation + payload)

    def stretch(self) -> Stretch:
        """What was written, stamped at time 0 (before: negative times wrap)."""
        offsets, kinds, ticks = np.array(self._stamps, np.int64).reshape(-1, 3).T
        return Stretch(np.frombuffer(b"".join(self._packets), np.uint8), offsets, kinds, ticks)


def written(units: Iterable[Unit], *, tables: bool) -> Stretch:
    """``units`` in the order given."""
    writer = Writer()
    if tables:
        writer.tables()
    for unit in units:
        writer.add(unit)
    return writer.stretch()


def adts(frames: Sequence[bytes], channels: int) -> bytes:
    """AAC-LC frames at 48 kHz with their ADTS headers (ISO/IEC 14496-3 1.A.3.2)."""
    joined = bytearray()
    for frame in frames:
        bits = 0xFFF1 << 40 | 1 << 38 | 3 << 34 | channels << 30 | (len(frame) + 7) << 13 | 0x7FF << 2
        joined += bits.to_bytes(7, "big") + frame
    return bytes(joined)


def _pid_field(pid: int) -> bytes:
    return (0xE000 | pid).to_bytes(2, "big")


def _crc(data: bytes) -> int:
    """CRC-32/MPEG-2."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ 0x04C11DB7 if value & 0x80000000 else value << 1) & 0xFFFFFFFF
    return value
