"""The dataset as readers and later runs find it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from harvester.errors import ForeignDataset, MachineError
from harvester.model import SPLITS, Category
from harvester.store.dataset import Dataset, RecoveryReport
from tests.unit.store.conftest import (
    BROADCASTERS,
    CELESTE,
    EMPTY_NAME,
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


def test_published_frames_come_back_as_they_were(root: Path) -> None:
    dataset = Dataset.open(root)
    batch = batch_of(dataset, (HADES, "train", 1), (CELESTE, "train", 2), (HADES, "test", 3))
    dataset.publish(batch, nothing)

    again = Dataset.open(root)
    for opened in (dataset, again):
        assert list(opened.frames()) != []
        assert [_fields(f) for f in opened.frames()] == [_fields(f) for f, _ in batch]
    for frame, jpeg in batch:
        assert again.image_path(frame).read_bytes() == jpeg
    assert len(again) == 3
    assert not again.paths.split("validation").exists()
    assert list(again.paths.staging.iterdir()) == []


def _fields(frame: object) -> dict[str, object]:
    return {name: getattr(frame, name) for name in frame.__slots__}  # type: ignore[attr-defined]


def test_a_file_lies_where_the_contract_says(root: Path) -> None:
    dataset = Dataset.open(root)
    dataset.publish([frame_of(dataset, HADES, "train", 125)], nothing)
    source = f"2{BROADCASTERS['train']}"
    assert (root / f"data/train/hades-ii/vod-{source}-000125250.jpg").is_file()
    table = pq.read_table(root / "data/train/metadata.parquet")
    assert table.column("file_name").to_pylist() == [f"hades-ii/vod-{source}-000125250.jpg"]


def test_batches_append_in_order(root: Path) -> None:
    dataset = Dataset.open(root)
    for seed in range(5):
        dataset.publish([frame_of(dataset, HADES, "train", seed)], nothing)
    assert [f.offset_s for f in Dataset.open(root).frames()] == [0.25, 1.25, 2.25, 3.25, 4.25]
    assert dataset.rows("train").equals(Dataset.open(root).rows("train"))


def test_the_commit_comes_when_images_and_metadata_are_in_place(root: Path) -> None:
    dataset = Dataset.open(root)
    batch = batch_of(dataset, (HADES, "train", 1), (HADES, "test", 2))
    seen: list[dict[str, str]] = []
    dataset.publish(batch, lambda: seen.append(listed(root)))
    assert seen == [images(root)]
    assert len(seen[0]) == 2


def test_after_a_failed_commit_nothing_is_done_before_recovery(root: Path) -> None:
    dataset = Dataset.open(root)

    def refuse() -> None:
        raise MachineError("the ledger's disk is full", reason="disk-full")

    batch = [frame_of(dataset, HADES, "train", 1)]
    with pytest.raises(MachineError, match="ledger"):
        dataset.publish(batch, refuse)
    with pytest.raises(RuntimeError, match="recover"):
        dataset.publish(batch, nothing)
    with pytest.raises(RuntimeError, match="recover"):
        Dataset.open(root).remove([], nothing, nothing)
    assert dataset.recover(lambda name: False) == RecoveryReport(1, 0, (batch[0][0].file_name,))
    assert not (root / "data").exists()
    dataset.publish(batch, nothing)
    assert_valid(root)
    assert len(dataset) == 1


def test_recovery_keeps_what_the_ledger_has(root: Path) -> None:
    dataset = Dataset.open(root)

    def commit_then_die() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dataset.publish([frame_of(dataset, HADES, "train", 1)], commit_then_die)
    again = Dataset.open(root)
    assert again.recover(lambda name: True) == RecoveryReport(1, 1, ())
    assert len(again) == 1
    assert again.recover(lambda name: False) == RecoveryReport(0, 0, ())
    assert_valid(root)


def test_a_renamed_category_shows_its_newest_name_in_every_row(root: Path) -> None:
    dataset = Dataset.open(root)
    dataset.publish(batch_of(dataset, (HADES, "train", 1), (CELESTE, "train", 2), (HADES, "test", 3)), nothing)
    renamed = Category(HADES.id, "Hades 2")
    dataset.publish([frame_of(dataset, CELESTE, "train", 4)], nothing)
    assert {f.label for f in dataset.frames()} == {"Hades II", "Celeste"}

    reopened = Dataset.open(root)
    reopened.classes.register(renamed)
    reopened.publish([frame_of(reopened, CELESTE, "train", 5)], nothing)
    labels = [(f.split, f.label, f.label_id) for f in Dataset.open(root).frames()]
    assert labels == [
        ("train", "Hades 2", 0),
        ("train", "Celeste", 1),
        ("train", "Celeste", 1),
        ("train", "Celeste", 1),
        ("test", "Hades 2", 0),
    ]
    assert sorted(p.name for p in (root / "data/train").iterdir()) == ["celeste", "hades-ii", "metadata.parquet"]


@pytest.mark.parametrize(
    "changes",
    [
        {"split": "test"},
        {"file_name": "hades-ii/vod-1-000000001.jpg"},
        {"file_name": "../../outside.jpg"},
        {"sha256": "0" * 64},
        {"category_id": "1"},
    ],
)
def test_a_frame_that_contradicts_itself_is_refused(root: Path, changes: dict[str, str]) -> None:
    dataset = Dataset.open(root)
    good, jpeg = frame_of(dataset, HADES, "train", 1)
    frame = replace(good, **changes)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="frame says"):
        dataset.publish([(frame, jpeg)], nothing)
    assert not (root / "data").exists()


def test_a_frame_is_published_once(root: Path) -> None:
    dataset = Dataset.open(root)
    batch = [frame_of(dataset, HADES, "train", 1)]
    dataset.publish(batch, nothing)
    with pytest.raises(ValueError, match="already"):
        dataset.publish(batch, nothing)
    assert len(Dataset.open(root)) == 1


def test_an_image_without_row_is_overwritten(root: Path) -> None:
    dataset = Dataset.open(root)
    dataset.publish([frame_of(dataset, HADES, "train", 1)], nothing)
    frame, jpeg = frame_of(dataset, HADES, "train", 2)
    dataset.image_path(frame).write_bytes(b"left by somebody")
    dataset.publish([(frame, jpeg)], nothing)
    assert_valid(root)


def test_removed_frames_leave_with_their_empty_folders(root: Path) -> None:
    dataset = Dataset.open(root)
    batch = batch_of(
        dataset, (HADES, "train", 1), (HADES, "train", 2), (CELESTE, "train", 3), (CELESTE, "test", 4)
    )
    dataset.publish(batch, nothing)
    names = [frame.file_name for frame, _ in batch]
    order: list[tuple[str, int]] = []

    def remove(*leaving: str) -> None:
        dataset.remove(
            leaving,
            lambda: order.append(("leaving", len(images(root)))),
            lambda: order.append(("left", len(images(root)))),
        )
        assert_valid(root)

    remove(names[0])
    assert sorted(images(root)) == sorted(listed(root))
    remove(names[2], names[3])
    assert sorted(p.name for p in (root / "data").iterdir()) == ["train"]
    assert sorted(p.name for p in (root / "data/train").iterdir()) == ["hades-ii", "metadata.parquet"]
    remove(names[1])
    assert not (root / "data").exists()
    remove(names[1])
    assert [count for _, count in order] == [4, 3, 3, 1, 1, 0, 0, 0]
    assert [what for what, _ in order] == ["leaving", "left"] * 4
    with pytest.raises(ValueError, match="no file name"):
        dataset.remove(["../../../etc/passwd"], nothing, nothing)


def test_files_of_somebody_else_survive_a_removal(root: Path) -> None:
    dataset = Dataset.open(root)
    frame, jpeg = frame_of(dataset, HADES, "train", 1)
    dataset.publish([(frame, jpeg)], nothing)
    (root / "data/train/hades-ii/notes.txt").write_text("mine")
    dataset.remove([frame.file_name], nothing, nothing)
    assert [p.name for p in (root / "data").rglob("*") if p.is_file()] == ["notes.txt"]
    dataset.publish([(frame, jpeg)], nothing)
    assert_valid(root)


def test_deleting_the_state_folder_loses_no_frame(root: Path) -> None:
    dataset = Dataset.open(root)
    dataset.publish(batch_of(dataset, (HADES, "train", 1)), nothing)
    for path in sorted((root / ".harvester").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (root / ".harvester").rmdir()
    again = Dataset.open(root)
    again.publish(batch_of(again, (CELESTE, "train", 2), (HADES, "validation", 3)), nothing)
    assert sorted(images(root)) == sorted(listed(root))
    assert [f.label_id for f in again.frames()] == [0, 1, 0]


class TestOpening:
    def test_a_new_or_empty_directory_becomes_a_dataset(self, tmp_path: Path) -> None:
        (tmp_path / "empty" / "lost+found").mkdir(parents=True)
        for place in (tmp_path / "a" / "new one", tmp_path / "empty"):
            assert len(Dataset.open(place)) == 0
            assert json.loads((place / "classes.json").read_text())["format"] == 1
            assert json.loads((place / "tombstones.json").read_text()) == {"version": 1, "tombstones": []}
            assert not (place / "data").exists()
            assert len(Dataset.open(place, create=False)) == 0

    def test_without_create_nothing_is_made(self, root: Path) -> None:
        with pytest.raises(ForeignDataset, match="no dataset yet"):
            Dataset.open(root, create=False)
        assert not root.exists()

    @pytest.mark.parametrize(
        ("content", "told"),
        [
            ({"holiday.jpg": "x"}, "other files"),
            ({".harvester/ledger.db": "x", "data/train/a/b.jpg": "x"}, "lost its classes.json"),
            ({"classes.json": '["person", "bicycle"]'}, "damaged"),
            ({"classes.json": "\x00"}, "damaged"),
            ({"classes.json": '{"format": 2, "label_sets": []}'}, "newer version"),
            ({"classes.json": '{"format": 1, "classes": []}'}, "damaged"),
        ],
    )
    def test_a_directory_that_is_not_ours_is_left_alone(
        self, root: Path, content: dict[str, str], told: str
    ) -> None:
        for name, text in content.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        before = sorted(root.rglob("*"))
        with pytest.raises(ForeignDataset, match=told) as caught:
            Dataset.open(root)
        assert caught.value.exit_code == 2
        assert len(str(caught.value).splitlines()) == 1
        assert sorted(root.rglob("*")) == before

    def test_a_file_is_no_dataset(self, root: Path) -> None:
        root.write_text("a file")
        with pytest.raises(ForeignDataset, match="no directory"):
            Dataset.open(root)

    def test_metadata_of_a_newer_version_is_refused(self, root: Path) -> None:
        dataset = Dataset.open(root)
        dataset.publish(batch_of(dataset, (HADES, "train", 1)), nothing)
        table = dataset.rows("train")
        pq.write_table(
            table.append_column("depth", table.column("offset_s")), root / "data/train/metadata.parquet"
        )
        with pytest.raises(ForeignDataset, match=r"depth.*newer version"):
            Dataset.open(root)

    def test_tombstones_may_not_be_lost_beside_data(self, root: Path) -> None:
        dataset = Dataset.open(root)
        dataset.publish(batch_of(dataset, (HADES, "train", 1)), nothing)
        (root / "tombstones.json").unlink()
        with pytest.raises(ForeignDataset, match="tombstones"):
            Dataset.open(root)

    def test_a_kill_while_it_is_made_leaves_an_empty_directory_or_a_dataset(
        self, tmp_path: Path, disk_steps: DiskSteps
    ) -> None:
        total = disk_steps.run(lambda: Dataset.open(tmp_path / "whole"))
        for k in range(1, total + 1):
            root = tmp_path / str(k)
            with pytest.raises(Killed):
                disk_steps.run(lambda root=root: Dataset.open(root), k)  # type: ignore[misc]
            assert len(Dataset.open(root)) == 0
            assert (root / "tombstones.json").exists()

    @pytest.mark.parametrize(
        ("code", "reason"), [("ENOSPC", "disk-full"), ("EDQUOT", "disk-full"), ("EROFS", "not-writable")]
    )
    def test_a_disk_that_refuses_is_the_machines_fault(
        self, root: Path, disk_steps: DiskSteps, code: str, reason: str
    ) -> None:
        disk_steps.error = _refusal(code)
        with pytest.raises(MachineError) as caught:
            disk_steps.run(lambda: Dataset.open(root), 1)
        assert (caught.value.reason, caught.value.exit_code) == (reason, 6)
        assert str(root) in str(caught.value)


def _refusal(code: str) -> Callable[[], BaseException]:
    import errno

    number = getattr(errno, code)
    return lambda: OSError(number, os.strerror(number))


def test_names_that_attack_paths_stay_inside(root: Path) -> None:
    dataset = Dataset.open(root)
    names = ["../../etc", "CON", "🎮", "\u202eevil", "</script>", "x" * 300, "con", "a\x1b[31mred", "\x00"]
    batch = [frame_of(dataset, Category(str(100 + n), name), "train", n) for n, name in enumerate(names)]
    dataset.publish([*batch, frame_of(dataset, EMPTY_NAME, "train", 50)], nothing)
    folders = sorted(p.name for p in (root / "data/train").iterdir())
    slugs = ["etc", "con-101", "category-102", "evil", "script", "x" * 60, "con-106", "a-31mred", "category-108"]
    assert folders == sorted([*slugs, "category-77", "metadata.parquet"])
    assert all(label.isprintable() for label in dataset.rows("train").column("label").to_pylist())
    assert sorted(p.name for p in root.parent.iterdir()) == ["frames"]


def test_an_untouched_split_is_not_written(root: Path) -> None:
    dataset = Dataset.open(root)
    dataset.publish(batch_of(dataset, (HADES, "train", 1), (HADES, "test", 2)), nothing)
    before = dataset.paths.metadata("test").stat().st_ino
    dataset.publish(batch_of(dataset, (HADES, "train", 3)), nothing)
    assert dataset.paths.metadata("test").stat().st_ino == before


def test_facts_of_the_card_count_rows(root: Path) -> None:
    dataset = Dataset.open(root)
    dataset.classes.register(Category("5", "Without images"))
    dataset.publish(batch_of(dataset, (HADES, "train", 1), (HADES, "train", 2), (CELESTE, "test", 3)), nothing)
    clip, jpeg = frame_of(dataset, CELESTE, "train", 4)
    clip = replace(clip, source_type="clip", source_id="Aa-b_C", file_name="celeste/clip-Aa-b_C-000004250.jpg")
    dataset.publish([(clip, jpeg)], nothing)
    facts = dataset.card_facts("0.1.0", "own channels")
    counts = {row.entry.name: (row.train, row.validation, row.test) for row in facts.categories}
    assert counts == {"Hades II": (2, 0, 0), "Celeste": (1, 0, 1)}
    assert facts.sources == {"vod": 3, "clip": 1}
    assert [facts.count(split) for split in SPLITS] == [3, 0, 1]
