"""The columns of ``metadata.parquet`` (contract), its rows as frames, its files read, its tables asked.

Files are read a row group at a time; one that is no good is a :class:`ForeignDataset`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from harvester.errors import ForeignDataset
from harvester.model import Frame
from harvester.store.disk import machine_error
from harvester.store.layout import shown
from harvester.text import printable

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

ReadT = TypeVar("ReadT")

#: Rows of a row group: small enough to read a part (some 20 MB of memory), large enough for dictionaries to pay.
ROW_GROUP_ROWS = 16_384

#: Columns of :func:`smallest`, in the order in which rows are sorted by it.
SAMPLED = ("label_id", "sha256", "file_name")

_BEFORE_SCORES = {
    "file_name": "string",
    "label": "string",
    "label_id": "int64",
    "category_id": "string",
    "source_type": "string",
    "source_id": "string",
    "broadcaster_id": "string",
    "offset_s": "float64",
    "streamed_at": "utc",
    "width": "int32",
    "height": "int32",
    "rendition": "string",
    "codec": "string",
    "decoder": "string",
    "phash": "string",
    "sha256": "string",
    "label_source": "string",
    "label_confidence": "float64",
}
_AFTER_SCORES = {
    "split": "string",
    "run_id": "string",
    "harvester_version": "string",
    "harvested_at": "utc",
    "url": "string",
    "overlay_boxes": "string",
    "scene": "string",
}
_OWN = (*_BEFORE_SCORES, *_AFTER_SCORES)

#: Own columns that older versions did not write.
_LATER = ("overlay_boxes", "scene")

#: Own columns that may be null, when Twitch does not tell, or too little is known; scores may too, when another
#: filter set wrote the row.
_NULLABLE = ("streamed_at", *_LATER)


@cache
def score_names() -> tuple[str, ...]:
    """Columns of the filters' scores (float64), in their order."""
    from harvester.vision.filters import SCORE_NAMES

    return SCORE_NAMES


@cache
def schema() -> pa.Schema:
    """The columns in their order; times in microseconds UTC, scores float64."""
    import pyarrow as pa

    types = {"utc": pa.timestamp("us", tz="UTC")}
    columns = _BEFORE_SCORES | dict.fromkeys(score_names(), "float64") | _AFTER_SCORES
    return pa.schema(
        [pa.field(name, types.get(kind) or pa.type_for_alias(kind)) for name, kind in columns.items()]
    )


def row_of(frame: Frame, names: Mapping[int, str]) -> dict[str, Any]:
    """The row of a frame; ``names``: the label shown for each label id."""
    row = {name: getattr(frame, name) for name in _OWN}
    row["label"] = names[frame.label_id]
    return row | {name: frame.scores.get(name) for name in score_names()}


def frame_of(row: Mapping[str, Any]) -> Frame:
    """The frame, without pixels, whose row that is."""
    scores = {name: row[name] for name in score_names() if row[name] is not None}
    return Frame(**{name: row[name] for name in _OWN}, scores=scores)


def tables_of(path: Path, columns: Sequence[str] | None = None, *, whole: bool = False) -> Iterator[pa.Table]:
    """The rows of one file, a row group at a time; none if it is absent. ``whole``: look for damage inside."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with path.open("rb") as source:
            file = _attempted(lambda: pq.ParquetFile(source), path)
            names = _names_in(file, path)
            wanted = [name for name in columns or schema().names if name in names]
            batches = _attempted(lambda: file.iter_batches(ROW_GROUP_ROWS, columns=wanted), path)
            while (batch := _attempted(lambda: next(batches, None), path)) is not None:
                table = pa.Table.from_batches([batch])
                if whole:
                    _attempted(partial(table.validate, full=True), path)
                yield _cast(table, columns or schema().names, path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise machine_error(error, path) from None


def lacks_columns(path: Path) -> bool:
    """True if an older version wrote the file."""
    import pyarrow.parquet as pq

    with path.open("rb") as source:
        return len(_names_in(_attempted(lambda: pq.ParquetFile(source), path), path)) < len(schema().names)


def _attempted(read: Callable[[], ReadT], path: Path) -> ReadT:
    """What pyarrow reads of the footer, the names, the pages; it has many ways to say that they are no good."""
    import pyarrow as pa

    try:
        return read()
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        raise damaged(path, str(error)) from None


def _names_in(file: pq.ParquetFile, path: Path) -> list[str]:
    """The file's columns: those of an older version may lack some, nothing may be unknown."""
    names: list[str] = _attempted(lambda: file.schema_arrow.names, path)
    unknown = [name for name in names if name not in schema().names]
    if unknown:
        what = f"{shown(path)} has columns this version does not know ({printable(', '.join(unknown))})"
        raise ForeignDataset(f"{what}: it was written by a newer version; update harvester")
    missing = [name for name in _OWN if name not in names and name not in _LATER]
    if missing or len(set(names)) != len(names):
        raise damaged(path, f"columns missing or twice: {', '.join(missing) or 'twice'}")
    return names


