"""Pictures of the game itself: told by the duplicates of others, entered in the metadata, for good."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from harvester.model import Measurement
from harvester.store.columns import Marks
from harvester.store.dataset import Dataset
from harvester.store.ledger import Ledger
from harvester.store.records import Outcome
from harvester.store.shared import scenes_shown
from harvester.store.tombstones import Tombstone
from harvester.vision.measure import measure
from harvester.vision.shared import LOOKS
from tests.unit.store.conftest import HADES, batch_of, images, listed, nothing
from tests.unit.store.test_removals import NOW, Books, picture
from tests.unit.vision.conftest import gray_picture

EMPTY_SCENES: dict[str, str] = {}


@pytest.fixture
def dataset(root: Path) -> Dataset:
    return Dataset.open(root)


def menu_at(books: Books, *broadcasters: str, category: str = "1", first: int = 0) -> list[Outcome]:
    """The same menu, in a VOD of each of them."""
    return [
        books.show(books.vod(first + n, category, who), picture(1, noise=first + n + 1))
        for n, who in enumerate(broadcasters)
    ]


def test_what_two_others_show_is_of_the_game(dataset: Dataset) -> None:
    books = Books()
    kept, *others = menu_at(books, "5", "6")
    assert [other.reason for other in others] == ["duplicate"]
    assert scenes_shown(books.ledger, dataset) == {}
    menu_at(books, "7", first=10)
    assert scenes_shown(books.ledger, dataset) == {kept.file_name: "shared"}


def test_one_other_and_oneself_are_not_enough(dataset: Dataset) -> None:
    books = Books()
    menu_at(books, "5", "6", "5", "6", "5")
    assert scenes_shown(books.ledger, dataset) == {}


def test_what_is_played_is_nobody_elses(dataset: Dataset) -> None:
    books = Books()
    for number, who in enumerate("5678"):
        source = books.vod(number, "1", who)
        for k in range(3):
            assert books.show(source, picture(100 + 10 * number + k), k).verdict == "kept"
    assert scenes_shown(books.ledger, dataset) == {}


def test_each_category_is_told_by_its_own(dataset: Dataset) -> None:
    books = Books()
    menu_at(books, "5", "6")
    menu_at(books, "7", "8", category="2", first=10)
    assert scenes_shown(books.ledger, dataset) == {}


def of_equal_hash() -> tuple[Measurement, Measurement]:
    """Two pictures that the hash takes for one, and whose tiles hardly agree: the second is paler by far."""
    luma = np.kron(np.random.default_rng(3).integers(30, 220, (9, 16)), np.ones((8, 8)))
    bright, pale = (measure(gray_picture(y.astype(np.uint8))) for y in (luma, 60 + luma // 4))
    return bright, pale


def test_tiles_must_agree_too_but_not_at_every_look(dataset: Dataset) -> None:
    books = Books()
    bright, pale = of_equal_hash()
    kept = books.show(books.vod(0, "1", "5"), bright)
    sources = [books.vod(1, "1", "6"), books.vod(2, "1", "7")]
    for source in sources:
        assert books.show(source, pale).reason == "duplicate"
    assert scenes_shown(books.ledger, dataset) == {}
    for source in sources:
        for k in range(1, LOOKS):
            books.show(source, bright if k == LOOKS - 1 else pale, k)
    assert scenes_shown(books.ledger, dataset) == {kept.file_name: "shared"}


def test_what_has_left_is_not_looked_at(dataset: Dataset) -> None:
    books = Books()
    kept, *_ = menu_at(books, "5", "6", "7")
    barrier = books.ledger.next_barrier()
    assert barrier is not None
    books.ledger.commit_barrier(barrier, "run", NOW, {kept.seq: "recurring"})
    assert scenes_shown(books.ledger, dataset) == {}


def test_who_is_forgotten_tells_nothing(dataset: Dataset, tmp_path: Path) -> None:
    books = Books(tmp_path / "ledger.sqlite3")
    menu_at(books, "5", "6", "7")
    assert scenes_shown(books.ledger, dataset)
    books.ledger.erase(Tombstone(broadcaster_id="7"))
    assert scenes_shown(books.ledger, dataset) == {}
    books.ledger.erase(Tombstone(broadcaster_id="5"))
    menu_at(books, "8", "9", first=20)
    assert scenes_shown(books.ledger, dataset) == {}


def test_who_is_in_a_hurry_leaves_it_to_the_next_run(dataset: Dataset) -> None:
    books = Books()
    menu_at(books, "5", "6", "7")
    dataset.hurried = lambda: True
    assert scenes_shown(books.ledger, dataset) == {}


# -- in the metadata ---------------------------------------------------------------------------------------------


@pytest.fixture
def published(dataset: Dataset) -> Dataset:
    dataset.publish(batch_of(dataset, *[(HADES, "train", 1), (HADES, "train", 2), (HADES, "test", 3)]), nothing)
    return dataset


def scenes(root: Path) -> dict[str, Any]:
    """What the metadata on disk shows, by name."""
    files = sorted((root / "data").glob("*/metadata.parquet"))
    rows = [row for file in files for row in pq.ParquetFile(file).read(["file_name", "scene"]).to_pylist()]
    return {row["file_name"]: row["scene"] for row in rows}


def test_rows_are_marked_and_stay_so(published: Dataset, root: Path) -> None:
    name, *others = scenes(root)
    assert set(scenes(root).values()) == {None}
    assert published.complete(Marks(scenes={name: "shared", "elsewhere/vod-1-000000000.jpg": "shared"}))
    wanted = {name: "shared"} | dict.fromkeys(others)
    assert scenes(root) == wanted
    published.complete(Marks({}, EMPTY_SCENES))
    published.complete(Marks({"9": "[]"}))
    opened = Dataset.open(root)
    opened.publish(batch_of(opened, (HADES, "train", 4)), nothing)
    opened.complete()
    assert scenes(root) == wanted | {set(scenes(root)).difference(wanted).pop(): None}
    assert {frame.file_name for frame in opened.frames() if frame.scene == "shared"} == {name}
    assert listed(root) == images(root)


def test_rows_that_are_marked_are_not_written_again(published: Dataset, root: Path) -> None:
    name = next(name for name, _ in scenes(root).items())
    marks = Marks(scenes={name: "shared"})
    published.complete(marks)
    files = [published.paths.metadata(split) for split in ("train", "test")]
    before = [file.stat().st_ino for file in files]
    published.complete(marks)
    assert [file.stat().st_ino for file in files] == before


def test_rows_that_are_marked_are_not_looked_at_again(published: Dataset, root: Path) -> None:
    books = Books()
    kept, *_ = menu_at(books, "5", "6", "7")
    assert kept.file_name is not None
    published.complete(Marks(scenes=dict.fromkeys(scenes(root), "shared")))
    assert scenes_shown(books.ledger, published) == {kept.file_name: "shared"}
    with_it = Renamed(books.ledger, next(iter(scenes(root))))
    assert scenes_shown(with_it, published) == {}  # type: ignore[arg-type]


class Renamed:
    """A ledger whose repeated picture is that file's."""

    def __init__(self, ledger: Ledger, name: str) -> None:
        self._ledger, self._name = ledger, name
        self.measurements = ledger.measurements

    def repeated_by_others(self, least: int) -> list[Any]:
        return [one._replace(file_name=self._name) for one in self._ledger.repeated_by_others(least)]


def test_a_dataset_of_before_gets_the_column(published: Dataset, root: Path) -> None:
    for split in ("train", "test"):
        path = published.paths.metadata(split)
        pq.write_table(pq.read_table(path).drop_columns(["scene", "blur"]), path)
    opened = Dataset.open(root)
    assert {frame.scene for frame in opened.frames()} == {None}
    name = next(frame.file_name for frame in opened.frames())
    opened.complete(Marks(scenes={name: "shared"}))
    assert sorted(map(str, scenes(root).values())) == ["None", "None", "shared"]


def test_the_column_loads(published: Dataset, root: Path) -> None:
    import datasets

    published.complete(Marks(scenes={next(iter(scenes(root))): "shared"}))
    loaded = datasets.load_dataset("imagefolder", data_dir=str(root), cache_dir=str(root.parent / "cache"))
    found = [row["scene"] for split in loaded.values() for row in split]
    assert sorted(map(str, found)) == ["None", "None", "shared"]
