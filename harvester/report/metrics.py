"""The latest run as a Prometheus text file, for node_exporter's textfile collector.

Names and units follow Prometheus' conventions ("Metric and label naming"), the text its exposition format 0.0.4.
Everything is a gauge: each run begins at zero and replaces what the one before has told.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from harvester.report.summary import RunReport
from harvester.report.writing import replace_file
from harvester.text import printable
from harvester.version import __version__

#: A label's values and the number they belong to.
Sample = tuple[Mapping[str, str], float]


@dataclass(frozen=True, slots=True)
class Standing:
    """What a run's own report does not tell. ``last_success``: when the latest run that exited with 0 ended, None
    if none is known; ``waiting``: failures that are due again, and will be later."""

    ended_at: datetime
    last_success: datetime | None = None
    waiting: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Metric:
    name: str
    help: str
    samples: tuple[Sample, ...]

    def lines(self) -> Iterator[str]:
        yield f"# HELP harvester_{self.name} {_escaped(self.help)}"
        yield f"# TYPE harvester_{self.name} gauge"
        for labels, value in self.samples:
            told = ",".join(f'{name}="{_quoted(text)}"' for name, text in labels.items())
            yield f"harvester_{self.name}{f'{{{told}}}' if told else ''} {_number(value)}"


def write_metrics(file: Path, report: RunReport, standing: Standing) -> None:
    """Replace ``file`` by the metrics of that run. Raises :class:`MachineError`."""
    replace_file(file, metrics_text(report, standing).encode(), "the metrics file")


def metrics_text(report: RunReport, standing: Standing) -> str:
    """The metrics in Prometheus' text format. A metric without a sample is left out."""
    metrics = (*_run(report, standing), *_frames(report), *_queues(report, standing))
    return "".join(f"{line}\n" for metric in metrics if metric.samples for line in metric.lines())


def _run(report: RunReport, standing: Standing) -> Iterable[_Metric]:
    success = standing.last_success
    told = {"version": __version__, "status": report.status}
    yield _Metric("run_info", "The latest run: the version that ran, and how it ended.", ((told, 1),))
    yield _Metric(
        "last_success_timestamp_seconds",
        "When the latest run that exited with 0 ended.",
        () if success is None else (({}, success.timestamp()),),
    )
    yield _Metric("run_end_timestamp_seconds", "When the run ended.", (({}, standing.ended_at.timestamp()),))
    yield _Metric("run_exit_code", "Its exit code.", (({}, report.exit_code),))
    yield _Metric("run_duration_seconds", "How long it took.", (({}, report.seconds),))
    yield _Metric("run_requests", "Requests it sent, retries included.", _by("kind", report.requests))
    yield _Metric("run_received_bytes", "Body bytes it received.", _by("kind", report.bytes))
    rate = report.decoded / report.seconds if report.seconds else 0
    yield _Metric("run_decoded_pictures", "Pictures it decoded.", (({}, report.decoded),))
    yield _Metric("run_decoded_pictures_per_second", "Pictures decoded per second of the run.", (({}, rate),))


def _frames(report: RunReport) -> Iterable[_Metric]:
    """Every category has every verdict, also none of it: a series that comes and goes cannot be summed."""
    of_categories = []
    for id_, part in report.categories.items():
        verdicts = {
            "kept": part.kept,
            "dropped": sum(part.dropped.values()),
            "failed": sum(part.failed.values()),
            "removed": sum(part.removed.values()),
        }
        labels = {"category_id": id_, "category": part.name}
        of_categories += [({**labels, "verdict": verdict}, float(n)) for verdict, n in verdicts.items()]
    yield _Metric("run_frames", "Targets it decided, by verdict, and frames it removed.", tuple(of_categories))
    reasons = {"dropped": report.dropped, "failed": report.failed, "removed": report.removed}
    yield _Metric(
        "run_frames_by_reason",
        "The same over all categories, by reason.",
        tuple(
            ({"verdict": verdict, "reason": reason}, float(n))
            for verdict, counts in reasons.items()
            for reason, n in counts.items()
        ),
    )
    totals = [({"category_id": id_, "category": p.name}, float(p.total)) for id_, p in report.categories.items()]
    yield _Metric("dataset_frames", "Frames in the dataset, of the run's categories.", tuple(totals))


def _queues(report: RunReport, standing: Standing) -> Iterable[_Metric]:
    waiting = {f"retry-{when}": n for when, n in standing.waiting.items()}
    states = {"pending": report.pending} | waiting
    yield _Metric("queue_targets", "What is left for later runs, by state.", _by("state", states))


def _by(label: str, counts: Mapping[str, int]) -> tuple[Sample, ...]:
    return tuple(({label: name}, float(n)) for name, n in counts.items())


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _quoted(text: str) -> str:
    """A label's value: one line without control characters, quotes and backslashes escaped."""
    return _escaped(printable(text)).replace('"', '\\"')


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")
