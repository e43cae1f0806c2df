"""The near-duplicate search against a look at every hash."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from harvester.vision import hamming
from harvester.vision.hamming import MAX_RADIUS, HashIndex, Match, Tables
from harvester.vision.measure import measure
from harvester.vision.phash import phash as hash_of
from tests.unit.vision.conftest import FRAMES, gray_picture

HASHES = st.integers(0, 2**64 - 1)

Hashes = NDArray[np.uint64]
Keys = NDArray[np.int64]


def brute(stored: list[tuple[int, int]], phash: int, radius: int) -> Match | None:
    """(hash, key) nearest to ``phash``, one by one."""
    near = [((stored_hash ^ phash).bit_count(), key) for stored_hash, key in stored]
    within = [pair for pair in near if pair[0] <= radius]
    return Match(min(within)[1], min(within)[0]) if within else None


def flipped(phash: int, bits: NDArray[np.int64]) -> int:
    for bit in bits.tolist():
        phash ^= 1 << bit
    return phash


def arrays(stored: list[tuple[int, int]]) -> tuple[Hashes, Keys]:
    hashes, keys = zip(*stored, strict=True) if stored else ((), ())
    return np.array(hashes, np.uint64), np.array(keys, np.int64)


def built(stored: list[tuple[int, int]]) -> HashIndex:
    """All in tables, even a few."""
    return HashIndex(Tables.of(*arrays(stored))) if stored else HashIndex.from_arrays(*arrays(stored))


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


def test_growing_sorts_a_hash_a_few_times_and_leaves_few_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hamming, "TAIL", 4)
    sizes: list[int] = []
    real = hamming._distinct

    def counted(hashes: Hashes, keys: Keys) -> tuple[Hashes, Keys]:
        sizes.append(len(hashes))
        return real(hashes, keys)

    monkeypatch.setattr(hamming, "_distinct", counted)
    index = HashIndex()
    for key in range(1000):
        index.add(key, key)
        levels = [len(level) for level in index._levels]
        assert all(earlier >= hamming.GROWTH * later for earlier, later in pairwise(levels))
    assert max(sizes) > 700
    assert sum(sizes) <= 1000 * hamming.GROWTH * 3  # log(1000 / 4) to the base of GROWTH: 2.1 levels


def test_what_a_base_holds_is_found_and_never_sorted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hamming, "TAIL", 4)
    stored = [(100 + number, number % 7) for number in range(40)]
    base = Tables.of(*arrays(stored[:6]))
    index = HashIndex(base)
    for phash, key in stored[6:]:
        index.add(phash, key)
    assert index._levels[0] is base
    assert len(index) == 40
    for phash in range(90, 150):
        assert index.nearest(phash, 2) == brute(stored, phash, 2)


def test_what_comes_at_once_joins_what_came_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hamming, "TAIL", 8)
    rng = np.random.default_rng(11)
    index, stored = HashIndex(), []
    for size in (0, 1, 3, 2, 1, 1, 9, 7, 8, 30, 2, 0, 5):
        more = [(value, len(stored) + n) for n, value in enumerate(rng.integers(0, 1 << 9, size).tolist())]
        index.extend(*arrays(more))
        stored += more
        assert len(index) == len(stored)
        for query in range(0, 1 << 9, 7):
            assert index.nearest(query, 3) == brute(stored, query, 3)


def test_repeated_hashes_cost_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Black and flat pictures come by the thousand."""
    hashes = np.repeat(np.array([5, 0, 2**64 - 1], np.uint64), 4000)
    keys = np.arange(12_000)[::-1]
    tables = Tables.of(hashes, keys)
    assert (len(tables), tables.rows) == (3, 12_000)
    index = HashIndex(tables)
    assert (index.nearest(5, 0), index.nearest(1, 1)) == (Match(8000, 0), Match(4000, 1))
    assert len(index) == 12_000


def test_merged_tables_are_those_of_both() -> None:
    rng = np.random.default_rng(8)
    hashes, keys = rng.integers(0, 1 << 64, 500, np.uint64), rng.integers(-(2**40), 2**40, 500)
    hashes[::3] = hashes[0]
    whole = Tables.of(hashes, keys)
    merged = Tables.of(hashes[:200], keys[:200]).merged(Tables.of(hashes[200:], keys[200:]))
    assert merged.rows == whole.rows == 500
    assert np.array_equal(merged.hashes(), whole.hashes())
    assert np.array_equal(merged.all_keys(), whole.all_keys())
    assert np.array_equal(whole.hashes(), np.unique(hashes))


