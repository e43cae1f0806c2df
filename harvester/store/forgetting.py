"""Forgetting: what a tombstone covers goes, from the images to the last byte of the ledger, and stays away.

The tombstone is set first, and is all that a kill leaves to go by: whoever opens the dataset next carries out what
is not noted as done (:func:`carry_out`). Every step can be repeated::

    tombstone   durable in tombstones.json
    dataset     metadata without the rows, then the images (Dataset.remove)
    derived     near-duplicate indexes, contact sheet, copies of the ledger, card: made anew when they are needed
    classes     of a category the names and the slug; its label id stays
    ledger      decisions, sources, plans, measurements, mentions: one transaction a tombstone; then the file is
                written anew, for deleted rows leave their bytes behind
    overlays    rows of broadcasters of whom something was forgotten show none, until they are looked at again
    done        the ledger notes the tombstone as carried out

A dataset that has lost its ledger, or got an older one back, has its tombstones carried out once more.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, fields
from datetime import datetime

from harvester.model import SPLITS
from harvester.store.columns import Marks
from harvester.store.dataset import Dataset
from harvester.store.disk import changing, delete_tree, sync_folder
from harvester.store.forgettings import Erased
from harvester.store.layout import Layout, is_file_name
from harvester.store.ledger import Ledger
from harvester.store.tombstones import Tombstone

_ORIGIN = re.compile(r"(?P<slug>[^/]+)/(?P<kind>vod|clip)-(?P<id>.+)-[0-9]+\.jpg")


@dataclass(frozen=True, slots=True)
class Covered:
    """What of a dataset some tombstones cover. ``images``: by split; ``erased``: what the ledger knows of it."""

    images: Counter[str]
    erased: Erased


def covered(dataset: Dataset, ledger: Ledger, stones: Collection[Tombstone]) -> Covered:
    """What :func:`carry_out` would take away; changes nothing."""
    names = _files(dataset, ledger, stones)
    images: Counter[str] = Counter({split: sum(_has(dataset, split, name) for name in names) for split in SPLITS})
    return Covered(+images, sum((ledger.count_covered(stone) for stone in stones), Erased()))


def pending(dataset: Dataset, ledger: Ledger) -> list[Tombstone]:
    """The tombstones that are not carried out yet."""
    return [stone for stone in dataset.tombstones if not ledger.has_forgotten(stone)]


def carry_out(dataset: Dataset, ledger: Ledger, now: datetime) -> bool:
    """Take away what pending tombstones cover; True if there were any. Only for the holder of the dataset's lock.

    Raises MachineError; then, as after a kill, the next call goes on with it.
    """
    stones = pending(dataset, ledger)
    if not stones:
        return False
    names = _files(dataset, ledger, stones)
    dataset.remove(names, _nothing, _nothing)
    drop_derived(dataset.paths)
    for stone in stones:
        if stone.is_category and stone.category_id is not None:
            dataset.classes.forget(stone.category_id)
    for stone in stones:
        ledger.erase(stone)
    ledger.cleanse()
    dataset.complete(Marks(ledger.overlays()))
    ledger.commit_forgotten(stones, now)
    return True


def drop_derived(paths: Layout) -> None:
    """Delete what was made of images and rows, and can be made again: all of the state folder but ledger and lock.

    Raises MachineError.
    """
    stay = {paths.lock, paths.lock_holder, paths.staging, paths.ledger}
    stay |= {paths.ledger.with_name(f"{paths.ledger.name}{end}") for end in ("-wal", "-shm")}
    with changing(paths.root):
        for entry in sorted(paths.state.iterdir()):
            if entry not in stay:
                delete_tree(entry) if entry.is_dir() else entry.unlink()
        paths.card.unlink(missing_ok=True)
        sync_folder(paths.state)
        sync_folder(paths.root)


def _files(dataset: Dataset, ledger: Ledger, stones: Collection[Tombstone]) -> set[str]:
    """Names of all images that the tombstones cover: listed ones, and those that only their names tell of."""
    names = {name for stone in stones for name in _listed(dataset, stone)}
    return names | set(_named(dataset, ledger, stones))


def _listed(dataset: Dataset, stone: Tombstone) -> Iterator[str]:
    values = {
        field.name: [value] for field, value in zip(fields(stone), stone.key, strict=True) if value is not None
    }
    for split in SPLITS:
        yield from dataset.split(split).files_of(values)


def _named(dataset: Dataset, ledger: Ledger, stones: Collection[Tombstone]) -> Iterator[str]:
    """Images that lie there under the name of a source that is covered, listed or not."""
    sources = {key for stone in stones for key in _sources(dataset, ledger, stone)}
    for split in SPLITS:
        folder = dataset.paths.split(split)
        for path in folder.glob("*/*.jpg"):
            name = path.relative_to(folder).as_posix()
            told = _ORIGIN.fullmatch(name)
            if is_file_name(name) and told and not sources.isdisjoint(_keys(*told.group("slug", "kind", "id"))):
                yield name


def _keys(slug: str, kind: str, source_id: str) -> tuple[tuple[str, str, str], ...]:
    """The ways in which a file may be meant: its class, its source in that class, its source in any."""
    return (slug, "", ""), (slug, kind, source_id), ("", kind, source_id)


def _sources(dataset: Dataset, ledger: Ledger, stone: Tombstone) -> Iterator[tuple[str, str, str]]:
    """What a tombstone covers, as some of :func:`_keys`."""
    entry = None if stone.category_id is None else dataset.classes.find(stone.category_id)
    if stone.is_category:
        if entry is not None:
            yield entry.slug, "", ""
        return
    if stone.category_id is not None and entry is None:
        return
    slug = "" if entry is None else entry.slug
    if stone.source_type is not None and stone.source_id is not None:
        yield slug, stone.source_type, stone.source_id
    for _, kind, source_id in ledger.sources_covered(stone):
        yield slug, kind, source_id


def _has(dataset: Dataset, split: str, name: str) -> bool:
    return (dataset.paths.data / split / name).exists()


def _nothing() -> None:
    """The tombstone tells all that a commit could."""
