"""Which sources a new pass visits: what is new, what is due again, each once; and what a pass may be resumed for."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from harvester.clock import Clock
from harvester.config import Discover, Sample
from harvester.errors import AMBIGUOUS, FetchError, SourceError, UnknownCategory, UsageError
from harvester.model import Category, Clip, Source, SourceKind, Vod, VodType
from harvester.pipeline.listing import (
    FEW_CLIPS,
    PACE_CLIPS,
    Found,
    Listed,
    Lister,
    Request,
    find_categories,
    is_narrow,
    listing_scope,
    scope_key,
)
from harvester.pipeline.naming import Memory
from harvester.pipeline.work import Failed
from harvester.ports import Listing, ListingScope, RateHeadroom
from harvester.sampling.plan import plan_visits, target_limit
from harvester.store.ledger import Ledger
from tests.unit.pipeline.conftest import HADES, NOW, clip, decided, item, judge, measured, vod

CELESTE = Category("1002", "Celeste")
DAY = timedelta(days=1)


@dataclass
class Shelf:
    """A catalog of what it is given; remembers how it was asked."""

    vods: Sequence[Vod] = ()
    clips: Sequence[Clip] = ()
    seen: int = 0
    categories: Sequence[Category] = (HADES, CELESTE)
    asked: list[Any] = field(default_factory=list)

    async def find_category(self, query: str) -> Category:
        for category in self.categories:
            if query in (category.id, category.name, f"id:{category.id}"):
                return category
        raise UnknownCategory(f"no {query}")

    async def top_categories(self, count: int) -> Sequence[Category]:
        return self.categories[:count]

    async def list_vods(self, category: Category, scope: ListingScope) -> Listing[Vod]:
        self.asked.append(("vod", scope))
        return Listing(tuple(self.vods), "end", self.seen or len(self.vods))

    async def list_clips(self, category: Category, scope: ListingScope) -> Listing[Clip]:
        self.asked.append(("clip", scope))
        return Listing(tuple(self.clips), "limit", len(self.clips))

    async def find_source(self, category: Category, kind: SourceKind, source_id: str) -> Source:
        for source in (*self.vods, *self.clips):
            if (source.kind, source.id) == (kind, source_id):
                return source
        raise SourceError("no such source")

    async def headroom(self) -> RateHeadroom:
        return RateHeadroom()


def lister(
    shelf: Shelf, ledger: Ledger, *, now: datetime = NOW, forgotten: Collection[str] = (), **discover: Any
) -> Lister:
    return Lister(shelf, ledger, Discover(**discover), Sample(), Clock(now), lambda source: source.id in forgotten)


def found(listing: Lister, request: Request | None = None) -> Found:
    return asyncio.run(listing.find(HADES, request or Request()))


def wished(what: Found) -> dict[tuple[str, str], tuple[int, ...] | None]:
    """The sources wished for, with the targets to be tried again; each may come once only."""
    wishes = {(wish.source.kind, wish.source.id): wish.retry for wish in what.wishes}
    assert len(wishes) == len(what.wishes)
    return wishes


def commit(ledger: Ledger, what: Found, *, done: bool = True, scope: str = "clip,vod") -> int:
    """Close a pass with these sources; ``done``: all of it decided."""
    pass_id = ledger.new_pass_id()
    ledger.commit_pass(
        pass_id,
        HADES.id,
        scope,
        opened_at=NOW,
        planned_at=NOW,
        listing={},
        visits=plan_visits(pass_id, what.wishes, Sample()),
    )
    if done:
        ledger.finish_pass(pass_id)
    return pass_id


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(None)


def test_categories_come_once_in_the_order_asked_and_unknown_ones_apart() -> None:
    request = Request(("Celeste", "nothing", "1002", "Hades II", "nobody"), top=1)
    categories, unknown = asyncio.run(find_categories(Shelf(), request))
    assert categories == [CELESTE, HADES]
    assert [str(error) for error in unknown] == ["no nothing", "no nobody"]
    categories, _ = asyncio.run(find_categories(Shelf(), Request(("Celeste",), top=2)))
    assert categories == [CELESTE, HADES]


def test_a_renamed_category_is_found_by_the_name_that_the_dataset_knows() -> None:
    told: list[str] = []
    former = {"Hades Two": HADES.id, "1": CELESTE.id}
    memory = Memory(former.get, told.append)
    request = Request(("name:Hades Two", "nobody", HADES.name, "id:1"))
    categories, unknown = asyncio.run(find_categories(Shelf(), request, memory=memory))
    assert categories == [HADES]
    assert [str(error) for error in unknown] == ["no nobody", "no id:1"]
    assert len(told) == 1 and "Hades Two" in told[0] and f"id:{HADES.id}" in told[0]


def test_one_of_several_of_a_name_is_not_chosen_by_what_the_dataset_knows() -> None:
    class Twins(Shelf):
        async def find_category(self, query: str) -> Category:
            raise UnknownCategory(f"several are named {query}", reason=AMBIGUOUS)

    with pytest.raises(UnknownCategory, match="several"):
        asyncio.run(find_categories(Twins(), Request(("Hades",)), memory=Memory(lambda _: HADES.id, print)))


def test_a_request_for_no_frames_is_refused() -> None:
    with pytest.raises(UsageError):
        Request(frames=0)


def test_the_configured_filters_are_the_scope() -> None:
    discover = Discover(
        languages=("en",), period="week", vod_types=(VodType.UPLOAD,), min_views=5, min_duration_s=60,
        since="2026-01-01", until="2026-02-01T01:00:00+01:00",
    )  # fmt: skip
    scope = listing_scope(discover, 7)
    assert scope == ListingScope(
        languages=("en",), period="week", vod_types=(VodType.UPLOAD,), min_views=5, min_duration_s=60,
        since=datetime(2026, 1, 1, tzinfo=UTC), until=datetime(2026, 2, 1, tzinfo=UTC), limit=7,
    )  # fmt: skip
    assert listing_scope(Discover(), 7) == ListingScope(limit=7)


def test_both_kinds_are_listed_within_their_limits_or_one_alone(ledger: Ledger) -> None:
    shelf = Shelf([vod(1)], [clip("Slug-1")])
    what = found(lister(shelf, ledger, max_vods=3, max_clips=4))
    assert wished(what) == {("vod", "1"): None, ("clip", "Slug-1"): None}
    assert what.listed == {"vod": Listed(1, 1), "clip": Listed(1, 1, stopped="limit")}
    assert [(kind, scope.limit) for kind, scope in shelf.asked] == [("vod", 3), ("clip", 4)]
    assert wished(found(lister(shelf, ledger, source_types=("clip",)))) == {("clip", "Slug-1"): None}


def test_what_is_left_out_says_why(ledger: Ledger) -> None:
    commit(ledger, found(lister(Shelf([vod(1)]), ledger)))
    shelf = Shelf([vod(1), vod(2), vod(3, seconds=0), vod(4)], seen=10)
    what = found(lister(shelf, ledger, forgotten=["2"]))
    assert wished(what) == {("vod", "4"): None}
    assert what.left_out == {"known": 1, "forgotten": 1, "no-duration": 1, "filtered": 6}
    assert (what.sources, what.nothing) == (10, False)
    assert found(lister(Shelf(), ledger)).nothing


def test_what_is_known_is_told_to_the_catalog_but_for_what_is_taken_up_again(ledger: Ledger) -> None:
    commit(ledger, found(lister(Shelf([vod(1)], [clip("Slug-1")]), ledger)), done=False)
    shelf = Shelf()
    found(lister(shelf, ledger))
    assert [(kind, scope.known) for kind, scope in shelf.asked] == [("vod", {"1"}), ("clip", {"Slug-1"})]
    narrow = Shelf()
    found(lister(narrow, ledger, min_views=1))
    assert [scope.known for _, scope in narrow.asked] == [frozenset(), frozenset()]


def made(count: int, apart: timedelta) -> list[Clip]:
    return [replace(clip(f"Slug-{n}"), created_at=NOW - n * apart) for n in range(count)]


def test_the_newest_known_clips_tell_the_catalog_their_pace(ledger: Ledger) -> None:
    def told() -> float | None:
        shelf = Shelf()
        found(lister(shelf, ledger))
        scopes: dict[str, ListingScope] = dict(shelf.asked)
        assert scopes["vod"].pace_per_h is None
        return scopes["clip"].pace_per_h

    assert told() is None
    commit(ledger, found(lister(Shelf(clips=made(FEW_CLIPS - 1, timedelta(minutes=2))), ledger)))
    assert told() is None
    old = [replace(each, id=f"Old-{each.id}", created_at=each.created_at - DAY) for each in made(900, DAY)]
    commit(ledger, found(lister(Shelf(clips=[*made(PACE_CLIPS, timedelta(minutes=2)), *old]), ledger)))
    assert told() == pytest.approx(30, rel=0.01)


def test_clips_of_one_moment_have_a_pace_too(ledger: Ledger) -> None:
    commit(ledger, found(lister(Shelf(clips=made(FEW_CLIPS, timedelta(0))), ledger)))
    shelf = Shelf()
    found(lister(shelf, ledger))
    assert shelf.asked[1][1].pace_per_h == FEW_CLIPS * 3600


def test_what_the_limit_cut_is_not_called_filtered(ledger: Ledger) -> None:
    class Cutting(Shelf):
        async def list_vods(self, category: Category, scope: ListingScope) -> Listing[Vod]:
            return Listing((vod(4),), "limit", seen=9, known=2, cut=5)

    assert found(lister(Cutting(), ledger)).left_out == {"known": 2, "limit": 5, "filtered": 1}


def test_the_catalogs_known_sources_are_left_out_as_known(ledger: Ledger) -> None:
    class Knowing(Shelf):
        async def list_vods(self, category: Category, scope: ListingScope) -> Listing[Vod]:
            return Listing((vod(4),), "cap", seen=9, known=5, lost=2)

    what = found(lister(Knowing(), ledger))
    assert what.left_out == {"known": 5, "filtered": 3}
    assert what.listed == {"vod": Listed(1, 9, 5, "cap", 2), "clip": Listed(0, 0, stopped="limit")}


def test_one_source_alone(ledger: Ledger) -> None:
    shelf = Shelf([vod(1), vod(2)], [clip("Slug-1")])
    assert wished(found(lister(shelf, ledger), Request(source=("vod", "2")))) == {("vod", "2"): None}
    assert not shelf.asked
    with pytest.raises(SourceError):
        found(lister(shelf, ledger), Request(source=("vod", "9")))


def fail(ledger: Ledger, source: Source, place: int, *, whole: bool = False, now: datetime = NOW) -> None:
    error = Failed(FetchError("no answer", reason="timeout"), whole_source=whole)
    assert decided(judge(ledger, now=now), ledger, item(source, place), error) is not None


def test_a_failed_target_comes_back_alone_when_it_is_due(ledger: Ledger) -> None:
    shelf = Shelf([vod(1), vod(2)])
    commit(ledger, found(lister(shelf, ledger)))
    for place in (3, 1):
        fail(ledger, vod(1), place)
    assert wished(found(lister(shelf, ledger))) == {("vod", "1"): (1, 3)}
    assert not found(lister(shelf, ledger, now=NOW - timedelta(seconds=1))).wishes
    assert not found(lister(shelf, ledger, source_types=("clip",))).wishes
    assert not found(lister(shelf, ledger, forgotten=["1"])).wishes
    commit(ledger, found(lister(shelf, ledger)))
    assert not found(lister(shelf, ledger)).wishes  # taken up


def test_a_source_that_did_not_open_comes_back_with_all_that_is_undecided(ledger: Ledger) -> None:
    commit(ledger, found(lister(Shelf([vod(1)]), ledger)))
    fail(ledger, vod(1), 0, whole=True)
    assert wished(found(lister(Shelf([vod(1)]), ledger))) == {("vod", "1"): None}
    decided(judge(ledger), ledger, item(vod(1), 2), measured(1, k=2))
    rest = tuple(k for k in range(target_limit(vod(1), Sample())) if k != 2)
    assert wished(found(lister(Shelf([vod(1)]), ledger))) == {("vod", "1"): rest}


def test_retries_of_one_source_alone(ledger: Ledger) -> None:
    shelf = Shelf([vod(1), vod(2)])
    commit(ledger, found(lister(shelf, ledger)))
    for number in (1, 2):
        fail(ledger, vod(number), 0)
    assert wished(found(lister(shelf, ledger), Request(source=("vod", "2")))) == {("vod", "2"): (0,)}


def test_a_narrower_request_takes_up_what_a_wider_pass_has_not_finished(ledger: Ledger) -> None:
    shelf = Shelf([vod(1), vod(2)])
    commit(ledger, found(lister(shelf, ledger)), done=False)
    decided(judge(ledger), ledger, item(vod(1), 0), measured(1, k=0))
    only = Request(source=("vod", "1"))
    undecided = tuple(range(1, target_limit(vod(1), Sample())))
    assert wished(found(lister(shelf, ledger), only)) == {("vod", "1"): undecided}
    assert not found(lister(shelf, ledger)).wishes  # the same request goes on with its own pass


def test_a_source_that_is_unfinished_and_due_comes_once(ledger: Ledger) -> None:
    shelf = Shelf([vod(1)])
    commit(ledger, found(lister(shelf, ledger)), done=False)
    decided(judge(ledger), ledger, item(vod(1), 0), measured(1, k=0))
    fail(ledger, vod(1), 1)
    only = Request(source=("vod", "1"))
    what = found(lister(shelf, ledger), only)
    assert wished(what) == {("vod", "1"): tuple(range(1, target_limit(vod(1), Sample())))}
    commit(ledger, what, done=False, scope=scope_key(Discover(), only))


def test_a_pass_is_resumed_for_the_same_kinds_source_and_narrowing_only() -> None:
    keys = [
        scope_key(discover, request)
        for discover, request in [
            (Discover(), Request()),
            (Discover(source_types=("vod",)), Request()),
            (Discover(source_types=("clip",)), Request()),
            (Discover(), Request(source=("vod", "1"))),
            (Discover(), Request(source=("clip", "1"))),
            (Discover(since="2026-01-01"), Request()),
            (Discover(languages=("en",)), Request()),
            (Discover(min_views=5), Request()),
        ]
    ]
    assert len(set(keys)) == len(keys)
    same = [Discover(), Discover(source_types=("clip", "vod"), max_vods=5, requests_per_s=1, top=3)]
    assert len({scope_key(discover, Request(frames=n)) for n, discover in enumerate(same, start=1)}) == 1


def test_only_a_request_for_everything_is_not_narrow() -> None:
    assert not is_narrow(Discover(), Request(("Hades II",), frames=5))
    assert not is_narrow(Discover(source_types=("clip", "vod"), max_vods=1), Request())
    for discover in (Discover(source_types=("vod",)), Discover(period="day"), Discover(until="2026-01-01")):
        assert is_narrow(discover, Request())
    assert is_narrow(Discover(), Request(source=("vod", "1")))
