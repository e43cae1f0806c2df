"""The committer: every decision once, in the order it was made, in bounded batches; errors come out."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harvester import stats
from harvester.errors import MachineError
from harvester.pipeline import publishing
from harvester.pipeline.publishing import BATCH_FRAMES, BATCH_OUTCOMES, PIXEL_FRAMES, QUEUE_DECISIONS, Publisher
from harvester.pipeline.sinks import Decision
from harvester.stats import StageTimes
from tests.unit.pipeline.conftest import RememberingSink, decision

Steps = Callable[[Publisher], Coroutine[Any, Any, None]]


def published(sink: RememberingSink, steps: Steps) -> None:
    """Run ``steps`` beside a publisher, as a harvest does; what either raises comes out."""

    async def run() -> None:
        publisher = Publisher(sink, StageTimes())
        async with asyncio.TaskGroup() as group:
            group.create_task(publisher.run())
            await steps(publisher)
            await publisher.finish()

    asyncio.run(run())


def future_of(value: Decision) -> asyncio.Future[Decision]:
    future: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
    future.set_result(value)
    return future


@settings(max_examples=30)
@given(st.lists(st.booleans(), max_size=300), st.randoms(use_true_random=False))
def test_every_decision_is_published_once_in_order(kept: list[bool], chance: random.Random) -> None:
    """... although their pictures are encoded in any order."""
    sink = RememberingSink()

    async def steps(publisher: Publisher) -> None:
        loop = asyncio.get_running_loop()
        waiting: list[tuple[asyncio.Future[Decision], Decision]] = []
        for number, keep in enumerate(kept):
            future: asyncio.Future[Decision] = loop.create_future()
            waiting.append((future, decision(number, kept=keep)))
            if len(waiting) == QUEUE_DECISIONS // 2 or number == len(kept) - 1:
                chance.shuffle(waiting)
                for place, (one, value) in enumerate(waiting):
                    loop.call_later(place * 1e-5, one.set_result, value)
                waiting.clear()
            await publisher.put(future)

    published(sink, steps)
    assert sink.numbers == list(range(len(kept)))
    assert all(sink.batches)


def test_a_batch_has_so_many_frames_at_most() -> None:
    sink = RememberingSink()

    async def steps(publisher: Publisher) -> None:
        for number in range(200):
            await publisher.put(future_of(decision(number, kept=number % 2 == 0)))

    published(sink, steps)
    frames = [sum(each.frame is not None for each in batch) for batch in sink.batches]
    assert sum(frames) == 100
    assert max(frames) == BATCH_FRAMES == 64


def test_a_batch_has_so_many_outcomes_at_most() -> None:
    sink = RememberingSink()

    async def steps(publisher: Publisher) -> None:
        for number in range(2 * BATCH_OUTCOMES + 10):
            await publisher.put(future_of(decision(number)))

    published(sink, steps)
    assert [len(batch) for batch in sink.batches] == [BATCH_OUTCOMES, BATCH_OUTCOMES, 10]


def test_pixels_go_out_in_small_batches() -> None:
    sink = RememberingSink()
    sink.pixels = True

    async def steps(publisher: Publisher) -> None:
        for number in range(2 * PIXEL_FRAMES + 1):
            await publisher.put(future_of(decision(number, kept=True)))

    published(sink, steps)
    assert [len(batch) for batch in sink.batches] == [PIXEL_FRAMES, PIXEL_FRAMES, 1]


def test_a_batch_that_has_waited_long_enough_goes_out_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "BATCH_AGE_S", 0.01)
    sink = RememberingSink()

    async def steps(publisher: Publisher) -> None:
        await publisher.put(future_of(decision(0, kept=True)))
        while not sink.batches:  # nothing else comes: only its age can send it
            await asyncio.sleep(0.005)
        await publisher.put(future_of(decision(1)))

    published(sink, steps)
    assert [len(batch) for batch in sink.batches] == [1, 1]


def test_a_marker_is_reached_when_all_before_it_is_published() -> None:
    sink, seen = RememberingSink(), []

    async def steps(publisher: Publisher) -> None:
        for number in range(5):
            await publisher.put(future_of(decision(number)))
        await publisher.after_all(lambda: seen.append(sink.numbers))
        assert seen == [[0, 1, 2, 3, 4]]
        await publisher.after_all(lambda: seen.append([]))
        await publisher.put(future_of(decision(5)))

    published(sink, steps)
    assert seen == [[0, 1, 2, 3, 4], []]
    assert sink.numbers == list(range(6))


def test_what_the_sink_raises_ends_it_and_nothing_later_is_published() -> None:
    sink = RememberingSink(fails_at=1, error=MachineError("the disk is full"))

    async def steps(publisher: Publisher) -> None:
        for number in range(1000):
            await publisher.put(future_of(decision(number, kept=True)))

    with pytest.raises(ExceptionGroup) as raised:
        published(sink, steps)
    assert raised.group_contains(MachineError, match="the disk is full")
    assert sink.numbers == list(range(BATCH_FRAMES))


def test_an_error_of_an_encoding_comes_out_too() -> None:
    sink = RememberingSink()

    async def steps(publisher: Publisher) -> None:
        broken: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        broken.set_exception(ValueError("no JPEG"))
        await publisher.put(future_of(decision(0)))
        await publisher.put(broken)
        await publisher.put(future_of(decision(2)))

    with pytest.raises(ExceptionGroup) as raised:
        published(sink, steps)
    assert raised.group_contains(ValueError, match="no JPEG")
    assert 2 not in sink.numbers


def test_deciding_waits_when_too_much_waits_to_be_published() -> None:
    async def check() -> None:
        publisher = Publisher(RememberingSink(), StageTimes())
        for number in range(QUEUE_DECISIONS):
            await publisher.put(future_of(decision(number)))
        further = asyncio.create_task(publisher.put(future_of(decision(QUEUE_DECISIONS))))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not further.done()
        running = asyncio.create_task(publisher.run())
        await further
        await publisher.finish()
        await running

    asyncio.run(check())


def test_a_published_decision_waits_for_no_batch_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    times = StageTimes()

    async def run() -> None:
        publisher = Publisher(RememberingSink(), times)
        async with asyncio.TaskGroup() as group:
            group.create_task(publisher.run())
            for number in range(5):
                await publisher.put(future_of(decision(number, kept=True)))
            await publisher.finish()

    asyncio.run(run())
    waited_s = times.wait_s["batch"]
    now_s = stats.time.perf_counter()
    monkeypatch.setattr(stats.time, "perf_counter", lambda: now_s + 1000)
    times.enter("decode")
    assert times.wait_s["batch"] == waited_s > 0
