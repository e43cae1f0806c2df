"""The whole way as a run goes it: access units to a worker process, measurements back, pictures of kept ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

from gpu import processes, reference
from gpu.cells import Cells
from gpu.check import Check
from gpu.rates import Turn
from gpu.step_mixes import mixed
from gpu.streams import MAIN_KB, damaged, with_data
from harvester.errors import MediaError
from harvester.model import AccessUnit, Codec

BACKENDS = ("nvdec", "nvdec-av", "cpu")
#: One look in so many gives its picture, as a kept one does.
KEPT = 10
#: Shares of a cut access unit that are fed.
_CUTS = (0.3, 0.6, 0.9, 0.99)


def run(check: Check) -> None:
    seconds = 0.3 if check.quick else 3.0
    streams = {"1080p": check.streams.sized[Codec.H264, 1080, MAIN_KB], "mix": mixed(check)}
    cells = Cells(check)
    check.part("damage", partial(_damage, check.streams.exact["720p"]), needs_s=3)
    for backend in BACKENDS:
        _measured(cells, backend, streams, seconds)


def _measured(cells: Cells, name: str, streams: Mapping[str, Sequence[AccessUnit]], seconds: float) -> None:
    """One backend: all streams, and once with pictures that are kept."""
    held: list[Any] = []
    if not cells.check.part("open", partial(_opening, name, held), needs_s=2, backend=name):
        return
    backend = held[0]
    for stream, units in streams.items():
        for kept in (0, KEPT) if (name, stream) == ("nvdec", "1080p") else (0,):
            cells.cell(
                "looks",
                partial(looks, backend, units, kept),
                backend.threads,
                seconds,
                cpu_s=processes.processor_s,
                first_turns=len(units),
                backend=name,
                stream=stream,
                kept_one_in=kept,
            )
    cells.check.part("close", partial(_closing, backend), needs_s=0, backend=name)


def _opening(name: str, held: list[Any]) -> Mapping[str, Any]:
    held.append(opened(name))
    return {"choice": str(held[0].choice), "threads": held[0].threads}


def _closing(backend: Any) -> Mapping[str, Any]:
    """What the run took the CPU for, and what happened to the GPU's worker."""
    told = {"fallbacks": dict(backend.fallbacks.counts), "events": list(backend.fallbacks.events)}
    backend.close()
    return told


def opened(name: str) -> Any:
    """Harvester's backend of that name. Raises MachineError where there is no GPU for it."""
    from harvester.decode import open_backend

    return open_backend(_settings(name))


def _settings(name: str) -> Any:
    """``[decode]``; a machine that is borrowed for the check may lack pydantic, which reads a configuration."""
    try:
        from harvester.config import Decode
    except ModuleNotFoundError:
        return SimpleNamespace(backend=name, threads=0)
    return Decode.model_validate({"backend": name})


def looks(backend: Any, units: Sequence[AccessUnit], kept: int) -> Callable[[int], Turn]:
    """Turns that look at unit after unit, and take the picture of one in ``kept`` (0: of none)."""

    def begun(number: int) -> Turn:
        decoder = backend.decoder()

        def turn(count: int) -> int:
            look = decoder.look(units[(number + count) % len(units)])
            if kept and count % kept == 0:
                look.picture()
            return 1

        return turn

    return begun


def _damage(whole: AccessUnit) -> Mapping[str, Any]:
    """What a forced GPU says to units that are not whole: each must be an error, and the next picture right."""
    broken = {f"cut {share:g}": whole.data[: int(share * len(whole.data))] for share in _CUTS}
    backend = opened("nvdec")
    try:
        decoder = backend.decoder()
        said = {name: _said(decoder, with_data(whole, data)) for name, data in broken.items()}
        said["noise"] = _said(decoder, with_data(whole, damaged(whole.data)))
        right = reference.same(reference.nv12(decoder.look(whole).picture()), whole)
    finally:
        backend.close()
    return {"said": said, "right_afterwards": right}


def _said(decoder: Any, unit: AccessUnit) -> str:
    try:
        decoder.look(unit)
    except MediaError as error:
        return error.reason
    return "passed"
