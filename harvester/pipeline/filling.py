"""Filling the categories of a run: pass after pass of each, all of them evenly.

Which category's targets are begun next is told by the window (:mod:`harvester.pipeline.window`): those of the one
that has least. That changes when something is decided, and nothing that is decided.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from harvester.clock import Clock
from harvester.config import Config
from harvester.errors import HarvesterError, TryAgainLater
from harvester.model import Category
from harvester.pipeline.category import CategoryBooks, CategoryWalk, Stage
from harvester.pipeline.deciding import Judge
from harvester.pipeline.leaving import Gate
from harvester.pipeline.listing import Found, Request, scope_key
from harvester.pipeline.sinks import Sink
from harvester.pipeline.stopping import Stopped
from harvester.pipeline.window import Lane
from harvester.sampling.plan import plan_visits
from harvester.sampling.urgency import tier
from harvester.store.classes import ClassEntry
from harvester.store.index import open_index
from harvester.store.passes import OpenPass
from harvester.vision.caps import FEW_BROADCASTERS
from harvester.vision.fold import CategoryFold, Rules

#: Categories listed at once: pages of one come while another's are waited for, and the first has long begun.
LISTINGS_AT_ONCE = 3
#: Categories that may be under way at once, those that have least first. What each holds meanwhile is half a
#: megabyte of its plan; with more of them than this the last ones wait until others are done.
CATEGORIES_AT_ONCE = 100

#: What finds the sources of a category's next pass; None if that cannot be told now.
Find = Callable[[CategoryBooks], Awaitable[Found | None]]


@dataclass(frozen=True, slots=True)
class Filling:
    """Fills the categories in ``books``, as far as the run's target, bounds and sources go.

    ``resumed``: category and scope of what a killed run has listed; ``index``: as in the run's Store; ``errors``:
    what goes wrong outside single targets is added there.
    """

    run_id: str
    config: Config
    rules: Rules
    request: Request
    clock: Clock
    stage: Stage
    sink: Sink
    index: Path | None
    books: dict[str, CategoryBooks]
    errors: list[HarvesterError]
    resumed: set[tuple[str, str]]
    _listing: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(LISTINGS_AT_ONCE))

    async def run(self, entries: Mapping[str, ClassEntry]) -> None:
        """Work on all categories: on what each lists, then on what others hold. ``entries``: by category id.

        A VOD may show more than it is listed for; which VODs those are is known once all that is listed is done.
        What leaves after that makes room for more: until nothing leaves, or no room is left to fill.
        """
        gate = Gate(
            *(self.run_id, self.stage.ledger, self.sink.dataset, self.stage.publisher, self.clock),
            self.rules,
        )
        again = True
        while again:
            for find in (self._list, self._elsewhere):
                await self._fill(find, [self.books[category_id] for category_id in entries], entries)
            again = not self.stage.bounds.check() and await gate.pass_through(self.books)

    async def _fill(self, find: Find, books: Sequence[CategoryBooks], entries: Mapping[str, ClassEntry]) -> None:
        """All categories at once, those that have least first; of one class one after the other: two of them may
        name the same images."""
        under_way = asyncio.Semaphore(CATEGORIES_AT_ONCE)
        alone = {entry.label_id: asyncio.Lock() for entry in entries.values()}

        async def one(its: CategoryBooks, entry: ClassEntry) -> None:
            async with alone[entry.label_id], under_way:
                with self.stage.window.lane(lambda: its.filled) as lane:
                    await self._category(find, its, entry, lane)
                await self.stage.publisher.after_all(_nothing)  # what follows looks at what was decided

        async with asyncio.TaskGroup() as group:
            for its in sorted(books, key=lambda its: its.filled):
                group.create_task(one(its, entries[its.category.id]))

    async def _category(self, find: Find, books: CategoryBooks, entry: ClassEntry, lane: Lane) -> None:
        """Passes of one category until its target is met or its sources are exhausted.

        One listing a run; then what failed in a passing way, as long as it is due. What a killed run has listed is
        not listed again: its rerun goes on with it, and ends where it would have ended.
        """
        ledger, category, judge = self.stage.ledger, books.category, None
        scope = scope_key(self.config.discover, self.request)
        listed = find == self._list and ((category.id, scope) in self.resumed or bool(books.listed))
        while not books.met and not self.stage.bounds.check():
            open_pass = ledger.open_pass(category.id, scope)
            if open_pass is None:
                found = await (self._due if listed else find)(books)
                if found is None or not found.wishes:
                    books.note = books.note or _exhausted(books)
                    return
                listed = True
                open_pass = self._commit_pass(books, scope, found)
            judge = judge or await self._judge(category, entry)
            if not await CategoryWalk(self.stage, judge, books, open_pass, lane).run():
                return
            await self.stage.publisher.after_all(partial(ledger.finish_pass, open_pass.id))

    async def _judge(self, category: Category, entry: ClassEntry) -> Judge:
        ledger = self.stage.ledger
        anchors = await asyncio.to_thread(open_index, ledger, self.index, category.id)
        tally = ledger.tally(category.id, by_day=bool(self.rules.caps.per_day))
        return Judge(
            run_id=self.run_id,
            category=category,
            entry=entry,
            fold=CategoryFold(self.rules, anchors, tally, ledger.left_of(category.id)),
            ledger=ledger,
            sink=self.sink,
            clock=self.clock,
            times=self.stage.times,
            short_side=self.config.dataset.short_side,
        )

    async def _list(self, books: CategoryBooks) -> Found | None:
        """What a new pass would visit; None if it cannot be listed now."""
        stage, category = self.stage, books.category
        try:
            with stage.times.waiting("list"):
                async with self._listing:
                    found = await stage.stop.or_stopped(stage.lister.find(category, self.request))
        except Stopped:
            return None
        except TryAgainLater as error:
            self.errors.append(error)
            books.note = f"not listed: {error}"
            return None
        books.listed = found.listed
        if (suspicion := stage.lister.suddenly_empty(category, self.request, found)) is not None:
            self.errors.append(suspicion)
        if not found.wishes:  # there will be no pass to commit it with
            stage.ledger.end_growing(found.ended)
            books.note = "no sources listed" if found.nothing else "no new sources"
        return found

    async def _due(self, books: CategoryBooks) -> Found:
        """What a pass after the one of this run's listing visits."""
        return Found(self.stage.lister.again(books.category, self.request))

    async def _elsewhere(self, books: CategoryBooks) -> Found:
        """VODs of other categories that show this one too."""
        found = self.stage.lister.elsewhere(books.category, self.request)
        if found.wishes:
            books.note = ""  # there was more than its own listing told
        return found

    def _commit_pass(self, books: CategoryBooks, scope: str, found: Found) -> OpenPass:
        """Close the listing of a new pass. If a night does not see all, what may be gone soon comes first."""
        ledger, category, now = self.stage.ledger, books.category, self.clock.start
        pass_id = ledger.new_pass_id()
        plan = partial(plan_visits, pass_id, found.wishes, self.config.sample)
        in_haste = books.target is None and self.config.run.bounded
        visits = plan(tier=lambda source: tier(source, now)) if in_haste else plan()
        listed = {kind: asdict(entry) for kind, entry in found.listed.items()}
        listing = {"run": self.run_id, "left_out": dict(found.left_out), "listed": listed}
        ledger.commit_pass(
            pass_id,
            category.id,
            scope,
            opened_at=self.clock.now(),
            planned_at=self.clock.start,
            listing=listing,
            visits=visits,
            ended=found.ended,
        )
        return OpenPass(pass_id)


def _exhausted(books: CategoryBooks) -> str:
    """Why a category ends short of its target; "" without one."""
    if books.target is None:
        return ""
    held_back = books.dropped[FEW_BROADCASTERS]
    rest = f"; {held_back} targets are held back until more broadcasters have frames" if held_back else ""
    return "no more sources" + rest


def _nothing() -> None:
    """Nothing is left to be done once everything before is durable."""
