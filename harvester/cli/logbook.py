"""What a command says on stderr: plain lines for people and journals, or one JSON object a line for machines.

Everything goes through here, what the packages log too, so that a line holds no secret and no control character,
and the lines of a run carry its id. Progress bars are the exception: they are drawn only where somebody looks at a
terminal, and never in JSON.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal, get_args

from harvester.text import printable, redact

LogFormat = Literal["text", "json"]
FORMATS: tuple[LogFormat, ...] = get_args(LogFormat)
FLAG = "--log-format"

#: Longest message of a log line (characters).
LOG_CHARS = 1000

#: Level -> priority of syslog(3), which a journal takes from the start of a line (sd-daemon(3)).
_PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}


class Logbook:
    """Where the lines of this process go. ``run_id``: of the run that is going on, "" if none is."""

    def __init__(self, form: LogFormat = "text") -> None:
        self.form = form
        self.run_id = ""
        self._journal = form == "text" and _is_journal()

    def write(self, level: str, message: str) -> None:
        """One line. ``message`` may have several, which JSON keeps and text writes one after another."""
        stream = sys.stderr
        if self.form == "json":
            stream.write(self._object(level, message) + "\n")
        else:
            head = f"<{_PRIORITIES[level]}>" if self._journal else ""
            stream.writelines(f"{head}{line}\n" for line in message.splitlines())
        stream.flush()

    def _object(self, level: str, message: str) -> str:
        moment = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"
        return json.dumps({"time": moment, "level": level, "run_id": self.run_id, "message": message})


class _Heard(logging.Handler):
    """Takes what the packages log into the logbook: one harmless line a record."""

    def __init__(self, logbook: Logbook) -> None:
        super().__init__()
        self._logbook = logbook

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        message = printable(redact(record.getMessage()), LOG_CHARS)
        self._logbook.write(record.levelname.lower(), f"{record.levelname} {record.name}: {message}")


def listen(logbook: Logbook, level: int) -> None:
    """Have what is logged at that level and above written in ``logbook``, and nowhere else."""
    logging.basicConfig(level=level, handlers=[_Heard(logbook)], force=True)


def wanted_format(arguments: Sequence[str]) -> LogFormat:
    """What a command line asks for, also one that is wrong elsewhere: its error is a line of the log too."""
    pairs = [*itertools.pairwise(arguments), *(tuple(one.split("=", 1)) for one in arguments)]
    return "json" if (FLAG, "json") in pairs else "text"


def _is_journal() -> bool:
    """True if stderr is a stream of the system's journal, told by its device and inode (systemd.exec(5))."""
    try:
        status = os.fstat(sys.stderr.fileno())
    except (OSError, AttributeError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
