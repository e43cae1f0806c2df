"""What the GPU says it decodes, and how long import, context and decoders take."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from gpu import driver, pynv
from gpu.check import Check
from harvester.model import Codec

_ASKED = tuple((codec, depth) for codec in ("H264", "HEVC", "AV1", "VP9") for depth in (8, 10))


def run(check: Check) -> None:
    found = check.part("import", lambda: {"seconds": _timed(pynv.load)})
    if found is None:
        return
    package = pynv.load()
    check.part("context", lambda: {"seconds": _timed(driver.open_cuda)})
    check.part("decoders", partial(_decoders, package, check))
    for codec, depth in _ASKED:
        check.part("caps", partial(_caps, package, codec, depth), codec=codec, depth=depth)


def _timed(work: Any) -> float:
    begin = time.perf_counter()
    work()
    return round(time.perf_counter() - begin, 4)


def _caps(package: Any, codec: str, depth: int) -> Mapping[str, Any]:
    chroma = getattr(package.cudaVideoChromaFormat, "420")
    return dict(package.GetDecoderCaps(0, getattr(package.cudaVideoCodec, codec), chroma, depth))


def _decoders(package: Any, check: Check) -> Mapping[str, Any]:
    """Seconds of the first decoder with its first picture, of a second, of further pictures, of another size."""
    unit, other = check.streams.exact["1080p"], check.streams.exact["720p"]
    held: list[pynv.Raw] = []

    def opened() -> None:
        held.append(pynv.Raw(package, Codec.H264, largest=(1920, 1088)))
        held[-1].decode(unit.data)

    def resized() -> None:
        held[0].announce(other.stream.width, other.stream.height)
        held[0].decode(other.data)

    names = ("first_s", "second_s", "picture_s", "resized_s", "third_s")
    works = (opened, opened, lambda: held[0].decode(unit.data), resized, opened)
    return dict(zip(names, map(_timed, works), strict=True))
