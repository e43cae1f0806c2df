"""Overlays of broadcasters: from a barrier into the ledger, from there into the metadata, whole at every step."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from harvester.config import Filter
from harvester.model import Measurement, SplitName
from harvester.store import overlays as store_overlays
from harvester.store.columns import Marks
from harvester.store.dataset import Dataset
from harvester.store.ledger import Ledger
from harvester.store.metadata import Hurried, SplitRows
from harvester.store.overlays import overlays_seen
from harvester.store.tombstones import Tombstone
from harvester.vision import overlay
from tests.unit.store.conftest import (
    BROADCASTERS,
    HADES,
    DiskSteps,
    Killed,
    assert_valid,
    batch_of,
    images,
    listed,
    nothing,
)
from tests.unit.store.test_removals import NOW, RULES, Books
from tests.unit.vision.test_overlay import LOGO, pictures, still

#: Pictures of a source, a minute apart, and sources of a broadcaster: enough for evidence.
SHOWN, SOURCES = 20, 3

PLAIN = pictures(count=SHOWN * SOURCES * 4, seed=5)
WITH_LOGO = pictures(still(LOGO), count=SHOWN * SOURCES * 4, seed=6)


class Channels(Books):
    """A ledger that is shown whole broadcasters; what they show is drawn of clouds, so blur is no matter."""

    def __init__(self, path: Path | None = None) -> None:
        super().__init__(path, replace(RULES, filter=Filter(blur=1)))

    def broadcaster(self, name: str, shown: list[Measurement], category: str = "1", first: int = 0) -> list[int]:
        """Kept decisions of one whose VODs show these pictures, a minute apart."""
        sources = [self.vod(int(name) * 100 + n + first, category, name) for n in range(SOURCES)]
        kept = []
        for number, one in enumerate(shown[: SHOWN * SOURCES]):
            outcome = self.show(sources[number % SOURCES], one, 6 * (number // SOURCES))
            assert outcome.verdict == "kept"
            kept.append(outcome.seq)
        return kept

    def seen(self, leaving: tuple[int, ...] = ()) -> dict[str, Any]:
        """What the next barrier tells, which is committed with it."""
        barrier = self.ledger.next_barrier()
        assert barrier is not None
        found = overlays_seen(self.ledger, barrier, leaving)
        self.ledger.commit_barrier(barrier, "run", NOW, dict.fromkeys(leaving, "recurring"), found)
        return {broadcaster_id: text and json.loads(text) for broadcaster_id, text in found.items()}


def group(shown: list[Measurement], number: int) -> list[Measurement]:
    """The ``number``-th part of some pictures: no two broadcasters show the same."""
    return shown[number * SHOWN * SOURCES :][: SHOWN * SOURCES]


def test_an_overlay_is_told_with_its_evidence() -> None:
    books = Channels()
    books.broadcaster("1", group(WITH_LOGO, 0))
    books.broadcaster("2", group(PLAIN, 0))
    found = books.seen()
    (box,) = found.pop("1")
    assert found == {"2": []}
    assert (box["kind"], box["pictures"], box["sources"], box["others"]) == ("static", SHOWN * SOURCES, SOURCES, 1)
    assert box["left"] == pytest.approx(LOGO[2] / 160, abs=0.002)
    assert set(books.ledger.overlays()) == {"1", "2"}


def test_a_panel_of_the_game_is_none_and_one_game_is_not_compared_with_another() -> None:
    books = Channels()
    for number, (name, category) in enumerate((("1", "1"), ("2", "1"), ("3", "2"))):
        books.broadcaster(name, group(WITH_LOGO, number), category)
    found = books.seen()
    assert (found["1"], found["2"]) == ([], [])
    assert [box["others"] for box in found["3"]] == [0]


def test_another_is_compared_by_what_it_shows_of_the_same_game() -> None:
    books = Channels()
    books.broadcaster("1", group(WITH_LOGO, 0))
    books.broadcaster("2", group(WITH_LOGO, 1))
    books.broadcaster("2", group(PLAIN, 0), "2", first=50)
    assert books.seen()["1"] == []


@pytest.mark.parametrize("name", ["MIN_PICTURES", "MIN_SOURCES", "MIN_MOMENTS"])
def test_of_whom_too_little_is_known_nothing_is_told(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    books = Channels()
    books.broadcaster("1", group(WITH_LOGO, 0))
    least = {"MIN_PICTURES": SHOWN * SOURCES, "MIN_SOURCES": SOURCES, "MIN_MOMENTS": SHOWN * SOURCES}[name]
    monkeypatch.setattr(overlay, name, least + 1)
    assert books.seen() == {"1": None}
    assert books.ledger.overlays() == {}
    monkeypatch.setattr(overlay, name, least)
    barrier = books.ledger.next_barrier()
    assert barrier is None
    (first,) = [found for found, _ in books.ledger.barriers()]
    assert overlays_seen(books.ledger, first, ())["1"] is not None


def test_what_leaves_tells_nothing() -> None:
    books = Channels()
    kept = books.broadcaster("1", group(WITH_LOGO, 0))
    books.ledger.commit_barrier(books.ledger.next_barrier(), "run", NOW, {kept[0]: "recurring"})  # type: ignore[arg-type]
    books.broadcaster("2", group(PLAIN, 0))
    books.broadcaster("1", group(WITH_LOGO, 1), first=50)
    found = books.seen(leaving=tuple(kept[1:3]))
    assert {box["pictures"] for box in found["1"]} == {2 * SHOWN * SOURCES - 3}


def test_only_those_who_were_seen_are_looked_at_again() -> None:
    books = Channels()
    books.broadcaster("1", group(WITH_LOGO, 0))
    before = books.seen()
    books.broadcaster("2", group(PLAIN, 0))
    assert books.seen().keys() == {"2"}
    assert json.loads(books.ledger.overlays()["1"]) == before["1"]


@pytest.mark.parametrize("cause", ["sightings", "retention"])
def test_of_whom_something_leaves_is_looked_at_again(cause: str) -> None:
    books = Channels()
    kept = books.broadcaster("1", group(WITH_LOGO, 0))
    books.broadcaster("3", group(PLAIN, 1))
    books.seen()
    few = kept[: overlay.MIN_PICTURES]
    gone = [seq for seq in kept if seq not in few]
    if cause == "retention":
        books.ledger.commit_barrier(books.ledger.retention_barrier(), "run", NOW, dict.fromkeys(gone, "expired"))
        gone = []
    books.broadcaster("2", group(PLAIN, 0))
    found = books.seen(leaving=tuple(gone))
    assert found.keys() == {"1", "2"}
    assert {box["pictures"] for box in found["1"]} == {overlay.MIN_PICTURES}
    books.broadcaster("2", group(PLAIN, 2), first=50)
    assert books.seen().keys() == {"2"}


def test_where_too_little_is_left_nothing_is_told_until_there_is_enough() -> None:
    books = Channels()
    kept = books.broadcaster("1", group(WITH_LOGO, 0))
    books.seen()
    books.broadcaster("2", group(PLAIN, 0))
    assert books.seen(leaving=tuple(kept[: SHOWN * SOURCES // 2]))["1"] is None
    assert books.ledger.overlays()["1"] is None
    books.broadcaster("1", group(WITH_LOGO, 1), first=50)
    assert books.seen()["1"]


def test_who_is_in_a_hurry_learns_nothing() -> None:
    books = Channels()
    for name in ("1", "2"):
        books.broadcaster(name, group(PLAIN, int(name)))
    barrier = books.ledger.next_barrier()
    assert barrier is not None
    answers = iter([False, True])
    with pytest.raises(Hurried):
        overlays_seen(books.ledger, barrier, (), lambda: next(answers))


def test_the_order_of_decisions_does_not_show() -> None:
    one, other = Channels(), Channels()
    for books, names in ((one, ("1", "2", "3")), (other, ("3", "1", "2"))):
        for name in names:
            books.broadcaster(name, group(WITH_LOGO if name == "1" else PLAIN, int(name)))
    assert one.seen() == other.seen()


def test_of_many_pictures_some_of_every_source_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    books, asked = Channels(), []
    kept = books.broadcaster("1", group(WITH_LOGO, 0))
    monkeypatch.setattr(store_overlays, "PICTURES", 48)
    measurements = Ledger.measurements

    def noted(ledger: Ledger, seqs: list[int]) -> Any:
        asked.extend(seqs)
        return measurements(ledger, seqs)

    monkeypatch.setattr(Ledger, "measurements", noted)
    (box,) = books.seen()["1"]
    assert box["pictures"] == len(set(asked[:48])) == 48
    assert box["sources"] == SOURCES
    assert Counter(kept.index(seq) % SOURCES for seq in asked[:48]) == dict.fromkeys(range(SOURCES), 16)


def test_what_is_forgotten_tells_no_overlay() -> None:
    books = Channels()
    for name in ("1", "2"):
        books.broadcaster(name, group(WITH_LOGO, int(name)))
    books.seen()
    books.ledger.erase(Tombstone(broadcaster_id="1"))
    assert books.ledger.overlays().keys() == {"2"}


def test_of_whom_a_part_is_forgotten_is_looked_at_again() -> None:
    books = Channels()
    books.broadcaster("1", group(WITH_LOGO, 0))
    books.broadcaster("1", group(WITH_LOGO, 1), first=50)
    books.broadcaster("3", group(PLAIN, 1))
    books.seen()
    books.ledger.erase(Tombstone(source_type="vod", source_id="100"))
    assert books.ledger.overlays()["1"] is None
    assert books.ledger.overlays()["3"] is not None
    books.broadcaster("2", group(PLAIN, 0))
    found = books.seen()
    assert found.keys() == {"1", "2"}
    assert {(box["pictures"], box["sources"]) for box in found["1"]} == {(5 * SHOWN, 5)}


# -- in the metadata ----------------------------------------------------------------------------------------------

TRAIN, TEST = BROADCASTERS["train"], BROADCASTERS["test"]


@pytest.fixture
def published(root: Path) -> Dataset:
    dataset = Dataset.open(root)
    wanted = [(HADES, "train", 1), (HADES, "train", 2), (HADES, "test", 3)]
    dataset.publish(batch_of(dataset, *wanted), nothing)  # type: ignore[arg-type]
    return dataset


def shown(root: Path) -> dict[str, set[str | None]]:
    """Overlays that the metadata on disk shows, by broadcaster."""
    found: dict[str, set[str | None]] = {}
    for file in sorted((root / "data").glob("*/metadata.parquet")):
        for row in pq.ParquetFile(file).read(["broadcaster_id", "overlay_boxes"]).to_pylist():
            found.setdefault(row["broadcaster_id"], set()).add(row["overlay_boxes"])
    return found


def test_rows_show_the_overlays_of_their_broadcaster(published: Dataset, root: Path) -> None:
    assert shown(root) == {TRAIN: {None}, TEST: {None}}
    assert published.complete(Marks({TRAIN: "[1]", "7": "[2]"}))
    assert shown(root) == {TRAIN: {"[1]"}, TEST: {None}}
    assert {frame.overlay_boxes for frame in Dataset.open(root).frames()} == {"[1]", None}
    assert listed(root) == images(root)


def test_rows_that_show_them_already_are_not_written_again(published: Dataset, root: Path) -> None:
    published.complete(Marks({TRAIN: "[1]"}))
    files = [published.paths.metadata(split) for split in ("train", "test")]
    before = [file.stat().st_ino for file in files]
    published.complete(Marks({TRAIN: "[1]"}))
    assert [file.stat().st_ino for file in files] == before
    published.complete(Marks({TRAIN: "[1]", TEST: "[]"}))
    assert [file.stat().st_ino == old for file, old in zip(files, before, strict=True)] == [True, False]


def test_what_the_ledger_lost_stays_in_the_metadata(published: Dataset, root: Path) -> None:
    published.complete(Marks({TRAIN: "[1]"}))
    opened = Dataset.open(root)
    opened.publish(batch_of(opened, (HADES, "train", 4)), nothing)
    opened.complete(Marks({}))
    assert shown(root)[TRAIN] == {"[1]", None}
    path = opened.paths.metadata("train")
    path.write_bytes(SplitRows.read(path).encoded(marks=Marks({"7": "[2]"})))
    opened = Dataset.open(root)
    assert shown(root)[TRAIN] == {"[1]", None}
    opened.complete(Marks({TRAIN: "[3]"}))
    assert shown(root)[TRAIN] == {"[3]"}
    opened.complete(Marks({TRAIN: None}))
    assert shown(root)[TRAIN] == {None}


@pytest.mark.parametrize("older", ["train", "test"])
def test_a_split_without_the_column_gets_it_with_the_next_start(
    published: Dataset, root: Path, older: SplitName
) -> None:
    """Readers refuse splits of different columns."""
    path = published.paths.metadata(older)
    pq.write_table(pq.read_table(path).drop_columns(["overlay_boxes", "sharpness"]), path)
    Dataset.open(root).recover(lambda name: True)
    assert shown(root) == {TRAIN: {None}, TEST: {None}}
    columns = [pq.read_schema(published.paths.metadata(split)).names for split in ("train", "test")]
    assert columns[0] == columns[1]


def test_a_file_without_the_column_is_read_and_gets_it(published: Dataset, root: Path) -> None:
    path = published.paths.metadata("train")
    pq.write_table(pq.read_table(path).drop_columns("overlay_boxes"), path)
    opened = Dataset.open(root)
    assert [frame.overlay_boxes for frame in opened.frames()] == [None] * 3
    assert SplitRows.read(path).tally("overlay_boxes") == {(None,): 2}
    opened.complete(Marks({TRAIN: "[1]"}))
    assert shown(root)[TRAIN] == {"[1]"}


def test_killed_at_any_step_the_rows_are_whole_and_the_next_start_ends_it(
    published: Dataset, root: Path, disk_steps: DiskSteps
) -> None:
    names = {TRAIN: "[1]", TEST: "[2]"}
    at = 0
    while True:
        at += 1
        try:
            disk_steps.run(lambda: Dataset.open(root).complete(Marks({TRAIN: f"[{at}]", TEST: "[]"})), stop_at=at)
            break
        except Killed:
            disk_steps.counting = False
        assert_valid(root)
        assert all(len(its) == 1 for its in shown(root).values())
        opened = Dataset.open(root)
        opened.recover(lambda name: True)
        opened.complete(Marks(names))
        assert shown(root) == {TRAIN: {"[1]"}, TEST: {"[2]"}}
    assert at > 5


def test_the_datasets_library_loads_the_column(
    published: Dataset, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets

    older = published.paths.metadata("test")
    pq.write_table(pq.read_table(older).drop_columns("overlay_boxes"), older)
    boxes = [{"kind": "static", "left": 0.5, "top": 0.0, "right": 1.0, "bottom": 0.1}]
    Dataset.open(root).complete(Marks({TRAIN: json.dumps(boxes)}))
    loaded = datasets.load_dataset("imagefolder", data_dir=str(root), cache_dir=str(tmp_path / "cache"))
    assert [json.loads(row["overlay_boxes"]) for row in loaded["train"]] == [boxes, boxes]
    assert loaded["test"][0]["overlay_boxes"] is None
