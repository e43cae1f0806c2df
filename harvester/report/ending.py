"""How a run ended: its report, its status and its exit code (contract, "Exit codes")."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from harvester.config import Run
from harvester.errors import HarvesterError, TryAgainLater
from harvester.pipeline.category import CategoryBooks
from harvester.pipeline.harvest import Harvested
from harvester.pipeline.stopping import Stop
from harvester.report.foresight import foresight
from harvester.report.summary import CategoryReport, RunReport
from harvester.stats import StageTimes, Traffic

#: Exit codes from the one that wins to the one that yields.
PRECEDENCE = (1, 130, 143, 6, 75, 2, 3, 5, 4, 0)


@dataclass(frozen=True, slots=True)
class Ending:
    """What is known when a run ends. ``error``: what ended it, if something did; ``details``: GQL was asked."""

    run_id: str
    harvested: Harvested
    stop: Stop
    error: HarvesterError | None
    traffic: Traffic
    times: StageTimes
    seconds: float
    details: bool = True


def conclude(
    ending: Ending, run: Run, dataset: Path | None = None, contact_sheet: Path | None = None
) -> RunReport:
    """The report of a run; ``dataset`` None: it ended before one was opened."""
    code = exit_code(ending, run)
    books = list(ending.harvested.books.values())
    errors = [*([ending.error] if ending.error else []), *ending.harvested.errors]
    stopped = (f"stopped: {ending.stop.reason}",) if ending.stop.asked else ()
    dropped = sum((entry.dropped for entry in books), Counter[str]())
    failed = sum((entry.failed for entry in books), Counter[str]())
    removed = sum((entry.removed for entry in books), Counter[str]())
    kept, pending = sum(entry.kept for entry in books), sum(entry.pending for entry in books)
    return RunReport(
        run_id=ending.run_id,
        status=status(ending, code, kept),
        exit_code=code,
        dataset=str(dataset or ""),
        decoder=ending.harvested.decoder,
        seconds=ending.seconds,
        decoded=ending.times.calls["decode"],
        planned=kept + dropped.total() + failed.total() + pending,
        kept=kept,
        pending=pending,
        dropped=dropped,
        failed=failed,
        removed=removed,
        categories={entry.category.id: _category(entry) for entry in books},
        requests={kind.value: count for kind, count in ending.traffic.requests.items()},
        bytes={kind.value: count for kind, count in ending.traffic.bytes.items()},
        stages=dict(ending.times.busy_s),
        waits=dict(ending.times.wait_s),
        held_up=dict(ending.times.held_up_s),
        contact_sheet=str(contact_sheet) if contact_sheet else "",
        fallbacks=ending.harvested.fallbacks,
        storyboards=foresight(ending.harvested.foreseen, ending.traffic, kept + dropped.total()),
        notes=(*ending.harvested.notes, *stopped, *_untold(ending)),
        errors=tuple(str(error) for error in errors),
    )


def _untold(ending: Ending) -> tuple[str, ...]:
    """That labels are weaker than they could be, and why."""
    untold = ending.harvested.untold
    vods = "1 VOD was" if untold == 1 else f"{untold} VODs were"
    why = "GQL did not tell them" if ending.details else "[discover] details is off"
    text = f"{vods} labelled without chapters, by clips and Helix's listing alone ({why})"
    return (text,) if untold else ()


def exit_code(ending: Ending, run: Run) -> int:
    """The exit code that wins among all that apply."""
    codes = {0}
    if ending.stop.signal_number is not None:
        codes.add(128 + ending.stop.signal_number)
    if ending.error is not None:
        codes.add(ending.error.exit_code)
    for error in ending.harvested.errors:
        codes.add(5 if isinstance(error, TryAgainLater) else 4)
    codes.add(_failures(list(ending.harvested.books.values()), run.failed_share))
    return min(codes, key=PRECEDENCE.index)


def _failures(books: list[CategoryBooks], failed_share: float) -> int:
    """5 if an outage left nothing of what was tried, 4 if too much failed, for whatever reasons, else 0.

    A source that Twitch lists and does not play may well play another night; yet nothing is down: that is 4.
    """
    decided = sum(entry.decided for entry in books)
    failed = sum(entry.failed.total() for entry in books)
    if not failed or failed <= failed_share * decided:
        return 0
    outages = sum(entry.outages for entry in books)
    return 5 if failed == decided == outages else 4


def status(ending: Ending, code: int, kept: int) -> str:
    """done, bounded, partial, interrupted or failed."""
    if code in (130, 143):
        return "interrupted"
    if code == 0:
        return "bounded" if ending.stop.asked else "done"
    return "partial" if code == 4 or (code == 5 and kept) else "failed"


def _category(entry: CategoryBooks) -> CategoryReport:
    return CategoryReport(
        name=entry.category.name,
        kept=entry.kept,
        total=entry.total,
        target=entry.target,
        dropped=dict(entry.dropped),
        failed=dict(entry.failed),
        removed=dict(entry.removed),
        pending=entry.pending,
        note=entry.note,
        listed=entry.listed,
        labels=dict(entry.labels),
        capped=dict(entry.capped),
    )
