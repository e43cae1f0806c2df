"""The window: a bound in targets and in bytes, that nobody who waits for it misses."""

from __future__ import annotations

import asyncio

import pytest

from harvester.pipeline.window import PICTURE_BYTES, Window


@pytest.mark.parametrize(
    ("frames", "n_bytes", "slots"),
    [
        (96, 192 << 20, 64),
        (8, 192 << 20, 8),
        (96, PICTURE_BYTES * 3, 3),
        (96, PICTURE_BYTES * 3 - 1, 2),
        (96, 1, 1),
        (1, 1 << 40, 1),
    ],
)
def test_the_tighter_bound_holds_and_one_slot_is_left_always(frames: int, n_bytes: int, slots: int) -> None:
    assert Window(frames, n_bytes).slots == slots


def test_only_a_larger_picture_changes_it() -> None:
    window = Window(96, PICTURE_BYTES * 8)
    window.met(1000)
    assert window.slots == 8
    window.met(PICTURE_BYTES * 4)
    window.met(1000)
    assert window.slots == 2
    window.met(PICTURE_BYTES * 100)
    assert window.slots == 1


async def _settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_it_lets_in_as_many_as_there_are_slots_and_one_for_each_that_leaves() -> None:
    async def check() -> None:
        window, entered = Window(3, 1 << 40), []

        async def enter(number: int) -> None:
            with window.lane(lambda: 0) as lane:
                await lane.acquire()
            entered.append(number)

        tasks = [asyncio.create_task(enter(number)) for number in range(6)]
        await _settled()
        assert (entered, window.held) == ([0, 1, 2], 3)
        window.release()
        await _settled()
        assert (len(entered), window.held) == (4, 3)
        for _ in range(2):
            window.release()
        await asyncio.gather(*tasks)
        assert sorted(entered) == list(range(6))

    asyncio.run(check())


def test_a_large_picture_shrinks_it_until_enough_have_left() -> None:
    async def check() -> None:
        window = Window(4, PICTURE_BYTES * 4)
        with window.lane(lambda: 0) as lane:
            for _ in range(4):
                await lane.acquire()
            window.met(PICTURE_BYTES * 2)  # two slots from now on
            waiting = asyncio.create_task(lane.acquire())
            await _settled()
            for held in (3, 2):
                window.release()
                await _settled()
                assert (window.held, waiting.done()) == (held, False)
            window.release()
            await waiting
            assert window.held == 2

    asyncio.run(check())


def test_who_gives_up_waiting_takes_no_slot() -> None:
    async def check() -> None:
        window = Window(1, 1 << 40)
        with window.lane(lambda: 0) as lane:
            await lane.acquire()
            waiting = asyncio.create_task(lane.acquire())
            await _settled()
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            window.release()
            assert window.held == 0
            await lane.acquire()

    asyncio.run(check())


def test_a_slot_that_comes_with_the_end_of_waiting_goes_back() -> None:
    async def check() -> None:
        window = Window(1, 1 << 40)
        with window.lane(lambda: 0) as lane:
            await lane.acquire()
            waiting = asyncio.create_task(lane.acquire())
            await _settled()
            window.release()  # the slot is given, and the task has not heard of it
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            assert window.held == 0

    asyncio.run(check())


class Category:
    """Takes slots as long as it has targets; each is a frame when it is let go."""

    def __init__(self, window: Window, filled: int = 0, targets: int = 100) -> None:
        self.window, self.filled, self.targets = window, filled, targets

    async def walk(self) -> None:
        with self.window.lane(lambda: self.filled) as lane:
            for _ in range(self.targets):
                await lane.acquire()
                self.filled += 1


async def _walked(window: Window, categories: list[Category], releases: int) -> list[int]:
    """How much each has after so many slots have become free."""
    tasks = [asyncio.create_task(category.walk()) for category in categories]
    await _settled()
    for _ in range(releases):
        window.release()
        await _settled()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return [category.filled for category in categories]


@pytest.mark.parametrize(
    ("begun", "targets", "filled"),
    [
        ([0, 0, 0], 100, [8, 8, 8]),  # evenly, from the first slot on
        ([0, 6, 30], 100, [15, 15, 30]),  # the one that has most waits
        ([0, 6, 12], 10, [10, 16, 16]),  # one that has no more holds up nobody
        ([0, 0, 0], 5, [5, 5, 5]),
    ],
)
def test_the_slot_goes_to_the_category_that_has_least(begun: list[int], targets: int, filled: list[int]) -> None:
    async def check() -> None:
        window = Window(4, 1 << 40)
        categories = [Category(window, have, targets) for have in begun]
        assert await _walked(window, categories, 20) == filled

    asyncio.run(check())


def test_who_rests_holds_up_nobody_and_comes_first_again() -> None:
    async def check() -> None:
        window = Window(1, 1 << 40)
        with window.lane(lambda: 0) as poor, window.lane(lambda: 9) as rich:
            await poor.acquire()
            waiting = asyncio.create_task(rich.acquire())
            window.release()
            await _settled()
            assert not waiting.done()  # the poor one may want the slot at any moment
            poor.rest()
            await waiting
            again, more = asyncio.create_task(poor.acquire()), asyncio.create_task(rich.acquire())
            await _settled()
            window.release()
            await again
            assert not more.done()
            poor.rest()
            window.release()
            await more

    asyncio.run(check())
