"""One category: its ranks walked, worked on ahead within the window, decided strictly in rank order."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial

from harvester.errors import is_outage
from harvester.model import Category, Rank
from harvester.pipeline.deciding import Judge, Ruling
from harvester.pipeline.listing import Listed, Lister
from harvester.pipeline.publishing import Publisher
from harvester.pipeline.sinks import Decision
from harvester.pipeline.stopping import Bounds, Stop, Stopped
from harvester.pipeline.window import SPARE_TARGETS, Lane, Window
from harvester.pipeline.work import Capped, Item, OpenSources, Refused, Result, Void, Worker
from harvester.sampling.plan import Visit
from harvester.stats import StageTimes, Wait
from harvester.store.ledger import Ledger
from harvester.store.passes import OpenPass
from harvester.vision.caps import CAP_REASONS

#: Lowest yield (kept per decided) that is believed, so that a bad start does not open the window wide.
LOWEST_YIELD = 0.25


@dataclass(slots=True)
class CategoryBooks:
    """What a run did in one category.

    ``total``: kept frames in the dataset; ``ahead``: targets begun and not yet decided, whether or not they exist;
    ``under_way``: ranks of those taken up and not yet decided; ``outages``: failures of network and servers that
    will be tried again.
    """

    category: Category
    total: int
    target: int | None = None
    ahead: int = 0
    under_way: set[Rank] = field(default_factory=set)
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    removed: Counter[str] = field(default_factory=Counter)  # frames of any run that left in this one
    outages: int = 0
    unwritten: int = 0
    note: str = ""
    listed: dict[str, Listed] = field(default_factory=dict)  # by kind; {} = this run has listed nothing
    labels: Counter[str] = field(default_factory=Counter)  # sources opened, by what labels them most surely
    cut_off: Counter[str] = field(default_factory=Counter)  # moments of those that max_per_vod and _clip leave out

    @property
    def decided(self) -> int:
        return self.kept + self.dropped.total() + self.failed.total()

    @property
    def pending(self) -> int:
        """Targets taken up and left undecided; a decision that could not be written is none."""
        return len(self.under_way) + self.unwritten

    @property
    def taken(self) -> int:
        """Targets taken up by this run."""
        return self.decided + self.pending

    @property
    def capped(self) -> Counter[str]:
        """What each cap has cost: targets dropped, and moments that never became targets."""
        return Counter({cap: self.dropped[cap] for cap in CAP_REASONS if self.dropped[cap]}) + self.cut_off

    @property
    def met(self) -> bool:
        """True once the dataset's target for the category is reached."""
        return self.target is not None and self.total >= self.target

    @property
    def missing(self) -> float:
        """Kept frames still wanted; infinite without a target."""
        return math.inf if self.target is None else max(0, self.target - self.total)

    @property
    def filled(self) -> float:
        """How many frames there are, those that may come of what is begun among them: the least goes first.

        What gave nothing in this run counts a little, as in :data:`LOWEST_YIELD`: of two categories that are equal
        but for a source of duplicates, that one is tried four times as often, and not for ever.
        """
        return self.total + self.ahead + LOWEST_YIELD * (self.dropped.total() + self.failed.total())

    def count(self, verdict: str, reason: str, *, due: bool, n: int = 1) -> None:
        """Enter ``n`` decisions; ``due``: failures that will be tried again."""
        if verdict == "kept":
            self.kept += n
            self.total += n
        elif verdict == "dropped":
            self.dropped[reason] += n
        else:
            self.failed[reason] += n
            self.outages += n * (due and is_outage(reason))

    def remove(self, removed: Counter[str]) -> None:
        """Enter what has left in this run so far."""
        self.total += self.removed.total() - removed.total()
        self.removed = removed

    def forget_decisions(self, committed: int) -> None:
        """Back to where the run began, to count again what is committed: ``committed`` outcomes."""
        self.unwritten = self.decided - committed
        self.total -= self.kept
        self.kept = self.outages = 0
        self.dropped.clear()
        self.failed.clear()


@dataclass(frozen=True, slots=True)
class Stage:
    """What all categories of a run share."""

    ledger: Ledger
    lister: Lister
    worker: Worker
    sources: OpenSources
    window: Window
    publisher: Publisher
    executor: Executor
    stop: Stop
    bounds: Bounds
    times: StageTimes


