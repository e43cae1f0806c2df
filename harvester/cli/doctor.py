"""``harvester doctor``: is everything there that a run needs? Each thing that is not comes with its fix."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import click

from harvester.cli.options import Terminal, common, loaded, terminal
from harvester.clock import Clock
from harvester.config import Config, Credentials, Loaded, credentials
from harvester.decode import describe, thread_count
from harvester.decode.devices import NO_GPU, GpuVerdict
from harvester.decode.probe import probe
from harvester.errors import FetchError, HarvesterError, MachineError, TryAgainLater
from harvester.pipeline.outside import reach, require_rights
from harvester.ports import RateHeadroom
from harvester.report.ending import PRECEDENCE
from harvester.report.summary import looked_json
from harvester.stats import RequestKind
from harvester.store.classes import holds_dataset
from harvester.text import printable
from harvester.transport import Transport

#: Least free disk space that is not worth a warning (bytes): some 10,000 frames of 720p.
DISK_FLOOR_BYTES = 2 << 30
#: Clock errors from here on spoil windows and retry times (s).
CLOCK_ERROR_S = 60.0
#: A rate limit's bucket refills within this (s).
BUCKET_S = 60.0
#: Values of ``[decode] backend`` for which GPUs are looked for by the probe.
ASK_FOR_GPUS = frozenset({"auto", "nvdec"})
#: Longest answer read of an endpoint that is only asked whether it is there (bytes).
ANSWER_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at. ``state``: ok, warning or failed; ``fix``: what to do, "" if nothing."""

    name: str
    state: str
    detail: str
    fix: str = ""
    exit_code: int = 0


@click.command()
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Dataset directory to check, too.")
@common
def doctor(*, config_path: Path | None, as_json: bool, quiet: bool, verbose: bool, out: Path | None) -> int:
    """Check credentials, endpoints, rights, decoder, disk, clock and write access; each with its fix."""
    term = terminal(as_json=as_json, quiet=quiet, verbose=verbose)
    config = loaded(config_path, term)
    checks = list(_checks(config, out or Path.cwd()))
    code = min((check.exit_code for check in checks), key=PRECEDENCE.index)
    if as_json:
        click.echo(looked_json(code, checks=[asdict(check) for check in checks]))
    else:
        _print(checks, term)
    return code


def _print(checks: list[Check], term: Terminal) -> None:
    for check in checks:
        term.out.print(f"{check.state:8} {check.name}: {check.detail}", markup=False, highlight=False)
        if check.fix:
            term.out.print(f"{'':8} → {check.fix}", markup=False, highlight=False)


def _checks(loaded_config: Loaded, out: Path) -> Iterator[Check]:
    config = loaded_config.config
    yield Check("configuration", "ok", str(loaded_config.path or "built-in defaults"))
    yield _rights(config)
    yield from _twitch(config)
    yield from _decoder(config)
    yield _directory(out)
    yield _disk(out)


def _rights(config: Config) -> Check:
    try:
        require_rights(config)
    except HarvesterError as error:
        return Check("rights", "failed", "no basis set", str(error), error.exit_code)
    world = "loopback stand-in, none needed" if config.endpoints.loopback else config.rights.basis
    return Check("rights", "ok", world)


def _twitch(config: Config) -> Iterator[Check]:
    world = "loopback" if config.endpoints.loopback else "Twitch"
    try:
        secret = credentials(os.environ)
    except HarvesterError as error:
        yield Check("credentials", "failed", "not set", str(error), error.exit_code)
        return
    if not config.endpoints.loopback and not config.rights.basis.strip():
        yield Check("credentials", "warning", "set, not tried: Twitch is not touched before [rights] basis is set")
        return
    try:
        headroom, reached = asyncio.run(_asked(config, secret))
    except HarvesterError as error:
        yield Check("credentials", "failed", f"{world} at {config.endpoints.helix}", str(error), error.exit_code)
        return
    yield Check("credentials", "ok", f"accepted by {world} at {config.endpoints.helix}")
    yield _rate(headroom)
    yield from reached
    yield _clock(config, headroom)


