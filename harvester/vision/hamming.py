"""Near-duplicate search: which of up to some millions of 64-bit hashes differs least from a given one?

Exact up to distance 7, by the pigeonhole principle: cut both hashes into four bands of 16 bits; if they differ in
at most 7 bits, at least one band differs in at most one. So it is enough to look, in a table per band, at the
entries whose band equals the query's or is one of its 16 neighbours at one bit (after Manku, Jain, Das Sarma,
"Detecting near-duplicates for web crawling", 2007). New hashes wait in a short tail that is searched whole and is
sorted in when it has grown.
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

#: The tail is sorted in when it holds this share of the base, or MIN_TAIL hashes. At a base of 1 M (scan of a full
#: tail 20 us, sorting 0.1 s) both cost a query and an addition about as much as the probes do.
TAIL_SHARE = 1 / 32
MIN_TAIL = 1024

#: What a band is XORed with to get itself and its neighbours at one bit.
_PROBES = np.concatenate([[0], 1 << np.arange(BAND_BITS)]).astype(np.uint16)


@dataclass(frozen=True, slots=True)
class Match:
    """A stored hash: its key, and in how many bits it differs from the query (Hamming distance)."""

    key: int
    distance: int


class HashIndex:
    """Hashes with integer keys (unique or not), growing while it is asked. Not thread-safe."""

    def __init__(self) -> None:
        self._set_base(np.empty(0, np.uint64), np.empty(0, np.int64))

    @classmethod
    def from_arrays(cls, hashes: NDArray[np.uint64], keys: NDArray[np.int64]) -> Self:
        """An index of ``hashes`` (n,) uint64 with ``keys`` (n,) int64. ValueError if their shapes differ."""
        if hashes.ndim != 1 or hashes.shape != keys.shape:
            raise ValueError(f"hashes {hashes.shape} and keys {keys.shape} must be of one length")
        index = cls()
        index._set_base(np.array(hashes, np.uint64), np.array(keys, np.int64))
        return index

    def __len__(self) -> int:
        return self._base_size + self._tail_size

    def add(self, phash: int, key: int) -> None:
        """Store a hash, ``0 <= phash < 2**64``. OverflowError outside, or for a key that is no int64."""
        at = self._base_size + self._tail_size
        self._hashes[at] = phash
        self._keys[at] = key
        self._tail_size += 1
        if at + 1 == len(self._hashes):
            self._set_base(self._hashes, self._keys)

    def nearest(self, phash: int, radius: int) -> Match | None:
        """The stored hash nearest to ``phash`` within ``radius`` bits (0..7); of several, the one of smallest key.

        None if there is none. ValueError for another radius.
        """
        if not 0 <= radius <= MAX_RADIUS:
            raise ValueError(f"radius must lie in 0..{MAX_RADIUS}, got {radius}")
        query = np.uint64(phash)
        tail = slice(self._base_size, len(self))
        in_tail = _best(query, self._hashes[tail], self._keys[tail], radius)
        near = self._candidates(query)
        in_base = _best(query, self._hashes[near], self._keys[near], radius)
        found = [match for match in (in_tail, in_base) if match]
        return min(found, key=lambda match: (match.distance, match.key), default=None)

    def _set_base(self, hashes: NDArray[np.uint64], keys: NDArray[np.int64]) -> None:
        """Sort all ``hashes`` into the band tables and make room for a tail behind them."""
        size = len(hashes)
        room = max(MIN_TAIL, int(size * TAIL_SHARE))
        self._hashes = np.concatenate([hashes, np.zeros(room, np.uint64)])
        self._keys = np.concatenate([keys, np.zeros(room, np.int64)])
        self._base_size, self._tail_size = size, 0
        bands = [_band(hashes, number) for number in range(BANDS)]
        self._orders = [np.argsort(band, kind="stable") for band in bands]
        self._starts = [_starts(band) for band in bands]

    def _candidates(self, query: np.uint64) -> NDArray[np.int64]:
        """Places in the base that share a band with ``query``, up to one bit; some of them twice."""
        found = []
        for number, (order, starts) in enumerate(zip(self._orders, self._starts, strict=True)):
            values = (_band(query, number) ^ _PROBES).astype(np.int64)
            begins, ends = starts[values].tolist(), starts[values + 1].tolist()
            found += [order[begin:end] for begin, end in zip(begins, ends, strict=True) if begin < end]
        return np.concatenate(found) if found else np.empty(0, np.int64)


def _band(hashes: NDArray[np.uint64] | np.uint64, number: int) -> NDArray[np.uint16]:
    shifted = np.right_shift(hashes, np.uint64(number * BAND_BITS))
    return np.asarray(shifted & np.uint64(0xFFFF)).astype(np.uint16)


def _starts(band: NDArray[np.uint16]) -> NDArray[np.int64]:
    """Where each band value begins in sorted order: (65537,) int64, the last one the end."""
    counts = np.bincount(band, minlength=1 << BAND_BITS)
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _best(query: np.uint64, hashes: NDArray[np.uint64], keys: NDArray[np.int64], radius: int) -> Match | None:
    distances = np.bitwise_count(hashes ^ query)
    if not distances.size or (least := int(distances.min())) > radius:
        return None
    return Match(int(keys[distances == least].min()), least)
