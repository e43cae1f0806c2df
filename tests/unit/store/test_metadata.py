"""The columns of the contract, and what other versions and damaged disks make of them."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harvester.errors import ForeignDataset
from harvester.store import metadata
from harvester.store.columns import schema, score_names
from harvester.store.dataset import Dataset
from harvester.store.metadata import SplitRows
from tests.unit.store.conftest import CELESTE, HADES, frame_of, nothing

COLUMNS = (
    "file_name label label_id category_id source_type source_id broadcaster_id offset_s streamed_at width height "
    "rendition codec decoder phash sha256 label_source label_confidence | split run_id harvester_version "
    "harvested_at url overlay_boxes scene"
)


@pytest.fixture
def path(root: Path) -> Path:
    dataset = Dataset.open(root)
    dataset.publish([frame_of(dataset, HADES, "train", n) for n in range(4)], nothing)
    return dataset.paths.metadata("train")


def test_columns_are_those_of_the_contract(path: Path) -> None:
    before, after = (part.split() for part in COLUMNS.split("|"))
    table = pq.read_table(path)
    assert table.column_names == [*before, *score_names(), *after]
    types = {field.name: str(field.type) for field in table.schema}
    assert types.pop("label_id") == "int64"
    assert (types.pop("width"), types.pop("height")) == ("int32", "int32")
    assert types.pop("streamed_at") == types.pop("harvested_at") == "timestamp[us, tz=UTC]"
    floats = {"offset_s", "label_confidence", *score_names()}
    assert {name for name, kind in types.items() if kind == "double"} == floats
    assert {kind for name, kind in types.items() if name not in floats} == {"string"}
    assert table.column("overlay_boxes").null_count == table.column("scene").null_count == 4
    assert table.column("streamed_at").null_count == 2
    assert table.column("split").unique().to_pylist() == ["train"]


def test_rows_are_immutable(path: Path) -> None:
    rows = SplitRows.read(path)
    names = rows.table.column("file_name").to_pylist()
    fewer = rows.without(names[1:3])
    assert (len(rows), len(fewer)) == (4, 2)
    assert fewer.table.column("file_name").to_pylist() == [names[0], names[3]]
    assert rows.listed([names[1], "a/b.jpg"]) == {names[1]}
    assert rows.relabelled({0: "Other", 7: "x"}).counts("label") == {"Other": 4}
    assert rows.counts("label") == {"Hades II": 4}
    assert not rows.shows_other({0: "Hades II", 7: "x"})
    assert rows.shows_other({0: "Other"})
    assert not rows.relabelled({0: "Other"}).shows_other({0: "Other"})
    assert len(SplitRows.read(path.with_name("absent.parquet"))) == 0


def test_chunks_are_joined_now_and_then(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "MAX_CHUNKS", 3)
    dataset = Dataset.open(root)
    rows, names = SplitRows.empty(), {0: "Hades II"}
    chunks = []
    for seed in range(8):
        rows = rows.added([frame_of(dataset, HADES, "train", seed)[0]], names)
        chunks.append(rows.table.column(0).num_chunks)
    assert max(chunks) <= 4
    assert [frame.offset_s for frame in rows.frames()] == [seed + 0.25 for seed in range(8)]


def test_scores_of_an_older_filter_set_are_null(path: Path) -> None:
    name = score_names()[-1]
    pq.write_table(pq.read_table(path).drop_columns([name]), path)
    rows = SplitRows.read(path)
    assert rows.table.schema.equals(schema())
    assert rows.table.column(name).null_count == 4
    assert all(name not in frame.scores and len(frame.scores) == len(score_names()) - 1 for frame in rows.frames())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda t: t.append_column("gloss", t.column("offset_s")), r"gloss.*newer version"),
        (lambda t: t.drop_columns(["phash"]), r"damaged.*phash"),
        (lambda t: t.append_column("label", t.column("label")), "damaged"),
        (lambda t: t.set_column(2, "label_id", pa.array(["a", "b", "c", "d"])), "damaged"),
        (lambda t: t.set_column(0, "file_name", pa.nulls(4, pa.string())), r"damaged.*file_name"),
    ],
)
def test_other_columns_are_refused(path: Path, change: object, told: str) -> None:
    pq.write_table(change(pq.read_table(path)), path)  # type: ignore[operator]
    with pytest.raises(ForeignDataset, match=told) as caught:
        SplitRows.read(path)
    assert len(str(caught.value).splitlines()) == 1


def test_narrower_types_of_other_writers_are_taken(path: Path) -> None:
    table = pq.read_table(path)
    number = table.column_names.index("label_id")
    pq.write_table(table.set_column(number, "label_id", table.column("label_id").cast(pa.int16())), path)
    assert SplitRows.read(path).table.schema.equals(schema())


def test_cut_files_are_refused(path: Path) -> None:
    whole = path.read_bytes()
    for end in [0, 1, 4, 100, len(whole) // 2, len(whole) - 9, len(whole) - 1]:
        path.write_bytes(whole[:end])
        with pytest.raises(ForeignDataset, match="damaged"):
            SplitRows.read(path)


@pytest.mark.long
def test_damaged_bytes_are_refused_or_readable(path: Path) -> None:
    whole, rng = path.read_bytes(), random.Random(1)
    refused = 0
    for _ in range(1500):
        damaged = bytearray(whole)
        for _ in range(rng.choice([1, 1, 4])):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        path.write_bytes(damaged)
        try:
            assert SplitRows.read(path).table.schema.equals(schema())
        except ForeignDataset:
            refused += 1
    assert refused > 100


def test_labels_of_unknown_ids_stay(root: Path) -> None:
    dataset = Dataset.open(root)
    frames = [frame_of(dataset, category, "train", 1)[0] for category in (HADES, CELESTE)]
    rows = SplitRows.empty().added(frames, {0: "Hades II", 1: "Celeste"})
    assert rows.relabelled({0: "New"}).counts("label") == {"New": 1, "Celeste": 1}
