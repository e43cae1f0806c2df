"""How often a second several threads do something at once, and what it costs the host."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

#: Does one piece of work; its argument counts the pieces of this thread. Gives how many frames it made.
Turn = Callable[[int], int]

#: Longest wait for all threads to have opened what they work with (s).
_OPEN_S = 60.0
#: How much longer than asked for is waited for first frames (s).
_LATE_S = 20.0


@dataclass(frozen=True, slots=True)
class Rate:
    """What was done in ``seconds``. ``cpu_s``: processor time of all threads, in the package and in Python alike.
    Percentiles are of what began within these seconds too."""

    threads: int
    frames: int
    seconds: float
    cpu_s: float
    p50_ms: float | None
    p99_ms: float | None

    @property
    def per_s(self) -> float:
        return self.frames / self.seconds

    def facts(self) -> dict[str, Any]:
        """For a record. ``cores``: how many were busy; 1.0 whatever the threads means the interpreter's lock."""
        return {
            "frames": self.frames,
            "fps": round(self.per_s, 1),
            "cpu_ms_per_frame": round(1000 * self.cpu_s / self.frames, 3),
            "cores": round(self.cpu_s / self.seconds, 2),
            "p50_ms": self.p50_ms and round(self.p50_ms, 2),
            "p99_ms": self.p99_ms and round(self.p99_ms, 2),
        }


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that at least ``share`` of all are not above; None of none."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Of the straight line through (x, y) points by least squares; 0 of fewer than two."""
    count = len(points)
    mean_x = sum(x for x, _ in points) / max(count, 1)
    mean_y = sum(y for _, y in points) / max(count, 1)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


class _Crew:
    """Threads that begin together, warm up, are measured and stop."""

    def __init__(self, open_turn: Callable[[int], Turn], threads: int, first_turns: int) -> None:
        self._open_turn, self._first_turns = open_turn, first_turns
        self.measuring = self.stopped = False
        self.frames = [0] * threads
        self.took_ms: list[list[float]] = [[] for _ in range(threads)]
        self.errors: list[BaseException] = []
        self.ready = threading.Barrier(threads + 1)
        self.threads = [threading.Thread(target=self._work, args=(number,)) for number in range(threads)]

    def done(self, took_s: float, wanted_s: float) -> bool:
        """Whether to stop: after that time, but with a frame from each thread as far as that is to be had."""
        enough = sum(self.frames) >= len(self.threads) or took_s > wanted_s + _LATE_S
        return self.stopped or (took_s >= wanted_s and enough)

    def _work(self, number: int) -> None:
        try:
            turn = self._open_turn(number)
            for count in range(self._first_turns):
                turn(count)
            self.ready.wait(_OPEN_S)
            self._turns(turn, number)
        except threading.BrokenBarrierError:
            pass  # another thread has failed, and tells why
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that measures
            self.errors.append(error)
            self.ready.abort()
            self.stopped = True

    def _turns(self, turn: Turn, number: int) -> None:
        count = self._first_turns
        while not self.stopped:
            counted, begin = self.measuring, time.perf_counter()
            frames = turn(count)
            count += 1
            if self.measuring:
                self.frames[number] += frames
            if self.measuring and counted:
                self.took_ms[number].append(1000 * (time.perf_counter() - begin))


def measure(
    open_turn: Callable[[int], Turn],
    threads: int,
    seconds: float,
    *,
    warm_up_s: float = 0.3,
    first_turns: int = 1,
    cpu_s: Callable[[], float] = time.process_time,
) -> Rate:
    """Run ``threads`` turns over and over for ``seconds`` after a warm-up. Raises what a thread raised first.

    ``open_turn(number)`` runs in the thread that then uses what it gives. ``first_turns``: what each thread does
    before the warm-up begins; decoders are created at the first picture of a kind.
    """
    crew = _Crew(open_turn, threads, first_turns)
    for thread in crew.threads:
        thread.start()
    took = cpu = 0.0
    try:
        crew.ready.wait(_OPEN_S)
        time.sleep(warm_up_s)
        cpu, begin, crew.measuring = cpu_s(), time.perf_counter(), True
        while not crew.done(took := time.perf_counter() - begin, seconds):
            time.sleep(min(0.05, seconds))
        crew.measuring = False
        cpu = cpu_s() - cpu
    except threading.BrokenBarrierError:
        pass  # a thread has failed, or takes for ever to begin
    finally:
        crew.stopped = True
        for thread in crew.threads:
            thread.join()
    if crew.errors:
        raise crew.errors[0]
    if not sum(crew.frames):
        raise RuntimeError(f"no frame in {took:.1f} s")
    every = [value for values in crew.took_ms for value in values]
    return Rate(threads, sum(crew.frames), took, cpu, percentile(every, 0.5), percentile(every, 0.99))
