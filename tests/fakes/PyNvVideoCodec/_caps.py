"""GetDecoderCaps, which asks device 0 whatever device it is asked for."""

from __future__ import annotations

from . import _machine
from ._enums import cudaVideoChromaFormat, cudaVideoCodec
from ._errors import failure

NO_CUVID = (
    "Failed to open dynamic library: cuvid: libnvcuvid.so.1: cannot open shared object file: No such file or"
    " directory\nCould not dynamically load libnvcuvid.so.1. Please ensure Nvidia Graphics drivers are correctly"
    ' installed!\nIf using Docker please make sure that your Docker image was launched with "video" driver'
    " capabilty (see https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/user-guide.html"
    "#driver-capabilities)"
)


def check_gpu(gpuid: int) -> None:
    """The real package's ValidateGpuId."""
    last = len(_machine.visible()) - 1
    if not 0 <= gpuid <= last:
        what = f"GPU ordinal out of range. Should be within [0, {last}]"
        raise failure("ValidateGpuId", 801, what, "utils/PyNvVideoCodecUtils.hpp:42")


def GetDecoderCaps(
    gpuid: int = 0,
    codec: cudaVideoCodec = cudaVideoCodec.H264,
    chromaformat: cudaVideoChromaFormat = cudaVideoChromaFormat["420"],
    bitdepth: int = 8,
) -> dict[str, int]:
    """What device 0 decodes; all zero where it does not. Goes on after a failing cuInit."""
    if not isinstance(codec, cudaVideoCodec) or not isinstance(chromaformat, cudaVideoChromaFormat):
        raise TypeError("GetDecoderCaps(): incompatible function arguments.")
    if _machine.driver() == "no-cuvid":
        raise RuntimeError(NO_CUVID)
    caps = dict.fromkeys(
        ["supported", "num_decoder_engines", "width_max", "height_max", "width_min", "height_min", "mb_num_max"], 0
    )
    if _machine.cuda_starts():
        check_gpu(gpuid)
        caps |= _of_device_0(codec.name.lower(), chromaformat.name, bitdepth)
    return caps | {"bitdepth": bitdepth, "codec_id": int(codec), "chromaformat_id": int(chromaformat)}


def _of_device_0(codec: str, chroma: str, depth: int) -> dict[str, int]:
    gpu = _machine.visible()[0]
    if (codec, depth) not in gpu.codecs or chroma != "420":
        return {}
    largest, smallest = _machine.largest(codec), _machine.smallest(codec)
    return {
        "supported": 1,
        "num_decoder_engines": gpu.engines,
        "width_max": largest[0],
        "height_max": largest[1],
        "width_min": smallest[0],
        "height_min": smallest[1],
        "mb_num_max": _machine.macroblocks(codec),
    }
