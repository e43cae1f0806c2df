"""Ways to decode that are measured against each other: each gives a turn for one thread of :mod:`gpu.rates`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gpu import driver, pynv, reference
from gpu.rates import Turn
from gpu.streams import movie
from harvester.model import AccessUnit

#: Keyframes of the movie that PyNvVideoCodec's own decoder reads, and how many it prefetches and gives at once.
MOVIE, _BUFFER, _BATCH = 600, 16, 8


def raw(
    package: Any, units: Sequence[AccessUnit], *, latency: str = "LOW", device_memory: bool = True
) -> Callable[[int], Turn]:
    """PyNvVideoCodec bare, each thread with its decoder and, in GPU memory, its stream; nothing is done with the
    frames."""

    def opened(number: int) -> Turn:
        cuda = driver.open_cuda() if device_memory else None
        stream = cuda.stream() if cuda else 0
        decoder = pynv.Raw(
            package, units[0].stream.codec, latency=latency, device_memory=device_memory, stream=stream
        )

        def turn(count: int) -> int:
            return len(decoder.decode(units[(number + count) % len(units)].data, count))

        return turn

    return opened


def session(units: Sequence[AccessUnit], *, device_memory: bool = False) -> Callable[[int], Turn]:
    """Harvester's session: every frame copied out of the decoder's memory, checks included."""
    from harvester.decode.nvdec import Session

    def opened(number: int) -> Turn:
        decoder = Session(device=bench()) if device_memory else Session()

        def turn(count: int) -> int:
            decoder.decode(units[(number + count) % len(units)])
            return 1

        return turn

    return opened


def bench() -> Any:
    """Where frames lie and are measured on the GPU. Raises ImportError without CuPy."""
    from harvester.decode.cuda import DeviceBench

    return DeviceBench()


def measured(units: Sequence[AccessUnit], *, device_memory: bool, batch: int = 1) -> Callable[[int], Turn]:
    """Decoding and measuring, where the frames are; on the GPU ``batch`` frames at a time. The units are of one
    stream."""
    from harvester.decode.nvdec import Session, luma
    from harvester.vision.measure import measure

    stream = units[0].stream

    def on_host(number: int) -> Turn:
        decoder = Session()

        def turn(count: int) -> int:
            measure(luma(decoder.decode(units[(number + count) % len(units)]), stream))
            return 1

        return turn

    def on_device(number: int) -> Turn:
        place = bench()
        decoder = Session(device=place)

        def turn(count: int) -> int:
            first = number + count * batch
            place.measure([decoder.decode(units[(first + index) % len(units)]) for index in range(batch)], stream)
            return batch

        return turn

    return on_device if device_memory else on_host


def libavcodec(units: Sequence[AccessUnit]) -> Callable[[int], Turn]:
    """Harvester's CPU decoder."""

    def opened(number: int) -> Turn:
        def turn(count: int) -> int:
            reference.decode(units[(number + count) % len(units)])
            return 1

        return turn

    return opened


class Movie:
    """The units as a file, which the system keeps in memory; removed when the block is left."""

    def __init__(self, units: Sequence[AccessUnit], count: int = MOVIE) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="gpu-check-")
        self.path = Path(self._folder.name) / "keyframes.mp4"
        self.path.write_bytes(movie(units, count))

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()


def threaded(package: Any, path: Path, *, device_memory: bool = True) -> Callable[[int], Turn]:
    """PyNvVideoCodec's ThreadedDecoder over that file, from its beginning again at its end."""

    def opened(_: int) -> Turn:
        decoder = package.ThreadedDecoder(str(path), _BUFFER, use_device_memory=device_memory)

        def turn(count: int) -> int:
            del count
            frames = len(decoder.get_batch_frames(_BATCH))
            if not frames:
                decoder.reconfigure_decoder(str(path))
            return frames

        return turn

    return opened
