"""NVDEC through PyNvVideoCodec: one access unit from memory in, one picture out; the one importer of that package.

The package is imported when a session opens, never before: without a driver its import raises, and a driver call
that fails inside it ends the whole process. So a session lives in a process of its own: the probe's, or a worker.

What of the package is used, and why so (version 2.2.4; what hardware has not confirmed yet is said by
``scripts/gpu_check.py``):

- ``CreateDecoder`` with ``latency=LOW`` and packets marked ENDOFPICTURE: a picture comes out of the call that took
  its access unit. ``ZERO`` would lose the pts, which here is a number that tells whose picture it is.
- A decoder scales what it is given to the size of its first stream, silently. So there is one for each kind of
  stream: codec, coded size, display size, depth and chroma.
- The frame it returns lies in a pool of one: the next call overwrites it. It is copied before anything else.
- A damaged picture is given out as if it were whole, and a line is printed: :mod:`harvester.decode.printed`.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from harvester.decode.annexb import check_parameter_sets
from harvester.errors import MediaError
from harvester.model import AccessUnit, Codec, Picture, StreamInfo
from harvester.text import PRINTABLE_CHARS, printable

#: Short name, as in the dataset's column ``decoder``.
NAME = "nvdec"

#: What it is called where packages are installed, and imported.
PACKAGE = "PyNvVideoCodec"

#: Decoders that a session keeps; the one not used for longest goes first. One takes 50 to 70 ms to make (H100,
#: torchcodec PR 1176) and some 20 MB at 1080p.
DECODERS_KEPT = 8

_CODECS = {Codec.H264: "H264", Codec.HEVC: "HEVC", Codec.AV1: "AV1"}


class DeviceError(Exception):
    """The package or the driver raised: the device's fault, or the stream's. The next picture may well decode."""


class Refused(Exception):
    """The device says that it does not decode such a stream (codec, size)."""


class DeviceMemory(Protocol):
    """Where pictures are put that stay on the GPU."""

    @property
    def stream(self) -> int:
        """Handle of the CUDA stream on which they are copied."""
        ...

    def copy_in(self, address: int, shape: tuple[int, int], dtype: Any) -> Any:
        """A copy of what lies at ``address`` in device memory, made on that stream."""
        ...


#: What must be equal for two streams to share a decoder: codec, coded and display size, bit depth, chroma.
Kind = tuple[Codec, int, int, int, int, int, str]


def kind_of(stream: StreamInfo) -> Kind:
    """The kind of decoder that such a stream needs."""
    sizes = (stream.coded_width, stream.coded_height, stream.width, stream.height)
    return (stream.codec, *sizes, stream.bit_depth, stream.chroma)


def package() -> Any:
    """PyNvVideoCodec, imported. Raises ImportError or RuntimeError where it or the driver is not there."""
    import PyNvVideoCodec

    return PyNvVideoCodec


class Session:
    """The decoders of one thread on one GPU, one for each kind of stream met, kept for the next picture of it.

    ``gpu``: ordinal among the devices that this process sees. ``device``: keep pictures on the GPU, there; None =
    give them out in host memory. ``decoders``: most that are kept. Not thread-safe: one thread at a time. Raises
    what :func:`package` raises.
    """

    def __init__(self, gpu: int = 0, *, device: DeviceMemory | None = None, decoders: int = DECODERS_KEPT) -> None:
        self._package = package()
        self._gpu = gpu
        self._device = device
        self._kept = decoders
        self._decoders: OrderedDict[Kind, Any] = OrderedDict()
        self._sequence = 0

    def decode(self, unit: AccessUnit) -> Any:
        """The one picture of ``unit`` as NV12, a copy of its own: luma lines, then lines of interleaved chroma.

        An array (height · 3 / 2, width) of uint8, or uint16 with the value in the *high* bits (P016); NumPy's, or
        what ``device`` makes. Raises :class:`MediaError` (corrupt), :class:`Refused` or :class:`DeviceError`;
        after any of them the next such unit is decoded by a new decoder.
        """
        if unit.stream.codec is not Codec.AV1:
            check_parameter_sets(unit.stream.codec, unit.data)
        kind = kind_of(unit.stream)
        try:
            return self._copied(self._only_frame(kind, unit), unit.stream)
        except self._package.PyNvVCExceptionUnsupported as error:
            self._decoders.pop(kind, None)
            raise Refused(told(error)) from None
        except (self._package.PyNvVCException, RuntimeError) as error:
            self._decoders.clear()  # it may have been memory
            raise DeviceError(told(error)) from None
        except MediaError:
            self._decoders.pop(kind, None)
            raise

    def close(self) -> None:
        """Drop the decoders; the session makes new ones if it is used again."""
        self._decoders.clear()

    def _only_frame(self, kind: Kind, unit: AccessUnit) -> Any:
        """The frame of ``unit``; one that the parser holds back is brought out by the end of the stream."""
        decoder = self._decoder(kind)
        self._sequence += 1
        data = np.frombuffer(unit.data, np.uint8)  # must live until Decode returns, which reads it by its address
        frames = decoder.Decode(self._packet(data)) or decoder.Decode(self._packet(None))
        if len(frames) != 1:
            raise MediaError(f"{len(frames)} pictures in an access unit", reason="corrupt")
        if frames[0].getPTS() != self._sequence:
            raise MediaError("the picture is another access unit's", reason="corrupt")
        return frames[0]

    def _decoder(self, kind: Kind) -> Any:
        decoder = self._decoders.get(kind)
        if decoder is None:
            while len(self._decoders) >= self._kept:
                self._decoders.popitem(last=False)
            decoder = self._decoders[kind] = self._package.CreateDecoder(
                gpuid=self._gpu,
                codec=getattr(self._package.cudaVideoCodec, _CODECS[kind[0]]),
                cudastream=self._device.stream if self._device else 0,
                usedevicememory=self._device is not None,
                latency=self._package.DisplayDecodeLatencyType.LOW,
            )
        self._decoders.move_to_end(kind)
        return decoder

    def _packet(self, data: NDArray[np.uint8] | None) -> Any:
        """One access unit and nothing after it; None = the end of the stream."""
        packet = self._package.PacketData()
        packet.bsl = 0 if data is None else data.size
        packet.bsl_data = 0 if data is None else data.ctypes.data
        packet.pts = self._sequence
        if data is not None:
            packet.decode_flag = int(self._package.VideoPacketFlag.ENDOFPICTURE)
        return packet

    def _copied(self, frame: Any, stream: StreamInfo) -> Any:
        shape = (stream.height * 3 // 2, stream.width)
        dtype = np.dtype(np.uint8 if stream.bit_depth == 8 else np.uint16)
        if self._device is not None:
            _check(frame.framesize() == shape[0] * shape[1] * dtype.itemsize, frame.shape, stream)
            return self._device.copy_in(frame.GetPtrToPlane(0), shape, dtype)
        picture = np.from_dlpack(frame)
        _check((picture.shape, picture.dtype) == (shape, dtype), picture.shape, stream)
        return picture.copy()


def luma(nv12: NDArray[Any], stream: StreamInfo) -> Picture:
    """The luma plane alone of :meth:`Session.decode`'s array, for measuring; of 8 bits without copying."""
    return Picture(stream, _low_bits(nv12[: stream.height], stream), None, None)


