"""What the caps count, what is held back and comes back, and why a target is not met: from committed rows alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from harvester.model import Rank
from harvester.sampling.plan import Wish, plan_visits
from harvester.store.ledger import Ledger
from harvester.store.shortfall import Shortfall, wanted_of
from harvester.vision.caps import BROADCASTER_CAP, DAY_CAP, FEW_BROADCASTERS
from tests.unit.store.test_ledger import NOW, SAMPLE, kept, open_pass, outcome, vod

YESTERDAY = NOW - timedelta(days=1)
HELD = {"reason": FEW_BROADCASTERS, "retry_at": NOW}


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(None)


def test_kept_frames_are_counted_by_the_day_of_their_source_until_they_leave(ledger: Ledger) -> None:
    """Whether or not the run is known to the ledger, which one in memory never is."""
    ledger.begin_run("r1", NOW, {})
    pass_id = open_pass(ledger, vod(1), replace(vod(2), created_at=YESTERDAY), replace(vod(3), created_at=NOW))
    rows = [
        kept(ledger, Rank(pass_id, 0, 0, 0, n), f"a/{n}.jpg", n, source_id=source, run_id=run)
        for n, (source, run) in enumerate([("1", "r1"), ("2", "r1"), ("2", "r0"), ("3", "r2"), ("3", "r2")])
    ]
    ledger.commit([*rows, outcome(ledger, Rank(pass_id, 0, 0, 0, 9))])
    assert ledger.kept_by_day("7") == {"2026-11-01": 3, "2026-10-31": 2}
    assert ledger.kept_by_day("8") == {}
    barrier = ledger.next_barrier()
    assert barrier is not None
    ledger.commit_barrier(barrier, "r1", NOW, {rows[1].seq: "recurring", rows[2].seq: "recurring"})
    assert ledger.kept_by_day("7") == {"2026-11-01": 3}
    assert ledger.tally("7", by_day=True).by_broadcaster == {"9": 3}
    assert not ledger.tally("7", by_day=False).by_day
    days = [row["day"] for row in ledger.decisions()]
    assert days == ["2026-11-01", "2026-10-31", "2026-10-31", "2026-11-01", "2026-11-01", "2026-11-01"]


def test_what_was_adopted_counts_for_no_day_whatever_is_listed_later(ledger: Ledger) -> None:
    row = kept(ledger, Rank(0, 0, 0, 0, 0), "a/1.jpg", 1, k=None)
    ledger.commit([row])
    open_pass(ledger, vod(1))
    assert ledger.kept_by_day("7") == {}
    assert [one["day"] for one in ledger.decisions()] == [""]
    barrier = ledger.next_barrier()
    assert barrier is not None
    ledger.commit_barrier(barrier, "r1", NOW, {row.seq: "recurring"})
    ((_, origin, _),) = ledger.left_at(barrier.number).values()
    assert (origin.broadcaster_id, origin.day) == ("9", "")
    assert ledger.kept_by_day("7") == {}


def test_the_day_of_a_source_stays_whatever_it_is_listed_with_later(ledger: Ledger) -> None:
    pass_id = open_pass(ledger, vod(1))
    ledger.commit([kept(ledger, Rank(pass_id, 0, 0, 0, 0), "a/1.jpg", 1)])
    open_pass(ledger, replace(vod(1), created_at=YESTERDAY, duration_s=700))
    assert ledger.kept_by_day("7") == {"2026-11-01": 1}
    (visit,) = ledger.visits(2, 0)
    assert (visit.source.created_at, visit.source.duration_s) == (NOW, 700)


def test_what_is_held_back_is_undecided_and_due_once_its_broadcaster_is_not(ledger: Ledger) -> None:
    pass_id = open_pass(ledger, vod(1, "9"), vod(2, "8"))
    ledger.commit(
        [
            outcome(ledger, Rank(pass_id, 0, 0, 0, 0)),
            outcome(ledger, Rank(pass_id, 0, 0, 0, 1), **HELD),
            outcome(ledger, Rank(pass_id, 0, 0, 0, 2), reason=BROADCASTER_CAP),
            outcome(ledger, Rank(pass_id, 0, 0, 1, 0), source_id="2", broadcaster_id="8", **HELD),
        ]
    )
    assert ledger.decided_targets("7", "vod", "1") == {0, 2}
    assert ledger.settled_elsewhere(vod(1), pass_id + 1) == {0, 2}
    assert ledger.due_retries("7", NOW, {"8", "9"}) == []
    assert [(source.id, ks) for source, ks in ledger.due_retries("7", NOW, {"8"})] == [("1", (1,))]
    assert [(source.id, ks) for source, ks in ledger.due_retries("7", NOW)] == [("1", (1,)), ("2", (0,))]
    second = ledger.new_pass_id()
    visits = list(plan_visits(second, [Wish(vod(1), (1,))], SAMPLE))
    ledger.commit_pass(second, "7", "vod", opened_at=NOW, planned_at=NOW, listing={}, visits=visits)
    assert [source.id for source, _ in ledger.due_retries("7", NOW)] == ["2"]
    assert ledger.decided_targets("7", "vod", "1") == {0, 2}
    ledger.commit([kept(ledger, Rank(second, 0, 0, 0, 0), "a/1.jpg", 1, k=1)])
    assert ledger.decided_targets("7", "vod", "1") == {0, 1, 2}


@pytest.mark.parametrize("reason", [BROADCASTER_CAP, DAY_CAP, FEW_BROADCASTERS])
def test_a_capped_target_does_not_say_that_its_source_was_open(ledger: Ledger, reason: str) -> None:
    ledger.begin_run("r1", NOW, {})
    pass_id = open_pass(ledger, vod(1))
    gone = {"verdict": "failed", "reason": "gone", "k": None, "retry_at": NOW}
    ledger.commit([outcome(ledger, Rank(pass_id, 0, 0, 0, 0), **gone)])
    ledger.commit([outcome(ledger, Rank(pass_id, 0, 0, 0, 1), reason=reason)])
    assert ledger.gone_since("7", "vod", "1") == NOW
    ledger.commit([outcome(ledger, Rank(pass_id, 0, 0, 0, 2))])
    assert ledger.gone_since("7", "vod", "1") is None


def test_a_shortfall_says_what_is_still_to_come_and_what_is_lost(ledger: Ledger) -> None:
    done = open_pass(ledger, vod(1))
    again = {"verdict": "failed", "reason": "timeout"}
    ledger.commit(
        [
            outcome(ledger, Rank(done, 0, 0, 0, 0), retry_at=NOW + timedelta(hours=3), **again),
            outcome(ledger, Rank(done, 0, 0, 0, 1), retry_at=NOW + timedelta(hours=1), **again),
            outcome(ledger, Rank(done, 0, 0, 0, 2), **HELD),
            outcome(ledger, Rank(done, 0, 0, 0, 3), reason=DAY_CAP),
            outcome(ledger, Rank(done, 0, 0, 0, 4), reason=BROADCASTER_CAP),
        ]
    )
    ledger.finish_pass(done)
    short = Shortfall.of(ledger, "7", 4, 5)
    assert short == Shortfall(
        4, 0, {"timeout": 2}, "2026-11-01T01:00:00+00:00", 1, {"broadcaster-cap": 1, "day-cap": 1}, 0
    )
    going_on = open_pass(ledger, vod(2), vod(3))
    ledger.commit([outcome(ledger, Rank(going_on, 0, 0, 0, 0), source_id="2")])
    assert Shortfall.of(ledger, "7", 4, 5).undecided == 9
    ledger._database.execute("UPDATE parts SET targets = 5 WHERE source_id <> '3'")
    assert (Shortfall.of(ledger, "7", 4, 5).full_vods, Shortfall.of(ledger, "7", 4, 6).full_vods) == (2, 0)


def test_shortfalls_of_a_class_add_up() -> None:
    one = Shortfall(1, 2, {"timeout": 1}, "2026-11-02", 3, {"day-cap": 1}, 4)
    other = Shortfall(10, 0, {"timeout": 2, "http": 1}, "", 0, {"day-cap": 2}, 1)
    assert one + other == Shortfall(11, 2, {"timeout": 3, "http": 1}, "2026-11-02", 3, {"day-cap": 3}, 5)
    assert (other + other).due_from == ""


def test_wanted_is_what_the_latest_run_with_a_target_wanted() -> None:
    runs = [
        {"report": None},  # killed
        {"report": {"categories": {"1": {"target": None}}}},
        {"report": {"categories": {"1": {"target": 9}, "2": {"target": 8}}}},
        {"report": {"categories": {"2": {"target": 7}, "3": {"target": 6}}}},
    ]
    assert wanted_of(runs) == {"1": 9, "2": 8, "3": 6}
