"""Rows beside the metadata of a large split: no reader minds them, none is lost, and they cost little."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harvester.model import Category
from harvester.store import metadata
from harvester.store.dataset import Dataset
from harvester.store.metadata import BESIDE_SHARE, SplitRows, name_beside
from tests.unit.store.conftest import (
    CELESTE,
    HADES,
    DiskSteps,
    Killed,
    assert_valid,
    batch_of,
    frame_of,
    images,
    listed,
    nothing,
)

#: What comes when two rows stand beside: to them, in a new class, in a split that was not there.
MORE = [(HADES, "train", 11), (CELESTE, "train", 12), (CELESTE, "validation", 13)]


@pytest.fixture
def sparing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The metadata of a split is not written again, however many rows come to stand beside it."""
    monkeypatch.setattr(metadata, "BESIDE_SHARE", 1000)


@pytest.fixture
def large(root: Path, sparing: None) -> Path:
    """A dataset with two frames listed, and two beside the metadata of train."""
    dataset = Dataset.open(root)
    dataset.publish(batch_of(dataset, (HADES, "train", 1), (HADES, "test", 2)), nothing)
    for seed in (3, 4):
        dataset.publish(batch_of(dataset, (HADES, "train", seed)), nothing)
    return root


def beside(root: Path) -> list[str]:
    return sorted(path.name for path in root.glob("data/*/.metadata-*"))


def seeds(dataset: Dataset) -> list[int]:
    return [int(frame.offset_s) for frame in dataset.frames()]


def test_rows_stand_beside_until_they_are_listed(large: Path) -> None:
    assert beside(large) == [name_beside(1), name_beside(2)]
    assert len(listed(large)) == 2
    assert len(images(large)) == 4
    opened = Dataset.open(large)
    assert (len(opened), seeds(opened)) == (4, [1, 3, 4, 2])
    opened.complete()
    assert not beside(large)
    assert listed(large) == images(large)
    assert seeds(Dataset.open(large)) == [1, 3, 4, 2]
    before = opened.paths.metadata("train").stat().st_ino
    opened.complete()
    assert opened.paths.metadata("train").stat().st_ino == before


