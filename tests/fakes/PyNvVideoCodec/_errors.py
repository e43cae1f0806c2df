"""What the real package raises, in its words, and what it does instead of raising."""

from __future__ import annotations

import ctypes
import time
from typing import NoReturn

_C = ctypes.CDLL(None)

_SOURCE = "/project/src/PyNvVideoCodec"


class PyNvVCException(Exception):
    """The only error class beside the next one, which does not derive from it."""


class PyNvVCExceptionUnsupported(Exception):
    """A codec or size that this GPU does not decode."""


def failure(where: str, code: int, what: str, source: str = "src/NvDecoder/NvDecoder.cpp:500") -> PyNvVCException:
    """A PyNvVCException as the binding words them."""
    return PyNvVCException(f"{where} : \nError code : {code}\nError Type : {what}\n\nat {_SOURCE}/{source}\n")


def unsupported(what: str) -> PyNvVCExceptionUnsupported:
    return PyNvVCExceptionUnsupported(
        f"HandleVideoSequence : \nError code : 801\nError Type : {what}\n\nat {_SOURCE}/src/NvDecoder/NvDecoder.cpp:300\n"
    )


def print_decode_error(number: int) -> None:
    """C's printf, into C's own buffer: what descriptor 1 is decides when it leaves it."""
    _C.printf(b"Decode Error occurred for picture %d\n", ctypes.c_int(number))


def fatal(error: str) -> NoReturn:
    """The logger's level FATAL: a line to standard output and exit(1), which unwinds nothing of Python."""
    line = f"[FATAL][{time.strftime('%H:%M:%S')}] CUDA driver API error {error}\n"
    _C.printf(b"%s", ctypes.c_char_p(line.encode()))
    _C.exit(1)
    raise AssertionError("exit returned")
