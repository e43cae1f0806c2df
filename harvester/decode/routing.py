"""Where each picture is decoded: on one of the GPUs, or on the CPU for a reason that is counted.

A GPU is never trusted with what it does not do (:meth:`harvester.decode.devices.GpuDevice.refusal`), and not for
ever with what it fails at: its worker is started once more, then the GPU is left alone for the rest of the run.
With ``[decode] backend = "nvdec"`` nothing goes to the CPU: a stream that no GPU takes fails, and a run without a
GPU ends.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, cast

from harvester.decode.backend import Backend, DecoderChoice, Fallbacks, cores
from harvester.decode.devices import GpuDevice, GpuVerdict
from harvester.decode.lanes import Worker, WorkerLost
from harvester.decode.looks import HeldLook, HostLook
from harvester.decode.nvdec import NAME, to_picture
from harvester.decode.wire import Failed
from harvester.errors import MachineError, MediaError
from harvester.model import AccessUnit, Codec, StreamInfo
from harvester.ports import Decoder, Look
from harvester.stats import StageTimes

if TYPE_CHECKING:
    from harvester import config

#: Pictures that a GPU decodes at the same time, for each of its engines. With low latency a session waits for its
#: picture, so one does not fill an engine; one H100 (7 engines) gained 9 % from 7 to 14 sessions and nothing
#: beyond (as others report; not measured here yet: scripts/gpu_check.py).
SESSIONS_PER_ENGINE = 2
#: Device errors in a row on pictures that the CPU then decodes, after which the worker is started anew. A broken
#: stream makes one or two.
DEVICE_ERRORS = 8
_SLUGS = {"corrupt": "decode-error", "refused": "unsupported", "device": "device-error"}
#: How often the worker of a GPU is started again in a run.
RESTARTS = 1


class GpuGone(Exception):
    """The GPU is not used any more in this run."""


class Gpu:
    """One GPU and its worker, which is started when it is first needed. Thread-safe."""

    def __init__(
        self,
        device: GpuDevice,
        lanes: int,
        held_bytes: int,
        fallbacks: Fallbacks,
        hurried: Callable[[], bool] = lambda: False,
    ) -> None:
        self.device = device
        self._hurried = hurried
        self._lanes = lanes
        self._held_bytes = held_bytes
        self._fallbacks = fallbacks
        self._lock = threading.Lock()
        self._worker: Worker | None = None
        self._losses = 0
        self._errors_in_a_row = 0
        self._closed = False

    @property
    def gone(self) -> bool:
        """Whether it is not used any more."""
        return self._closed or self._losses > RESTARTS

    def worker(self) -> Worker:
        """Its worker; blocks while that starts. Raises GpuGone."""
        with self._lock:
            while self._worker is None:
                if self.gone:
                    raise GpuGone
                try:
                    self._worker = Worker(self.device.selector, self._lanes, self._held_bytes, self._hurried)
                except WorkerLost as lost:
                    self._note(f"its worker does not start ({lost})")
                else:
                    if self._worker.note:
                        self._fallbacks.tell(f"{self}: {self._worker.note}")
            return self._worker

    def succeeded(self) -> None:
        """It gave a picture."""
        self._errors_in_a_row = 0

    def failed(self, worker: Worker, why: str) -> None:
        """Package or driver raised on a picture that is sound, as far as anybody knows."""
        with self._lock:
            self._errors_in_a_row += worker is self._worker
            if self._errors_in_a_row >= DEVICE_ERRORS:
                self._end(f"{DEVICE_ERRORS} device errors in a row ({why})")

    def lost(self, worker: Worker, why: str) -> None:
        """``worker`` does not answer any more. Told by each thread that waited for it; the first counts."""
        with self._lock:
            if worker is self._worker:
                if not why:  # it ends by itself: a moment, and it can be told how
                    worker.wait()
                self._end(f"its worker was lost ({why or worker.how_it_ended()})")

    def close(self) -> None:
        """End the worker for good."""
        with self._lock:
            self._closed = True
            if self._worker is not None:
                self._worker.end()
                self._worker = None

    def _end(self, why: str) -> None:
        if self._worker is not None:
            self._worker.end()
            self._worker = None
        self._errors_in_a_row = 0
        self._note(why)

    def _note(self, why: str) -> None:
        self._losses += 1
        then = "it is not used any more in this run" if self.gone else "it is started once more"
        self._fallbacks.tell(f"{self}: {why}; {then}")

    def __str__(self) -> str:
        return f"GPU {self.device.selector} ({self.device.name})"


class Gpus:
    """The GPUs of a run, in turns."""

    def __init__(self, gpus: tuple[Gpu, ...]) -> None:
        self._gpus = gpus
        self._turns = count()

    def choose(self, stream: StreamInfo) -> tuple[Gpu | None, str]:
        """A GPU for such a picture; or None and why not, as a slug: of ``GpuDevice.refusal``, or gpu-lost."""
        present = [gpu for gpu in self._gpus if not gpu.gone]
        refusals = [gpu.device.refusal(stream) for gpu in present]
        taking = [gpu for gpu, refusal in zip(present, refusals, strict=True) if not refusal]
        if taking:
            return taking[next(self._turns) % len(taking)], ""
        return None, refusals[0] if refusals else "gpu-lost"

    def close(self) -> None:
        """End all workers."""
        for gpu in self._gpus:
            gpu.close()


class GpuDecoder:
    """One thread's way to the GPUs. Implements :class:`harvester.ports.Decoder`.

    ``cpu``: decodes what no GPU does; None = nothing does. ``again``: :meth:`look_at_once` of the thread that
    calls it, for a picture that is lost before it was asked for.
    """

    name = NAME

    def __init__(
        self,
        gpus: Gpus,
        cpu: Decoder | None,
        fallbacks: Fallbacks,
        times: StageTimes,
        again: Callable[[AccessUnit], Look],
    ) -> None:
        self._gpus = gpus
        self._cpu = cpu
        self._fallbacks = fallbacks
        self._times = times
        self._again = again

    def look(self, unit: AccessUnit) -> Look:
        """As the port says. ``decode`` counts the time of the whole way, measuring included."""
        return self._routed(unit, self._look)

    def look_at_once(self, unit: AccessUnit) -> Look:
        """A look whose picture is here already; raises what :meth:`look` raises."""
        return self._routed(unit, self._look_at_once)

    def close(self) -> None:
        """Release what the CPU decodes with; the GPUs are the backend's."""
        if self._cpu is not None:
            self._cpu.close()

    def _routed(self, unit: AccessUnit, look: Callable[[Worker, AccessUnit], Look | Failed]) -> Look:
        while True:
            gpu, refusal = self._gpus.choose(unit.stream)
            if gpu is None:
                return self._refused(unit, refusal)
            try:
                worker = gpu.worker()
            except GpuGone:
                continue
            try:
                with self._times.timed("decode"):
                    answer = look(worker, unit)
            except WorkerLost as lost:
                gpu.lost(worker, str(lost))
                if self._cpu is not None:
                    return self._on_the_cpu(self._cpu, unit, "worker-lost")
                continue
            if isinstance(answer, Failed):
                return self._failed(gpu, worker, unit, answer)
            gpu.succeeded()
            return answer

    def _look(self, worker: Worker, unit: AccessUnit) -> Look | Failed:
        answer = worker.look(unit)
        return answer if isinstance(answer, Failed) else HeldLook(answer, unit, worker, self._again)

    def _look_at_once(self, worker: Worker, unit: AccessUnit) -> Look | Failed:
        answer = worker.look_at_once(unit)
        if isinstance(answer, Failed):
            return answer
        measurement, nv12 = answer
        return HostLook(measurement, NAME, to_picture(nv12, unit.stream))

    def _failed(self, gpu: Gpu, worker: Worker, unit: AccessUnit, failed: Failed) -> Look:
        """A picture that the GPU did not give: the CPU says whose fault it was."""
        if self._cpu is not None:
            look = self._on_the_cpu(self._cpu, unit, _SLUGS[failed.kind])
            if failed.kind == "device":
                gpu.failed(worker, failed.why)
            return look
        if failed.kind == "device":
            gpu.failed(worker, failed.why)
            raise MediaError(f"nvdec: {failed.why}", reason="corrupt", retryable=True)
        raise MediaError(
            f"nvdec: {failed.why}", reason="corrupt" if failed.kind == "corrupt" else "unsupported-codec"
        )

    def _refused(self, unit: AccessUnit, slug: str) -> Look:
        if self._cpu is not None:
            return self._on_the_cpu(self._cpu, unit, slug)
        if slug == "gpu-lost":
            last = self._fallbacks.events[-1:] or ("they are closed",)
            raise MachineError(f"no GPU is left to decode on: {last[0]}", reason=slug)
        raise MediaError(f"nvdec: this GPU does not decode such a picture ({slug})", reason="unsupported-codec")

    def _on_the_cpu(self, cpu: Decoder, unit: AccessUnit, slug: str) -> Look:
        look = cpu.look(unit)
        self._fallbacks.count(slug)
        return look


