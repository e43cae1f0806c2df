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
            await window.acquire()
            entered.append(number)

        tasks = [asyncio.create_task(enter(number)) for number in range(6)]
        await _settled()
        assert (entered, window.held) == ([0, 1, 2], 3)
        await window.release()
        await _settled()
        assert (len(entered), window.held) == (4, 3)
        for _ in range(2):
            await window.release()
        await asyncio.gather(*tasks)
        assert sorted(entered) == list(range(6))

    asyncio.run(check())


def test_a_large_picture_shrinks_it_until_enough_have_left() -> None:
    async def check() -> None:
        window = Window(4, PICTURE_BYTES * 4)
        for _ in range(4):
            await window.acquire()
        window.met(PICTURE_BYTES * 2)  # two slots from now on
        waiting = asyncio.create_task(window.acquire())
        for held in (3, 2):
            await window.release()
            await _settled()
            assert (window.held, waiting.done()) == (held, False)
        await window.release()
        await waiting
        assert window.held == 2

    asyncio.run(check())


def test_who_gives_up_waiting_takes_no_slot() -> None:
    async def check() -> None:
        window = Window(1, 1 << 40)
        await window.acquire()
        waiting = asyncio.create_task(window.acquire())
        await _settled()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await window.release()
        assert window.held == 0
        await window.acquire()

    asyncio.run(check())
