"""Commands to which nobody listens any more: a closed terminal, a pipe whose reader has left."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harvester.sandbox import Fault
from harvester.store.layout import LEDGER_FILE
from harvester.store.ledger import Ledger
from tests.integration.commands import QUICK, Commands
from tests.integration.refusals import small
from tests.integration.wholeness import check_whole

Ends = Callable[[], tuple[int, int]]  # of a line: ours, and the one that a command writes to


@pytest.fixture(autouse=True)
def hangup_is_heard() -> Iterator[None]:
    """Children end by SIGHUP, also where whoever runs the tests told it to be ignored (nohup)."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@contextmanager
def started(commands: Commands, ends: Ends, *arguments: str) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """A command that writes to one end, and the other end of it; a command that goes on past its test is killed."""
    ours, theirs = ends()
    command = [sys.executable, "-m", "harvester", arguments[0], "--config", str(commands.config), *arguments[1:]]
    environ = {**os.environ, **commands.server.environ, **QUICK}
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=environ, start_new_session=True
    ) as process:
        os.close(theirs)
        try:
            yield ours, process
        finally:
            process.kill()


@pytest.mark.parametrize("ends", [pty.openpty, os.pipe])
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_run_whose_terminal_is_closed_ends_as_by_sigterm(
    default_commands: Commands, tmp_path: Path, ends: Ends, more: list[str]
) -> None:
    server, out = default_commands.server, tmp_path / "set"
    server.inject(Fault(path=r"^/(vod/|cdn/)", delay_s=600, times=0))  # nothing is opened: the run waits
    with started(default_commands, ends, "run", *small(out)[:-1], *more) as (ours, process):
        while not server.log.stats()["requests"].get("gql"):
            time.sleep(0.005)
        os.close(ours)
        for _ in range(2):  # by the kernel, and by the shell
            process.send_signal(signal.SIGHUP)
        assert process.wait(timeout=60) == 143
    check_whole(out)
    ledger = Ledger(out / ".harvester" / LEDGER_FILE, readonly=True)
    assert ledger.runs()[0]["report"]["status"] == "interrupted"
    ledger.close()


@pytest.mark.parametrize("ends", [pty.openpty, os.pipe])
@pytest.mark.parametrize(("command", "code"), [(["config"], 0), (["status"], 2)])
def test_what_a_command_says_decides_no_exit_code(
    default_commands: Commands, ends: Ends, command: list[str], code: int
) -> None:
    with started(default_commands, ends, *command) as (ours, process):
        os.close(ours)
        assert process.wait(timeout=60) == code
