"""PyNvVideoCodec bare: what harvester's own session is compared with, and what shows the package's ways.

:mod:`harvester.decode.nvdec` is what runs use; here nothing is guarded, since the ways are what is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from harvester.model import Codec

CODECS = {Codec.H264: "H264", Codec.HEVC: "HEVC", Codec.AV1: "AV1"}
LATENCIES = ("LOW", "ZERO", "NATIVE")


def load() -> Any:
    """The package. Raises RuntimeError or ImportError where the driver's files are not there."""
    import PyNvVideoCodec

    return PyNvVideoCodec


def is_fake(package: Any) -> bool:
    """Whether a stand-in of the tests was imported, which says so in its path and version."""
    marks = (str(getattr(package, "__file__", "")), str(getattr(package, "__version__", "")))
    return any("fake" in mark.lower() for mark in marks)


class Raw:
    """One decoder of the package, as it comes.

    ``stream``: CUDA stream as an integer, 0 = the default one. ``largest``: (width, height) it may be reconfigured
    to, (0, 0) = the first picture's.
    """

    def __init__(
        self,
        package: Any,
        codec: Codec,
        *,
        latency: str = "LOW",
        device_memory: bool = False,
        stream: int = 0,
        largest: tuple[int, int] = (0, 0),
    ) -> None:
        self._package = package
        self._decoder = package.CreateDecoder(
            gpuid=0,
            codec=getattr(package.cudaVideoCodec, CODECS[codec]),
            cudacontext=0,
            cudastream=stream,
            usedevicememory=device_memory,
            maxwidth=largest[0],
            maxheight=largest[1],
            outputColorType=package.OutputColorType.NATIVE,
            latency=getattr(package.DisplayDecodeLatencyType, latency),
        )

    def decode(self, data: bytes, pts: int = 0, *, end_of_picture: bool = True) -> Sequence[Any]:
        """Frames that come out at this call. Their memory is the decoder's: the next call overwrites it."""
        packet = self._package.PacketData()
        held = np.frombuffer(data, np.uint8)  # the package reads the bytes at this address until Decode returns
        packet.bsl_data, packet.bsl, packet.pts = held.ctypes.data, held.size, pts
        if end_of_picture:
            packet.decode_flag = self._package.VideoPacketFlag.ENDOFPICTURE
        return list(self._decoder.Decode(packet))

    def flush(self) -> Sequence[Any]:
        """The frames that are still inside."""
        packet = self._package.PacketData()
        packet.bsl = 0
        return list(self._decoder.Decode(packet))

    def announce(self, width: int, height: int) -> Any:
        """Tell that pictures of another size follow."""
        return self._decoder.setReconfigParams(width, height)


def view(frame: Any) -> np.ndarray:
    """A frame in host memory without copying it: NV12 lines, uint8 or uint16."""
    return np.from_dlpack(frame)


def pts_of(frame: Any) -> int:
    return int(frame.timestamp)
