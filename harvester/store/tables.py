"""Arrow tables of metadata rows: what is asked of one, and a column of it that changes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from harvester.store.columns import schema

if TYPE_CHECKING:
    import pyarrow as pa

#: Columns of :func:`smallest`, in the order in which rows are sorted by it.
SAMPLED = ("label_id", "sha256", "file_name")


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


def replaced(table: pa.Table, key: str, values: Mapping[Any, str], column: str) -> pa.Table:
    """``table`` with ``column`` as ``values`` has it for each row's ``key``; unchanged where it lacks that."""
    import pyarrow as pa
    import pyarrow.compute as pc

    keys = list(values)
    place = pc.index_in(table.column(key), pa.array(keys, schema().field(key).type))
    fresh = pc.take(pa.array([values[each] for each in keys], pa.string()), place)
    number = table.schema.get_field_index(column)
    return table.set_column(number, schema().field(column), pc.coalesce(fresh, table.column(column)))


def smallest(table: pa.Table, count: int) -> pa.Table:
    """The rows that are not beyond the first ``count`` of their label, in the order of their hashes."""
    import pyarrow.compute as pc

    table = table.take(pc.sort_indices(table, [(name, "ascending") for name in SAMPLED]))
    labels = table.column("label_id").to_numpy()
    starts = np.searchsorted(labels, labels)  # where the label of each row begins
    return table.filter(np.arange(len(labels)) - starts < count)
