"""Makes the keyframes; what is finished is kept, whatever time runs out."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from gpu.check import Check
from gpu.streams import CASES, PICTURES, QUICK_CASES, Streams, exact_unit, scenes, sized_keys, sized_units


def run(check: Check) -> None:
    streams: dict[str, Any] = {"exact": {}, "sized": {}}
    check.part("exact", partial(_exact, check, streams["exact"]))
    _save(check, streams)
    check.part("sized", partial(_sized, check, streams["sized"]))
    _save(check, streams)


def _save(check: Check, streams: Mapping[str, Any]) -> None:
    (check.scratch / "streams").write_bytes(pickle.dumps(Streams(**streams)))


def _exact(check: Check, into: dict[str, Any]) -> Mapping[str, Any]:
    scenes()  # once, before the threads ask for them
    cases = [case for case in CASES if not check.quick or case.name in QUICK_CASES]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = {case.name: pool.submit(exact_unit, case) for case in cases}
    failed = {}
    for name, job in jobs.items():
        if (error := job.exception()) is None:
            into[name] = job.result()
        else:  # an encoder that this wheel lacks: the other cases are still worth having
            failed[name] = f"{type(error).__name__}: {error}"
    return {"cases": sorted(into), "not_encoded": failed, "bytes": sum(len(unit.data) for unit in into.values())}


def _sized(check: Check, into: dict[Any, Any]) -> Mapping[str, Any]:
    keys, pictures = sized_keys(quick=check.quick), 1 if check.quick else PICTURES
    for key, units in sized_units(keys, pictures, os.cpu_count() or 1):
        into[key] = units
        _save(check, {"exact": check.streams.exact, "sized": into})
    sizes = {
        f"{codec} {lines} {kb} kB": [len(unit.data) for unit in into[codec, lines, kb]]
        for codec, lines, kb in keys
    }
    return {"bytes": sizes}
