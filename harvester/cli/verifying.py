"""``harvester verify``: is the dataset what its books say, and may it still hold what it holds?"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from harvester.cli.governing import pictured
from harvester.cli.options import Terminal, common, loaded, terminal
from harvester.clock import Clock
from harvester.config import Config, credentials
from harvester.pipeline.outside import OpenDataset, look_at_dataset, open_dataset, reach
from harvester.pipeline.presence import look_for
from harvester.report.summary import looked_json
from harvester.store.retention import due, let_go
from harvester.store.verify import (
    Finding,
    check_gone,
    check_images,
    check_order,
    near_duplicates_across_splits,
    rejudged,
    replay,
    smallest_radius,
)

#: Findings that ``verify`` prints; more are counted.
FINDINGS_SHOWN = 50


@click.command()
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Dataset directory.")
@click.option(
    "--replay",
    "replaying",
    is_flag=True,
    help="Also repeat every verdict from the stored measurements, and tell what [filter] would change now.",
)
@click.option("--public", is_flag=True, help="Also ask Twitch whether the sources are still public.")
@click.option("--dry-run", is_flag=True, help="Change nothing: only say what would leave.")
@common
def verify(*, config_path: Path | None, as_json: bool, quiet: bool, verbose: bool, **options: Any) -> int:
    """Check images, metadata and ledger against each other; exit 4 if something is wrong.

    Frames that are too old ([retention] ttl_days) leave, and with [retention] gone = "purge" those of sources that
    --public has found gone twice, a day or more apart; with "flag" these sources are named.
    """
    term = terminal(as_json=as_json, quiet=quiet, verbose=verbose)
    config = loaded(config_path, term).config
    clock = Clock(config.run.start)
    checks = _Checks(options["out"], options["replaying"], options["public"], options["dry_run"])
    with _opened(checks, clock) as opened:
        if checks.public:
            asyncio.run(_asked(config, opened, clock, keep=not checks.dry_run))
        leaving = _retired(config, opened, clock, checks)
        findings = _findings(opened, checks)
        changes = _rejudged(config, opened) if checks.replaying else []
        images = len(opened.dataset)
    code = 4 if findings else 0
    for change in changes:
        told = f"{change['frames']} frames: {change['was'] or 'passed'}, now {change['would_be'] or 'passed'}"
        term.tell(f"other thresholds: {told}", "info")
    for finding in findings[:FINDINGS_SHOWN]:
        term.tell(f"{finding.kind}: {finding.what}", "warning")
    if as_json:
        found = [asdict(finding) for finding in findings]
        facts = {"rejudged": changes, "dry_run": checks.dry_run, "leaving": leaving}
        click.echo(looked_json(code, dataset=str(checks.out), images=images, findings=found, **facts))
    else:
        _verdict(term, images, len(findings), leaving, checks)
    return code


@dataclass(frozen=True, slots=True)
class _Checks:
    """What ``verify`` was asked for."""

    out: Path
    replaying: bool
    public: bool
    dry_run: bool


@contextmanager
def _opened(checks: _Checks, clock: Clock) -> Iterator[OpenDataset]:
    if checks.dry_run:
        with look_at_dataset(checks.out, clock) as opened:
            yield opened
    else:
        with open_dataset(checks.out, clock, create=False, adopt=False) as opened:
            yield opened


async def _asked(config: Config, opened: OpenDataset, clock: Clock, *, keep: bool) -> None:
    async with reach(config, credentials(os.environ), clock) as outside:
        await look_for(outside.catalog, opened, clock, keep=keep)


def _retired(config: Config, opened: OpenDataset, clock: Clock, checks: _Checks) -> dict[str, int]:
    """Let go what has to leave; how many frames, by reason."""
    leaving = due(opened.dataset, opened.ledger, config.retention, clock.start)
    if leaving and not checks.dry_run:
        run_id = f"verify-{clock.start:%Y%m%dT%H%M%SZ}"
        let_go(opened.dataset, opened.ledger, run_id, clock.start, leaving)
    if not checks.dry_run and (leaving or not opened.dataset.paths.card.exists()):
        pictured(opened, checks.out, config)
    return {reason: len(names) for reason, names in leaving.items()}


def _findings(opened: OpenDataset, checks: _Checks) -> list[Finding]:
    dataset, ledger = opened.dataset, opened.ledger
    findings = [*check_images(dataset, ledger), *check_order(ledger)]
    findings += near_duplicates_across_splits(dataset, smallest_radius(ledger))
    findings += check_gone(dataset, ledger)
    return findings + (list(replay(ledger)) if checks.replaying else [])


def _rejudged(config: Config, opened: OpenDataset) -> list[dict[str, Any]]:
    """How many frames the filters as they are set now would judge otherwise."""
    frames = sorted(rejudged(opened.ledger, config.filter).items())
    return [{"was": was, "would_be": now, "frames": count} for (was, now), count in frames]


def _verdict(term: Terminal, images: int, findings: int, leaving: Mapping[str, int], checks: _Checks) -> None:
    repeated = ", every verdict repeated" if checks.replaying else ""
    verdict = f"{findings} findings" if findings else f"all as they should be{repeated}"
    verb = "would leave" if checks.dry_run else "left"
    for reason, count in leaving.items():
        term.out.print(f"{count} images {verb}: {reason}", markup=False, highlight=False)
    term.out.print(f"{images} images: {verdict}", markup=False, highlight=False)
