"""The fold of verdicts, against a brute-force oracle: what was kept before decides, in order, and nothing else."""

from __future__ import annotations

from collections import Counter
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.config import Filter
from harvester.model import Measurement
from harvester.vision.caps import BROADCASTER_CAP, Caps, Origin, Tally
from harvester.vision.filters import judge
from harvester.vision.fold import DUPLICATE, CategoryFold, Decided, Rules
from harvester.vision.hamming import HashIndex
from harvester.vision.measure import measure
from harvester.vision.phash import phash
from tests.unit.vision.conftest import gray_picture

RADIUS = 6
#: Steps of a slow change from one picture into another: neighbours are near-duplicates, the ends are not.
STEPS = 12


@cache
def morph(step: int) -> Measurement:
    """Picture number ``step`` of the change; -1 is black, -2 one grey, -3 nearly black."""
    if step < 0:
        level = {-1: 16, -2: 120, -3: 18}[step]
        luma = np.full((64, 64), level, np.uint8)
        luma[:2] += 40 * (step == -3)
        return measure(gray_picture(luma))
    rng = np.random.default_rng(5)
    first, last = (np.kron(rng.integers(40, 220, (8, 8)), np.ones((8, 8))) for _ in range(2))
    share = step / (STEPS - 1)
    return measure(gray_picture(((1 - share) * first + share * last).astype(np.uint8)))


def distance(one: int, other: int) -> int:
    return (phash(morph(one).grid) ^ phash(morph(other).grid)).bit_count()


def fold(cap: int = 0, radius: int = RADIUS) -> CategoryFold:
    return CategoryFold(Rules(Filter(), radius, Caps(cap)), HashIndex())


def verdicts(order: list[int], radius: int = RADIUS) -> list[bool]:
    folding = fold(radius=radius)
    return [folding.decide(key, Origin("b"), morph(step)).verdict.kept for key, step in enumerate(order)]


def test_the_pictures_are_what_the_tests_need() -> None:
    assert distance(0, STEPS - 1) > 2 * RADIUS
    a, b, c = chain()
    assert 0 < distance(a, b) <= RADIUS
    assert 0 < distance(b, c) <= RADIUS
    assert distance(a, c) > RADIUS


def chain() -> tuple[int, int, int]:
    """Three pictures of which only neighbours are near-duplicates."""
    return next(
        (a, b, c)
        for a in range(STEPS)
        for b in range(a + 1, STEPS)
        for c in range(b + 1, STEPS)
        if max(distance(a, b), distance(b, c)) <= RADIUS < distance(a, c) and distance(a, b) and distance(b, c)
    )


def test_duplicates_are_compared_with_what_was_kept_so_there_are_no_chains() -> None:
    a, b, c = chain()
    assert verdicts([a, b, c]) == [True, False, True]
    assert verdicts([b, a, c]) == [True, False, False]


def test_a_duplicate_names_its_anchor() -> None:
    a, b, _ = chain()
    folding = fold()
    folding.decide(70, Origin("b"), morph(a))
    dropped = folding.decide(71, Origin("other"), morph(b))
    assert (dropped.verdict.kept, dropped.verdict.reason) == (False, DUPLICATE)
    assert (dropped.near_key, dropped.near_distance) == (70, distance(a, b))
    assert dropped.phash == phash(morph(b).grid)
    assert dropped.verdict.scores == judge(morph(b), Filter()).scores


@pytest.mark.parametrize(("step", "reason"), [(-1, "black"), (-2, "flat"), (-3, "dark")])
def test_filters_come_first_and_what_they_drop_is_no_anchor(step: int, reason: str) -> None:
    folding = fold()
    for key in range(2):
        decided = folding.decide(key, Origin("b"), morph(step))
        assert (decided.verdict.reason, decided.phash, decided.near_key) == (reason, None, None)
    assert len(folding.anchors) == 0
    assert not folding.tally.by_broadcaster


def test_a_cap_holds_for_its_broadcaster_for_ever_and_needs_no_picture() -> None:
    folding = fold(cap=1)
    assert not folding.capped(Origin("b"))
    assert folding.decide(0, Origin("b"), morph(0)).verdict.kept
    assert folding.capped(Origin("b"))
    assert not folding.capped(Origin("c"))
    capped = Decided(folding.decide(1, Origin("b"), morph(STEPS - 1)).verdict)
    assert capped == folding.decide(2, Origin("b"), None) == folding.decide(3, Origin("b"), morph(0))
    assert capped.verdict.reason == BROADCASTER_CAP
    assert folding.decide(4, Origin("c"), morph(STEPS - 1)).verdict.kept
    with pytest.raises(ValueError, match="measurement"):
        folding.decide(5, Origin("d"), None)


def test_a_duplicate_does_not_count_for_the_cap() -> None:
    folding = fold(cap=2)
    assert [folding.decide(key, Origin("b"), morph(0)).verdict.reason for key in range(3)] == [
        "",
        DUPLICATE,
        DUPLICATE,
    ]
    assert not folding.capped(Origin("b"))


def test_it_goes_on_from_anchors_and_counts_of_earlier_runs() -> None:
    a, b, c = chain()
    hashes = np.array([phash(morph(a).grid)], np.uint64)
    folding = CategoryFold(
        Rules(Filter(), RADIUS, Caps(5)), HashIndex.from_arrays(hashes, np.array([9])), Tally(Counter(b=4))
    )
    assert folding.decide(10, Origin("b"), morph(b)).near_key == 9
    assert folding.decide(11, Origin("b"), morph(c)).verdict.kept
    assert folding.capped(Origin("b"))


targets = st.lists(st.tuples(st.integers(-3, STEPS - 1), st.sampled_from("xyz")), max_size=30)


@given(targets, st.integers(0, 7), st.integers(0, 3))
def test_it_decides_like_the_oracle(order: list[tuple[int, str]], radius: int, cap: int) -> None:
    folding, kept, count = fold(cap, radius), dict[int, int](), Counter[str]()
    for key, (step, broadcaster) in enumerate(order):
        decided = folding.decide(key, Origin(broadcaster), morph(step))
        verdict = judge(morph(step), Filter())
        if cap and count[broadcaster] >= cap:
            assert decided.verdict.reason == BROADCASTER_CAP
        elif not verdict.kept:
            assert decided == Decided(verdict)
        else:
            distances = {k: (phash(morph(step).grid) ^ h).bit_count() for k, h in kept.items()}
            near = min(distances.values(), default=99)
            assert decided.verdict.kept == (near > radius)
            if decided.verdict.kept:
                kept[key] = phash(morph(step).grid)
                count[broadcaster] += 1
            else:
                assert (decided.near_distance, distances[decided.near_key or 0]) == (near, near)
    assert folding.tally.by_broadcaster == count
