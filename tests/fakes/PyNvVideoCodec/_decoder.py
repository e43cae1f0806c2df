"""CreateDecoder and the decoder: a parser that holds pictures back, a scaler nobody asked for, a pool of frames."""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from . import _machine
from ._caps import NO_CUVID, check_gpu
from ._enums import DisplayDecodeLatencyType, OutputColorType, Pixel_Format, VideoPacketFlag, cudaVideoCodec
from ._errors import failure, fatal, print_decode_error, unsupported
from ._frame import FREED, DecodedFrame, Layout, Slot
from ._packet import PacketData
from ._stream import DECODERS, Plane, Stream, Surface

#: Pictures that the parser holds back where a packet ends with its picture; one more where nothing says so.
_DELAY = {
    DisplayDecodeLatencyType.NATIVE: 1,
    DisplayDecodeLatencyType.LOW: 0,
    DisplayDecodeLatencyType.ZERO: 0,
}
#: A size that CreateDecoder is told is rounded up to this.
_ROUNDED = 32

_living: weakref.WeakSet[PyNvDecoder] = weakref.WeakSet()


def CreateDecoder(
    gpuid: int = 0,
    codec: cudaVideoCodec = cudaVideoCodec.H264,
    cudacontext: int = 0,
    cudastream: int = 0,
    usedevicememory: bool = False,
    maxwidth: int = 0,
    maxheight: int = 0,
    outputColorType: OutputColorType = OutputColorType.NATIVE,
    enableSEIMessage: bool = False,
    bWaitForSessionWarmUp: bool = False,
    latency: DisplayDecodeLatencyType = DisplayDecodeLatencyType.NATIVE,
    enableDecodeStats: bool = False,
) -> PyNvDecoder:
    """The real one's first overload. Another keyword, or an int for an enumeration, is a TypeError."""
    kinds = ((codec, cudaVideoCodec), (outputColorType, OutputColorType), (latency, DisplayDecodeLatencyType))
    if not all(isinstance(value, kind) for value, kind in kinds):
        raise TypeError("CreateDecoder(): incompatible function arguments.")
    if not _machine.cuda_starts():
        fatal("CUDA_ERROR_NO_DEVICE")
    check_gpu(gpuid)
    if _machine.driver() == "no-cuvid":
        raise failure("PyNvDecoder", 999, f"PyNvDecoder constructor failed: {NO_CUVID}", "src/PyNvDecoder.cpp:107")
    lacks_memory = usedevicememory and not _machine.device_memory()
    if lacks_memory or outputColorType is not OutputColorType.NATIVE or bWaitForSessionWarmUp:
        raise NotImplementedError("the fake PyNvVideoCodec has neither device memory, RGB nor a warm-up barrier")
    gpu, largest = _machine.visible()[gpuid], (maxwidth, maxheight)
    return PyNvDecoder(gpu, codec, largest, latency, cudastream, usedevicememory)


@dataclass
class _Session:
    """What is settled by the first picture, and by ``setReconfigParams``."""

    depth: int
    largest: tuple[int, int]
    target: tuple[int, int]
    shown: tuple[int, int]  # width and height of the frames


