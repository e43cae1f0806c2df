"""A run's side of one worker process: it is started, asked on its lanes, and ended.

What the two share was made here before the start and is passed on as descriptors: a control socket whose closing
ends the worker, and for each lane a socket and unnamed memory (see :mod:`harvester.decode.wire`). Linux alone has
both; elsewhere the probe finds no usable GPU and nothing here is called.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing.connection import Connection
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from harvester.decode import children
from harvester.decode.nvdec import Kind, kind_of
from harvester.decode.wire import Answer, Decode, Failed, Give, Given, Hello, Measured, Question
from harvester.model import AccessUnit, Measurement
from harvester.text import printable, redact

#: Most decoders of a worker, over all its lanes: one H100 gave no 35th (fact of SPDL's documentation).
DECODERS = 32
#: Longest time from a worker's start to its first word (s): the probe has just decoded there, so what takes a
#: minute is stuck.
START_S = 60.0
#: Longest time for an answer (s). A picture takes milliseconds, a new decoder 0.1 s; what hangs takes for ever.
ANSWER_S = 30.0
#: How often who waits looks whether the run must end (s): time enough for an answer that comes at all.
LOOK_S = 1.0
#: Longest time for the rest of an answer whose first bytes are there (s): nothing is done in between.
REST_S = 5
#: Time for a killed process to end (s); one stuck in the kernel is left behind.
KILL_S = 2.0
#: Longest line kept of what a worker prints on stderr (characters).
LINE_CHARS = 200


class WorkerLost(Exception):
    """The worker has died, hangs, or was ended; why, in one line."""


class Lane:
    """One question at a time, by one thread at a time. ``kinds``: of its latest pictures, as many as its worker's
    session keeps decoders. ``hurried``: as of :class:`Worker`."""

    def __init__(self, connection: Connection, memory: int, decoders: int, hurried: Callable[[], bool]) -> None:
        self._connection = connection
        self._hurried = hurried
        self._memory = memory
        self.kinds: deque[Kind] = deque(maxlen=decoders)

    def ask(self, question: Question, data: bytes = b"") -> Answer:
        """The answer; ``data`` goes into the lane's memory first. Raises WorkerLost."""
        try:
            if data:
                os.pwrite(self._memory, data, 0)
            self._connection.send(question)
            waited_s = _silent_s(self._connection, ANSWER_S, self._hurried)
            if waited_s:
                raise WorkerLost(f"no answer for {waited_s:.3g} s")
            answer: Answer = self._connection.recv()
        except BlockingIOError:
            raise WorkerLost(f"no answer but its beginning, and nothing more for {REST_S} s") from None
        except (EOFError, OSError):
            raise WorkerLost("") from None
        return answer

    def lines(self, given: Given) -> NDArray[Any]:
        """The NV12 lines of the picture that was given."""
        dtype = np.dtype(np.uint8 if given.itemsize == 1 else np.uint16)
        data = os.pread(self._memory, given.shape[0] * given.shape[1] * given.itemsize, 0)
        return np.frombuffer(data, dtype).reshape(given.shape)

    def decoded(self, kind: Kind) -> None:
        """Its latest picture was of that kind."""
        if kind in self.kinds:
            self.kinds.remove(kind)
        self.kinds.append(kind)

    def close(self) -> None:
        """Let go of its descriptors."""
        self._connection.close()
        os.close(self._memory)


