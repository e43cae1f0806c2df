"""The near-duplicate index on disk: a mapped file of what the ledger says, so that nobody reads millions of rows.

One file a scope (a category, or the whole dataset) holds the tables of :mod:`harvester.vision.hamming` over the
anchors up to some decision of the ledger. It is written only here, when the index is opened, from committed rows
alone, and replaced at one instant; what a run adds lives in memory until the next run reads it from the ledger.
So a kill leaves the old file or the new one, and either with the rows after it is the same index.

A file is believed if its checksum holds and the ledger still has, at the decision where it ends, the same row of
the same run with as many anchors before it. Rows are only appended, by one run at a time, and only ``forget``
takes anchors away, so then all of them are the same. Else (absent, torn, of another form, of an older or newer
ledger) it is built anew::

    4096 bytes   header: one JSON object, padded with spaces
    arrays       starts, keys, uppers, lowers, each from a multiple of 64 bytes on
    4 bytes      CRC-32 of everything before
"""

from __future__ import annotations

import json
import mmap
import os
import sys
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from harvester.store.disk import changing, sync_folder
from harvester.store.ledger import AnchorMark, Ledger
from harvester.vision.hamming import BAND_BITS, BANDS, HashIndex, Tables

#: Tables in another order of bytes, or of another version, are built anew.
FORMAT = f"harvester-index-1-{sys.byteorder}"
HEADER_BYTES = 4096
ALIGNMENT = 64
CHUNK_BYTES = 1 << 20

#: The file is written again when the ledger has this many anchors more (reading them takes about 0.1 s) ...
SAVE_ROWS = 32_768
#: ... and this share of those in the file: at 10 million, a second of reading against six of writing.
SAVE_SHARE = 1 / 16


@dataclass(frozen=True, slots=True)
class Saved:
    """A file's tables, and the mark of the ledger up to which they hold its anchors."""

    tables: Tables
    mark: AnchorMark


def open_index(ledger: Ledger, folder: Path | None, category_id: str | None = None) -> HashIndex:
    """The index of the ledger's committed anchors: those of a category, or of the dataset (None); key = seq.

    ``folder``: where the files are kept, made if absent; None: nothing is read or written. Raises MachineError if
    the disk is full or refuses. Only for the holder of the dataset's lock.
    """
    if folder is None:
        return HashIndex.from_arrays(*ledger.anchors(category_id))
    file = _file(folder, category_id)
    saved = _believed(map_file(file, category_id), ledger, category_id)
    hashes, keys = ledger.anchors(category_id, after=saved.mark.seq if saved else None)
    if len(keys) < max(SAVE_ROWS, (saved.tables.rows if saved else 0) * SAVE_SHARE):
        index = HashIndex(saved.tables if saved else None)
        index.extend(hashes, keys)
        return index
    mark = ledger.anchor_mark(category_id, int(keys[-1]))
    tables = Tables.of(hashes, keys)
    del hashes, keys
    tables = saved.tables.merged(tables) if saved else tables
    del saved  # a mapped file cannot be replaced on Windows
    write_file(file, category_id, tables, mark)
    mapped = map_file(file, category_id)
    return HashIndex(mapped.tables if mapped else tables)


def _file(folder: Path, category_id: str | None) -> Path:
    name = "dataset" if category_id is None else f"category-{quote(category_id, safe='')}"
    return folder / f"{name}.hashes"


def _believed(saved: Saved | None, ledger: Ledger, category_id: str | None) -> Saved | None:
    return saved if saved and ledger.anchor_mark(category_id, saved.mark.seq) == saved.mark else None


# -- the file ---------------------------------------------------------------------------------------------


def write_file(file: Path, category_id: str | None, tables: Tables, mark: AnchorMark) -> None:
    """Save ``tables``, durable when it returns; until the rename readers see the old file. MachineError."""
    fresh = file.with_suffix(".new")
    with changing(file.parent):
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            with fresh.open("wb") as out:
                checksum = 0
                for part in _content(_header(category_id, tables, mark), tables):
                    checksum = zlib.crc32(part, checksum)
                    out.write(part)
                out.write(checksum.to_bytes(4, "little"))
                out.flush()
                os.fsync(out.fileno())
            os.replace(fresh, file)  # noqa: PTH105 - the name says that it overwrites, on every system
        except OSError:
            with suppress(OSError):
                fresh.unlink()  # it would fill the disk further
            raise
        sync_folder(file.parent)


def _header(category_id: str | None, tables: Tables, mark: AnchorMark) -> bytes:
    values = {
        "format": FORMAT,
        "category": category_id,
        "rows": tables.rows,
        "distinct": len(tables),
        "first_key": tables.first_key,
        "key_bytes": tables.keys.itemsize,
        "mark": mark,
    }
    return json.dumps(values).encode().ljust(HEADER_BYTES)


def _content(header: bytes, tables: Tables) -> Iterator[memoryview | bytes]:
    yield header
    for array in (tables.starts, tables.keys, tables.uppers, tables.lowers):
        yield np.ascontiguousarray(array).data.cast("B")
        yield bytes(-array.nbytes % ALIGNMENT)


def map_file(file: Path, category_id: str | None) -> Saved | None:
    """The file, mapped; None if it is absent or not whole, or not of this form and category."""
    try:
        with file.open("rb") as opened:
            if not _is_whole(opened.fileno()):
                return None
            mapped = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError:
        return None
    header = json.loads(mapped[:HEADER_BYTES])
    if header["format"] != FORMAT or header["category"] != category_id:
        return None
    return Saved(_tables(mapped, header), AnchorMark(*header["mark"]))


def _is_whole(descriptor: int) -> bool:
    """True if the checksum at the end is that of all before. Read, not mapped: what is mapped counts as memory."""
    left = os.fstat(descriptor).st_size - 4
    if left < HEADER_BYTES:
        return False
    checksum = 0
    while left and (chunk := os.read(descriptor, min(CHUNK_BYTES, left))):
        checksum = zlib.crc32(chunk, checksum)
        left -= len(chunk)
    return os.read(descriptor, 5) == checksum.to_bytes(4, "little")


def _tables(mapped: mmap.mmap, header: dict[str, Any]) -> Tables:
    at = HEADER_BYTES
    count = header["distinct"]

    def array(dtype: type[np.generic], size: int) -> NDArray[Any]:
        nonlocal at
        found = np.frombuffer(mapped, dtype, size, at)
        at += found.nbytes + -found.nbytes % ALIGNMENT
        return found

    starts = array(np.uint32, BANDS * ((1 << BAND_BITS) + 1))
    keys = array(np.uint32 if header["key_bytes"] == 4 else np.int64, count)
    uppers, lowers = array(np.uint32, BANDS * count), array(np.uint16, BANDS * count)
    return Tables(header["rows"], header["first_key"], keys, starts, uppers, lowers)
