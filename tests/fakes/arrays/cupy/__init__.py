"""A stand-in for CuPy on machines without a GPU: as much of it as ``harvester.decode.cuda`` uses.

Device memory is host memory. What is put on a stream waits there and is done when somebody waits for the stream or
for an event on it, never earlier: a result that is read too soon is wrong every time, not now and then. A kernel is
compiled by g++, and its threads run one after the other from barrier to barrier (``simt.cpp``), in an order that
``FAKE_CUPY_ORDER`` sets: 0 forward, 1 backward, n shuffled.

It proves: the arithmetic and the barriers of the kernel's text, the order of copies, kernels and waiting, which
functions are called with what. It does not prove: that NVRTC takes the text, that additions which should be atomic
are (no thread is interrupted between barriers), anything of speed, or that this is how CuPy behaves: the functions
follow its documentation.

``FAKE_CUPY`` lets it fail: ``no-device`` (making a stream), ``compile`` (compiling a kernel), ``wrong`` (a kernel
counts one too many), ``import``.
"""

from __future__ import annotations

import os

import numpy as np

from . import cuda
from ._simt import launch

if os.environ.get("FAKE_CUPY") == "import":
    raise ImportError("CuPy failed to load libnvrtc.so.13: OSError: cannot open shared object file")

__all__ = ["RawKernel", "cuda", "empty", "ndarray"]


class ndarray:
    """An array in device memory: nothing of the host's reads it by accident."""

    def __init__(self, shape, dtype=float, memptr=None):
        self._memory = np.full(shape, 0xA5, np.uint8).astype(dtype) if memptr is None else memptr
        self.shape, self.dtype = self._memory.shape, self._memory.dtype
        self.itemsize, self.nbytes = self._memory.itemsize, self._memory.nbytes
        self.data = cuda.MemoryPointer(self._memory.ctypes.data, self._memory)


def empty(shape, dtype=float):
    """Memory with something in it."""
    return ndarray(shape, dtype)


class RawKernel:
    """The kernel ``name`` of a text in CUDA C++; compiled at its first launch."""

    def __init__(self, code, name, options=(), backend="nvrtc"):
        self.code, self.name = code, name

    def __call__(self, grid, block, args, *, shared_mem=0):
        stream = cuda.get_current_stream()
        assert stream.ptr, "a launch on the default stream"
        for argument in args:
            assert isinstance(argument, np.generic), f"{argument!r} would be passed as 8 bytes"
        grid, block = (*grid, 1, 1)[:3], (*block, 1, 1)[:3]
        stream.put(lambda: launch(self.code, grid, block, args))
