"""The command group, and the one place where errors become lines and exit codes."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence

import click

from harvester.cli import stopped_code
from harvester.cli.doctor import doctor
from harvester.cli.governing import forget
from harvester.cli.inspecting import config_command, plan, status
from harvester.cli.logbook import Logbook, wanted_format
from harvester.cli.reporting import report
from harvester.cli.running import run, sandbox
from harvester.cli.verifying import verify
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


for command in (run, plan, status, report, doctor, sandbox, verify, forget, config_command):
    group.add_command(command)


def guarded(args: list[str]) -> int:
    """Run a command; its exit code. Whatever goes wrong becomes one line, with ``--json`` one object too."""
    try:
        result = group.main(args=args or ["--help"], prog_name="harvester", standalone_mode=False)
    except (click.Abort, KeyboardInterrupt) as stopped:
        return failed(args, "interrupted", stopped_code(stopped), "interrupted")
    except click.ClickException as error:
        return failed(args, error.format_message(), 2, "usage")
    except HarvesterError as error:
        return failed(args, str(error), error.exit_code, error.reason)
    except Exception as error:  # noqa: BLE001 - the last resort: a bug gets its own exit code and its trace
        _log(args).write("critical", redact(traceback.format_exc()))
        cause = first_cause(error)
        return failed(args, f"bug: {type(cause).__name__}: {cause}", 1, "bug")
    return result if isinstance(result, int) else 0


def _log(args: Sequence[str]) -> Logbook:
    return Logbook(wanted_format(args))


def failed(args: Sequence[str], message: str, code: int, reason: str) -> int:
    """Say what went wrong, on stderr and, with ``--json``, as the last line of stdout; the exit code."""
    line = printable(redact(message), ERROR_CHARS)
    _log(args).write("error", f"error: {line}")
    if "--json" in args:
        sys.stdout.write(failed_json(code, reason, line) + "\n")
    return code