class CategoryWalk:
    """Walks one pass of a category from where it was left."""

    def __init__(self, stage: Stage, judge: Judge, books: CategoryBooks, open_pass: OpenPass, lane: Lane) -> None:
        self._stage = stage
        self._judge = judge
        self._books = books
        self._pass = open_pass
        self._lane = lane
        judge.begin(open_pass)
        books.ahead = 0
        self._progress = asyncio.Event()

    async def run(self) -> bool:
        """Decide ranks until the pass ends (True), or the target is met or the run is stopped (False).

        After a stop, what is next in rank and already done is still decided; the rest stays pending.
        """
        queue: asyncio.Queue[Item | None] = asyncio.Queue()
        dispatching = asyncio.create_task(self._dispatch(queue))
        try:
            while (item := await self._next(queue)) is not None:
                await self._decide(item)
                if self._books.met:
                    return False
            return await dispatching
        except Stopped:
            return False
        finally:
            dispatching.cancel()
            await asyncio.gather(dispatching, return_exceptions=True)
            await self._abandon(queue)

    async def _next(self, queue: asyncio.Queue[Item | None]) -> Item | None:
        """The next in rank order, without a task to wait for it where it is there: so it is nearly always."""
        return await self._stage.stop.or_stopped(queue.get()) if queue.empty() else queue.get_nowait()

    async def _dispatch(self, queue: asyncio.Queue[Item | None]) -> bool:
        """Begin the work of rank after rank, as far ahead as window and need allow; True if all were begun."""
        try:
            for rank, visit, place in self._ranks():
                await self._may_go_ahead()
                await self._lane.acquire()
                if self._stage.bounds.check():
                    self._stage.window.release()
                    return False
                self._books.ahead += 1
                turn = self._stage.times.waiting("order")
                task = asyncio.create_task(self._begin(rank, visit, place, turn))
                queue.put_nowait(Item(rank, visit, place, task, turn))
            return True
        finally:
            self._lane.rest()
            queue.put_nowait(None)

    async def _begin(self, rank: Rank, visit: Visit, place: int, turn: Wait) -> Result:
        if self._judge.is_lost(visit.source):
            return Void()
        if self._judge.is_capped(visit.source):
            self._books.under_way.add(rank)
            return Capped()
        if refusal := self._stage.lister.admission.refusal(visit.source):
            self._books.under_way.add(rank)
            return Refused(refusal)
        result = await self._take(rank, visit, place)
        turn.begin()
        self._stage.bounds.check()
        return result

    async def _take(self, rank: Rank, visit: Visit, place: int) -> Result:
        return await self._stage.worker.take(visit, place, partial(self._books.under_way.add, rank))

    def _ranks(self) -> Iterator[tuple[Rank, Visit, int]]:
        """Places of the pass in rank order, after the last one decided; read as they are asked for."""
        last = self._pass.last
        ledger = self._stage.ledger
        for turn in range(last.round if last else 0, ledger.last_round(self._pass.id) + 1):
            for visit in ledger.visits(self._pass.id, turn, last):
                settled = ledger.settled_elsewhere(visit.source, self._pass.id)
                for place in visit.places(turn):
                    rank = visit.rank(place)
                    if (last is None or rank > last) and visit.target_number(place) not in settled:
                        yield rank, visit, place

    async def _may_go_ahead(self) -> None:
        """Wait while what is under way will probably fill the target, by the yield so far."""
        while self._books.ahead >= self._useful():
            self._lane.rest()
            self._progress.clear()
            await self._progress.wait()

    def _useful(self) -> float:
        believed = max(LOWEST_YIELD, (self._books.kept + 1) / (self._books.decided + 1))
        return self._books.missing / believed + SPARE_TARGETS

    async def _decide(self, item: Item) -> None:
        """Decide the next rank once its work is done."""
        try:
            result = await self._result(item)
            item.turn.end()
        except BaseException:
            await self._drop(item)
            raise
        if self._stage.bounds.full():
            await self._drop(item)
            raise Stopped
        ruling = self._judge.decide(item, result)
        self._books.under_way.discard(item.rank)
        self._books.ahead -= 1
        self._progress.set()
        if item.place == item.visit.count - 1 or self._judge.is_lost(item.visit.source):
            self._stage.sources.forget(item.visit.source)  # one that is lost is opened anew in a later pass
        if ruling is None:
            self._stage.window.release()
            return
        outcome = ruling.outcome
        self._books.count(outcome.verdict, outcome.reason, due=outcome.retry_at is not None)
        await self._hand_over(ruling)

    async def _result(self, item: Item) -> Result:
        """What came of the item's work; of a cap that held when it was begun and holds no more, it is done now."""
        stop = self._stage.stop
        result = await stop.or_stopped(item.task)
        if isinstance(result, Capped) and not self._judge.is_capped(item.visit.source):
            return await stop.or_stopped(self._take(item.rank, item.visit, item.place))
        return result

    async def _hand_over(self, ruling: Ruling) -> None:
        if ruling.measured is not None:
            self._stage.window.met(ruling.measured.look.nbytes)
        finishing = asyncio.create_task(self._finish(ruling))
        finishing.add_done_callback(_heard)
        await self._stage.publisher.put(finishing)

    async def _finish(self, ruling: Ruling) -> Decision:
        """Encode a kept picture; its slot is free when its planes are."""
        try:
            if ruling.measured is None:
                return self._judge.finish(ruling)
            with self._stage.times.waiting("encode") as turn:
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(self._stage.executor, self._encode, ruling, turn)
        finally:
            self._stage.window.release()

    def _encode(self, ruling: Ruling, turn: Wait) -> Decision:
        turn.end()
        return self._judge.finish(ruling)

    async def _abandon(self, queue: asyncio.Queue[Item | None]) -> None:
        """Let go of work that will not be decided in this run; its ranks stay pending.

        All of it is told at once: whoever is told last would go on fetching meanwhile.
        """
        items = []
        while not queue.empty():
            if (item := queue.get_nowait()) is not None:
                items.append(item)
                item.task.cancel()
        for item in items:
            await self._drop(item)

    async def _drop(self, item: Item) -> None:
        item.task.cancel()
        await asyncio.gather(item.task, return_exceptions=True)
        item.turn.end()
        self._stage.window.release()


def _heard(task: asyncio.Task[Decision]) -> None:
    """The publisher raises the first error; those of the pictures behind it need no traceback."""
    if not task.cancelled():
        task.exception()
