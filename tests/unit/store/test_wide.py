"""A wide ledger and a long dataset: nothing looks at every row of them that need not, or keeps them in memory."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harvester.errors import ForeignDataset
from harvester.model import Rank, SourceKind
from harvester.sampling.plan import Visit
from harvester.store import columns, metadata, passes
from harvester.store.dataset import Dataset
from harvester.store.ledger import Ledger
from harvester.store.metadata import SplitRows
from harvester.store.overview import overview
from tests.unit.store.conftest import CELESTE, HADES, batch_of, frame_of, nothing
from tests.unit.store.test_ledger import NOW, kept, open_pass, outcome, vod

VOD: SourceKind = "vod"

#: What a run, a plan, a status and a report ask the ledger, however large it is.
ASKED: dict[str, Callable[[Ledger], Any]] = {
    "open": lambda ledger: ledger.open_pass("7", "vod"),
    "visits": lambda ledger: list(ledger.visits(1, 0)),
    "resume": lambda ledger: list(ledger.visits(1, 0, Rank(1, 0, 5, 5, 0))),
    "through": lambda ledger: list(ledger.visits(1, 0, through=3)),
    "settled": lambda ledger: ledger.settled_elsewhere(vod(1), 1),
    "decided": lambda ledger: ledger.decided_targets("7", VOD, "1"),
    "failures": lambda ledger: ledger.failures_of("7", VOD, "1", 3),
    "gone": lambda ledger: ledger.gone_since("7", VOD, "1"),
    "due": lambda ledger: ledger.due_retries("7", NOW),
    "unfinished": lambda ledger: ledger.unfinished_sources("7"),
    "growing": lambda ledger: ledger.growing_sources("7"),
    "known": lambda ledger: ledger.known_sources("7"),
    "parts": lambda ledger: ledger.parts_of("7", VOD, "1"),
    "anchors": lambda ledger: ledger.anchors("7"),
    "mark": lambda ledger: ledger.anchor_mark("7", 3),
    "broadcasters": lambda ledger: ledger.kept_by_broadcaster("7"),
    "days": lambda ledger: ledger.kept_by_day("7"),
    "due again": lambda ledger: ledger.due_again("7"),
    "undecided": lambda ledger: ledger.undecided("7"),
    "full": lambda ledger: ledger.full_vods("7", 3),
    "kept": lambda ledger: ledger.kept_count("7"),
    "totals": lambda ledger: ledger.totals("7"),
    "report": lambda ledger: ledger.decided_in("r1"),
    "committed": lambda ledger: ledger.committed_in("r1"),
    "is kept": lambda ledger: ledger.is_kept("a/vod-1-000000001.jpg"),
    "any": lambda ledger: ledger.keeps_any(),
    "among": lambda ledger: ledger.kept_among(["a/vod-1-000000001.jpg", "x"]),
    "files": lambda ledger: ledger.kept_files(),
    "ranks": lambda ledger: list(ledger.ranks()),
    "plan": lambda ledger: open_pass(ledger, vod(9)),
    "commit": lambda ledger: ledger.commit([outcome(ledger, Rank(1, 0, 9, 9, 9))]),
}


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    ledger = Ledger(tmp_path / "ledger.sqlite3")
    open_pass(ledger, *(vod(number, str(number % 3)) for number in range(8)))
    ledger.commit([kept(ledger, Rank(1, 0, 0, 0, k), f"a/vod-1-{k:09d}.jpg", k) for k in range(5)])
    return ledger


def plan_of(file: Path, statement: str) -> list[str]:
    with closing(sqlite3.connect(file)) as database:
        return [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {statement}")]


@pytest.mark.parametrize("name", ASKED)
def test_no_question_reads_every_row_of_a_wide_table(ledger: Ledger, tmp_path: Path, name: str) -> None:
    """A row of outcomes is two pages. An index that holds all that is asked for is a twentieth of it."""
    statements: list[str] = []
    ledger._database._connection.set_trace_callback(statements.append)
    ASKED[name](ledger)
    ledger._database._connection.set_trace_callback(None)
    asked = [s for s in statements if re.match(r"(SELECT|WITH|UPDATE|INSERT)", s)]
    assert asked
    steps = [step for statement in asked for step in plan_of(tmp_path / "ledger.sqlite3", statement)]
    tables = r"(outcomes|visits|sources|parts|[onvsp])\b"
    assert not [step for step in steps if re.match(rf"SCAN {tables}(?!.*COVERING INDEX)", step)], steps


def test_what_counts_a_category_a_run_or_a_pass_is_answered_by_an_index(ledger: Ledger, tmp_path: Path) -> None:
    for name in ("anchors", "broadcasters", "kept", "totals", "report", "committed", "files", "ranks"):
        statements: list[str] = []
        ledger._database._connection.set_trace_callback(statements.append)
        ASKED[name](ledger)
        ledger._database._connection.set_trace_callback(None)
        steps = [step for statement in statements for step in plan_of(tmp_path / "ledger.sqlite3", statement)]
        of_rows = [step for step in steps if re.match(r"(SEARCH|SCAN) outcomes\b", step)]
        assert of_rows
        assert all("COVERING INDEX" in step for step in of_rows), (name, steps)


# -- visits -----------------------------------------------------------------------------------------------


def _keys(visits: list[Visit]) -> list[tuple[int, int, str]]:
    return [(visit.broadcaster_hash, visit.source_hash, visit.source.id) for visit in visits]


@pytest.mark.parametrize("at_once", [1, 3, 8, 100])
def test_visits_come_in_order_however_many_are_read_at_once(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(passes, "VISITS_AT_ONCE", at_once)
    last = ledger.last_round(1)
    assert last > 2
    for turn in range(last + 1):
        visits = list(ledger.visits(1, turn))
        assert _keys(visits) == sorted(_keys(visits))
        assert {visit.source.id for visit in visits} == {
            visit.source.id for visit in ledger.visits(1, 0, through=last) if visit.places(turn)
        }
    everything = list(ledger.visits(1, 0, through=last))
    assert len(set(_keys(everything))) == len(everything) == 8
    assert _keys(list(ledger.visits(1, last, through=last))) == _keys(list(ledger.visits(1, last)))


def test_a_pass_goes_on_at_the_visit_it_was_left_at(ledger: Ledger) -> None:
    visits = list(ledger.visits(1, 0))
    middle = visits[len(visits) // 2]
    at = middle.rank(0)
    assert _keys(list(ledger.visits(1, 0, at))) == _keys(visits)[visits.index(middle) :]
    assert _keys(list(ledger.visits(1, 1, at))) == _keys(list(ledger.visits(1, 1)))


def test_sources_with_one_hash_are_all_visited(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger._database._connection.execute("UPDATE visits SET broadcaster_hash = 1, source_hash = 1")
    monkeypatch.setattr(passes, "VISITS_AT_ONCE", 2)
    assert {visit.source.id for visit in ledger.visits(1, 0, through=9)} == {str(number) for number in range(8)}


# -- the dataset ------------------------------------------------------------------------------------------


def test_only_frames_the_ledger_lacks_are_taken_up(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "ROWS_AT_ONCE", 2)
    dataset, ledger = Dataset.open(root), Ledger(None)
    batch = batch_of(dataset, *((HADES, "train", seed) for seed in range(5)), (CELESTE, "test", 6))
    dataset.publish(batch, nothing)
    assert not ledger.keeps_any()
    known = [frame for frame, _ in batch if frame.offset_s not in (3.25, 6.25)]
    assert ledger.adopt(known, NOW) == 4
    assert ledger.keeps_any()
    assert ledger.kept_among([frame.file_name for frame, _ in batch]) == {frame.file_name for frame in known}
    assert [frame.offset_s for frame in dataset.frames(unless=ledger.kept_among)] == [3.25, 6.25]


@pytest.mark.parametrize("group_rows", [2, 100])
def test_samples_are_those_of_smallest_hash(root: Path, monkeypatch: pytest.MonkeyPatch, group_rows: int) -> None:
    monkeypatch.setattr(metadata, "ROW_GROUP_ROWS", group_rows)
    monkeypatch.setattr(columns, "ROW_GROUP_ROWS", group_rows)
    dataset = Dataset.open(root)
    wanted = [(HADES, ("train", "test")[seed % 2], seed) for seed in range(9)] + [(CELESTE, "train", 20)]
    dataset.publish(batch_of(dataset, *wanted), nothing)  # type: ignore[arg-type]
    for opened in (dataset, Dataset.open(root)):
        frames = sorted(opened.frames(), key=lambda frame: frame.sha256)
        expected = {label: [opened.image_path(f) for f in frames if f.label_id == label][:3] for label in (0, 1)}
        assert opened.samples(3) == expected
        assert len(opened.samples(100)[0]) == 9
        assert all(path.exists() for paths in opened.samples(100).values() for path in paths)
    rows = SplitRows.read(dataset.paths.metadata("train"))
    assert {label: len(files) for label, files in rows.samples(3).items()} == {0: 3, 1: 1}
    assert pq.ParquetFile(dataset.paths.metadata("train")).num_row_groups == (3 if group_rows == 2 else 1)


@pytest.fixture
def long(root: Path) -> Path:
    """A split with 40,000 rows in its file (16 MB in memory), without their images."""
    dataset = Dataset.open(root)
    dataset.publish([frame_of(dataset, HADES, "train", 1)], nothing)
    row = dataset.rows("train")
    count = 40_000
    table = row.take(pa.array([0] * count))
    names = pa.array([f"hades-ii/vod-{number}-000001250.jpg" for number in range(count)])
    path = dataset.paths.metadata("train")
    pq.write_table(table.set_column(0, "file_name", names), path, row_group_size=4000)
    return root


def test_rows_in_the_file_take_no_memory(long: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "ROW_GROUP_ROWS", 4000)
    before = pa.total_allocated_bytes()
    dataset, ledger = Dataset.open(long), Ledger(None)
    facts = overview(dataset, ledger, max_per_vod=40)
    dataset.publish([frame_of(dataset, HADES, "train", 2)], nothing)
    assert dataset.samples(8)
    assert dataset.card_facts("0", "").total == len(dataset) == 40_001
    assert facts.categories[0].frames == 40_000
    assert pa.total_allocated_bytes() - before < 1 << 20
    assert dataset.rows("train").nbytes > 8 << 20


def test_rows_that_change_under_a_run_are_noticed(long: Path) -> None:
    """Somebody deletes or replaces the metadata: it is not written anew without the rows that are gone."""
    dataset = Dataset.open(long)
    dataset.publish([frame_of(dataset, HADES, "train", 2)], nothing)
    path = dataset.paths.metadata("train")
    pq.write_table(pq.read_table(path).slice(5), path)
    with pytest.raises(ForeignDataset, match="lost rows"):
        dataset.complete()
    path.unlink()
    with pytest.raises(ForeignDataset, match="lost rows"):
        SplitRows.encoded(dataset._rows["train"])


def test_a_look_is_not_disturbed_by_a_run_that_goes_on(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``status`` and ``plan`` take no lock: rows come into the file, and files beside it go, while they read."""
    monkeypatch.setattr(metadata, "BESIDE_SHARE", 1)
    running = Dataset.open(root)
    for seed in (1, 2):
        running.publish([frame_of(running, HADES, "train", seed)], nothing)
    looked = Dataset.open(root)
    for seed in (3, 4, 5):
        running.publish([frame_of(running, HADES, "train", seed)], nothing)
    running.complete()
    assert (len(looked), len(running)) == (2, 5)
    assert [frame.offset_s for frame in looked.frames()] == [1.25, 2.25]
    assert looked.tally("label_id") == {(0,): 2}
    assert len(looked.samples(9)[0]) == 2


def test_what_is_due_again_is_taken_up_once_and_settled_rows_are_left_alone(ledger: Ledger) -> None:
    due = NOW - timedelta(hours=1)
    failed = {"verdict": "failed", "reason": "timeout", "retry_at": due, "source_id": "3"}
    ledger.commit([outcome(ledger, Rank(1, 0, 9, 9, k), k=k, **failed) for k in (1, 2)])
    assert [ks for _, ks in ledger.due_retries("7", NOW)] == [(1, 2)]
    open_pass(ledger, vod(3))
    assert ledger.due_retries("7", NOW) == []
