"""One category: how far it counts as filled, and work that was left out for a cap that holds no more."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from harvester.model import Rank
from harvester.pipeline.category import CategoryBooks, CategoryWalk, Stage
from harvester.pipeline.stopping import Stop
from harvester.pipeline.window import Window
from harvester.pipeline.work import Capped, Item, Measured, Result
from harvester.sampling.plan import Visit
from harvester.store.ledger import Ledger
from harvester.store.passes import OpenPass
from harvester.vision.caps import Caps
from tests.unit.pipeline.conftest import HADES, decided, item, judge, measured, vod


def test_what_is_begun_counts_as_filled_and_what_gave_nothing_as_a_quarter() -> None:
    books = CategoryBooks(HADES, total=10)
    books.ahead = 3
    assert books.filled == 13
    books.count("dropped", "duplicate", due=False, n=6)
    books.count("failed", "timeout", due=True, n=2)
    assert books.filled == 15
    books.count("kept", "", due=False, n=5)
    assert books.filled == 20


def test_what_caps_cost_are_their_drops_and_what_was_cut_off() -> None:
    books = CategoryBooks(HADES, total=0)
    for reason in ("day-cap", "broadcaster-cap", "duplicate", "day-cap"):
        books.count("dropped", reason, due=False)
    books.cut_off["vod-cap"] = 7
    assert books.capped == {"day-cap": 2, "broadcaster-cap": 1, "vod-cap": 7}


@dataclass
class Taking:
    """A worker that finds a picture of every target, and remembers which it was asked for."""

    taken: list[int] = field(default_factory=list)

    async def take(self, visit: Visit, place: int, taken: Any) -> Measured:
        self.taken.append(place)
        taken()
        return measured(50 + place, k=place, offset_s=60.0 + place)


async def begun(result: Result, at: Item) -> Item:
    task = asyncio.create_task(asyncio.sleep(0, result))
    await task
    return replace(at, task=task)


@pytest.mark.parametrize("lifted", [True, False])
def test_what_was_not_begun_for_a_cap_is_done_once_the_cap_holds_no_more(lifted: bool) -> None:
    async def check() -> None:
        ledger, worker, books = Ledger(None), Taking(), CategoryBooks(HADES, total=0)
        judging = judge(ledger, caps=Caps(even_share=1, min_broadcasters=2))
        decided(judging, ledger, item(vod(7), 0), measured(1))
        window = Window(4, 1 << 40)
        stage = cast("Stage", Fixed(worker, Stop()))
        with window.lane(lambda: 0) as lane:
            walk = CategoryWalk(stage, judging, books, OpenPass(1), lane)
            waiting = await begun(Capped(), item(vod(7), 1))
            if lifted:
                decided(judging, ledger, item(vod(8, broadcaster="b2")), measured(2))
            result = await walk._result(waiting)
        assert isinstance(result, Measured) == lifted
        assert worker.taken == [1] * lifted
        assert books.under_way == ({waiting.rank} if lifted else set[Rank]())
        ruling = judging.decide(waiting, result)
        assert ruling is not None
        assert ruling.outcome.reason == ("" if lifted else "few-broadcasters")

    asyncio.run(check())


@dataclass
class Fixed:
    """What a walk needs of its stage there."""

    worker: Taking
    stop: Stop
