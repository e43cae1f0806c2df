"""What a native library prints on this process's standard output, read while it goes on printing.

NVIDIA's package tells of a damaged picture by ``printf`` alone. C keeps such lines in a buffer when descriptor 1
is no terminal; here the buffer is taken away, so a line is in the pipe before the call that printed it returns.
"""

from __future__ import annotations

import ctypes
import os
import select
import threading

#: Bytes read at once; what a Linux pipe holds.
_PIPE_BYTES = 1 << 16
#: Longest unfinished line that is kept to be completed.
_LINE_BYTES = 1 << 12
_UNBUFFERED = 2  # _IONBF of stdio.h, glibc


class Printed:
    """Takes descriptor 1 of this process for good. A thread empties the pipe, so that nobody waits to print."""

    def __init__(self) -> None:
        self._pipe, end = os.pipe()
        os.set_blocking(self._pipe, False)
        os.dup2(end, 1)
        os.close(end)
        libc = ctypes.CDLL(None)
        libc.setvbuf(ctypes.c_void_p.in_dll(libc, "stdout"), None, _UNBUFFERED, 0)
        self._lock = threading.Lock()
        self._errors = 0
        self._unfinished = b""
        threading.Thread(target=self._read_on, name="printed", daemon=True).start()

    def errors(self) -> int:
        """How many lines that tell of an error have been printed so far, this moment included."""
        with self._lock:
            self._drain()
            return self._errors + _tells_of_error(self._unfinished)

    def _read_on(self) -> None:
        while True:
            select.select([self._pipe], [], [])
            with self._lock:
                self._drain()

    def _drain(self) -> None:
        while True:
            try:
                text = os.read(self._pipe, _PIPE_BYTES)
            except BlockingIOError:
                return
            if not text:
                return
            *lines, unfinished = (self._unfinished + text).split(b"\n")
            self._errors += sum(map(_tells_of_error, lines))
            self._unfinished = unfinished[-_LINE_BYTES:]


def _tells_of_error(line: bytes) -> bool:
    return b"error" in line.lower()
