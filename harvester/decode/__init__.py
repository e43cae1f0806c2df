"""Bytes to measured pixels: one access unit in, one picture out, behind one door whatever does the work.

:func:`open_decoder` gives a decoder that one thread keeps for the run; :func:`describe` says which one it is and
why. A picture with the slightest known damage is an error, never a neighbour or a grey patch.
Importing this package loads no codec library; opening a decoder does.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from harvester import config
from harvester.model import Codec
from harvester.ports import Decoder
from harvester.stats import StageTimes


@dataclass(frozen=True, slots=True)
class DecoderChoice:
    """Which decoder a run uses: ``name`` is the dataset's column ``decoder``, ``engine`` what is behind it."""

    name: str
    engine: str
    why: str

    def __str__(self) -> str:
        return f"{self.name} ({self.engine}): {self.why}"


def open_decoder(settings: config.Decode, times: StageTimes | None = None) -> Decoder:
    """A decoder as ``[decode] backend`` asks for. It belongs to one thread at a time; the caller closes it.

    ``times`` is told how long it decodes and measures.
    """
    from harvester.decode.cpu import CpuDecoder

    del settings  # every value of [decode] backend means the CPU as long as there is no other backend
    return CpuDecoder(times)


def describe(settings: config.Decode) -> DecoderChoice:
    """What :func:`open_decoder` opens for these settings, and why."""
    from harvester.decode.cpu import NAME, library

    forced = settings.backend == NAME
    return DecoderChoice(
        NAME, library(), "forced by [decode] backend" if forced else "no GPU backend in this version"
    )


def supported_codecs(settings: config.Decode) -> frozenset[Codec]:
    """The codecs that :func:`open_decoder` can decode here: what may be asked of Twitch."""
    from harvester.decode.cpu import supported

    del settings
    return supported()


def thread_count(settings: config.Decode) -> int:
    """Decoder threads of a run: ``[decode] threads``, or one for each core this process may use."""
    return settings.threads or _cores()


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
