"""``metadata.parquet`` of a split: its columns (contract), and its rows in memory.

Arrow tables are lists of column chunks, so adding a batch copies nothing that is there already. pyarrow encodes
and parses in memory only; files are read and written by :mod:`harvester.store.disk`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harvester.errors import ForeignDataset
from harvester.model import Frame
from harvester.store.disk import machine_error
from harvester.store.layout import shown
from harvester.text import printable

if TYPE_CHECKING:
    import pyarrow as pa

#: Chunks of a table after which they are joined: 256 batches of 64 rows; joining 16 k rows takes about 2 ms.
MAX_CHUNKS = 256

#: Rows of a row group: small enough to read a part, large enough for dictionaries to pay.
ROW_GROUP_ROWS = 65_536

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
}
_OWN = (*_BEFORE_SCORES, *_AFTER_SCORES)

#: Own column that may be null, when Twitch does not tell; scores may too, when another filter set wrote the row.
_NULLABLE = "streamed_at"


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


class SplitRows:
    """The rows of one split, in the order they were published. Immutable: every change gives a new object."""

    def __init__(self, table: pa.Table, labels: frozenset[tuple[int, str]]) -> None:
        self.table = table
        self._labels = labels  # every (label id, label) that rows show; may name one that has left

    @classmethod
    def empty(cls) -> SplitRows:
        return cls(schema().empty_table(), frozenset())

    @classmethod
    def read(cls, path: Path) -> SplitRows:
        """Rows of a metadata file, none if it is absent.

        Raises :class:`ForeignDataset` if it is damaged, or has columns that only a newer version knows.
        """
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return cls.empty()
        except OSError as error:
            raise machine_error(error, path) from None
        table = _checked(_parsed(content, path), path)
        pairs = table.group_by(["label_id", "label"], use_threads=False).aggregate([]).to_pylist()
        return cls(table, frozenset((pair["label_id"], pair["label"]) for pair in pairs))

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def added(self, frames: Sequence[Frame], names: Mapping[int, str]) -> SplitRows:
        """These rows and one for each frame; ``names``: the label shown for each label id."""
        import pyarrow as pa

        more = pa.Table.from_pylist([_row(frame, names) for frame in frames], schema=schema())
        table = pa.concat_tables([self.table, more])
        labels = self._labels | {(frame.label_id, names[frame.label_id]) for frame in frames}
        return SplitRows(table.combine_chunks() if table.column(0).num_chunks > MAX_CHUNKS else table, labels)

    def without(self, file_names: Collection[str]) -> SplitRows:
        """The rows of all other files."""
        import pyarrow.compute as pc

        return SplitRows(self.table.filter(pc.invert(self._among(file_names))), self._labels)

    def listed(self, file_names: Collection[str]) -> set[str]:
        """Those of ``file_names`` that have a row."""
        return set(self.table.column("file_name").filter(self._among(file_names)).to_pylist())

    def shows_other(self, names: Mapping[int, str]) -> bool:
        """True if a row's label is not the one that ``names`` gives its label id."""
        return any(names.get(label_id, label) != label for label_id, label in self._labels)

    def relabelled(self, names: Mapping[int, str]) -> SplitRows:
        """The rows with the label that ``names`` gives their label id; ids it lacks keep theirs."""
        import pyarrow as pa
        import pyarrow.compute as pc

        ids = list(names)
        place = pc.index_in(self.table.column("label_id"), pa.array(ids, pa.int64()))
        fresh = pc.take(pa.array([names[i] for i in ids], pa.string()), place)
        column = pc.coalesce(fresh, self.table.column("label"))
        number = self.table.schema.get_field_index("label")
        table = self.table.set_column(number, schema().field("label"), column)
        return SplitRows(table, frozenset((i, names.get(i, label)) for i, label in self._labels))

    def counts(self, column: str) -> dict[Any, int]:
        """How many rows have each value of ``column``."""
        pairs = self.table.column(column).value_counts().to_pylist()
        return {pair["values"]: pair["counts"] for pair in pairs}

    def encoded(self) -> memoryview:
        """The rows as a Parquet file."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        sink = pa.BufferOutputStream()
        pq.write_table(self.table, sink, compression="zstd", row_group_size=ROW_GROUP_ROWS)
        return memoryview(sink.getvalue())

    def frames(self) -> Iterator[Frame]:
        """The rows as frames without pixels."""
        for batch in self.table.to_batches():
            for row in batch.to_pylist():
                yield _frame(row)

    def _among(self, file_names: Collection[str]) -> Any:
        import pyarrow as pa
        import pyarrow.compute as pc

        return pc.is_in(self.table.column("file_name"), pa.array(list(file_names), pa.string()))


def _row(frame: Frame, names: Mapping[int, str]) -> dict[str, Any]:
    row = {name: getattr(frame, name) for name in _OWN}
    row["label"] = names[frame.label_id]
    return row | {name: frame.scores.get(name) for name in score_names()}


def _frame(row: dict[str, Any]) -> Frame:
    scores = {name: row[name] for name in score_names() if row[name] is not None}
    return Frame(**{name: row[name] for name in _OWN}, scores=scores)


def _parsed(content: bytes, path: Path) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(pa.BufferReader(content)).read()
        table.validate(full=True)
        table.schema.names  # noqa: B018 - decodes them
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:  # footer, names, pages
        raise _damaged(path, str(error)) from None
    return table


def _checked(table: pa.Table, path: Path) -> pa.Table:
    """``table`` with exactly our columns: scores of an older filter set may lack, nothing may be unknown."""
    import pyarrow as pa

    names = table.column_names
    unknown = [name for name in names if name not in schema().names]
    if unknown:
        what = f"{shown(path)} has columns this version does not know ({printable(', '.join(unknown))})"
        raise ForeignDataset(f"{what}: it was written by a newer version; update harvester")
    missing = [name for name in _OWN if name not in names]
    if missing or len(set(names)) != len(names):
        raise _damaged(path, f"columns missing or twice: {', '.join(missing) or 'twice'}")
    for name in set(score_names()) - set(names):
        table = table.append_column(name, pa.nulls(table.num_rows, pa.float64()))
    return _cast(table.select(schema().names), path)


def _cast(table: pa.Table, path: Path) -> pa.Table:
    import pyarrow as pa

    empty = [name for name in _OWN if name != _NULLABLE and table.column(name).null_count]
    if empty:
        raise _damaged(path, f"empty fields in {', '.join(empty)}")
    try:
        return table.cast(schema())
    except pa.ArrowException as error:
        raise _damaged(path, str(error)) from None


def _damaged(path: Path, why: str) -> ForeignDataset:
    return ForeignDataset(f"{shown(path)} is damaged ({printable(why)}): restore it from a copy")
