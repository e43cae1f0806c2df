import asyncio
import time

from hypothesis import given
from hypothesis import strategies as st

from harvester.sandbox.control import Line, LogEntry, RequestLog


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


def test_the_most_that_came_within_any_second():
    now = 0.0
    log = RequestLog(clock=lambda: now)
    for now in (0.0, 0.5, 0.9, 1.0, 3.0):  # at 1.0 the first is a second old
        log.begin("helix")
    log.begin("gql")
    assert log.stats()["peak_per_s"] == {"helix": 3, "gql": 1}
    log.clear()
    assert log.stats()["peak_per_s"] == {}


def test_connections_opened_and_open_at_once():
    log = RequestLog()
    for now_open, new in ((1, True), (1, False), (3, True), (2, False)):
        log.connected(now_open, new=new)
    assert (log.stats()["connections"], log.stats()["peak_connections"]) == (2, 3)
    log.clear()
    assert log.stats()["connections"] == log.stats()["peak_connections"] == 0


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
