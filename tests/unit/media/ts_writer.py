"""A small MPEG-TS multiplexer with every oddity as an option; written apart from the parser it tests."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.unit.media.footage import Unit

PMT_PID, VIDEO_PID, AUDIO_PID, ID3_PID = 0x1000, 0x100, 0x101, 0x102


def crc32_mpeg(data: bytes) -> int:
    """Bit by bit, as the standard draws it."""
    register = 0xFFFFFFFF
    for byte in data:
        for shift in range(7, -1, -1):
            top = (register >> 31) ^ (byte >> shift & 1)
            register = (register << 1) & 0xFFFFFFFF
            if top:
                register ^= 0x04C11DB7
    return register


def section(table_id: int, number: int, body: bytes) -> bytes:
    head = bytes([table_id]) + (0xB000 | len(body) + 9).to_bytes(2, "big")
    head += number.to_bytes(2, "big") + b"\xc1\x00\x00"
    return head + body + crc32_mpeg(head + body).to_bytes(4, "big")


def timestamp(value: int, prefix: int) -> bytes:
    value %= 1 << 33
    return bytes(
        [
            prefix << 4 | (value >> 30) << 1 | 1,
            value >> 22 & 0xFF,
            (value >> 15 & 0x7F) << 1 | 1,
            value >> 7 & 0xFF,
            (value & 0x7F) << 1 | 1,
        ]
    )


def pes(payload: bytes, pts: int | None, *, length: bool, stream_id: int = 0xE0, stuffing: int = 0) -> bytes:
    times = b"" if pts is None else timestamp(pts, 2)
    rest = bytes([0x80, 0 if pts is None else 0x80, len(times) + stuffing]) + times + b"\xff" * stuffing + payload
    size = len(rest) if length and len(rest) < 65536 else 0
    return b"\x00\x00\x01" + bytes([stream_id]) + size.to_bytes(2, "big") + rest


@dataclass
class Writer:
    """Packets in order; ``packets`` is the stream."""

    stream_type: int = 0x1B
    pmt_padding: int = 0  # bytes of private descriptors in the PMT: past 170 it spans packets
    pat_pointer: int = 0  # bytes between pointer_field and the PAT
    extra_streams: bool = False  # audio and timed ID3 named in the PMT
    packets: list[bytes] = field(default_factory=list)
    counters: dict[int, int] = field(default_factory=dict)

    def packet(self, pid: int, payload: bytes, *, start: bool, field_body: bytes | None = None) -> None:
        """One packet; an adaptation field is put in to fill it up."""
        room = 184 - len(payload)
        count = self.counters.get(pid, 0)
        if payload:
            self.counters[pid] = (count + 1) & 15
        else:
            count = (count - 1) & 15
        adaptation = b""
        if field_body is not None or room:
            body = field_body or (b"\x00" if room > 1 else b"")
            adaptation = bytes([room - 1]) + (body + b"\xff" * 184)[: room - 1]
        control = (0x20 if adaptation else 0) | (0x10 if payload else 0)
        head = bytes([0x47, (0x40 if start else 0) | pid >> 8, pid & 0xFF, control | count])
        packet = head + adaptation + payload
        assert len(packet) == 188
        self.packets.append(packet)

    def payload(self, pid: int, data: bytes) -> None:
        """A PES packet or section over as many packets as it takes."""
        for at in range(0, len(data), 184):
            self.packet(pid, data[at : at + 184], start=at == 0)

    def tables(self) -> None:
        self.section_packets(
            0, section(0, 1, b"\x00\x01" + (0xE000 | PMT_PID).to_bytes(2, "big")), self.pat_pointer
        )
        self.section_packets(PMT_PID, section(2, 1, self._pmt_body()))

    def _pmt_body(self) -> bytes:
        info = b""
        while len(info) < self.pmt_padding:
            size = min(self.pmt_padding - len(info), 250)
            info += b"\xfe" + bytes([size]) + b"\x24" * size
        body = (0xE000 | VIDEO_PID).to_bytes(2, "big") + (0xF000 | len(info)).to_bytes(2, "big") + info
        streams = [(self.stream_type, VIDEO_PID)]
        if self.extra_streams:
            streams = [(0x0F, AUDIO_PID), (0x15, ID3_PID), *streams]
        return body + b"".join(
            bytes([kind]) + (0xE000 | pid).to_bytes(2, "big") + b"\xf0\x00" for kind, pid in streams
        )

    def section_packets(self, pid: int, data: bytes, pointer: int = 0) -> None:
        data = bytes([pointer]) + b"\xff" * pointer + data
        data += b"\xff" * (-len(data) % 184)
        self.payload(pid, data)

    def null(self) -> None:
        self.packets.append(b"\x47\x1f\xff\x10" + b"\x00\x00\x01\xe0" * 46)

    def pcr_only(self) -> None:
        self.packet(VIDEO_PID, b"", start=False, field_body=b"\x10\x00\x00\x00\x00\x7e\x00")

    def id3(self, pts: int) -> None:
        self.payload(ID3_PID, pes(b"ID3\x04\x00\x00\x00\x00\x00\x00" + b"\x00\x00\x01\x65" * 20, pts, length=True))

    def audio(self, pts: int) -> None:
        self.payload(AUDIO_PID, pes(b"\xff\xf1\x4c\x40" + bytes(300), pts, length=True, stream_id=0xC0))

    @property
    def data(self) -> bytes:
        return b"".join(self.packets)


def plain(units: list[Unit], *, length: bool = False, **options: object) -> bytes:
    """One PES packet an access unit, tables in front."""
    writer = Writer(**options)  # type: ignore[arg-type]
    writer.tables()
    for unit in units:
        writer.payload(VIDEO_PID, pes(unit.data, unit.pts, length=length))
    return writer.data
