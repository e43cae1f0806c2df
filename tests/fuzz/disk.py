"""Targets that read what lies on the disk: configuration, the dataset's own files, packed measurements."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path

import pyarrow as pa

from harvester.config import Config, Decode, load
from harvester.decode import open_decoder
from harvester.model import SPLITS, AccessUnit, Codec
from harvester.store.classes import Classes
from harvester.store.dataset import Dataset
from harvester.store.layout import Layout
from harvester.store.metadata import SplitRows
from harvester.store.tombstones import Tombstone, Tombstones
from harvester.vision.measure import pack, unpack
from tests.contract.streams import Sample
from tests.fuzz.mutations import any_of, blind, document, text
from tests.fuzz.target import Reader, Target
from tests.unit.store.conftest import CELESTE, EMPTY_NAME, HADES, batch_of, nothing

_CONFIG = Path(__file__).parents[2] / "config.toml"


@cache
def _files() -> dict[str, bytes]:
    """The files of a small dataset, by name."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "frames"
        dataset = Dataset.open(root)
        wanted = [(HADES, "train", 1), (HADES, "train", 2), (CELESTE, "train", 3), (EMPTY_NAME, "train", 4)]
        dataset.publish(batch_of(dataset, *wanted), nothing)
        stones = dataset.tombstones.add(Tombstone("vod", "2001")).add(Tombstone(broadcaster_id="9001"))
        assert len(stones) == 2
        paths = (dataset.paths.classes, dataset.paths.tombstones, dataset.paths.metadata("train"))
        return {path.name: path.read_bytes() for path in paths}


def _file(name: str) -> Callable[[], tuple[bytes, ...]]:
    return lambda: (_files()[name],)


def _in_file(name: str, read: Callable[[Path], object]) -> Callable[[], AbstractContextManager[Reader]]:
    """A reader of a path, for inputs that lie in a file of that name."""

    @contextmanager
    def opened() -> Iterator[Reader]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name

            def reader(data: bytes) -> object:
                path.write_bytes(data)
                return read(path)

            yield reader

    return opened


def _read_config(path: Path) -> object:
    loaded = load(path, environ={}).config
    assert Config.model_validate(loaded.model_dump()) == loaded
    return loaded


def _read_classes(path: Path) -> object:
    classes = Classes.load(Layout(path.parent))
    assert [entry.label_id for entry in classes] == list(range(len(classes)))
    assert classes.split_of("9001") in SPLITS
    for entry in classes:
        entry.name.encode()
        assert "/" not in entry.slug
        assert classes.find(entry.category_id) == entry
    return classes


def _read_tombstones(path: Path) -> object:
    """Every entry of the file stands for something that must stay out; a file without its list is refused."""
    stones = Tombstones.open(Layout(path.parent))
    entries = json.loads(path.read_bytes())["tombstones"]
    assert isinstance(entries, list)
    assert len(stones) == len(entries)
    for entry in entries:
        names = [entry.get(name, "any") for name in ("source_type", "source_id", "broadcaster_id", "category_id")]
        assert stones.is_forgotten(*names)
    return stones


def _read_metadata(path: Path) -> object:
    before = pa.total_allocated_bytes()
    rows = SplitRows.read(path)
    assert pa.total_allocated_bytes() - before < 64 << 20
    assert len(rows) == rows.table.num_rows
    return rows.listed(["x"]), rows.shows_other({0: "x"}), len(rows.encoded())


@cache
def measurements() -> tuple[bytes, ...]:
    sample = Sample("h264", Codec.H264, 64, 48)
    decoder = open_decoder(Decode(backend="cpu"))
    return (pack(decoder.look(AccessUnit(sample.info, sample.packets(1)[0][0], 0.0)).measurement),)


@contextmanager
def _unpacking() -> Iterator[Reader]:
    yield unpack


DISK: tuple[Target, ...] = (
    Target(
        "config.toml",
        15,
        lambda: (_CONFIG.read_bytes(),),
        any_of(text, text, blind),
        _in_file("config.toml", _read_config),
    ),
    Target("classes.json", 40, _file("classes.json"), document, _in_file("classes.json", _read_classes)),
    Target(
        "tombstones.json", 40, _file("tombstones.json"), document, _in_file("tombstones.json", _read_tombstones)
    ),
    Target("metadata.parquet", 25, _file("metadata.parquet"), blind, _in_file("metadata.parquet", _read_metadata)),
    Target("packed measurement", 15, measurements, blind, _unpacking, (ValueError,)),
)
