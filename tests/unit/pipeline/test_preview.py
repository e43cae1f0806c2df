"""The plan of a category: what a run would visit and what that costs, from its open pass or a new listing."""

from __future__ import annotations

import asyncio

import pytest

from harvester.clock import Clock
from harvester.config import Config
from harvester.errors import TryAgainLater
from harvester.model import Category, Source, Vod
from harvester.pipeline.listing import Lister, Request, scope_key
from harvester.pipeline.preview import EXPECTED_YIELD, IMAGE_BYTES, TARGET_BYTES, CategoryPlan, preview
from harvester.ports import Listing, ListingScope
from harvester.sampling.plan import Wish, plan_visits, target_limit
from harvester.store.ledger import Ledger
from tests.unit.pipeline.conftest import HADES, NOW, at, clip, decided, item, judge, measured, vod
from tests.unit.pipeline.test_listing import Shelf

CONFIG = Config()


def planned(shelf: Shelf, ledger: Ledger, request: Request | None = None) -> CategoryPlan:
    lister = Lister(shelf, ledger, CONFIG.discover, CONFIG.sample, Clock(NOW), lambda _: False)
    return asyncio.run(preview(CONFIG, lister, ledger, request or Request(), HADES))


def limits(*sources: Source) -> int:
    return sum(target_limit(source, CONFIG.sample) for source in sources)


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(None)


def test_everything_new_is_visited_without_a_target(ledger: Ledger) -> None:
    sources = [vod(1), vod(2, broadcaster="b2")], [clip("Slug-1", broadcaster="b3")]
    plan = planned(Shelf(*sources, seen=5), ledger)
    targets = limits(*sources[0], *sources[1])
    assert plan.sources == {"vod": 2, "clip": 1}
    assert plan.left_out == {"filtered": 3}
    assert plan.targets == targets
    assert plan.requests == {"gql": 5, "usher": 2, "playlist": 2, "media": targets + 1, "storyboard": 4}
    assert plan.labels == {"asked": 2, "clip": 1}
    assert plan.media_bytes == targets * TARGET_BYTES
    assert plan.disk_bytes == round(targets * EXPECTED_YIELD) * IMAGE_BYTES
    assert plan.minutes > 0
    assert (plan.total, plan.target, plan.note, plan.listed) == (0, None, "", True)


def test_a_target_takes_as_many_as_its_yield_will_need_and_only_the_sources_for_them(ledger: Ledger) -> None:
    vods = [vod(number, broadcaster=f"b{number}") for number in range(1, 9)]
    plan = planned(Shelf(vods), ledger, Request(frames=8))
    assert plan.targets == 10  # 8 / 0.8
    assert plan.requests["gql"] == 6  # four targets a turn, every broadcaster in turn; a token and chapters each
    assert plan.sources == {"vod": 8}
    assert planned(Shelf(vods[:1]), ledger, Request(frames=1000)).targets == limits(vods[0])


def test_a_target_that_is_met_asks_nothing(ledger: Ledger) -> None:
    decided(judge(ledger), ledger, item(vod(1)), measured(1))
    shelf = Shelf([vod(2)])
    plan = planned(shelf, ledger, Request(frames=1))
    assert (plan.total, plan.target, plan.targets, plan.note) == (1, 1, 0, "target met")
    assert not shelf.asked


def test_an_open_pass_goes_on_with_what_is_undecided_and_is_not_listed_again(ledger: Ledger) -> None:
    visits = list(plan_visits(1, [Wish(vod(1)), Wish(vod(2))], CONFIG.sample))
    ledger.commit_pass(
        1,
        HADES.id,
        scope_key(CONFIG.discover, Request()),
        opened_at=NOW,
        planned_at=NOW,
        listing={},
        visits=visits,
    )
    shelf = Shelf([vod(3)])
    before = planned(shelf, ledger)
    assert (before.targets, before.sources) == (limits(vod(1), vod(2)), {"vod": 2})
    for k in range(3):
        outcome = decided(judge(ledger), ledger, at(visits[0], k), measured(10 + k, k=k, offset_s=k))
        assert outcome is not None
    after = planned(shelf, ledger)
    assert after.targets == before.targets - 3
    assert after.note == "goes on with a listing that is not finished"
    assert not shelf.asked


def test_nothing_new_and_a_listing_that_cannot_be_had(ledger: Ledger) -> None:
    plan = planned(Shelf(), ledger)
    assert (plan.targets, plan.sources, plan.note, plan.listed) == (0, {}, "no new sources", True)

    class Down(Shelf):
        async def list_vods(self, category: Category, scope: ListingScope) -> Listing[Vod]:
            raise TryAgainLater("Twitch is down")

    plan = planned(Down(), ledger)
    assert (plan.targets, plan.note, plan.listed) == (0, "not listed: Twitch is down", False)


def test_the_plan_writes_nothing(ledger: Ledger) -> None:
    planned(Shelf([vod(1)]), ledger)
    assert not ledger.known_sources(HADES.id)
