"""Writes headers bit by bit, as the standards draw them; and whole H.264 fields of raw samples."""

from __future__ import annotations

import numpy as np


class BitWriter:
    """Bits in order, most significant first."""

    def __init__(self) -> None:
        self.text = ""

    def u(self, count: int, value: int) -> BitWriter:
        self.text += f"{value:0{count}b}" if count else ""
        return self

    def ue(self, value: int) -> BitWriter:
        digits = f"{value + 1:b}"
        self.text += "0" * (len(digits) - 1) + digits
        return self

    def se(self, value: int) -> BitWriter:
        return self.ue(2 * value - 1 if value > 0 else -2 * value)

    def raw(self, data: bytes) -> BitWriter:
        """Align with zeros, then whole bytes."""
        self.text += "0" * (-len(self.text) % 8)
        self.text += "".join(f"{byte:08b}" for byte in data)
        return self

    def packed(self) -> bytes:
        bits = self.text + "0" * (-len(self.text) % 8)
        return int("1" + bits, 2).to_bytes(len(bits) // 8 + 1, "big")[1:]

    def rbsp(self) -> bytes:
        """With the stop bit."""
        self.text += "1"
        return self.packed()


def escape(body: bytes) -> bytes:
    """Emulation prevention, one byte after another."""
    out, zeros = bytearray(), 0
    for byte in body:
        if zeros >= 2 and byte <= 3:
            out.append(3)
            zeros = 0
        out.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return bytes(out)


FIELD_SPS = (
    (BitWriter().u(8, 77).u(8, 0).u(8, 30).ue(0).ue(0).ue(0).ue(0).ue(1).u(1, 0).ue(1).ue(0))
    .u(1, 0)
    .u(1, 0)
    .u(1, 1)
    .u(1, 0)
    .u(1, 0)
)
FIELD_PPS = BitWriter().ue(0).ue(0).u(2, 0).ue(0).ue(0).ue(0).u(3, 0).se(0).se(0).se(0).u(3, 4)


def parameter_sets() -> list[bytes]:
    """SPS and PPS of 32x32 pictures in two fields, CAVLC."""
    sps, pps = BitWriter(), BitWriter()
    sps.text, pps.text = FIELD_SPS.text, FIELD_PPS.text
    return [b"\x67" + escape(sps.rbsp()), b"\x68" + escape(pps.rbsp())]


def field(samples: np.ndarray, *, bottom: bool, idr: bool, frame_num: int = 0, slice_type: int = 7) -> bytes:
    """A field of two raw macroblocks (I_PCM). ``samples``: uint8 (2, 384), never 0."""
    out = BitWriter().ue(0).ue(slice_type).ue(0).u(4, frame_num).u(1, 1).u(1, bottom)
    if idr:
        out.ue(0)
    out.u(4, int(bottom))
    out.u(2 if idr else 1, 0)
    out.se(0).ue(1)
    for macroblock in samples:
        out.ue(25).raw(macroblock.tobytes())
    return bytes([0x65 if idr else 0x61]) + escape(out.rbsp())


def frame_of(top: np.ndarray, bottom: np.ndarray) -> tuple[bytes, ...]:
    """The 32x32 picture of two fields, as ``footage.planes`` gives it."""
    luma = np.zeros((32, 32), np.uint8)
    chroma = np.zeros((2, 16, 16), np.uint8)
    for parity, samples in enumerate((top, bottom)):
        for column, macroblock in enumerate(samples):
            luma[parity::2, 16 * column : 16 * column + 16] = macroblock[:256].reshape(16, 16)
            for plane in range(2):
                part = macroblock[256 + 64 * plane : 320 + 64 * plane].reshape(8, 8)
                chroma[plane, parity::2, 8 * column : 8 * column + 8] = part
    return (b"yuv420p", luma.tobytes(), chroma[0].tobytes(), chroma[1].tobytes())
