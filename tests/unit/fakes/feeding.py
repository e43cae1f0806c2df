"""Streams for the fake PyNvVideoCodec, a hand that feeds it, and processes of its own for what ends one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from harvester.model import AccessUnit, Codec
from tests.contract.streams import H264, HEVC, Sample, player
from tests.fakes import environment

#: What memory that was given back holds.
FREED = 0xDD
SMALL = Sample("small", H264, 160, 96)
LARGE = Sample("large", H264, 320, 184)  # coded 320x192
CROPPED = Sample("cropped", HEVC, 190, 160)
DEEP = Sample("deep", HEVC, 192, 160, pix_fmt="yuv420p10le")


def opened(package: ModuleType, codec: Codec = H264, latency: str = "LOW", **more: Any) -> Any:
    kinds = {"codec": package.cudaVideoCodec[codec.name], "latency": package.DisplayDecodeLatencyType[latency]}
    return package.CreateDecoder(**kinds, **more)


class Fed:
    """Packets over memory that lives as long as this does."""

    def __init__(self, package: ModuleType, decoder: Any) -> None:
        self.package, self.decoder = package, decoder

    def __call__(self, data: bytes, pts: int = 0, ends: bool = True) -> list[Any]:
        memory = np.frombuffer(data, np.uint8)
        packet = self.package.PacketData()
        packet.bsl, packet.bsl_data, packet.pts = len(data), memory.ctypes.data, pts
        packet.decode_flag = self.package.VideoPacketFlag.ENDOFPICTURE if ends else 0
        return self.decoder.Decode(packet)


def luma(frame: Any, height: int) -> np.ndarray:
    return np.from_dlpack(frame)[:height].copy()


def assert_right(frame: Any, unit: AccessUnit) -> None:
    y, u, v = player(unit)
    got = np.from_dlpack(frame) >> (6 if unit.stream.bit_depth == 10 else 0)
    np.testing.assert_array_equal(got, np.vstack([y, np.dstack([u, v]).reshape(u.shape[0], -1)]))


BEGIN = """
import atexit, sys, threading
sys.path.insert(0, sys.argv[1])
atexit.register(print, "at exit", flush=True)
import PyNvVideoCodec as package
from tests.unit.fakes.feeding import SMALL, Fed, opened
data = SMALL.unit().data
try:
    feed = Fed(package, opened(package))
    {}
finally:
    print("finally", flush=True)
"""


def child(body: str, **machine: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", BEGIN.format(body.replace("\n", "\n    ")), str(Path(__file__).parents[3])]
    variables = {"PATH": "", **environment(**machine)}
    return subprocess.run(command, capture_output=True, text=True, env=variables, check=False)
