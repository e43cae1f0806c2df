"""What is known of the machine's GPUs as decoders: records, made by the probe, asked before a picture is sent."""

from __future__ import annotations

from dataclasses import dataclass

from harvester.model import Codec, StreamInfo

#: Luma samples of a macroblock's side; NVIDIA counts a picture's size in them whatever the codec.
_MACROBLOCK = 16

#: Problems of a verdict on machines that mostly have no GPU at all; the others are those of one that is there.
NO_GPU = frozenset({"platform", "package", "driver"})


@dataclass(frozen=True, slots=True)
class CodecCaps:
    """What one GPU decodes of one codec at one bit depth, 4:2:0, as ``GetDecoderCaps`` tells it (pixels)."""

    codec: Codec
    bit_depth: int
    engines: int  # decoder engines (NVDECs) that do it; 0 = not supported
    min_width: int = 0
    min_height: int = 0
    max_width: int = 0
    max_height: int = 0
    max_macroblocks: int = 0

    @property
    def supported(self) -> bool:
        return self.engines > 0

    def takes_size(self, width: int, height: int) -> bool:
        """Whether a coded picture of that size is decoded; the library itself does not look at the minimum."""
        macroblocks = -(-width // _MACROBLOCK) * -(-height // _MACROBLOCK)
        return (
            self.min_width <= width <= self.max_width
            and self.min_height <= height <= self.max_height
            and macroblocks <= self.max_macroblocks
        )


@dataclass(frozen=True, slots=True)
class GpuDevice:
    """One GPU that has proved to decode. ``selector`` is what ``CUDA_VISIBLE_DEVICES`` of its worker is set to."""

    selector: str
    name: str
    caps: tuple[CodecCaps, ...]

    @property
    def engines(self) -> int:
        """Decoder engines of this GPU."""
        return max((caps.engines for caps in self.caps), default=0)

    def __str__(self) -> str:
        """Such as ``NVIDIA H200, 7 engines: h264 8 bit, hevc 8 and 10 bit``."""
        engines = f"{self.engines} engine{'s' * (self.engines != 1)}"
        depths: dict[Codec, list[str]] = {}
        for caps in self.caps:
            if caps.supported:
                depths.setdefault(caps.codec, []).append(str(caps.bit_depth))
        codecs = ", ".join(f"{codec} {' and '.join(bits)} bit" for codec, bits in depths.items())
        return f"{self.name}, {engines}: {codecs}"

    def refusal(self, stream: StreamInfo) -> str:
        """Why this GPU must not be given such a picture, as a slug; "" if it may.

        codec | bit-depth | chroma | size: the hardware's limits, and odd sizes, for which the library rounds width
        up and chroma down (AV1 alone has them). crop: its copy starts at the coded picture's corner, so a left or
        top crop would give another picture (invariants §2). interlaced: a packet holds one field there.
        """
        depths = {caps.bit_depth: caps for caps in self.caps if caps.codec is stream.codec and caps.supported}
        if not depths:
            return "codec"
        if stream.bit_depth not in depths:
            return "bit-depth"
        if stream.chroma != "420":
            return "chroma"
        odd = stream.width % 2 or stream.height % 2
        if odd or not depths[stream.bit_depth].takes_size(stream.coded_width, stream.coded_height):
            return "size"
        if stream.crop[0] or stream.crop[1]:
            return "crop"
        return "interlaced" if stream.interlaced else ""


@dataclass(frozen=True, slots=True)
class GpuVerdict:
    """What the probe found: GPUs that decode, or why there is none (``problem``, a slug) and what to do.

    With devices ``why`` and ``fix`` are of other GPUs that were tried as well and do not decode, else "".
    """

    devices: tuple[GpuDevice, ...] = ()
    problem: str = ""
    why: str = ""  # one printable line
    fix: str = ""

    def __post_init__(self) -> None:
        if bool(self.devices) == bool(self.problem):
            raise ValueError("a verdict has devices, or a problem")

    @property
    def usable(self) -> bool:
        return bool(self.devices)
