"""``harvester run`` and ``harvester sandbox``."""

from __future__ import annotations

import asyncio
import gc
import os
import secrets
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from harvester.cli import HANGUP, terminating
from harvester.cli.governing import pictured
from harvester.cli.options import Terminal, asked, common, wanted
from harvester.cli.progress import show
from harvester.cli.reporting import Meter, metered
from harvester.clock import Clock
from harvester.config import Config, Credentials, credentials
from harvester.errors import HarvesterError, MachineError
from harvester.model import Category
from harvester.pipeline.admission import admitted, kept_of_refused
from harvester.pipeline.harvest import Harvest, Store
from harvester.pipeline.listing import Request
from harvester.pipeline.naming import NO_MEMORY
from harvester.pipeline.outside import OpenDataset, open_dataset, reach, require_rights
from harvester.report.ending import Ending, conclude
from harvester.report.summary import RunReport, closing_line, summary
from harvester.stats import Traffic
from harvester.store.classes import holds_dataset
from harvester.store.retention import due, let_go
from harvester.store.verify import rules_record


@click.command()
@wanted
@click.option(
    "--metrics-file",
    type=click.Path(dir_okay=False),
    help="Write metrics of the run for Prometheus into this file.",
)
@common
def run(**options: Any) -> int:
    """Harvest labelled frames into the dataset --out; goes on where an earlier run stopped."""
    wish = asked(options)
    clock = Clock(wish.config.run.start)
    meter = Meter(wish.config.report.metrics_file, wish.out, clock, wish.term)
    with metered(meter):
        report = _run(wish.config, wish.request, wish.out, wish.term, clock)
        _finish(report, wish.term)
    meter.write(report)
    return report.exit_code


@dataclass(frozen=True, slots=True)
class _Session:
    """One run into one dataset."""

    config: Config
    request: Request
    out: Path
    clock: Clock
    run_id: str
    term: Terminal


def _run(config: Config, request: Request, out: Path, term: Terminal, clock: Clock) -> RunReport:
    require_rights(config)
    secret = credentials(os.environ)
    run_id = f"{clock.start:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
    term.log.run_id = run_id
    return asyncio.run(_harvest(_Session(config, request, out, clock, run_id, term), secret))


async def _harvest(session: _Session, secret: Credentials) -> RunReport:
    """A dataset that is there is opened before Twitch is asked; a new one when it is known what comes into it."""
    async with reach(session.config, secret, session.clock) as outside:
        harvest = Harvest(session.config, outside, session.run_id, session.term.say)
        with _signals(harvest), ExitStack() as stack:
            opened = stack.enter_context(_begun(session, harvest)) if holds_dataset(session.out) else None
            error = None
            try:
                former = opened.dataset.classes.named if opened else NO_MEMORY.id_of
                if found := await harvest.discover(session.request, former):
                    stones = opened.dataset.tombstones if opened else None
                    categories, notes = admitted(found, session.config.discover, stones)
                    harvest.result.notes.extend(notes)
                    opened = opened or stack.enter_context(_begun(session, harvest))
                    await _shown(harvest, opened.store(session.config, harvest.stop), categories, session)
            except HarvesterError as caught:
                error = caught
            return _ended(session, outside.traffic, harvest, opened, error)


@contextmanager
def _begun(session: _Session, harvest: Harvest) -> Iterator[OpenDataset]:
    """The run's dataset, with the run in its books."""
    with open_dataset(session.out, session.clock) as opened:
        session.term.say(f"run {session.run_id}")
        rules = rules_record(harvest.rules(session.request))
        opened.ledger.begin_run(session.run_id, session.clock.start, rules)
        now = session.clock.start
        leaving = due(opened.dataset, opened.ledger, session.config.retention, now)
        let_go(opened.dataset, opened.ledger, session.run_id, now, leaving)
        if note := kept_of_refused(opened.ledger, session.config.discover):
            harvest.result.notes.append(note)
        yield opened


