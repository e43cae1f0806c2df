"""Commands that look and fetch no media: ``plan``, ``status``, ``config``."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from harvester.cli.options import asked, common, loaded, terminal, wanted
from harvester.clock import Clock
from harvester.config import Config, credentials
from harvester.errors import TryAgainLater, UnknownCategory
from harvester.pipeline.admission import admitted
from harvester.pipeline.listing import Lister, Request, find_categories
from harvester.pipeline.naming import NO_MEMORY, Memory
from harvester.pipeline.outside import OpenDataset, inspect_dataset, reach
from harvester.pipeline.preview import CategoryPlan, preview
from harvester.report.overview import overview_text, plan_text
from harvester.report.summary import looked_json
from harvester.store.ledger import Ledger
from harvester.store.overview import DatasetOverview, overview
from harvester.vision.caps import Caps


@click.command()
@wanted
@common
def plan(**options: Any) -> int:
    """Print what `run` would fetch and what it would cost; fetches no media and writes nothing."""
    wish = asked(options)
    config, term = wish.config, wish.term
    clock = Clock(config.run.start)
    with inspect_dataset(wish.out, clock) as opened:
        memory = Memory(opened.dataset.classes.named if opened else NO_MEMORY.id_of, term.tell)
        plans, unknown = asyncio.run(_plan(config, wish.request, opened, clock, memory))
    code = 0 if all(entry.listed for entry in plans) else TryAgainLater.exit_code
    code = code or (4 if unknown else 0)
    for error in unknown:
        term.tell(f"error: {error}", "error")
    if term.as_json:
        click.echo(looked_json(code, plan=[asdict(entry) for entry in plans]))
    else:
        term.out.print(plan_text(plans), markup=False, highlight=False)
    return code


async def _plan(
    config: Config, request: Request, opened: OpenDataset | None, clock: Clock, memory: Memory
) -> tuple[list[CategoryPlan], list[UnknownCategory]]:
    ledger = opened.ledger if opened else Ledger(None)
    forgotten = opened.forgotten if opened else lambda _: False
    async with reach(config, credentials(os.environ), clock) as outside:
        other = config.dataset.other == "on"
        asked_for, unknown = await find_categories(
            outside.catalog, request, outside.details, other=other, memory=memory
        )
        if not asked_for and unknown:
            raise unknown[0]
        found, _ = admitted(asked_for, config.discover, opened.dataset.tombstones if opened else None)
        caps = Caps.of(config.sample, request.frames)
        lister = Lister(outside.catalog, ledger, config.discover, config.sample, clock, forgotten, caps)
        return [await preview(config, lister, ledger, request, category) for category in found], unknown


@click.command()
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Dataset directory.")
@common
def status(*, config_path: Path | None, as_json: bool, quiet: bool, verbose: bool, out: Path) -> int:
    """Show what a dataset holds, and what its runs did."""
    term = terminal(as_json=as_json, quiet=quiet, verbose=verbose)
    config = loaded(config_path, term).config
    with inspect_dataset(out, Clock(config.run.start)) as opened:
        cap = config.sample.max_per_vod
        facts = overview(opened.dataset, opened.ledger, max_per_vod=cap) if opened else DatasetOverview((), ())
    if as_json:
        categories = {
            entry.category_id: {**asdict(entry), "kept": entry.frames, "total": entry.frames}
            for entry in facts.categories
        }
        click.echo(looked_json(0, dataset=str(out), categories=categories, runs=facts.runs))
    else:
        term.out.print(overview_text(facts, out), markup=False, highlight=False)
    return 0


@click.command("config")
@common
def config_command(*, config_path: Path | None, as_json: bool, quiet: bool, verbose: bool) -> int:
    """Print the configuration that a run would use, and where it comes from."""
    term = terminal(as_json=as_json, quiet=quiet, verbose=verbose)
    result = loaded(config_path, term)
    values = result.config.model_dump(mode="json")
    if as_json:
        click.echo(looked_json(0, file=str(result.path) if result.path else None, config=values))
        return 0
    for section, keys in values.items():
        click.echo(f"[{section}]")
        for key, value in keys.items():
            click.echo(f"{key} = {json.dumps(value)}")
        click.echo()
    return 0
