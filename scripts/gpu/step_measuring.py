"""Decode and measure where the frames are: the same integers as on the host, and how much slower than decoding."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from gpu import arms, reference
from gpu.cells import Cells, best_sessions
from gpu.check import Check
from gpu.step_exactness import ROUTED
from gpu.streams import MAIN_KB
from harvester.decode.nvdec import Session
from harvester.model import AccessUnit, Codec
from harvester.vision.measure import measure
from harvester.vision.phash import phash

_BATCHES = (1, 8, 32)
#: Cases of quick runs: small ones, of both depths.
_QUICK = ("360p", "480p", "hevc-10")
#: Launches that are timed for each batch.
_ROUNDS = 50


def run(check: Check) -> None:
    check.part("refusal", _refusal)
    for name, unit in check.streams.exact.items():
        if name not in ROUTED and not (check.quick and name not in _QUICK):
            check.part("same", partial(_same, unit), name=name)
    unit = check.streams.exact["360p" if check.quick else "1080p"]
    for batch in _BATCHES[:1] if check.quick else _BATCHES:
        check.part("kernel", partial(_kernel, unit, batch, quick=check.quick), batch=batch)
    cells, sessions = Cells(check), best_sessions(check)
    units = check.streams.sized[(Codec.H264, 480, 50) if check.quick else (Codec.H264, 1080, MAIN_KB)]
    seconds = 0.2 if check.quick else 4.0
    for device, batch in ((True, 1), (True, 2 if check.quick else 8), (False, 1)):
        cells.cell(
            "decode and measure",
            partial(arms.measured, units, device_memory=device, batch=batch),
            sessions,
            seconds,
            device=device,
            batch=batch,
        )


def _refusal() -> Mapping[str, Any]:
    from harvester.decode.cuda import refusal

    return {"why": refusal()}


def _same(unit: AccessUnit) -> Mapping[str, Any]:
    place = arms.bench()
    session = Session(device=place)
    ours = place.measure([session.decode(unit)], unit.stream)[0]
    theirs = measure(reference.decode(unit))
    session.close()
    return {
        "same": reference.same_measurement(ours, theirs),
        "phash_same": phash(ours.grid) == phash(theirs.grid),
    }


def _kernel(unit: AccessUnit, batch: int, *, quick: bool) -> Mapping[str, Any]:
    """Microseconds a frame, waiting included."""
    place = arms.bench()
    frames = [place.to_device(reference.expected(unit)) for _ in range(batch)]
    place.measure(frames, unit.stream)
    rounds = 1 if quick else _ROUNDS
    begin = time.perf_counter()
    for _ in range(rounds):
        place.measure(frames, unit.stream)
    return {"us_per_frame": round((time.perf_counter() - begin) / rounds / batch * 1e6, 1)}
