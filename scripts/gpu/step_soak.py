"""Does memory stay flat over half a minute; and how does a process end whose driver shows it no GPU?"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any

from gpu import arms, driver, processes
from gpu.cells import best_sessions
from gpu.check import Check
from gpu.rates import Turn, measure, slope
from gpu.step_mixes import mixed
from gpu.step_worker import KEPT, looks, opened

_SOAK_S = 30.0
#: Left out of the slopes (s): pools fill, caches warm.
_SETTLING_S = 6.0

#: Opens a decoder where there is no GPU: the package is said to end the process, past every ``finally``.
_NO_GPU = """
import PyNvVideoCodec as nv
try:
    nv.CreateDecoder(gpuid=0)
except BaseException as error:
    print("raised", type(error).__name__)
    raise SystemExit(50)
finally:
    print("finally ran", flush=True)
"""


def run(check: Check) -> None:
    check.part("no gpu", _no_gpu)
    seconds = 0.6 if check.quick else _SOAK_S
    for way in ("worker", "session device", "session host"):
        work = partial(_soak, check, way, seconds)
        if check.part("soak", work, way=way, needs_s=seconds + 2):
            break


def _no_gpu() -> Mapping[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", _NO_GPU],
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    return {"exit_code": done.returncode, "finally_ran": "finally ran" in done.stdout, "said": done.stdout[:300]}


def _soak(check: Check, way: str, seconds: float) -> Mapping[str, Any]:
    """Pictures of three sizes in turn, as a run has them decoded; without a worker, by sessions."""
    memory = _Memory()
    settling = 0.2 if check.quick else _SETTLING_S
    with ExitStack() as stack:
        turns, threads = _turns(check, way, stack)
        with memory:
            rate = measure(turns, threads, seconds, warm_up_s=0.2, cpu_s=processes.processor_s)
    return {**rate.facts(), "seconds": round(rate.seconds, 1), **memory.facts(settling)}


def _turns(check: Check, way: str, stack: ExitStack) -> tuple[Callable[[int], Turn], int]:
    """What each thread does, and how many threads."""
    units = mixed(check)
    if way == "worker":
        backend = opened("nvdec")
        stack.callback(backend.close)
        return looks(backend, units, KEPT), backend.threads
    if way == "session device":
        arms.bench()  # no CuPy: it is told once, not by every thread
    return arms.session(units, device_memory=way == "session device"), best_sessions(check)


class _Memory:
    """Watches this process's memory and the GPU's, twice a second."""

    def __init__(self) -> None:
        self._cuda = driver.open_cuda()
        self._host: list[tuple[float, float]] = []
        self._gpu: list[tuple[float, float]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        begin = time.monotonic()
        while not self._stop.wait(0.05 if len(self._host) < 10 else 0.5):
            now = time.monotonic() - begin
            self._host.append((now, processes.resident_mb()))
            if self._cuda:
                free, total = self._cuda.memory()
                self._gpu.append((now, (total - free) / 1e6))

    def facts(self, settling_s: float) -> Mapping[str, Any]:
        """Growth (10^6 bytes a second) behind the settling, and the most that was held."""
        return {**_growth("rss", self._host, settling_s), **_growth("gpu", self._gpu, settling_s)}


def _growth(name: str, points: list[tuple[float, float]], settling_s: float) -> Mapping[str, float]:
    if not points:
        return {}
    settled = [point for point in points if point[0] >= settling_s]
    return {
        f"{name}_mb_per_s": round(slope(settled), 4),
        f"{name}_mb": round(max(value for _, value in points), 1),
    }
