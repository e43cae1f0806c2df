"""The process that uses one GPU: access units in, measurements out, pictures only when they are asked for.

NVIDIA's package ends its process when a driver call fails. Here that is this one, started by
:mod:`harvester.decode.lanes` with one GPU to see; a run outlives it. One thread for each lane, with decoders of
its own: the package lets go of Python's lock while it decodes.

Life: it ends at once when its control socket is closed, which a parent's death does as well, however it comes.
It has a session of its own, so that a Ctrl-C meant for the run does not end it in the middle of a picture.

Memory: pictures are held up to ``held_bytes``, which the run sets from its window; a picture beyond is measured,
not held, and decoded again should it be kept. They lie in device memory, and are measured there, where CuPy is
installed and proves to work (:func:`refusal`); else in the worker's. All lanes together have at most
:data:`harvester.decode.lanes.DECODERS` decoders, each the memory of the largest access unit it met.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from multiprocessing.connection import Connection
from typing import Any

from numpy.typing import NDArray

from harvester.decode import cuda, driver, keyframe, nvdec
from harvester.decode.printed import Printed
from harvester.decode.wire import Answer, Decode, Failed, Give, Given, Hello, Measured, Question
from harvester.errors import MediaError
from harvester.model import AccessUnit, Measurement
from harvester.text import printable
from harvester.vision.measure import measure, pack


class HostBench:
    """Pictures come to host memory and are measured there: needs nothing but the package."""

    def __init__(self, decoders: int) -> None:
        self._session = nvdec.Session(decoders=decoders)

    def look(self, unit: AccessUnit) -> tuple[Any, Measurement]:
        """The picture, as it is held (``nbytes``), and its measurement. Raises what decoding raises."""
        nv12 = self._session.decode(unit)
        return nv12, measure(nvdec.luma(nv12, unit.stream))

    def to_host(self, held: Any) -> NDArray[Any]:
        """A held picture's NV12 lines."""
        lines: NDArray[Any] = held
        return lines


class GpuBench:
    """Pictures stay on the GPU and are measured there; only those that are asked for come to host memory."""

    def __init__(self, decoders: int) -> None:
        self._device = cuda.DeviceBench()
        self._errors = cuda.device_errors()
        self._session = nvdec.Session(device=self._device, decoders=decoders)

    def look(self, unit: AccessUnit) -> tuple[Any, Measurement]:
        """As of :class:`HostBench`."""
        try:
            frame = self._session.decode(unit)
            return frame, self._device.measure([frame], unit.stream)[0]
        except self._errors as error:
            raise nvdec.DeviceError(printable(f"{type(error).__name__}: {error}")) from None

    def to_host(self, held: Any) -> NDArray[Any]:
        """As of :class:`HostBench`."""
        return self._device.to_host(held)


def refusal() -> str:
    """Why pictures are not measured on this GPU, one line; "" if a known keyframe passes through it rightly."""
    why = cuda.refusal()
    if why:
        return why
    unit = keyframe.access_unit()
    try:
        bench = GpuBench(decoders=1)
        held, measurement = bench.look(unit)
        picture = nvdec.to_picture(bench.to_host(held), unit.stream)
    except (MediaError, nvdec.Refused, nvdec.DeviceError) as error:
        return f"a keyframe does not decode into device memory: {error}"
    right = keyframe.digest(picture) == keyframe.DIGEST and pack(measurement) == pack(measure(picture))
    return "" if right else "a known keyframe comes out of device memory with other bits than it must"


class Held:
    """Pictures that are waited for, by handle, up to ``limit`` bytes. Thread-safe."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._numbers = count()
        self._pictures: dict[int, Any] = {}
        self.nbytes = 0

    def keep(self, picture: Any) -> int | None:
        """Hold a picture; None if it would be too much."""
        with self._lock:
            if self.nbytes + picture.nbytes > self._limit:
                return None
            handle = next(self._numbers)
            self._pictures[handle] = picture
            self.nbytes += picture.nbytes
            return handle

    def get(self, handle: int) -> Any:
        with self._lock:
            return self._pictures[handle]

    def let_go(self, handles: Iterable[int]) -> None:
        """Forget pictures; a handle that is not held is no error."""
        with self._lock:
            for handle in handles:
                if (picture := self._pictures.pop(handle, None)) is not None:
                    self.nbytes -= picture.nbytes


class Gate:
    """Lets many pass at a time, or one alone."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._closed = False

    @contextmanager
    def beside(self) -> Iterator[None]:
        """Together with others."""
        with self._changed:
            self._changed.wait_for(lambda: not self._closed)
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """When all others have left; those who come wait outside."""
        with self._changed:
            self._changed.wait_for(lambda: not self._closed)
            self._closed = True
            self._changed.wait_for(lambda: not self._inside)
        try:
            yield
        finally:
            with self._changed:
                self._closed = False
                self._changed.notify_all()


