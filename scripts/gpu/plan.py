"""The steps of the check, in the order that matters should it be cut short, and the time each may take."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

#: All steps together (s): the whole command stays below nine minutes.
TOTAL_S = 530.0
#: What a step that has run out of time gets to say so, before its process is ended (s).
GRACE_S = 4.0


@dataclass(frozen=True, slots=True)
class Step:
    """One step: a module of this folder with ``run(check)``. ``limit_s``: the most it may take (s)."""

    name: str
    title: str
    limit_s: float

    @property
    def module(self) -> str:
        return f"gpu.step_{self.name}"


#: ``environment`` decides whether there is anything to check, ``streams`` makes what the others decode: both
#: always run.
STEPS = (
    Step("environment", "driver, GPU, packages, the probe's verdict", 40),
    Step("streams", "encode the keyframes that the steps decode", 35),
    Step("caps", "what the GPU says it decodes; times of import, context, decoder", 15),
    Step("modes", "which pictures come out at which call, by latency mode", 15),
    Step("exactness", "the same bits as libavcodec, and the traps", 45),
    Step("interop", "pictures on the GPU to CuPy and torch; is copying on the stream safe", 20),
    Step("throughput", "keyframes a second over sessions, sizes and modes", 135),
    Step("measuring", "decode and measure on the GPU", 40),
    Step("worker", "the whole way through harvester's worker, and PyAV's way", 60),
    Step("soak", "memory over half a minute, and how a process without a GPU ends", 50),
    Step("mixes", "HEVC, and sizes that change", 38),
    Step("jpeg", "JPEG on the GPU and on the CPU", 30),
)
ALWAYS = ("environment", "streams")


def chosen(names: Sequence[str]) -> tuple[Step, ...]:
    """The steps of those names and the two that always run, in order. Raises ValueError for an unknown name."""
    known = {step.name for step in STEPS}
    if unknown := sorted(set(names) - known):
        raise ValueError(f"no such steps: {', '.join(unknown)}; there are {', '.join(s.name for s in STEPS)}")
    return tuple(step for step in STEPS if step.name in ALWAYS or step.name in names)


class Budget:
    """Time that all steps share; a step gets no more than its own limit, nor than what is left. A total above
    :data:`TOTAL_S` stretches the limits alike, for a slow machine."""

    def __init__(self, total_s: float = TOTAL_S) -> None:
        self._end = time.monotonic() + total_s
        self._stretch = max(1.0, total_s / TOTAL_S)

    def left_s(self) -> float:
        """Never negative."""
        return max(0.0, self._end - time.monotonic())

    def allowance_s(self, step: Step) -> float:
        """What ``step`` may take if it begins now; 0 = there is no time for it."""
        left = self.left_s() - GRACE_S
        return min(step.limit_s * self._stretch, left) if left > GRACE_S else 0.0
