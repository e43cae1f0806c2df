"""Counters and timers: they add up, and threads lose none of it."""

from __future__ import annotations

import threading

import pytest

from harvester import stats as module
from harvester.stats import OTHER, RequestKind, StageTimes, Traffic


def traffic(**counts: int) -> Traffic:
    made = Traffic()
    for kind, n in counts.items():
        for _ in range(n):
            made.sent(RequestKind(kind))
            made.received(RequestKind(kind), 10)
    return made


def test_traffic_counts_requests_and_bytes_by_kind():
    counted = traffic(helix=2, media=1)
    assert counted.requests == {RequestKind.HELIX: 2, RequestKind.MEDIA: 1}
    assert counted.bytes == {RequestKind.HELIX: 20, RequestKind.MEDIA: 10}
    assert counted.requests[RequestKind.GQL] == 0


def test_traffic_adds_and_leaves_both_sides_alone():
    left, right = traffic(helix=2), traffic(helix=1, media=3)
    total = left + right
    assert total.requests == {"helix": 3, "media": 3}
    assert total.bytes == {"helix": 30, "media": 30}
    total.sent(RequestKind.HELIX)
    assert left.requests == {"helix": 2}
    assert right.requests == {"helix": 1, "media": 3}


def test_kinds_are_plain_words_in_a_report():
    assert [str(kind) for kind in RequestKind] == [
        "auth",
        "helix",
        "gql",
        "usher",
        "playlist",
        "media",
        "storyboard",
    ]


def test_threads_lose_no_count():
    counted, times = Traffic(), StageTimes()

    def work() -> None:
        for _ in range(2000):
            counted.sent(RequestKind.MEDIA)
            counted.received(RequestKind.MEDIA, 3)
            with times.timed("decode"):
                pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counted.requests[RequestKind.MEDIA] == 8000
    assert counted.bytes[RequestKind.MEDIA] == 24000
    assert times.calls["decode"] == 8000


@pytest.fixture
def perf_counter(monkeypatch):
    seconds = [5.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: seconds[0])
    return seconds


def test_a_stage_is_timed_also_when_it_fails(perf_counter):
    times = StageTimes()
    with times.timed("fetch"):
        perf_counter[0] += 1.5
    with pytest.raises(KeyError), times.timed("fetch"):
        perf_counter[0] += 0.5
        raise KeyError
    assert times.busy_s == {"fetch": 2.0}
    assert times.calls == {"fetch": 2}


def test_waiting_is_kept_apart_from_work(perf_counter):
    times = StageTimes()
    with pytest.raises(KeyError), times.waiting("decode"):
        perf_counter[0] += 2
        raise KeyError
    assert times.wait_s == {"decode": 2.0}
    assert not times.busy_s
    assert not times.calls
    assert (times + times).wait_s == {"decode": 4.0}


def test_stage_times_add(perf_counter):
    left, right = StageTimes(), StageTimes()
    for times, stages in ((left, ["fetch"]), (right, ["fetch", "decode"])):
        for stage in stages:
            with times.timed(stage):
                perf_counter[0] += 1
    total = left + right
    assert total.busy_s == {"fetch": 2.0, "decode": 1.0}
    assert total.calls == {"fetch": 2, "decode": 1}
    assert left.busy_s == {"fetch": 1.0}


# --- what holds a run up ------------------------------------------------------------------------------------------------


def test_queues_are_counted_in_target_seconds(perf_counter):
    times = StageTimes()
    first, second = times.waiting("decode").begin(), times.waiting("decode").begin()
    perf_counter[0] += 2
    first.end()
    perf_counter[0] += 1
    second.end()
    perf_counter[0] += 10
    times.waiting("decode").begin()
    assert times.wait_s == {"decode": 5.0}


def test_a_wait_ends_once_and_only_if_it_began(perf_counter):
    times = StageTimes()
    times.waiting("decode").end()
    with times.waiting("decode") as turn:
        perf_counter[0] += 1
        turn.end()
        perf_counter[0] += 5
        with times.waiting("decode"):
            perf_counter[0] += 1
    perf_counter[0] += 5
    times.enter("decode")
    assert times.wait_s == {"decode": 2.0}


def test_the_last_stage_that_is_waited_for_holds_the_run_up(perf_counter):
    times = StageTimes()

    def passes(seconds):
        perf_counter[0] += seconds

    passes(1)  # other
    with times.waiting("list"):
        passes(2)
        with times.waiting("network"), times.waiting("order"), times.waiting("batch"):
            passes(4)
            with times.timed("decode"), times.timed("publish"):
                passes(8)  # the network: busy is not behind
            with times.waiting("encode"):
                passes(16)  # the threads that decode
                with times.waiting("publish"):
                    passes(32)
    assert times.held_up_s == {OTHER: 1, "list": 2, "network": 12, "decode": 16, "publish": 32}


def test_where_nothing_waits_the_one_at_work_holds_the_run_up(perf_counter):
    times = StageTimes()
    with times.timed("measure"):
        perf_counter[0] += 1
        with times.timed("publish"):
            perf_counter[0] += 2
    with times.timed("unheard of"):
        perf_counter[0] += 4
    assert times.held_up_s == {"decode": 1, "publish": 2, OTHER: 4}
    assert (times + times).held_up_s == {"decode": 2, "publish": 4, OTHER: 8}
