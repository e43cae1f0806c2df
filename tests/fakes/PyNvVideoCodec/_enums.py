"""The enumerations of the real package, with its names (two of them digits) and numbers."""

from __future__ import annotations

from enum import Enum


class _Numbered(Enum):
    """As pybind11 makes them: convertible to int, equal to no int, accepted where an int is wanted."""

    def __int__(self) -> int:
        return int(self.value)

    __index__ = __int__

    def __repr__(self) -> str:
        return f"<{type(self).__name__}.{self.name}: {self.value}>"


class cudaVideoCodec(_Numbered):
    MPEG1 = 0
    MPEG2 = 1
    MPEG4 = 2
    VC1 = 3
    H264 = 4
    JPEG = 5
    H264_SVC = 6
    H264_MVC = 7
    HEVC = 8
    VP8 = 9
    VP9 = 10
    AV1 = 11


cudaVideoChromaFormat = _Numbered("cudaVideoChromaFormat", {"Monochrome": 0, "420": 1, "422": 2, "444": 3})


class DisplayDecodeLatencyType(_Numbered):
    NATIVE = 0
    LOW = 1
    ZERO = 2


class VideoPacketFlag(_Numbered):
    ENDOFSTREAM = 1
    TIMESTAMP = 2
    DISCONTINUITY = 4
    ENDOFPICTURE = 8
    NOTIFY_EOS = 16


class OutputColorType(_Numbered):
    NATIVE = 0
    RGB = 1
    RGBP = 2


class Pixel_Format(_Numbered):
    NV12 = 3
    YUV444 = 4
    P016 = 5
    YUV444_16Bit = 6
    NV16 = 7
    P216 = 8
    RGB = 9
    RGBP = 10


class ColorSpace(_Numbered):
    BT_601 = 0
    BT_709 = 1
    UNSPEC = 2


class ColorRange(_Numbered):
    MPEG = 0
    JPEG = 1
    UDEF = 2
