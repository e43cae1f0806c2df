"""The CUDA runtime's calls, with CuPy's names and order of arguments (docs.cupy.dev, cupy.cuda.runtime)."""

from __future__ import annotations

import ctypes

memcpyHostToDevice, memcpyDeviceToHost, memcpyDeviceToDevice = 1, 2, 3

streams = {}  # handle -> Stream


class CUDARuntimeError(RuntimeError):
    pass


def memcpyAsync(dst, src, size, kind, stream):
    assert kind in (1, 2, 3)
    streams[stream].put(lambda: ctypes.memmove(dst, src, size))


def memsetAsync(ptr, value, size, stream):
    streams[stream].put(lambda: ctypes.memset(ptr, value, size))
