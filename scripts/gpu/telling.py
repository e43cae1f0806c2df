"""The records as a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from gpu.book import Record, found
from gpu.goals import Goal, goals
from gpu.plan import Step

#: Keys that every record has, or that a table has no room for.
_SILENT = frozenset(("step", "what", "took_s", "fake", "sha256", "sha256_libavcodec", "watched_by"))
#: Longest value shown (characters).
_WIDE = 70


def table(records: Sequence[Record], steps: Sequence[Step]) -> str:
    """Everything that was found, step by step, and the goals at the end."""
    lines = [line for step in steps for line in _of_step(step, records)]
    return "\n".join([*lines, *_of_goals(list(goals(records)), records)])


def _of_step(step: Step, records: Sequence[Record]) -> Iterator[str]:
    yield f"{step.name}: {step.title}"
    own = [record for record in records if record["step"] == step.name]
    lacking = Counter((record["what"], record["lacks"]) for record in own if "lacks" in record)
    grid = found(own, "throughput", "cell")
    for record in own:
        if "lacks" not in record and record not in grid:
            yield f"  {_line(record)}"
    yield from _grid(grid)
    for (what, package), count in lacking.items():
        yield f"  {what}: {count} left out, {package} is not installed"
    if not own:
        yield "  nothing"


def _line(record: Record) -> str:
    facts = ", ".join(f"{key} {_short(value)}" for key, value in record.items() if key not in _SILENT)
    return f"{record['what']}: {facts}"


def _short(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "NO", None: "-"}[value]
    return f"{value:g}" if isinstance(value, float) else " ".join(str(value).split())[:_WIDE]


def _grid(cells: Sequence[Record]) -> Iterator[str]:
    """Frames a second of the bare decoder: a line a kind, a column a number of sessions."""
    if not cells:
        return
    columns = sorted({cell["sessions"] for cell in cells})
    kinds = {_kind(cell): None for cell in cells}
    yield f"  {'frames/s by sessions':34}" + "".join(f"{count:>8}" for count in columns)
    for kind in kinds:
        fps = {cell["sessions"]: f"{cell['fps']:.0f}" for cell in cells if _kind(cell) == kind}
        yield f"  {kind:34}" + "".join(f"{fps.get(count, ''):>8}" for count in columns)


def _kind(cell: Record) -> str:
    memory = "device" if cell["device"] else "host"
    return f"{cell['lines']}p {cell['size_kb']} kB, {cell['latency']}, {memory}"


def _of_goals(judged: Sequence[Goal], records: Sequence[Record]) -> Iterator[str]:
    yield "goals"
    if any(record.get("fake") for record in records):
        yield "  none: a stand-in for PyNvVideoCodec was imported; these are no results of hardware"
    for goal in judged:
        value = "not measured" if goal.value is None else f"{goal.value:.3g}"
        sign = ">=" if goal.at_least else "<="
        limit = f", goal {sign} {goal.limit:g}" if goal.limit is not None else ""
        verdict = {True: ": met", False: ": NOT MET", None: ""}[goal.met]
        yield f"  {goal.name}: {value}{limit}{verdict}"
