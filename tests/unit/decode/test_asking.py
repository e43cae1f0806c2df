"""Processes that are asked one thing: each end that one can come to is told, and nothing of it stays."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from harvester.decode.asking import Question, ask
from harvester.errors import MachineError

LIMIT_S = 60.0


def question(code: str, **environment: str) -> Question:
    return Question([sys.executable, "-I", "-S", "-c", "import os, sys\n" + code], environment)


def answer(text: str) -> str:
    return f"os.write(int(sys.argv[-1]), b'{text}')"


def test_answers_come_in_the_order_of_the_questions() -> None:
    questions = [question(answer(f'{{"number": {number}}}')) for number in range(3)]
    assert ask(questions, LIMIT_S) == [{"number": 0}, {"number": 1}, {"number": 2}]


def test_what_is_printed_is_not_the_answer() -> None:
    printed = "print('{}'); sys.stderr.write('x' * 1_000_000)\n"
    assert ask([question(printed + answer('{"names": []}'))], LIMIT_S) == [{"names": []}]


def test_the_environment_is_the_one_given() -> None:
    told = question("os.write(int(sys.argv[-1]), repr(sorted(os.environ)).replace(\"'\", '\"').encode())", ONE="1")
    (names,) = ask([told], LIMIT_S)
    assert "ONE" in names and "HOME" not in names


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("pass", "exit code 0"),
        ("sys.exit(3)", "exit code 3"),
        ("os.kill(os.getpid(), 11)", "SIGSEGV"),
        ("os.kill(os.getpid(), 40)", "signal 40"),
        (answer('{"caps": []}') + "; os.abort()", "SIGABRT"),
        (answer('{"caps": []}') + "; os._exit(1)", "exit code 1"),
        ("print('first\\n[FATAL] driver\\n\\n'); sys.exit(1)", "exit code 1; its last words: [FATAL] driver"),
        ("print('x' * 9999 + 'the end', end=''); sys.exit(1)", "its last words: xxx"),
        ("os.write(1, b'\\x1b[31mred\\xff\\n'); sys.exit(1)", "its last words: [31mred\N{REPLACEMENT CHARACTER}"),
        ("print('sig=0123456789abcdef'); sys.exit(1)", "its last words: sig=***"),
    ],
)
def test_one_that_dies(code: str, why: str) -> None:
    (told,) = ask([question(code)], LIMIT_S)
    assert told["problem"] == "died"
    assert why in told["why"]
    assert told["why"].isprintable() and len(told["why"]) < 400
    assert told["fix"]


def test_one_that_hangs_is_ended_and_others_are_heard() -> None:
    hanging = question(
        "import signal, time; signal.signal(15, signal.SIG_IGN); print(os.getpid(), flush=True); time.sleep(99)"
    )
    answers = ask([question(answer('"one"')), hanging, question(answer('"two"'))], 2.0)
    assert [answers[0], answers[2]] == ["one", "two"]
    assert answers[1]["problem"] == "hang"
    pid = int(answers[1]["why"].rsplit(" ", 1)[1])
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_nobody_who_must_end_waits_for_one_that_hangs(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    code = f"import time; open({str(told)!r}, 'w').write(str(os.getpid())); time.sleep(99)"
    with pytest.raises(MachineError):
        ask([question(code)], 3600.0, told.exists)
    with pytest.raises(ProcessLookupError):
        os.kill(int(told.read_text()), 0)


def test_nothing_stays_open_and_no_process_is_left() -> None:
    def state() -> tuple[int, str]:
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
        return len(os.listdir("/proc/self/fd")), children

    before = state()
    ask([question("pass"), question("import time; time.sleep(99)")], 0.2)
    with pytest.raises(FileNotFoundError):
        ask([question("import time; time.sleep(99)"), Question(["/nowhere/to/be/found"], {})], LIMIT_S)
    assert state() == before


def test_a_library_that_prints_finds_nobody_s_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    ask([question("os.write(1, b'out'); os.write(2, b'err')")], LIMIT_S)
    assert capfd.readouterr() == ("", "")