async def _asked(config: Config, secret: Credentials) -> tuple[RateHeadroom, list[Check]]:
    """The rate limit, and whether the two services of playback answer at all; any status is an answer."""
    playback = {RequestKind.GQL: config.endpoints.gql, RequestKind.USHER: config.endpoints.usher}
    async with reach(config, secret, Clock(config.run.start)) as outside:
        headroom = await outside.catalog.headroom()
        return headroom, [await _reached(outside.transport, kind, url) for kind, url in playback.items()]


async def _reached(transport: Transport, kind: RequestKind, url: str) -> Check:
    name = f"endpoint {kind}"
    try:
        await transport.send("GET", url, kind=kind, limit_bytes=ANSWER_BYTES)
    except FetchError as error:
        fix = f"check network and proxy, or [endpoints] {kind}"
        return Check(name, "failed", f"{url}: {error}", fix, TryAgainLater.exit_code)
    return Check(name, "ok", f"{url} answers")


def _rate(headroom: RateHeadroom) -> Check:
    if headroom.remaining is None:
        return Check("rate limit", "warning", "the service does not tell")
    return Check("rate limit", "ok", f"{headroom.remaining} of {headroom.limit} requests left this minute")


def _clock(config: Config, headroom: RateHeadroom) -> Check:
    """The bucket is full again within a minute of the server's time; a reset far from ours means a wrong clock."""
    if config.run.start is not None:
        return Check("clock", "ok", f"set by [run] now: {config.run.now}")
    if headroom.reset is None:
        return Check("clock", "warning", "the service does not tell its time")
    off_s = (headroom.reset - datetime.now(UTC)).total_seconds()
    if -CLOCK_ERROR_S <= off_s <= CLOCK_ERROR_S + BUCKET_S:
        return Check("clock", "ok", f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC")
    fix = "set this machine's clock (NTP): windows, retries and harvested_at use it"
    return Check("clock", "warning", f"about {off_s:.0f} s away from the service's", fix)


def _decoder(config: Config) -> Iterator[Check]:
    """What a run would decode with, and why; then each GPU of it."""
    backend = config.decode.backend
    gpus = probe() if backend in ASK_FOR_GPUS else None
    try:
        chosen = describe(config.decode)
    except HarvesterError as error:
        why, fix = (f"{backend}: {gpus.why}", gpus.fix) if gpus else (backend, str(error))
        yield Check("decoder", "failed", why, fix, error.exit_code)
        return
    threads = f", {thread_count(config.decode)} threads" if chosen.name == "cpu" else ""
    lacking = gpus if gpus and not gpus.usable else None
    state = "warning" if lacking and lacking.problem not in NO_GPU else "ok"
    yield Check("decoder", state, f"{chosen}{threads}", lacking.fix if lacking else "")
    if gpus and gpus.usable:
        yield from _gpus(gpus)


def _gpus(verdict: GpuVerdict) -> Iterator[Check]:
    for device in verdict.devices:
        yield Check(f"GPU {printable(device.selector)}", "ok", str(device))
    if verdict.why:
        yield Check("GPU", "warning", f"not used: {verdict.why}", verdict.fix)


def _directory(out: Path) -> Check:
    """Whether a run could write there: tried with a file in the nearest existing folder."""
    try:
        ours = holds_dataset(out) if out.exists() and any(out.iterdir()) else False
    except (HarvesterError, OSError) as error:
        if out != Path.cwd():
            code = error.exit_code if isinstance(error, HarvesterError) else MachineError.exit_code
            return Check("directory", "failed", str(out), str(error), code)
        ours = False
    folder = _existing(out)
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        fix = "choose a directory you may write to (--out), or change its permissions"
        return Check("directory", "failed", f"{folder}: {error.strerror}", fix, MachineError.exit_code)
    return Check("directory", "ok", f"{out}: {'a dataset of ours' if ours else 'writable'}")


def _disk(out: Path) -> Check:
    free = shutil.disk_usage(_existing(out)).free
    detail = f"{free / 1e9:.1f} GB free"
    if free >= DISK_FLOOR_BYTES:
        return Check("disk", "ok", detail)
    return Check("disk", "warning", detail, "free some space: a frame takes about 0.15 MB at 720p")


def _existing(path: Path) -> Path:
    """``path`` or its nearest ancestor that exists."""
    return next(place for place in (path, *path.absolute().parents) if place.exists())
