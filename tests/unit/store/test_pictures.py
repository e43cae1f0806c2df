"""What the ledger shows of what was left out: a few of each reason, always the same ones, with their pictures."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from harvester.model import Rank
from harvester.store.ledger import Ledger
from harvester.store.records import Outcome

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


def outcome(seq: int, reason: str = "", **changed: object) -> Outcome:
    kept = not reason
    plain = Outcome(
        seq,
        "run",
        "1",
        Rank(1, 0, 0, 0, seq),
        "vod",
        f"v{seq}",
        "b",
        0,
        "kept" if kept else "dropped",
        reason,
        NOW,
        offset_s=float(seq),
        phash=seq,
        measurement=b"m%d" % seq,
        file_name=f"game/vod-v{seq}-000000000.jpg" if kept else None,
    )
    return replace(plain, **changed)  # type: ignore[arg-type]


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(None)


def test_a_few_of_each_reason_with_what_is_known_of_them(ledger):
    ledger.commit([outcome(n, "black" if n % 3 else "flat") for n in range(1, 61)] + [outcome(61)])
    found = ledger.dropped_pictures(5)
    assert {reason: len(pictures) for reason, pictures in found.items()} == {"black": 5, "flat": 5}
    for reason, pictures in found.items():
        for picture in pictures:
            seq = int(picture.offset_s)
            assert picture == (reason, "1", "vod", f"v{seq}", float(seq), b"m%d" % seq)
            assert reason == ("black" if seq % 3 else "flat")
    assert ledger.dropped_pictures(5) == found
    assert [int(p.offset_s) for p in found["black"]] != sorted(n for n in range(1, 61) if n % 3)[:5]
    assert len(ledger.dropped_pictures(99)["flat"]) == 20


def test_what_was_never_measured_has_no_picture(ledger):
    unmeasured = outcome(1, "broadcaster-cap", phash=None, measurement=None)
    ledger.commit([unmeasured, outcome(2, "black"), outcome(3, "dark", measurement=None)])
    assert list(ledger.dropped_pictures(5)) == ["black"]


def test_what_has_left_is_shown_with_the_reason_it_left_for(ledger):
    ledger.commit([outcome(n) for n in range(1, 5)])
    barrier = ledger.next_barrier()
    assert barrier is not None
    ledger.commit_barrier(barrier, "run", NOW, {2: "recurring", 4: "conflict"})
    found = ledger.removed_pictures(5)
    assert {reason: [p.measurement for p in pictures] for reason, pictures in found.items()} == {
        "recurring": [b"m2"],
        "conflict": [b"m4"],
    }
    assert ledger.dropped_pictures(5) == {}


def test_failures_wait_until_they_are_due(ledger):
    failed = {"verdict": "failed", "phash": None, "measurement": None, "offset_s": None}
    waits = [NOW - timedelta(hours=1), NOW, NOW + timedelta(seconds=1), NOW + timedelta(days=2), None]
    ledger.commit([outcome(n, "timeout", retry_at=at, **failed) for n, at in enumerate(waits, 1)])
    assert ledger.tried_again(NOW) == {"due": 2, "later": 2}
    assert Ledger(None).tried_again(NOW) == {"due": 0, "later": 0}


def test_the_last_success_is_that_of_the_latest_run_that_exited_with_0(ledger):
    assert ledger.last_success() is None
    for number, code in enumerate((0, 0, 4, None)):
        ledger.begin_run(f"run {number}", NOW + timedelta(days=number), {})
        if code is not None:
            ledger.end_run(f"run {number}", NOW + timedelta(days=number, hours=1), f'{{"exit_code": {code}}}')
    assert ledger.last_success() == NOW + timedelta(days=1, hours=1)
