"""The near-duplicate search against a look at every hash."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from harvester.vision import hamming
from harvester.vision.hamming import MAX_RADIUS, HashIndex, Match

HASHES = st.integers(0, 2**64 - 1)


def brute(stored: list[tuple[int, int]], phash: int, radius: int) -> Match | None:
    """(hash, key) nearest to ``phash``, one by one."""
    near = [((stored_hash ^ phash).bit_count(), key) for stored_hash, key in stored]
    within = [pair for pair in near if pair[0] <= radius]
    return Match(min(within)[1], min(within)[0]) if within else None


def flipped(phash: int, bits: NDArray[np.int64]) -> int:
    for bit in bits.tolist():
        phash ^= 1 << bit
    return phash


def built(stored: list[tuple[int, int]]) -> HashIndex:
    hashes, keys = zip(*stored, strict=True) if stored else ((), ())
    return HashIndex.from_arrays(np.array(hashes, np.uint64), np.array(keys, np.int64))


def added(stored: list[tuple[int, int]]) -> HashIndex:
    index = HashIndex()
    for phash, key in stored:
        index.add(phash, key)
    return index


@pytest.mark.parametrize("radius", range(MAX_RADIUS + 1))
def test_exact_at_the_radius_and_beside_it(radius: int) -> None:
    rng = np.random.default_rng(radius)
    for distance in (radius - 1, radius, radius + 1):
        for _ in range(15 if distance >= 0 else 0):
            phash = int(rng.integers(0, 2**64, dtype=np.uint64))
            query = flipped(phash, rng.permutation(64)[:distance])
            found = Match(5, distance) if distance <= radius else None
            for index in (built([(phash, 5)]), added([(phash, 5)])):
                assert index.nearest(query, radius) == found


@pytest.mark.parametrize(
    "counts", [(1, 2, 2, 2), (2, 2, 2, 1), (2, 1, 2, 2), (2, 2, 1, 2), (7, 0, 0, 0), (0, 0, 3, 4)]
)
def test_the_worst_share_of_seven_bits_over_the_bands_is_found(counts: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    for _ in range(30):
        bits = np.concatenate([16 * band + rng.permutation(16)[:n] for band, n in enumerate(counts)])
        phash = int(rng.integers(0, 2**64, dtype=np.uint64))
        index = built([(phash, 1), (~phash & (2**64 - 1), 2)])
        assert index.nearest(flipped(phash, bits), 7) == Match(1, 7)


#: Hashes that crowd together, so that distances are small and ties are many.
CROWDED = st.builds(
    lambda base, mask: base ^ mask,
    st.sampled_from([0, 2**64 - 1, 0x0123456789ABCDEF]),
    st.lists(st.integers(0, 63), max_size=9).map(lambda bits: sum({1 << bit for bit in bits})),
)


@settings(max_examples=80)
@given(
    st.lists(st.tuples(CROWDED | HASHES, st.integers(-5, 40))), st.lists(CROWDED, min_size=1), st.integers(0, 7)
)
def test_the_nearest_and_of_ties_the_smallest_key(
    stored: list[tuple[int, int]], queries: list[int], radius: int
) -> None:
    half = built(stored[: len(stored) // 2])
    for phash, key in stored[len(stored) // 2 :]:
        half.add(phash, key)
    for index in (built(stored), added(stored), half):
        assert len(index) == len(stored)
        for query in queries:
            assert index.nearest(query, radius) == brute(stored, query, radius)


def test_asking_and_adding_in_turns_while_the_tail_is_sorted_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hamming, "TAIL", 7)
    rng = np.random.default_rng(3)
    centres = rng.integers(0, 2**64, 12, dtype=np.uint64).tolist()
    index, stored = HashIndex(), []
    for key in rng.permutation(300).tolist():
        query = flipped(centres[key % 12], rng.integers(0, 64, 6))
        radius = int(rng.integers(0, 8))
        assert index.nearest(query, radius) == brute(stored, query, radius)
        stored.append((flipped(centres[key % 12], rng.integers(0, 64, 4)), key))
        index.add(*stored[-1])
        assert len(index) == len(stored)


def test_sorting_in_becomes_rarer_as_the_index_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hamming, "TAIL", 4)
    sizes: list[int] = []
    real = HashIndex._set_base

    def counted(self: HashIndex, hashes: NDArray[np.uint64], keys: NDArray[np.int64]) -> None:
        sizes.append(len(hashes))
        real(self, hashes, keys)

    monkeypatch.setattr(HashIndex, "_set_base", counted)
    index = HashIndex()
    for key in range(1500):
        index.add(key, key)
    steps = [after - before for before, after in pairwise(sizes)]
    assert steps == sorted(steps)
    assert steps[0] == 4
    assert steps[-1] >= sizes[-2] // 32


def test_an_index_keeps_its_own_copy() -> None:
    hashes, keys = np.array([1, 2], np.uint64), np.array([10, 20], np.int64)
    index = HashIndex.from_arrays(hashes, keys)
    hashes[:] = 0
    keys[:] = 0
    assert index.nearest(2, 0) == Match(20, 0)


def test_extremes() -> None:
    index = HashIndex()
    assert index.nearest(0, 7) is None
    assert len(index) == 0
    index.add(2**64 - 1, -(2**63))
    index.add(0, 2**63 - 1)
    assert index.nearest(2**64 - 1, 0) == Match(-(2**63), 0)
    assert index.nearest(0b1, 7) == Match(2**63 - 1, 1)


@pytest.mark.parametrize("radius", [-1, 8])
def test_a_radius_that_is_not_exact_is_refused(radius: int) -> None:
    with pytest.raises(ValueError, match=r"0\.\.7"):
        HashIndex().nearest(0, radius)


@pytest.mark.parametrize("phash", [-1, 2**64])
def test_a_hash_has_64_bits(phash: int) -> None:
    index = HashIndex()
    with pytest.raises(OverflowError):
        index.add(phash, 1)
    assert len(index) == 0


def test_arrays_must_agree() -> None:
    with pytest.raises(ValueError, match="one length"):
        HashIndex.from_arrays(np.zeros(2, np.uint64), np.zeros(3, np.int64))
