"""What the GPU's own counters say meanwhile: decoder utilisation, memory, clocks; ten times a second."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

_EVERY_S = 0.1
_SMI_FIELDS = "utilization.decoder,utilization.gpu,memory.used,clocks.video"


@dataclass(frozen=True, slots=True)
class Sample:
    """Shares in percent, memory in MiB, clock in MHz; None where it is not told."""

    decoder: float | None
    gpu: float | None
    memory_mib: float | None
    video_mhz: float | None


@dataclass(slots=True)
class Seen:
    """The samples of one stretch of time."""

    source: str
    samples: list[Sample] = field(default_factory=list)

    def facts(self) -> Mapping[str, Any]:
        """For a record; empty where nothing was told. The first third is left out of the means: the counters look
        back over up to a second."""
        if not self.samples:
            return {}
        late = self.samples[len(self.samples) // 3 :]
        return {
            "watched_by": self.source,
            "decoder_util": _mean([sample.decoder for sample in late]),
            "decoder_util_max": _most([sample.decoder for sample in self.samples]),
            "gpu_util": _mean([sample.gpu for sample in late]),
            "gpu_memory_mib": _most([sample.memory_mib for sample in self.samples]),
            "video_mhz": _mean([sample.video_mhz for sample in late]),
        }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(sum(known) / len(known), 1) if known else None


def _most(values: Sequence[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def parsed(line: str) -> Sample:
    """One line of ``nvidia-smi --format=csv,noheader,nounits`` with our fields."""
    values = [_number(word) for word in line.split(",")]
    return Sample(*(values + [None] * 4)[:4])


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:  # [N/A], [Not Supported]
        return None


@contextmanager
def watched(uuid: str | None) -> Iterator[Seen]:
    """Watch the GPU of that UUID (None: the first) during the block; no samples where nothing tells."""
    seen = Seen("")
    stop = threading.Event()
    watch = _nvml(uuid, seen, stop) or _smi(uuid, seen, stop)
    if watch is None:
        yield seen
        return
    watch.start()
    try:
        yield seen
    finally:
        stop.set()
        watch.join()


def _nvml(uuid: str | None, seen: Seen, stop: threading.Event) -> threading.Thread | None:
    try:
        import pynvml

        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByUUID(uuid) if uuid else pynvml.nvmlDeviceGetHandleByIndex(0)
    except Exception:  # noqa: BLE001 - no package, no driver, no such GPU: then nvidia-smi is asked
        return None
    seen.source = "nvml"

    def asked(name: str, pick: Any) -> float | None:
        try:
            return float(pick(getattr(pynvml, name)(handle)))
        except pynvml.NVMLError:
            return None

    def look() -> None:
        while not stop.wait(_EVERY_S):
            seen.samples.append(
                Sample(
                    asked("nvmlDeviceGetDecoderUtilization", lambda answer: answer[0]),
                    asked("nvmlDeviceGetUtilizationRates", lambda answer: answer.gpu),
                    asked("nvmlDeviceGetMemoryInfo", lambda answer: answer.used / 2**20),
                    _video_clock(pynvml, handle),
                )
            )

    return threading.Thread(target=look)


def _video_clock(pynvml: Any, handle: Any) -> float | None:
    try:
        return float(pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_VIDEO))
    except pynvml.NVMLError:
        return None


def _smi(uuid: str | None, seen: Seen, stop: threading.Event) -> threading.Thread | None:
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    command = [program, f"--query-gpu={_SMI_FIELDS}", "--format=csv,noheader,nounits", "-lms", "100"]
    process = subprocess.Popen(
        [*command, "-i", uuid or "0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    seen.source = "nvidia-smi"

    def look() -> None:
        with process:
            assert process.stdout is not None
            for line in process.stdout:
                seen.samples.append(parsed(line))
                if stop.is_set():
                    break
            process.kill()

    return threading.Thread(target=look)
