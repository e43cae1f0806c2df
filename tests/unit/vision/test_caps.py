"""Caps, against an oracle that counts the kept frames anew before each decision."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.config import Sample
from harvester.model import Clip
from harvester.vision.caps import BROADCASTER_CAP, DAY_CAP, FEW_BROADCASTERS, NO_CAPS, Caps, Origin, Tally


def kept_of(order: list[Origin], caps: Caps) -> list[str]:
    """What becomes of pictures that are all kept but for the caps: "" or the cap's reason, in order."""
    tally, reasons = Tally(), []
    for origin in order:
        reasons.append(reason := tally.reached(caps, origin))
        if not reason:
            tally.count(origin)
    return reasons


def oracle(kept: list[Origin], caps: Caps, origin: Origin) -> str:
    mine = sum(one.broadcaster_id == origin.broadcaster_id for one in kept)
    same_day = sum(one.day == origin.day for one in kept)
    people = {one.broadcaster_id for one in kept}
    if 0 < caps.per_broadcaster <= mine:
        return BROADCASTER_CAP
    if origin.day and 0 < caps.per_day <= same_day:
        return DAY_CAP
    if 0 < caps.even_share <= mine and len(people) < caps.min_broadcasters:
        return FEW_BROADCASTERS
    return ""


origins = st.builds(Origin, st.sampled_from("abcd"), st.sampled_from(["", "2026-11-01", "2026-11-02"]))
counts = st.integers(0, 4)


@given(st.lists(origins, max_size=40), st.builds(Caps, counts, counts, counts, counts))
def test_they_decide_like_the_oracle(order: list[Origin], caps: Caps) -> None:
    kept: list[Origin] = []
    for origin, reason in zip(order, kept_of(order, caps), strict=True):
        assert reason == oracle(kept, caps, origin)
        if not reason:
            kept.append(origin)


@given(st.lists(st.tuples(origins, st.booleans()), max_size=30))
def test_what_has_left_counts_no_more(order: list[tuple[Origin, bool]]) -> None:
    tally, stays = Tally(), Tally()
    for origin, _ in order:
        tally.count(origin)
    for origin, leaves in order:
        if leaves:
            tally.count(origin, -1)
        else:
            stays.count(origin)
    assert tally.by_broadcaster.keys() == stays.by_broadcaster.keys()  # one without frames is none
    assert (tally.by_broadcaster, tally.by_day) == (stays.by_broadcaster, stays.by_day)


def test_the_even_share_holds_until_there_are_enough_broadcasters() -> None:
    caps = Caps(even_share=2, min_broadcasters=3)
    order = [Origin(who) for who in "aaabbbaca"]
    assert kept_of(order, caps) == ["", "", FEW_BROADCASTERS, "", "", FEW_BROADCASTERS, FEW_BROADCASTERS, "", ""]


@pytest.mark.parametrize(
    ("kept", "held_back"),
    [
        ({}, set()),
        ({"a": 2}, {"a"}),
        ({"a": 1, "b": 5}, {"b"}),
        ({"a": 2, "b": 2, "c": 0}, {"a", "b"}),
        ({"a": 2, "b": 2, "c": 1}, set()),
    ],
)
def test_who_is_held_back_is_told_from_the_counts(kept: dict[str, int], held_back: set[str]) -> None:
    assert Caps(even_share=2, min_broadcasters=3).held_back(kept) == held_back
    assert NO_CAPS.held_back(kept) == set()
    tally = Tally(+Counter(kept))
    caps = Caps(even_share=2, min_broadcasters=3)
    assert {who for who in kept if tally.reached(caps, Origin(who))} == held_back


@pytest.mark.parametrize(
    ("target", "people", "share"), [(100, 5, 20), (100, 3, 34), (2, 5, 1), (100, 1, 0), (100, 0, 0), (None, 5, 0)]
)
def test_the_even_share_is_the_target_over_the_broadcasters(target: int | None, people: int, share: int) -> None:
    sample = Sample(min_broadcasters=people, max_per_broadcaster=7, max_per_day=9)
    assert Caps.of(sample, target) == Caps(7, 9, share, people)


def test_a_source_counts_for_the_utc_day_on_which_it_was_made() -> None:
    made = datetime(2026, 11, 1, 23, 59, 59, tzinfo=UTC)
    clip = Clip("Slug", "1", "9", "someone", "", made, 30.0, "en", 1)
    assert Origin.of(clip) == Origin("9", "2026-11-01")


def test_a_negative_cap_cannot_be() -> None:
    with pytest.raises(ValueError, match="negative"):
        Caps(per_day=-1)
