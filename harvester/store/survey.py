"""All that a page about a dataset tells, read once: its overview, whose frames they are, what labelled them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from harvester.store.dataset import Dataset
from harvester.store.ledger import Ledger
from harvester.store.overview import DatasetOverview, overview
from harvester.store.pictures import SeenPicture


@dataclass(frozen=True, slots=True)
class Contents:
    """Of one class: frames by broadcaster id and by what labelled them, and images to choose from."""

    broadcasters: Counter[str]
    label_sources: Counter[str]
    images: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Survey:
    """``contents``: as ``overview.categories``; ``versions``, ``decoders``: frames by what made them; ``dropped``
    and ``removed``: pictures by reason; ``waiting``: failures that are due again, and will be later."""

    overview: DatasetOverview
    contents: tuple[Contents, ...]
    versions: Counter[str]
    decoders: Counter[str]
    dropped: Mapping[str, list[SeenPicture]]
    removed: Mapping[str, list[SeenPicture]]
    waiting: Mapping[str, int]


def survey(
    dataset: Dataset, ledger: Ledger, now: datetime, *, images: int, pictures: int, max_per_vod: int
) -> Survey:
    """Look at an open dataset. ``images``: most of a class to choose from; ``pictures``: most of a reason;
    ``max_per_vod``: targets that one VOD may give."""
    broadcasters = _by_label(dataset, "broadcaster_id")
    sources = _by_label(dataset, "label_source")
    found = dataset.samples(images)
    contents = tuple(
        Contents(
            broadcasters.get(entry.label_id, Counter()),
            sources.get(entry.label_id, Counter()),
            tuple(found.get(entry.label_id, ())),
        )
        for entry in dataset.classes
    )
    return Survey(
        overview=overview(dataset, ledger, max_per_vod=max_per_vod),
        contents=contents,
        versions=_in_all(dataset, "harvester_version"),
        decoders=_in_all(dataset, "decoder"),
        dropped=ledger.dropped_pictures(pictures),
        removed=ledger.removed_pictures(pictures),
        waiting=ledger.tried_again(now),
    )


def _by_label(dataset: Dataset, column: str) -> dict[int, Counter[str]]:
    found: dict[int, Counter[str]] = {}
    for (label_id, value), count in dataset.tally("label_id", column).items():
        found.setdefault(label_id, Counter())[value] += count
    return found


def _in_all(dataset: Dataset, column: str) -> Counter[str]:
    return Counter({value: count for (value,), count in dataset.tally(column).items()})
