"""What a dataset holds, for people who look at it once a week."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from typing import Any

from harvester.store.dataset import Dataset
from harvester.store.ledger import Ledger
from harvester.store.shortfall import Shortfall, wanted_of


@dataclass(frozen=True, slots=True)
class CategoryOverview:
    """One class: images, by split and source type, from how many broadcasters, and what else was decided of its
    category (``category_id``: its label, if it is the class of all that is no game). ``wanted``: frames that the
    last run with a target wanted of it, None if none had one; ``shortfall``: why there are fewer, None if
    there are not. ``last_success``: end of the last run that went well and worked on it; ``next_due``: when the
    first of its failures may be tried again (UTC, ISO 8601; "": none)."""

    category_id: str
    name: str
    frames: int
    broadcasters: int
    splits: dict[str, int] = field(default_factory=dict)
    sources: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    removed: dict[str, int] = field(default_factory=dict)
    wanted: int | None = None
    shortfall: Shortfall | None = None
    last_success: str = ""
    next_due: str = ""


@dataclass(frozen=True, slots=True)
class DatasetOverview:
    """All categories by label id, and the runs, the latest first (the ledger's own records)."""

    categories: tuple[CategoryOverview, ...]
    runs: tuple[dict[str, Any], ...]


def overview(dataset: Dataset, ledger: Ledger, *, max_per_vod: int) -> DatasetOverview:
    """The overview of an open dataset; ``max_per_vod``: targets that one VOD may give."""
    runs = ledger.runs()
    wanted, succeeded = wanted_of(runs), _successes(runs)
    splits: Counter[tuple[int, str]] = Counter()
    sources: Counter[tuple[int, str]] = Counter()
    broadcasters: dict[int, set[str]] = {}
    shown: dict[int, set[str]] = {entry.label_id: {entry.category_id} - {""} for entry in dataset.classes}
    kinds = dataset.tally("label_id", "category_id", "split", "source_type", "broadcaster_id")
    for (label_id, category_id, split, source_type, broadcaster_id), count in kinds.items():
        splits[label_id, split] += count
        sources[label_id, source_type] += count
        broadcasters.setdefault(label_id, set()).add(broadcaster_id)
        shown[label_id].add(category_id)
    categories = []
    for entry in dataset.classes:
        totals = sum((Counter(ledger.totals(id_)) for id_ in shown[entry.label_id]), Counter[tuple[str, str]]())
        removed = sum((ledger.removed_of(id_) for id_ in shown[entry.label_id]), Counter[str]())
        mine = _of(splits, entry.label_id)
        asked = {id_: wanted[id_] for id_ in sorted(shown[entry.label_id]) if id_ in wanted}
        missing = {id_: n - ledger.kept_count(id_) for id_, n in asked.items()}
        short = [Shortfall.of(ledger, id_, n, max_per_vod) for id_, n in missing.items() if n > 0]
        due = [ledger.due_again(id_)[1] for id_ in shown[entry.label_id]]
        categories.append(
            CategoryOverview(
                category_id=entry.category_id or entry.slug,
                name=entry.name,
                frames=sum(mine.values()),
                broadcasters=len(broadcasters.get(entry.label_id, ())),
                splits=mine,
                sources=_of(sources, entry.label_id),
                dropped=_reasons(totals, "dropped"),
                failed=_reasons(totals, "failed"),
                removed=dict(sorted(removed.items())),
                wanted=sum(asked.values()) if asked else None,
                shortfall=reduce(add, short) if short else None,
                last_success=max((succeeded.get(id_, "") for id_ in shown[entry.label_id]), default=""),
                next_due=min(filter(None, due), default=""),
            )
        )
    return DatasetOverview(tuple(categories), tuple(runs))


def _successes(runs: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """When the last run that exited with 0 ended, by category; ``runs``: the latest first."""
    ended: dict[str, str] = {}
    for run in runs:
        report = run["report"]
        if isinstance(report, dict) and report.get("exit_code") == 0 and run["ended_at"]:
            for category_id in report.get("categories", ()):
                ended.setdefault(category_id, run["ended_at"])
    return ended


def _of(counts: Counter[tuple[int, str]], label_id: int) -> dict[str, int]:
    return {key: count for (owner, key), count in sorted(counts.items()) if owner == label_id}


def _reasons(totals: Mapping[tuple[str, str], int], verdict: str) -> dict[str, int]:
    return {reason: count for (kind, reason), count in sorted(totals.items()) if kind == verdict}
