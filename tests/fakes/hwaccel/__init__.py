"""A driver for libavcodec's hwaccel and for the real PyNvVideoCodec, compiled from ``driver.cpp``, and the pictures
that its GPU shall decode to."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np

from harvester.decode.cpu import CpuDecoder
from harvester.media import h264, hevc
from harvester.model import AccessUnit, Codec, StreamInfo
from tests.conftest import program
from tests.contract.streams import is_slice, nal_units

SOURCE = Path(__file__).with_name("driver.cpp")

#: All files of the driver; libavcodec needs the first two of them, PyNvVideoCodec the third as well.
FILES = ("libcuda.so.1", "libnvcuvid.so.1", "libnvidia-encode.so.1")

#: What the surface holds outside of the picture to be shown: nobody may see it.
OUTSIDE = 7


def build(folder: Path, names: tuple[str, ...] = FILES[:2]) -> Path:
    """Put the driver's files of those names into ``folder``."""
    for name in names:
        part = {"libcuda.so.1": ["-DCUDA"], "libnvidia-encode.so.1": ["-DENCODER"]}.get(name, [])
        command = [program("g++"), "-std=gnu++17", "-O1", "-shared", "-fPIC", "-Wall", "-Werror", *part]
        subprocess.run([*command, str(SOURCE), "-o", str(folder / name)], check=True)
    return folder


def true_unit(unit: AccessUnit) -> AccessUnit:
    """The unit with the coded size and crop that its SPS says."""
    parse, kind = (h264.parse_sps, 7) if unit.stream.codec is Codec.H264 else (hevc.parse_sps, 33)
    shift, mask = (0, 31) if unit.stream.codec is Codec.H264 else (1, 63)
    sps = next(nal for nal in nal_units(unit.data) if nal[0] >> shift & mask == kind)
    return AccessUnit(parse(sps).stream, unit.data, unit.moment_s)


def teach(folder: Path, unit: AccessUnit) -> None:
    """From now on the GPU decodes ``unit`` to what libavcodec's software makes of it."""
    first = next(nal for nal in nal_units(unit.data) if is_slice(unit.stream.codec, nal))
    stream, (left, top, right, bottom) = unit.stream, unit.stream.crop
    shown = (left, top, stream.coded_width - right, stream.coded_height - bottom)
    sequence = " ".join(map(str, (stream.coded_width, stream.coded_height, *shown, stream.bit_depth)))
    (folder / f"{first[:16].hex()}.format").write_text(f"{sequence}\n", encoding="ascii")
    (folder / first[:16].hex()).write_bytes(surface(unit).tobytes())


def surface(unit: AccessUnit) -> np.ndarray:
    """The coded picture as NVDEC writes it: NV12, or P016 with the value in the high bits."""
    picture = CpuDecoder().decode(unit)
    assert picture.u is not None and picture.v is not None
    stream: StreamInfo = unit.stream
    rows, columns = stream.coded_height, stream.coded_width
    lines = np.full((rows * 3 // 2, columns), OUTSIDE, picture.y.dtype)
    left, top, _, _ = stream.crop
    lines[top : top + stream.height, left : left + stream.width] = picture.y
    chroma = lines[rows + top // 2 :, left:]
    chroma[: len(picture.u), 0 : stream.width : 2] = picture.u
    chroma[: len(picture.v), 1 : stream.width : 2] = picture.v
    return lines << (16 - stream.bit_depth) if stream.bit_depth > 8 else lines
