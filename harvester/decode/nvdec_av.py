"""NVDEC through libavcodec: PyAV's hwaccel ``cuda``, for machines where PyNvVideoCodec cannot be loaded.

It needs of the driver only libcuda and libnvcuvid. A second route to one piece of hardware is kept only until both
have figures from hardware; then one goes. It works in this process, in the threads of the run: unlike
PyNvVideoCodec, libavcodec gives a failing driver call back as an error and ends nothing. What PyAV (18.1) and
libavcodec do not tell, and what is done about it:

- Opening the device fails with the errno of ``-1`` ("operation not permitted") where libcuda is not there, and of
  libnvcuvid nothing is said before a picture fails. So an opened decoder must give a known keyframe's bits.
- PyAV takes the software decoder where a codec has no hardware, and where the driver refuses a stream; the second
  is forbidden it, and a frame that is no NV12 or P010 is an error.
- Without ``primary_ctx`` every codec context makes a CUDA context of its own, some 400 MB each.
- libavcodec crops hardware's frames right and below only: a left or top crop is refused.
- The driver hides damage, and libavcodec does not ask it (``cuvidGetDecodeStatus``): headers are checked, and that
  an access unit is whole is the demultiplexer's word. When a picture fails, the keyframe tells whose fault it is.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import count
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from av.codec.codec import Codec as AvCodec
from av.codec.context import CodecContext
from av.codec.hwaccel import HWAccel
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from harvester.decode import keyframe
from harvester.decode.annexb import check_parameter_sets
from harvester.decode.backend import Backend, DecoderChoice, cores
from harvester.decode.cpu import OPTIONS, library, only_frame
from harvester.decode.devices import CodecCaps, GpuDevice
from harvester.decode.looks import HostLook
from harvester.decode.nvdec import DECODERS_KEPT, Kind, kind_of, to_picture
from harvester.errors import MachineError, MediaError
from harvester.model import AccessUnit, Codec, Picture, StreamInfo
from harvester.stats import StageTimes
from harvester.vision.measure import measure

if TYPE_CHECKING:
    from harvester import config

#: Short name, as in the dataset's column ``decoder`` and in ``[decode] backend``.
NAME = "nvdec-av"

#: What is sent to hardware: what every NVDEC since Turing decodes (NVIDIA's support matrix). libavcodec asks the
#: driver as well, but what that refuses it reports like damage.
_ANY_GPU = GpuDevice(
    "",
    "any",
    (
        CodecCaps(Codec.H264, 8, 1, 48, 16, 4096, 4096, 65_536),
        CodecCaps(Codec.HEVC, 8, 1, 144, 144, 8192, 8192, 262_144),
        CodecCaps(Codec.HEVC, 10, 1, 144, 144, 8192, 8192, 262_144),
    ),
)

#: Threads for each GPU: libavcodec does not tell how many engines there are. The most that a GPU has is 7 or 8.
_THREADS = 8
#: More GPUs than any machine has: a driver that opens them all without end is not asked further.
_MOST_GPUS = 64

_VIDEO_FIX = "see that libnvcuvid.so.1 is there: containers need NVIDIA_DRIVER_CAPABILITIES=compute,utility,video"

#: How libavcodec names what NVDEC writes, by bit depth.
_FORMATS = {8: "nv12", 10: "p010le"}


class AvDecoder:
    """One thread's way to the GPU of that number. Implements :class:`harvester.ports.Decoder`."""

    name = NAME

    def __init__(self, gpu: int = 0, times: StageTimes | None = None) -> None:
        self._gpu = gpu
        self._times = times or StageTimes()
        self._contexts: OrderedDict[Kind, VideoCodecContext] = OrderedDict()
        av.logging.set_level(None)  # libavcodec's remarks never reach stderr

    def look(self, unit: AccessUnit) -> HostLook:
        """The picture of :meth:`decode`, measured. Raises what that raises."""
        with self._times.timed("decode"):
            picture = self.decode(unit)
        with self._times.timed("measure"):
            return HostLook(measure(picture), self.name, picture)

    def decode(self, unit: AccessUnit) -> Picture:
        """The one picture of ``unit``, cropped to display size; its planes are its own memory.

        Raises :class:`MediaError`: corrupt, or unsupported-codec for what is not sent to hardware; and
        :class:`MachineError` (gpu-lost) if the GPU decodes nothing any more.
        """
        refusal = _ANY_GPU.refusal(unit.stream)
        if refusal:
            raise MediaError(f"{NAME} does not decode such a picture ({refusal})", reason="unsupported-codec")
        check_parameter_sets(unit.stream.codec, unit.data)
        try:
            return self._decode(unit)
        except MediaError:
            self.prove("gpu-lost")
            raise

    def close(self) -> None:
        """Release the codec contexts; the decoder opens new ones if it is used again."""
        self._contexts.clear()

    def _decode(self, unit: AccessUnit) -> Picture:
        kind = kind_of(unit.stream)
        try:
            frame = only_frame(self._context(kind), unit.data)
            return to_picture(_nv12(frame, unit.stream), unit.stream)
        except MediaError:
            self._contexts.pop(kind, None)
            raise

    def _context(self, kind: Kind) -> VideoCodecContext:
        """One for each kind of stream: another size would make libavcodec build the hardware's decoder anew."""
        if kind not in self._contexts:
            while len(self._contexts) >= DECODERS_KEPT:
                self._contexts.popitem(last=False)
            self._contexts[kind] = _open(kind[0], self._gpu)
        self._contexts.move_to_end(kind)
        return self._contexts[kind]

    def prove(self, reason: str = "no-gpu") -> None:
        """Decode a known keyframe in a context of its own. Raises MachineError, for that reason, if it fails."""
        alone, self._contexts = self._contexts, OrderedDict()
        try:
            wrong = keyframe.digest(self._decode(keyframe.access_unit())) != keyframe.DIGEST
            why = "a known keyframe comes out with other bits than it must" if wrong else ""
        except MediaError as error:
            why = f"a sound keyframe does not decode ({error})"
        finally:
            self._contexts = alone
        if why:
            raise _no_gpu(f"GPU {self._gpu}: {why}", _VIDEO_FIX, reason)


