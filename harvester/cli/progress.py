"""Live progress on stderr: bars on a terminal, plain lines otherwise."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from harvester.cli.options import Terminal
from harvester.pipeline.category import CategoryBooks
from harvester.pipeline.harvest import Harvest
from harvester.text import printable

#: How often the bars are redrawn (s).
REDRAW_S = 0.25
#: How often a plain line is written where there is no terminal (s).
LINE_S = 10.0


async def show(harvest: Harvest, term: Terminal) -> None:
    """Show a harvest's progress until cancelled."""
    if term.draws:
        await _bars(harvest, term)
    elif not term.quiet:
        await _lines(harvest, term)


async def _bars(harvest: Harvest, term: Terminal) -> None:
    with _progress(term) as progress:
        tasks: dict[str, TaskID] = {}
        try:
            while True:
                _redraw(harvest, progress, tasks)
                await asyncio.sleep(REDRAW_S)
        finally:
            _redraw(harvest, progress, tasks)


@contextmanager
def _progress(term: Terminal) -> Iterator[Progress]:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rest]}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=term.err, refresh_per_second=4) as progress:
        yield progress


def _redraw(harvest: Harvest, progress: Progress, tasks: dict[str, TaskID]) -> None:
    for category_id, books in list(harvest.result.books.items()):
        if category_id not in tasks:
            name = printable(books.category.name, 30)
            tasks[category_id] = progress.add_task(name, total=books.target, rest="")
        progress.update(tasks[category_id], completed=books.total, rest=_rest(books))


async def _lines(harvest: Harvest, term: Terminal) -> None:
    started = time.monotonic()
    while True:
        await asyncio.sleep(LINE_S)
        for books in list(harvest.result.books.values()):
            if books.taken and not books.met:
                elapsed_s = time.monotonic() - started
                goal = f"/{books.target}" if books.target is not None else ""
                term.say(
                    f"[{elapsed_s:.0f} s] {printable(books.category.name)}:"
                    f" {books.total}{goal} kept, {_rest(books)}"
                )


def _rest(books: CategoryBooks) -> str:
    return f"{books.dropped.total()} dropped, {books.failed.total()} failed"
