"""Metrics: what a strict parser of Prometheus' text format reads is what the run did."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.errors import MachineError
from harvester.report.metrics import Standing, metrics_text, write_metrics
from harvester.report.summary import CategoryReport, RunReport
from harvester.version import __version__
from tests.unit.report.exposition import parse

NOW = datetime(2026, 11, 2, 4, tzinfo=UTC)
BEFORE = datetime(2026, 11, 1, 4, tzinfo=UTC)


def run(name: str = "Hades II") -> RunReport:
    books = CategoryReport(
        name, kept=3, total=30, dropped={"black": 1, "duplicate": 4}, failed={"gone": 2}, removed={}, pending=5
    )
    return RunReport(
        run_id="r",
        status="partial",
        exit_code=4,
        dataset="/data",
        seconds=4,
        decoded=10,
        planned=15,
        kept=3,
        pending=5,
        dropped=books.dropped,
        failed=books.failed,
        requests={"media": 9, "helix": 2},
        bytes={"media": 12345678901},
        categories={"1": books},
    )


def test_every_figure_of_the_run_is_there():
    text = metrics_text(run(), Standing(NOW, BEFORE, {"due": 7, "later": 8}))
    found = {name.removeprefix("harvester_"): family for name, family in parse(text).items()}
    assert all(name.startswith("harvester_") for name in parse(text))
    assert {family.type for family in found.values()} == {"gauge"}
    assert found["run_info"].value(version=__version__, status="partial") == 1
    assert found["last_success_timestamp_seconds"].value() == BEFORE.timestamp()
    assert found["run_end_timestamp_seconds"].value() == NOW.timestamp()
    assert found["run_exit_code"].value() == 4
    assert found["run_duration_seconds"].value() == 4
    assert found["run_requests"].value(kind="helix") == 2
    assert found["run_received_bytes"].value(kind="media") == 12345678901
    assert found["run_decoded_pictures"].value() == 10
    assert found["run_decoded_pictures_per_second"].value() == 2.5
    verdicts = {"kept": 3, "dropped": 5, "failed": 2, "removed": 0}
    for verdict, count in verdicts.items():
        assert found["run_frames"].value(category_id="1", category="Hades II", verdict=verdict) == count
    assert found["run_frames_by_reason"].value(verdict="dropped", reason="duplicate") == 4
    assert found["dataset_frames"].value(category_id="1", category="Hades II") == 30
    assert {
        state: found["queue_targets"].value(state=state) for state in ("pending", "retry-due", "retry-later")
    } == {
        "pending": 5,
        "retry-due": 7,
        "retry-later": 8,
    }


def test_without_a_success_there_is_no_time_of_one():
    assert "last_success" not in metrics_text(run(), Standing(NOW))


def test_a_run_that_never_began_has_its_exit_code_and_no_categories():
    found = parse(metrics_text(RunReport("", "failed", 75, ""), Standing(NOW, BEFORE)))
    assert found["harvester_run_exit_code"].value() == 75
    assert found["harvester_last_success_timestamp_seconds"].value() == BEFORE.timestamp()
    assert "harvester_run_frames" not in found


@given(st.text(max_size=40))
def test_any_name_is_one_label(name):
    text = metrics_text(run(name), Standing(NOW))
    [(labels, total)] = parse(text)["harvester_dataset_frames"].samples.items()
    assert total == 30
    shown = dict(labels)["category"]
    assert len(text.splitlines()) == len(text.split("\n")) - 1
    assert shown == shown.strip()
    assert set(shown) <= set(name) | {" "}


def test_quotes_and_backslashes_come_back_as_they_were():
    [(labels, _)] = parse(metrics_text(run('a "b" \\n\\'), Standing(NOW)))[
        "harvester_dataset_frames"
    ].samples.items()
    assert dict(labels)["category"] == 'a "b" \\n\\'


def test_the_file_is_replaced_whole_or_stays(tmp_path, monkeypatch):
    file = tmp_path / "harvester.prom"
    write_metrics(file, run(), Standing(NOW))
    before = file.read_bytes()
    assert parse(before.decode())

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("harvester.report.writing.os.fsync", full)
    with pytest.raises(MachineError, match=r"cannot write the metrics file .*harvester\.prom: No space"):
        write_metrics(file, run("Other"), Standing(NOW))
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("harvester.prom", before)]