def _cast(table: pa.Table, columns: Sequence[str], path: Path) -> pa.Table:
    """``table`` with exactly these columns, in their types; what an older version did not write is null."""
    import pyarrow as pa

    for name in set(columns) - set(table.column_names):
        table = table.append_column(name, pa.nulls(table.num_rows, schema().field(name).type))
    own = [name for name in columns if name in _OWN and name not in _NULLABLE]
    if empty := [name for name in own if table.column(name).null_count]:
        raise damaged(path, f"empty fields in {', '.join(empty)}")
    try:
        return table.select(columns).cast(pa.schema([schema().field(name) for name in columns]))
    except pa.ArrowException as error:
        raise damaged(path, str(error)) from None


def damaged(path: Path, why: str) -> ForeignDataset:
    """The error that the file cannot be used."""
    return ForeignDataset(f"{shown(path)} is damaged ({printable(why)}): restore it from a copy")


# -- what tables are asked, and how they change ------------------------------------------------------------------


def among(table: pa.Table, file_names: Collection[str]) -> Any:
    """Which rows are of these files, as an Arrow array."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.is_in(table.column("file_name"), pa.array(list(file_names), pa.string()))


def tallied(table: pa.Table) -> dict[tuple[Any, ...], int]:
    """How many rows have each combination of values."""
    groups = table.group_by(table.column_names, use_threads=False).aggregate([([], "count_all")])
    values = zip(*(groups.column(name).to_pylist() for name in table.column_names), strict=True)
    return dict(zip(values, groups.column("count_all").to_pylist(), strict=True))


def replaced(table: pa.Table, key: str, values: Mapping[Any, str | None], column: str) -> pa.Table:
    """``table`` with ``column`` as ``values`` has it for each row's ``key``; unchanged where it lacks that."""
    import pyarrow as pa
    import pyarrow.compute as pc

    keys = list(values)
    place = pc.index_in(table.column(key), pa.array(keys, schema().field(key).type))
    fresh = pc.take(pa.array([values[each] for each in keys], pa.string()), place)
    column_now = pc.if_else(pc.is_valid(place), fresh, table.column(column))
    return table.set_column(table.schema.get_field_index(column), schema().field(column), column_now)


def smallest(table: pa.Table, count: int) -> pa.Table:
    """The rows that are not beyond the first ``count`` of their label, in the order of their hashes."""
    import pyarrow.compute as pc

    table = table.take(pc.sort_indices(table, [(name, "ascending") for name in SAMPLED]))
    labels = table.column("label_id").to_numpy()
    starts = np.searchsorted(labels, labels)  # where the label of each row begins
    return table.filter(np.arange(len(labels)) - starts < count)


# -- what only the dataset as a whole tells ----------------------------------------------------------------------

#: Columns that have few values in many rows.
REPETITIVE = ("overlay_boxes", "scene")


@dataclass(frozen=True, slots=True)
class Marks:
    """What rows show from now on; others keep what they have.

    ``overlays``: by broadcaster id, None for none (:mod:`harvester.store.overlays`). ``scenes``: by name of the
    file (:mod:`harvester.store.shared`).
    """

    overlays: Mapping[str, str | None] = field(default_factory=dict)
    scenes: Mapping[str, str] = field(default_factory=dict)

    def are_in(self, table: pa.Table) -> bool:
        """Whether the rows show them already; of :attr:`columns`."""
        return bool(self.entered(table).equals(table))

    @property
    def columns(self) -> list[str]:
        """Those that it takes to enter them."""
        overlays = ["broadcaster_id", "overlay_boxes"] if self.overlays else []
        return [*overlays, "file_name", "scene"] if self.scenes else overlays

    def entered(self, table: pa.Table) -> pa.Table:
        """``table`` with them."""
        shown = replaced(table, "broadcaster_id", self.overlays, "overlay_boxes") if self.overlays else table
        return replaced(shown, "file_name", self.scenes, "scene") if self.scenes else shown


NO_MARKS = Marks()
