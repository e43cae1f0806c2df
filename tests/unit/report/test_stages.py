"""Stages in words: the longest first, what held up the run, and nothing where nothing is known."""

from __future__ import annotations

from harvester.report.stages import bound_by, bound_text, mean_queues, stages_text


def test_what_held_the_run_up_is_a_stage() -> None:
    assert bound_by({"other": 9, "network": 1, "decode": 2}) == "decode"
    assert bound_by({"other": 9}) == bound_by({}) == ""


def test_shares_are_told_from_two_per_cent_on() -> None:
    assert bound_text({"other": 1, "decode": 96, "network": 2, "list": 1, "open": 0}) == (
        "decode (decode 96%, network 2% of the time)"
    )
    assert bound_text({}) == bound_text({"other": 3}) == ""


def test_a_mean_queue_is_all_waiting_by_the_seconds_of_the_run() -> None:
    assert mean_queues({"decode": 30.0, "list": 1.0}, 10) == {"decode": 3.0, "list": 0.1}
    assert mean_queues({"decode": 30.0}, 0) == {}


def test_work_and_queues_stand_the_longest_first() -> None:
    assert stages_text({"encode": 1, "decode": 2.04}, {"order": 1, "batch": 2.25}) == (
        "decode 2.0 s, encode 1.0 s; targets waiting on average: batch 2.2, order 1.0"
    )
    assert stages_text({}, {}) == ""
    assert stages_text({"decode": 1}, {}) == "decode 1.0 s"
