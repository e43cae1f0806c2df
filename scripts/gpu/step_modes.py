"""The truth table: which pictures come out at which call, with which time stamps, by latency mode and flag.

Harvester relies on LOW with ENDOFPICTURE giving each picture at its own call with its own time stamp, also where
the stream's headers allow reordering.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from functools import partial
from typing import Any

from gpu import pynv
from gpu.check import Check
from harvester.model import AccessUnit

_STREAMS = ("b-frames", "no-b-frames", "hevc-10")
#: Sequence ids as a worker gives them; 2^40 shows that they are not cut, the last that they may go back.
_PTS = (1 << 40, 7, 8, 3)


def run(check: Check) -> None:
    package = pynv.load()
    for latency, flagged, name in itertools.product(pynv.LATENCIES, (True, False), _STREAMS):
        unit = check.streams.exact[name]
        work = partial(_table, package, latency, unit, flagged=flagged)
        check.part("mode", work, latency=latency, end_of_picture=flagged, stream=name)


def _table(package: Any, latency: str, unit: AccessUnit, *, flagged: bool) -> Mapping[str, Any]:
    decoder = pynv.Raw(package, unit.stream.codec, latency=latency)

    def fed(pts: int) -> list[int]:
        return [pynv.pts_of(frame) for frame in decoder.decode(unit.data, pts, end_of_picture=flagged)]

    calls = [fed(pts) for pts in _PTS]
    flushed = [pynv.pts_of(frame) for frame in decoder.flush()]
    again = fed(99)
    return {
        "per_call": calls,
        "flushed": flushed,
        "after_flush": again,
        "one_in_one_out": calls == [[pts] for pts in _PTS],
        "all_out": sum(map(len, calls)) + len(flushed) == len(_PTS),
    }