class Worker:
    """A worker process that is up. Thread-safe. Raises :class:`WorkerLost` if it does not get so far.

    ``hurried``: whether the run must end now (thread-safe): answers are then waited for a moment only.
    ``selector``: the GPU, as ``CUDA_VISIBLE_DEVICES`` names it. ``lanes``: pictures it decodes at the same time.
    ``held_bytes``: most memory of the pictures it holds. ``note``: what a user must know of it, or "".
    """

    def __init__(
        self, selector: str, lanes: int, held_bytes: int, hurried: Callable[[], bool] = lambda: False
    ) -> None:
        self._hurried = hurried
        self._changed = threading.Condition()
        self._idle: list[Lane] = []  # the one idle for longest first
        self._lanes = 0
        self._ended = False
        self._released: deque[int] = deque()  # by looks that were dropped, in any thread at any moment
        self._last_line = ""
        try:
            self._printed = os.fdopen(os.memfd_create("harvester-printed"), "rb")  # its standard output
            mine, control = socket.socketpair()
        except OSError as error:
            raise _not_started(error) from None
        self._control = Connection(mine.detach())
        with ExitStack() as undo:
            undo.callback(self._close)
            try:
                self._process = self._started(control, selector, lanes, held_bytes)
            except OSError as error:
                raise _not_started(error) from None
            self._reader = threading.Thread(target=self._read_on, args=(self._process.stderr,), daemon=True)
            self._reader.start()
            undo.pop_all()
        with ExitStack() as undo:
            undo.callback(self.end)
            self.note = self._greet()
            undo.pop_all()

    @property
    def pid(self) -> int:
        """Number of its process."""
        return self._process.pid

    def look(self, unit: AccessUnit) -> Measured | Failed:
        """Decode, measure and hold a picture. Raises WorkerLost."""
        with self._lane(kind_of(unit.stream)) as lane:
            question = Decode(unit.stream, len(unit.data), released=self._to_release())
            return cast("Measured | Failed", lane.ask(question, unit.data))

    def look_at_once(self, unit: AccessUnit) -> tuple[Measurement, NDArray[Any]] | Failed:
        """Decode and measure a picture, and give out its NV12 lines, read-only. Raises WorkerLost."""
        with self._lane(kind_of(unit.stream)) as lane:
            question = Decode(unit.stream, len(unit.data), at_once=True, released=self._to_release())
            answer = lane.ask(question, unit.data)
            if isinstance(answer, Failed):
                return answer
            measured = cast("Measured", answer)
            return measured.measurement, lane.lines(cast("Given", measured.given))

    def give(self, handle: int) -> NDArray[Any]:
        """The NV12 lines of a held picture, read-only. Raises WorkerLost."""
        with self._lane() as lane:
            return lane.lines(cast("Given", lane.ask(Give(handle, self._to_release()))))

    def let_go(self, handle: int) -> None:
        """The picture is not wanted any more; the worker hears of it with the next question."""
        self._released.append(handle)

    def how_it_ended(self) -> str:
        """The process's exit and last words, once it has ended."""
        code = self._process.returncode
        if code is None:
            return "it does not answer"
        exit_ = f"signal {-code}" if code < 0 else f"exit code {code}"
        words = "; ".join(filter(None, (self._last_printed(), self._last_line)))
        return f"{exit_}; its last words: {words}" if words else exit_

    def _last_printed(self) -> str:
        """The last line on its standard output, where the package says why it ends the process."""
        if self._printed.closed:
            return ""
        size = os.fstat(self._printed.fileno()).st_size
        tail = os.pread(self._printed.fileno(), 4 * LINE_CHARS, max(0, size - 4 * LINE_CHARS))
        return _line(tail.strip().rpartition(b"\n")[2])

    def wait(self) -> None:
        """Until a process that is ending has ended, or for a moment."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(KILL_S)
            self._reader.join(KILL_S)

    def end(self) -> None:
        """End the process, whatever it is doing; whoever waits for an answer gets WorkerLost."""
        self._process.kill()  # nothing, if it has ended
        self.wait()
        self._close()

    def _started(
        self, control: socket.socket, selector: str, lanes: int, held_bytes: int
    ) -> subprocess.Popen[bytes]:
        with ExitStack() as theirs:  # closed here once the worker has them
            theirs.callback(control.close)
            decoders = max(1, DECODERS // lanes)
            places = [self._new_lane(theirs, decoders) for _ in range(lanes)]
            told = {
                "control": control.fileno(),
                "lanes": places,
                "decoders": decoders,
                "held_bytes": held_bytes,
            }
            return subprocess.Popen(
                children.command("harvester.decode.worker", json.dumps(told)),
                env={**os.environ, "CUDA_VISIBLE_DEVICES": selector},
                pass_fds=(control.fileno(), *(number for place in places for number in place)),
                stdin=subprocess.DEVNULL,
                stdout=self._printed,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )

    def _new_lane(self, theirs: ExitStack, decoders: int) -> tuple[int, int]:
        """Descriptors of a new lane's other end: socket and memory."""
        near, far = socket.socketpair()
        near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", REST_S, 0))
        theirs.callback(far.close)
        memory = os.memfd_create("harvester-lane")
        self._idle.append(Lane(Connection(near.detach()), memory, decoders, self._hurried))
        self._lanes += 1
        return far.fileno(), memory

    def _greet(self) -> str:
        """Its note."""
        try:
            waited_s = _silent_s(self._control, START_S, self._hurried)
            if waited_s:
                raise WorkerLost(f"it has not started in {waited_s:.3g} s")
            hello: Hello = self._control.recv()
        except (EOFError, OSError):
            self.wait()
            raise WorkerLost(self.how_it_ended()) from None
        if hello.problem:
            raise WorkerLost(printable(redact(hello.problem), LINE_CHARS))
        return printable(redact(hello.note), LINE_CHARS)

    @contextmanager
    def _lane(self, kind: Kind | None = None) -> Iterator[Lane]:
        """A lane that is idle, with a decoder of that kind if there is one."""
        with self._changed:
            self._changed.wait_for(lambda: self._idle or self._ended)
            if self._ended:
                raise WorkerLost("it was ended")
            lane = next((lane for lane in self._idle if kind in lane.kinds), self._idle[0])
            self._idle.remove(lane)
        try:
            yield lane
        finally:
            with self._changed:
                if kind is not None:
                    lane.decoded(kind)
                self._idle.append(lane)
                self._changed.notify_all()

    def _to_release(self) -> tuple[int, ...]:
        handles = []
        with suppress(IndexError):
            while True:
                handles.append(self._released.popleft())
        return tuple(handles)

    def _read_on(self, printed: IO[bytes]) -> None:
        with printed:
            while line := printed.readline(4 * LINE_CHARS):
                if line.strip():
                    self._last_line = _line(line)

    def _close(self) -> None:
        """Close all descriptors. Lanes in use come back first: their sockets have no other end any more."""
        self._control.close()
        with self._changed:
            self._ended = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: len(self._idle) == self._lanes)
            while self._idle:
                self._idle.pop().close()
                self._lanes -= 1
        self._printed.close()


def _line(text: bytes) -> str:
    return printable(redact(text.decode("utf-8", "replace").strip()), LINE_CHARS)


def _silent_s(connection: Connection, limit_s: float, hurried: Callable[[], bool]) -> float:
    """How long it was waited in vain for something to come (s), ``limit_s`` at most; 0 once it is there."""
    begun = time.monotonic()
    while not connection.poll(min(LOOK_S, limit_s)):
        waited_s = time.monotonic() - begun
        if hurried() or waited_s >= limit_s:
            return waited_s
    return 0.0


def _not_started(error: OSError) -> WorkerLost:
    return WorkerLost(f"no process can be started: {error.strerror}")
