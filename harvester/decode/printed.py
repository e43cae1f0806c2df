"""What a native library prints on this process's standard output, read while it goes on printing.

NVIDIA's package tells of a damaged picture by ``printf`` alone, and of what makes it end the process too. C keeps
such lines in a buffer when descriptor 1 is no terminal; here the buffer is taken away, so a line is in the file
before the call that printed it returns. The file is the parent's as well, who finds the last words there.
"""

from __future__ import annotations

import ctypes
import os
import threading

#: Bytes read at once.
_READ_BYTES = 1 << 16
_UNBUFFERED = 2  # _IONBF of stdio.h, glibc


class Printed:
    """Reads descriptor 1 of this process, which must be a file that can be read, from its beginning. Thread-safe.

    Nothing is taken out of the file: a damaged picture makes it some 40 bytes longer.
    """

    def __init__(self) -> None:
        libc = ctypes.CDLL(None)
        libc.setvbuf(ctypes.c_void_p.in_dll(libc, "stdout"), None, _UNBUFFERED, 0)
        self._lock = threading.Lock()
        self._at = 0
        self._errors = 0
        self._unfinished = b""

    def errors(self) -> int:
        """How many lines that tell of an error have been printed so far, this moment included."""
        with self._lock:
            while text := os.pread(1, _READ_BYTES, self._at):
                self._at += len(text)
                *lines, self._unfinished = (self._unfinished + text).split(b"\n")
                self._errors += sum(map(_tells_of_error, lines))
            return self._errors + _tells_of_error(self._unfinished)


def _tells_of_error(line: bytes) -> bool:
    return b"error" in line.lower()
