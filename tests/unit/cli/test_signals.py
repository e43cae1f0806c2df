"""What ends a command that is no run: SIGTERM and a terminal that is closed, with a line and an exit code."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from harvester.cli import Terminated, _terminable, stopped_code, terminating


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """The signals' handlers as they were."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_both_end_a_command_alike_and_only_while_it_runs(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(Terminated) as stopped, _terminable():
        os.kill(os.getpid(), number)
    assert stopped_code(stopped.value) == 143
    assert signal.getsignal(number) is before


def test_who_was_told_to_ignore_a_hang_up_goes_on() -> None:
    """``nohup harvester run``."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert terminating() == (signal.SIGTERM,)
    with _terminable():
        os.kill(os.getpid(), signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
