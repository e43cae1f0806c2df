"""``harvester sandbox``: serve a world until a signal comes, with a ready configuration beside it."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from harvester.errors import MachineError
from harvester.sandbox.build import default_world, world_from_index
from harvester.sandbox.server import SandboxServer
from harvester.sandbox.staging import faults_of, with_scenarios

#: How often a waiting main thread looks up (s): signals interrupt it at once where the platform can.
_WAIT_S = 0.5


def serve(
    footage: Path | None,
    port: int,
    config_out: Path | None,
    *,
    scenarios: Sequence[str] = (),
    stop: threading.Event | None = None,
) -> None:
    """Serve ``footage`` (an index file; None = the package's) on ``port`` (0 = a free one) until stopped.

    ``scenarios``: names out of :func:`harvester.sandbox.staging.offered`; their video is encoded once and kept.

    Once listening, writes ``config_out`` and ``config_out`` + ``.env`` (credentials as export lines, readable by
    the owner alone), each complete or not at all, and prints one line with the address. Ends on SIGINT, SIGTERM
    or ``stop``. Raises :class:`ConfigError` for a bad index, :class:`UsageError` for an unknown scenario,
    :class:`MachineError` if the port is taken or a file cannot be written.
    """
    world = with_scenarios(world_from_index(footage) if footage else default_world(), scenarios)
    server = SandboxServer(world, port)
    for fault in faults_of(world, scenarios):
        server.inject(fault)
    if any(piece.encoded for piece in world.pieces()):
        print("encoding what the scenarios show, unless it is there from before", file=sys.stderr)
    with _stop_signals(stop or threading.Event()) as stopped, server.running():
        if config_out is not None:
            write_config(server, config_out)
        print(f"sandbox of Twitch on {server.origin}" + (f", configuration {config_out}" if config_out else ""))
        while not stopped.wait(_WAIT_S):
            pass


def write_config(server: SandboxServer, config_out: Path) -> None:
    """Write the configuration of a running server and its credentials file, each by rename."""
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in server.environ.items())
    try:
        _write(config_out.with_name(config_out.name + ".env"), exports, mode=0o600)
        _write(config_out, server.config_toml(), mode=0o644)
    except OSError as error:
        raise MachineError(f"cannot write {config_out}: {error.strerror}") from None


def _write(target: Path, text: str, mode: int) -> None:
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).chmod(mode)
        Path(name).replace(target)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise


@contextmanager
def _stop_signals(stopped: threading.Event) -> Iterator[threading.Event]:
    """SIGINT and SIGTERM set the event while the block runs (only the main thread may ask for that)."""
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, lambda *_: stopped.set())
    try:
        yield stopped
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
