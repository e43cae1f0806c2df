"""What NVIDIA's parser and engine do with a packet, done by libavcodec: access units in, whole coded pictures out.

Key pictures only: each is decoded by itself. As in the real parser, parameter sets live on from packet to packet.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import av
import numpy as np
from av.codec.context import CodecContext, Flags
from numpy.typing import NDArray

#: Codec -> libavcodec's decoder.
DECODERS = {"h264": "h264", "hevc": "hevc", "av1": "libdav1d"}
#: NAL unit types that begin an access unit, and that are slices.
_HEADS = {"h264": {7, 9}, "hevc": {32, 33, 35}}
_SLICES = {"h264": {1, 2, 5}, "hevc": set(range(32))}
_RANDOM_ACCESS = range(16, 24)
#: Behind a slice that is whole, these change nothing.
_MORE = b"\xff" * 8192
#: What a picture is that could not be decoded at all.
_GREY = 130

Plane = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True, eq=False)
class Surface:
    """A coded picture, uncropped: planes of the whole coded size; ``display`` (width, height)."""

    coded: tuple[int, int]
    display: tuple[int, int]
    depth: int
    chroma: str
    interlaced: bool
    damaged: bool
    y: Plane
    u: Plane
    v: Plane


class Stream:
    """The parser and engine of one decoder."""

    def __init__(self, codec: str) -> None:
        self._codec = codec
        self._context = _opened(codec)

    def surfaces(self, data: bytes) -> Iterator[Surface]:
        """The pictures of a packet, in order; none where there is no picture, or no size known for it."""
        for unit in self._units(data):
            frames, damaged = self._decoded(unit)
            if frames:
                yield from (self._surface(frame, damaged) for frame in frames)
            elif self._has_slice(unit) and self._context.coded_width:
                yield self._nothing(damaged)

    def _decoded(self, unit: bytes) -> tuple[list[av.VideoFrame], bool]:
        """The frames of an access unit, and whether the engine notices that they are not right."""
        frames = _frames(self._context, unit)
        if not self._alone(unit):
            return frames, False  # without its references a picture is grey, and nobody is told
        if self._codec != "hevc" or not frames:
            return frames, not frames or any(frame.is_corrupt for frame in frames)
        return frames, any(map(_cut, frames, _frames(_opened("hevc"), unit + _MORE)))

    def _surface(self, frame: av.VideoFrame, damaged: bool) -> Surface:
        name = frame.format.name
        chroma = next((chroma for chroma in ("420", "422", "444") if chroma in name), "Monochrome")
        planes = [_plane(plane, frame.format.components[0].bits) for plane in frame.planes]
        context = self._context
        return Surface(
            coded=(frame.width, frame.height),
            display=(context.width, context.height),
            depth=frame.format.components[0].bits,
            chroma=chroma,
            interlaced=bool(frame.interlaced_frame),
            damaged=damaged,
            y=planes[0],
            u=planes[1] if len(planes) > 1 else planes[0],
            v=planes[2] if len(planes) > 1 else planes[0],
        )

    def _nothing(self, damaged: bool) -> Surface:
        context = self._context
        width, height = context.coded_width, context.coded_height
        luma = np.full((height, width), _GREY, np.uint8)
        return Surface(
            (width, height),
            (context.width, context.height),
            8,
            "420",
            False,
            damaged,
            luma,
            luma[::2, ::2],
            luma[::2, ::2],
        )

    def _units(self, data: bytes) -> list[bytes]:
        """The access units of a packet: a new one begins with headers that follow a slice."""
        if self._codec == "av1":
            return [data]
        units, sliced = [b""], False
        for nal in data.replace(b"\x00\x00\x00\x01", b"\x00\x00\x01").split(b"\x00\x00\x01")[1:]:
            kind = self._kind(nal)
            if sliced and kind in _HEADS[self._codec]:
                units, sliced = [*units, b""], False
            sliced = sliced or kind in _SLICES[self._codec]
            units[-1] += b"\x00\x00\x01" + nal
        return [unit for unit in units if unit]

    def _has_slice(self, unit: bytes) -> bool:
        if self._codec == "av1":
            return True
        return any(self._kind(nal) in _SLICES[self._codec] for nal in unit.split(b"\x00\x00\x01")[1:])

    def _alone(self, unit: bytes) -> bool:
        """Whether a picture needs no other: slices of H.264 are I, of HEVC of a random access picture."""
        if self._codec == "av1":
            return True
        nals = [nal for nal in unit.split(b"\x00\x00\x01")[1:] if self._kind(nal) in _SLICES[self._codec]]
        if self._codec == "hevc":
            return all(self._kind(nal) in _RANDOM_ACCESS for nal in nals)
        return all(_slice_type(nal) % 5 == 2 for nal in nals)

    def _kind(self, nal: bytes) -> int:
        if not nal:
            return -1
        return nal[0] & 31 if self._codec == "h264" else nal[0] >> 1 & 63


def _plane(plane: av.video.plane.VideoPlane, bits: int) -> Plane:
    dtype = np.dtype(np.uint8 if bits == 8 else "<u2")
    lines = np.frombuffer(plane, dtype).reshape(plane.height, plane.line_size // dtype.itemsize)
    return lines[:, : plane.width].copy()


def _opened(codec: str) -> av.VideoCodecContext:
    context = CodecContext.create(DECODERS[codec], "r")
    context.thread_count = 1
    context.flags |= Flags.output_corrupt
    context.options = {"apply_cropping": "0"}  # the engine knows no crop; the copy after it does
    return context


def _frames(context: av.VideoCodecContext, unit: bytes) -> list[av.VideoFrame]:
    try:
        return [*context.decode(av.Packet(unit)), *context.decode(None)]
    except av.error.FFmpegError:
        return []
    finally:
        context.flush_buffers()


def _cut(frame: av.VideoFrame, longer: av.VideoFrame) -> bool:
    """Whether an HEVC picture lacks some of its data, which libavcodec does not tell: then it looks otherwise with
    more bytes behind the last slice, or has blocks that nothing was written to (``longer`` in new buffers)."""
    bits = frame.format.components[0].bits
    if "420" not in frame.format.name:
        return False
    y, u, v = (_plane(plane, bits) for plane in longer.planes)
    if not np.array_equal(y, _plane(frame.planes[0], bits)):
        return True
    rows, columns = u.shape[0] // 4 * 4, u.shape[1] // 4 * 4
    empty = (y[: 2 * rows : 2, : 2 * columns : 2] | u[:rows, :columns] | v[:rows, :columns]) == 0
    return bool(empty.reshape(rows // 4, 4, columns // 4, 4).all(axis=(1, 3)).any())


def _slice_type(nal: bytes) -> int:
    """H.264 7.3.3: first_mb_in_slice, slice_type, both Exp-Golomb."""
    bits = "".join(f"{byte:08b}" for byte in nal[1:16])
    for _ in range(2):
        zeros = len(bits) - len(bits.lstrip("0"))
        value, bits = int(bits[zeros : 2 * zeros + 1] or "0", 2) - 1, bits[2 * zeros + 1 :]
    return value
