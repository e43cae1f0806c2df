"""The CUDA driver by ctypes: streams, copies, free memory; nothing to install, nothing that ends the process."""

from __future__ import annotations

import ctypes
from ctypes import byref, c_int, c_size_t, c_uint, c_void_p
from typing import Any

import numpy as np

#: ``CU_STREAM_NON_BLOCKING``: it does not wait for the default stream, nor that for it.
_NON_BLOCKING = 1


class DriverError(Exception):
    """A driver call that failed: its name and number (``CUresult``)."""


class Cuda:
    """The first GPU that this process sees, with its primary context (the one CuPy and torch use too)."""

    def __init__(self) -> None:
        """Raises OSError where there is no driver, DriverError where there is no GPU."""
        self._driver = ctypes.CDLL("libcuda.so.1")
        self._call("cuInit", 0)
        if not self.count():
            raise DriverError("the driver shows no GPU")
        self._device = c_int()
        self._call("cuDeviceGet", byref(self._device), 0)
        self._context = c_void_p()

    def _call(self, name: str, *arguments: Any) -> None:
        result = getattr(self._driver, name)(*arguments)
        if result:
            raise DriverError(f"{name} gives {result}")

    def count(self) -> int:
        """GPUs that this process sees."""
        number = c_int()
        self._call("cuDeviceGetCount", byref(number))
        return number.value

    def name(self) -> str:
        text = ctypes.create_string_buffer(256)
        self._call("cuDeviceGetName", text, 256, self._device)
        return text.value.decode(errors="replace")

    def uuid(self) -> str | None:
        """As ``nvidia-smi -L`` writes it; None where the driver does not tell."""
        raw = (ctypes.c_ubyte * 16)()
        try:
            self._call("cuDeviceGetUuid", byref(raw), self._device)
        except (AttributeError, DriverError):
            return None
        digits = bytes(raw).hex()
        parts = (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])
        return "GPU-" + "-".join(parts)

    def enter(self) -> None:
        """Make the context this thread's, creating it at first."""
        if not self._context:
            self._call("cuDevicePrimaryCtxRetain", byref(self._context), self._device)
        self._call("cuCtxSetCurrent", self._context)

    def stream(self) -> int:
        """A new stream, never destroyed: the process is short."""
        self.enter()
        handle = c_void_p()
        self._call("cuStreamCreate", byref(handle), c_uint(_NON_BLOCKING))
        return handle.value or 0

    def wait(self, stream: int) -> None:
        """Until all work of the stream is done."""
        self._call("cuStreamSynchronize", c_void_p(stream))

    def memory(self) -> tuple[int, int]:
        """Free and total memory of the GPU (bytes)."""
        self.enter()
        free, total = c_size_t(), c_size_t()
        self._call("cuMemGetInfo_v2", byref(free), byref(total))
        return free.value, total.value

    def to_host(self, address: int, into: np.ndarray, stream: int) -> None:
        """Queue a copy of ``into.nbytes`` bytes from the GPU behind the stream's work."""
        self._call(
            "cuMemcpyDtoHAsync_v2",
            c_void_p(into.ctypes.data),
            ctypes.c_uint64(address),
            c_size_t(into.nbytes),
            c_void_p(stream),
        )


def open_cuda() -> Cuda | None:
    """The driver, or None where there is none: with a stand-in for PyNvVideoCodec."""
    try:
        cuda = Cuda()
    except OSError:
        return None
    cuda.enter()
    return cuda
