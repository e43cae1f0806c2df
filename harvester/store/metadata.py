"""The rows of a split: those in its ``metadata.parquet``, and those that stand beside it.

A Parquet file cannot grow: with every batch it would be written anew, and a night would be spent on that. So rows
of a large split first stand *beside* the file, in a small hidden Parquet file for each batch, which is no part of
the dataset yet and which no reader looks at. Once they are a sixteenth of what is listed, at the end of a run, and
at the next start after a kill, all rows are written as one file, and those beside it go. What is written for n
frames is then in proportion to n. Who must end at once leaves that to the next start too::

    metadata.parquet                  rows 0 ... 95,999
    .metadata-000096000.parquet       rows 96,000 ... 96,063
    .metadata-000096064.parquet       rows 96,064 ... 96,127

What is in the file is read from there when it is asked for, some rows at a time, so that memory does not grow with
the dataset. Arrow tables are lists of column chunks: adding a batch copies nothing that is there already. What a
file holds is said in :mod:`harvester.store.columns`; files are written by :mod:`harvester.store.disk`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harvester.errors import ForeignDataset
from harvester.model import Frame
from harvester.store.columns import (
    NO_MARKS,
    REPETITIVE,
    ROW_GROUP_ROWS,
    SAMPLED,
    Marks,
    among,
    frame_of,
    lacks_columns,
    replaced,
    row_of,
    schema,
    smallest,
    tables_of,
    tallied,
)
from harvester.store.layout import shown

if TYPE_CHECKING:
    import pyarrow as pa

#: Rows may stand beside the file up to this share of those in it: each row is then written some 17 times in all,
#: 1.5 to 2 us each, as against the 10 ms that a frame costs; and small datasets are listed whole with each batch.
BESIDE_SHARE = 1 / 16

#: Chunks of rows beside the file after which they are joined: 256 batches of 64 rows take about 2 ms.
MAX_CHUNKS = 256

#: Rows turned into frames, or asked about, at a time: 4 MB.
ROWS_AT_ONCE = 4096


class Hurried(Exception):
    """There is no time for what the next run can do as well, as writing all rows of a long split anew."""


def _never() -> bool:
    return False


class SplitRows:
    """The rows of one split, in the order they were published. Immutable: every change gives a new object.

    The first ``in_file`` rows are those of the metadata file ``path``, read anew whenever they are asked for; the
    others, few, are in memory. So an object is good until rows leave its file; that others are added is no matter.
    """

    def __init__(
        self, more: pa.Table, labels: frozenset[tuple[int, str]], path: Path | None = None, in_file: int = 0
    ) -> None:
        self.in_file = in_file
        self._path = path
        self._more = more
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

        beside = [table for file in files_beside(path) for table in tables_of(file)]  # first: they may move in
        labels: set[tuple[int, str]] = set()
        count = 0
        for table in tables_of(path, whole=True):
            labels |= _labels_of(table)
            count += table.num_rows
        rows = cls(schema().empty_table(), frozenset(labels), path, count)
        if not beside:
            return rows
        more = cls(pa.concat_tables(beside), frozenset())
        more = more.without(rows.listed(more.table.column("file_name").to_pylist()))
        return cls(more.table, frozenset(labels | _labels_of(more.table)), path, count)

    def __len__(self) -> int:
        return self.in_file + int(self._more.num_rows)

    @property
    def table(self) -> pa.Table:
        """All rows in memory: 390 bytes each, and 120 for each box of its overlays."""
        import pyarrow as pa

        return pa.concat_tables(self._tables()) if self.in_file else self._more

    def added(self, frames: Sequence[Frame], names: Mapping[int, str]) -> SplitRows:
        """These rows and one for each frame; ``names``: the label shown for each label id."""
        import pyarrow as pa

        fresh = pa.Table.from_pylist([row_of(frame, names) for frame in frames], schema=schema())
        more = pa.concat_tables([self._more, fresh])
        if more.column(0).num_chunks > MAX_CHUNKS:
            more = more.combine_chunks()
        labels = self._labels | {(frame.label_id, names[frame.label_id]) for frame in frames}
        return SplitRows(more, labels, self._path, self.in_file)

    @property
    def is_due(self) -> bool:
        """True if there are so many rows beside the file that it should be written anew."""
        return len(self) - self.in_file > BESIDE_SHARE * self.in_file

    def written(self, path: Path) -> SplitRows:
        """The same rows, all of them in the file ``path``, which holds what :meth:`encoded` gave."""
        return SplitRows(schema().empty_table(), self._labels, path, len(self))

    def without(self, file_names: Collection[str]) -> SplitRows:
        """The rows of all other files."""
        import pyarrow as pa
        import pyarrow.compute as pc

        left = [table.filter(pc.invert(among(table, file_names))) for table in self._tables()]
        return SplitRows(pa.concat_tables([schema().empty_table(), *left]), self._labels)

    def listed(self, file_names: Collection[str]) -> set[str]:
        """Those of ``file_names`` that have a row."""
        tables = self._tables(["file_name"])
        return {n for table in tables for n in table.filter(among(table, file_names)).column(0).to_pylist()}

    def files_of(self, values: Mapping[str, Collection[str]]) -> set[str]:
        """Names of the files of the rows that have one of these values in each of these columns."""
        import pyarrow as pa
        import pyarrow.compute as pc

        wanted = {column: pa.array(list(some), pa.string()) for column, some in values.items()}
        found: set[str] = set()
        for table in self._tables(["file_name", *values]):
            matches = [pc.is_in(table.column(column), some) for column, some in wanted.items()]
            found.update(table.filter(reduce(pc.and_, matches)).column("file_name").to_pylist())
        return found

    def files_before(self, moment: datetime) -> set[str]:
        """Names of the files that were harvested before that time (UTC)."""
        import pyarrow as pa
        import pyarrow.compute as pc

        bound = pa.scalar(moment, schema().field("harvested_at").type)
        tables = self._tables(["file_name", "harvested_at"])
        old = (table.filter(pc.less(table.column("harvested_at"), bound)) for table in tables)
        return {name for table in old for name in table.column("file_name").to_pylist()}

    def shows_other(self, names: Mapping[int, str]) -> bool:
        """True if a row's label is not the one that ``names`` gives its label id."""
        return any(names.get(label_id, label) != label for label_id, label in self._labels)

    def relabelled(self, names: Mapping[int, str]) -> SplitRows:
        """The rows with the label that ``names`` gives their label id; ids it lacks keep theirs."""
        table = replaced(self.table, "label_id", names, "label")
        return SplitRows(table, frozenset((i, names.get(i, label)) for i, label in self._labels))

    def is_stale(self, marks: Marks) -> bool:
        """True if the file lacks columns, which readers want in all splits or in none, or a row does not show what
        ``marks`` says."""
        if self._path is not None and self.in_file and lacks_columns(self._path):
            return True
        tables = self._tables(marks.columns) if marks.columns else ()
        return not all(map(marks.are_in, tables))

    def counts(self, column: str) -> dict[Any, int]:
        """How many rows have each value of ``column``."""
        return {value: count for (value,), count in self.tally(column).items()}

    def tally(self, *columns: str) -> Counter[tuple[Any, ...]]:
        """How many rows have each combination of values of ``columns``."""
        total: Counter[tuple[Any, ...]] = Counter()
        for table in self._tables(columns):
            total.update(tallied(table))
        return total

    def samples(self, count: int) -> dict[int, list[tuple[str, str]]]:
        """Hash and name of ``count`` files of each label id: those of smallest hash, as good as by chance."""
        import pyarrow as pa

        best = schema().empty_table().select(SAMPLED)
        for table in self._tables(SAMPLED):
            best = smallest(pa.concat_tables([best, table]), count)
        found: dict[int, list[tuple[str, str]]] = {}
        for row in best.to_pylist():
            found.setdefault(row["label_id"], []).append((row["sha256"], row["file_name"]))
        return found

    def hashes(self) -> dict[str, tuple[NDArray[np.uint64], NDArray[np.int64]]]:
        """Perceptual hashes of the rows of each category id, and the numbers of these rows: 16 bytes a row."""
        parts: dict[str, list[tuple[NDArray[np.uint64], NDArray[np.int64]]]] = {}
        begun = 0
        for table in self._tables(("category_id", "phash")):
            digits = "".join(table.column("phash").to_pylist())
            hashes = np.frombuffer(bytes.fromhex(digits), ">u8").astype(np.uint64)
            for category_id, rows in _places(table.column("category_id").to_pylist()):
                parts.setdefault(category_id, []).append((hashes[rows], begun + rows))
            begun += table.num_rows
        return {
            category_id: (np.concatenate([part[0] for part in of_it]), np.concatenate([part[1] for part in of_it]))
            for category_id, of_it in parts.items()
        }

    def file_names(self, numbers: NDArray[np.int64]) -> list[str]:
        """Names of the files of these rows, in their order."""
        wanted, places = np.unique(numbers, return_inverse=True)
        names: list[str] = []
        begun = 0
        for table in self._tables(["file_name"]):
            here = wanted[(wanted >= begun) & (wanted < begun + table.num_rows)]
            names += table.take(here - begun).column(0).to_pylist()
            begun += table.num_rows
        return [names[place] for place in places]

    def encoded(
        self,
        first: int = 0,
        *,
        hurried: Callable[[], bool] = _never,
        marks: Marks = NO_MARKS,
    ) -> memoryview:
        """The rows from number ``first`` on as a Parquet file; ``first``: 0, or one that is not in the file.

        ``marks``: what rows show from now on. Without dictionaries, but for theirs: zstd does not need them, a
        third less time, an eighth fewer bytes. Raises :class:`Hurried` if ``hurried`` says so between two row
        groups of all rows, and there is a file already, beside which the new ones can stand.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        may_wait = self.in_file and not first
        tables = self._tables() if not first else [self._more.slice(first - self.in_file)]
        sink = pa.BufferOutputStream()
        with pq.ParquetWriter(sink, schema(), compression="zstd", use_dictionary=list(REPETITIVE)) as writer:
            for number, table in enumerate(_regrouped(tables)):
                if number and may_wait and hurried():
                    raise Hurried
                writer.write_table(marks.entered(table))
        return memoryview(sink.getvalue())

    def frames(self, unless: Callable[[Collection[str]], set[str]] | None = None) -> Iterator[Frame]:
        """The rows as frames without pixels; ``unless``: only those whose file is not among those it picks."""
        import pyarrow as pa

        for table in self._tables():
            for batch in table.to_batches(max_chunksize=ROWS_AT_ONCE):
                rows = SplitRows(pa.Table.from_batches([batch]), self._labels)
                if unless is not None:
                    rows = rows.without(unless(batch.column("file_name").to_pylist()))
                for row in rows.table.to_pylist():
                    yield frame_of(row)

    def _tables(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """All rows, some at a time; ``columns``: only these."""
        left = self.in_file
        for table in tables_of(self._path, columns) if self._path is not None and left else ():
            yield table.slice(0, left)  # a run that goes on meanwhile may have added some
            left -= min(left, table.num_rows)
        if left and self._path is not None:
            raise ForeignDataset(f"{shown(self._path)} has lost rows while it was in use: try again")
        if self._more.num_rows:
            yield self._more.select(columns or schema().names)


def name_beside(first: int) -> str:
    """Name of the file beside the metadata that holds the rows from number ``first`` on. Hidden from readers."""
    return f".metadata-{first:09d}.parquet"


def files_beside(path: Path) -> list[Path]:
    """The files with further rows beside the metadata file ``path``, in their order."""
    return sorted(path.parent.glob(".metadata-*.parquet"))


def _places(values: Sequence[str]) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Each of the values, and the places where it stands."""
    each, which = np.unique(np.array(values), return_inverse=True)
    order = np.argsort(which, kind="stable")
    yield from zip(map(str, each), np.split(order, np.cumsum(np.bincount(which))[:-1]), strict=True)


def _labels_of(table: pa.Table) -> set[tuple[int, str]]:
    return {(label_id, label) for label_id, label in tallied(table.select(["label_id", "label"]))}


def _regrouped(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows, :data:`ROW_GROUP_ROWS` at a time; none at all once, if there is none."""
    import pyarrow as pa

    waiting = schema().empty_table()
    for table in tables:
        waiting = pa.concat_tables([waiting, table])
        while waiting.num_rows > ROW_GROUP_ROWS:
            yield waiting.slice(0, ROW_GROUP_ROWS).combine_chunks()
            waiting = waiting.slice(ROW_GROUP_ROWS)
    yield waiting.combine_chunks()
