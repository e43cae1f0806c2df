"""The CPU decoder: libavcodec through PyAV, one access unit at a time; the one importer of ``av`` here.

libavcodec is made for players, which would rather show a repaired picture than none. Here it is the other way
round:

- ``err_detect`` with ``explode`` turns what its parsers notice into errors; a picture it has repaired carries a
  flag (``is_corrupt``). Together they find every lost slice of H.264 and every cut but that of the last few bytes
  of a CABAC slice; dav1d refuses damaged AV1 itself.
- Its HEVC decoder tells nothing. A cut slice is made to end at once (:data:`harvester.decode.annexb.SLICE_END`),
  and blocks that no slice has reached are found by what they hold: a picture buffer starts as zeros and is given
  back as zeros, and Y = Cb = Cr = 0 is no colour that a conversion from RGB makes.
- What no decoder can know: bits changed such that they mean something else. TLS and TCP answer for those, the
  demultiplexer for an access unit being whole.

Contexts live as long as the decoder: a fresh one for every 1080p picture costs 3 ms more, for page faults. After
an error the context is thrown away, so nothing of a broken stream reaches the next one.
"""

from __future__ import annotations

import re
from typing import Any, cast

import av
import numpy as np
from av.codec.context import CodecContext, Flags
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from harvester.decode.annexb import check_parameter_sets, with_slice_ends
from harvester.decode.looks import HostLook
from harvester.errors import MediaError
from harvester.model import AccessUnit, Codec, Picture, StreamInfo
from harvester.stats import StageTimes
from harvester.vision.measure import measure

#: Short name, as in the dataset's column ``decoder``.
NAME = "cpu"

#: Largest picture taken, in pixels: 8K. A forged header cannot ask for more memory than that, and the perceptual
#: hash stays within 64 bits (255 · 1024 · 1024² · pixels < 2^63).
MAX_PIXELS = 7680 * 4320

#: The software decoder of each codec in PyAV's wheels. FFmpeg's own "av1" only drives hardware.
_DECODERS = {Codec.H264: "h264", Codec.HEVC: "hevc", Codec.AV1: "libdav1d"}
_ANNEX_B = frozenset((Codec.H264, Codec.HEVC))

#: Of every codec context: what a parser notices is an error.
OPTIONS = {"err_detect": "crccheck+bitstream+buffer+explode", "max_pixels": str(MAX_PIXELS)}

_PLANAR = re.compile(r"(?:yuvj?(?P<chroma>4\d\d)p|gray)(?P<depth>9|1\d)?(?:le)?")

#: (horizontal, vertical) luma samples of a chroma sample.
_SUBSAMPLING = {"420": (2, 2), "422": (2, 1), "444": (1, 1)}

_Plane = NDArray[np.uint8] | NDArray[np.uint16]


def library() -> str:
    """Name and version of what decodes, for a run's report."""
    return "libavcodec " + ".".join(str(part) for part in av.library_versions["libavcodec"])


def supported() -> frozenset[Codec]:
    """Codecs that this build of libavcodec decodes in software."""
    return frozenset(codec for codec, name in _DECODERS.items() if name in av.codecs_available)


class CpuDecoder:
    """Implements :class:`harvester.ports.Decoder`. Not thread-safe: one thread at a time."""

    name = NAME

    def __init__(self, times: StageTimes | None = None) -> None:
        self._times = times or StageTimes()
        av.logging.set_level(None)  # libavcodec's remarks on broken streams never reach stderr
        self._contexts: dict[Codec, VideoCodecContext] = {}

    def look(self, unit: AccessUnit) -> HostLook:
        """The picture of :meth:`decode`, measured. Raises what that raises."""
        with self._times.timed("decode"):
            picture = self.decode(unit)
        with self._times.timed("measure"):
            return HostLook(measure(picture), self.name, picture)

    def decode(self, unit: AccessUnit) -> Picture:
        """The one picture of ``unit``, cropped to display size; its planes are its own memory.

        Raises :class:`MediaError`: corrupt, or unsupported-codec for a codec or pixel format not dealt with.
        """
        _check_size(unit.stream)
        try:
            return self._decode(unit)
        except MediaError:
            self._contexts.pop(unit.stream.codec, None)
            raise

    def close(self) -> None:
        """Release the codec contexts; the decoder opens new ones if it is used again."""
        self._contexts.clear()

    def _decode(self, unit: AccessUnit) -> Picture:
        stream, data = unit.stream, unit.data
        if stream.codec in _ANNEX_B:
            check_parameter_sets(stream.codec, data)
        if stream.codec is Codec.HEVC:
            data = with_slice_ends(data)
        views = _views(only_frame(self._context(stream.codec), data), stream)
        if stream.codec is Codec.HEVC:
            _check_complete(views, stream)
        planes = [view.copy() for view in views]
        if stream.codec is Codec.HEVC:
            for view in views:
                view.fill(0)  # as the buffer was, for the next check
        return Picture(stream, planes[0], *(planes[1:] or (None, None)))

    def _context(self, codec: Codec) -> VideoCodecContext:
        if codec not in self._contexts:
            self._contexts[codec] = _open(codec)
        return self._contexts[codec]


