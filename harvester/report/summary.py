"""What a run did: one record for scripts (the contract's JSON line) and for people (a short text).

The numbers of a run are the sums over its categories; a report whose books do not sum cannot be built.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from types import MappingProxyType
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from harvester.pipeline.listing import Listed
from harvester.report.completeness import caps_text, labels_text, listed_text, shortfalls
from harvester.report.figures import by_kind, count_of, duration_of, size_of
from harvester.report.foresight import foresight_text
from harvester.report.stages import bound_by, bound_text, mean_queues, stages_text
from harvester.text import printable, redact

#: Exit codes that a status goes with (contract, "Command line"); ``partial`` and ``failed`` with all others.
EXIT_CODES: Mapping[str, frozenset[int]] = MappingProxyType(
    {
        "done": frozenset({0}),
        "bounded": frozenset({0}),
        "interrupted": frozenset({130, 143}),
        "partial": frozenset({4, 5}),
        "failed": frozenset({1, 2, 3, 4, 5, 6, 75}),
    }
)

#: Longest path and longest message shown, in characters: whole in all but hostile cases.
PATH_CHARS, MESSAGE_CHARS = 400, 400

#: Columns of a summary where the terminal does not tell its own; and fewest: below, the table is unreadable.
DEFAULT_WIDTH, MIN_WIDTH = 100, 60

Counts = Mapping[str, int]


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise ValueError(what)


@dataclass(frozen=True, slots=True)
class CategoryReport:
    """Books of one category. ``total``: kept frames in the dataset after the run; ``target``: how many were wanted
    in all, None = any number. ``removed``: frames of any run that left the dataset in this one, outside the sum of
    ``planned``. ``note``: why nothing more was taken, "" if there is nothing to say. ``listed``: how complete the
    run's listing is, by kind of source; {} if it listed nothing. ``labels``: sources that the run opened, by what
    most surely labels them; "none" where nothing says that they show the category. ``capped``: what caps cost, by
    cap: targets, which are among the dropped, and moments that "vod-cap" and "clip-cap" made no targets."""

    name: str
    kept: int = 0
    total: int = 0
    target: int | None = None
    dropped: Counts = field(default_factory=dict)  # by reason
    failed: Counts = field(default_factory=dict)  # by reason
    pending: int = 0
    removed: Counts = field(default_factory=dict)  # by reason
    note: str = ""
    listed: Mapping[str, Listed] = field(default_factory=dict)
    labels: Counts = field(default_factory=dict)  # by label source
    capped: Counts = field(default_factory=dict)  # by cap

    def __post_init__(self) -> None:
        counts = [self.kept, self.total, self.pending, self.target or 0]
        counts += [*self.dropped.values(), *self.failed.values(), *self.removed.values()]
        _require(min(counts) >= 0, f"{self.name!r}: a count is negative")
        left = sum(self.removed.values())
        _require(self.total >= self.kept - left, f"{self.name!r}: {self.kept} kept, but only {self.total} in all")

    @property
    def planned(self) -> int:
        """Targets taken up in this run."""
        return self.kept + sum(self.dropped.values()) + sum(self.failed.values()) + self.pending

    def as_json(self) -> dict[str, Any]:
        """The category's object in the JSON line."""
        return {
            "name": self.name,
            "kept": self.kept,
            "total": self.total,
            "target": self.target,
            "planned": self.planned,
            "pending": self.pending,
            "dropped": _plain(self.dropped),
            "failed": _plain(self.failed),
            "removed": _plain(self.removed),
            "note": redact(self.note),
            "listed": {kind: asdict(listed) for kind, listed in self.listed.items()},
            "labels": _plain(self.labels),
            "capped": _plain(self.capped),
        }


