"""What a command says on stderr, as text and as JSON lines."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path

import pytest

from harvester.cli import logbook
from harvester.cli.commands import guarded
from harvester.cli.logbook import Logbook, wanted_format


def test_json_lines_carry_time_level_and_run(capsys: pytest.CaptureFixture[str]) -> None:
    log = Logbook("json")
    log.write("info", "before")
    log.run_id = "20261101T000000Z-abc"
    log.write("error", "several\nlines\x1b[31m \u202e")
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert (first["run_id"], first["level"], first["message"]) == ("", "info", "before")
    assert datetime.fromisoformat(first["time"]).tzinfo is not None
    assert (second["run_id"], second["message"]) == ("20261101T000000Z-abc", "several\nlines\x1b[31m \u202e")


def test_text_lines_are_plain(capsys: pytest.CaptureFixture[str]) -> None:
    Logbook().write("error", "one\ntwo")
    assert capsys.readouterr().err == "one\ntwo\n"


def test_a_journal_gets_priorities_and_nobody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for named in (True, False):
        with (tmp_path / f"{named}").open("w+") as stream:
            monkeypatch.setattr("sys.stderr", stream)
            status = os.fstat(stream.fileno())
            inode = status.st_ino if named else status.st_ino + 1
            monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{inode}")
            Logbook().write("error", "one\ntwo")
            Logbook("json").write("error", "x")
            stream.seek(0)
            lines = stream.read().splitlines()
        assert lines[:2] == (["<3>one", "<3>two"] if named else ["one", "two"])
        assert lines[2].startswith("{")


@pytest.mark.parametrize(
    ("arguments", "form"),
    [
        ([], "text"),
        (["run", "--log-format", "json", "--out"], "json"),
        (["run", "--log-format=json"], "json"),
        (["run", "--log-format", "text", "json"], "text"),
        (["run", "json", "--log-format"], "text"),
    ],
)
def test_the_format_is_known_before_the_command_line_is(arguments: list[str], form: str) -> None:
    assert wanted_format(arguments) == form


def test_a_wrong_command_line_is_told_in_the_form_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(["status", "--log-format", "json"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    told = json.loads(line)
    assert told["level"] == "error"
    assert told["message"].startswith("error: Missing option '--out'")


def test_a_bug_is_told_with_its_trace_in_one_object(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("https://h/x?sig=SECRET")

    monkeypatch.setattr("harvester.cli.inspecting.loaded", broken)
    assert guarded(["config", "--log-format", "json"]) == 1
    trace, told = map(json.loads, capsys.readouterr().err.splitlines())
    assert "Traceback" in trace["message"]
    assert "SECRET" not in trace["message"] + told["message"]
    assert told["message"].startswith("error: bug: ZeroDivisionError")


def test_every_level_of_the_log_has_a_priority() -> None:
    assert set(logbook._PRIORITIES) == {"debug", "info", "warning", "error", "critical"}
