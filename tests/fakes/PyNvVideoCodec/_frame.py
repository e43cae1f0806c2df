"""Where frames lie, and the frame objects, which are no more than addresses."""

from __future__ import annotations

import ctypes
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._enums import Pixel_Format
from ._errors import failure

#: Memory that was given back holds this.
FREED = 0xDD

#: Freed memory that is kept for a while: reading it gives FREED, where a real address would be anybody's.
_freed: deque[NDArray[np.uint8]] = deque(maxlen=16)


@dataclass(frozen=True)
class Layout:
    """Size of a frame as it is handed out, pixels. The width is even; chroma has ``height // 2`` lines."""

    width: int
    height: int
    sample_bytes: int

    @property
    def lines(self) -> int:
        return self.height + self.height // 2

    @property
    def nbytes(self) -> int:
        return self.width * self.lines * self.sample_bytes


class Slot:
    """Memory of one frame, filled again and again."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._memory = np.full(layout.nbytes, FREED, np.uint8)

    @property
    def address(self) -> int:
        return int(self._memory.ctypes.data)

    def fill(self, picture: NDArray[Any]) -> None:
        self._memory[:] = np.ascontiguousarray(picture).view(np.uint8).ravel()

    def free(self) -> None:
        self._memory[:] = FREED
        _freed.append(self._memory)


class CAIMemoryView:
    """A plane as ``__cuda_array_interface__``, with the real one's mistakes: lists for shape and strides, stream 0
    (which the protocol forbids) or always 2, and strides of 8 bit for 16."""

    def __init__(self, address: int, shape: list[int], dtype: str, stream: int) -> None:
        self.dataptr = address
        self.shape = shape
        self.stride = [shape[1] * shape[2], shape[2], 1]
        self._dtype, self._stream = dtype, stream

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape,
            "strides": self.stride,
            "typestr": self._dtype,
            "data": (self.dataptr, False),
            "stream": self._stream,
            "version": 3,
        }


class DecodedFrame:
    """A frame that belongs to its decoder: NV12, or P016 with the value in the high bits. Of one in device memory
    there is only the address."""

    def __init__(self, slot: Slot, pts: int, stream: int, on_device: bool = False) -> None:
        self._on_device = on_device
        self._address, self._layout = slot.address, slot.layout
        self._stream = stream
        self.timestamp = pts
        self.decoder_stream_event = 0

    @property
    def shape(self) -> list[int]:
        return [self._layout.lines, self._layout.width]

    @property
    def strides(self) -> list[int]:
        return [self._layout.width * self._layout.sample_bytes, self._layout.sample_bytes]

    @property
    def dtype(self) -> str:
        return "|u1"  # also for P016

    @property
    def format(self) -> Pixel_Format:
        return Pixel_Format.NV12 if self._layout.sample_bytes == 1 else Pixel_Format.P016

    def getPTS(self) -> int:
        return self.timestamp

    def getSEIMessage(self) -> list[Any]:
        return []

    def framesize(self) -> int:
        return self._layout.nbytes

    def nv12_to_rgb(self) -> None:
        """Does nothing, as in the real package."""

    def GetPtrToPlane(self, plane: int) -> int:
        layout = self._layout
        return self._address + (layout.width * layout.height * layout.sample_bytes if plane else 0)

    def cuda(self) -> list[CAIMemoryView]:
        layout = self._layout
        dtype, stream = ("|u1" if layout.sample_bytes == 1 else "|u2"), (2 if self._stream else 0)
        luma, chroma = [layout.height, layout.width, 1], [layout.height // 2, layout.width // 2, 2]
        return [
            CAIMemoryView(self.GetPtrToPlane(0), luma, dtype, stream),
            CAIMemoryView(self.GetPtrToPlane(1), chroma, dtype, stream),
        ]

    def __dlpack_device__(self) -> tuple[int, int]:
        return (2 if self._on_device else 1, 0)  # kDLCUDA, kDLCPU

    def __dlpack__(self, stream: object = 0) -> Any:
        """A capsule over the frame's own memory. Takes no other argument, so NumPy asks twice."""
        if stream is None:
            raise RuntimeError("Unable to cast Python instance of type <class 'NoneType'> to C++ type 'int'")
        if not isinstance(stream, int) or stream < -1 or (self._on_device and not stream):
            raise failure("__dlpack__", 801, "invalid stream", "src/PyCAIMemoryView.cpp:100")
        if self._on_device:
            raise NotImplementedError("the fake PyNvVideoCodec gives frames in device memory by address alone")
        return self._array().__dlpack__()

    def _array(self) -> NDArray[Any]:
        memory = (ctypes.c_uint8 * self._layout.nbytes).from_address(self._address)
        dtype = np.uint8 if self._layout.sample_bytes == 1 else np.dtype("<u2")
        return np.frombuffer(memory, dtype).reshape(self._layout.lines, self._layout.width)
