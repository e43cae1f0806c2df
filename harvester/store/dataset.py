"""The dataset on disk: images and their metadata, published and withdrawn in batches that a kill cannot tear.

Publishing (invariants §1)::

    stage      .harvester/staging/<n>/data/... images and new metadata, flushed; then intent.json, flushed
    move       into data/: whole folders where there is none yet, else images first, then metadata (of a large
               split only the new rows, beside it: :mod:`harvester.store.metadata`)
    commit     the caller's one ledger transaction: from here on the batch is part of the dataset
    clean up   the staging folder

A kill before *commit* leaves an intent whose images the ledger does not know: :meth:`Dataset.recover` takes them
out again, metadata first. So every metadata row has its complete image at every instant, and after recovery the
images are those of committed rows. A folder appears and leaves with its images inside: none is ever empty.

Rows that stand beside the metadata are listed by :meth:`Dataset.complete`, at the end of a run, or else (after a
kill, or a stop in a hurry) by the recovery at the next start. They lie with the images, not with the ledger: who
deletes that loses none of them.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from harvester.errors import ForeignDataset
from harvester.model import SPLITS, Frame, SplitName
from harvester.store.card import CardFacts, CategoryCount
from harvester.store.classes import Classes, holds_dataset
from harvester.store.columns import NO_MARKS, Marks
from harvester.store.disk import (
    changing,
    delete_tree,
    replace_durably,
    sync_folder,
)
from harvester.store.layout import Layout, check_file_name, frame_file_name, is_file_name, shown
from harvester.store.metadata import Hurried, SplitRows, files_beside
from harvester.store.placing import place, withdraw_images, withdraw_split
from harvester.store.staging import Change, leftovers, read_intent, stage
from harvester.store.tombstones import Tombstones

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class RecoveryReport:
    """What :meth:`Dataset.recover` found of interrupted changes."""

    changes: int = 0  # unfinished batches and removals
    kept: int = 0  # frames of them that the ledger has committed
    withdrawn: tuple[str, ...] = ()  # file names that it has not, now gone


class Dataset:
    """A dataset directory, opened by one process (:class:`harvester.store.lock.DatasetLock`).

    ``classes`` gives labels and splits, ``tombstones`` what must stay out, ``paths`` where things lie.
    ``hurried``: asked whether there is no time left for writing all rows of a long split anew.
    """

    def __init__(self, paths: Layout, classes: Classes, tombstones: Tombstones) -> None:
        self.paths = paths
        self.classes = classes
        self.tombstones = tombstones
        self.hurried: Callable[[], bool] = lambda: False
        self._rows = _read_rows(paths)
        self._unfinished = bool(leftovers(paths))
        self._changes = 0

    @classmethod
    def open(cls, root: Path, *, create: bool = True) -> Self:
        """The dataset in ``root``, made if the directory is absent or empty and ``create`` is set.

        Raises :class:`ForeignDataset` if the directory is not ours, damaged or newer (without ``create`` also if
        absent), :class:`MachineError` if the disk is full or refuses. A run calls :meth:`recover` next.
        """
        paths = Layout(root)
        if holds_dataset(root):
            return cls(paths, Classes.load(paths), Tombstones.open(paths))
        if not create:
            raise ForeignDataset(f"{shown(root)} holds no dataset yet: make one with harvester run")
        with changing(root):
            paths.state.mkdir(parents=True, exist_ok=True)
            sync_folder(root)
        return cls(paths, Classes.create(paths), Tombstones.open(paths))

    def publish(self, batch: Sequence[tuple[Frame, bytes]], commit: Callable[[], None]) -> None:
        """Add frames with their JPEG files, then call ``commit``, the ledger's transaction that makes them count.

        Rows of renamed categories get their newest label too. Raises :class:`MachineError` if the disk is full or
        refuses (the dataset stays valid; :meth:`recover` must follow before the next change), ValueError for a
        frame that contradicts its file, class or split, or that is in the dataset already.
        """
        self._require_recovered()
        for frame, jpeg in batch:
            self._check(frame, jpeg)
        changes = self._changes_of(batch)
        with changing(self.paths.root):
            try:
                work = self._staged(batch, changes)
            except Hurried:
                changes = self._changes_of(batch, listing=False)
                work = self._staged(batch, changes)
            place(work / "data", self.paths.data)
            self._rows |= {
                split: change.rows if change.first else change.rows.written(self.paths.metadata(split))
                for split, change in changes.items()
            }
        commit()
        with changing(self.paths.root):
            self._tidy(split for split, change in changes.items() if not change.first)
            self._end(work)

    def complete(self, marks: Marks = NO_MARKS) -> bool:
        """List every row that stands beside its metadata; False if ``hurried`` left some to the next run.

        ``marks``: what rows show then. Files get the columns they lack. Raises :class:`MachineError` (then
        recover()).
        """
        self._require_recovered()
        with changing(self.paths.root):
            other = {split for split, rows in self._rows.items() if rows.is_stale(marks)}
            if stale := other.union(self._beside()):
                work = self._begin()
                with suppress(Hurried):
                    for split in sorted(stale):
                        self._rewrite(split, self._rows[split], work, marks)
                self._end(work)
            left = self._beside()
            self._tidy(split for split in SPLITS if split not in left)
        return not left

    def remove(
        self, file_names: Collection[str], commit_leaving: Callable[[], None], commit_left: Callable[[], None]
    ) -> None:
        """Take frames out: ``commit_leaving``, then metadata, then images, then ``commit_left``.

        After a kill in between the ledger still has them as leaving: the same call again finishes the work; names
        without row or image are no error.
        """
        self._require_recovered()
        names = {check_file_name(name) for name in file_names}
        commit_leaving()
        with changing(self.paths.root):
            work = self._begin()
            self._withdraw(dict.fromkeys(SPLITS, names), work)
            self._end(work)
        commit_left()

    def recover(self, is_committed: Callable[[str], bool]) -> RecoveryReport:
        """Finish or undo what an earlier process left half done; ``is_committed`` asks the ledger by file name.

        A kill in here changes nothing about what the next call does. Raises :class:`MachineError`.
        """
        found = leftovers(self.paths)
        if found:
            self._rows = _read_rows(self.paths)
        total = RecoveryReport(changes=len(found))
        for work in found:
            total = self._undo(work, is_committed, total)
        self._unfinished = False
        self.complete()
        return total

    def withdraw_unlisted(self) -> None:
        """Take out images without a row, which a killed batch leaves when its intent is deleted; after recover().

        For a dataset that has lost its ledger, where nothing else will. A split without metadata is left alone:
        somebody may restore the file. Raises :class:`MachineError`.
        """
        self._require_recovered()
        with changing(self.paths.root):
            unlisted = {split: self._unlisted(split) for split, rows in self._rows.items() if len(rows)}
            if any(unlisted.values()):
                work = self._begin()
                self._withdraw(unlisted, work)
                self._end(work)

    def rows(self, split: SplitName) -> pa.Table:
        """The metadata of a split as an Arrow table (no rows if the split has no image)."""
        return self._rows[split].table

    def split(self, name: SplitName) -> SplitRows:
        """The rows of a split as they are now."""
        return self._rows[name]

    def frames(self, unless: Callable[[Collection[str]], set[str]] | None = None) -> Iterator[Frame]:
        """Every row as a frame without pixels, split by split; none whose file is among those ``unless`` picks."""
        for split in SPLITS:
            yield from self._rows[split].frames(unless)

    def tally(self, *columns: str) -> Counter[tuple[Any, ...]]:
        """How many rows have each combination of values of ``columns``."""
        return sum((rows.tally(*columns) for rows in self._rows.values()), Counter())

    def samples(self, count: int) -> dict[int, list[Path]]:
        """``count`` images of each label, always the same ones, by label id; fewer where there are fewer."""
        found: dict[int, list[tuple[str, str, SplitName]]] = {}
        for split, rows in self._rows.items():
            for label_id, files in rows.samples(count).items():
                found.setdefault(label_id, []).extend((*file, split) for file in files)
        return {
            label_id: [self.paths.image(split, name) for _, name, split in sorted(found[label_id])[:count]]
            for label_id in sorted(found)
        }

    def image_path(self, frame: Frame) -> Path:
        """Where the JPEG file of ``frame`` lies."""
        return self.paths.image(frame.split, frame.file_name)

    def card_facts(self, version: str, rights_basis: str) -> CardFacts:
        """What the dataset card says: images by category, split and source type."""
        per_class = self.tally("label_id", "split")
        listed = [
            CategoryCount(entry, *(per_class[entry.label_id, split] for split in SPLITS)) for entry in self.classes
        ]
        sources = {kind: count for (kind,), count in self.tally("source_type").items()}
        shown = tuple(row for row in listed if row.total)
        return CardFacts(version, rights_basis, shown, dict(sorted(sources.items(), reverse=True)))

    def __len__(self) -> int:
        return sum(map(len, self._rows.values()))

    def _check(self, frame: Frame, jpeg: bytes) -> None:
        entry = self.classes[frame.label_id]
        name = frame_file_name(entry.slug, frame.source_type, frame.source_id, frame.offset_s)
        told = (frame.category_id, frame.file_name, frame.split, frame.sha256)
        split = self.classes.split_of(frame.broadcaster_id)
        meant = (entry.category_id or frame.category_id, name, split, hashlib.sha256(jpeg).hexdigest())
        if told != meant:
            raise ValueError(f"frame says {told}, its class, origin and file say {meant}")
        if self.image_path(frame).exists() and self._rows[frame.split].listed([frame.file_name]):
            raise ValueError(f"{frame.file_name} is in the dataset already")

    def _beside(self) -> list[SplitName]:
        """The splits of which rows stand beside the metadata."""
        return [split for split, rows in self._rows.items() if rows.in_file < len(rows)]

    def _changes_of(
        self, batch: Sequence[tuple[Frame, bytes]], *, listing: bool = True
    ) -> dict[SplitName, Change]:
        """What ``batch`` or a renamed category changes of each split's rows; not ``listing``: what can stand
        beside the metadata does, even if it is due."""
        names = {entry.label_id: entry.name for entry in self.classes}
        changed = {}
        for split, rows in self._rows.items():
            frames = [frame for frame, _ in batch if frame.split == split]
            fresh = rows.relabelled(names) if rows.shows_other(names) else rows
            fresh = fresh.added(frames, names) if frames else fresh
            if fresh.is_due and (listing or not fresh.in_file):
                changed[split] = Change(fresh, 0)
            elif fresh is not rows:
                changed[split] = Change(fresh, len(rows))
        return changed

    def _unlisted(self, split: SplitName) -> set[str]:
        folder = self.paths.split(split)
        found = {path.relative_to(folder).as_posix() for path in folder.glob("*/*.jpg")}
        ours = {name for name in found if is_file_name(name)}
        return ours - self._rows[split].listed(ours)

    def _require_recovered(self) -> None:
        if self._unfinished:
            raise RuntimeError("an interrupted change is left: call recover() first")

    def _staged(self, batch: Sequence[tuple[Frame, bytes]], changes: Mapping[SplitName, Change]) -> Path:
        work = self._begin()
        try:
            stage(work, batch, changes, self.hurried)
        except Hurried:
            self._end(work)
            raise
        return work

    def _begin(self) -> Path:
        self._unfinished = True
        self._changes += 1
        work = self.paths.staging / f"{self._changes:06d}"
        work.mkdir(parents=True)
        return work

    def _end(self, work: Path) -> None:
        delete_tree(work)  # a part of it that a kill leaves is recovered again, to no effect
        self._unfinished = False

    def _undo(self, work: Path, is_committed: Callable[[str], bool], total: RecoveryReport) -> RecoveryReport:
        meant = read_intent(work)
        undone = {split: {n for n in names if not is_committed(n)} for split, names in meant.items()}
        with changing(self.paths.root):
            delete_tree(work / "data")  # frees the space that the new metadata may need
            self._withdraw(undone, work)
            self._end(work)
        count = sum(map(len, meant.values()))
        withdrawn = tuple(sorted(name for names in undone.values() for name in names))
        return RecoveryReport(total.changes, total.kept + count - len(withdrawn), total.withdrawn + withdrawn)

    def _withdraw(self, leaving: Mapping[SplitName, set[str]], work: Path) -> None:
        """Take files out of the dataset: metadata of every split first, then images, then the emptied folders."""
        for split, names in leaving.items():
            self._unlist(split, names, work)
        for split, names in leaving.items():
            withdraw_images(self.paths.split(split), names, work / f"left-{split}")

    def _unlist(self, split: SplitName, names: set[str], work: Path) -> None:
        if not self._rows[split].listed(names):
            return
        left = self._rows[split].without(names)
        if len(left):
            self._rewrite(split, left, work)
        else:
            beside = {file.name for file in files_beside(self.paths.metadata(split))}
            withdraw_split(self.paths.split(split), names | beside, work / f"split-{split}")
            self._tidy([split])
            self._rows[split] = left

    def _rewrite(self, split: SplitName, rows: SplitRows, work: Path, marks: Marks = NO_MARKS) -> None:
        """Make ``rows`` the split's, all of them in its metadata."""
        path = self.paths.metadata(split)
        replace_durably(path, rows.encoded(hurried=self.hurried, marks=marks), work)
        self._rows[split] = rows.written(path)
        self._tidy([split])

    def _tidy(self, splits: Iterable[SplitName]) -> None:
        """Delete files beside the metadata of which it lists every row, or which hold only rows that have left."""
        for split in splits:
            files = files_beside(self.paths.metadata(split))
            for file in files:
                file.unlink()
            if files:
                sync_folder(self.paths.split(split))


def _read_rows(paths: Layout) -> dict[SplitName, SplitRows]:
    return {split: SplitRows.read(paths.metadata(split)) for split in SPLITS}
