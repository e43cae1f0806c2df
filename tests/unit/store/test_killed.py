"""Killed before any step on the disk, the dataset is valid at once, and the same after recovery and a repeat."""

from __future__ import annotations

import errno
import os
import re
import resource
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from harvester.errors import MachineError
from harvester.model import Category
from harvester.store.dataset import Dataset
from tests.unit.store.conftest import (
    CELESTE,
    HADES,
    DiskSteps,
    Killed,
    assert_valid,
    batch_of,
    images,
    listed,
    nothing,
)

THIRD = Category("1", "Third")

#: Into a dataset of Hades frames in train and test: a known class of a known split, a new class there, a new split
#: with two classes; Hades has got another name, so test is rewritten too.
WANTED = [(HADES, "train", 11), (CELESTE, "train", 12), (THIRD, "validation", 13), (HADES, "validation", 14)]


@dataclass
class Books:
    """What a ledger does here: it remembers which files were committed, all of a batch at one instant."""

    names: frozenset[str] = frozenset()

    def is_committed(self, name: str) -> bool:
        return name in self.names


@pytest.fixture
def before(root: Path) -> Path:
    """A dataset with two published frames."""
    dataset = Dataset.open(root)
    dataset.publish(batch_of(dataset, (HADES, "train", 1), (HADES, "test", 2)), nothing)
    return root


def publish(root: Path, books: Books, steps: DiskSteps) -> None:
    """Add WANTED; the commit is a step of its own, and may be the last thing a process does."""
    dataset = Dataset.open(root)
    batch = batch_of(dataset, *WANTED)
    dataset.classes.register(Category(HADES.id, "Hades Two"))

    def commit() -> None:
        steps.step("commit")
        books.names |= {frame.file_name for frame, _ in batch}

    dataset.publish(batch, commit)


def recover(root: Path, books: Books) -> None:
    Dataset.open(root).recover(lambda name: name in books.names)


def published(before: Path) -> Books:
    """The books of ``before``: what is listed there was committed."""
    return Books(frozenset(path.split("/", 2)[2] for path in listed(before)))


def rows(root: Path) -> dict[str, list[dict[str, object]]]:
    dataset = Dataset.open(root)
    return {split: dataset.rows(split).to_pylist() for split in ("train", "validation", "test")}


def assert_committed(root: Path, books: Books) -> None:
    """After recovery: the images on disk are the committed rows, no more and no less."""
    assert_valid(root)
    assert images(root) == listed(root)
    assert {path.split("/", 2)[2] for path in images(root)} == books.names
    staging = root / ".harvester/staging"
    assert not staging.exists() or not list(staging.iterdir())


def undisturbed(before: Path, tmp_path: Path, steps: DiskSteps) -> Path:
    """The result of publishing without a kill; its steps stay in ``steps``."""
    whole = tmp_path / "whole"
    shutil.copytree(before, whole)
    books = published(before)
    steps.run(lambda: publish(whole, books, steps))
    assert_committed(whole, books)
    return whole


def changes(steps: DiskSteps) -> list[int]:
    """Numbers of the steps, from 1, that change what a reader sees: a kill at a flush is one at the next of them."""
    return [number for number, step in enumerate(steps.steps, start=1) if step != "fsync"]


def copies(before: Path, tmp_path: Path, name: str) -> Path:
    root = tmp_path / name
    shutil.copytree(before, root)
    return root


def assert_same(root: Path, whole: Path) -> None:
    assert images(root) == images(whole)
    assert rows(root) == rows(whole)
    assert (root / "classes.json").read_bytes() == (whole / "classes.json").read_bytes()


def test_killed_at_any_step_of_publishing(before: Path, tmp_path: Path, disk_steps: DiskSteps) -> None:
    whole = undisturbed(before, tmp_path, disk_steps)
    assert sum("os.rename" in step for step in disk_steps.steps) >= 6
    assert "commit" in disk_steps.steps
    for k in changes(disk_steps):
        root, books = copies(before, tmp_path, f"killed-{k}"), published(before)
        with pytest.raises(Killed):
            disk_steps.run(lambda root=root, books=books: publish(root, books, disk_steps), k)  # type: ignore[misc]
        assert_valid(root)
        recover(root, books)
        assert_committed(root, books)
        if len(books.names) == 2:
            publish(root, books, disk_steps)
            assert_committed(root, books)
        assert_same(root, whole)


@pytest.mark.long
def test_killed_again_at_any_step_of_recovery(before: Path, tmp_path: Path, disk_steps: DiskSteps) -> None:
    whole = undisturbed(before, tmp_path, disk_steps)
    for k in changes(disk_steps):
        torn, books = copies(before, tmp_path, f"killed-{k}"), published(before)
        with pytest.raises(Killed):
            disk_steps.run(lambda torn=torn, books=books: publish(torn, books, disk_steps), k)  # type: ignore[misc]
        for root in kills(torn, tmp_path, disk_steps, lambda root, books=books: recover(root, books)):  # type: ignore[misc]
            recover(root, books)
            assert_committed(root, books)
            assert images(root) in (images(before), images(whole))


def kills(torn: Path, tmp_path: Path, steps: DiskSteps, work: Callable[[Path], object]) -> list[Path]:
    """Copies of ``torn``, one for each step of ``work``, killed there."""
    probe = copies(torn, tmp_path, "probe")
    steps.run(lambda: work(probe))
    shutil.rmtree(probe)
    shutil.rmtree(tmp_path / "again", ignore_errors=True)
    found = []
    for j in changes(steps):
        root = copies(torn, tmp_path, f"again/{j}")
        with pytest.raises(Killed):
            steps.run(lambda root=root: work(root), j)  # type: ignore[misc]
        assert_valid(root)
        found.append(root)
    return found


