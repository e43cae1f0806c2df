"""Standard output and error that nobody reads any more: a terminal that was closed, a pipe whose reader has left.

What a command does, and its exit code, do not depend on who listens. A run whose terminal is closed ends like any
other that is stopped by a signal, and ``harvester status | head`` like ``harvester status``.
"""

from __future__ import annotations

import errno
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

#: What writing meets where nobody listens: the terminal is gone, the pipe's reader is.
_UNHEARD = frozenset({errno.EIO, errno.EPIPE})


class _Descriptor(io.FileIO):
    """Takes what nobody hears as said."""

    def write(self, data: ReadableBuffer, /) -> int:
        """The number of bytes written or thrown away."""
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in _UNHEARD:
                raise
            return memoryview(data).nbytes


@contextmanager
def talking() -> Iterator[None]:
    """Within, the streams of the process raise nothing because nobody listens."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _patient(sys.stdout), _patient(sys.stderr)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        sys.stdout, sys.stderr = before


def _patient(stream: TextIO) -> TextIO:
    """The same stream over such a descriptor; itself if it has none (there is no stream, or it is a test's)."""
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    try:
        descriptor = _Descriptor(stream.fileno(), "w", closefd=False)
    except io.UnsupportedOperation:
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(descriptor),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
