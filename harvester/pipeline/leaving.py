"""The barrier of a run: when all that can be decided is, what is no picture of its game leaves the dataset.

What leaves is told by :mod:`harvester.store.barrier`; crash-safe by the order ``leaving`` (commit), metadata
without the rows, unlink, ``left`` (commit).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from harvester.clock import Clock
from harvester.model import Category
from harvester.pipeline.category import CategoryBooks
from harvester.pipeline.publishing import Publisher
from harvester.store.barrier import leaving
from harvester.store.dataset import Dataset
from harvester.store.ledger import Ledger
from harvester.store.metadata import Hurried
from harvester.store.overlays import overlays_seen
from harvester.vision.fold import Rules

#: Note of a category that a run was not asked for, and of which frames left all the same.
NOT_ASKED_FOR = "not asked for; frames left it beside those that were harvested"


@dataclass(frozen=True, slots=True)
class Gate:
    """Takes frames of a run out again, by its rules."""

    run_id: str
    ledger: Ledger
    dataset: Dataset | None
    publisher: Publisher
    clock: Clock
    rules: Rules

    async def pass_through(self, books: dict[str, CategoryBooks]) -> bool:
        """Let go what all sightings together show; True if anything left, so that there is room for more. What
        they show of overlays is noted, too.

        Not without a dataset: what is handed on does not come back. The committer's thread does it, after all
        that was decided before. Raises MachineError.
        """
        dataset, barrier = self.dataset, self.ledger.next_barrier()
        if dataset is None or barrier is None:
            return False
        reasons = await asyncio.to_thread(leaving, self.ledger, barrier, self.rules)
        try:
            overlays = await asyncio.to_thread(overlays_seen, self.ledger, barrier, reasons, dataset.hurried)
        except Hurried:
            return False  # the barrier is the next run's

        def commit_leaving() -> None:
            self.ledger.commit_barrier(barrier, self.run_id, self.clock.now(), reasons, overlays)

        def let_go() -> None:
            names = self.ledger.files_of(reasons)
            dataset.remove(names, commit_leaving, lambda: self.ledger.commit_left(self.clock.now()))

        await self.publisher.after_all(let_go if reasons else commit_leaving)
        enter_removed(self.ledger, self.run_id, books)
        return bool(reasons)


def enter_removed(ledger: Ledger, run_id: str, books: dict[str, CategoryBooks]) -> None:
    """Enter in the books what has left in the run, also of categories that it was not asked for."""
    known = {category.id: category for category in ledger.categories()}
    for category_id, removed in ledger.removed_in(run_id).items():
        if category_id not in books:
            category = known.get(category_id, Category(category_id, category_id))
            total = ledger.kept_count(category_id) + removed.total()
            books[category_id] = CategoryBooks(category, total, note=NOT_ASKED_FOR)
        books[category_id].remove(removed)
