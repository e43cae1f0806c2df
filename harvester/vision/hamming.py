"""Near-duplicate search: which of up to some tens of millions of 64-bit hashes differs least from a given one?

Exact up to distance 7, by the pigeonhole principle: cut both hashes into four bands of 16 bits, numbered from 0.
If they differ in at most r bits, then for some band i they differ there in at most (r - i) // 4 bits (else there
were r + 1 at least). For r <= 7 that is none or one: it is enough to look, in a table per band, at the hashes
whose band equals the query's or is one of its 16 neighbours at one bit (after Manku, Jain, Das Sarma, "Detecting
near-duplicates for web crawling", 2007; Norouzi, Punjani, Fleet, "Fast exact search in Hamming space with
multi-index hashing", 2014). What was found shrinks r for what is still to be looked at.

A table holds the hashes themselves, sorted with its band in front, not references to them: a query reads 68 runs
of neighbours in memory, where references would make every candidate a miss of the cache. Without the band, which
the place tells, a hash takes 6 bytes a table; one table has the keys. Repeated hashes are stored once, with the
smallest key, which is the one to be found. So 10 million hashes take 281 MB, and hashes that crowd together cost
a query at most about two looks at every hash.

New hashes wait in a short tail that is searched whole; a full tail becomes tables of its own, which are merged
with earlier ones of like size (O'Neil, Cheng, Gawlick, O'Neil, "The log-structured merge-tree", 1996).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

#: Largest distance for which four bands with one-bit probes find everything.
MAX_RADIUS = 7

BANDS = 4
BAND_BITS = 16
#: The band with the bit of the picture's mean, which hardly ever differs, is the last: it is asked for the fewest
#: radii. Its order is that of the hashes as numbers.
LAST = BANDS - 1

#: Hashes that wait to be sorted: a query looks at them all, in 20 us, which so few in tables would take, too.
TAIL = 16_384

#: Tables are merged when the later are more than 1/GROWTH of the earlier: at 10 million no more than three levels,
#: each some 60 us of a query, for sorting every hash about 25 times while the index grows (6 us).
GROWTH = 16

#: What a band is XORed with to get itself and its neighbours at one bit.
_PROBES = np.concatenate([[0], 1 << np.arange(BAND_BITS)])

_ALL_BITS = (1 << 64) - 1

#: Where the parts of a turned hash begin, in bits: band, upper, lower (0).
_BAND_AT = np.uint64(64 - BAND_BITS)
_UPPER_AT = np.uint64(BAND_BITS)


@dataclass(frozen=True, slots=True)
class Match:
    """A stored hash: its key, and in how many bits it differs from the query (Hamming distance)."""

    key: int
    distance: int


@dataclass(frozen=True, slots=True, eq=False)
class Tables:
    """At least one hash, sorted by each of the bands; nothing here changes. n distinct hashes.

    A hash turned left until the band is in front is, from its top: the band (16 bits, by ``starts``), ``uppers``
    (32) and ``lowers`` (16). ``rows``: how many hashes were given, repeated ones counted again.
    """

    rows: int
    first_key: int
    keys: NDArray[np.uint32] | NDArray[np.int64]  # (n,) smallest key of each hash less first_key; order of LAST
    starts: NDArray[np.uint32]  # (BANDS, 65537) where in the order of a band each of its values begins; last: n
    uppers: tuple[NDArray[np.uint32], ...]  # BANDS times (n,)
    lowers: tuple[NDArray[np.uint16], ...]  # BANDS times (n,)

    @classmethod
    def of(cls, hashes: NDArray[np.uint64], keys: NDArray[np.int64], rows: int | None = None) -> Self:
        """Tables of ``hashes`` (m,) with ``keys`` (m,), m > 0; ``rows``: m by default."""
        rows = len(hashes) if rows is None else rows
        hashes, keys = _distinct(hashes, keys)
        first_key, stored_keys = _narrowed(keys)
        del keys
        parts = [_sorted_by(band, hashes) for band in range(BANDS)]
        starts, uppers, lowers = zip(*parts, strict=True)
        return cls(rows, first_key, stored_keys, np.stack(starts), uppers, lowers)

    def __len__(self) -> int:
        """n, the number of distinct hashes."""
        return len(self.keys)

    def hashes(self) -> NDArray[np.uint64]:
        """(n,) the distinct hashes, rising."""
        bands = np.repeat(np.arange(1 << BAND_BITS, dtype=np.uint64), np.diff(self.starts[LAST]))
        return _joined(bands, self.uppers[LAST], self.lowers[LAST])

    def all_keys(self) -> NDArray[np.int64]:
        """(n,) the smallest key of each of ``hashes()``."""
        return self.keys.astype(np.int64) + self.first_key

    def merged(self, other: Tables) -> Tables:
        """Tables of what is in either."""
        hashes = np.concatenate([self.hashes(), other.hashes()])
        keys = np.concatenate([self.all_keys(), other.all_keys()])
        return Tables.of(hashes, keys, self.rows + other.rows)

    def nearest(self, phash: int, radius: int) -> Match | None:
        """As :meth:`HashIndex.nearest`."""
        best: list[NDArray[np.uint64]] = []  # hashes at distance ``radius``
        for band in range(BANDS):
            if radius < band:  # (radius - band) // 4 < 0: some earlier band is equal
                break
            query = np.uint64(_turned(phash, band))
            hashes = self._candidates(band, query, radius)
            distances = np.bitwise_count(hashes ^ query)
            if not hashes.size or (least := int(distances.min())) > radius:
                continue
            if least < radius:
                radius = least
                best.clear()
            best.append(_turned_back(hashes[distances == least], band))
        return Match(self._smallest_key(np.concatenate(best)), radius) if best else None

    def _candidates(self, band: int, query: np.uint64, radius: int) -> NDArray[np.uint64]:
        """Those that differ from ``query`` in at most (radius - band) // 4 bits of the band and ``radius`` bits of
        the upper part; all turned until the band is in front."""
        probes = _PROBES if radius - band >= BANDS else _PROBES[:1]
        values = int(query >> _BAND_AT) ^ probes
        begins, ends = self.starts[band][values], self.starts[band][values + 1]
        upper = self.uppers[band]
        runs = [upper[begin:end] for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)]
        distances = np.bitwise_count(np.concatenate(runs) ^ (query >> _UPPER_AT).astype(np.uint32))
        near = np.flatnonzero(distances <= radius)
        if not near.size:
            return _NO_HASHES
        run_ends = np.cumsum(ends - begins, dtype=np.int64)  # among all of the runs
        run = np.searchsorted(run_ends, near, side="right")
        places = near + (ends - run_ends)[run]
        return _joined(values[run].astype(np.uint64), upper[places], self.lowers[band][places])

    def _smallest_key(self, hashes: NDArray[np.uint64]) -> int:
        """The smallest key of stored ``hashes``, looked up in the order of LAST, band by band."""
        hashes = np.unique(hashes)
        bands = hashes >> _BAND_AT
        smallest = []
        for group in np.split(hashes, np.flatnonzero(bands[1:] != bands[:-1]) + 1):
            band = group[0] >> _BAND_AT
            begin, end = self.starts[LAST][int(band) : int(band) + 2].tolist()
            run = _joined(band, self.uppers[LAST][begin:end], self.lowers[LAST][begin:end])
            smallest.append(self.keys[begin + np.searchsorted(run, group)].min())
        return int(min(smallest)) + self.first_key


class HashIndex:
    """Hashes with integer keys (unique or not), growing while it is asked. Not thread-safe."""

    def __init__(self, base: Tables | None = None) -> None:
        """An index of what is in ``base``, which may be mapped from a file and is never merged with what comes."""
        self._levels = [base] if base else []
        self._fixed = len(self._levels)
        self._rows = base.rows if base else 0
        self._tail_hashes = np.zeros(TAIL, np.uint64)
        self._tail_keys = np.zeros(TAIL, np.int64)
        self._tail_size = 0

    @classmethod
    def from_arrays(cls, hashes: NDArray[np.uint64], keys: NDArray[np.int64]) -> Self:
        """An index of ``hashes`` (n,) uint64 with ``keys`` (n,) int64. ValueError if their shapes differ."""
        index = cls()
        index.extend(hashes, keys)
        return index

    def __len__(self) -> int:
        return self._rows + self._tail_size

    def add(self, phash: int, key: int) -> None:
        """Store a hash, ``0 <= phash < 2**64``. OverflowError outside, or for a key that is no int64."""
        at = self._tail_size
        self._tail_hashes[at] = phash
        self._tail_keys[at] = key
        self._tail_size = at + 1
        if at + 1 == len(self._tail_hashes):
            self._tail_size = 0
            self._push(Tables.of(self._tail_hashes, self._tail_keys))

    def extend(self, hashes: NDArray[np.uint64], keys: NDArray[np.int64]) -> None:
        """Store ``hashes`` (n,) uint64 with ``keys`` (n,) int64 at once. ValueError if their shapes differ."""
        if hashes.ndim != 1 or hashes.shape != keys.shape:
            raise ValueError(f"hashes {hashes.shape} and keys {keys.shape} must be of one length")
        if len(hashes) < len(self._tail_hashes) - self._tail_size:
            tail = slice(self._tail_size, self._tail_size + len(hashes))
            self._tail_hashes[tail], self._tail_keys[tail] = hashes, keys
            self._tail_size = tail.stop
        else:
            self._push(Tables.of(np.asarray(hashes, np.uint64), np.asarray(keys, np.int64)))

    def nearest(self, phash: int, radius: int) -> Match | None:
        """The stored hash nearest to ``phash`` within ``radius`` bits (0..7); of several, the one of smallest key.

        None if there is none. ValueError for another radius.
        """
        if not 0 <= radius <= MAX_RADIUS:
            raise ValueError(f"radius must lie in 0..{MAX_RADIUS}, got {radius}")
        best = self._in_tail(phash, radius)
        for level in self._levels:
            found = level.nearest(phash, best.distance if best else radius)
            if found and (best is None or (found.distance, found.key) < (best.distance, best.key)):
                best = found
        return best

    def _in_tail(self, phash: int, radius: int) -> Match | None:
        distances = np.bitwise_count(self._tail_hashes[: self._tail_size] ^ np.uint64(phash))
        if not distances.size or (least := int(distances.min())) > radius:
            return None
        return Match(int(self._tail_keys[: self._tail_size][distances == least].min()), least)

    def _push(self, tables: Tables) -> None:
        """Make ``tables`` the last level, merged with those before it that are not much larger."""
        self._rows += tables.rows
        while len(self._levels) > self._fixed and len(self._levels[-1]) < GROWTH * len(tables):
            tables = self._levels.pop().merged(tables)
        self._levels.append(tables)


_NO_HASHES = np.empty(0, np.uint64)


def _distinct(hashes: NDArray[np.uint64], keys: NDArray[np.int64]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """The distinct hashes, rising, each with its smallest key."""
    order = np.argsort(hashes)
    hashes, keys = hashes[order], keys[order]
    del order
    begins = np.flatnonzero(np.concatenate([[True], hashes[1:] != hashes[:-1]]))
    if len(begins) == len(hashes):
        return hashes, keys
    return hashes[begins], np.minimum.reduceat(keys, begins)


def _narrowed(keys: NDArray[np.int64]) -> tuple[int, NDArray[np.uint32] | NDArray[np.int64]]:
    """The smallest key and how far the others are above it, in four bytes; if too far for that, 0 and the keys."""
    first, last = int(keys.min()), int(keys.max())
    return (first, (keys - first).astype(np.uint32)) if last - first < 1 << 32 else (0, keys)


def _sorted_by(
    band: int, hashes: NDArray[np.uint64]
) -> tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.uint16]]:
    """A row of ``starts``, and the upper and lower parts, of rising hashes in the order of a band."""
    turned = hashes if band == LAST else np.sort(_turned_all(hashes, band))
    values = np.arange(1 << BAND_BITS, dtype=np.uint64) << _BAND_AT
    starts = np.append(np.searchsorted(turned, values), len(turned)).astype(np.uint32)
    return starts, (turned >> _UPPER_AT).astype(np.uint32), turned.astype(np.uint16)


def _shift(band: int) -> int:
    """By how many bits a hash is turned left until the band is in front; 0 for LAST."""
    return BAND_BITS * (LAST - band)


def _turned(phash: int, band: int) -> int:
    return (phash << _shift(band) | phash >> 64 - _shift(band)) & _ALL_BITS


def _turned_all(hashes: NDArray[np.uint64], band: int) -> NDArray[np.uint64]:
    return hashes << np.uint64(_shift(band)) | hashes >> np.uint64(64 - _shift(band))  # >> 64 gives 0 in NumPy


def _turned_back(hashes: NDArray[np.uint64], band: int) -> NDArray[np.uint64]:
    return hashes >> np.uint64(_shift(band)) | hashes << np.uint64(64 - _shift(band))


def _joined(
    bands: NDArray[np.uint64] | np.uint64, uppers: NDArray[np.uint32], lowers: NDArray[np.uint16]
) -> NDArray[np.uint64]:
    """Turned hashes of their three parts."""
    return bands << _BAND_AT | uppers.astype(np.uint64) << _UPPER_AT | lowers
