"""The near-duplicate index on disk: whatever became of its file, it answers by the ledger's committed rows."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from harvester.errors import MachineError
from harvester.model import Rank
from harvester.store import index as store_index
from harvester.store import ledger as store_ledger
from harvester.store.index import map_file, open_index
from harvester.store.ledger import Ledger
from harvester.store.records import Outcome
from harvester.vision.hamming import HashIndex, Match
from tests.unit.store.conftest import DiskSteps, Killed

NOW = datetime(2026, 11, 1, tzinfo=UTC)
SAVE_ROWS = 10


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_index, "SAVE_ROWS", SAVE_ROWS)
    monkeypatch.setattr(store_ledger, "ANCHORS_AT_ONCE", 3)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(tmp_path / "ledger.sqlite3")
    yield opened
    opened.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / ".harvester" / "index"


def keep(ledger: Ledger, *hashes: int, category_id: str = "7", run_id: str = "r1", seq: int | None = None) -> None:
    """Commit kept frames with these hashes, each after a dropped one of the same hash."""
    for phash in hashes:
        for kept in (False, True):
            number = ledger.next_seq() if seq is None else seq + kept
            ledger.commit(
                [
                    Outcome(
                        seq=number,
                        run_id=run_id,
                        category_id=category_id,
                        rank=Rank(1, 0, 0, 0, number),
                        kind="vod",
                        source_id="1",
                        broadcaster_id="9",
                        k=number,
                        verdict="kept" if kept else "dropped",
                        reason="" if kept else "duplicate",
                        decided_at=NOW,
                        phash=phash,
                        file_name=f"a/vod-1-{number:09d}.jpg" if kept else None,
                    )
                ]
            )


def crowded(seed: int, n: int) -> list[int]:
    """``n`` hashes around three, some of them twice."""
    rng = np.random.default_rng(seed)
    flips = np.bitwise_and.reduce(rng.integers(0, 1 << 64, (3, n), np.uint64))
    flips[::5] = 0
    return (rng.choice(np.array([0, 1 << 63, 0x123456789ABCDEF], np.uint64), n) ^ flips).tolist()


def file_of(folder: Path, category_id: str | None = "7") -> Path:
    return folder / ("dataset.hashes" if category_id is None else f"category-{category_id}.hashes")


def assert_like_ledger(index: HashIndex, ledger: Ledger, category_id: str | None = "7") -> None:
    """Every kept row is there, and nothing else; distances and keys as a look at every row finds them."""
    anchors = [
        (row["phash"], row["seq"])
        for row in ledger.decisions()
        if row["verdict"] == "kept" and category_id in (None, row["category_id"])
    ]
    assert len(index) == len(anchors)
    for query in [*(phash for phash, _ in anchors), *crowded(99, 20)]:
        for radius in (0, 3, 7):
            near = sorted(((phash ^ query).bit_count(), key) for phash, key in anchors)
            expected = Match(near[0][1], near[0][0]) if near and near[0][0] <= radius else None
            assert index.nearest(query, radius) == expected


def test_a_growing_ledger_opens_the_same_with_and_without_its_file(ledger: Ledger, folder: Path) -> None:
    for night in range(12):
        keep(ledger, *crowded(night, 4), category_id="7")
        keep(ledger, *crowded(50 + night, 3), category_id="8")
        for scope in ("7", "8", None):
            assert_like_ledger(open_index(ledger, folder, scope), ledger, scope)
            assert_like_ledger(open_index(ledger, None, scope), ledger, scope)
    assert {path.name for path in folder.iterdir()} == {
        "category-7.hashes", "category-8.hashes", "dataset.hashes"
    }  # fmt: skip


def test_an_empty_ledger_and_one_with_few_anchors_need_no_file(ledger: Ledger, folder: Path) -> None:
    assert_like_ledger(open_index(ledger, folder, "7"), ledger)
    keep(ledger, *crowded(1, SAVE_ROWS - 1))
    assert_like_ledger(open_index(ledger, folder, "7"), ledger)
    assert not folder.exists()
    keep(ledger, 5)
    assert_like_ledger(open_index(ledger, folder, "7"), ledger)
    assert file_of(folder).exists()


def test_a_file_that_is_behind_is_gone_on_from_and_rewritten_only_now_and_then(
    ledger: Ledger, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = saved_index(ledger, folder)
    read: list[int] = []
    anchors = ledger.anchors

    def counted(category_id: str | None, after: int | None = None) -> object:
        found = anchors(category_id, after)
        read.append(len(found[0]))
        return found

    monkeypatch.setattr(ledger, "anchors", counted)
    keep(ledger, *crowded(3, SAVE_ROWS - 1))
    assert_like_ledger(open_index(ledger, folder, "7"), ledger)
    assert file_of(folder).read_bytes() == saved
    keep(ledger, 1)
    assert_like_ledger(open_index(ledger, folder, "7"), ledger)
    assert file_of(folder).read_bytes() != saved
    assert_like_ledger(open_index(ledger, folder, "7"), ledger)
    assert read == [SAVE_ROWS - 1, SAVE_ROWS, 0]
    monkeypatch.setattr(store_index, "SAVE_SHARE", 1.0)
    whole = file_of(folder).read_bytes()
    keep(ledger, *crowded(4, 25))  # 30 are in the file
    assert_like_ledger(open_index(ledger, folder, "7"), ledger)
    assert file_of(folder).read_bytes() == whole


def saved_index(ledger: Ledger, folder: Path) -> bytes:
    """Twenty anchors in a file; its bytes."""
    keep(ledger, *crowded(2, 20))
    assert_like_ledger(open_index(ledger, folder, "7"), ledger)
    return file_of(folder).read_bytes()


def test_what_a_run_adds_is_in_no_file_until_it_is_committed(ledger: Ledger, folder: Path) -> None:
    saved = saved_index(ledger, folder)
    index = open_index(ledger, folder, "7")
    for key in range(1000, 1100):
        index.add(key, key)
    assert index.nearest(1050, 0) == Match(1050, 0)
    assert file_of(folder).read_bytes() == saved
    assert_like_ledger(open_index(ledger, folder, "7"), ledger)


@pytest.mark.parametrize("more", [0, 1, 30])
def test_a_file_ahead_of_a_ledger_from_a_backup_is_not_believed(
    ledger: Ledger, folder: Path, tmp_path: Path, more: int
) -> None:
    """Also when the ledger has grown again, by another run, beyond where the file ends."""
    keep(ledger, *crowded(2, 15))
    ledger.close()
    backup = tmp_path / "backup.sqlite3"
    shutil.copy(tmp_path / "ledger.sqlite3", backup)
    lost = Ledger(tmp_path / "ledger.sqlite3")
    keep(lost, *crowded(3, 15))
    assert_like_ledger(open_index(lost, folder, "7"), lost)
    lost.close()
    restored = Ledger(backup)
    keep(restored, *crowded(4, more), run_id="r2")
    assert_like_ledger(open_index(restored, folder, "7"), restored)
    assert_like_ledger(open_index(restored, folder, "7"), restored)


def test_the_same_hashes_decided_by_another_run_are_another_ledger(
    ledger: Ledger, folder: Path, tmp_path: Path
) -> None:
    hashes = crowded(2, 20)
    saved_index(ledger, folder)
    other = Ledger(tmp_path / "other.sqlite3")
    keep(other, *hashes[1::-1], *hashes[2:], run_id="r2")
    assert_like_ledger(open_index(other, folder, "7"), other)


def test_a_forgotten_anchor_leaves_the_index(ledger: Ledger, folder: Path, tmp_path: Path) -> None:
    saved_index(ledger, folder)
    with sqlite3.connect(tmp_path / "ledger.sqlite3") as connection:
        connection.execute("DELETE FROM outcomes WHERE seq = 6")
    connection.close()
    assert_like_ledger(open_index(ledger, folder, "7"), ledger)


def test_keys_beyond_four_bytes_and_the_last_bit_of_a_hash_survive(ledger: Ledger, folder: Path) -> None:
    keep(ledger, *crowded(2, 20), (1 << 64) - 1)
    keep(ledger, 1 << 63, seq=1 << 40)
    keep(ledger, *crowded(3, 10), 77)  # in the file the keys are in eight bytes now
    keep(ledger, 78, seq=1 << 62)
    for _ in range(2):
        assert_like_ledger(open_index(ledger, folder, "7"), ledger)


# -- the file ---------------------------------------------------------------------------------------------


def test_a_torn_file_is_not_believed_and_is_written_anew(ledger: Ledger, folder: Path) -> None:
    saved = saved_index(ledger, folder)
    file = file_of(folder)
    for length in (0, 1, 100, 4096, 5000, len(saved) // 2, len(saved) - 1):
        file.write_bytes(saved[:length])
        assert map_file(file, "7") is None
        assert_like_ledger(open_index(ledger, folder, "7"), ledger)
        assert file.read_bytes() == saved
    file.write_bytes(saved + b"\0")
    assert map_file(file, "7") is None


def test_one_wrong_byte_anywhere_is_noticed(ledger: Ledger, folder: Path) -> None:
    saved = saved_index(ledger, folder)
    file = file_of(folder)
    assert map_file(file, "7") is not None
    for place in [*range(0, len(saved), 9973), 4095, 4096, len(saved) - 1, len(saved) - 5, *range(-900, 0, 37)]:
        broken = bytearray(saved)
        broken[place] ^= 1
        file.write_bytes(broken)
        assert map_file(file, "7") is None
    assert_like_ledger(open_index(ledger, folder, "7"), ledger)


def test_a_file_under_another_scopes_name_is_not_taken(ledger: Ledger, folder: Path) -> None:
    saved_index(ledger, folder)
    keep(ledger, *crowded(5, 20), category_id="8")
    for scope in ("8", None):
        shutil.copy(file_of(folder), file_of(folder, scope))
        assert map_file(file_of(folder, scope), scope) is None
        assert_like_ledger(open_index(ledger, folder, scope), ledger, scope)


def test_a_file_of_another_version_or_byte_order_is_not_taken(
    ledger: Ledger, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as other:
        other.setattr(store_index, "FORMAT", "harvester-index-1-other")
        saved_index(ledger, folder)
    assert map_file(file_of(folder), "7") is None
    assert_like_ledger(open_index(ledger, folder, "7"), ledger)
    assert map_file(file_of(folder), "7") is not None


def test_a_file_too_short_for_a_header_is_not_taken(ledger: Ledger, folder: Path) -> None:
    """Four zero bytes are the checksum of nothing."""
    saved_index(ledger, folder)
    for content in (b"", bytes(3), bytes(4), b"{}" + zlib.crc32(b"{}").to_bytes(4, "little")):
        file_of(folder).write_bytes(content)
        assert map_file(file_of(folder), "7") is None
    assert_like_ledger(open_index(ledger, folder, "7"), ledger)


def test_a_category_id_cannot_name_a_file_elsewhere(ledger: Ledger, folder: Path) -> None:
    keep(ledger, *crowded(2, 20), category_id="../../x/..")
    assert_like_ledger(open_index(ledger, folder, "../../x/.."), ledger, "../../x/..")
    assert [path.parent for path in folder.parent.rglob("*.hashes")] == [folder]


def test_a_full_disk_leaves_the_old_file_and_no_scrap(
    ledger: Ledger, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = saved_index(ledger, folder)
    keep(ledger, *crowded(3, 20))

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", full)
        with pytest.raises(MachineError) as caught:
            open_index(ledger, folder, "7")
    assert caught.value.reason == "disk-full"
    assert [path.name for path in folder.iterdir()] == ["category-7.hashes"]
    assert file_of(folder).read_bytes() == saved
    assert_like_ledger(open_index(ledger, folder, "7"), ledger)


@pytest.mark.parametrize("before", [0, 20])
def test_killed_at_any_step_of_writing_it_opens_the_same(
    ledger: Ledger, folder: Path, disk_steps: DiskSteps, before: int
) -> None:
    """Before each step that changes the disk: the old file or the new one, and the ledger decides."""

    def opening() -> None:
        open_index(ledger, folder, "7")

    keep(ledger, *crowded(2, before))
    opening()
    state = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    keep(ledger, *crowded(3, 20))
    count = disk_steps.run(opening)
    whole = file_of(folder).read_bytes()
    assert count >= 4  # written, flushed, renamed, its name flushed
    for step in range(1, count + 1):
        reset(folder, state)
        with pytest.raises(Killed):
            disk_steps.run(opening, step)
        if file_of(folder).exists():
            assert file_of(folder).read_bytes() in (whole, *state.values())
        assert_like_ledger(open_index(ledger, folder, "7"), ledger)
        assert file_of(folder).read_bytes() == whole


def reset(folder: Path, state: dict[Path, bytes]) -> None:
    shutil.rmtree(folder.parent)
    for path, content in state.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


#: Opens the index, and dies by SIGKILL before the step on the disk whose number it is given.
DYING = """
import os, signal, sys
from pathlib import Path
from harvester.store import index
from harvester.store.ledger import Ledger