def gpu_backend(
    settings: config.Decode,
    times: StageTimes | None,
    verdict: GpuVerdict,
    held_bytes: int,
    hurried: Callable[[], bool] = lambda: False,
) -> Backend:
    """Decoding on the GPUs of ``verdict``; with the CPU beside them unless they are forced."""
    from harvester.decode import cpu

    fallbacks, times = Fallbacks(), times or StageTimes()
    gpus = Gpus(tuple(Gpu(device, _lanes(device), held_bytes, fallbacks, hurried) for device in verdict.devices))
    forced = settings.backend == NAME

    def make() -> GpuDecoder:
        own = None if forced else cpu.CpuDecoder(times)
        return GpuDecoder(gpus, own, fallbacks, times, again)

    def again(unit: AccessUnit) -> Look:
        return cast("GpuDecoder", backend.decoder()).look_at_once(unit)

    codecs = _codecs(verdict) if forced else _codecs(verdict) | cpu.supported()
    # JPEGs are encoded in the same threads, and what no GPU takes is decoded there: no core may idle
    threads = settings.threads or max(sum(map(_lanes, verdict.devices)), cores())
    backend = Backend(
        gpu_choice(settings, verdict), codecs, threads, make, fallbacks=fallbacks, release=gpus.close
    )
    return backend


def gpu_choice(settings: config.Decode, verdict: GpuVerdict) -> DecoderChoice:
    """The GPUs, and why."""
    engine = "; ".join(f"{device.name}, {_counted(device.engines, 'engine')}" for device in verdict.devices)
    count_ = len(verdict.devices)
    why = (
        "forced by [decode] backend" if settings.backend == NAME else f"{_counted(count_, 'GPU')} proved to decode"
    )
    return DecoderChoice(NAME, engine, why)


def _lanes(device: GpuDevice) -> int:
    return max(1, SESSIONS_PER_ENGINE * device.engines)


def _codecs(verdict: GpuVerdict) -> frozenset[Codec]:
    return frozenset(caps.codec for device in verdict.devices for caps in device.caps if caps.supported)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
