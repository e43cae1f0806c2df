"""The barrier: what all sightings together show to be no picture of its game (invariants §3).

A function of committed rows alone, so that a run, its rerun after a kill and ``verify --replay`` find the same.
Broadcasters of whom nothing new was seen are not looked at again: what recurs at others does not depend on them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from harvester.store.ledger import Ledger
from harvester.store.removals import Barrier, Sighting
from harvester.vision.measure import thumbnail, unpack
from harvester.vision.recurring import (
    CONFLICT,
    RECURRING,
    Sightings,
    may_recur,
    pairs_of_labels,
    recurring,
    shown_elsewhere,
    yielding,
)


def leaving(ledger: Ledger, barrier: Barrier, radius: int) -> dict[int, str]:
    """Kept decisions (seq) whose images leave at the barrier, with their reasons; ``radius``: of near-duplicates.

    Memory: the thumbnails of one broadcaster (576 bytes a sighting), the hashes of a category and those of all
    kept frames.
    """
    labels = {category_id: ledger.label_of(category_id) for category_id in ledger.seen_categories()}
    left = ledger.left_before(barrier.number)
    found = dict.fromkeys(_conflicting(ledger, barrier, radius, labels, left), CONFLICT)
    for broadcaster_id in ledger.broadcasters_seen(barrier):
        cards = _cards(ledger, barrier, broadcaster_id, labels, left)
        found |= dict.fromkeys(cards, RECURRING)
    return found


def _cards(
    ledger: Ledger, barrier: Barrier, broadcaster_id: str, labels: dict[str, str], left: set[int]
) -> Iterator[int]:
    """Kept frames of a broadcaster that recur and are not the game's own."""
    seen = ledger.sightings_of(broadcaster_id, barrier.through)
    facts = _numbered([labels[s.category_id] for s in seen]), _numbered([s.source for s in seen])
    days = _numbered([s.day for s in seen])
    asked = np.array([n for n, s in enumerate(seen) if s.kept and s.seq not in left], np.int64)
    if not len(asked) or not may_recur(*facts, days):
        return
    sightings = Sightings(*facts, days, _thumbnails(ledger, seen))
    hashes = np.array([s.phash for s in seen], np.int64).view(np.uint64)
    others: dict[str, NDArray[np.uint64]] = {}
    for number, why, alike in recurring(sightings, asked):
        label = labels[seen[number].category_id]
        if why == "sources":
            if label not in others:
                same = [category_id for category_id, its in labels.items() if its == label]
                others[label] = ledger.hashes_elsewhere(same, broadcaster_id, barrier.through)
            if shown_elsewhere(hashes[alike], others[label]):
                continue
        yield seen[number].seq


def _thumbnails(ledger: Ledger, seen: Sequence[Sighting]) -> NDArray[np.uint8]:
    packed = ledger.measurements([s.seq for s in seen])
    return np.array([thumbnail(unpack(one)).ravel() for one in packed], np.uint8)


def _numbered(values: Sequence[str]) -> NDArray[np.int64]:
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(value, len(numbers)) for value in values], np.int64)


def _conflicting(
    ledger: Ledger, barrier: Barrier, radius: int, labels: dict[str, str], left: set[int]
) -> Iterator[int]:
    """Kept frames that stand under another label, too, and are not the surer ones."""
    numbers = {label: number for number, label in enumerate(sorted(set(labels.values())))}
    if len(numbers) < 2:
        return
    parts = []
    for category_id, label in labels.items():
        hashes, seqs = ledger.anchors(category_id)
        stays = (seqs <= barrier.through) & ~np.isin(seqs, np.array(sorted(left), np.int64))
        parts.append((hashes[stays], seqs[stays], np.full(int(stays.sum()), numbers[label])))
    hashes, seqs, owners = (np.concatenate(column) for column in zip(*parts, strict=True))
    for one, other in pairs_of_labels(hashes, owners, seqs > barrier.after, radius):
        pair = int(seqs[one]), int(seqs[other])
        goes = yielding(*map(ledger.confidence_of, pair))
        yield from (seq for seq, going in zip(pair, goes, strict=True) if going)
