"""Pictures that stay on the GPU: measured there, copied to the host only if kept; the one importer of CuPy.

``measure.cu`` computes the record of :func:`harvester.vision.measure.measure` with one launch a picture, in
integers, so the order of its thousands of threads does not matter. Out of CuPy's array functions it would be some
twenty launches over many times the memory, and cuBLAS to load; this needs run-time compiler, streams and memory.

What is proved without a GPU: the tests compile the same text as C++, run its threads in several orders between the
barriers, and get the host's integers. What is not: that NVRTC takes it, and the device. So :func:`refusal`
measures made-up pictures on this GPU first, beside the host; whoever gets a reason back measures on the host.

CuPy's interfaces used here are documented at docs.cupy.dev (``RawKernel``, ``cuda.Stream``, ``cuda.Event``,
``cuda.alloc_pinned_memory``, ``cuda.runtime``). Addresses go in as plain integers: the array views of a
PyNvVideoCodec frame (``__cuda_array_interface__``) name a wrong stream, and at 10 bits wrong strides.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harvester.model import GRID_SIDE, TILE_COLS, TILE_ROWS, Codec, Measurement, Picture, StreamInfo, Variogram
from harvester.text import printable
from harvester.vision.measure import measure, pack

#: As measure.cu has them: columns and lines of a block.
_THREADS, _LINES = 256, 16

_PARTS = (GRID_SIDE * GRID_SIDE, 256, TILE_ROWS * TILE_COLS, TILE_ROWS * TILE_COLS, 1, 2)
#: Counters of a picture: grid, histogram, tile sums, tile squares, gradient, variogram.
_COUNTERS = sum(_PARTS)

#: What a sample is called in C, by bytes.
_SAMPLES = {1: "unsigned char", 2: "unsigned short"}

#: Display sizes and bit depths of the pictures that :func:`refusal` measures: pixels that borders divide, several
#: blocks both ways, both kinds of samples.
_TRIALS = ((642, 358, 8), (322, 182, 10), (2, 2, 8))


class DeviceBench:
    """One thread's place on its GPU: a stream, on which its pictures are copied and measured in turn.

    Pictures are CuPy arrays (height · 3 / 2, width), NV12 or P016 (uint16, the value in the high bits). Their
    memory comes from CuPy's pool and goes back to it with the last reference. Not thread-safe. Raises what CuPy
    raises, see :func:`device_errors`.
    """

    def __init__(self) -> None:
        import cupy

        self._cupy = cupy
        self._runtime = cupy.cuda.runtime
        self._stream = cupy.cuda.Stream(non_blocking=True)
        self._done = cupy.cuda.Event(block=True, disable_timing=True)  # waiting must not burn a core
        self._pinned = _Pinned(cupy)

    @property
    def stream(self) -> int:
        """Handle of the stream, for a decoder that shall put its pictures on it."""
        return int(self._stream.ptr)

    def copy_in(self, address: int, shape: tuple[int, int], dtype: Any) -> Any:
        """A copy of the packed array that lies at ``address`` in device memory when the stream comes to it.

        Does not wait: what lies there may be written anew only on the same stream, or after waiting for it.
        """
        copy = self._empty(shape, dtype)
        self._copy(copy.data.ptr, address, copy.nbytes, self._runtime.memcpyDeviceToDevice)
        return copy

    def measure(self, frames: Sequence[Any], stream: StreamInfo) -> list[Measurement]:
        """The measurement of each picture, of one and the same ``stream``; waits for them once."""
        if not frames:
            return []
        counters = self._empty((len(frames), _COUNTERS), np.int64)
        self._runtime.memsetAsync(counters.data.ptr, 0, counters.nbytes, self._stream.ptr)
        for number, frame in enumerate(frames):
            self._launch(frame, stream, counters.data.ptr + number * _COUNTERS * counters.itemsize)
        return [_measurement(row, stream) for row in self.to_host(counters)]

    def to_host(self, frame: Any) -> NDArray[Any]:
        """A copy in host memory of an array in device memory; waits for it."""
        host = self._pinned.array(frame.nbytes)
        self._copy(host.ctypes.data, frame.data.ptr, frame.nbytes, self._runtime.memcpyDeviceToHost)
        self._wait()
        array: NDArray[Any] = host.view(frame.dtype).reshape(frame.shape)
        return array.copy()

    def to_device(self, array: NDArray[Any]) -> Any:
        """A copy in device memory of an array in host memory; waits until it is there."""
        host, copy = self._pinned.array(array.nbytes), self._empty(array.shape, array.dtype)
        host[:] = np.ascontiguousarray(array).view(np.uint8).ravel()
        self._copy(copy.data.ptr, host.ctypes.data, array.nbytes, self._runtime.memcpyHostToDevice)
        self._wait()
        return copy

    def _empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        with self._stream:  # once free, the pool hands this memory out again on this stream alone
            return self._cupy.empty(shape, dtype)

    def _launch(self, frame: Any, stream: StreamInfo, counters: int) -> None:
        height, width = stream.height, stream.width
        kernel = _kernel(frame.dtype.itemsize)
        sizes = (frame.shape[1], width, height, stream.bit_depth)
        with self._stream:
            kernel(
                (-(-width // _THREADS), -(-height // _LINES)),
                (_THREADS,),
                (np.uint64(frame.data.ptr), *map(np.int32, sizes), np.uint64(counters)),
            )

    def _copy(self, to: int, address: int, nbytes: int, kind: int) -> None:
        self._runtime.memcpyAsync(to, address, nbytes, kind, self._stream.ptr)

    def _wait(self) -> None:
        self._done.record(self._stream)
        self._done.synchronize()


class _Pinned:
    """A buffer of page-locked host memory, as large as the largest transfer so far."""

    def __init__(self, cupy: Any) -> None:
        self._cupy = cupy
        self._bytes = np.empty(0, np.uint8)

    def array(self, nbytes: int) -> NDArray[np.uint8]:
        """Its first ``nbytes``, to be used before the next call."""
        if len(self._bytes) < nbytes:
            memory = self._cupy.cuda.alloc_pinned_memory(nbytes)
            self._bytes = np.frombuffer(memory, np.uint8, nbytes)
        return self._bytes[:nbytes]


@lru_cache(maxsize=len(_SAMPLES))
def _kernel(itemsize: int) -> Any:
    """The kernel for samples of so many bytes; CuPy compiles it at its first launch on a device."""
    import cupy

    text = Path(__file__).with_name("measure.cu").read_text(encoding="utf-8")
    return cupy.RawKernel(f"typedef {_SAMPLES[itemsize]} sample_t;\n{text}", "measure")


def _measurement(counters: NDArray[np.int64], stream: StreamInfo) -> Measurement:
    grid, histogram, sums, squares, gradient, variogram = np.split(counters, np.cumsum(_PARTS)[:-1])
    return Measurement(
        codec=stream.codec,
        width=stream.width,
        height=stream.height,
        grid=grid.reshape(GRID_SIDE, GRID_SIDE),
        histogram=histogram,
        tile_sums=sums.reshape(TILE_ROWS, TILE_COLS),
        tile_squares=squares.reshape(TILE_ROWS, TILE_COLS),
        gradient=int(gradient[0]),
        variogram=Variogram(*variogram.tolist()),
    )


def installed() -> bool:
    """Whether there is a CuPy to import."""
    return importlib.util.find_spec("cupy") is not None


def device_errors() -> tuple[type[Exception], ...]:
    """What CuPy raises when a device, its driver or its compiler fails. Import errors are not among them."""
    import cupy

    # CUDARuntimeError and CUDADriverError are RuntimeErrors, OutOfMemoryError is a MemoryError
    return (RuntimeError, MemoryError, OSError, cupy.cuda.compiler.CompileException)


def refusal() -> str:
    """Why pictures are not measured on this process's GPU, one line; "" if they are, and rightly.

    Compiles the kernels (CuPy keeps them in the user's cache folder) and measures made-up pictures.
    """
    try:
        if not installed():
            return "CuPy is not installed"
        errors = device_errors()
    except ImportError as error:
        return printable(f"CuPy cannot be imported: {error}")
    try:
        bench = DeviceBench()
        wrong = [trial for trial in _TRIALS if not _agrees(bench, *trial)]
    except errors as error:
        return printable(f"CuPy: {type(error).__name__}: {error}")
    return f"the GPU measures other integers than the host: {wrong}" if wrong else ""


def _agrees(bench: DeviceBench, width: int, height: int, depth: int) -> bool:
    stream = StreamInfo(Codec.HEVC, width, height, bit_depth=depth)
    dtype = np.uint8 if depth == 8 else np.uint16
    frame = np.random.default_rng(width).integers(0, 1 << depth, (height * 3 // 2, width), dtype)
    wanted = measure(Picture(stream, frame[:height], None, None))
    if depth > 8:
        frame <<= 16 - depth
    return pack(bench.measure([bench.to_device(frame)], stream)[0]) == pack(wanted)