root, at = Path(sys.argv[1]), int(sys.argv[2])
ledger = Ledger(root / "ledger.sqlite3")
index.SAVE_ROWS = 10
steps = 0

def step(*_):
    global steps
    steps += 1
    if steps == at:
        os.kill(os.getpid(), signal.SIGKILL)

def counted(function):
    return lambda *arguments: (step(), function(*arguments))[1]

os.fsync, os.replace, zlib = counted(os.fsync), counted(os.replace), index.zlib
class Counting:
    crc32 = staticmethod(counted(zlib.crc32))
index.zlib = Counting
index.open_index(ledger, root / ".harvester" / "index", "7")
print(steps)
"""


def test_killed_for_real_while_it_writes(ledger: Ledger, folder: Path, tmp_path: Path) -> None:
    """In the midst of the content, before it is flushed, before it is renamed, after it."""
    keep(ledger, *crowded(2, 20))
    steps = int(died(tmp_path, 0).stdout)
    for at in (2, steps // 2, steps - 2, steps - 1, steps):
        shutil.rmtree(folder, ignore_errors=True)
        assert died(tmp_path, at).returncode == -signal.SIGKILL
        assert_like_ledger(open_index(ledger, folder, "7"), ledger)


def died(root: Path, at: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", DYING, str(root), str(at)]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def test_the_mapped_file_is_no_private_memory(ledger: Ledger, folder: Path) -> None:
    saved_index(ledger, folder)
    saved = map_file(file_of(folder), "7")
    assert saved is not None
    tables = saved.tables
    for array in (tables.keys, tables.starts, tables.uppers, tables.lowers):
        assert not array.flags.writeable
        assert not array.flags.owndata
