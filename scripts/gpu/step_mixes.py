"""HEVC, and streams of several sizes in turn: a decoder for each size against one that is reconfigured."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from gpu import arms, driver, pynv
from gpu.cells import Cells, best_sessions
from gpu.check import Check
from gpu.rates import Turn
from harvester.model import AccessUnit, Codec

#: Sizes of a category's sources as they come: (lines, kB, how many of ten).
_MIX = ((1080, 200, 6), (720, 100, 3), (480, 50, 1))
_LARGEST = (1920, 1088)


def run(check: Check) -> None:
    cells, package, sessions = Cells(check), pynv.load(), best_sessions(check)
    seconds = 0.2 if check.quick else 2.5
    for codec, lines, size_kb in sorted(check.streams.sized):
        if codec is Codec.HEVC:
            units = check.streams.sized[codec, lines, size_kb]
            for device in (True, False):
                cells.cell(
                    "hevc",
                    partial(arms.raw, package, units, device_memory=device),
                    sessions,
                    seconds,
                    size_kb=size_kb,
                    device=device,
                )
    units = mixed(check)
    for device in (True, False):
        cells.cell(
            "a decoder a size",
            partial(arms.session, units, device_memory=device),
            sessions,
            seconds,
            first_turns=len(units),
            device=device,
        )
        cells.cell(
            "one reconfigured",
            partial(_reconfigured, package, units, device_memory=device),
            sessions,
            seconds,
            first_turns=len(units),
            device=device,
        )


def mixed(check: Check) -> Sequence[AccessUnit]:
    """Ten units in the mix's shares, shuffled."""
    units = [
        check.streams.sized[Codec.H264, lines, size][number % len(check.streams.sized[Codec.H264, lines, size])]
        for lines, size, share in _MIX
        for number in range(share)
    ]
    random.Random(7).shuffle(units)
    return units


def _reconfigured(package: Any, units: Sequence[AccessUnit], *, device_memory: bool) -> Callable[[int], Turn]:
    def opened(number: int) -> Turn:
        cuda = driver.open_cuda() if device_memory else None
        decoder = pynv.Raw(
            package, Codec.H264, device_memory=device_memory, stream=cuda.stream() if cuda else 0, largest=_LARGEST
        )
        shown: list[tuple[int, int]] = [(0, 0)]

        def turn(count: int) -> int:
            unit = units[(number + count) % len(units)]
            size = (unit.stream.width, unit.stream.height)
            if size != shown[0]:
                decoder.announce(*size)
                shown[0] = size
            return len(decoder.decode(unit.data, count))

        return turn

    return opened
