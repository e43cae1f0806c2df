"""``harvester report`` and a run's metrics, end to end: what they tell is what the dataset and the run hold."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from harvester.store.lock import DatasetLock
from tests.integration.commands import Commands
from tests.integration.refusals import check_refused, small, tree
from tests.unit.report.exposition import Family, parse
from tests.unit.report.markup import Markup


def metrics(file: Path) -> dict[str, Family]:
    return {name.removeprefix("harvester_"): family for name, family in parse(file.read_text("utf-8")).items()}


def test_a_page_about_a_dataset_while_a_run_holds_it(default_commands: Commands, dataset: Path, tmp_path: Path):
    page, before = tmp_path / "report.html", tree(dataset)
    with DatasetLock(dataset):
        ended = default_commands("report", "--out", dataset, "--html", page)
    assert (ended.code, ended.out.startswith(f"{page}: ")) == (0, True), ended.err
    html = Markup(page.read_text("utf-8"))
    assert "2 frames, 1 category, 1 run;" in html.text
    assert "Teeworlds" in html.text
    stems = {file.stem for file in (dataset / "data").rglob("*.jpg")}
    assert stems == {image["alt"] for image in html.all("img")} & stems
    assert tree(dataset) == before
    assert [file.name for file in tmp_path.glob("*report*")] == ["report.html"]


def test_json_tells_where_the_page_is(default_commands: Commands, dataset: Path, tmp_path: Path):
    page = tmp_path / "report.html"
    ended = default_commands("report", "--out", dataset, "--html", page, "--json")
    assert ended.json.items() >= {"html": str(page), "exit_code": 0, "size_bytes": page.stat().st_size}.items()


def test_without_a_dataset_nothing_is_written(default_commands: Commands, tmp_path: Path):
    page = tmp_path / "report.html"
    ended = default_commands("report", "--out", tmp_path / "none", "--html", page, "--json")
    check_refused(ended, 2, "holds no dataset yet")
    assert not page.exists()
    assert not (tmp_path / "none").exists()


def test_a_page_that_cannot_be_written_is_told(default_commands: Commands, dataset: Path, tmp_path: Path):
    page = tmp_path / "nowhere" / "report.html"
    ended = default_commands("report", "--out", dataset, "--html", page, "--json")
    check_refused(ended, 6, "cannot write the report", "No such file")


def test_a_newer_ledger_is_refused_with_the_usual_line(default_commands: Commands, dataset: Path, tmp_path: Path):
    ledger = sqlite3.connect(dataset / ".harvester" / "ledger.sqlite3")
    ledger.execute("PRAGMA user_version = 99")
    ledger.close()
    ended = default_commands("report", "--out", dataset, "--html", tmp_path / "report.html", "--json")
    check_refused(ended, 2, "was written by a newer harvester")


def test_a_dataset_without_its_ledger_still_has_a_page(default_commands: Commands, dataset: Path, tmp_path: Path):
    for file in (dataset / ".harvester").glob("ledger.sqlite3*"):
        file.unlink()
    ended = default_commands("report", "--out", dataset, "--html", tmp_path / "report.html")
    assert ended.code == 0, ended.err
    assert "2 frames, 1 category, 0 runs;" in Markup((tmp_path / "report.html").read_text("utf-8")).text


def test_metrics_of_a_run_are_what_its_report_says(default_commands: Commands, tmp_path: Path):
    file, out = tmp_path / "harvester.prom", tmp_path / "out"
    ended = default_commands("run", *small(out), "--metrics-file", file)
    report, told = ended.json, metrics(file)
    assert ended.code == 0, ended.err
    assert told["run_exit_code"].value() == 0
    assert told["run_decoded_pictures"].value() == report["decoded"] >= report["kept"] == 2
    assert {dict(key)["kind"]: n for key, n in told["run_requests"].samples.items()} == report["requests"]
    assert {dict(key)["kind"]: n for key, n in told["run_received_bytes"].samples.items()} == report["bytes"]
    [(number, category)] = report["categories"].items()
    names = {"category_id": number, "category": category["name"]}
    assert told["run_frames"].value(**names, verdict="kept") == 2
    assert told["dataset_frames"].value(**names) == category["total"] == 2
    assert told["queue_targets"].value(state="pending") == report["pending"]
    success = told["last_success_timestamp_seconds"].value()
    assert 0 <= told["run_end_timestamp_seconds"].value() - success < 60


def test_the_last_success_outlives_later_failures(default_commands: Commands, dataset: Path, tmp_path: Path):
    file = tmp_path / "harvester.prom"
    at = {"HARVESTER_REPORT_METRICS_FILE": str(file), "HARVESTER_RUN_NOW": "2026-12-01T03:00:00Z"}
    wrong = at | {"TWITCH_CLIENT_SECRET": "wrong"}
    ended = default_commands("run", *small(dataset), **at)
    assert ended.code == 0, ended.err
    success = metrics(file)["last_success_timestamp_seconds"].value()
    later = wrong | {"HARVESTER_RUN_NOW": "2026-12-02T03:00:00Z"}
    assert default_commands("run", *small(dataset, 9), **later).code == 3
    told = metrics(file)
    assert (told["run_exit_code"].value(), told["last_success_timestamp_seconds"].value()) == (3, success)
    assert told["run_end_timestamp_seconds"].value() >= success + 86_400 - 60


@pytest.mark.parametrize("held", [True, False])
def test_a_run_that_is_refused_leaves_metrics_too(
    default_commands: Commands, dataset: Path, tmp_path: Path, held: bool
):
    file, foreign = tmp_path / "harvester.prom", tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "theirs").touch()
    with DatasetLock(dataset):
        ended = default_commands("run", *small(dataset if held else foreign, 9), "--metrics-file", file)
    assert ended.code == (75 if held else 2)
    told = metrics(file)
    assert told["run_exit_code"].value() == ended.code
    assert ("last_success_timestamp_seconds" in told) is held


def test_a_metrics_file_without_a_folder_is_refused_before_anything_runs(
    default_commands: Commands, tmp_path: Path
):
    ended = default_commands("run", *small(tmp_path / "out"), "--metrics-file", tmp_path / "none" / "m.prom")
    check_refused(ended, 2, "there is no folder for the metrics file")
    assert not (tmp_path / "out").exists()
    assert not default_commands.server.log.entries()


def test_metrics_that_cannot_be_written_change_nothing_about_the_run(default_commands: Commands, tmp_path: Path):
    (tmp_path / "m.prom").mkdir()
    ended = default_commands(
        "run", *small(tmp_path / "out"), HARVESTER_REPORT_METRICS_FILE=str(tmp_path / "m.prom")
    )
    assert (ended.code, ended.json["kept"]) == (0, 2), ended.err
    assert "error: cannot write the metrics file" in ended.err


def test_metrics_do_not_go_into_the_dataset(default_commands: Commands, tmp_path: Path):
    """A run that fails before there is a dataset would leave a directory that the next one takes for a stranger's."""
    out = tmp_path / "new"
    (out / "metrics").mkdir(parents=True)
    for inside in (out / "run.prom", out / "metrics" / "run.prom", out / ".." / "new" / "run.prom"):
        ended = default_commands("run", *small(out), "--metrics-file", inside)
        assert ended.code == 2
        assert "outside" in ended.err
    assert not [path for path in out.rglob("*") if path.is_file()]
