"""Short processes that are asked one thing each, side by side, and may die or hang over it.

Each writes its answer (:mod:`harvester.decode.driver`, JSON) into a file of its own, whose descriptor is the last
of its arguments; what it and the libraries in it print goes into another one, and is only looked at if no answer
came. Both files are memory, so nothing is left behind and no process waits for a reader.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Any, Self

from harvester.decode.driver import problem
from harvester.errors import MachineError
from harvester.text import printable, redact

#: How often it is looked whether nobody waits for the answers any more (seconds).
LOOK_S = 0.5

#: Time for a killed process to end (seconds). One that is stuck in the kernel does not; it is left behind.
KILL_S = 2.0

#: How much is read of an answer, and of the end of what was printed (bytes).
_ANSWER_BYTES, _PRINTED_BYTES = 1 << 20, 1 << 12

#: Longest text shown of what was printed (characters).
_SHOWN_CHARS = 200


@dataclass(frozen=True, slots=True)
class Question:
    """A process to start: its command line, to which the descriptor for the answer is added, and environment."""

    command: Sequence[str]
    environment: Mapping[str, str]


def ask(
    questions: Sequence[Question], limit_s: float, hurried: Callable[[], bool] = lambda: False
) -> list[Mapping[str, Any]]:
    """The answers in the order of the questions, or in the place of one a problem: ``hang`` when it took more than
    ``limit_s`` seconds (for all of them together), ``died`` if its process ended without one or not with 0.

    Raises OSError when a process cannot be started, and MachineError once ``hurried`` says that nobody waits for
    the answers any more; the processes are ended then.
    """
    with ExitStack() as stack:
        asked = [stack.enter_context(_Asked(question)) for question in questions]
        until = time.monotonic() + limit_s
        return [one.answer(until, limit_s, hurried) for one in asked]


class _Asked:
    """A process that was started, and its two files."""

    def __init__(self, question: Question) -> None:
        with ExitStack() as stack:
            self._answer = stack.enter_context(_memory("answer"))
            self._printed = stack.enter_context(_memory("printed"))
            # a session of its own: a Ctrl-C that ends the run is none of its business
            self._process = subprocess.Popen(
                [*question.command, str(self._answer.fileno())],
                env=dict(question.environment),
                pass_fds=(self._answer.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=self._printed,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self._files = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()  # nothing, if it has ended
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(KILL_S)
        self._files.close()

    def answer(self, until: float, limit_s: float, hurried: Callable[[], bool]) -> Mapping[str, Any]:
        """What it answered once it has ended, at ``until`` (monotonic seconds) at the latest."""
        try:
            code = self._ended(until, hurried)
        except subprocess.TimeoutExpired:
            why = f"the GPU's driver or library is not done after {limit_s:g} s{self._last_words()}"
            return problem("hang", why, "make nvidia-smi answer first; dmesg has the driver's own words")
        answer = os.pread(self._answer.fileno(), _ANSWER_BYTES, 0)
        if code == 0 and answer:
            told: Mapping[str, Any] = json.loads(answer)
            return told
        why = f"the GPU's driver or library ended its process: {_ending(code)}{self._last_words()}"
        return problem("died", why, "make nvidia-smi answer first; install the NVIDIA driver again if it does")

    def _ended(self, until: float, hurried: Callable[[], bool]) -> int:
        """Its exit code. Raises TimeoutExpired, MachineError."""
        while True:
            try:
                return self._process.wait(max(0.0, min(LOOK_S, until - time.monotonic())))
            except subprocess.TimeoutExpired:
                if hurried():
                    raise MachineError("nobody waits for the GPU's driver any more", reason="no-gpu") from None
                if time.monotonic() >= until:
                    raise

    def _last_words(self) -> str:
        """The last line of what was printed, or nothing."""
        size = os.fstat(self._printed.fileno()).st_size
        tail = os.pread(self._printed.fileno(), _PRINTED_BYTES, max(0, size - _PRINTED_BYTES))
        lines = [line for line in tail.decode("utf-8", "replace").splitlines() if line.strip()]
        return f"; its last words: {printable(redact(lines[-1]), _SHOWN_CHARS)}" if lines else ""


def _memory(name: str) -> IO[bytes]:
    return os.fdopen(os.memfd_create(name), "w+b")


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:  # a real-time signal
        return f"signal {-code}"
