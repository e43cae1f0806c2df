import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.sandbox.control import Fault, FaultBook, Line, LogEntry, RequestLog


def hit(book, path="/helix/clips", method="GET", query=""):
    return book.take(method, path, query)


def test_a_fault_skips_then_happens_so_often():
    book, fault = FaultBook(), Fault(path="^/helix/", status=500, skip=1, times=2)
    book.add(fault)
    assert [hit(book) for _ in range(5)] == [None, fault, fault, None, None]


def test_a_fault_without_number_happens_for_ever_until_cleared():
    book, fault = FaultBook(), Fault(times=0)
    book.add(fault)
    assert all(hit(book) is fault for _ in range(5))
    book.clear()
    assert hit(book) is None


def test_faults_happen_in_the_order_they_were_written_one_a_request():
    book, first, second = FaultBook(), Fault(status=500), Fault(status=502)
    book.add(first)
    book.add(second)
    assert [hit(book), hit(book), hit(book)] == [first, second, None]


@pytest.mark.parametrize(
    ("fault", "matches"),
    [
        (Fault(), True),
        (Fault(path="clips$"), True),
        (Fault(path="^clips"), False),
        (Fault(method="get"), True),
        (Fault(method="POST"), False),
        (Fault(query="after="), True),
        (Fault(query="before="), False),
    ],
)
def test_what_a_fault_matches(fault, matches):
    assert fault.matches("GET", "/helix/clips", "first=1&after=x") is matches


def test_faults_from_json():
    document = {
        "match": {"method": "GET", "path": "^/helix/clips"},
        "action": {"status": 429, "headers": {"Ratelimit-Reset": "+2"}, "body": {"data": []}},
        "times": 3,
        "skip": 1,
    }
    fault = Fault.from_json(document)
    assert (fault.status, fault.times, fault.skip, fault.body) == (429, 3, 1, b'{"data": []}')


@pytest.mark.parametrize(
    "document",
    [
        {"match": {"path": "("}},
        {"match": {"host": "x"}},
        {"action": {"explode": True}},
        {"when": "now"},
        {"times": "many"},
    ],
)
def test_a_fault_that_is_none_is_refused(document):
    with pytest.raises((ValueError, TypeError)):
        Fault.from_json(document)


def entry(kind="helix", size=10):
    return LogEntry(kind, "GET", "/", "", None, 200, size, 1.0, "h")


def test_the_log_is_bounded_and_its_counters_go_on():
    log = RequestLog(entries=3)
    for number in range(5):
        log.begin("helix")
        log.end(entry(size=number))
    assert [item.bytes for item in log.entries()] == [2, 3, 4]
    assert log.stats()["requests"] == {"helix": 5}
    assert log.stats()["bytes"] == {"helix": 10}
    assert log.entries("gql") == []
    log.clear()
    assert log.stats()["requests"] == {}


@given(st.lists(st.sampled_from(["in", "out"])))
def test_peak_is_the_most_at_once(moves):
    log, inside, peak = RequestLog(), 0, 0
    for move in moves:
        if move == "in":
            log.begin("media")
            inside, peak = inside + 1, max(peak, inside + 1)
        elif inside:
            log.end(entry("media"))
            inside -= 1
    assert log.stats()["peak_parallel"].get("media", 0) == peak


def test_a_line_without_limits_costs_nothing_and_a_narrow_one_takes_its_time():
    async def carried(line):
        begun = time.monotonic()
        await line.travel(2)
        await asyncio.gather(*(line.carry(1000) for _ in range(4)))
        return time.monotonic() - begun

    assert asyncio.run(carried(Line(rtt_ms=5, mbps=1.6))) >= 0.010 + 4000 / 200_000 - 0.001
    line = Line()
    asyncio.run(carried(line))
    assert line._free_at == 0
