"""Tries the one GPU that this process sees: what does it decode, and does it give a known picture the right bits?

A program of its own (``python -m harvester.decode.trial FD``, see :mod:`harvester.decode.asking`), because the
package ends its process where the driver fails, and asks the first GPU for its abilities whichever it is told.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from harvester.decode import driver, keyframe, nvdec
from harvester.decode.devices import CodecCaps
from harvester.decode.driver import Answer, problem, tell
from harvester.errors import MediaError
from harvester.model import Codec

#: What a GPU is asked about: all that Twitch serves, and 10 bits of each.
ASKED = tuple((codec, bit_depth) for codec in Codec for bit_depth in (8, 10))

_CODECS = {Codec.H264: "H264", Codec.HEVC: "HEVC", Codec.AV1: "AV1"}

#: The oldest driver whose NVENC API (12.1) the package takes (NVIDIA Video Codec SDK 12.1, release notes).
_OLDEST_DRIVER = "530"

#: Longest text shown of an error (characters): a path of the package fits, and what is said of it.
_SHOWN_CHARS = 300

_WRONG = 'decode on the CPU ([decode] backend = "cpu"), and keep what scripts/gpu_check.py reports of this machine'


def trial() -> Answer:
    """``{"caps": [...]}`` of the GPU if it has proved to decode, or the first problem."""
    shown = driver.survey()  # where the driver does not start, the package goes on, or ends the process
    if "problem" in shown or len(shown["names"]) != 1:
        return shown if "problem" in shown else _not_alone(len(shown["names"]))
    try:
        package = nvdec.package()
    except (ImportError, RuntimeError, OSError) as error:
        return _no_import(error)
    failures = (RuntimeError, package.PyNvVCException, package.PyNvVCExceptionUnsupported)
    try:
        caps = [_caps(package, codec, bit_depth) for codec, bit_depth in ASKED]
    except failures as error:
        why = f"the GPU does not tell what it decodes: {nvdec.told(error, _SHOWN_CHARS)}"
        return problem("caps", why, "install a newer NVIDIA driver")
    if not any(one.supported for one in caps if one.codec is Codec.H264):
        fix = "choose a GPU, or a part of one, that has a video decoder"
        return problem("no-decoder", "no video decoder in it for this process", fix)
    return _wrong_picture() or {"caps": [asdict(one) for one in caps]}


def _not_alone(count: int) -> Answer:
    fix = "name each GPU by its number or UUID in CUDA_VISIBLE_DEVICES, or unset it"
    return problem("not-alone", f"its process sees {count} GPUs", fix)


def _no_import(error: Exception) -> Answer:
    fix = f"pip install --force-reinstall {nvdec.PACKAGE}"
    if "too old" in str(error) or "undefined symbol: cu" in str(error):
        fix = f"install a newer NVIDIA driver, at least {_OLDEST_DRIVER}"
    return problem("import", f"{nvdec.PACKAGE} cannot be imported: {nvdec.told(error, _SHOWN_CHARS)}", fix)


def _caps(package: Any, codec: Codec, bit_depth: int) -> CodecCaps:
    told = package.GetDecoderCaps(
        gpuid=0,
        codec=getattr(package.cudaVideoCodec, _CODECS[codec]),
        chromaformat=getattr(package.cudaVideoChromaFormat, "420"),
        bitdepth=bit_depth,
    )
    if not told["supported"]:
        return CodecCaps(codec, bit_depth, 0)
    limits = (told[key] for key in ("width_min", "height_min", "width_max", "height_max", "mb_num_max"))
    # a driver from before engines were counted says 0
    return CodecCaps(codec, bit_depth, max(1, int(told["num_decoder_engines"])), *map(int, limits))


def _wrong_picture() -> Answer | None:
    """The keyframe decoded: None if it is the picture that it must be."""
    session = nvdec.Session()
    try:
        picture = nvdec.to_picture(session.decode(keyframe.access_unit()), keyframe.STREAM)
    except (MediaError, nvdec.Refused, nvdec.DeviceError) as error:
        return problem("decode", f"it does not decode a sound keyframe: {nvdec.told(error, _SHOWN_CHARS)}", _WRONG)
    finally:
        session.close()
    if keyframe.digest(picture) == keyframe.DIGEST:
        return None
    return problem("wrong-picture", "it decodes a known keyframe to other bits than it must", _WRONG)


if __name__ == "__main__":
    tell(trial)
