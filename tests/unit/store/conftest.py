"""A small real dataset to publish into, and a way to stop the process at any step on the disk."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from harvester.model import SPLITS, Category, Frame, SplitName
from harvester.store.columns import score_names
from harvester.store.dataset import Dataset
from harvester.store.layout import frame_file_name

HADES = Category("509658", "Hades II")
CELESTE = Category("493036", "Celeste")
EMPTY_NAME = Category("77", "مرحبا")  # nothing of it is ASCII

#: A broadcaster of each split, found by the formula of the contract, written out once more.
BROADCASTERS: dict[SplitName, str] = {}
for number in range(1000, 1100):
    place = int.from_bytes(hashlib.sha256(f"split:{number}".encode()).digest()[:8], "big") / 2**64
    BROADCASTERS.setdefault("train" if place < 0.8 else "validation" if place < 0.9 else "test", str(number))
assert set(BROADCASTERS) == set(SPLITS)


def jpeg_of(seed: int) -> bytes:
    picture = np.random.default_rng(seed).integers(0, 256, (8, 16, 3), dtype=np.uint8)
    done, encoded = cv2.imencode(".jpg", picture)
    assert done
    return bytes(encoded)


def frame_of(dataset: Dataset, category: Category, split: SplitName, seed: int) -> tuple[Frame, bytes]:
    """A frame number ``seed`` of one VOD of ``split``'s broadcaster, with its file."""
    entry, jpeg = dataset.classes.register(category), jpeg_of(seed)
    broadcaster = BROADCASTERS[split]
    source = f"2{broadcaster}"
    row: dict[str, Any] = {
        "file_name": frame_file_name(entry.slug, "vod", source, seed + 0.25),
        "label": entry.name,
        "label_id": entry.label_id,
        "category_id": category.id,
        "source_type": "vod",
        "source_id": source,
        "broadcaster_id": broadcaster,
        "offset_s": seed + 0.25,
        "streamed_at": datetime(2026, 10, 1, 12, 0, seed % 60, 250_000, tzinfo=UTC) if seed % 2 else None,
        "width": 16,
        "height": 8,
        "rendition": "720p60",
        "codec": "h264",
        "decoder": "cpu",
        "phash": f"{seed:016x}",
        "sha256": hashlib.sha256(jpeg).hexdigest(),
        "label_source": "chapter",
        "label_confidence": 0.9,
        "scores": {name: float(seed) for name in score_names()},
        "split": split,
        "run_id": "r1",
        "harvester_version": "0.1.0",
        "harvested_at": datetime(2026, 11, 1, tzinfo=UTC),
        "url": f"https://www.twitch.tv/videos/{source}?t={seed}s",
    }
    return Frame(**row), jpeg


def batch_of(dataset: Dataset, *wanted: tuple[Category, SplitName, int]) -> list[tuple[Frame, bytes]]:
    return [frame_of(dataset, category, split, seed) for category, split, seed in wanted]


def nothing() -> None:
    """A commit of a ledger that nobody looks at."""


def images(dataset_root: Path) -> dict[str, str]:
    """sha256 of every image on disk, by its path in the dataset."""
    found = sorted((dataset_root / "data").rglob("*.jpg"))
    return {p.relative_to(dataset_root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in found}


def listed(root: Path) -> dict[str, str]:
    """sha256 that the metadata on disk promises for every row, by the image's path in the dataset."""
    rows: dict[str, str] = {}
    for file in sorted((root / "data").glob("*/metadata.parquet")):
        table = pq.ParquetFile(file).read(["file_name", "sha256"], use_threads=False)
        for name, digest in zip(*table.to_pydict().values(), strict=True):
            path = f"data/{file.parent.name}/{name}"
            assert path not in rows, "two rows for one image"
            rows[path] = digest
    return rows


def assert_valid(root: Path) -> None:
    """What holds at every instant: each row has its complete image; no folder is empty (I4 and the contract)."""
    on_disk = images(root)
    for path, digest in listed(root).items():
        assert on_disk.get(path) == digest, path
    for folder, folders, files in os.walk(root / "data"):
        assert folders or files, f"{folder} is empty"


class Killed(BaseException):
    """The process is gone: not even ``except Exception`` sees it."""


@dataclass
class DiskSteps:
    """Counts what changes the disk: open for writing, mkdir, rename, unlink, rmdir, fsync, and own steps.

    ``stop_at`` (from 1) raises ``error`` before that step is done, and before every later one: a dead process does
    not clean up.
    """

    counting: bool = False
    steps: list[str] = field(default_factory=list)
    stop_at: int = 0
    error: Callable[[], BaseException] = Killed

    def step(self, what: str) -> None:
        if self.counting:
            self.steps.append(what)
            if self.stop_at and len(self.steps) >= self.stop_at:
                raise self.error()

    def run(self, work: Callable[[], object], stop_at: int = 0) -> int:
        """Do ``work`` up to the step; returns how many steps were begun."""
        self.steps, self.stop_at, self.counting = [], stop_at, True
        try:
            work()
        finally:
            self.counting = False
        return len(self.steps)


_STEPS = DiskSteps()
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _STEPS.counting and (
        event in ("os.rename", "os.remove", "os.rmdir", "os.mkdir")
        or (event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITES)
    ):
        _STEPS.step(f"{event} {arguments[0]}")


sys.addaudithook(_audit)  # cannot be taken off again; it does nothing unless steps are counted


@pytest.fixture
def disk_steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[DiskSteps]:
    # No test can cut the power, so fsync only counts: the order of steps is what is looked at.
    monkeypatch.setattr(os, "fsync", lambda descriptor: _STEPS.step("fsync"))
    _STEPS.error = Killed
    yield _STEPS
    _STEPS.counting = False


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "frames"
