"""The flow line: discover → resolve → plan → fetch → decode → judge → write. No stage logic lives here."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path

from harvester.clock import Clock
from harvester.config import Config
from harvester.decode import Backend, open_backend
from harvester.errors import HarvesterError, TryAgainLater, first_cause
from harvester.model import Category, Source
from harvester.pipeline.category import CategoryBooks, CategoryWalk, Stage
from harvester.pipeline.deciding import Judge
from harvester.pipeline.gone import SecondLook
from harvester.pipeline.leaving import Gate, enter_removed
from harvester.pipeline.listing import Found, Lister, Request, find_categories, scope_key
from harvester.pipeline.opening import Opener
from harvester.pipeline.publishing import Publisher
from harvester.pipeline.sinks import Sink
from harvester.pipeline.stopping import Bounds, Stop, Stopped
from harvester.pipeline.threads import DecodeThreads
from harvester.pipeline.window import Window
from harvester.pipeline.work import OpenSources, Worker
from harvester.ports import Catalog, Details, Resolver
from harvester.sampling.plan import plan_visits
from harvester.stats import StageTimes, Traffic
from harvester.store.classes import ClassEntry
from harvester.store.index import open_index
from harvester.store.ledger import Ledger
from harvester.store.passes import OpenPass
from harvester.transport import Transport
from harvester.vision.fold import CategoryFold, Rules

#: Categories worked on at once: one that waits for its listing or its last targets leaves no connection idle.
CATEGORIES_AT_ONCE = 3

#: What finds the sources of a category's next pass; None if that cannot be told now.
Find = Callable[[Stage, Request, CategoryBooks], Awaitable[Found | None]]

#: How long after its listing the rerun of a killed run goes on with it; later, something new is worth more.
RESUMED_WITHIN = timedelta(hours=12)


@dataclass(frozen=True, slots=True)
class Outside:
    """What a harvest needs of the world it harvests, connected."""

    catalog: Catalog
    resolver: Resolver
    transport: Transport
    clock: Clock
    traffic: Traffic
    details: Details | None = None  # None = switched off


@dataclass(frozen=True, slots=True)
class Store:
    """Where decisions go, and what is remembered of earlier ones."""

    ledger: Ledger
    sink: Sink
    forgotten: Callable[[Source], bool] = lambda _: False
    index: Path | None = None  # folder of the near-duplicate indexes; None = kept in memory alone


@dataclass(slots=True)
class Harvested:
    """What a run did: books by category id, and what went wrong outside single targets. ``untold``: VODs opened of
    which nobody told the chapters."""

    books: dict[str, CategoryBooks] = field(default_factory=dict)
    errors: list[HarvesterError] = field(default_factory=list)
    decoder: str = ""  # which ran, and why; "" if none was needed
    fallbacks: Counter[str] = field(default_factory=Counter)  # pictures that a GPU did not decode, by reason
    notes: list[str] = field(default_factory=list)  # what changed how it decoded
    untold: int = 0


class Harvest:
    """One run: ``discover``, then ``run``. ``result`` may be read while it runs; ``stop`` ends it early.

    ``tell`` is given lines about the run as it goes.
    """

    def __init__(
        self, config: Config, outside: Outside, run_id: str, tell: Callable[[str], None] = lambda _: None
    ) -> None:
        self._config = config
        self._outside = outside
        self._run_id = run_id
        self._tell = tell
        self.stop = Stop()
        self.times = StageTimes()
        self.result = Harvested()
        self._resumed: set[tuple[str, str]] = set()  # category and scope: what a killed run has listed
        self.rules = Rules(config.filter, config.dedupe.radius, config.sample.max_per_broadcaster)

    async def discover(self, request: Request) -> list[Category]:
        """The categories that are meant; none if the run is stopped meanwhile. Nothing is written yet.

        Raises UnknownCategory if there is none of them, CredentialsRefused, TryAgainLater; of several categories
        those that do not exist are errors in the result.
        """
        try:
            outside = self._outside
            other = self._config.dataset.other == "on"
            looking = find_categories(outside.catalog, request, outside.details, other=other)
            with self.times.waiting("list"):
                found, unknown = await self.stop.or_stopped(looking)
        except Stopped:
            return []
        self.result.errors.extend(unknown)
        return found

    async def run(self, store: Store, categories: Sequence[Category], request: Request) -> Harvested:
        """Harvest. Raises HarvesterError when nothing can be done at all; else errors are in the result."""
        self._open_books(store.ledger, categories, request.frames)
        self._resumed = store.ledger.listed_by_killed_runs(self._outside.clock.start - RESUMED_WITHIN)
        entries = [store.sink.label(category) for category in categories]  # label ids in the order asked
        if all(books.met for books in self.result.books.values()):
            return self.result
        try:
            backend = await self.stop.or_stopped(self._open_backend())
        except Stopped:
            return self.result
        executor = DecodeThreads(backend.threads, thread_name_prefix="decode")
        try:
            await self._harvest(store, request, entries, backend, executor)
        finally:
            # its threads may wait for a GPU that hangs; a signal must be heard meanwhile
            await asyncio.to_thread(executor.shutdown, wait=True, cancel_futures=True)
            self._close_backend(backend)
            self._recount(store.ledger)
        return self.result

    async def _open_backend(self) -> Backend:
        """What decodes in this run. A driver or a process may take its time: others go on meanwhile."""
        backend = await asyncio.to_thread(
            open_backend,
            self._config.decode,
            self.times,
            held_bytes=self._config.fetch.window_mb << 20,
            hurried=self.stop.hurried,
        )
        self.result.decoder = str(backend.choice)
        self._tell(f"decoder {backend.choice}")
        return backend

    def _close_backend(self, backend: Backend) -> None:
        backend.close()
        self.result.fallbacks = backend.fallbacks.counts
        self.result.notes.extend(backend.fallbacks.events)

    def _open_books(self, ledger: Ledger, categories: Sequence[Category], frames: int | None) -> None:
        for category in categories:
            ledger.remember_category(category, self._outside.clock.now())
            total = ledger.kept_count(category.id)
            self.result.books[category.id] = CategoryBooks(category, total, frames)

    def _recount(self, ledger: Ledger) -> None:
        """Books by committed rows alone."""
        committed = ledger.committed_in(self._run_id)
        for category_id, books in self.result.books.items():
            books.forget_decisions(committed.get(category_id, 0))
        for category_id, verdict, reason, due, n in ledger.decided_in(self._run_id):
            self.result.books[category_id].count(verdict, reason, due=due, n=n)
        enter_removed(ledger, self._run_id, self.result.books)

    async def _harvest(
        self,
        store: Store,
        request: Request,
        entries: Sequence[ClassEntry],
        backend: Backend,
        executor: DecodeThreads,
    ) -> None:
        outside, config = self._outside, self._config
        outside.resolver.offer(backend.codecs)
        opener = Opener(
            outside.resolver,
            outside.transport,
            config.sample,
            backend.codecs,
            store.ledger,
            details=outside.details,
        )
        sources = OpenSources(opener, SecondLook(outside.catalog, store.ledger, outside.clock))
        publisher = Publisher(store.sink, self.times)
        lister = Lister(
            outside.catalog, store.ledger, config.discover, config.sample, outside.clock, store.forgotten
        )
        bounds = Bounds(config.run, outside.clock, outside.traffic, self.stop, self._kept)
        stage = Stage(
            ledger=store.ledger,
            lister=lister,
            worker=Worker(sources, executor, backend, self.times, config.sample.min_confidence),
            sources=sources,
            window=Window(config.fetch.window_frames, config.fetch.window_mb << 20),
            publisher=publisher,
            executor=executor,
            stop=self.stop,
            bounds=bounds,
            times=self.times,
        )
        timer = asyncio.create_task(bounds.watch())
        try:
            async with asyncio.TaskGroup() as group:
                publishing = group.create_task(publisher.run())
                try:
                    await self._all_categories(stage, store, request, entries)
                finally:  # what one category decided stays, whatever ended another
                    if not publishing.done():
                        await publisher.finish()
                        await publishing
        except* HarvesterError as errors:
            raise first_cause(errors) from None
        finally:
            timer.cancel()
            await sources.close()
            self.result.untold = opener.untold
            for category_id, books in self.result.books.items():
                books.labels = opener.labels(category_id)

    async def _all_categories(
        self, stage: Stage, store: Store, request: Request, entries: Sequence[ClassEntry]
    ) -> None:
        """Work on the categories, a few at once, in the order asked: on what each lists, then on what others hold.

        A VOD may show more than it is listed for; which VODs those are is known once all that is listed is done.
        What leaves after that makes room for more: until nothing leaves, or no room is left to fill.
        """
        turn = asyncio.Semaphore(CATEGORIES_AT_ONCE)
        categories = [books.category for books in self.result.books.values()]
        alone = {entry.label_id: asyncio.Lock() for entry in entries}  # two of one class may name the same images

        async def one(category: Category, entry: ClassEntry, find: Find) -> None:
            async with alone[entry.label_id], turn:
                await self._category(stage, store, entry, request, self.result.books[category.id], find=find)
                await stage.publisher.after_all(_nothing)  # what follows looks at what was decided

        dataset, clock = store.sink.dataset, self._outside.clock
        gate = Gate(self._run_id, store.ledger, dataset, stage.publisher, clock, self.rules.radius)
        again = True
        while again:
            for find in (self._list, _elsewhere):
                async with asyncio.TaskGroup() as group:
                    for category, entry in zip(categories, entries, strict=True):
                        group.create_task(one(category, entry, find))
            again = not stage.bounds.check() and await gate.pass_through(self.result.books)

    async def _judge(self, store: Store, category: Category, entry: ClassEntry) -> Judge:
        anchors = await asyncio.to_thread(open_index, store.ledger, store.index, category.id)
        ledger = store.ledger
        kept, left = ledger.kept_by_broadcaster(category.id), ledger.left_of(category.id)
        fold = CategoryFold(self.rules, anchors, kept, left)
        return Judge(
            run_id=self._run_id,
            category=category,
            entry=entry,
            fold=fold,
            ledger=ledger,
            sink=store.sink,
            clock=self._outside.clock,
            times=self.times,
            short_side=self._config.dataset.short_side,
        )

    async def _category(
        self, stage: Stage, store: Store, entry: ClassEntry, request: Request, books: CategoryBooks, *, find: Find
    ) -> None:
        """Passes of one category until its target is met or its sources are exhausted.

        One listing a run; then what failed in a passing way, as long as it is due. What a killed run has listed is
        not listed again: its rerun goes on with it, and ends where it would have ended.
        """
        category, judge = books.category, None
        scope = scope_key(self._config.discover, request)
        listed = find == self._list and ((category.id, scope) in self._resumed or bool(books.listed))
        while not books.met and not stage.bounds.check():
            open_pass = stage.ledger.open_pass(category.id, scope)
            if open_pass is None:
                found = await (_due if listed else find)(stage, request, books)
                if found is None or not found.wishes:
                    books.note = books.note or ("" if books.target is None else "no more sources")
                    return
                listed = True
                open_pass = self._commit_pass(stage.ledger, category, scope, found)
            judge = judge or await self._judge(store, category, entry)
            if not await CategoryWalk(stage, judge, books, open_pass).run():
                return
            await stage.publisher.after_all(partial(stage.ledger.finish_pass, open_pass.id))

    async def _list(self, stage: Stage, request: Request, books: CategoryBooks) -> Found | None:
        """What a new pass would visit; None if it cannot be listed now."""
        category = books.category
        try:
            with self.times.waiting("list"):
                found = await self.stop.or_stopped(stage.lister.find(category, request))
        except Stopped:
            return None
        except TryAgainLater as error:
            self.result.errors.append(error)
            books.note = f"not listed: {error}"
            return None
        books.listed = found.listed
        if (suspicion := stage.lister.suddenly_empty(category, request, found)) is not None:
            self.result.errors.append(suspicion)
        if not found.wishes:  # there will be no pass to commit it with
            stage.ledger.end_growing(found.ended)
            books.note = "no sources listed" if found.nothing else "no new sources"
        return found

    def _commit_pass(self, ledger: Ledger, category: Category, scope: str, found: Found) -> OpenPass:
        """Close the listing of a new pass."""
        pass_id = ledger.new_pass_id()
        visits = plan_visits(pass_id, found.wishes, self._config.sample)
        listed = {kind: asdict(entry) for kind, entry in found.listed.items()}
        listing = {"run": self._run_id, "left_out": dict(found.left_out), "listed": listed}
        clock = self._outside.clock
        ledger.commit_pass(
            pass_id,
            category.id,
            scope,
            opened_at=clock.now(),
            planned_at=clock.start,
            listing=listing,
            visits=visits,
            ended=found.ended,
        )
        return OpenPass(pass_id)

    def _kept(self) -> int:
        return sum(books.kept for books in self.result.books.values())


async def _due(stage: Stage, request: Request, books: CategoryBooks) -> Found:
    """What a pass after the one of this run's listing visits."""
    return Found(tuple(stage.lister.retries(books.category, request)))


async def _elsewhere(stage: Stage, request: Request, books: CategoryBooks) -> Found:
    """VODs of other categories that show this one too."""
    found = stage.lister.elsewhere(books.category, request)
    if found.wishes:
        books.note = ""  # there was more than its own listing told
    return found


def _nothing() -> None:
    """Nothing is left to be done once everything before is durable."""