def test_what_is_written_is_in_proportion_to_the_rows(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written, encoded = [], SplitRows.encoded

    def counted(rows: SplitRows, first: int = 0, **more: Any) -> memoryview:
        written.append(len(rows) - first)
        return encoded(rows, first, **more)

    monkeypatch.setattr(SplitRows, "encoded", counted)
    dataset, share = Dataset.open(root), 0.5
    monkeypatch.setattr(metadata, "BESIDE_SHARE", share)
    for seed in range(100):
        dataset.publish([frame_of(dataset, HADES, "train", seed)], nothing)
        assert len(dataset) - len(listed(root)) <= share * len(listed(root))
    dataset.complete()
    assert sum(written) <= (2 + 1 / share) * 100 + 100
    assert seeds(Dataset.open(root)) == list(range(100))


def test_small_datasets_are_listed_with_each_batch() -> None:
    assert 64 > BESIDE_SHARE * 1000


@pytest.mark.parametrize("data_dir", [True, False])
def test_the_datasets_library_sees_what_is_listed(large: Path, tmp_path: Path, data_dir: bool) -> None:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import datasets

    datasets.disable_progress_bars()
    arguments = ("imagefolder", None, str(large)) if data_dir else (str(large), None, None)
    loaded = datasets.load_dataset(*arguments, cache_dir=str(tmp_path / "cache"))
    assert {split: len(loaded[split]) for split in loaded} == {"train": 1, "test": 1}
    assert [int(row["offset_s"]) for split in loaded for row in loaded[split]] == [1, 2]
    assert all(row["image"].size == (16, 8) for split in loaded for row in loaded[split])


def test_a_reader_meets_rows_once_while_they_are_taken_in(large: Path) -> None:
    """Between the new metadata and the end of the files beside it both are there."""
    kept = {path: path.read_bytes() for path in large.glob("data/train/.metadata-*")}
    Dataset.open(large).complete()
    for path, content in kept.items():
        path.write_bytes(content)
    opened = Dataset.open(large)
    assert seeds(opened) == [1, 3, 4, 2]
    opened.publish(batch_of(opened, (HADES, "train", 5)), nothing)
    opened.complete()
    assert not beside(large)
    assert seeds(Dataset.open(large)) == [1, 3, 4, 5, 2]


def test_a_renamed_category_is_renamed_in_every_row(large: Path) -> None:
    dataset = Dataset.open(large)
    dataset.classes.register(Category(HADES.id, "Hades Two"))
    dataset.publish(batch_of(dataset, (CELESTE, "train", 5)), nothing)
    assert not beside(large)
    assert listed(large) == images(large)
    assert {frame.label for frame in Dataset.open(large).frames()} == {"Hades Two", "Celeste"}


@pytest.fixture
def hurried(large: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same dataset, of which many row groups are to be listed now, by somebody who has no time for that."""
    monkeypatch.setattr(metadata, "ROW_GROUP_ROWS", 1)
    monkeypatch.setattr(metadata, "BESIDE_SHARE", 0)
    return large


def opened_in_a_hurry(root: Path) -> Dataset:
    dataset = Dataset.open(root)
    dataset.hurried = lambda: True
    return dataset


def test_who_has_no_time_leaves_the_listing_to_the_next_run(hurried: Path) -> None:
    dataset, before = opened_in_a_hurry(hurried), listed(hurried)
    assert not dataset.complete()
    assert (listed(hurried), len(images(hurried)), beside(hurried)) == (
        before,
        4,
        [name_beside(1), name_beside(2)],
    )
    dataset.publish(batch_of(dataset, (HADES, "train", 5), (CELESTE, "validation", 6)), nothing)
    assert_valid(hurried)
    assert beside(hurried) == [name_beside(1), name_beside(2), name_beside(3)]
    assert len(listed(hurried)) == 3  # a split that was not there comes with its metadata
    assert not dataset.complete()
    assert not list(dataset.paths.staging.iterdir())
    Dataset.open(hurried).recover(lambda name: True)
    assert not beside(hurried)
    assert listed(hurried) == images(hurried)
    assert seeds(Dataset.open(hurried)) == [1, 3, 4, 5, 6, 2]


def test_one_row_group_is_listed_by_who_has_no_time_either(large: Path) -> None:
    assert opened_in_a_hurry(large).complete()
    assert listed(large) == images(large)


def test_what_cannot_stand_beside_is_written_by_who_has_no_time_either(hurried: Path) -> None:
    dataset = opened_in_a_hurry(hurried)
    dataset.classes.register(Category(HADES.id, "Hades Two"))
    dataset.publish(batch_of(dataset, (CELESTE, "test", 5)), nothing)
    assert {frame.label for frame in Dataset.open(hurried).frames()} == {"Hades Two", "Celeste"}
    dataset.remove([frame.file_name for frame in dataset.frames() if int(frame.offset_s) == 3], nothing, nothing)
    assert_valid(hurried)
    assert sorted(seeds(Dataset.open(hurried))) == [1, 2, 4, 5]


def test_one_split_waits_while_another_is_written(hurried: Path) -> None:
    dataset = opened_in_a_hurry(hurried)
    dataset.publish(batch_of(dataset, (CELESTE, "validation", 5)), nothing)
    dataset.classes.register(Category(CELESTE.id, "Celeste 2"))
    dataset.publish(batch_of(dataset, (HADES, "train", 6)), nothing)
    assert {frame.label for frame in Dataset.open(hurried).frames()} == {"Hades II", "Celeste 2"}
    assert beside(hurried) == [name_beside(1), name_beside(2), name_beside(3)]


@pytest.mark.parametrize("leaving", [(3,), (1, 4), (1, 3, 4), (1, 2, 3, 4)])
def test_rows_beside_are_removed_like_others(large: Path, leaving: tuple[int, ...]) -> None:
    dataset = Dataset.open(large)
    names = [frame.file_name for frame in dataset.frames() if int(frame.offset_s) in leaving]
    dataset.remove(names, nothing, nothing)
    assert_valid(large)
    assert not beside(large)
    assert listed(large) == images(large)
    assert sorted(seeds(Dataset.open(large))) == sorted({1, 2, 3, 4} - set(leaving))


def test_files_of_somebody_else_survive_the_end_of_a_split_with_rows_beside(large: Path) -> None:
    (large / "data/train/notes.txt").write_text("mine")
    dataset = Dataset.open(large)
    dataset.remove([frame.file_name for frame in dataset.frames()], nothing, nothing)
    assert [path.name for path in (large / "data").rglob("*") if path.is_file()] == ["notes.txt"]
    assert seeds(Dataset.open(large)) == []


def test_rows_come_beside_when_their_images_are_on_the_medium(large: Path, disk_steps: DiskSteps) -> None:
    dataset = Dataset.open(large)
    batch = batch_of(dataset, (HADES, "train", 5))
    disk_steps.run(lambda: dataset.publish(batch, lambda: disk_steps.step("commit")))
    moved = [number for number, step in enumerate(disk_steps.steps) if step.startswith("os.rename")]
    image, rows = (disk_steps.steps[number] for number in moved)
    assert image.endswith("5250.jpg")
    assert ".metadata-" in rows
    assert "fsync" in disk_steps.steps[moved[0] : moved[1]]
    assert "fsync" in disk_steps.steps[moved[1] : disk_steps.steps.index("commit")]


def test_recovery_lists_what_a_killed_run_left_beside(large: Path) -> None:
    report = Dataset.open(large).recover(lambda name: True)
    assert report.changes == 0
    assert not beside(large)
    assert listed(large) == images(large)


def _copy(large: Path, folder: Path) -> Path:
    shutil.copytree(large, folder)
    return folder


def _killed(large: Path, folder: Path, steps: DiskSteps, work: Callable[[Path], object]) -> Iterator[Path]:
    """A copy on which all ``work`` is done, then copies of ``large`` that were just killed at another step of it."""
    whole = _copy(large, folder / "whole")
    steps.run(lambda: work(whole))
    changing = [number for number, step in enumerate(steps.steps, start=1) if step != "fsync"]
    for number in changing:
        root = _copy(large, folder / str(number))
        with pytest.raises(Killed):
            steps.run(lambda root=root: work(root), number)  # type: ignore[misc]
        yield root


def _names(root: Path) -> set[str]:
    return {frame.file_name for frame in Dataset.open(root).frames()}


@pytest.mark.parametrize(("listing", "in_a_hurry"), [(False, False), (True, False), (True, True)])
def test_killed_at_any_step_of_publishing_beside(
    large: Path,
    tmp_path: Path,
    disk_steps: DiskSteps,
    monkeypatch: pytest.MonkeyPatch,
    listing: bool,
    in_a_hurry: bool,
) -> None:
    if in_a_hurry:
        monkeypatch.setattr(metadata, "ROW_GROUP_ROWS", 1)
        monkeypatch.setattr(metadata, "BESIDE_SHARE", 0)
    committed: set[str] = set()

    def publish(root: Path) -> None:
        committed.clear()
        dataset = opened_in_a_hurry(root) if in_a_hurry else Dataset.open(root)
        batch = batch_of(dataset, *MORE)

        def commit() -> None:
            disk_steps.step("commit")
            committed.update(frame.file_name for frame, _ in batch)

        dataset.publish(batch, commit)
        if listing:
            dataset.complete()

    known = _names(large)
    for root in _killed(large, tmp_path / "killed", disk_steps, publish):
        assert_valid(root)
        survivors = known | committed
        Dataset.open(root).recover(survivors.__contains__)
        assert_valid(root)
        assert not beside(root)
        assert listed(root) == images(root)
        assert _names(root) == survivors
        if not committed:
            publish(root)
        assert _names(root) == known | committed
        assert len(committed) == len(MORE)


def test_killed_at_any_step_of_undoing_and_listing(large: Path, tmp_path: Path, disk_steps: DiskSteps) -> None:
    """A batch that was never committed leaves again, also from beside; what was, is listed."""
    known = _names(large)

    def never() -> None:
        raise Killed

    dataset = Dataset.open(large)
    with pytest.raises(Killed):
        dataset.publish(batch_of(dataset, *MORE), never)
    assert len(beside(large)) == 3

    def recover(root: Path) -> None:
        Dataset.open(root).recover(known.__contains__)

    for root in _killed(large, tmp_path / "killed", disk_steps, recover):
        assert_valid(root)
        recover(root)
        assert_valid(root)
        assert not beside(root)
        assert listed(root) == images(root)
        assert _names(root) == known
