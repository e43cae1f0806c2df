"""Throws seeded inputs at the targets and watches what escapes: other errors, hangs, memory.

Input number ``n`` of a target depends on (kind, seed, n) alone, so any finding can be made again by itself.
"""

from __future__ import annotations

import logging
import random
import resource
import signal
import tracemalloc
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.fuzz.target import Reader, Target

#: Longest time for one input (seconds): a watchdog only. The slowest take some 0.2 s on an idle core.
WATCHDOG_S = 60
#: Memory one input may take at its peak: a fixed part (bounded tables, sockets, caches), and so many times its size.
MEMORY_FLOOR_BYTES = 8 << 20
MEMORY_FACTOR = 64
#: One input in so many is measured: tracemalloc makes everything slow.
MEASURED = 50
#: What the whole process may grow by in a storm (KiB): also what C libraries take, which tracemalloc does not see.
MAX_GROWTH_KIB = 400_000


class Hang(BaseException):
    """The watchdog barked."""


class Finding(AssertionError):
    """An input that is not answered as it must be; says how to make it again."""


@dataclass
class Report:
    """How inputs ended: ``answers``, and errors by their kind. ``peak_share``: largest share of allowed memory."""

    answers: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    peak_share: float = 0.0

    @property
    def inputs(self) -> int:
        return self.answers + self.errors.total()


def input_of(target: Target, seed: int, number: int) -> bytes:
    """Input ``number`` of a target."""
    rng = random.Random(f"{target.kind} {seed} {number}")
    corpus = target.corpus()
    return target.mutation(rng, rng.choice(corpus), rng.choice(corpus))


def storm(targets: Sequence[Target], seed: int, total: int) -> dict[str, Report]:
    """About ``total`` inputs over all ``targets`` by their shares, at least one each.

    Raises :class:`Finding` at the first that is answered wrongly.
    """
    shares = sum(target.share for target in targets)
    reports, before = {}, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for target in targets:
        reports[target.kind] = assault(target, seed, range(max(1, -(-total * target.share // shares))))
    growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    if growth > MAX_GROWTH_KIB:
        raise Finding(f"seed {seed}: the process grew by {growth} KiB")
    return reports


def assault(target: Target, seed: int, numbers: Sequence[int]) -> Report:
    """Those inputs of one target."""
    report = Report()
    with _quiet(), target.opened() as read:
        for number in numbers:
            try:
                throw(target, read, input_of(target, seed, number), report, sampled=number % MEASURED == 0)
            except (Exception, Hang) as error:
                again = f"python -m tests.fuzz --kind '{target.kind}' --seed {seed} --number {number}"
                raise Finding(f"{type(error).__name__}: {str(error)[:300]}\nonce more: {again}") from error
    return report


def throw(target: Target, read: Reader, data: bytes, report: Report, *, sampled: bool) -> None:
    """One input; counts how it ended in ``report``."""
    try:
        with watchdog():
            if sampled:
                report.peak_share = max(report.peak_share, measured(read, data))
            else:
                read(data)
    except target.checked as error:
        report.errors[str(getattr(error, "reason", type(error).__name__))] += 1
        assert str(error).isprintable(), "an error whose message is not printable"
    else:
        report.answers += 1


def measured(read: Reader, data: bytes) -> float:
    """Peak of memory as a share of what ``data`` may take; AssertionError above 1."""
    tracemalloc.start()
    try:
        read(data)
    finally:
        share = tracemalloc.get_traced_memory()[1] / (MEMORY_FLOOR_BYTES + MEMORY_FACTOR * len(data))
        tracemalloc.stop()
        assert share <= 1, f"{share:.1f} times the memory that {len(data)} bytes may take"
    return share


@contextmanager
def _quiet() -> Iterator[None]:
    """Thousands of bad inputs make thousands of warnings."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


@contextmanager
def watchdog() -> Iterator[None]:
    """Raises :class:`Hang` in a block that never ends."""
    signal.signal(signal.SIGALRM, _bark)
    signal.alarm(WATCHDOG_S)
    try:
        yield
    finally:
        signal.alarm(0)


def _bark(*_: object) -> None:
    raise Hang(f"no answer in {WATCHDOG_S} s")
