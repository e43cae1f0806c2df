"""Runs a step as a process of its own, and takes down what it tells as it tells it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

from gpu.book import Book
from gpu.plan import GRACE_S, Step

#: Last bytes of what a failed step printed that its record keeps.
_TAIL = 600


def run_step(
    step: Step, book: Book, limit_s: float, scratch: Path, environ: Mapping[str, str], *, quick: bool
) -> int | None:
    """The step's exit code (negative: the signal that ended it); None if it took too long and was ended.

    What went wrong becomes a record of the name ``step``.
    """
    reading, writing = os.pipe()
    command = [
        sys.executable,
        "-m",
        "gpu.child",
        step.name,
        str(writing),
        str(limit_s),
        str(scratch),
        str(book.path),
    ]
    with (scratch / f"{step.name}.out").open("w+b") as output:
        process = subprocess.Popen(
            [*command, *(["quick"] if quick else [])],
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=[writing],
            start_new_session=True,
        )
        os.close(writing)
        reader = threading.Thread(target=_take_down, args=(reading, book))
        reader.start()
        code = _ended(process, limit_s + GRACE_S)
        reader.join()
        if code != 0:
            book.write({"step": step.name, "what": "step", **_failure(code, limit_s), "printed": _tail(output)})
    return code


def _take_down(descriptor: int, book: Book) -> None:
    with os.fdopen(descriptor, encoding="utf-8") as told:
        for line in told:
            if line.endswith("\n"):
                book.write(json.loads(line))


def _ended(process: subprocess.Popen[bytes], limit_s: float) -> int | None:
    try:
        return process.wait(limit_s)
    except subprocess.TimeoutExpired:
        return None
    finally:
        _kill_group(process)
        process.wait()


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """End it and what it has started and left behind: they would work on while the next step measures."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _failure(code: int | None, limit_s: float) -> Mapping[str, object]:
    if code is None:
        return {"out_of_time": True, "failed": f"ended after {limit_s:.0f} s"}
    return {"failed": f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"}


def _tail(output: IO[bytes]) -> str:
    output.seek(max(0, output.seek(0, os.SEEK_END) - _TAIL))
    return output.read().decode(errors="replace")