async def _shown(harvest: Harvest, store: Store, categories: Sequence[Category], session: _Session) -> None:
    """Run the harvest with its progress on the terminal."""
    gc.freeze()  # what was imported stays: to look through it again and again took 1 % of a run
    showing = asyncio.create_task(show(harvest, session.term))
    try:
        await harvest.run(store, categories, session.request)
    finally:
        showing.cancel()
        await asyncio.gather(showing, return_exceptions=True)


def _ended(
    session: _Session, traffic: Traffic, harvest: Harvest, opened: OpenDataset | None, error: HarvesterError | None
) -> RunReport:
    """The report of the run. What a full disk lets nobody write is left for the next run."""
    sheet = None
    try:
        sheet = pictured(opened, session.out, session.config) if opened else None
    except MachineError as also:
        error = error or also
    ending = Ending(
        run_id=session.run_id,
        harvested=harvest.result,
        stop=harvest.stop,
        error=error,
        traffic=traffic,
        times=harvest.times,
        seconds=session.clock.elapsed_s(),
        details=session.config.discover.details == "gql",
    )
    if opened is None:
        return conclude(ending, session.config.run)
    report = conclude(ending, session.config.run, session.out, sheet)
    try:
        opened.ledger.end_run(session.run_id, session.clock.now(), report.to_json())
    except MachineError:
        if report.exit_code != MachineError.exit_code:
            raise
    return report


@contextmanager
def _signals(harvest: Harvest) -> Iterator[None]:
    """SIGINT, SIGTERM and a hang-up end the run cleanly; a second SIGINT or SIGTERM ends the process at once.

    A hang-up is told like SIGTERM; who closes a terminal sends it twice, by way of the kernel and of the shell.
    """
    loop = asyncio.get_running_loop()

    def ask(number: int) -> None:
        if number == HANGUP:
            harvest.stop.ask("interrupted", signal_number=signal.SIGTERM)
            return
        harvest.stop.ask("interrupted", signal_number=number)
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_DFL)

    numbers = (signal.SIGINT, *terminating())
    before = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        loop.add_signal_handler(number, ask, number)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
            signal.signal(number, before[number])


def _finish(report: RunReport, term: Terminal) -> None:
    if report.dataset and not term.as_json:
        term.out.print(summary(report), crop=False)
    else:
        for line in report.errors:
            term.tell(f"error: {line}", "error")
    term.tell(closing_line(report), "info" if report.exit_code == 0 else "warning")
    if term.as_json:
        term.out.file.write(report.to_json() + "\n")


class _Explained(click.Command):
    """A command whose help ends with what every scenario shows and what comes of it."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table; loaded only here, so that no other command waits for the stand-in."""
        from harvester.sandbox.staging import offered

        with formatter.section("Scenarios (what it shows -> what harvester makes of it)"):
            formatter.write_dl(list(offered()))
        super().format_epilog(ctx, formatter)


@click.command(cls=_Explained)
@click.option(
    "--footage", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Footage index to serve."
)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port on loopback; 0 = any free one.")
@click.option(
    "--config-out", type=click.Path(path_type=Path, dir_okay=False), help="Write a ready configuration here."
)
@click.option(
    "--scenario",
    "scenarios",
    multiple=True,
    metavar="NAME|all",
    help="Add one oddity of the real service, as listed below, in the category 'Scenario NAME'.",
)
def sandbox(footage: Path | None, port: int, config_out: Path | None, scenarios: tuple[str, ...]) -> int:
    """Serve a small stand-in of Twitch on loopback, until interrupted.

    Its clock stands still. A day later: POST {"now": "2026-11-03T03:00:00Z"} to its /_control/clock and give the
    run HARVESTER_RUN_NOW=2026-11-03T03:00:00Z. GET /_control/log and /_control/stats tell what was asked of it.
    """
    from harvester.sandbox.serve import serve

    serve(footage, port, config_out, scenarios=scenarios)
    return 0
