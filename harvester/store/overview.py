"""What a dataset holds, for people who look at it once a week."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from harvester.store.dataset import Dataset
from harvester.store.ledger import Ledger


@dataclass(frozen=True, slots=True)
class CategoryOverview:
    """One category: images, by split and source type, from how many broadcasters, and what else was decided."""

    category_id: str
    name: str
    frames: int
    broadcasters: int
    splits: dict[str, int] = field(default_factory=dict)
    sources: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DatasetOverview:
    """All categories by label id, and the runs, the latest first (the ledger's own records)."""

    categories: tuple[CategoryOverview, ...]
    runs: tuple[dict[str, Any], ...]


def overview(dataset: Dataset, ledger: Ledger) -> DatasetOverview:
    """The overview of an open dataset."""
    splits: Counter[tuple[str, str]] = Counter()
    sources: Counter[tuple[str, str]] = Counter()
    broadcasters: dict[str, set[str]] = {}
    kinds = dataset.tally("category_id", "split", "source_type", "broadcaster_id")
    for (category_id, split, source_type, broadcaster_id), count in kinds.items():
        splits[category_id, split] += count
        sources[category_id, source_type] += count
        broadcasters.setdefault(category_id, set()).add(broadcaster_id)
    categories = []
    for entry in dataset.classes:
        totals = ledger.totals(entry.category_id)
        mine = _of(splits, entry.category_id)
        categories.append(
            CategoryOverview(
                category_id=entry.category_id,
                name=entry.name,
                frames=sum(mine.values()),
                broadcasters=len(broadcasters.get(entry.category_id, ())),
                splits=mine,
                sources=_of(sources, entry.category_id),
                dropped=_reasons(totals, "dropped"),
                failed=_reasons(totals, "failed"),
            )
        )
    return DatasetOverview(tuple(categories), tuple(ledger.runs()))


def _of(counts: Counter[tuple[str, str]], category_id: str) -> dict[str, int]:
    return {key: count for (owner, key), count in sorted(counts.items()) if owner == category_id}


def _reasons(totals: dict[tuple[str, str], int], verdict: str) -> dict[str, int]:
    return {reason: count for (kind, reason), count in sorted(totals.items()) if kind == verdict}