def test_killed_at_any_step_of_undoing_a_whole_batch(before: Path, tmp_path: Path, disk_steps: DiskSteps) -> None:
    """The longest recovery: everything is in place, only the commit is missing."""
    torn, books = copies(before, tmp_path, "torn"), published(before)
    undisturbed(before, tmp_path, disk_steps)
    at_commit = disk_steps.steps.index("commit") + 1
    with pytest.raises(Killed):
        disk_steps.run(lambda: publish(torn, books, disk_steps), at_commit)
    assert len(images(torn)) == 6
    for root in kills(torn, tmp_path, disk_steps, lambda root: recover(root, books)):
        recover(root, books)
        assert_committed(root, books)
        assert sorted(p.name for p in (root / "data").iterdir()) == ["test", "train"]


def test_recovery_frees_space_before_it_needs_some(before: Path, tmp_path: Path, disk_steps: DiskSteps) -> None:
    """After a full disk: staged files go before metadata is written again."""
    torn, books = copies(before, tmp_path, "torn"), published(before)
    undisturbed(before, tmp_path, disk_steps)
    validation_moves = next(
        n for n, s in enumerate(disk_steps.steps) if re.match("os.rename.*data/validation$", s)
    )
    with pytest.raises(Killed):
        disk_steps.run(lambda: publish(torn, books, disk_steps), validation_moves + 1)
    disk_steps.run(lambda: recover(torn, books))
    steps = disk_steps.steps
    staged = [
        n for n, s in enumerate(steps) if s.startswith("os.remove") and s.endswith(("13250.jpg", "14250.jpg"))
    ]
    written = [n for n, s in enumerate(steps) if s.startswith("open")]
    assert len(staged) == 2
    assert written
    assert max(staged) < min(written)
    assert_committed(torn, books)


def test_killed_at_any_step_of_a_removal(before: Path, tmp_path: Path, disk_steps: DiskSteps) -> None:
    dataset = Dataset.open(before)
    dataset.publish(batch_of(dataset, *WANTED), nothing)
    leaving = sorted(frame.file_name for frame in dataset.frames() if frame.offset_s > 2)[:-1]
    assert len(leaving) == 4  # all of test, one class of train, one of two classes of validation
    kept = {path for path in listed(before) if path.split("/", 2)[2] not in leaving}
    told: list[str] = []

    def remove(root: Path) -> None:
        def commit(what: str) -> None:
            disk_steps.step(what)
            told.append(what)

        opened = Dataset.open(root)
        opened.recover(lambda name: True)
        opened.remove(leaving, lambda: commit("leaving"), lambda: commit("left"))

    for root in kills(before, tmp_path, disk_steps, remove):
        remove(root)
        assert_valid(root)
        assert set(images(root)) == set(listed(root)) == kept
    assert told[-1] == "left"


def test_metadata_lists_no_image_before_it_is_on_the_medium(before: Path, disk_steps: DiskSteps) -> None:
    """A power cut loses what was not flushed: images come before their rows, rows before the commit."""
    books = published(before)
    disk_steps.run(lambda: publish(before, books, disk_steps))
    steps = disk_steps.steps
    last_image = max(n for n, step in enumerate(steps) if step.startswith("os.rename") and ".jpg" in step)
    rows_in = [n for n, s in enumerate(steps) if s.startswith("os.rename") and "data/train/metadata" in s]
    commit = steps.index("commit")
    assert "fsync" in steps[last_image : rows_in[0]]
    assert steps[rows_in[0] + 1] == "fsync"
    assert rows_in[0] < commit
    first_move = next(n for n, step in enumerate(steps) if step.startswith("os.rename") and "staging" in step)
    staged = [step for step in steps[:first_move] if step.startswith("open") and "staging" in step]
    assert len(staged) == len(WANTED) + 3 + 1  # images, metadata, intent
    begun = next(n for n, step in enumerate(steps) if step.startswith("open") and "staging" in step)
    assert steps[begun:first_move].count("fsync") >= len(staged)


@pytest.mark.long
def test_full_disk_at_any_step_leaves_a_valid_dataset(before: Path, tmp_path: Path, disk_steps: DiskSteps) -> None:
    whole = undisturbed(before, tmp_path, disk_steps)
    numbers = [n for n, step in enumerate(disk_steps.steps, start=1) if step != "commit"]
    disk_steps.error = lambda: OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    for k in numbers:
        root, books = copies(before, tmp_path, f"full-{k}"), published(before)
        with pytest.raises(MachineError) as caught:
            disk_steps.run(lambda root=root, books=books: publish(root, books, disk_steps), k)  # type: ignore[misc]
        assert caught.value.reason == "disk-full"
        assert_valid(root)
        recover(root, books)
        if len(books.names) == 2:
            publish(root, books, disk_steps)
        assert_same(root, whole)


def test_a_real_limit_on_file_size_is_a_full_disk(before: Path) -> None:
    dataset = Dataset.open(before)
    batch = batch_of(dataset, *WANTED)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(MachineError) as caught:
            dataset.publish(batch, nothing)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.reason == "disk-full"
    assert_valid(before)
    dataset.recover(lambda name: False)
    dataset.publish(batch, nothing)
    assert len(dataset) == 6
    assert images(before) == listed(before)
