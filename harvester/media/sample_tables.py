"""Sample tables of a track (``stbl``, ISO/IEC 14496-12 §8.6, §8.7), looked up at its sync samples."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from harvester.errors import MediaError
from harvester.media.boxes import Container, table, unsigned

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Latest time and offset that are believed: past it sums could leave int64.
_MAX_SUM = 1 << 61


@dataclass(frozen=True, slots=True, eq=False)
class SampleTables:
    """The sync samples of a track in decoding order, as int64 columns of equal length.

    ``times``: presentation before the edit list, ticks; ``offsets``, ``sizes``: bytes; ``descriptions``: from 1.
    """

    times: NDArray[np.int64] = field(repr=False)
    offsets: NDArray[np.int64] = field(repr=False)
    sizes: NDArray[np.int64] = field(repr=False)
    descriptions: NDArray[np.int64] = field(repr=False)


def read_sample_tables(stbl: Container, limit: int) -> SampleTables:
    """Look the sync samples up; at most ``limit`` of them.

    Raises:
        MediaError: tables that contradict each other or their boxes (reason ``corrupt``).
    """
    sizes = _read_sizes(stbl)
    wanted = _sync_samples(stbl, sizes.count, limit)
    offsets, descriptions = _places(stbl, sizes, wanted)
    return SampleTables(_times(stbl, wanted), offsets, sizes.of(wanted), descriptions)


@dataclass(frozen=True, slots=True, eq=False)
class _Sizes:
    """Sizes of all samples. ``behind``: int64 (count + 1), running sum of the table; None: all are ``fixed``."""

    count: int
    fixed: int
    behind: NDArray[np.int64] | None

    def before(self, samples: NDArray[np.int64]) -> NDArray[np.int64]:
        """Bytes of all samples in front of each of ``samples``."""
        return samples * self.fixed if self.behind is None else self.behind[samples]

    def of(self, samples: NDArray[np.int64]) -> NDArray[np.int64]:
        """Bytes of each of ``samples``."""
        return self.before(samples + 1) - self.before(samples)


def _read_sizes(stbl: Container) -> _Sizes:
    compact = stbl.first(b"stz2")
    if compact is not None:
        return _table_of_sizes(_compact_sizes(compact))
    stsz = stbl.require(b"stsz")
    fixed, count = unsigned(stsz, 4, 4), unsigned(stsz, 8, 4)
    if fixed:
        if fixed * count > _MAX_SUM:
            raise MediaError("more bytes of samples than a file can have")
        return _Sizes(count, fixed, None)
    return _table_of_sizes(table(stsz, 12, rows=count, fields=1)[:, 0])


def _table_of_sizes(sizes: NDArray[np.int64]) -> _Sizes:
    return _Sizes(len(sizes), 0, np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)]))


def _compact_sizes(stz2: bytes) -> NDArray[np.int64]:
    """§8.7.3.3: 4, 8 or 16 bits a sample."""
    bits, count = unsigned(stz2, 7, 1), unsigned(stz2, 8, 4)
    if bits == 4:
        pairs = table(stz2, 12, rows=(count + 1) // 2, fields=1, width=1)
        return np.hstack([pairs >> 4, pairs & 15]).reshape(-1)[:count]
    if bits not in (8, 16):
        raise MediaError(f"sample sizes of {bits} bits")
    return table(stz2, 12, rows=count, fields=1, width=bits // 8)[:, 0]


def _sync_samples(stbl: Container, count: int, limit: int) -> NDArray[np.int64]:
    """Numbers of the sync samples, from 0; without ``stss`` every sample is one."""
    stss = stbl.first(b"stss")
    found = count if stss is None else unsigned(stss, 4, 4)
    if found > limit:
        raise MediaError(f"an index of {found} keyframes")
    if stss is None:
        return np.arange(count, dtype=np.int64)
    numbers = table(stss, 8, rows=found, fields=1)[:, 0] - 1
    if found and (numbers[0] < 0 or numbers[-1] >= count or (np.diff(numbers) <= 0).any()):
        raise MediaError("sync samples out of order or out of range")
    return numbers


def _runs(content: bytes) -> NDArray[np.int64]:
    """A table of (samples, value) runs, int64 (n, 2)."""
    return table(content, 8, rows=unsigned(content, 4, 4), fields=2)


def _times(stbl: Container, wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Presentation times before the edit list, ticks: ``stts`` summed, plus ``ctts``."""
    runs = _runs(stbl.require(b"stts"))
    counts, deltas = runs[:, 0], runs[:, 1]
    if float(counts.astype(np.float64) @ deltas.astype(np.float64)) > _MAX_SUM:
        raise MediaError("times that no clock reaches")
    ends = np.cumsum(counts)
    if len(wanted) and (not len(ends) or wanted[-1] >= ends[-1]):
        raise MediaError("fewer times than samples")
    run = np.searchsorted(ends, wanted, side="right")
    behind = np.cumsum(counts * deltas)
    decode = behind[run] - (ends[run] - wanted) * deltas[run] if len(wanted) else wanted
    return decode + _composition_offsets(stbl, wanted)


def _composition_offsets(stbl: Container, wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """``ctts`` at the samples, 0 behind its end. Version 0 is unsigned; writers put signed numbers there too."""
    ctts = stbl.first(b"ctts")
    if ctts is None:
        return np.zeros(len(wanted), np.int64)
    runs = _runs(ctts)
    shifts = np.append((runs[:, 1] ^ 0x8000_0000) - 0x8000_0000, 0)
    return shifts[np.searchsorted(np.cumsum(runs[:, 0]), wanted, side="right")]


def _places(
    stbl: Container, sizes: _Sizes, wanted: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(offsets in the file, sample description indices) of the samples: ``stsc`` and ``stco`` or ``co64``."""
    chunks = _chunk_offsets(stbl)
    stsc = stbl.require(b"stsc")
    rows = table(stsc, 8, rows=unsigned(stsc, 4, 4), fields=3)
    first_chunks, per_chunk = rows[:, 0] - 1, rows[:, 1]
    if not len(wanted):
        return wanted, wanted
    if not len(rows) or first_chunks[0] != 0 or (np.diff(first_chunks) <= 0).any() or (per_chunk == 0).any():
        raise MediaError("chunks out of order")
    if first_chunks[-1] >= len(chunks):
        raise MediaError("more chunks described than there are")
    run_chunks = np.diff(np.append(first_chunks, len(chunks)))
    first_samples = np.concatenate([np.zeros(1, np.int64), np.cumsum(run_chunks * per_chunk)])
    if wanted[-1] >= first_samples[-1]:
        raise MediaError("fewer places than samples")
    run = np.searchsorted(first_samples, wanted, side="right") - 1
    into = wanted - first_samples[run]
    chunk = first_chunks[run] + into // per_chunk[run]
    offsets = chunks[chunk] + sizes.before(wanted) - sizes.before(wanted - into % per_chunk[run])
    return offsets, rows[run, 2]


def _chunk_offsets(stbl: Container) -> NDArray[np.int64]:
    wide = stbl.first(b"co64")
    if wide is None:
        stco = stbl.require(b"stco")
        return table(stco, 8, rows=unsigned(stco, 4, 4), fields=1)[:, 0]
    offsets = table(wide, 8, rows=unsigned(wide, 4, 4), fields=1, width=8)[:, 0]
    if (offsets < 0).any() or (offsets > _MAX_SUM).any():
        raise MediaError("a chunk that no file reaches")
    return offsets
