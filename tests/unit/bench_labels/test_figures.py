"""Figures on literals: bounds, purity, junk, near-duplicates, coverage, false drops."""

from __future__ import annotations

import math

import pytest
from labels.figures import (
    Goal,
    Judged,
    Share,
    coverage,
    false_drops,
    false_drops_by_reason,
    filtered,
    junk,
    junk_by_design,
    kept_of,
    near_duplicates,
    of_another_game,
    purity,
)
from labels.truth import Moment, Shown, Truth, laid_out

from harvester.model import Span

ONE, TWO = Shown("gameplay", "1"), Shown("gameplay", "2")
MENU, CARD = Shown("own", "1"), Shown("idle", design="plain")
A, B, C, D = 0x0, 0xFF, 0xFF00, 0xFF0000  # 8 bits from A, 16 from one another


def judged(shown: Shown, *, label: str = "1", reason: str = "", phash: int = A, at_s: float = 0) -> Judged:
    return Judged(label, "v", at_s, phash, reason, Moment(at_s, shown, phash))


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),  # Wilson 1927, as tabulated by Newcombe (1998) and Brown, Cai, DasGupta (2001)
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (29, 29, 0.8830, 1.0),
    ],
)
def test_bounds_are_wilsons(hits: int, of: int, low: float, high: float) -> None:
    assert Share(hits, of).bounds == pytest.approx((low, high), abs=6e-5)


def test_a_share_of_nothing() -> None:
    assert math.isnan(Share(0, 0).value)
    assert Share(0, 0).bounds == (0, 1)
    assert Share(0, 0).document() == {"share": None, "hits": 0, "of": 0, "95%": [0, 1]}
    with pytest.raises(ValueError, match="3 of 2"):
        Share(3, 2)


def test_frames_that_show_another_game_are_told_by_source_and_games() -> None:
    kept = [judged(TWO, at_s=9), judged(ONE), judged(MENU), judged(CARD), judged(TWO, at_s=3)]
    kept += [judged(TWO, label="2"), judged(ONE, label="2", at_s=5)]
    assert of_another_game(kept) == {("v", "1", "2"): [3, 9], ("v", "2", "1"): [5]}


def test_purity_and_junk() -> None:
    kept = [judged(ONE), judged(MENU), judged(TWO), judged(CARD), judged(TWO, label="2")]
    assert purity(kept) == Share(3, 5)
    assert junk(kept) == Share(1, 5)
    assert junk_by_design(kept) == {"idle: plain": 1}
    assert kept_of([judged(ONE), judged(ONE, reason="idle")]) == [judged(ONE)]


def test_near_duplicates_are_of_one_label() -> None:
    kept = [judged(ONE, phash=A), judged(ONE, phash=0x3F), judged(ONE, phash=C), judged(TWO, label="2", phash=A)]
    assert near_duplicates(kept, 6) == Share(1, 4)
    assert near_duplicates(kept, 5) == Share(0, 4)
    assert near_duplicates([judged(ONE, phash=A), judged(ONE, phash=A), judged(ONE, phash=A)], 0) == Share(2, 3)


# -- coverage -----------------------------------------------------------------------------------------------------


def vod(*hashes: int, shown: Shown = ONE) -> Truth:
    return Truth({"v": laid_out([(shown, hashes)], 10.0)})


def test_coverage_counts_bins_not_frames() -> None:
    truth = vod(A, A, A, B, B, B, C, C, C, D, D, D)  # four bins of three segments
    kept = [judged(ONE, phash=A), judged(ONE, phash=A, at_s=20), judged(ONE, phash=B, at_s=30)]
    assert coverage(truth, kept, 6, 0) == {"1": Share(2, 4)}


def test_a_bin_counts_once_whatever_else_it_holds() -> None:
    assert coverage(vod(A, B, C), [judged(ONE, phash=A)], 6, 0) == {"1": Share(1, 1)}


def test_a_bin_without_anything_new_is_not_eligible() -> None:
    truth = vod(A, A, A, A, A, 1, B, B, B, A, A, C)
    kept = [judged(ONE, phash=A)]
    assert coverage(truth, kept, 6, 0) == {"1": Share(1, 3)}  # the second bin is like the first
    assert coverage(truth, kept, 0, 0) == {"1": Share(1, 4)}
    assert coverage(truth, [*kept, judged(ONE, phash=C, at_s=110)], 6, 0) == {"1": Share(2, 3)}


def test_a_source_gives_no_more_than_it_may() -> None:
    truth = vod(A, A, A, B, B, B, C, C, C, D, D, D)
    kept = [judged(ONE, phash=A)]
    assert coverage(truth, kept, 6, 2) == {"1": Share(1, 2)}
    assert coverage(truth, [*kept, judged(ONE, phash=B, at_s=30), judged(ONE, phash=C, at_s=60)], 6, 2) == {
        "1": Share(2, 2)
    }


def test_junk_and_other_labels_cover_nothing() -> None:
    assert coverage(vod(A, A, A, shown=CARD), [judged(CARD)], 6, 0) == {}
    assert coverage(vod(A, A, A, B, B, B), [judged(ONE, label="2")], 6, 0) == {"1": Share(0, 2)}


def test_what_lies_in_a_guard_band_could_not_be_had() -> None:
    truth = vod(A, A, A, B, B, B, C, C, C, D, D, D)
    ends = {"v": (Span(0, 30), Span(80, 120))}  # a segment of the third bin, and all of the last
    assert coverage(truth, [judged(ONE, phash=B, at_s=30)], 6, 0, ends) == {"1": Share(1, 2)}
    assert coverage(truth, [judged(ONE, phash=A)], 6, 0, ends) == {"1": Share(1, 3)}  # what was had could be
    assert coverage(truth, [judged(ONE, phash=A)], 6, 0, {"w": (Span(0, 120),)}) == {"1": Share(1, 4)}


# -- false drops --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "counts"),
    [
        ("", False),
        ("duplicate", False),
        ("broadcaster-cap", False),
        ("day-cap", False),
        ("few-broadcasters", False),
        ("low-confidence", False),
        ("known-moment", False),
        ("black", True),
        ("idle", True),
        ("recurring", True),
        ("conflict", True),
        ("what comes one day", True),
    ],
)
def test_what_is_dropped_for_what_it_shows(reason: str, counts: bool) -> None:
    assert filtered(reason) is counts


def test_false_drops_are_of_gameplay_under_its_own_label() -> None:
    frames = [
        judged(ONE),
        judged(ONE, reason="duplicate"),
        judged(ONE, reason="idle"),
        judged(ONE, reason="dark"),
        judged(MENU, reason="idle"),
        judged(CARD, reason="idle"),
        judged(TWO, reason="idle"),  # another game's: rightly dropped
        judged(TWO, label="2"),
    ]
    assert false_drops(frames) == {"1": Share(2, 4), "2": Share(0, 1)}
    assert false_drops_by_reason(frames) == {"dark": {"1": 1}, "idle": {"1": 1}}


def test_goals() -> None:
    assert Goal("purity", 0.995, 0.995, at_least=True).met
    assert not Goal("junk", 0.0031, 0.003, at_least=False).met
    assert not Goal("coverage", math.nan, 0.9, at_least=True).met
