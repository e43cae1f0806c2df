"""Stops and bounds: the first reason counts, a result that is there is taken, nothing waits for ever."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from harvester.clock import Clock
from harvester.config import Config, Run
from harvester.errors import MachineError
from harvester.pipeline import stopping
from harvester.pipeline.outside import open_dataset
from harvester.pipeline.stopping import Bounds, Stop, Stopped, require_room
from harvester.stats import RequestKind, Traffic
from harvester.store.dataset import Dataset


def test_the_first_reason_counts_unless_a_signal_follows() -> None:
    stop = Stop()
    assert (stop.asked, stop.reason, stop.signal_number) == (False, "", None)
    stop.ask("max_time")
    stop.ask("max_bytes")
    assert (stop.asked, stop.reason, stop.signal_number) == (True, "max_time", None)
    stop.ask("interrupted", signal_number=15)
    stop.ask("max_frames")
    assert (stop.reason, stop.signal_number) == ("interrupted", 15)


def test_who_is_signalled_is_in_a_hurry_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [100.0]
    monkeypatch.setattr(stopping.time, "monotonic", lambda: now_s[0])
    stop = Stop()
    stop.ask("max_time")
    now_s[0] += 1000
    assert not stop.hurried()  # no bound is one on how long it takes to end
    stop.ask("interrupted", signal_number=15)
    now_s[0] += stopping.PATIENCE_S - 0.1
    stop.ask("interrupted", signal_number=15)
    assert not stop.hurried()
    now_s[0] += 0.2
    assert stop.hurried()


def test_a_dataset_hears_of_it_and_says_what_it_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(stopping, "PATIENCE_S", -1.0)
    stop = Stop()
    with open_dataset(tmp_path / "dataset", Clock()) as opened:
        sink = opened.store(Config(), stop).sink
        monkeypatch.setattr(Dataset, "complete", lambda dataset, overlays: not dataset.hurried())
        sink.finish()
        assert not caplog.records
        stop.ask("interrupted", signal_number=15)
        sink.finish()
    assert ["the next run lists them" in record.getMessage() for record in caplog.records] == [True]


def test_a_result_that_is_there_is_taken_even_after_a_stop() -> None:
    async def check() -> None:
        stop, ready = Stop(), asyncio.get_running_loop().create_future()
        ready.set_result(3)
        stop.ask("max_time")
        assert await stop.or_stopped(ready) == 3
        with pytest.raises(Stopped):
            await stop.or_stopped(asyncio.Event().wait())

    asyncio.run(check())


def test_a_stop_ends_the_waiting_and_cancels_what_was_waited_for() -> None:
    async def check() -> None:
        stop, ended = Stop(), []

        async def work() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(True)

        waiting = asyncio.create_task(stop.or_stopped(work()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        stop.ask("interrupted", signal_number=2)
        with pytest.raises(Stopped):
            await waiting
        assert ended

    asyncio.run(check())


def test_errors_come_through_and_a_cancelled_waiter_takes_its_work_along() -> None:
    async def check() -> None:
        stop = Stop()

        async def broken() -> None:
            raise ValueError("broken")

        with pytest.raises(ValueError, match="broken"):
            await stop.or_stopped(broken())
        work = asyncio.create_task(asyncio.Event().wait())
        waiting = asyncio.create_task(stop.or_stopped(work))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert work.cancelled()
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(check())


def bounds(run: Run, *, kept: int = 0, requests: int = 0, n_bytes: int = 0) -> tuple[Bounds, Stop]:
    traffic = Traffic()
    for _ in range(requests):
        traffic.sent(RequestKind.MEDIA)
    traffic.received(RequestKind.HELIX, n_bytes)
    stop = Stop()
    return Bounds(run, Clock(), traffic, stop, lambda: kept), stop


REACHED: list[tuple[dict[str, Any], dict[str, int], str]] = [
    ({"max_frames": 3}, {"kept": 3}, "max_frames"),
    ({"max_bytes": 100}, {"n_bytes": 100}, "max_bytes"),
    ({"max_requests": 5}, {"requests": 5}, "max_requests"),
    ({"max_time_s": 1e-9}, {}, "max_time"),
]


@pytest.mark.parametrize(("run", "done", "reason"), REACHED)
def test_a_bound_asks_for_a_stop_when_it_is_reached(
    run: dict[str, Any], done: dict[str, int], reason: str
) -> None:
    check, stop = bounds(Run(**run), **done)
    assert check.check()
    assert stop.reason == reason
    assert check.full() == (reason == "max_frames")


def test_below_its_bounds_a_run_goes_on_and_zero_is_no_bound() -> None:
    just_below = Run(max_frames=4, max_bytes=101, max_requests=6, max_time_s=3600)
    for run in (just_below, Run()):
        check, stop = bounds(run, kept=3, n_bytes=100, requests=5)
        assert not check.check()
        assert not check.full()
        assert not stop.asked


def test_a_disk_that_becomes_full_ends_a_run_that_looks_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    free, looks, seconds = [5e9, 2.1e9, 1.9e9], [], iter(range(0, 100))
    monkeypatch.setattr("harvester.pipeline.stopping.LOOK_S", 2.5)  # the clock below moves two seconds a check
    monkeypatch.setattr("harvester.pipeline.stopping.time.monotonic", lambda: float(next(seconds)) + 100)

    def free_bytes() -> float:
        looks.append(free[len(looks)])
        return looks[-1]

    stop = Stop()
    check = Bounds(Run(min_free_gb=2), Clock(), Traffic(), stop, lambda: 0, free_bytes=free_bytes)
    checks = 0
    while not check.check():
        checks += 1
    assert stop.reason == "min_free_gb"
    assert looks == free
    assert checks > len(looks)


def test_no_run_begins_without_room() -> None:
    require_room(Run(min_free_gb=2), 2e9)
    require_room(Run(min_free_gb=0), 0)
    with pytest.raises(MachineError, match=r"only 1\.99 GB are free .* min_free_gb is 2") as refused:
        require_room(Run(min_free_gb=2), 1.99e9)
    assert refused.value.exit_code == 6


def test_a_stop_for_any_reason_ends_the_beginning_of_work() -> None:
    check, stop = bounds(Run())
    stop.ask("interrupted", signal_number=2)
    assert check.check()
    assert not check.full()


def test_the_time_is_watched_whatever_the_run_waits_for() -> None:
    async def check() -> None:
        watched, stop = bounds(Run(max_time_s=1e-9))
        await watched.watch()
        assert stop.reason == "max_time"

    asyncio.run(check())


@pytest.mark.parametrize(
    ("run", "reason"), [({"max_bytes": 101}, "max_bytes"), ({"max_requests": 6}, "max_requests")]
)
def test_traffic_is_watched_whatever_the_run_waits_for(run: dict[str, Any], reason: str) -> None:
    async def check() -> None:
        traffic, stop = Traffic(), Stop()
        traffic.received(RequestKind.MEDIA, 100)
        for _ in range(5):
            traffic.sent(RequestKind.MEDIA)
        watching = asyncio.create_task(Bounds(Run(**run), Clock(), traffic, stop, lambda: 0).watch())
        await asyncio.sleep(0)
        assert not stop.asked
        await asyncio.to_thread(traffic.sent, RequestKind.GQL)  # other stacks count in their own threads
        await asyncio.to_thread(traffic.received, RequestKind.GQL, 1)
        with pytest.raises(Stopped):
            await stop.or_stopped(asyncio.Event().wait())
        assert stop.reason == reason
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        traffic.sent(RequestKind.GQL)  # nobody is told any more

    asyncio.run(check())
