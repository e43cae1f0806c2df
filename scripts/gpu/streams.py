"""The keyframes that are decoded: records, and how they are encoded from the package's footage.

Everything is made at the start by the encoders in PyAV's wheels, so that a machine needs no file but the
repository: real game pictures, each access unit read back by harvester's own parsers, as a run would feed it.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.bitstream import BitStreamFilterContext

from harvester.media.av1 import temporal_unit_picture
from harvester.media.pictures import PictureScan, syntax_for
from harvester.model import AccessUnit, Codec, StreamInfo

FOOTAGE = Path(__file__).parents[2] / "harvester" / "sandbox" / "footage"
H264, HEVC, AV1 = Codec.H264, Codec.HEVC, Codec.AV1
_ENCODERS = {H264: "libx264", HEVC: "libx265", AV1: "libsvtav1"}
_OPTIONS = {H264: "x264-params", HEVC: "x265-params", AV1: "svtav1-params"}
_QUIET = {
    H264: "annexb=1:repeat-headers=1:log=-1",
    HEVC: "annexb=1:repeat-headers=1:log-level=none:pools=none",
    AV1: "lp=1",
}
#: A size is reached when an access unit is within this share of it, or after so many encodes.
_NEAR, _TRIES = 0.1, 4
#: Six steps of the quantizer halve the size, roughly (H.264 §7.4.2.2: its scale doubles).
_QP_HALVES = 6


@dataclass(frozen=True, slots=True)
class Case:
    """One way to encode. ``frames``: pictures encoded, of which the first access unit counts."""

    name: str
    codec: Codec = H264
    width: int = 640
    height: int = 360
    pix_fmt: str = "yuv420p"
    params: str = "keyint=1"
    frames: int = 1
    metadata: str = ""  # of the codec's metadata filter: rewrites the headers of the finished stream
    scene: int = 0


@dataclass(frozen=True, slots=True)
class Streams:
    """What the step ``streams`` hands to the others. ``exact``: by name of the case. ``sized``: by (codec, lines,
    kB); several pictures of about that size each."""

    exact: Mapping[str, AccessUnit] = field(default_factory=dict)
    sized: Mapping[tuple[Codec, int, int], Sequence[AccessUnit]] = field(default_factory=dict)


#: Fact by fact what must come out as libavcodec has it: sizes, coding tools, colours, depths, codecs.
CASES = (
    Case("360p"),
    Case("480p", width=852, height=480),
    Case("720p", width=1280, height=720),
    Case("900p", width=1600, height=900),
    Case("1080p", width=1920, height=1080),
    Case("1088p", width=1920, height=1088),  # coded as 1080p is, shown otherwise
    Case("1440p", width=2560, height=1440),
    Case("portrait", width=608, height=1080),
    Case("1922x1082", width=1922, height=1082),
    Case("b-frames", width=1280, height=720, params="keyint=60:bframes=3:b-pyramid=2", frames=8, scene=1),
    Case("no-b-frames", width=1280, height=720, params="keyint=60:bframes=0", frames=8, scene=1),
    Case("cavlc", params="keyint=1:cabac=0", scene=2),
    Case("baseline", params="keyint=1:cabac=0:8x8dct=0:weightp=0", scene=2),
    Case("slices", width=1280, height=720, params="keyint=1:slices=8", scene=3),
    Case("interlaced", width=1280, height=720, params="keyint=1:interlaced=1", scene=3),
    Case("full-range", pix_fmt="yuvj420p", scene=4),
    Case("bt601", params="keyint=1:colormatrix=smpte170m", scene=4),
    Case("bt709", params="keyint=1:colormatrix=bt709", scene=4),
    Case("left-crop", metadata="crop_left=16:crop_top=8", scene=4),
    Case("small", width=96, height=64),
    Case("h264-10", pix_fmt="yuv420p10le"),
    Case("hevc", HEVC, 1280, 720),
    Case("hevc-1080p", HEVC, 1920, 1080, scene=1),
    Case("hevc-852", HEVC, 852, 480, scene=2),
    Case("hevc-10", HEVC, 1280, 720, "yuv420p10le", scene=2),
    Case("hevc-slices", HEVC, 1280, 720, params="keyint=1:slices=4:pools=2", scene=3),
    Case("av1", AV1, scene=3),
)
#: What ``--quick`` makes of them.
QUICK_CASES = (
    "360p",
    "480p",
    "720p",
    "1080p",
    "1088p",
    "b-frames",
    "no-b-frames",
    "left-crop",
    "hevc-10",
    "h264-10",
)

WIDTHS = {1080: 1920, 720: 1280, 480: 852}
#: Sizes of keyframes that throughput is measured with (kB); Twitch's of 1080p60 are 80 to 350.
SIZES_KB = (50, 100, 200, 400)
MAIN_KB = 200
#: Different pictures of each size: no decoder sees the same bytes twice in a row.
PICTURES = 4


def sized_keys(*, quick: bool) -> tuple[tuple[Codec, int, int], ...]:
    """(codec, lines, kB) of the keyframes of a certain size."""
    if quick:
        return ((H264, 1080, MAIN_KB), (H264, 720, 100), (H264, 480, 50), (HEVC, 1080, MAIN_KB))
    h264 = [(H264, lines, size) for lines in (1080, 720) for size in SIZES_KB]
    return (*h264, (H264, 480, 50), (HEVC, 1080, 100), (HEVC, 1080, MAIN_KB))


@cache
def scenes() -> tuple[np.ndarray, ...]:
    """The first picture of each session of the games, BGR (720, 1280, 3)."""
    files = sorted(path for path in FOOTAGE.glob("*-720p.mp4") if not path.name.startswith("junk"))
    return tuple(_first_picture(path) for path in files)


def _first_picture(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return next(container.decode(video=0)).to_ndarray(format="bgr24")


def picture(scene: int, number: int, width: int, height: int) -> np.ndarray:
    """A look at a scene, BGR; ``number`` pans it."""
    source = scenes()[scene % len(scenes())]
    if height > width:
        source = np.rot90(source)
    margin = 2 * number
    cut = source[8 : source.shape[0] - 8, margin : source.shape[1] - 64 + margin]
    return np.ascontiguousarray(cv2.resize(cut, (width, height), interpolation=cv2.INTER_CUBIC))


def encode(case: Case, qp: int = 22) -> bytes:
    """The first packet of the case at that quantizer: H.264 and HEVC as Annex B, AV1 as OBUs."""
    encoder: Any = av.CodecContext.create(_ENCODERS[case.codec], "w")
    encoder.width, encoder.height, encoder.pix_fmt = case.width, case.height, case.pix_fmt
    encoder.time_base, encoder.framerate, encoder.thread_count = Fraction(1, 30), 30, 1
    params = case.params if case.codec is AV1 else f"qp={qp}:{case.params}"
    encoder.options = {
        _OPTIONS[case.codec]: f"{_QUIET[case.codec]}:{params}",
        "preset": "10" if case.codec is AV1 else "veryfast",
    }
    packets = []
    for number in range(case.frames):
        image = picture(case.scene, number, case.width, case.height)
        frame = av.VideoFrame.from_ndarray(image, format="bgr24").reformat(format=case.pix_fmt)
        frame.pts, frame.time_base = number, encoder.time_base
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    data = bytes(packets[0])
    if case.metadata:
        data = bytes(BitStreamFilterContext(f"{case.codec}_metadata={case.metadata}", case.codec).filter(
            av.Packet(data))[0])  # fmt: skip
    return data


def unit_of(codec: Codec, data: bytes) -> AccessUnit:
    """An encoder's packet as harvester's parsers see it."""
    if codec is AV1:
        found = temporal_unit_picture(data, b"")
    else:
        syntax = syntax_for(codec)
        pictures = iter(PictureScan(data, syntax, closed=True))
        first = next(pictures)
        found = syntax.random_access(first.slices, first.bytes_of(data))
    if found is None:
        raise ValueError(f"the encoder's {codec} packet is no keyframe")
    return AccessUnit(found.stream, found.data, 0.0)


def exact_unit(case: Case) -> AccessUnit:
    """The access unit of a case."""
    return unit_of(case.codec, encode(case))


def sized_unit(codec: Codec, lines: int, size_kb: int, number: int) -> AccessUnit:
    """A keyframe of about ``size_kb`` thousand bytes, the nearest of a few encodes."""
    case = Case("sized", codec, WIDTHS[lines], lines, scene=number)
    qp, best = 24, b""
    for _ in range(_TRIES):
        data = encode(case, qp)
        if not best or abs(len(data) / 1000 - size_kb) < abs(len(best) / 1000 - size_kb):
            best = data
        step = round(_QP_HALVES * math.log2(len(data) / 1000 / size_kb))
        if not step or abs(len(data) / 1000 / size_kb - 1) < _NEAR:
            break
        qp = min(51, max(1, qp + step))
    return unit_of(codec, best)


def sized_units(
    keys: Sequence[tuple[Codec, int, int]], pictures: int, workers: int
) -> Iterator[tuple[tuple[Codec, int, int], list[AccessUnit]]]:
    """For each key its ``pictures`` access units; encoded on ``workers`` threads at once."""
    with ThreadPoolExecutor(workers) as pool:
        jobs = {key: [pool.submit(sized_unit, *key, number) for number in range(pictures)] for key in keys}
        for key, futures in jobs.items():
            yield key, [future.result() for future in futures]


def with_data(unit: AccessUnit, data: bytes) -> AccessUnit:
    """Another picture of the same stream."""
    return AccessUnit(unit.stream, data, 0.0)


def damaged(data: bytes) -> bytes:
    """``data`` with 200 bytes in its middle inverted."""
    middle = len(data) // 2
    return data[:middle] + bytes(255 - byte or 1 for byte in data[middle : middle + 200]) + data[middle + 200 :]


def movie(units: Sequence[AccessUnit], count: int) -> bytes:
    """An MP4 of ``count`` keyframes, the units in turn: what PyNvVideoCodec's own file decoders take."""
    stream = b"".join(unit.data for unit in units)
    source = av.open(io.BytesIO(stream), format=str(units[0].stream.codec))
    target = io.BytesIO()
    with source, av.open(target, "w", format="mp4") as container:
        track = container.add_stream_from_template(source.streams.video[0])
        for number in range(count):
            packet = av.Packet(units[number % len(units)].data)
            packet.stream, packet.time_base = track, Fraction(1, 30)
            packet.pts = packet.dts = number
            packet.duration, packet.is_keyframe = 1, True
            container.mux(packet)
    return target.getvalue()


def shape_of(stream: StreamInfo) -> tuple[int, int]:
    """Of its NV12 plane block: luma lines and below them half as many of chroma."""
    return stream.height * 3 // 2, stream.width
