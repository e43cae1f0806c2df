"""Streams, events and memory of the stand-in."""

from __future__ import annotations

import itertools
import os
import threading

import numpy as np

from . import compiler, runtime

__all__ = ["Event", "MemoryPointer", "Stream", "alloc_pinned_memory", "compiler", "get_current_stream", "runtime"]

_current = threading.local()
_handles = itertools.count(0x5000, 0x10)


class MemoryPointer:
    def __init__(self, ptr, owner):
        self.ptr, self.mem = ptr, owner


class Stream:
    """What is put on it is done in that order, once somebody waits."""

    def __init__(self, null=False, non_blocking=False):
        if os.environ.get("FAKE_CUPY") == "no-device":
            raise runtime.CUDARuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")
        self.ptr = 0 if null else next(_handles)
        self._waiting = []
        self._lock = threading.RLock()
        runtime.streams[self.ptr] = self

    def put(self, work):
        with self._lock:
            self._waiting.append(work)
            return len(self._waiting)

    def run(self, count=None):
        with self._lock:
            for work in self._waiting[:count]:
                work()
            del self._waiting[:count]

    def synchronize(self):
        self.run()

    def __enter__(self):
        stack = _current.__dict__.setdefault("stack", [])
        stack.append(self)
        return self

    def __exit__(self, *problem):
        _current.stack.pop()


Stream.null = None if os.environ.get("FAKE_CUPY") == "no-device" else Stream(null=True)


def get_current_stream():
    return (getattr(_current, "stack", None) or [Stream.null])[-1]


class Event:
    """A place on a stream to wait for."""

    def __init__(self, block=False, disable_timing=False, interprocess=False):
        self._done = lambda: None

    def record(self, stream=None):
        stream = stream or get_current_stream()
        passed = threading.Event()
        stream.put(passed.set)

        def wait():
            while not passed.is_set():
                stream.run(1)

        self._done = wait

    def synchronize(self):
        self._done()


def alloc_pinned_memory(size):
    """A buffer of at least ``size`` bytes; CuPy's pool rounds up too."""
    return np.full(-(-size // 512) * 512, 0x5A, np.uint8).data
