"""``harvester run`` and ``harvester sandbox``."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from harvester.cli.options import Terminal, common, loaded, request_of, terminal, wanted
from harvester.cli.progress import show
from harvester.clock import Clock
from harvester.config import Config, Credentials, credentials
from harvester.decode import describe
from harvester.errors import HarvesterError
from harvester.pipeline.harvest import Harvest
from harvester.pipeline.listing import Request
from harvester.pipeline.outside import OpenDataset, open_dataset, reach, require_rights
from harvester.pipeline.sinks import DatasetSink
from harvester.report.contact import contact_sheet
from harvester.report.ending import Ending, conclude
from harvester.report.summary import RunReport, summary
from harvester.store.card import write_card
from harvester.store.layout import STATE
from harvester.store.verify import rules_record
from harvester.version import __version__

CONTACT_SHEET = "contact-sheet.jpg"


@click.command()
@wanted
@click.option("--max-time", type=click.FloatRange(min=0), help="Stop after so many seconds.")
@click.option("--max-bytes", type=click.IntRange(min=0), help="Stop after so many bytes received.")
@click.option("--max-frames", type=click.IntRange(min=0), help="Stop after so many frames kept in this run.")
@click.option("--max-requests", type=click.IntRange(min=0), help="Stop after so many requests.")
@common
def run(
    *,
    config_path: Path | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    out: Path,
    categories: tuple[str, ...],
    categories_file: Path | None,
    frames: int | None,
    source: str | None,
    **flags: Any,
) -> int:
    """Harvest labelled frames into the dataset --out; goes on where an earlier run stopped."""
    term = terminal(as_json=as_json, quiet=quiet, verbose=verbose)
    config = loaded(config_path, term, **settings_of(flags))
    request = request_of(config, categories, categories_file, frames, source)
    report = _run(config.config, request, out, term)
    _finish(report, term)
    return report.exit_code


def settings_of(flags: dict[str, Any]) -> dict[str, Any]:
    """Command line flags as settings of the configuration; None = not given."""
    kind = flags["source_type"]
    return {
        "discover__top": flags["top"],
        "discover__since": flags["since"],
        "discover__until": flags["until"],
        "discover__source_types": None if kind is None else (kind,),
        "run__max_time_s": flags.get("max_time"),
        "run__max_bytes": flags.get("max_bytes"),
        "run__max_frames": flags.get("max_frames"),
        "run__max_requests": flags.get("max_requests"),
    }


@dataclass(frozen=True, slots=True)
class _Session:
    """One run over one dataset."""

    config: Config
    request: Request
    opened: OpenDataset
    clock: Clock
    run_id: str
    secret: Credentials


def _run(config: Config, request: Request, out: Path, term: Terminal) -> RunReport:
    require_rights(config)
    secret = credentials(os.environ)
    clock = Clock(config.run.start)
    run_id = f"{clock.start:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
    with open_dataset(out, clock) as opened:
        term.say(f"run {run_id}: decoder {describe(config.decode)}")
        ending = asyncio.run(_harvest(_Session(config, request, opened, clock, run_id, secret), term))
        report = conclude(ending, config.run, out, _picture(opened, out))
        write_card(out, opened.dataset.card_facts(__version__, config.rights.basis))
        opened.ledger.end_run(run_id, clock.now(), report.to_json())
    return report


async def _harvest(session: _Session, term: Terminal) -> Ending:
    config, opened = session.config, session.opened
    async with reach(
        config,
        session.secret,
        ledger=opened.ledger,
        sink=DatasetSink(opened.dataset, opened.ledger, config),
        clock=session.clock,
        forgotten=opened.forgotten,
    ) as outside:
        harvest = Harvest(config, outside, session.run_id)
        opened.ledger.begin_run(session.run_id, session.clock.start, rules_record(harvest.rules))
        error = await _shown(harvest, session.request, term)
        return Ending(
            run_id=session.run_id,
            harvested=harvest.result,
            stop=harvest.stop,
            error=error,
            traffic=outside.traffic,
            times=harvest.times,
            seconds=session.clock.elapsed_s(),
            decoder=str(describe(config.decode)),
        )


async def _shown(harvest: Harvest, request: Request, term: Terminal) -> HarvesterError | None:
    """Run the harvest with its progress on the terminal; what ended it early, if something did."""
    showing = asyncio.create_task(show(harvest, term))
    try:
        with _signals(harvest):
            await harvest.run(request)
    except HarvesterError as error:
        return error
    finally:
        showing.cancel()
        await asyncio.gather(showing, return_exceptions=True)
    return None


@contextmanager
def _signals(harvest: Harvest) -> Iterator[None]:
    """SIGINT and SIGTERM end the run cleanly; a second one ends the process at once."""
    loop = asyncio.get_running_loop()

    def ask(number: int) -> None:
        harvest.stop.ask("interrupted", signal_number=number)
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_DFL)

    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, ask, number)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def _picture(opened: OpenDataset, out: Path) -> Path | None:
    """Write the contact sheet of the dataset; None if it has no image."""
    images: dict[int, list[Path]] = {}
    for frame in opened.dataset.frames():
        images.setdefault(frame.label_id, []).append(opened.dataset.image_path(frame))
    if not images:
        return None
    sheet = out / STATE / CONTACT_SHEET
    contact_sheet(
        [(opened.dataset.classes[label_id].name, images[label_id]) for label_id in sorted(images)], sheet
    )
    return sheet


def _finish(report: RunReport, term: Terminal) -> None:
    if not (term.quiet or term.as_json):
        term.out.print(summary(report), crop=False)
    else:
        for line in report.errors:
            term.err.print(f"error: {line}", markup=False, highlight=False, soft_wrap=True)
    if term.as_json:
        term.out.file.write(report.to_json() + "\n")


@click.command()
@click.option(
    "--footage", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Footage index to serve."
)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port on loopback; 0 = any free one.")
@click.option(
    "--config-out", type=click.Path(path_type=Path, dir_okay=False), help="Write a ready configuration here."
)
def sandbox(footage: Path | None, port: int, config_out: Path | None) -> int:
    """Serve a small stand-in of Twitch on loopback, until interrupted."""
    from harvester.sandbox.serve import serve

    serve(footage, port, config_out)
    return 0