@pytest.mark.parametrize("span", [2**32 - 1, 2**32, 2**64 - 1])
def test_keys_near_each_other_take_four_bytes_and_others_eight(span: int) -> None:
    first = -(2**63)
    tables = Tables.of(np.array([7, 9, 8], np.uint64), np.array([first + span, first, first + 1], np.int64))
    assert tables.keys.itemsize == (4 if span < 2**32 else 8)
    assert tables.all_keys().tolist() == [first + span, first + 1, first]
    assert HashIndex(tables).nearest(7, 0) == Match(first + span, 0)


@pytest.fixture(scope="module")
def crowded_reals() -> Hashes:
    """Perturbed hashes of real pictures, in clusters: flips few and many, some repeated."""
    frames = [np.asarray(Image.open(path).convert("L")) for path in FRAMES]
    real = np.array([hash_of(measure(gray_picture(frame)).grid) for frame in frames], np.uint64)
    rng = np.random.default_rng(2)
    flips = np.bitwise_and.reduce(rng.integers(0, 1 << 64, (3, 60_000), np.uint64))
    flips[::2] &= rng.integers(0, 1 << 64, 30_000, np.uint64)
    return rng.choice(real, 60_000) ^ flips


@pytest.mark.parametrize("radius", range(MAX_RADIUS + 1))
def test_exact_among_crowds_of_real_hashes(crowded_reals: Hashes, radius: int) -> None:
    """Half in tables, half added; queries at radius - 1, radius and radius + 1 of stored ones, and the stored."""
    rng = np.random.default_rng(radius)
    keys = rng.permutation(len(crowded_reals))
    half = len(keys) // 2
    index = HashIndex(Tables.of(crowded_reals[:half], keys[:half]))
    for phash, key in zip(crowded_reals[half:].tolist(), keys[half:].tolist(), strict=True):
        index.add(phash, key)
    assert len(index._levels) > 1
    for place in rng.integers(0, len(keys), 40).tolist():
        for distance in (0, max(0, radius - 1), radius, radius + 1, 12):
            query = flipped(int(crowded_reals[place]), rng.permutation(64)[:distance])
            distances = np.bitwise_count(crowded_reals ^ np.uint64(query))
            least = int(distances.min())
            expected = Match(int(keys[distances == least].min()), least) if least <= radius else None
            assert index.nearest(query, radius) == expected


@pytest.mark.parametrize("shift", [0, 16, 32, 48])
def test_where_all_hashes_share_bands_the_answers_are_the_same(shift: int) -> None:
    """Only 20 bits differ: every hash is a candidate of some table, or of all."""
    rng = np.random.default_rng(shift)
    hashes = np.unique(rng.integers(0, 1 << 20, 3000, np.uint64))
    hashes = hashes << np.uint64(shift) | hashes >> np.uint64(64 - shift)
    keys = rng.permutation(len(hashes)) + 7
    index = HashIndex(Tables.of(hashes, keys))
    for query in rng.choice(hashes, 60).tolist():
        for away in (0, 0b111, 0b1111 << 40, 0xFF << 30, 3 << shift | 1 << 60):
            distances = np.bitwise_count(hashes ^ np.uint64(query ^ away & (1 << 64) - 1))
            least = int(distances.min())
            expected = Match(int(keys[distances == least].min()), least) if least <= 6 else None
            assert index.nearest(query ^ away & (1 << 64) - 1, 6) == expected


def test_all_hashes_are_looked_at_only_where_they_crowd(monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of candidates bounds what a query costs; the answers would be the same."""
    looks: list[int] = []
    monkeypatch.setattr(Tables, "_nearest_of_all", lambda tables, phash, radius: looks.append(phash))
    rng = np.random.default_rng(4)
    spread = rng.integers(0, 1 << 64, 20_000, np.uint64)
    keys = np.arange(len(spread))
    assert Tables.of(spread, keys).nearest(int(spread[5]), 7) == Match(5, 0)
    assert not looks
    Tables.of(spread >> np.uint64(32), keys).nearest(9, 7)
    assert looks == [9]


def test_thousands_at_the_same_distance_give_the_smallest_key() -> None:
    """All 2016 hashes at two bits from one; every band has some."""
    pairs = [(1 << i) | (1 << j) for i in range(64) for j in range(i)]
    keys = np.random.default_rng(6).permutation(len(pairs)) + 50
    for smallest in range(0, len(pairs), 97):
        keys[smallest] = 3
        index = HashIndex(Tables.of(np.array(pairs, np.uint64) ^ np.uint64(0xF0F0F0F0F0F0F0F0), keys))
        assert index.nearest(0xF0F0F0F0F0F0F0F0, 7) == Match(3, 2)
        keys[smallest] = 5000


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
