"""A stand-in for NVIDIA's PyNvVideoCodec 2.2.4 that needs no GPU: real pictures, and the real package's traps.

Put its parent folder first on ``sys.path`` (``PYTHONPATH`` for a process of its own). It decodes the access units
it is given with PyAV, so what comes out are the right pictures where NVDEC would give right ones, and hands them
out as the real binding does:

- ``Decode`` reads the memory at ``PacketData.bsl_data`` while it runs and never again; nothing else keeps it.
- A frame's memory is overwritten by the next ``Decode`` and freed with the decoder. Here freed memory is filled
  with 0xDD, so that a picture that was not copied is seen to be wrong.
- A stream of another size is scaled to the size of the first, without a word, unless ``setReconfigParams`` was
  called; a larger one is an exception. A left or top crop is ignored: the copy starts at the corner.
- A damaged picture comes back as if it were good. All there is to see is a line on the *process's* standard
  output, written by C's ``printf`` and not flushed: with descriptor 1 on a pipe or a file it stays in C's buffer
  until that is full, ``fflush`` is called or the process exits (disassembly of the 2.2.4 wheel: ``printf`` in
  ``NvDecoder::HandlePictureDisplay``, nothing after it).
- A failing ``cuInit`` ends the process by C's ``exit(1)``: no exception, no ``finally``, no ``atexit``.
- LOW, ZERO and NATIVE latency hold back what the real ones hold back; ZERO loses the pts.
- 10 bit comes as P016: the value in the high bits, and ``dtype`` still says "|u1".
- Two threads in one decoder at once would corrupt it: here the process aborts and says so.

It is set up by variables of the environment, so that a worker process sees the same machine; :mod:`._machine`
lists them.

What it proves: routing, lifetimes, order, errors, restarts. What it cannot prove: that NVDEC decodes a stream to
the same bits, what its parser holds back, what it notices of damage, timing, memory, anything of the driver. Those
are claims about hardware, and ``scripts/gpu_check.py`` is where they are settled. Where it does not know what the
hardware does (pictures below the smallest size, interlaced ones in one packet), it gives a wrong picture on purpose.
Not faked, and refused by NotImplementedError: device memory (unless asked for: then it is the host's), RGB output,
asynchronous allocations, the demultiplexer, the encoder, SimpleDecoder and its kin.

Names, defaults and texts are those of the real wheel; ``tests/unit/fakes`` holds them against it.
"""

from __future__ import annotations

import logging
import os
import platform
import sys
from typing import Any, NoReturn

from . import _machine
from ._caps import GetDecoderCaps
from ._decoder import CreateDecoder, PyNvDecoder
from ._enums import (
    ColorRange,
    ColorSpace,
    DisplayDecodeLatencyType,
    OutputColorType,
    Pixel_Format,
    VideoPacketFlag,
    cudaVideoChromaFormat,
    cudaVideoCodec,
)
from ._errors import PyNvVCException, PyNvVCExceptionUnsupported
from ._frame import CAIMemoryView, DecodedFrame
from ._packet import PacketData

__version__ = "2.2.4"

_NO_ENCODE = "libnvidia-encode.so.1: cannot open shared object file: No such file or directory"
_NO_CUDA = "libcuda.so.1: cannot open shared object file: No such file or directory"
_TROUBLESHOOTING = """

=== TROUBLESHOOTING STEPS ===

The NVENC library could not be found. This usually means:

1. **Running in Docker?**
   - Ensure your container was launched with: NVIDIA_DRIVER_CAPABILITIES=compute,utility,video"""

logger = logging.getLogger(__name__)


def _load_driver() -> None:
    """What the real package's import does with the machine's driver."""
    driver = _machine.driver()
    if driver == "no-encode":
        raise RuntimeError(f"Failed to load NVENC library: {_NO_ENCODE}{_TROUBLESHOOTING}")
    if driver == "no-cuda":
        _log_failure(_NO_CUDA)
        raise ImportError(_NO_CUDA)
    if driver == "old":
        _log_failure("Driver version is too old")
        raise RuntimeError("Driver version is too old")


def _log_failure(why: str) -> None:
    logger.error(f"Error importing PyNvVideoCodec: {why}")
    logger.error(f"System: {platform.system()}")
    logger.error(f"Python version: {sys.version}")
    logger.error(f"LD_LIBRARY_PATH: {os.environ.get('LD_LIBRARY_PATH', 'Not set')}")


def _not_faked(name: str) -> Any:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise NotImplementedError(f"the fake PyNvVideoCodec has no {name}")

    return refuse


_load_driver()

CreateDemuxer = _not_faked("CreateDemuxer")
CreateSimpleDecoder = _not_faked("CreateSimpleDecoder")
CreateThreadedDecoder = _not_faked("CreateThreadedDecoder")
CreateTranscoder = _not_faked("CreateTranscoder")
CreateEncoder = _not_faked("CreateEncoder")
GetEncoderCaps = _not_faked("GetEncoderCaps")
SimpleDecoder = _not_faked("SimpleDecoder")
ThreadedDecoder = _not_faked("ThreadedDecoder")
Transcoder = _not_faked("Transcoder")

__all__ = [
    "CAIMemoryView",
    "ColorRange",
    "ColorSpace",
    "CreateDecoder",
    "CreateDemuxer",
    "CreateEncoder",
    "CreateSimpleDecoder",
    "CreateThreadedDecoder",
    "CreateTranscoder",
    "DecodedFrame",
    "DisplayDecodeLatencyType",
    "GetDecoderCaps",
    "GetEncoderCaps",
    "OutputColorType",
    "PacketData",
    "Pixel_Format",
    "PyNvDecoder",
    "PyNvVCException",
    "PyNvVCExceptionUnsupported",
    "SimpleDecoder",
    "ThreadedDecoder",
    "Transcoder",
    "VideoPacketFlag",
    "cudaVideoChromaFormat",
    "cudaVideoCodec",
]
