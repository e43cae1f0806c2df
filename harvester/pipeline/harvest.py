"""The flow line: discover → resolve → plan → fetch → decode → judge → write. No stage logic lives here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from harvester.clock import Clock
from harvester.config import Config
from harvester.decode import supported_codecs, thread_count
from harvester.errors import HarvesterError, TryAgainLater, UnknownCategory
from harvester.model import Category
from harvester.pipeline.category import CategoryBooks, CategoryWalk, Stage
from harvester.pipeline.deciding import Judge
from harvester.pipeline.listing import Found, Lister, Request, find_categories, scope_key
from harvester.pipeline.opening import Opener
from harvester.pipeline.publishing import Publisher
from harvester.pipeline.sinks import Sink
from harvester.pipeline.stopping import Bounds, Stop, Stopped
from harvester.pipeline.window import Window
from harvester.pipeline.work import Decoders, OpenSources, Worker
from harvester.ports import Catalog, Resolver
from harvester.sampling.plan import plan_visits
from harvester.stats import StageTimes, Traffic
from harvester.store.ledger import Ledger, OpenPass
from harvester.transport import Transport
from harvester.vision.fold import CategoryFold, Rules
from harvester.vision.hamming import HashIndex

#: Categories worked on at once: one that waits for its listing or its last targets leaves no connection idle.
CATEGORIES_AT_ONCE = 3


@dataclass(frozen=True, slots=True)
class Outside:
    """Everything a harvest needs of the outside, open and ready."""

    catalog: Catalog
    resolver: Resolver
    transport: Transport
    ledger: Ledger
    sink: Sink
    clock: Clock
    traffic: Traffic
    forgotten: Callable[..., bool]


@dataclass(slots=True)
class Harvested:
    """What a run did: books by category id, and what went wrong outside single targets."""

    books: dict[str, CategoryBooks] = field(default_factory=dict)
    errors: list[HarvesterError] = field(default_factory=list)
    decoder: str = ""


class Harvest:
    """One run. ``books`` may be read while it runs; ``stop`` ends it early."""

    def __init__(self, config: Config, outside: Outside, run_id: str) -> None:
        self._config = config
        self._outside = outside
        self._run_id = run_id
        self.stop = Stop()
        self.times = StageTimes()
        self.result = Harvested()
        self.rules = Rules(config.filter, config.dedupe.radius, config.sample.max_per_broadcaster)
        self._lister = Lister(
            outside.catalog,
            outside.ledger,
            config.discover,
            config.sample,
            outside.clock,
            outside.forgotten,
        )

    async def run(self, request: Request) -> Harvested:
        """Harvest. Raises HarvesterError when nothing can be done at all; else errors are in the result."""
        try:
            categories = await self.stop.or_stopped(self._discover(request))
        except Stopped:
            return self.result
        decoders = Decoders(self._config)
        self.result.decoder = decoders.name
        executor = ThreadPoolExecutor(thread_count(self._config.decode), thread_name_prefix="decode")
        try:
            await self._harvest(categories, request, decoders, executor)
        finally:
            executor.shutdown(wait=True, cancel_futures=True)
            decoders.close()
        return self.result

    async def _discover(self, request: Request) -> list[Category]:
        categories, unknown = await find_categories(self._outside.catalog, request)
        if not categories:
            raise _none_found(unknown)
        self.result.errors.extend(unknown)
        for category in categories:
            self._outside.ledger.remember_category(category, self._outside.clock.now())
            total = self._outside.ledger.kept_count(category.id)
            self.result.books[category.id] = CategoryBooks(category, total, request.frames)
        return categories

    async def _harvest(
        self, categories: Sequence[Category], request: Request, decoders: Decoders, executor: ThreadPoolExecutor
    ) -> None:
        outside, config = self._outside, self._config
        opener = Opener(outside.resolver, outside.transport, config.sample, supported_codecs(config.decode))
        sources = OpenSources(opener)
        publisher = Publisher(outside.sink, self.times)
        bounds = Bounds(config.run, outside.clock, outside.traffic, self.stop, self._kept)
        stage = Stage(
            ledger=outside.ledger,
            worker=Worker(sources, executor, decoders, self.times),
            sources=sources,
            window=Window(config.fetch.window_frames, config.fetch.window_mb << 20),
            publisher=publisher,
            executor=executor,
            stop=self.stop,
            bounds=bounds,
        )
        timer = asyncio.create_task(bounds.watch_time())
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(publisher.run())
                await self._all_categories(stage, categories, request)
                await publisher.finish()
        except* HarvesterError as errors:
            raise _first(errors) from None
        finally:
            timer.cancel()
            await sources.close()

    async def _all_categories(self, stage: Stage, categories: Sequence[Category], request: Request) -> None:
        """Work on the categories, a few at once, in the order asked."""
        turn = asyncio.Semaphore(CATEGORIES_AT_ONCE)
        judges = [self._judge(category) for category in categories]

        async def one(judge: Judge) -> None:
            async with turn:
                await self._category(stage, judge, request)

        async with asyncio.TaskGroup() as group:
            for judge in judges:
                group.create_task(one(judge))

    def _judge(self, category: Category) -> Judge:
        outside = self._outside
        hashes, keys = outside.ledger.anchors(category.id)
        fold = CategoryFold(
            self.rules, HashIndex.from_arrays(hashes, keys), outside.ledger.kept_by_broadcaster(category.id)
        )
        return Judge(
            run_id=self._run_id,
            category=category,
            entry=outside.sink.label(category),
            fold=fold,
            ledger=outside.ledger,
            sink=outside.sink,
            clock=outside.clock,
            times=self.times,
            short_side=self._config.dataset.short_side,
        )

    async def _category(self, stage: Stage, judge: Judge, request: Request) -> None:
        """Passes of one category until its target is met or its sources are exhausted.

        One listing a run; then what failed in a passing way, as long as it is due.
        """
        books = self.result.books[judge.category.id]
        scope = scope_key(self._config.discover, request)
        listed = False
        while not books.met and not stage.bounds.check():
            open_pass = stage.ledger.open_pass(judge.category.id, scope)
            if open_pass is None:
                found = self._due(judge.category, request) if listed else await self._list(request, books)
                if found is None or not found.wishes:
                    books.note = books.note or ("" if books.target is None else "no more sources")
                    return
                listed = True
                open_pass = self._commit_pass(judge.category, scope, found)
            if not await CategoryWalk(stage, judge, books, open_pass).run():
                return
            await stage.publisher.after_all(partial(stage.ledger.finish_pass, open_pass.id))

    async def _list(self, request: Request, books: CategoryBooks) -> Found | None:
        """What a new pass would visit; None if it cannot be listed now."""
        category = books.category
        try:
            found = await self.stop.or_stopped(self._lister.find(category, request))
        except Stopped:
            return None
        except TryAgainLater as error:
            self.result.errors.append(error)
            books.note = f"not listed: {error}"
            return None
        if found.suspect and self._outside.ledger.known_sources(category.id):
            self.result.errors.append(_suddenly_empty(category))
        if not found.wishes:
            books.note = "no sources listed" if found.suspect else "no new sources"
        return found

    def _due(self, category: Category, request: Request) -> Found:
        """What a pass after the one of this run's listing visits."""
        return Found(tuple(self._lister.retries(category, request)))

    def _commit_pass(self, category: Category, scope: str, found: Found) -> OpenPass:
        """Close the listing of a new pass."""
        ledger = self._outside.ledger
        pass_id = ledger.new_pass_id()
        visits = plan_visits(pass_id, found.wishes, self._config.sample)
        listing = {"left_out": dict(found.left_out), "stopped": found.listed}
        ledger.commit_pass(
            pass_id, category.id, scope, opened_at=self._outside.clock.now(), listing=listing, visits=visits
        )
        return OpenPass(pass_id)

    def _kept(self) -> int:
        return sum(books.kept for books in self.result.books.values())


def _none_found(unknown: Sequence[UnknownCategory]) -> UnknownCategory:
    if not unknown:
        return UnknownCategory("no category was asked for: give --category, --categories-file or --top")
    return UnknownCategory("; ".join(str(error) for error in unknown))


def _suddenly_empty(category: Category) -> TryAgainLater:
    return TryAgainLater(
        f"category {category.id} lists no sources although it had some before: Twitch may have an outage",
        reason="suddenly-empty",
    )


def _first(errors: BaseExceptionGroup[HarvesterError]) -> HarvesterError:
    """The first leaf of an exception group."""
    leaf: BaseException = errors
    while isinstance(leaf, BaseExceptionGroup):
        leaf = leaf.exceptions[0]
    assert isinstance(leaf, HarvesterError)
    return leaf
