"""The command group, and the one place where errors become lines and exit codes."""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import click

from harvester.cli.doctor import doctor
from harvester.cli.inspecting import config_command, plan, status, verify
from harvester.cli.running import run, sandbox
from harvester.errors import HarvesterError, first_cause
from harvester.report.summary import failed_json
from harvester.text import printable, redact
from harvester.version import __version__

#: Longest error line (characters).
ERROR_CHARS = 600


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="harvester")
def group() -> None:
    """Collect labelled video-game frames from Twitch, by game category.

    \b
    First steps:
      harvester doctor                                   is everything there?
      harvester plan --category "Hades II" --out DIR     what would be fetched, at what cost
      harvester run --category "Hades II" --frames 500 --out DIR

    Exit codes: 0 done, 2 usage or configuration, 3 credentials refused, 4 partly failed, 5 try again later,
    6 this machine (disk, GPU), 75 another run holds the directory, 130/143 stopped by a signal.
    """


for command in (run, plan, status, doctor, sandbox, verify, config_command):
    group.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``harvester``."""
    args = list(sys.argv[1:] if arguments is None else arguments)
    with _terminable():
        code = _guarded(args)
    sys.exit(code)


class _Terminated(KeyboardInterrupt):
    """SIGTERM, where no run is under way that could end cleanly."""


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends a command as SIGINT does: with its line and its exit code."""

    def terminate(_number: int, _frame: object) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _guarded(args: list[str]) -> int:
    try:
        result = group.main(args=args or ["--help"], prog_name="harvester", standalone_mode=False)
    except (click.Abort, KeyboardInterrupt) as stopped:
        return _failed(args, "interrupted", 143 if isinstance(stopped, _Terminated) else 130, "interrupted")
    except click.ClickException as error:
        return _failed(args, error.format_message(), 2, "usage")
    except HarvesterError as error:
        return _failed(args, str(error), error.exit_code, error.reason)
    except Exception as error:  # noqa: BLE001 - the last resort: a bug gets its own exit code and its trace
        sys.stderr.write(redact(traceback.format_exc()))
        cause = first_cause(error)
        return _failed(args, f"bug: {type(cause).__name__}: {cause}", 1, "bug")
    return result if isinstance(result, int) else 0


def _failed(args: Sequence[str], message: str, code: int, reason: str) -> int:
    line = printable(redact(message), ERROR_CHARS)
    sys.stderr.write(f"error: {line}\n")
    if "--json" in args:
        sys.stdout.write(failed_json(code, reason, line) + "\n")
    return code
