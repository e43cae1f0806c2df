"""Plans and datasets as plain tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from harvester.pipeline.preview import CategoryPlan
from harvester.report.completeness import caps_text, labels_text, listed_text, shortfalls
from harvester.store.overview import DatasetOverview
from harvester.store.shortfall import Shortfall
from harvester.text import printable
from harvester.vision.caps import FEW_BROADCASTERS

#: Widest category name shown (characters).
NAME_CHARS = 30
#: Longest note on a category (characters): whole in all but hostile cases.
NOTE_CHARS = 400
#: Runs listed by ``status``.
RUNS_SHOWN = 5


def plan_text(plans: Sequence[CategoryPlan]) -> str:
    """What would be fetched, a paragraph a category, and the sum."""
    lines = [line for plan in plans for line in _plan_lines(plan)]
    lines.append(
        f"in all: {sum(plan.targets for plan in plans)} targets,"
        f" {sum(sum(plan.requests.values()) for plan in plans)} requests,"
        f" about {_size(sum(plan.media_bytes for plan in plans))} to fetch,"
        f" {_size(sum(plan.disk_bytes for plan in plans))} on disk,"
        f" {sum(plan.minutes for plan in plans):.1f} minutes"
    )
    return "\n".join(lines)


def _plan_lines(plan: CategoryPlan) -> list[str]:
    goal = f" of {plan.target}" if plan.target is not None else ""
    lines = [f"{printable(plan.category.name, NAME_CHARS)} ({plan.category.id}): {plan.total}{goal} frames there"]
    if plan.targets:
        lines.append(
            f"  sources: {_counts(plan.sources)}; targets: {plan.targets}; requests: {_counts(plan.requests)}"
        )
        lines.append(f"  about {_size(plan.media_bytes)} to fetch, {_size(plan.disk_bytes)} on disk")
    if plan.labels:
        lines.append(f"  labels: {labels_text(plan.labels)}")
    if plan.listing:
        lines.append(f"  listed: {listed_text(plan.listing)}")
    if plan.left_out:
        lines.append(f"  left out: {_counts(plan.left_out)}")
    if plan.note:
        lines.append(f"  {printable(plan.note, NOTE_CHARS)}")
    return lines + [f"  {line}" for line in shortfalls(plan.listing)]


def overview_text(facts: DatasetOverview, root: Path) -> str:
    """What the dataset holds, a line a category, and its latest runs."""
    if not facts.categories and not facts.runs:
        return f"{root}: no dataset there yet"
    lines = [f"{root}: {sum(entry.frames for entry in facts.categories)} frames"]
    for entry in facts.categories:
        where = f"{_counts(entry.splits) or 'no split'}; from {_counts(entry.sources) or 'nothing'}"
        lines.append(
            f"  {printable(entry.name, NAME_CHARS)} ({entry.category_id}): {entry.frames} frames of"
            f" {entry.broadcasters} broadcasters; {where}"
        )
        told = (("dropped", entry.dropped), ("failed", entry.failed), ("removed", entry.removed))
        for title, counts in told:
            if counts:
                lines.append(f"    {title}: {_counts(counts)}")
        times = (("last success", entry.last_success), ("next retry due", entry.next_due))
        if when := "; ".join(f"{title} {at[:16]} UTC" for title, at in times if at):
            lines.append(f"    {when}")
        if entry.shortfall is not None:
            lines.append(f"    {entry.shortfall.missing} short of {entry.wanted}: {why_short(entry.shortfall)}")
    lines += [_run_line(run) for run in facts.runs[:RUNS_SHOWN]]
    return "\n".join(lines)


def why_short(short: Shortfall) -> str:
    """The reasons of a shortfall, those that the next run deals with first."""
    reasons = [
        f"at most {short.undecided} targets of a listing are undecided" if short.undecided > 0 else "",
        f"due again from {short.due_from[:16]} UTC: {_counts(short.due)}" if short.due else "",
        caps_text({FEW_BROADCASTERS: short.held_back}),
        f"lost: {caps_text(short.capped)}" if short.capped else "",
        f"{short.full_vods} VODs gave as many targets as max_per_vod allows" if short.full_vods else "",
    ]
    left = [] if short.undecided > 0 or short.due else ["no source that was listed has more"]
    return "; ".join([*filter(None, reasons), *left])


def _run_line(run: Mapping[str, object]) -> str:
    report = run["report"]
    if not isinstance(report, dict):
        return f"  run {run['id']}: not finished (killed, or still running)"
    return f"  run {run['id']}: {report['status']}, {report['kept']} kept, {report['seconds']:.0f} s"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {printable(name)}" for name, count in counts.items() if count)


def _size(n_bytes: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.0f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.1f} TB"
