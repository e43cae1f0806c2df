"""Turns: alone at first, never more than the most, and failures hold up nobody."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from harvester.fetch.turns import Turns


def in_flight(most: int, pieces: int, *, failing: bool = False) -> list[int]:
    """How many had their turn at the time, each time another began."""

    async def piece(turns: Turns) -> None:
        nonlocal now
        async with turns:
            now += 1
            seen.append(now)
            for _ in range(3):
                await asyncio.sleep(0)
            now -= 1
            if failing:
                raise OSError("gone")

    async def main() -> None:
        turns = Turns(most)
        await asyncio.gather(*(piece(turns) for _ in range(pieces)), return_exceptions=True)

    now, seen = 0, []
    with suppress(OSError):
        asyncio.run(main())
    return seen


@pytest.mark.parametrize("failing", [False, True])
@pytest.mark.parametrize("most", [1, 3, 4])
def test_few_at_first_and_as_many_as_allowed_in_the_end(most, failing):
    seen = in_flight(most, 40, failing=failing)
    assert len(seen) == 40
    assert seen[:2] == [1, 1]
    assert max(seen[:4]) <= 2
    assert max(seen) == most


def test_a_cancelled_turn_is_free_again():
    async def main() -> None:
        turns = Turns(1)
        async with turns:
            waiting = asyncio.create_task(turns.__aenter__())
            await asyncio.sleep(0)
            waiting.cancel()
        async with asyncio.timeout(5), turns:
            pass

    asyncio.run(main())


def test_nobody_can_be_kept_out_for_ever():
    with pytest.raises(ValueError, match="at most 0"):
        Turns(0)
