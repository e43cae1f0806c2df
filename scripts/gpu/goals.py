"""What harvester is held to on a data-centre GPU, judged from the records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gpu.book import Record, found

#: Share of the decoder engines' time, or else share of the package's own threaded decoder's rate.
UTILISATION, OF_THREADED = 80.0, 0.9
#: Decode and measure on the GPU against decoding alone; processor time of it (ms a frame).
OF_DECODING, CPU_MS = 0.85, 0.5
#: Growth that a soak may show (10^6 bytes a second): below 6 MB in half a minute is noise of pools and counters.
GROWTH_MB_PER_S = 0.2


@dataclass(frozen=True, slots=True)
class Goal:
    """One goal. ``value`` None: what it needs was not measured. ``limit`` None: it is only shown."""

    name: str
    value: float | None
    limit: float | None
    at_least: bool = True

    @property
    def met(self) -> bool | None:
        """Whether it is; None where nothing can be said."""
        if self.value is None or self.limit is None:
            return None
        return self.value >= self.limit if self.at_least else self.value <= self.limit


def goals(records: Sequence[Record]) -> Iterator[Goal]:
    """All goals, of hardware alone: records of a stand-in give none."""
    if any(record.get("fake") for record in records):
        return
    yield from _exactness(list(records))
    yield from _rates(list(records))
    yield from _soak(list(records))


def _exactness(records: list[Record]) -> Iterator[Goal]:
    cases = [record for record in records if (record["step"], record["what"]) == ("exactness", "case")]
    wanted = [record for record in cases if not record["routed"]]
    right = [record for record in wanted if record.get("same") and record.get("measurement_same")]
    share = len(right) / len(wanted) if wanted else None
    yield Goal("streams with the same bits as libavcodec, share", share, 1.0)
    measured = [record for record in records if (record["step"], record["what"]) == ("measuring", "same")]
    same = sum(1 for record in measured if record.get("same"))
    yield Goal("streams measured alike on the GPU, share", same / len(measured) if measured else None, 1.0)
    modes = found(records, "modes", "mode", latency="LOW", end_of_picture=True)
    keyed = [record for record in records if (record["step"], record["what"]) == ("exactness", "a-b-a keyed")]
    yield Goal("sizes in turn give the right pictures", _share(keyed, "same"), 1.0)
    refused = [said for record in found(records, "worker", "damage") for said in record["said"].values()]
    passed = sum(said == "passed" for said in refused) if refused else None
    yield Goal("damaged keyframes that pass", passed, 0, at_least=False)
    yield Goal(
        "pictures wrong for being copied at once",
        _last(records, "interop", "race").get("wrong"),
        0,
        at_least=False,
    )
    yield Goal("LOW gives each picture at its own call, share", _share(modes, "one_in_one_out"), 1.0)


def _share(records: Sequence[Record], key: str) -> float | None:
    return sum(1 for record in records if record.get(key)) / len(records) if records else None


def _rates(records: list[Record]) -> Iterator[Goal]:
    decoding = _last(records, "throughput", "decode only")
    fps = decoding.get("fps")
    threaded = [record["fps"] for record in found(records, "throughput", "threaded decoder")]
    utilisation, ratio = decoding.get("decoder_util"), _ratio(fps, max(threaded, default=None))
    yield Goal("decoder utilisation, %", utilisation, UTILISATION)
    yield Goal("decoding / ThreadedDecoder", ratio, OF_THREADED)
    yield Goal("either of these two", _either(utilisation, ratio), 1.0)
    measuring = found(records, "measuring", "decode and measure", device=True)
    quickest = max(measuring, key=lambda record: float(record["fps"]), default={})
    yield Goal("decode and measure on the GPU / decoding", _ratio(quickest.get("fps"), fps), OF_DECODING)
    yield Goal(
        "processor ms a frame, decode and measure", quickest.get("cpu_ms_per_frame"), CPU_MS, at_least=False
    )
    worker = _last(records, "worker", "looks", backend="nvdec", stream="1080p", kept_one_in=0)
    yield Goal("processor ms a frame, the whole worker", worker.get("cpu_ms_per_frame"), CPU_MS, at_least=False)
    yield Goal("the whole worker / decoding", _ratio(worker.get("fps"), fps), None)
    yield Goal("1080p keyframes a second (hoped for: 2500)", fps, None)
    yield Goal(
        "times libavcodec on all cores", _ratio(fps, _last(records, "throughput", "libavcodec").get("fps")), None
    )


def _either(utilisation: float | None, ratio: float | None) -> float | None:
    if utilisation is None and ratio is None:
        return None
    return float((utilisation or 0) >= UTILISATION or (ratio or 0) >= OF_THREADED)


def _soak(records: list[Record]) -> Iterator[Goal]:
    soak = _last(records, "soak", "soak")
    for name, key in (("memory of the process", "rss_mb_per_s"), ("memory of the GPU", "gpu_mb_per_s")):
        yield Goal(f"{name} grows, MB/s", soak.get(key), GROWTH_MB_PER_S, at_least=False)


def _last(records: list[Record], step: str, what: str, **equal: Any) -> Record:
    return (found(records, step, what, **equal) or [{}])[-1]


def _ratio(value: float | None, base: float | None) -> float | None:
    return value / base if value is not None and base else None
