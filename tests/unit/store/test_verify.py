"""``verify``: that no picture stands in two splits is seen by comparing every hash with every other one."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harvester.model import SPLITS, Category, Frame, SplitName
from harvester.store import metadata, verify
from harvester.store.dataset import Dataset
from harvester.store.ledger import Ledger
from harvester.store.verify import Finding, check_images, first_within, near_duplicates_across_splits
from tests.unit.store.conftest import CELESTE, HADES, frame_of, nothing
from tests.unit.store.test_ledger import NOW

RADIUS = 6
BASE = 0x0123_4567_89AB_CDEF


def differing(bits: int, base: int = BASE) -> int:
    """A hash so many bits away."""
    return base ^ ((1 << bits) - 1) << 7


def oracle(these: list[int], others: list[int]) -> list[int]:
    return [
        next((place for place, other in enumerate(others) if (one ^ other).bit_count() <= RADIUS), -1)
        for one in these
    ]


@pytest.mark.parametrize("rows", [1, 2, 3, 7])
@pytest.mark.parametrize("columns", [1, 4, 5, 100])
def test_the_first_near_hash_is_found_wherever_it_stands(
    rows: int, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "SLAB_ROWS", rows)
    monkeypatch.setattr(verify, "SLAB_COLUMNS", columns)
    chance = np.random.default_rng(rows * 1000 + columns)
    others = [int(value) for value in chance.integers(0, 2**64, 23, np.uint64)]
    these = [int(value) for value in chance.integers(0, 2**64, 5, np.uint64)]
    these += [differing(bits, other) for other in others[::4] for bits in (RADIUS - 1, RADIUS, RADIUS + 1)]
    others += [others[8], differing(1, others[4])]  # later ones of the same picture
    found = first_within(RADIUS, np.array(these, np.uint64), np.array(others, np.uint64))
    assert found.tolist() == oracle(these, others)
    assert {0, 4, 8, 12, 16, 20, -1} <= set(found.tolist())


def test_hashes_are_compared_some_at_a_time() -> None:
    hashes = np.random.default_rng(1).integers(0, 2**64, 16_000, np.uint64)
    tracemalloc.start()
    try:
        first_within(RADIUS, hashes, hashes)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < len(hashes) ** 2 * 8 / 10


Wanted = tuple[Category, SplitName, int, int]


def published(root: Path, *wanted: Wanted) -> Dataset:
    """A dataset of pictures of a category and split, with a number and a hash each; a batch a picture."""
    dataset = Dataset.open(root)
    for category, split, number, phash in wanted:
        frame, jpeg = frame_of(dataset, category, split, number)
        dataset.publish([(replace(frame, phash=f"{phash:016x}"), jpeg)], nothing)
    return dataset


def leaks(dataset: Dataset, radius: int) -> set[tuple[str, ...]]:
    """File names of the pictures that are found to be the same."""
    findings = list(near_duplicates_across_splits(dataset, radius))
    assert all(finding.kind == "leak" for finding in findings)
    told = [finding.what.split() for finding in findings]
    assert len(told) == len(set(map(tuple, told)))
    return {(f"{words[1].strip('()')}/{words[0]}", f"{words[-1].strip('()')}/{words[-2]}") for words in told}


def name(dataset: Dataset, category: Category, split: SplitName, number: int) -> str:
    frame: Frame = frame_of(dataset, category, split, number)[0]
    return f"{split}/{frame.file_name}"


#: Numbers of the pictures that are the same as one of an earlier split, each with the first such one, by radius.
SAME = {0: {9: 1}, 1: {8: 6, 9: 1}, RADIUS: {5: 2, 8: 5, 9: 1}, RADIUS + 1: {5: 2, 6: 4, 8: 5, 9: 1}}


@pytest.mark.parametrize("beside", [0, 100])
def test_look_alikes_in_two_splits_of_a_category_are_named(
    beside: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata, "BESIDE_SHARE", beside)
    wanted: list[Wanted] = [
        (HADES, "train", 1, 1),
        (CELESTE, "train", 3, BASE),
        (HADES, "train", 2, BASE),
        (HADES, "train", 4, differing(1)),
        (HADES, "validation", 5, differing(RADIUS)),
        (HADES, "validation", 6, differing(RADIUS + 2)),
        (CELESTE, "validation", 7, differing(20)),
        (HADES, "validation", 9, 1),
        (HADES, "test", 8, differing(RADIUS + 3)),
    ]
    dataset = published(tmp_path / "set", *wanted)
    assert bool(list(tmp_path.rglob(".metadata-*.parquet"))) == bool(beside)
    named = {number: name(dataset, category, split, number) for category, split, number, _ in wanted}
    for radius, same in SAME.items():
        expected = {(named[late], named[early]) for late, early in same.items()}
        assert leaks(dataset, radius) == leaks(Dataset.open(tmp_path / "set"), radius) == expected


def test_files_that_are_listed_nowhere_are_named(tmp_path: Path) -> None:
    dataset = published(tmp_path / "set", *((HADES, split, 1, 1) for split in SPLITS))
    folder = next(dataset.paths.split("test").glob("*/"))
    strays = [folder / "stray.jpg", dataset.paths.split("train") / "empty" / "x.txt"]
    for stray in strays:
        stray.parent.mkdir(exist_ok=True)
        stray.touch()
    (dataset.paths.split("train") / "README").touch()  # no image, and in no class
    ledger = Ledger(None)
    ledger.adopt(dataset.frames(), NOW)
    assert list(check_images(dataset, ledger)) == [
        Finding("orphan", "train/empty/x.txt is listed nowhere"),
        Finding("orphan", f"test/{folder.name}/stray.jpg is listed nowhere"),
    ]
