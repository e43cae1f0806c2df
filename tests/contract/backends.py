"""The backends that one suite is run over, and what each may be asked.

``cpu`` is always real. ``auto`` and ``nvdec`` use the fake PyNvVideoCodec (:mod:`tests.fakes`). With
REQUIRE_GPU_TESTS=1 they use this machine's GPU, ``nvdec-av`` is run too, and a GPU that is not there fails them all:
only such a run says anything about the bits of a GPU. Beside what ``scripts/gpu_check.py`` needs it takes pytest with
pytest-timeout, hypothesis and pydantic, and neither a compiler nor the ffmpeg program; where the loader does not look
for the driver's files, LD_LIBRARY_PATH must name their folder.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from harvester.config import Decode
from harvester.decode import Backend, open_backend
from harvester.model import Codec, StreamInfo
from harvester.ports import Decoder
from tests.fakes.driver import machine

#: Whether a machine without a usable GPU fails these tests.
ON_HARDWARE = os.environ.get("REQUIRE_GPU_TESTS", "") not in ("", "0")

#: Values of [decode] backend that the suite is run over.
BACKENDS = ("cpu", "auto", "nvdec", *(["nvdec-av"] if ON_HARDWARE else []))

#: Smallest coded pictures that every GPU decodes (pixels): their caps say so, and those of the fake too.
SMALLEST = {Codec.H264: (48, 16), Codec.HEVC: (144, 144)}


@dataclass(frozen=True)
class Subject:
    """An open backend."""

    name: str  # of [decode] backend
    backend: Backend

    def decoder(self) -> Decoder:
        return self.backend.decoder()

    def may_refuse(self, stream: StreamInfo) -> bool:
        """Whether ``unsupported-codec`` is a right answer to an intact picture: nothing falls back to the CPU, and
        not every GPU decodes such a stream."""
        return self.name.startswith("nvdec") and not on_every_gpu(stream)

    def is_on_gpu(self, stream: StreamInfo) -> bool:
        """Whether such a picture must have been decoded by the GPU."""
        return self.name != "cpu" and on_every_gpu(stream)


def on_every_gpu(stream: StreamInfo) -> bool:
    """Whether every GPU with a video decoder decodes such a picture right."""
    depths = {Codec.H264: (8,), Codec.HEVC: (8, 10)}.get(stream.codec, ())
    if stream.bit_depth not in depths or stream.chroma != "420" or stream.interlaced or any(stream.crop[:2]):
        return False
    width, height = SMALLEST[stream.codec]
    return stream.coded_width >= width and stream.coded_height >= height


@contextmanager
def opened(name: str, driver_files: Callable[[], Path]) -> Iterator[Subject]:
    """The backend ``name``; ``driver_files``: what a fake GPU needs, asked for if there is to be one."""
    with ExitStack() as stack:
        if name != "cpu" and not ON_HARDWARE:
            stack.enter_context(machine(driver_files(), engines=2))
        backend = open_backend(Decode(backend=name))
        stack.callback(backend.close)
        assert name == "cpu" or backend.choice.name != "cpu", f"no GPU: {backend.choice}"
        yield Subject(name, backend)
