"""Ask Twitch which of harvester's assumptions about it hold.

    .venv/bin/python scripts/live_check.py [--config FILE] [--category NAME] [--json]

For a user with credentials (TWITCH_CLIENT_ID, TWITCH_CLIENT_SECRET) and with [rights] basis set. Some 35 requests,
never more than 40, about one a second, to whatever [endpoints] name: by the code of a run, on one VOD and one clip
of the category (default: the first of [discover] categories, else the most watched one; a game with many VODs
tells most). Nothing is stored. Each assumption holds, does not hold, or could not be told, with the evidence.

Exit codes: 0 the check ran, whatever it found; 2 usage, configuration, no such category; 3 credentials refused;
5 Twitch cannot be reached now; 130 interrupted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import textwrap
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from live.bound import BoundedTraffic
from live.finding import UNTOLD_BY, Answer, Assumption, Finding, told_of
from live.scene import Scene, set_up
from live.table import ASSUMPTIONS

from harvester.clock import Clock
from harvester.config import Config, credentials, load
from harvester.errors import HarvesterError
from harvester.pipeline.outside import reach
from harvester.text import printable
from harvester.transport import RateLimit

#: Requests that leave at most, retries and redirects included.
MOST_REQUESTS = 40
#: Requests a second against the real world, and the first pause before a second try (s).
REQUESTS_PER_S, RETRY_BASE_S = 1.0, 2.0
#: One passing fault is forgiven; more would eat the requests.
ATTEMPTS = 2
_WIDTH = 100


@dataclass(slots=True)
class Report:
    """What a check found out, as far as it came. ``error``: what ended it before its time."""

    world: str
    category: str = ""
    sources: str = ""
    found: list[tuple[Assumption, Finding]] = field(default_factory=list)
    requests: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    exit_code: int = 0
    error: str = ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the check; the exit code."""
    options = _parser().parse_args(arguments)
    report = Report("unknown")
    begun = time.monotonic()
    try:
        loaded = load(options.config, environ=os.environ)
        print(f"configuration: {loaded.path or 'built-in defaults'}", file=sys.stderr)
        config = loaded.config
        report.world = "stand-in on loopback" if config.endpoints.loopback else "Twitch"
        asyncio.run(_check(_polite(config), options.category, report))
    except HarvesterError as error:
        report.exit_code, report.error = error.exit_code, printable(str(error), 1000)
    except KeyboardInterrupt:
        report.exit_code, report.error = 130, "interrupted"
    report.seconds = time.monotonic() - begun
    print(json.dumps(_document(report)) if options.json else _text(report))
    if report.error and not options.json:
        print(f"error: {report.error}", file=sys.stderr)
    return report.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, help="configuration (default: ./config.toml)")
    parser.add_argument("--category", default="", help="name or id of a Twitch category")
    parser.add_argument("--json", action="store_true", help="one JSON object in place of the table")
    return parser


def _polite(config: Config) -> Config:
    """The configuration with few retries, and slow where somebody else is at the other end."""
    config = config.replace("fetch", attempts=ATTEMPTS)
    if config.endpoints.loopback:
        return config
    pause_s = max(RETRY_BASE_S, config.fetch.retry_base_s)
    config = config.replace("fetch", gql_requests_per_s=REQUESTS_PER_S, retry_base_s=pause_s)
    return config.replace("discover", requests_per_s=REQUESTS_PER_S)


async def _check(config: Config, wanted: str, report: Report) -> None:
    """Fill the report. Raises HarvesterError when not even the category can be listed."""
    traffic = BoundedTraffic(MOST_REQUESTS)
    secret = credentials(os.environ)
    pace = None if config.endpoints.loopback else RateLimit(REQUESTS_PER_S)
    wanted = wanted or next(iter(config.discover.categories), "")
    try:
        async with (
            reach(config, secret, Clock(config.run.start), traffic) as outside,
            set_up(config, outside, wanted, pace) as scene,
        ):
            await _look(scene, report)
    finally:
        report.requests = {str(kind): count for kind, count in traffic.requests.items()}


async def _look(scene: Scene, report: Report) -> None:
    report.category = printable(f"{scene.category.name} (id {scene.category.id})")
    for assumption in ASSUMPTIONS:
        print(f"{assumption.number} of {len(ASSUMPTIONS)}: {assumption.text}", file=sys.stderr)
        report.found.append((assumption, await assumption.examine(scene)))
    try:
        vod, clip = await scene.specimen()
    except UNTOLD_BY as error:
        report.sources = f"none opens: {told_of(error)}"
    else:
        report.sources = f"VOD {vod.id}, clip {clip.id if clip else 'none'}"


def _document(report: Report) -> dict[str, Any]:
    checks = [
        {
            "number": assumption.number,
            "assumption": assumption.text,
            "answer": str(finding.answer),
            "evidence": finding.evidence,
            "lines": list(finding.lines),
            "otherwise": assumption.otherwise,
        }
        for assumption, finding in report.found
    ]
    return {
        "exit_code": report.exit_code,
        "error": report.error,
        "world": report.world,
        "category": report.category,
        "sources": report.sources,
        "requests": report.requests,
        "seconds": round(report.seconds, 1),
        "checks": checks,
    }


def _text(report: Report) -> str:
    head = [f"{report.world}: category {report.category or 'none'}; {report.sources or 'nothing opened'}", ""]
    body = [line for assumption, finding in report.found for line in _rows(assumption, finding)]
    counted = ", ".join(f"{kind} {count}" for kind, count in report.requests.items())
    total = sum(report.requests.values())
    return "\n".join([*head, *body, "", f"{total} requests ({counted}) in {report.seconds:.0f} s"])


def _rows(assumption: Assumption, finding: Finding) -> list[str]:
    rows = [f"{assumption.number:2}  {finding.answer:14}  {assumption.text}"]
    rows += _wrapped(printable(finding.evidence, 1000))
    rows += [f"{'':22}{printable(line, 200)}" for line in finding.lines]
    if finding.answer is Answer.FAILS:
        rows += _wrapped(f"→ {assumption.otherwise}")
    return rows


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=" " * 20, subsequent_indent=" " * 20)


if __name__ == "__main__":
    sys.exit(main())
