"""Checks of a dataset against itself: images, metadata and ledger agree, and the verdicts can be repeated."""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harvester.config import Filter
from harvester.model import SPLITS
from harvester.store.barrier import leaving
from harvester.store.dataset import Dataset
from harvester.store.ledger import Ledger
from harvester.store.retention import GONE_FOR, kept_sources
from harvester.store.sightings import RETENTION, Barrier
from harvester.vision.caps import Caps, Origin
from harvester.vision.filters import REASONS, judge
from harvester.vision.fold import UNSEEN, CategoryFold, Rules
from harvester.vision.hamming import HashIndex
from harvester.vision.measure import unpack

#: Hashes compared at a time, with how many others: the 2 MB of their differences stay in a core's cache, which
#: makes it 0.65 ns a pair; a million, of one category, are 1.7 x 10^11 pairs.
SLAB_ROWS, SLAB_COLUMNS = 64, 4096

#: Filters that runs of earlier versions did not have, and so do not record: off.
BEFORE: Mapping[str, Any] = MappingProxyType({"lit_share": 1.0, "detail_share": 0.0, "blur": 1.0, "idle": "off"})


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be. Kinds: missing, altered, orphan, unlisted, unknown, misplaced,
    forgotten, replay, order, leak, gone."""

    kind: str
    what: str


def rules_record(rules: Rules) -> dict[str, Any]:
    """The rules of a run as the ledger keeps them."""
    return {
        "filter": rules.filter.model_dump(),
        "radius": rules.radius,
        "max_per_broadcaster": rules.caps.per_broadcaster,
        "max_per_day": rules.caps.per_day,
        "even_share": rules.caps.even_share,
        "min_broadcasters": rules.caps.min_broadcasters,
        "apart": rules.apart,
        "placed": rules.placed,
        "unlike": rules.unlike,
        "telling": rules.telling,
    }


def check_images(dataset: Dataset, ledger: Ledger) -> Iterator[Finding]:
    """Every row against its file, every file against the rows, both against the ledger."""
    listed: set[str] = set()
    kept = ledger.kept_files()
    for frame in dataset.frames():
        path = dataset.image_path(frame)
        name = f"{frame.split}/{frame.file_name}"
        listed.add(name)
        if not path.is_file():
            yield Finding("missing", f"{name} is listed but not there")
        elif hashlib.sha256(path.read_bytes()).hexdigest() != frame.sha256:
            yield Finding("altered", f"{name} is not the file that was written")
        if frame.file_name not in kept:
            yield Finding("unknown", f"{name} is not in the ledger")
        elif ledger.sha256_of(frame.file_name) != frame.sha256:
            yield Finding("altered", f"{name} has another sha256 in the metadata than in the ledger")
        if dataset.tombstones.covers(frame):
            yield Finding("forgotten", f"{name} was forgotten and is back")
        kept.discard(frame.file_name)
        if dataset.classes.split_of(frame.broadcaster_id) != frame.split:
            yield Finding("misplaced", f"{name} does not belong to split {frame.split}")
    for file_name in sorted(kept):
        yield Finding("unlisted", f"{file_name} is kept by the ledger but in no metadata")
    yield from _orphans(dataset, listed)


def _orphans(dataset: Dataset, listed: set[str]) -> Iterator[Finding]:
    for split in SPLITS:
        for folder in sorted(dataset.paths.split(split).glob("*/")):
            for file in sorted(path.name for path in folder.iterdir()):
                if (name := f"{split}/{folder.name}/{file}") not in listed:
                    yield Finding("orphan", f"{name} is listed nowhere")


def check_gone(dataset: Dataset, ledger: Ledger) -> Iterator[Finding]:
    """Sources of kept frames that Twitch has left out at two looks, a day or more apart."""
    frames = kept_sources(dataset)
    for (kind, source_id), since in ledger.gone_sources(GONE_FOR).items():
        if count := frames.get((kind, source_id), 0):
            day = f"{since:%Y-%m-%d}"
            yield Finding("gone", f"{kind} {source_id}, of {count} images, is not public since {day} or before")


def check_order(ledger: Ledger) -> Iterator[Finding]:
    """Decisions of every pass must stand in rank order (invariant I2)."""
    last: dict[int, tuple[int, ...]] = {}
    for row in ledger.ranks():
        if not row["pass_id"]:
            continue
        rank = (row["round"], row["broadcaster_hash"], row["source_hash"], row["place"])
        if row["pass_id"] in last and rank <= last[row["pass_id"]]:
            yield Finding("order", f"decision {row['seq']} stands before one of smaller rank")
        last[row["pass_id"]] = rank


def replay(ledger: Ledger) -> Iterator[Finding]:
    """Fold the stored measurements again; every stored verdict must come out (invariant I3)."""
    rules = {run_id: _rules(record) for run_id, record in ledger.rules_of_runs().items()}
    folds: dict[str, CategoryFold] = {}
    forgotten = ledger.forgotten_through()
    barriers = deque(ledger.barriers())
    for row in ledger.decisions():
        while barriers and barriers[0][0].through < row["seq"]:
            yield from _left_again(ledger, *barriers.popleft(), rules, folds)
        fold = folds.get(row["category_id"])
        if fold is None:
            fold = folds[row["category_id"]] = _empty_fold()
        fold.rules = rules.get(row["run_id"], fold.rules)
        expected = None if row["seq"] <= forgotten and _rests_on_forgotten(fold, row) else _replayed(fold, row)
        stored = (row["verdict"], row["reason"], row["phash"])
        if expected is not None and expected != stored:
            yield Finding(
                "replay", f"decision {row['seq']} is stored as {stored}, its measurement says {expected}"
            )
    for barrier, run_id in barriers:
        yield from _left_again(ledger, barrier, run_id, rules, folds)


def _left_again(
    ledger: Ledger, barrier: Barrier, run_id: str, rules: Mapping[str, Rules], folds: Mapping[str, CategoryFold]
) -> Iterator[Finding]:
    """Let go again what left at a barrier; all sightings up to it must say the same."""
    stored = ledger.left_at(barrier.number)
    for seq, (category_id, origin, reason) in stored.items():
        folds[category_id].leave(seq, origin, reason)
    if barrier.cause == RETENTION or barrier.through <= ledger.forgotten_through():
        return  # no sightings decided that, or not all of them are left
    expected = leaving(ledger, barrier, rules[run_id])
    for seq, (_, _, reason) in stored.items():
        if expected.get(seq) != reason:
            yield Finding("replay", f"decision {seq} left as {reason}, the sightings say {expected.get(seq)}")
    for seq in sorted(expected.keys() - stored.keys()):
        yield Finding("replay", f"decision {seq} has not left, the sightings say {expected[seq]}")


def rejudged(ledger: Ledger, limits: Filter) -> Counter[tuple[str, str]]:
    """What other thresholds say of all stored measurements, where they differ: how many pictures, by the filters'
    reason that was given and the one that these would give ("" = none). Nothing is changed."""
    changed: Counter[tuple[str, str]] = Counter()
    for row in ledger.decisions():
        if row["measurement"] is not None:
            given = row["reason"] if row["reason"] in REASONS else ""
            now = judge(unpack(row["measurement"]), limits).reason
            changed[given, now] += given != now
    return +changed


def smallest_radius(ledger: Ledger) -> int:
    """The smallest radius that any run of the dataset decided by (bits): within it no two pictures may be left."""
    return min((record["radius"] for record in ledger.rules_of_runs().values()), default=0)


def near_duplicates_across_splits(dataset: Dataset, radius: int) -> Iterator[Finding]:
    """Pictures within ``radius`` of one of their category in an earlier split (of :data:`SPLITS`), each with the
    first such one: by brute force over the stored hashes, every pair compared."""
    rows = {split: dataset.split(split) for split in SPLITS}
    hashes = {split: rows[split].hashes() for split in SPLITS}
    for earlier, later in combinations(SPLITS, 2):
        for category_id in sorted(hashes[earlier].keys() & hashes[later].keys()):
            these, numbers = hashes[later][category_id]
            others, other_numbers = hashes[earlier][category_id]
            first = first_within(radius, these, others)
            alike = np.flatnonzero(first >= 0)
            names = rows[later].file_names(numbers[alike])
            other_names = rows[earlier].file_names(other_numbers[first[alike]])
            for name, other in zip(names, other_names, strict=True):
                yield Finding("leak", f"{name} ({later}) is the same picture as {other} ({earlier})")


def first_within(radius: int, these: NDArray[np.uint64], others: NDArray[np.uint64]) -> NDArray[np.int64]:
    """For each of ``these`` the place of the first of ``others`` at most ``radius`` bits away; -1: there is none.

    Memory for some slabs at a time, whatever their numbers; on all cores, for NumPy lets go of the interpreter.
    """
    slabs = [these[start : start + SLAB_ROWS] for start in range(0, len(these), SLAB_ROWS)]
    with ThreadPoolExecutor() as pool:
        return np.concatenate(list(pool.map(lambda slab: _first_within(radius, slab, others), slabs)))


def _first_within(radius: int, these: NDArray[np.uint64], others: NDArray[np.uint64]) -> NDArray[np.int64]:
    found = np.full(len(these), -1)
    for start in range(0, len(others), SLAB_COLUMNS):
        distances = np.bitwise_count(these[:, None] ^ others[start : start + SLAB_COLUMNS])
        if distances.min() <= radius:
            near = distances <= radius
            fresh = near.any(axis=1) & (found < 0)
            found[fresh] = start + near[fresh].argmax(axis=1)
    return found


def _rules(record: dict[str, Any]) -> Rules:
    """The rules that :func:`rules_record` wrote; earlier versions knew fewer filters and caps."""
    kinds = ("max_per_broadcaster", "max_per_day", "even_share", "min_broadcasters")
    caps = Caps(*(record.get(kind, 0) for kind in kinds))
    later = {name: record.get(name, False) for name in ("apart", "placed", "unlike", "telling")}
    return Rules(Filter(**(BEFORE | record["filter"])), record["radius"], caps, **later)


def _empty_fold() -> CategoryFold:
    nothing = HashIndex.from_arrays(np.zeros(0, np.uint64), np.zeros(0, np.int64))
    return CategoryFold(Rules(Filter(), 0), nothing)


def _rests_on_forgotten(fold: CategoryFold, row: Mapping[str, Any]) -> bool:
    """True for a drop whose grounds were forgotten since: the picture it repeats, or a share that is free."""
    if row["verdict"] != "dropped" or row["reason"] in UNSEEN:
        return False
    repeats = row["phash"] is not None and row["near_key"] is None
    capped = row["measurement"] is None
    return repeats or (capped and fold.capped(Origin(row["broadcaster_id"], row["day"])) != row["reason"])


def _replayed(fold: CategoryFold, row: dict[str, Any]) -> tuple[str, str, int | None] | None:
    """Verdict, reason and hash that the fold gives now; None for what no measurement decided."""
    origin = Origin(row["broadcaster_id"], row["day"])
    if row["verdict"] == "kept" and row["measurement"] is None:  # adopted from the metadata
        fold.anchors.add(row["phash"], row["seq"])
        fold.tally.count(origin)
        return None
    if row["verdict"] == "failed":
        return None
    if row["reason"] in UNSEEN:  # no picture decided that
        return None
    if row["measurement"] is None:
        return ("dropped", fold.capped(origin) or "not capped", None)
    decided = fold.decide(row["seq"], origin, unpack(row["measurement"]))
    return ("kept" if decided.verdict.kept else "dropped", decided.verdict.reason, decided.phash)