def to_picture(nv12: NDArray[Any], stream: StreamInfo) -> Picture:
    """A picture with planes of its own, from :meth:`Session.decode`'s array in host memory."""
    y, chroma = nv12[: stream.height], nv12[stream.height :]
    planes = (y, chroma[:, 0::2], chroma[:, 1::2])
    return Picture(stream, *(_low_bits(plane, stream).copy() for plane in planes))


def _low_bits(plane: NDArray[Any], stream: StreamInfo) -> NDArray[np.uint8] | NDArray[np.uint16]:
    shift = 8 * plane.itemsize - stream.bit_depth
    return np.asarray(plane >> shift if shift else plane)


def _check(right: bool, shape: Any, stream: StreamInfo) -> None:
    if not right:
        said = f"{stream.width}x{stream.height}, {stream.bit_depth} bits"
        raise MediaError(f"the picture is {shape}, its headers say {said}", reason="corrupt")


def told(error: Exception, limit: int = PRINTABLE_CHARS) -> str:
    """What an error of the package says, on one line of at most ``limit`` characters.

    That is its first paragraph: the call, the number and the name of the error stand on three lines, and behind
    them where in NVIDIA's sources it was raised, or a page of advice.
    """
    return printable(str(error).strip().partition("\n\n")[0], limit) or type(error).__name__