class PyNvDecoder:
    """One decoder session. It may be used by any thread, and by one at a time."""

    def __init__(
        self,
        gpu: _machine.Gpu,
        codec: cudaVideoCodec,
        largest: tuple[int, int],
        latency: DisplayDecodeLatencyType,
        stream: int,
        on_device: bool = False,
    ) -> None:
        self._on_device = on_device
        self._gpu, self._codec, self._latency, self._cudastream = gpu, codec.name.lower(), latency, stream
        self._largest = largest
        self._wanted: tuple[int, int] | None = None
        self._session: _Session | None = None
        self._stream = Stream(self._codec) if self._codec in DECODERS else None
        self._waiting: deque[tuple[Layout, NDArray[Any], int]] = deque()
        self._pool: list[Slot] = []
        self._pictures = 0
        self._busy = threading.Lock()
        _living.add(self)
        _machine.note("decoders", gpu, self._codec)

    def Decode(self, packet: PacketData) -> list[DecodedFrame]:
        """The frames that come out now; an empty packet is the end of the stream and brings out the rest."""
        if not isinstance(packet, PacketData):
            raise TypeError("Decode(): incompatible function arguments.")
        with self._alone():
            if not packet.bsl:
                return self._give_out(len(self._waiting))
            call = self._happenings()
            if self._stream is None:
                raise unsupported("Codec not supported on this GPU")
            for surface in self._stream.surfaces(ctypes.string_at(packet.bsl_data, packet.bsl)):
                self._take(surface, packet.pts, call)
            ends = packet.decode_flag & int(VideoPacketFlag.ENDOFPICTURE)
            return self._give_out(len(self._waiting) - _DELAY[self._latency] - (0 if ends else 1))

    def setReconfigParams(self, width: int = 0, height: int = 0) -> int:
        """From now on every picture is scaled to this size. Frees the frames."""
        with self._alone():
            if not width or not height:
                return 0
            self._wanted = (width, height)
            if self._session:
                self._session.target = self._session.shown = self._wanted
            self._free()
            return 1

    def GetWidth(self) -> int:
        return self._session.shown[0] if self._session else 0

    def GetHeight(self) -> int:
        return self._session.shown[1] if self._session else 0

    def GetFrameSize(self) -> int:
        return self._layout().nbytes if self._session else 0

    def GetPixelFormat(self) -> Pixel_Format:
        return Pixel_Format.P016 if self._session and self._session.depth > 8 else Pixel_Format.NV12

    def WaitOnCUStream(self, stream: int) -> None:
        """Does nothing without asynchronous allocations."""

    def SyncOnCUStream(self) -> None:
        """Does nothing without asynchronous allocations."""

    def GetNumDecodedFrame(self, *_: object) -> NoReturn:
        raise NotImplementedError("the fake PyNvVideoCodec locks no frames")

    GetLockedFrame = GetFrame = UnlockFrame = SetSeekPTS = GetNumDecodedFrame

    def __del__(self) -> None:
        self._free()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._busy.acquire(blocking=False):
            os.write(2, b"fake PyNvVideoCodec: two threads in one decoder at once\n")
            os.abort()
        try:
            yield
        finally:
            self._busy.release()

    def _happenings(self) -> int:
        """Count this call, and let happen what the test wants to happen at it."""
        call = _machine.note("decodes", self._gpu, self._codec)
        if _machine.happens("HANG", call):
            threading.Event().wait()
        if _machine.happens("EXIT", call):
            fatal("CUDA_ERROR_UNKNOWN")
        if _machine.happens("FAIL", call):
            raise failure("cuvidDecodePicture", 999, "m_api.cuvidDecodePicture(m_hDecoder, pPicParams)")
        return call

    def _take(self, surface: Surface, pts: int, call: int) -> None:
        self._configure(surface)
        layout = self._layout()
        picture = self._postprocessed(surface, layout)
        if _machine.happens("WRONG", call):
            picture = picture[::-1]
        if _machine.happens("HURT", call) or (surface.damaged and not _machine.deaf()):
            print_decode_error(self._pictures)
        self._pictures += 1
        self._waiting.append((layout, picture, 0 if self._latency is DisplayDecodeLatencyType.ZERO else pts))

    def _configure(self, surface: Surface) -> None:
        """The parser's sequence callback: the first picture creates the session, another size reconfigures it."""
        if self._session is None:
            self._check_caps(surface)
            largest = [max(own, _rounded(told)) for own, told in zip(surface.coded, self._largest, strict=True)]
            target, shown = self._wanted or surface.coded, self._wanted or surface.display
            self._session = _Session(surface.depth, (largest[0], largest[1]), target, shown)
            return
        session = self._session
        if surface.depth != session.depth:
            raise failure("ReconfigureDecoder", 801, "Reconfigure Not supported for bit depth change")
        if surface.coded[0] > session.largest[0] or surface.coded[1] > session.largest[1]:
            what = "Reconfigure Not supported when width/height > maxwidth/maxheight"
            raise failure("ReconfigureDecoder", 801, what)
        if surface.coded == session.target:
            session.shown = surface.display

    def _check_caps(self, surface: Surface) -> None:
        if len(_living) > _machine.sessions():
            raise failure("cuvidCreateDecoder", 2, "m_api.cuvidCreateDecoder: CUDA_ERROR_OUT_OF_MEMORY")
        if (self._codec, surface.depth) not in self._gpu.codecs or surface.chroma != "420":
            raise unsupported("Codec not supported on this GPU")
        if any(size > most for size, most in zip(surface.coded, _machine.largest(self._codec), strict=True)):
            raise unsupported("Resolution not supported on this GPU")
        if -(-surface.coded[0] // 16) * -(-surface.coded[1] // 16) > _machine.macroblocks(self._codec):
            raise unsupported("MBCount not supported on this GPU")

    def _postprocessed(self, surface: Surface, layout: Layout) -> NDArray[Any]:
        """The frame's lines: scaled to the target, cut from the corner (0, 0), chroma interleaved."""
        assert self._session
        target = self._session.target
        if target == surface.display:
            target = surface.coded  # the scaler's source is the display area: nothing to scale
        y, u, v = (_scaled(plane, surface.coded, target) for plane in (surface.y, surface.u, surface.v))
        lines = np.full((layout.lines, layout.width), FREED, y.dtype)
        _paste(lines[: layout.height], y)
        _paste(lines[layout.height :, 0::2], u)
        _paste(lines[layout.height :, 1::2], v)
        if self._is_beyond(surface):
            lines[1::2] = FREED
        return lines << (16 - surface.depth) if surface.depth > 8 else lines

    def _is_beyond(self, surface: Surface) -> bool:
        """Pictures of which nobody has said what the hardware makes of them: below the smallest size, which nothing
        checks, and interlaced ones, whose fields want a packet each."""
        smallest = _machine.smallest(self._codec)
        return surface.interlaced or surface.coded[0] < smallest[0] or surface.coded[1] < smallest[1]

    def _layout(self) -> Layout:
        assert self._session
        width, height = self._session.shown
        return Layout(width + width % 2, height, 1 if self._session.depth == 8 else 2)

    def _give_out(self, count: int) -> list[DecodedFrame]:
        """``count`` frames, each in a place of the pool: the next call begins at the first place again."""
        frames = []
        for place in range(count):
            layout, picture, pts = self._waiting.popleft()
            slot = self._slot(place, layout)
            slot.fill(picture)
            frames.append(DecodedFrame(slot, pts, self._cudastream, self._on_device))
        return frames

    def _slot(self, place: int, layout: Layout) -> Slot:
        if self._pool and self._pool[0].layout != layout:
            self._free()
        while len(self._pool) <= place:
            self._pool.append(Slot(layout))
        return self._pool[place]

    def _free(self) -> None:
        while self._pool:
            self._pool.pop().free()


def _rounded(size: int) -> int:
    return -(-size // _ROUNDED) * _ROUNDED


def _scaled(plane: Plane, coded: tuple[int, int], target: tuple[int, int]) -> Plane:
    """Nearest neighbour: the hardware's filter is not specified."""
    if coded == target:
        return plane
    height, width = (
        size * wanted // own for size, wanted, own in zip(plane.shape, target[::-1], coded[::-1], strict=True)
    )
    rows, columns = (np.arange(new) * old // new for new, old in zip((height, width), plane.shape, strict=True))
    return plane[rows][:, columns]


def _paste(into: NDArray[Any], plane: Plane) -> None:
    """As much of the plane as there is place for, from its corner."""
    part = plane[: into.shape[0], : into.shape[1]]
    into[: part.shape[0], : part.shape[1]] = part
