"""Deciding: what a target becomes depends on its rank and on what was decided before, never on how work went."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta

import pytest

from harvester.errors import FetchError, MediaError, SourceError, TargetError
from harvester.model import Frame, Source, VodType
from harvester.pipeline.deciding import DETAIL_CHARS, moment_url, streamed_at
from harvester.pipeline.work import Capped, Failed, Void
from harvester.store.ledger import Ledger
from harvester.store.passes import OpenPass
from harvester.store.records import Outcome
from harvester.vision.caps import Caps
from tests.unit.pipeline.conftest import NOW, clip, decided, item, judge, measured, picture, vod


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(None)


@pytest.mark.parametrize(
    ("offset_s", "moment"),
    [
        (0.0, "0h0m0s"),
        (59.999, "0h0m59s"),
        (60.0, "0h1m0s"),
        (3599.5, "0h59m59s"),
        (3600.0, "1h0m0s"),
        (172_799.9, "47h59m59s"),
    ],
)
def test_the_page_of_a_vod_opens_at_the_second(offset_s: float, moment: str) -> None:
    assert moment_url(vod(7), offset_s) == f"https://www.twitch.tv/videos/7?t={moment}"
    assert moment_url(clip("Slug-1"), offset_s) == "https://clips.twitch.tv/Slug-1"


@pytest.mark.parametrize(
    ("source", "known"),
    [(vod(), True), (vod(kind=VodType.HIGHLIGHT), False), (vod(kind=VodType.UPLOAD), False), (clip(), False)],
)
def test_only_of_an_archive_is_the_time_on_air_known(source: Source, known: bool) -> None:
    assert streamed_at(source, 90.5) == (NOW + timedelta(seconds=90.5) if known else None)


@pytest.mark.parametrize(
    ("source", "known"),
    [(vod(), True), (vod(kind=VodType.HIGHLIGHT), True), (vod(kind=VodType.UPLOAD), False), (clip(), False)],
)
def test_a_dated_playlist_knows_better(ledger: Ledger, source: Source, known: bool) -> None:
    """A broadcast that broke off for an hour goes on in the same recording: its length says nothing of that."""
    judging = judge(ledger)
    on_air = NOW + timedelta(hours=1, seconds=90)
    ruling = judging.decide(item(source, 2), replace(measured(1, k=2, offset_s=90), on_air=on_air))
    assert ruling is not None
    frame = judging.finish(ruling).frame
    assert frame is not None
    assert frame.streamed_at == (on_air if known else None)


def test_a_kept_target_becomes_a_frame_with_its_provenance(ledger: Ledger) -> None:
    judging = judge(ledger)
    ruling = judging.decide(item(vod(7), 2), measured(1, k=2, offset_s=3661.25))
    assert ruling is not None
    decision = judging.finish(ruling)
    frame = decision.frame
    assert isinstance(frame, Frame)
    assert frame.file_name == decision.outcome.file_name == "hades-ii/vod-7-003661250.jpg"
    assert frame.sha256 == decision.outcome.sha256 == hashlib.sha256(decision.jpeg).hexdigest()
    assert decision.jpeg == picture(1).y.tobytes()
    assert frame.phash == f"{decision.outcome.phash:016x}"
    assert frame.url.endswith("/videos/7?t=1h1m1s")
    assert frame.streamed_at == NOW + timedelta(seconds=3661.25)
    assert (frame.label, frame.label_id, frame.category_id) == ("Hades II", 0, "1001")
    assert (frame.label_source, frame.label_confidence) == ("listing", 0.5)
    assert (frame.width, frame.height, frame.codec, frame.rendition) == (64, 64, "h264", "720p30")
    assert frame.harvested_at == decision.outcome.decided_at
    assert (decision.outcome.rank.k, decision.outcome.k) == (2, 2)


def test_a_dropped_target_keeps_its_measurement_and_no_picture(ledger: Ledger) -> None:
    judging = judge(ledger)
    decided(judging, ledger, item(vod(7), 0), measured(1, offset_s=1))
    ruling = judging.decide(item(vod(7), 1), measured(1, k=1, offset_s=2))
    assert ruling is not None
    assert (ruling.outcome.verdict, ruling.outcome.reason, ruling.outcome.near_distance) == (
        "dropped",
        "duplicate",
        0,
    )
    assert ruling.outcome.measurement
    assert ruling.measured is None
    decision = judging.finish(ruling)
    assert (decision.frame, decision.jpeg) == (None, b"")


def test_a_moment_that_is_there_already_is_not_kept_twice(ledger: Ledger) -> None:
    decided(judge(ledger), ledger, item(vod(7)), measured(1, offset_s=5))
    again = decided(judge(ledger), ledger, item(vod(7), 1), measured(2, k=1, offset_s=5))
    assert again is not None
    assert (again.verdict, again.reason) == ("dropped", "known-moment")


def without_number(outcome: Outcome | None) -> Outcome:
    assert outcome is not None
    return replace(outcome, seq=0, decided_at=NOW)


@pytest.mark.parametrize("retry", [None, (5, 9, 11, 30)])
def test_a_capped_target_has_the_same_row_whether_it_was_fetched_ahead_or_not(
    ledger: Ledger, retry: tuple[int, ...] | None
) -> None:
    judging = judge(ledger, cap=1)
    decided(judging, ledger, item(vod(7), 0), measured(1, offset_s=1))
    at = item(vod(8), 1, retry)
    ahead = [
        Capped(),
        measured(2, k=1, offset_s=77),
        Failed(FetchError("timeout"), whole_source=False),
        Failed(SourceError("gone"), whole_source=True),
    ]
    rows = {without_number(decided(judging, ledger, at, result)) for result in ahead}
    (row,) = rows
    assert (row.verdict, row.reason, row.offset_s, row.phash, row.measurement) == (
        "dropped", "broadcaster-cap", None, None, None,
    )  # fmt: skip
    assert row.k == (1 if retry is None else 9)
    other = decided(judging, ledger, item(vod(9, broadcaster="b2")), measured(3))
    assert other is not None
    assert other.verdict == "kept"


def failed(error: TargetError, *, whole: bool = False) -> Failed:
    return Failed(error, whole_source=whole)


@pytest.mark.parametrize("whole", [False, True])
def test_a_passing_failure_is_due_again_after_growing_waits_and_then_never(ledger: Ledger, whole: bool) -> None:
    waits = []
    for night in range(6):
        start = NOW + timedelta(days=10 * night)
        outcome = decided(
            judge(ledger, run_id=f"run-{night}", now=start),
            ledger,
            item(vod(7)),
            failed(FetchError("no answer", reason="timeout"), whole=whole),
        )
        assert outcome is not None
        assert (outcome.verdict, outcome.reason) == ("failed", "timeout")
        waits.append(outcome.retry_at - start if outcome.retry_at else None)
    hours = [None if wait is None else wait.total_seconds() / 3600 for wait in waits]
    assert hours == [0, 1, 20, 72, None, None]


def waits(ledger: Ledger, reason: str, looks: int) -> list[float | None]:
    """Hours from the start of each run until a source that fails to open so again and again is due."""
    hours: list[float | None] = []
    for night in range(looks):
        start = NOW + timedelta(days=10 * night)
        judging = judge(ledger, run_id=f"run-{night}", now=start)
        outcome = decided(
            judging, ledger, item(vod(7)), failed(SourceError("x", reason=reason, retryable=True), whole=True)
        )
        assert outcome is not None
        hours.append((outcome.retry_at - start).total_seconds() / 3600 if outcome.retry_at else None)
    return hours


def test_a_recording_too_fresh_to_be_played_is_due_an_hour_later(ledger: Ledger) -> None:
    assert waits(ledger, "not-ready", 6) == [1, 1, 20, 72, None, None]


def test_a_source_that_twitch_would_not_let_us_ask_for_is_charged_with_nothing(ledger: Ledger) -> None:
    assert waits(ledger, "refused", 6) == [1] * 6
    assert waits(ledger, "unavailable", 5) == [0, 1, 20, 72, None]


def test_a_candidate_for_gone_is_looked_at_on_another_day_whatever_failed_before(ledger: Ledger) -> None:
    assert waits(ledger, "unavailable", 5)[-1] is None
    assert waits(ledger, "gone", 2) == [20, 20]


def test_failures_are_counted_for_each_target_alone(ledger: Ledger) -> None:
    judging = judge(ledger)
    due = [
        decided(judging, ledger, item(vod(number), place), failed(FetchError("timeout")))
        for number, place in ((7, 0), (7, 1), (8, 0))
    ]
    assert all(outcome is not None and outcome.retry_at == NOW for outcome in due)


def test_a_lasting_failure_is_never_due_again(ledger: Ledger) -> None:
    outcome = decided(judge(ledger), ledger, item(vod(7)), failed(MediaError("no picture")))
    assert outcome is not None
    assert (outcome.reason, outcome.retry_at, outcome.k) == ("corrupt", None, 0)


def test_a_source_that_does_not_open_fails_once_in_a_pass(ledger: Ledger) -> None:
    judging = judge(ledger)
    error = failed(SourceError("gone", reason="gone"), whole=True)
    first = decided(judging, ledger, item(vod(7), 0), error)
    assert first is not None
    assert (first.k, first.reason) == (None, "gone")
    assert judging.is_lost(vod(7))
    assert not judging.is_lost(clip("7"))
    for late in (error, measured(1), Void()):
        assert judging.decide(item(vod(7), 1), late) is None
    judging.begin(OpenPass(2))
    assert not judging.is_lost(vod(7))
    judging.begin(OpenPass(1, lost=frozenset({("vod", "7")})))
    assert judging.decide(item(vod(7), 2), measured(1)) is None


def test_a_void_place_is_no_decision(ledger: Ledger) -> None:
    assert judge(ledger).decide(item(vod(7), 3), Void()) is None


def test_what_a_failure_says_is_short_printable_and_without_secrets(ledger: Ledger) -> None:
    text = '\x1b[31mGET https://h/x.ts?sig=SECRET&token={"a b": 1}&a=1\r\nBearer abcdefgh1234 ' + "y" * 900
    outcome = decided(judge(ledger), ledger, item(vod(7)), failed(FetchError(text)))
    assert outcome is not None
    assert outcome.detail is not None
    assert outcome.detail.isprintable()
    assert len(outcome.detail) == DETAIL_CHARS
    for secret in ("SECRET", "a b", "abcdefgh1234"):
        assert secret not in outcome.detail


def test_a_target_that_is_held_back_is_due_again_and_counts_once_there_are_more_broadcasters(
    ledger: Ledger,
) -> None:
    judging = judge(ledger, caps=Caps(even_share=1, min_broadcasters=2))
    decided(judging, ledger, item(vod(7), 0), measured(1))
    held = decided(judging, ledger, item(vod(7), 1), Capped())
    assert held is not None
    assert (held.reason, held.retry_at, held.k) == ("few-broadcasters", NOW, 1)
    assert judging.is_capped(vod(7))
    assert not judging.is_capped(vod(8, broadcaster="b2"))
    decided(judging, ledger, item(vod(8, broadcaster="b2")), measured(2))
    assert not judging.is_capped(vod(7))
    more = decided(judging, ledger, item(vod(7), 2), measured(3, k=2, offset_s=9))
    assert more is not None
    assert more.verdict == "kept"


def test_a_full_day_is_full_for_everybody(ledger: Ledger) -> None:
    judging = judge(ledger, caps=Caps(per_day=1))
    decided(judging, ledger, item(vod(7), 0), measured(1))
    late = decided(judging, ledger, item(vod(8, broadcaster="b2")), measured(2))
    assert late is not None
    assert (late.reason, late.retry_at) == ("day-cap", None)
    tomorrow = replace(vod(9), created_at=NOW + timedelta(days=1))
    assert not judging.is_capped(tomorrow)
