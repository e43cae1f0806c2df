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
smallest key, which is the one to be found. So 10 million hashes take 281 MB. However
they crowd together, a query costs no more than a few looks at every hash.

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
#: each some 50 us of a query, for sorting every hash about 25 times while the index grows (6 us).
GROWTH = 16

#: When the bands of a query have more than this share of the hashes, all hashes are looked at instead: that costs
#: 2 ns each, a candidate up to 60 ns where all of them have much the same upper part, too.
CROWD_SHARE = 1 / 16

_ALL_BITS = (1 << 64) - 1

#: Where the parts of a turned hash begin, in bits: band, upper, lower (0).
_BAND_AT = np.uint64(64 - BAND_BITS)
_UPPER_AT = np.uint64(BAND_BITS)
_LOWER = np.uint64((1 << BAND_BITS) - 1)

#: A band's values, and one more for its end.
_SLOTS = (1 << BAND_BITS) + 1


def _probes(radius: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Bands, and what the query's value of each is XORed with to get a value that is looked at."""
    one_bit = [0, *(1 << bit for bit in range(BAND_BITS))]
    flips = [(one_bit if radius - band >= BANDS else [0]) if band <= radius else [] for band in range(BANDS)]
    pairs = [(band, flip) for band in range(BANDS) for flip in flips[band]]
    bands, masks = zip(*pairs, strict=True)
    return np.array(bands, np.int64), np.array(masks, np.int64)


_PROBES = [_probes(radius) for radius in range(MAX_RADIUS + 1)]


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
    starts: NDArray[np.uint32]  # (BANDS * 65537,) of each band where its values begin in its order; its end
    uppers: NDArray[np.uint32]  # (BANDS * n,)
    lowers: NDArray[np.uint16]  # (BANDS * n,)

    @classmethod
    def of(cls, hashes: NDArray[np.uint64], keys: NDArray[np.int64], rows: int | None = None) -> Self:
        """Tables of ``hashes`` (m,) with ``keys`` (m,), m > 0; ``rows``: m by default."""
        rows = len(hashes) if rows is None else rows
        hashes, keys = _distinct(hashes, keys)
        first_key, stored_keys = _narrowed(keys)
        del keys
        n = len(hashes)
        starts = np.empty(BANDS * _SLOTS, np.uint32)
        uppers, lowers = np.empty(BANDS * n, np.uint32), np.empty(BANDS * n, np.uint16)
        for band in range(BANDS):
            turned = hashes if band == LAST else np.sort(_turned_all(hashes, band))
            starts[band * _SLOTS :][:_SLOTS] = band * n + _starts(turned)
            uppers[band * n :][:n] = turned >> _UPPER_AT
            lowers[band * n :][:n] = turned & _LOWER
        return cls(rows, first_key, stored_keys, starts, uppers, lowers)

    def __len__(self) -> int:
        """n, the number of distinct hashes."""
        return len(self.keys)

    def hashes(self) -> NDArray[np.uint64]:
        """(n,) the distinct hashes, rising."""
        bands = np.repeat(np.arange(1 << BAND_BITS, dtype=np.uint64), np.diff(self.starts[LAST * _SLOTS :]))
        return _joined(bands, self.uppers[-len(self) :], self.lowers[-len(self) :])

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
        query = np.array([_turned(phash, band) for band in range(BANDS)], np.uint64)
        bands, flips = _PROBES[radius]
        values = (query >> _BAND_AT).astype(np.int64)[bands] ^ flips
        slots = bands * _SLOTS + values
        begins, ends = self.starts[slots].astype(np.int64), self.starts[slots + 1].astype(np.int64)
        if int((ends - begins).sum()) > len(self) * CROWD_SHARE:
            return self._nearest_of_all(phash, radius)
        near, run = self._near(begins, ends, (query >> _UPPER_AT).astype(np.uint32)[bands], radius)
        hashes = _joined(values[run].astype(np.uint64), self.uppers[near], self.lowers[near])
        distances = np.bitwise_count(hashes ^ query[bands[run]])
        if not distances.size or (least := int(distances.min())) > radius:
            return None
        nearest = distances == least
        return Match(self._smallest_key(_turned_back(hashes[nearest], bands[run[nearest]])), least)

    def _near(
        self, begins: NDArray[np.int64], ends: NDArray[np.int64], asked: NDArray[np.uint32], radius: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Places in the runs ``[begins, ends)`` whose upper part is within ``radius`` of ``asked`` of the run, and
        the number of the run that each is in."""
        runs = [self.uppers[begin:end] for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)]
        distances = np.bitwise_count(np.concatenate(runs) ^ np.repeat(asked, ends - begins))
        near = np.flatnonzero(distances <= radius)
        run_ends = np.cumsum(ends - begins)  # among all of the runs
        run = run_ends.searchsorted(near, side="right")
        return near + (ends - run_ends)[run], run

    def _nearest_of_all(self, phash: int, radius: int) -> Match | None:
        """The same by a look at every hash, in the order of LAST."""
        last = LAST * len(self)
        apart = np.bitwise_count(np.arange(1 << BAND_BITS, dtype=np.uint16) ^ np.uint16(phash >> 48))
        distances = np.repeat(apart, np.diff(self.starts[LAST * _SLOTS :]))
        distances += np.bitwise_count(self.uppers[last:] ^ np.uint32(phash >> 16 & 0xFFFFFFFF))
        distances += np.bitwise_count(self.lowers[last:] ^ np.uint16(phash & 0xFFFF))
        least = int(distances.min())
        return Match(int(self.keys[distances == least].min()) + self.first_key, least) if least <= radius else None

    def _smallest_key(self, hashes: NDArray[np.uint64]) -> int:
        """The smallest key of stored ``hashes``, looked up in the order of LAST, band by band."""
        hashes = np.unique(hashes)
        bands = hashes >> _BAND_AT
        last, smallest = LAST * len(self), []
        for group in np.split(hashes, np.flatnonzero(bands[1:] != bands[:-1]) + 1):
            band = group[0] >> _BAND_AT
            slot = LAST * _SLOTS + int(band)
            begin, end = int(self.starts[slot]), int(self.starts[slot + 1])
            run = _joined(band, self.uppers[begin:end], self.lowers[begin:end])
            smallest.append(self.keys[begin - last + np.searchsorted(run, group)].min())
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


def _starts(turned: NDArray[np.uint64]) -> NDArray[np.int64]:
    """(65537,) where each value of the band in front begins among the rising ``turned``; their number."""
    values = np.arange(1 << BAND_BITS, dtype=np.uint64) << _BAND_AT
    return np.append(np.searchsorted(turned, values), len(turned))


def _shift(band: int) -> int:
    """By how many bits a hash is turned left until the band is in front; 0 for LAST."""
    return BAND_BITS * (LAST - band)


def _turned(phash: int, band: int) -> int:
    return (phash << _shift(band) | phash >> 64 - _shift(band)) & _ALL_BITS


def _turned_all(hashes: NDArray[np.uint64], band: int) -> NDArray[np.uint64]:
    return hashes << np.uint64(_shift(band)) | hashes >> np.uint64(64 - _shift(band))  # >> 64 gives 0 in NumPy


def _turned_back(hashes: NDArray[np.uint64], bands: NDArray[np.int64]) -> NDArray[np.uint64]:
    shifts = (BAND_BITS * (LAST - bands)).astype(np.uint64)
    return hashes >> shifts | hashes << np.uint64(64) - shifts


def _joined(
    bands: NDArray[np.uint64] | np.uint64, uppers: NDArray[np.uint32], lowers: NDArray[np.uint16]
) -> NDArray[np.uint64]:
    """Turned hashes of their three parts."""
    return bands << _BAND_AT | uppers.astype(np.uint64) << _UPPER_AT | lowers