def _open(codec: Codec) -> VideoCodecContext:
    if codec not in supported():
        raise MediaError(f"this libavcodec cannot decode {codec}", reason="unsupported-codec")
    context = cast(VideoCodecContext, CodecContext.create(_DECODERS[codec], "r"))
    context.thread_count = 1  # pictures run in parallel, not slices of one
    context.flags |= Flags.unaligned  # else a left crop is rounded down to what SIMD likes
    context.options = dict(OPTIONS)
    return context


def _check_size(stream: StreamInfo) -> None:
    if stream.coded_width * stream.coded_height > MAX_PIXELS:
        raise MediaError(f"picture of {stream.coded_width}x{stream.coded_height}", reason="unsupported-codec")


def only_frame(context: VideoCodecContext, data: bytes) -> VideoFrame:
    """The frame of one access unit; the context is flushed, ready for a unit of another stream.

    A picture that needs others, or a field without its second, is not given out at all.
    """
    try:
        frames = [*context.decode(av.Packet(data)), *context.decode(None)]
        context.flush_buffers()
    except av.error.PatchWelcomeError:
        raise MediaError("a feature that libavcodec does not decode", reason="unsupported-codec") from None
    except av.error.FFmpegError as error:
        raise MediaError(f"libavcodec: {error.strerror}", reason="corrupt") from None
    if len(frames) != 1:
        raise MediaError(f"{len(frames)} pictures in an access unit", reason="corrupt")
    if frames[0].is_corrupt:
        raise MediaError("the picture is damaged", reason="corrupt")
    return frames[0]


def _views(frame: VideoFrame, stream: StreamInfo) -> list[_Plane]:
    """The frame's planes, display area only, without copying."""
    name = frame.format.name
    match = _PLANAR.fullmatch(name)
    if not match:
        raise MediaError(f"pixel format {name}", reason="unsupported-codec")
    if (frame.width, frame.height) != (stream.width, stream.height):
        got, said = f"{frame.width}x{frame.height}", f"{stream.width}x{stream.height}"
        raise MediaError(f"the picture is {got}, its headers say {said}", reason="corrupt")
    depth = int(match["depth"] or 8)
    # libavcodec gives monochrome H.264 as 4:2:0 with constant chroma
    if depth != stream.bit_depth or (stream.chroma != "400" and (match["chroma"] or "400") != stream.chroma):
        raise MediaError(f"the picture is {name}, its headers say otherwise", reason="corrupt")
    count = 1 if stream.chroma == "400" else 3
    return [_view(plane, np.dtype(np.uint8 if depth == 8 else "<u2")) for plane in frame.planes[:count]]


def _view(plane: Any, dtype: np.dtype[Any]) -> _Plane:
    lines = np.frombuffer(plane, dtype=dtype).reshape(plane.height, plane.line_size // dtype.itemsize)
    return lines[:, : plane.width]


def _check_complete(views: list[_Plane], stream: StreamInfo) -> None:
    """Raise if a block of 8x8 luma samples is as empty as its buffer was; no coding tree block is below 16x16."""
    if stream.chroma == "400" and stream.full_range:
        return  # black is zero there; nothing to tell it by
    if any(int(view.min()) > 0 for view in reversed(views)):
        return
    across, down = _SUBSAMPLING.get(stream.chroma, (1, 1))
    y, *chroma = views
    empty = _blocks(y == 0, 8, 8)
    for plane in chroma:
        empty = empty & _blocks(plane == 0, 8 // down, 8 // across)
    if empty.any():
        raise MediaError("parts of the picture were not decoded", reason="corrupt")


def _blocks(mask: NDArray[np.bool_], height: int, width: int) -> NDArray[np.bool_]:
    """Which whole blocks of ``height`` x ``width`` are all true; (rows, columns)."""
    rows, columns = mask.shape[0] // height, mask.shape[1] // width
    whole = mask[: rows * height, : columns * width].reshape(rows, height, columns, width)
    return np.asarray(whole.all(axis=(1, 3)))
