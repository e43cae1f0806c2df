"""NVDEC through PyNvVideoCodec: one access unit from memory in, one picture out; the one importer of that package.

The package is imported when a session opens, never before: without a driver its import raises, and a driver call
that fails inside it ends the whole process. So a session lives in a process of its own, the probe's or a worker's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harvester.model import AccessUnit, Picture, StreamInfo

#: Short name, as in the dataset's column ``decoder``.
NAME = "nvdec"


class DeviceError(Exception):
    """The package or the driver raised: the device's fault, or the stream's. The next picture may well decode."""


class Refused(Exception):
    """The device says that it cannot decode such a stream (codec, size, bit depth)."""


class Session:
    """The decoders of one thread on one GPU, one for each kind of stream met, kept for the next picture of it.

    ``gpu``: ordinal among the devices that this process sees. ``device_memory``: pictures stay on the GPU.
    Not thread-safe: one thread at a time.
    """

    def __init__(self, gpu: int = 0, *, device_memory: bool = False) -> None:
        self._gpu = gpu
        self._device_memory = device_memory

    def decode(self, unit: AccessUnit) -> Any:
        """The one picture of ``unit`` as NV12, its own copy: luma lines, then lines of interleaved chroma.

        An array (height · 3 / 2, width) of uint8, or uint16 with the value in the *high* bits (P016); NumPy's, or
        CuPy's with ``device_memory``, made on the session's stream. Raises :class:`MediaError` (corrupt),
        :class:`Refused`, :class:`DeviceError`; after any of them the next unit is decoded by a new decoder.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Drop the decoders; the session makes new ones if it is used again."""


def luma(nv12: NDArray[Any], stream: StreamInfo) -> Picture:
    """The luma plane alone of :meth:`Session.decode`'s array, for measuring; of 8 bits without copying."""
    return Picture(stream, _low_bits(nv12[: stream.height], stream), None, None)


def to_picture(nv12: NDArray[Any], stream: StreamInfo) -> Picture:
    """A picture with planes of its own, from :meth:`Session.decode`'s array in host memory."""
    y, chroma = nv12[: stream.height], nv12[stream.height :]
    planes = (y, chroma[:, 0::2], chroma[:, 1::2])
    return Picture(stream, *(_low_bits(plane, stream).copy() for plane in planes))


def _low_bits(plane: NDArray[Any], stream: StreamInfo) -> NDArray[np.uint8] | NDArray[np.uint16]:
    shift = 8 * plane.itemsize - stream.bit_depth
    return plane >> shift if shift else plane