@dataclass(frozen=True, slots=True)
class Shared:
    """What all lanes share."""

    held: Held
    printed: Printed
    gate: Gate = field(default_factory=Gate)


class Lane:
    """One of the parent's lanes: answers its questions one after the other until it is closed."""

    def __init__(self, connection: Connection, memory: int, bench: HostBench | GpuBench, shared: Shared) -> None:
        self._connection = connection
        self._memory = memory
        self._bench = bench
        self._shared = shared

    def serve(self) -> None:
        """Until the parent closes the lane."""
        while True:
            try:
                question: Question = self._connection.recv()
            except (EOFError, OSError):
                return
            self._shared.held.let_go(question.released)
            self._connection.send(self._answer(question))

    def _answer(self, question: Question) -> Answer:
        if isinstance(question, Give):
            return self._give(self._shared.held.get(question.handle))
        try:
            picture, measurement = self._look(AccessUnit(question.stream, self._read(question), 0.0))
            if question.at_once:
                return Measured(None, measurement, self._give(picture))
            return Measured(self._shared.held.keep(picture), measurement)
        except MediaError as error:
            return Failed("corrupt", str(error))
        except nvdec.Refused as error:
            return Failed("refused", str(error))
        except nvdec.DeviceError as error:
            return Failed("device", str(error))

    def _look(self, unit: AccessUnit) -> tuple[Any, Measurement]:
        """A picture during which an error was printed, by whichever lane, is decoded again alone."""
        printed = self._shared.printed
        with self._shared.gate.beside():
            before = printed.errors()
            picture, measurement = self._bench.look(unit)
        if printed.errors() != before:
            with self._shared.gate.alone():
                before = printed.errors()
                picture, measurement = self._bench.look(unit)
                if printed.errors() != before:
                    raise MediaError("the decoder told of an error in the picture", reason="corrupt")
        return picture, measurement

    def _give(self, picture: Any) -> Given:
        lines = self._bench.to_host(picture)
        os.pwrite(self._memory, lines.data, 0)
        return Given((lines.shape[0], lines.shape[1]), lines.itemsize)

    def _read(self, question: Decode) -> bytes:
        return os.pread(self._memory, question.n_bytes, 0)


def main() -> None:
    """``python -m harvester.decode.worker JSON``, with descriptors as :mod:`harvester.decode.lanes` says."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.alarm(driver.LIFE_S)  # until it listens, should the driver hang and nobody be left to end it
    told = json.loads(sys.argv[1])
    control = Connection(told["control"])
    shared = Shared(Held(told["held_bytes"]), Printed())
    try:
        why_not = refusal()
        bench = HostBench if why_not else GpuBench
        lanes = [
            Lane(Connection(socket), memory, bench(told["decoders"]), shared) for socket, memory in told["lanes"]
        ]
    except (ImportError, RuntimeError, OSError) as error:
        control.send(Hello(str(error).strip().partition("\n")[0] or type(error).__name__))
        os._exit(1)
    threading.excepthook = _break
    for lane in lanes:
        threading.Thread(target=lane.serve, daemon=True).start()
    note = f"pictures are measured on the host: {why_not}" if why_not and cuda.installed() else ""
    signal.alarm(0)
    try:
        control.send(Hello(note=note))
        control.recv()
    except (EOFError, OSError):
        os._exit(0)  # without the library's own end: it may be in the middle of a picture


def _break(caught: threading.ExceptHookArgs) -> None:
    """A lane that breaks takes the process with it: the parent must know, and why."""
    sys.__excepthook__(caught.exc_type, caught.exc_value or caught.exc_type(), caught.exc_traceback)
    sys.stderr.flush()
    os._exit(1)


if __name__ == "__main__":
    main()