def _open(codec: Codec, gpu: int) -> VideoCodecContext:
    """A codec context on hardware. Raises MachineError (no-gpu) if the device does not open."""
    try:
        context = CodecContext.create(codec.value, "r", _device(gpu))
    except av.error.FFmpegError as error:
        raise _no_gpu(*_explained(error)) from None
    if not context.is_hwaccel:
        raise _no_gpu(f"this PyAV has no hardware decoder for {codec}", "install PyAV's own wheel")
    context.thread_count = 1  # pictures run in parallel; frame threads would hold back the only one
    context.options = dict(OPTIONS)
    return context


def _device(gpu: int) -> HWAccel:
    return HWAccel("cuda", str(gpu), allow_software_fallback=False, options={"primary_ctx": "1"})


def _explained(error: av.error.FFmpegError) -> tuple[str, str]:
    """Why a device does not open, and what to do."""
    if isinstance(error, av.error.PermissionError):
        fix = "if there is a GPU, install the NVIDIA driver; start a container with --gpus all"
        return "libcuda.so.1 cannot be loaded: no NVIDIA driver", fix
    if isinstance(error, av.error.ExternalError):
        fix = "make nvidia-smi list the GPU, and look at CUDA_VISIBLE_DEVICES"
        return "the NVIDIA driver does not start, or shows no GPU", fix
    return f"libavcodec does not open the GPU: {error.strerror}", "make nvidia-smi list the GPU"


def _no_gpu(why: str, fix: str, reason: str = "no-gpu") -> MachineError:
    return MachineError(f"[decode] backend = '{NAME}', but no GPU can be used: {why} ({fix})", reason=reason)


def _nv12(frame: VideoFrame, stream: StreamInfo) -> NDArray[Any]:
    """The frame as one array: luma lines, then lines of interleaved chroma (height · 3 / 2, width)."""
    got = (frame.format.name, frame.width, frame.height)
    if got != (_FORMATS[stream.bit_depth], stream.width, stream.height):
        raise MediaError(f"the picture is {got}, its headers say otherwise", reason="corrupt")
    dtype = np.dtype(np.uint8 if stream.bit_depth == 8 else "<u2")
    return np.concatenate([_lines(plane, dtype, stream.width) for plane in frame.planes])


def _lines(plane: Any, dtype: np.dtype[Any], width: int) -> NDArray[Any]:
    return np.frombuffer(plane, dtype).reshape(plane.height, plane.line_size // dtype.itemsize)[:, :width]


def _gpus() -> int:
    """How many GPUs open; all prove to decode. Raises MachineError (no-gpu) if one does not, or there is none."""
    codec = AvCodec(Codec.H264.value, "r")
    for gpu in range(_MOST_GPUS):
        try:
            _device(gpu).create(codec)
        except av.error.FFmpegError as error:
            if gpu:
                return gpu
            raise _no_gpu(*_explained(error)) from None
        except NotImplementedError as error:
            raise _no_gpu(str(error), "install PyAV's own wheel") from None
        AvDecoder(gpu).prove()
    return _MOST_GPUS


def _choice(gpus: int) -> DecoderChoice:
    return DecoderChoice(NAME, f"{library()}, {gpus} GPU{'s' * (gpus != 1)}", "forced by [decode] backend")


def av_choice() -> DecoderChoice:
    """This backend, and what is behind it. Raises MachineError (no-gpu) as :func:`av_backend` does."""
    return _choice(_gpus())


def av_backend(settings: config.Decode, times: StageTimes | None = None) -> Backend:
    """Decoding on all GPUs, in turns, never on the CPU. Raises MachineError (no-gpu) if one does not decode."""
    gpus, turns = _gpus(), count()
    codecs = frozenset(caps.codec for caps in _ANY_GPU.caps)
    threads = settings.threads or max(_THREADS * gpus, cores())
    return Backend(_choice(gpus), codecs, threads, lambda: AvDecoder(next(turns) % gpus, times))