@dataclass(frozen=True, slots=True)
class RunReport:
    """A run that is over: the contract's ``--json`` fields, then what a summary says besides.

    ``planned`` targets were taken up = kept + Σdropped + Σfailed + pending, and each of these is the sum over the
    categories: a report whose books do not sum cannot be built (ValueError).
    """

    run_id: str
    status: str  # done | bounded | partial | interrupted | failed
    exit_code: int
    dataset: str  # its directory; "" when none was opened
    decoder: str = ""  # which ran, and why; "" if none was needed
    fallbacks: Counts = field(default_factory=dict)  # pictures that the CPU decoded in a GPU's stead, by reason
    seconds: float = 0.0
    decoded: int = 0  # pictures
    planned: int = 0
    kept: int = 0
    pending: int = 0
    dropped: Counts = field(default_factory=dict)  # by reason
    failed: Counts = field(default_factory=dict)  # by reason
    removed: Counts = field(default_factory=dict)  # by reason
    requests: Counts = field(default_factory=dict)  # by kind
    bytes: Counts = field(default_factory=dict)  # by kind
    categories: Mapping[str, CategoryReport] = field(default_factory=dict)  # by category id
    errors: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    stages: Mapping[str, float] = field(default_factory=dict)  # busy seconds, summed over threads
    waits: Mapping[str, float] = field(default_factory=dict)  # seconds that targets waited for it, summed
    held_up: Mapping[str, float] = field(default_factory=dict)  # seconds of the run by the stage that held it up
    contact_sheet: str = ""  # path of the picture, "" if there is none
    storyboards: Counts = field(default_factory=dict)  # see report/foresight.py; {} = none was asked for

    def __post_init__(self) -> None:
        _require(self.status in EXIT_CODES, f"unknown status {self.status!r}")
        _require(self.exit_code in EXIT_CODES[self.status], f"{self.status} does not exit with {self.exit_code}")
        _require(self.seconds >= 0, "seconds are negative")
        _require(min([0, *self.requests.values(), *self.bytes.values()]) >= 0, "a count is negative")
        self._check_books()

    @property
    def capped(self) -> Counts:
        """What each cap has cost, over all categories."""
        return _added([part.capped for part in self.categories.values()])

    @property
    def had_nothing_to_do(self) -> bool:
        """True if every category had as many frames as were wanted of it: then no stage held anything up."""
        parts = self.categories.values()
        met = all(part.target is not None and part.total >= part.target for part in parts)
        return bool(parts) and met and not self.planned

    def _check_books(self) -> None:
        decided = self.kept + sum(self.dropped.values()) + sum(self.failed.values())
        _require(
            self.planned == decided + self.pending,
            f"{self.planned} planned, but {decided} decided and {self.pending} pending",
        )
        parts = list(self.categories.values())
        for name in ("kept", "pending"):
            in_parts = sum(getattr(part, name) for part in parts)
            _require(getattr(self, name) == in_parts, f"{name}: {getattr(self, name)}, but {in_parts} by category")
        for name in ("dropped", "failed", "removed"):
            by_reason = _added([getattr(part, name) for part in parts])
            _require(_plain(getattr(self, name)) == by_reason, f"{name}: the categories say {by_reason}")

    def to_json(self) -> str:
        """The contract's object: one line, ASCII, no secret in a message. Zero counts are left out of mappings."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        for name in ("dropped", "failed", "removed", "requests", "bytes", "fallbacks", "storyboards"):
            values[name] = _plain(values[name])
        for name in ("stages", "waits", "held_up"):
            values[name] = {stage: round(seconds, 3) for stage, seconds in values[name].items()}
        values["capped"] = self.capped
        values["queued"] = {stage: round(n, 2) for stage, n in mean_queues(self.waits, self.seconds).items()}
        values["bound_by"] = "" if self.had_nothing_to_do else bound_by(self.held_up)
        for name in ("errors", "notes"):
            values[name] = [redact(line) for line in values[name]]
        values["seconds"] = round(self.seconds, 3)
        values["categories"] = {number: part.as_json() for number, part in self.categories.items()}
        return json.dumps(values, ensure_ascii=True, allow_nan=False)


def failed_json(exit_code: int, reason: str, message: str) -> str:
    """The JSON line of a command that ended before it was a run: empty books, and ``reason``."""
    status = "interrupted" if exit_code in EXIT_CODES["interrupted"] else "failed"
    report = RunReport("", status, exit_code, "", errors=(message,))
    return json.dumps({**json.loads(report.to_json()), "reason": reason})


def looked_json(exit_code: int, *, dataset: str = "", **facts: Any) -> str:
    """The JSON line of a command that only looked: the same fields with empty books, and what it found."""
    report = RunReport("", "partial" if exit_code == 4 else "failed" if exit_code else "done", exit_code, dataset)
    return json.dumps({**json.loads(report.to_json()), **facts})


def _added(counts: list[Counts]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for count in counts:
        for reason, number in count.items():
            sums[reason] = sums.get(reason, 0) + number
    return _plain(sums)


def _plain(counts: Counts) -> dict[str, int]:
    """Counts that are not zero, largest first, ties by name."""
    return {str(name): n for name, n in sorted(counts.items(), key=lambda item: (-item[1], item[0])) if n}


def render_text(report: RunReport, *, width: int = DEFAULT_WIDTH) -> str:
    """The summary as plain lines, its table ``width`` columns wide; paths and messages stay in one piece."""
    page = io.StringIO()
    console = Console(
        file=page,
        width=max(width, MIN_WIDTH),
        no_color=True,
        force_terminal=False,
        highlight=False,
        legacy_windows=False,
    )
    console.print(summary(report), crop=False)
    return "".join(f"{line.rstrip()}\n" for line in page.getvalue().splitlines())


def closing_line(report: RunReport) -> str:
    """All of a run in the one line that a log ends with."""
    counts = {"dropped": report.dropped, "failed": report.failed, "removed": report.removed}
    decided = [f"{sum(by_reason.values())} {name}" for name, by_reason in counts.items()]
    traffic = f"{count_of(sum(report.requests.values()), 'request')}, {size_of(sum(report.bytes.values()))}"
    what = f"{_headline(report).plain}, {', '.join(decided)}; {traffic}; exit code {report.exit_code}"
    return printable(f"run {report.run_id}: {what}", MESSAGE_CHARS)


def summary(report: RunReport) -> RenderableType:
    """The summary for a rich console; print it with ``crop=False``, or long paths lose their ends.

    Names and messages go through :func:`printable` and are never markup.
    """
    parts: list[RenderableType] = [_headline(report)]
    if report.categories:
        parts += ["", _table(report), ""]
    parts += [_fact(name, text) for name, text in _facts(report) if text]
    parts += [_message("note", note, "yellow") for note in _notes(report)]
    parts += [_message("error", error, "red") for error in report.errors]
    return Group(*parts)


def _headline(report: RunReport) -> Text:
    colour = {"done": "green", "failed": "red"}.get(report.status, "yellow")
    line = Text(overflow="fold").append(report.status, style=f"bold {colour}")
    line.append(f" in {duration_of(report.seconds)}: ")
    if report.planned:
        line.append(f"{count_of(report.kept, 'frame')} kept of {count_of(report.planned, 'target')}")
    else:
        met = report.had_nothing_to_do
        line.append("the target is met, nothing to fetch" if met else "nothing fetched")
    if report.pending:
        line.append(f", {report.pending} pending")
    return line


def _table(report: RunReport) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="bold")
    table.add_column("category", overflow="fold", min_width=10)
    table.add_column("in all", justify="right", no_wrap=True)
    table.add_column("kept", justify="right", no_wrap=True)
    table.add_column("dropped", overflow="fold")
    table.add_column("failed", overflow="fold")
    if any(category.removed for category in report.categories.values()):
        table.add_column("removed", overflow="fold")
    for category in report.categories.values():
        table.add_row(*_cells(category)[: len(table.columns)])
    return table


def _cells(category: CategoryReport) -> list[Text]:
    in_all = str(category.total) if category.target is None else f"{category.total} of {category.target}"
    cells = [printable(category.name), in_all, str(category.kept)]
    cells += [_reasons(counts) for counts in (category.dropped, category.failed, category.removed)]
    return [Text(cell) for cell in cells]


def _reasons(counts: Counts) -> str:
    return ", ".join(f"{n} {printable(reason)}" for reason, n in _plain(counts).items()) or "-"


def _facts(report: RunReport) -> list[tuple[str, str]]:
    """What stands below the table: name and text; an empty text is left out."""
    requests = {kind: str(n) for kind, n in _plain(report.requests).items()}
    received = {kind: size_of(n) for kind, n in _plain(report.bytes).items()}
    return [
        *_listings(report),
        ("labels", labels_text(_added([part.labels for part in report.categories.values()]))),
        ("caps", caps_text(report.capped)),
        ("foreseen", foresight_text(report.storyboards)),
        ("requests", by_kind(str(sum(report.requests.values())), requests)),
        ("received", by_kind(size_of(sum(report.bytes.values())), received)),
        ("speed", _speed(report)),
        ("decoder", printable(report.decoder, MESSAGE_CHARS)),
        ("on the CPU", _reasons(report.fallbacks) if report.fallbacks else ""),
        ("stages", stages_text(report.stages, mean_queues(report.waits, report.seconds))),
        ("bound by", "" if report.had_nothing_to_do else bound_text(report.held_up)),
        ("dataset", printable(report.dataset, PATH_CHARS)),
        ("pictures", printable(report.contact_sheet, PATH_CHARS)),
    ]


def _listings(report: RunReport) -> list[tuple[str, str]]:
    """What each category's listing found; named, if there are several."""
    several = len(report.categories) > 1
    texts = [
        (f"{printable(part.name)}: " if several else "") + listed_text(part.listed)
        for part in report.categories.values()
        if part.listed
    ]
    return [("" if number else "listed", text) for number, text in enumerate(texts)]


def _speed(report: RunReport) -> str:
    decided = report.planned - report.pending
    return f"{decided / report.seconds:.1f} frames/s" if decided and report.seconds > 0 else ""


def _notes(report: RunReport) -> list[str]:
    of_categories = [
        f"{category.name}: {note}"
        for category in report.categories.values()
        for note in (category.note, *shortfalls(category.listed))
        if note
    ]
    return [*report.notes, *of_categories]


def _fact(name: str, text: str) -> Text:
    return _line(Text(f"{name:<9}", style="bold"), text)


def _message(kind: str, text: str, colour: str) -> Text:
    return _line(Text(f"{kind}: ", style=f"bold {colour}"), printable(redact(text), MESSAGE_CHARS))


def _line(head: Text, text: str) -> Text:
    """One line, however long: a path or a message that is cut in pieces cannot be copied."""
    head.append(text, style="none")
    head.no_wrap, head.overflow = True, "ignore"
    return head
