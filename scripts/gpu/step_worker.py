"""The whole way as a run goes it: access units to a worker process, measurements back, pictures of kept ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gpu import processes, reference
from gpu.cells import Cells
from gpu.check import Check
from gpu.rates import Turn
from gpu.step_mixes import mixed
from gpu.streams import MAIN_KB, damaged, with_data
from harvester.model import AccessUnit, Codec

BACKENDS = ("nvdec", "nvdec-av", "cpu")
#: One look in so many gives its picture, as a kept one does.
_KEPT = 10
#: Shares of a cut access unit that are fed.
_CUTS = (0.3, 0.6, 0.9, 0.99)


def run(check: Check) -> None:
    seconds = 0.3 if check.quick else 4.0
    streams = {"1080p": check.streams.sized[Codec.H264, 1080, MAIN_KB], "mix": mixed(check)}
    cells = Cells(check)
    check.part("damage", lambda: _damage(check.streams.exact["720p"]), needs_s=3)
    for name, units in streams.items():
        for backend in BACKENDS:
            for kept in (0, _KEPT) if backend == "nvdec" and name == "1080p" else (0,):
                _measured(cells, name, units, backend, kept, seconds)


def _damage(whole: AccessUnit) -> Mapping[str, Any]:
    """What a forced GPU says to units that are not whole: each must be an error, and the next picture right."""
    from harvester.errors import MediaError

    opened: dict[str, Any] = {}
    _opened("nvdec", opened)
    decoder = opened["backend"].decoder()
    said = {}
    broken = {f"cut {share:g}": whole.data[: int(share * len(whole.data))] for share in _CUTS}
    try:
        for name, data in {**broken, "noise": damaged(whole.data)}.items():
            try:
                decoder.look(with_data(whole, data))
                said[name] = "passed"
            except MediaError as error:
                said[name] = error.reason
        right = reference.same(reference.nv12(decoder.look(whole).picture()), whole)
    finally:
        opened["backend"].close()
    return {"said": said, "right_afterwards": right}


def _measured(
    cells: Cells, stream: str, units: Sequence[AccessUnit], backend: str, kept: int, seconds: float
) -> None:
    opened: dict[str, Any] = {}
    facts = {"backend": backend, "stream": stream, "kept_one_in": kept}
    if cells.check.part("open", lambda: _opened(backend, opened), needs_s=2, **facts) is None:
        return
    try:
        cells.cell(
            "looks",
            lambda: _looks(opened["backend"], units, kept),
            opened["backend"].threads,
            seconds,
            cpu_s=processes.processor_s,
            **facts,
        )
    finally:
        cells.check.part("close", lambda: {"closed": opened["backend"].close() is None}, needs_s=0, **facts)


def _opened(backend: str, into: dict[str, Any]) -> dict[str, Any]:
    from harvester.config import Decode
    from harvester.decode import open_backend

    into["backend"] = opened = open_backend(Decode(backend=backend))  # type: ignore[arg-type]
    return {"choice": str(opened.choice), "threads": opened.threads}


def _looks(backend: Any, units: Sequence[AccessUnit], kept: int) -> Callable[[int], Turn]:
    def opened(number: int) -> Turn:
        decoder = backend.decoder()

        def turn(count: int) -> int:
            look = decoder.look(units[(number + count) % len(units)])
            if kept and count % kept == 0:
                look.picture()
            return 1

        return turn

    return opened
