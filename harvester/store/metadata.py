"""``metadata.parquet`` of a split: its columns (contract), and its rows in memory.

A Parquet file cannot grow: with every batch it would be written anew, and a night would be spent on that. So rows
of a large split first stand *beside* the file, in a small hidden Parquet file for each batch, which is no part of
the dataset yet and which no reader looks at. Once they are a sixteenth of what is listed, at the end of a run, and
at the next start after a kill, all rows are written as one file, and those beside it go. What is written for n
frames is then in proportion to n::

    metadata.parquet                  rows 0 ... 95,999
    .metadata-000096000.parquet       rows 96,000 ... 96,063
    .metadata-000096064.parquet       rows 96,064 ... 96,127

Arrow tables are lists of column chunks, so adding a batch copies nothing that is there already. pyarrow encodes
and parses in memory only; files are written by :mod:`harvester.store.disk`.
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

#: Rows may stand beside the file up to this share of those in it: each row is then written some 17 times in all,
#: 1.5 to 2 us each, as against the 10 ms that a frame costs; and small datasets are listed whole with each batch.
BESIDE_SHARE = 1 / 16

#: Chunks of rows beside the file after which they are joined: 256 batches of 64 rows take about 2 ms.
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
    """The rows of one split, in the order they were published. Immutable: every change gives a new object.

    ``in_file``: how many of them, from the first on, its metadata file lists just so; the others stand beside it.
    """

    def __init__(self, table: pa.Table, labels: frozenset[tuple[int, str]], in_file: int = 0) -> None:
        self.table = table
        self.in_file = in_file
        self._labels = labels  # every (label id, label) that rows show; may name one that has left

    @classmethod
    def empty(cls) -> SplitRows:
        return cls(schema().empty_table(), frozenset())

    @classmethod
    def read(cls, path: Path) -> SplitRows:
        """Rows of a metadata file, none if it is absent, and of the files beside it.

        Raises :class:`ForeignDataset` if one is damaged, or has columns that only a newer version knows.
        """
        import pyarrow as pa

        beside = [_file(file) for file in files_beside(path)]  # before the file that may just be taking them in
        table = _file(path)
        rows = cls(table, frozenset(), table.num_rows)
        if beside:
            more = pa.concat_tables(beside)
            known = rows.listed(more.column("file_name").to_pylist())
            table = pa.concat_tables([table, cls(more, frozenset()).without(known).table])
        pairs = table.group_by(["label_id", "label"], use_threads=False).aggregate([]).to_pylist()
        return cls(table, frozenset((pair["label_id"], pair["label"]) for pair in pairs), rows.in_file)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def added(self, frames: Sequence[Frame], names: Mapping[int, str]) -> SplitRows:
        """These rows and one for each frame; ``names``: the label shown for each label id."""
        import pyarrow as pa

        more = pa.Table.from_pylist([_row(frame, names) for frame in frames], schema=schema())
        beside = pa.concat_tables([self.table.slice(self.in_file), more])
        if beside.column(0).num_chunks > MAX_CHUNKS:
            beside = beside.combine_chunks()
        table = pa.concat_tables([self.table.slice(0, self.in_file), beside]) if self.in_file else beside
        labels = self._labels | {(frame.label_id, names[frame.label_id]) for frame in frames}
        return SplitRows(table, labels, self.in_file)

    @property
    def is_due(self) -> bool:
        """True if there are so many rows beside the file that it should be written anew."""
        return len(self) - self.in_file > BESIDE_SHARE * self.in_file

    def all_in_file(self) -> SplitRows:
        """The same rows, all of them in the file."""
        return SplitRows(self.table.combine_chunks(), self._labels, len(self))

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

    def encoded(self, first: int = 0) -> memoryview:
        """The rows from number ``first`` on as a Parquet file."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        sink = pa.BufferOutputStream()
        pq.write_table(self.table.slice(first), sink, compression="zstd", row_group_size=ROW_GROUP_ROWS)
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


def name_beside(first: int) -> str:
    """Name of the file beside the metadata that holds the rows from number ``first`` on. Hidden from readers."""
    return f".metadata-{first:09d}.parquet"


def files_beside(path: Path) -> list[Path]:
    """The files with further rows beside the metadata file ``path``, in their order."""
    return sorted(path.parent.glob(".metadata-*.parquet"))


def _file(path: Path) -> pa.Table:
    """The rows of one file; none if it is absent."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return schema().empty_table()
    except OSError as error:
        raise machine_error(error, path) from None
    return _checked(_parsed(content, path), path)


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
