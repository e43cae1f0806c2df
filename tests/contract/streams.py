"""Access units made in memory: pictures of free games through real encoders, and two written bit by bit."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import av
import cv2
import numpy as np
from av.bitstream import BitStreamFilterContext

from harvester.model import AccessUnit, Codec, StreamInfo

FRAMES = Path(__file__).parents[1] / "data" / "frames"
ENCODERS = {Codec.H264: "libx264", Codec.HEVC: "libx265", Codec.AV1: "libsvtav1"}
DECODERS = {Codec.H264: "h264", Codec.HEVC: "hevc", Codec.AV1: "libdav1d"}
QUIET = {
    Codec.H264: "annexb=1:repeat-headers=1:log=-1:qp=22",
    Codec.HEVC: "annexb=1:repeat-headers=1:log-level=none:qp=22:pools=none",
    Codec.AV1: "lp=1",
}
START = b"\x00\x00\x00\x01"
#: Coded sizes are multiples of it: macroblocks of H.264, the smallest coding blocks of x265.
ALIGNED = {Codec.H264: 16, Codec.HEVC: 8, Codec.AV1: 1}
#: H.273 MatrixCoefficients, by the encoders' names.
MATRICES = {"bt709": 1, "bt470bg": 5, "smpte170m": 6}


@dataclass(frozen=True)
class Sample:
    """A way to encode, and what its headers say."""

    name: str
    codec: Codec
    width: int = 320
    height: int = 192
    pix_fmt: str = "yuv420p"
    params: str = "keyint=1"
    scene: str = "supertuxkart-zengarden"
    preset: str = "fast"

    @property
    def info(self) -> StreamInfo:
        depth = 12 if "12" in self.pix_fmt else 10 if "10" in self.pix_fmt else 8
        chroma = next((c for c in ("420", "422", "444") if c in self.pix_fmt), "400")
        aligned = 16 if "min-cu-size=16" in self.params else ALIGNED[self.codec]
        right, bottom = (-size % aligned for size in (self.width, self.height))
        return StreamInfo(
            self.codec, self.width + right, self.height + bottom, crop=(0, 0, right, bottom), bit_depth=depth,
            chroma=chroma, full_range="yuvj" in self.pix_fmt or "range=full" in self.params,
            matrix=next((number for name, number in MATRICES.items() if f"colormatrix={name}" in self.params), 2),
            interlaced="interlaced" in self.params,
        )  # fmt: skip

    def unit(self) -> AccessUnit:
        return AccessUnit(self.info, self.packets(1)[0][0], 0.0)

    def packets(self, count: int) -> list[tuple[bytes, bool]]:
        """``count`` pictures of a pan over the scene, in decoding order; (data, is a key picture)."""
        encoder = av.CodecContext.create(ENCODERS[self.codec], "w")
        encoder.width, encoder.height, encoder.pix_fmt = self.width, self.height, self.pix_fmt
        encoder.time_base, encoder.framerate, encoder.thread_count = Fraction(1, 30), 30, 1
        option = {Codec.H264: "x264-params", Codec.HEVC: "x265-params", Codec.AV1: "svtav1-params"}[self.codec]
        encoder.options = {
            option: f"{QUIET[self.codec]}:{self.params}",
            "preset": "10" if self.codec is Codec.AV1 else self.preset,
        }
        packets = []
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(self.picture(number), format="bgr24").reformat(format=self.pix_fmt)
            frame.pts, frame.time_base = number, encoder.time_base
            packets += encoder.encode(frame)
        packets += encoder.encode(None)
        return [(bytes(packet), packet.is_keyframe) for packet in packets]

    def picture(self, number: int = 0) -> np.ndarray:
        image = cv2.imread(str(FRAMES / f"{self.scene}.jpg"))
        image = cv2.resize(image, (self.width + 64, self.height + 8))
        return np.ascontiguousarray(image[4 : 4 + self.height, 2 * number : 2 * number + self.width])


H264, HEVC, AV1 = Codec.H264, Codec.HEVC, Codec.AV1
EXACT = (
    Sample("h264-cabac", H264, params="keyint=1:slices=1"),
    Sample("h264-cavlc-slices", H264, params="keyint=1:cabac=0:slices=4"),
    Sample("h264-cropped", H264, 322, 182),
    Sample("h264-portrait", H264, 144, 320),
    Sample("h264-baseline", H264, params="keyint=1:cabac=0:8x8dct=0"),
    Sample("h264-interlaced", H264, params="keyint=1:interlaced=1"),
    Sample("h264-full-range", H264, pix_fmt="yuvj420p"),
    Sample("h264-422", H264, pix_fmt="yuv422p"),
    Sample("h264-444", H264, pix_fmt="yuv444p"),
    Sample("h264-10", H264, 322, 182, pix_fmt="yuv420p10le"),
    Sample("h264-422-10", H264, pix_fmt="yuv422p10le"),
    Sample("h264-gray", H264, pix_fmt="gray"),
    Sample("h264-b-frames", H264, params="keyint=30:bframes=3:b-pyramid=normal"),  # the SPS announces reordering
    Sample("h264-601", H264, params="keyint=1:colorprim=smpte170m:transfer=smpte170m:colormatrix=smpte170m"),
    Sample("h264-709", H264, params="keyint=1:colorprim=bt709:transfer=bt709:colormatrix=bt709"),
    Sample("hevc", HEVC, params="keyint=1:wpp=0"),
    Sample("hevc-b-frames", HEVC, params="keyint=30:bframes=3"),
    Sample("hevc-full-range", HEVC, params="keyint=1:range=full:colormatrix=bt709"),
    Sample("hevc-wavefront", HEVC, params="keyint=1"),
    Sample("hevc-slices", HEVC, 192, 384, params="keyint=1:slices=3:pools=2"),
    Sample("hevc-cropped", HEVC, 322, 182),
    Sample("hevc-small-blocks", HEVC, params="keyint=1:ctu=16"),
    Sample("hevc-10", HEVC, pix_fmt="yuv420p10le"),
    Sample("hevc-444", HEVC, pix_fmt="yuv444p"),
    Sample("hevc-gray", HEVC, pix_fmt="gray"),
    Sample("hevc-dark", HEVC, scene="chromium-bsu-level3", params="keyint=1:wpp=0"),
    Sample("av1", AV1),
    Sample("av1-odd-10", AV1, 322, 186, pix_fmt="yuv420p10le"),
)


def _sizes(codec: Codec, *sizes: tuple[int, int]) -> tuple[Sample, ...]:
    return tuple(Sample(f"{codec}-{w}x{h}", codec, w, h, preset="ultrafast") for w, h in sizes)


#: What is served: 360p to 1440p, upright, and one that is no multiple of anything.
SIZES = (
    *_sizes(H264, (640, 360), (854, 480), (1280, 720), (1600, 900), (1920, 1080), (2560, 1440), (1080, 1920)),
    *_sizes(H264, (1922, 1082)),
    *_sizes(HEVC, (640, 360), (1280, 720), (1920, 1080), (1080, 1920), (1922, 1082)),
)


def named(name: str) -> Sample:
    return next(sample for sample in EXACT if sample.name == name)


@lru_cache(maxsize=64)
def player(unit: AccessUnit) -> list[np.ndarray]:
    """The planes as the ffmpeg program of the machine decodes them: another build of libavcodec, and a player's
    ordinary way with all its defaults. Read-only.

    A machine with a GPU may be lent without that program (REQUIRE_GPU_TESTS=1): there PyAV's libavcodec decodes, by
    its defaults too.
    """
    if os.environ.get("REQUIRE_GPU_TESTS", "") not in ("", "0") and shutil.which("ffmpeg") is None:
        return _by_pyav(unit)
    demuxer = {H264: "h264", HEVC: "hevc", AV1: "obu"}[unit.stream.codec]
    stream = unit.stream
    command = ["ffmpeg", "-v", "error", "-f", demuxer, "-i", "-", "-frames:v", "1", "-f", "rawvideo"]
    done = subprocess.run([*command, "-"], input=unit.data, capture_output=True, check=True)
    samples = np.frombuffer(done.stdout, np.uint8 if stream.bit_depth == 8 else np.dtype("<u2"))
    shape = (stream.height, stream.width)
    across, down = {"420": (2, 2), "422": (2, 1), "444": (1, 1), "400": (0, 0)}[stream.chroma]
    if not across:  # some versions show monochrome as 4:2:0
        return [samples[: shape[0] * shape[1]].reshape(shape)]
    small = (-(-shape[0] // down), -(-shape[1] // across))
    sizes = np.cumsum([shape[0] * shape[1], small[0] * small[1]])
    y, u, v = np.split(samples, sizes)
    return [y.reshape(shape), u.reshape(small), v.reshape(small)]


def _by_pyav(unit: AccessUnit) -> list[np.ndarray]:
    context = av.CodecContext.create(DECODERS[unit.stream.codec], "r")
    (frame,) = [*context.decode(av.Packet(unit.data)), *context.decode(None)]
    dtype = np.dtype(np.uint8 if unit.stream.bit_depth == 8 else "<u2")
    planes = frame.planes[: 1 if unit.stream.chroma == "400" else 3]
    lines = [np.frombuffer(plane, dtype).reshape(plane.height, -1)[:, : plane.width] for plane in planes]
    return [plane.copy() for plane in lines]


def coded(unit: AccessUnit) -> av.VideoCodecContext:
    """What libavcodec has read of the headers."""
    context = av.CodecContext.create(DECODERS[unit.stream.codec], "r")
    context.decode(av.Packet(unit.data)), context.decode(None)
    return context


def nal_units(data: bytes) -> list[bytes]:
    parts = data.replace(b"\x00\x00\x00\x01", b"\x00\x00\x01").split(b"\x00\x00\x01")
    return [part for part in parts if part]


def joined(units: Sequence[bytes]) -> bytes:
    return b"".join(START + unit for unit in units)


def is_slice(codec: Codec, unit: bytes) -> bool:
    return unit[0] & 31 in (1, 5) if codec is H264 else unit[0] >> 1 & 63 < 32


def filtered(data: bytes, description: str, codec: Codec) -> bytes:
    """``data`` through a bitstream filter of FFmpeg."""
    return bytes(BitStreamFilterContext(description, codec.value).filter(av.Packet(data))[0])


def with_data(unit: AccessUnit, data: bytes) -> AccessUnit:
    return dataclasses.replace(unit, data=data)


class Bits:
    """Writes bits as the syntax tables of H.264 name them."""

    def __init__(self) -> None:
        self.bits = ""

    def u(self, count: int, value: int) -> Bits:
        self.bits += f"{value:0{count}b}" if count else ""
        return self

    def ue(self, *values: int) -> Bits:
        for value in values:
            code = f"{value + 1:b}"
            self.bits += "0" * (len(code) - 1) + code
        return self

    def aligned(self, fill: str = "0") -> Bits:
        self.bits += fill * (-len(self.bits) % 8)
        return self

    def raw(self, data: bytes) -> Bits:
        assert len(self.bits) % 8 == 0
        self.bits += "".join(f"{byte:08b}" for byte in data)
        return self

    def unit(self, first_byte: int) -> bytes:
        self.u(1, 1).aligned()
        return START + bytes([first_byte]) + int(self.bits, 2).to_bytes(len(self.bits) // 8, "big")


def field_pair() -> tuple[AccessUnit, AccessUnit, np.ndarray]:
    """A 16x32 picture coded as two fields of raw samples: the whole, its first field alone, and the luma."""
    rng = np.random.default_rng(5)
    luma = rng.integers(40, 200, (32, 16), dtype=np.uint8)
    sps = Bits().u(8, 77).u(8, 0).u(8, 30).ue(0, 0, 0, 0, 1).u(1, 0).ue(0, 0).u(1, 0).u(1, 0).u(1, 1).u(2, 0)
    pps = Bits().ue(0, 0).u(2, 0).ue(0, 0, 0).u(3, 0).ue(0, 0, 0).u(3, 0b100)
    head = sps.unit(0x67) + pps.unit(0x68)
    first, second = (_raw_field(luma[bottom::2], bottom) for bottom in (0, 1))
    info = StreamInfo(Codec.H264, 16, 32, interlaced=True)
    return AccessUnit(info, head + first + second, 0.0), AccessUnit(info, head + first, 0.0), luma


def _raw_field(luma: np.ndarray, bottom: int) -> bytes:
    bits = Bits().ue(0, 7, 0).u(4, 0).u(1, 1).u(1, bottom)
    bits = bits.u(4, bottom) if bottom else bits.ue(0).u(4, 0)  # the second field is no IDR picture
    bits = bits.u(1, 0) if bottom else bits.u(2, 0)
    bits = bits.ue(0, 1, 25).aligned().raw(luma.tobytes()).raw(bytes([128] * 128))
    return bits.unit(0x61 if bottom else 0x65)
