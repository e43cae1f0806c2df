"""The flow line: discover → resolve → plan → fetch → decode → judge → write. No stage logic lives here."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

from harvester.clock import Clock
from harvester.config import Config
from harvester.decode import Backend, open_backend
from harvester.errors import HarvesterError, first_cause
from harvester.model import Category, Source
from harvester.pipeline.category import CategoryBooks, Stage
from harvester.pipeline.filling import Filling
from harvester.pipeline.gone import SecondLook
from harvester.pipeline.leaving import enter_removed
from harvester.pipeline.listing import Lister, Request, find_categories
from harvester.pipeline.naming import NO_MEMORY, Memory
from harvester.pipeline.opening import Opener
from harvester.pipeline.publishing import Publisher
from harvester.pipeline.sinks import Sink
from harvester.pipeline.stopping import Bounds, Stop, Stopped, require_room
from harvester.pipeline.storyboards import Foreseen
from harvester.pipeline.threads import DecodeThreads, beside
from harvester.pipeline.window import Window
from harvester.pipeline.work import OpenSources, Worker
from harvester.ports import Catalog, Details, Resolver
from harvester.stats import StageTimes, Traffic
from harvester.store.classes import ClassEntry
from harvester.store.ledger import Ledger
from harvester.transport import Transport
from harvester.vision.caps import Caps
from harvester.vision.fold import Rules

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
    foreseen: Foreseen = field(default_factory=Foreseen)  # by storyboards


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

    def rules(self, request: Request) -> Rules:
        """What the run decides by, if it is asked for that."""
        config = self._config
        return Rules(config.filter, config.dedupe.radius, Caps.of(config.sample, request.frames))

    async def discover(
        self, request: Request, former: Callable[[str], str | None] = NO_MEMORY.id_of
    ) -> list[Category]:
        """The categories that are meant; none if the run is stopped meanwhile. Nothing is written yet.

        ``former``: given a name, the id of the category that had it.

        Raises UnknownCategory if there is none of them, CredentialsRefused, TryAgainLater; of several categories
        those that do not exist are errors in the result.
        """
        try:
            outside = self._outside
            other = self._config.dataset.other == "on"
            memory = Memory(former, self.result.notes.append)
            looking = find_categories(outside.catalog, request, outside.details, other=other, memory=memory)
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
        entries = {one.id: store.sink.label(one) for one in categories}  # label ids in the order asked
        if all(books.met for books in self.result.books.values()) and store.ledger.next_barrier() is None:
            return self.result  # a run that ended after its last frame and before its barrier leaves that to us
        require_room(self._config.run, store.sink.free_bytes())
        try:
            backend = await self.stop.or_stopped(self._open_backend())
        except Stopped:
            return self.result
        asyncio.get_running_loop().set_default_executor(beside())
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
        removed = ledger.removed_in(self._run_id)  # too old when the run began
        for category in categories:
            ledger.remember_category(category, self._outside.clock.now())
            books = CategoryBooks(category, ledger.kept_count(category.id), frames)
            self.result.books[category.id] = replace(books, removed=removed.get(category.id, Counter()))

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
        entries: Mapping[str, ClassEntry],
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
        rules = self.rules(request)
        lister = Lister(
            *(outside.catalog, store.ledger, config.discover, config.sample, outside.clock, store.forgotten),
            rules.caps,
        )
        clock, free_bytes = outside.clock, store.sink.free_bytes
        bounds = Bounds(config.run, clock, outside.traffic, self.stop, self._kept, free_bytes=free_bytes)
        stage = Stage(
            ledger=store.ledger,
            lister=lister,
            worker=Worker(sources, executor, backend, self.times, config.sample.min_confidence),
            sources=sources,
            window=Window(config.fetch.window_frames, config.fetch.window_mb << 20, lambda: bounds.frames_left),
            publisher=publisher,
            executor=executor,
            stop=self.stop,
            bounds=bounds,
            times=self.times,
        )
        filling = Filling(
            *(self._run_id, config, rules, request, outside.clock, stage, store.sink, store.index),
            *(self.result.books, self.result.errors, self._resumed),
        )
        timer = asyncio.create_task(bounds.watch())
        try:
            async with asyncio.TaskGroup() as group:
                publishing = group.create_task(publisher.run())
                try:
                    await filling.run(entries)
                finally:  # what one category decided stays, whatever ended another
                    if not publishing.done():
                        await publisher.finish()
                        await publishing
        except BaseExceptionGroup as errors:  # no except*: what it raises, Python before 3.11.4 wraps in a group
            _, bugs = errors.split(HarvesterError)
            raise first_cause(bugs or errors) from None
        finally:
            timer.cancel()
            await sources.close()
            self.result.untold, self.result.foreseen = opener.untold, opener.foreseen
            for category_id, books in self.result.books.items():
                books.labels, books.cut_off = opener.labels(category_id), opener.cut_off(category_id)

    def _kept(self) -> int:
        return sum(books.kept for books in self.result.books.values())
