"""The command line: ``harvester run|plan|status|report|doctor|sandbox|verify|config``.

Data goes to stdout, progress and log to stderr. Every error becomes one clear line and an exit code (errors.py);
with ``--json`` the last line of stdout is one JSON object, whatever happened. The commands are loaded by
:func:`main`, so that a signal that comes meanwhile ends like any other.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from harvester.cli.streams import talking

#: A terminal that is closed asks for what SIGTERM asks for. None where the platform has no such signal.
HANGUP: signal.Signals | None = getattr(signal, "SIGHUP", None)


class Terminated(KeyboardInterrupt):
    """SIGTERM or a hang-up, where no run is under way that could end cleanly."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``harvester``."""
    args = list(sys.argv[1:] if arguments is None else arguments)
    with talking(), _terminable():
        try:
            from harvester.cli.commands import guarded

            code = guarded(args)
        except KeyboardInterrupt as stopped:
            from harvester.cli.commands import failed

            code = failed(args, "interrupted", stopped_code(stopped), "interrupted")
    sys.exit(code)


def stopped_code(stopped: BaseException) -> int:
    """Exit code of a command that a signal ended: 128 + its number."""
    return 128 + (signal.SIGTERM if isinstance(stopped, Terminated) else signal.SIGINT)


def terminating() -> tuple[signal.Signals, ...]:
    """The signals that ask a command to terminate; not a hang-up that it was told to ignore (``nohup``)."""
    if HANGUP is None or signal.getsignal(HANGUP) is signal.SIG_IGN:
        return (signal.SIGTERM,)
    return (signal.SIGTERM, HANGUP)


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM and a hang-up end a command as SIGINT does: with its line and its exit code."""

    def terminate(_number: int, _frame: object) -> None:
        raise Terminated

    before = {number: signal.signal(number, terminate) for number in terminating()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
