"""Runs a CUDA kernel on the CPU: its text compiled as C++ between the two halves of ``simt.cpp``."""

from __future__ import annotations

import ctypes
import os
import subprocess
import tempfile
import threading
from functools import lru_cache
from pathlib import Path

import numpy as np

from .cuda.compiler import CompileException

_one_at_a_time = threading.Lock()  # shared memory is one static variable
_TYPES = {np.int32: ctypes.c_int, np.uint64: ctypes.c_uint64}


def launch(code, grid, block, args):
    """One launch, to its end. Raises RuntimeError if some threads of a block wait at a barrier and others ended."""
    if os.environ.get("FAKE_CUPY") == "compile":
        raise CompileException('error: identifier "__syncthreads" is undefined')
    with _one_at_a_time:
        order = int(os.environ.get("FAKE_CUPY_ORDER", "0"))
        values = [_TYPES[type(argument)](argument) for argument in args]
        if _compiled(code).launch(grid[0], grid[1], block[0], order, *values):
            raise RuntimeError("not all threads of a block come to the same barrier")
    if os.environ.get("FAKE_CUPY") == "wrong":
        ctypes.c_uint64.from_address(int(args[-1])).value += 1


@lru_cache
def _compiled(code):
    text = Path(__file__).with_name("simt.cpp").read_text()
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder, "kernel.cpp"), Path(folder, "kernel.so")
        source.write_text(text.replace("KERNEL_TEXT", code))
        command = [
            "g++",
            "-std=gnu++17",
            "-O1",
            "-Wall",
            "-Wextra",
            "-Wno-type-limits",
            "-Werror",
            "-shared",
            "-fPIC",
        ]
        done = subprocess.run([*command, "-o", library, source], capture_output=True, text=True, check=False)
        if done.returncode:
            raise CompileException(done.stderr)
        return ctypes.CDLL(str(library))
