"""The ledger: passes resume where they were left, counters come from committed rows."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from harvester.config import Sample
from harvester.errors import ForeignDataset, MachineError
from harvester.model import Category, Clip, Rank, Vod, VodType
from harvester.sampling.plan import Wish, plan_visits
from harvester.store.ledger import SCHEMA_VERSION, Ledger
from harvester.store.records import Outcome, source_from, source_record

NOW = datetime(2026, 11, 1, tzinfo=UTC)
SAMPLE = Sample(round_size=2, max_per_vod=5, min_spacing_s=4)


def vod(number: int, broadcaster: str = "9") -> Vod:
    return Vod(str(number), "7", broadcaster, "ann", "title ✨", NOW, 600, VodType.HIGHLIGHT, "en", 5)


def outcome(ledger: Ledger, rank: Rank, **columns: Any) -> Outcome:
    values: dict[str, Any] = {
        "seq": ledger.next_seq(),
        "run_id": "r1",
        "category_id": "7",
        "rank": rank,
        "kind": "vod",
        "source_id": "1",
        "broadcaster_id": "9",
        "k": rank.k,
        "verdict": "dropped",
        "reason": "flat",
        "decided_at": NOW,
    }
    return Outcome(**(values | columns))


def kept(ledger: Ledger, rank: Rank, name: str, phash: int, **columns: Any) -> Outcome:
    return outcome(
        ledger, rank, verdict="kept", reason="", file_name=name, phash=phash, sha256="0" * 64, **columns
    )


def open_pass(ledger: Ledger, *vods: Vod) -> int:
    pass_id = ledger.new_pass_id()
    wishes = [Wish(vod) for vod in vods]
    ledger.commit_pass(
        pass_id, "7", "vod", opened_at=NOW, planned_at=NOW, listing={}, visits=plan_visits(pass_id, wishes, SAMPLE)
    )
    return pass_id


def ranks(ledger: Ledger, pass_id: int) -> list[Rank]:
    return [
        visit.rank(place)
        for turn in range(ledger.last_round(pass_id) + 1)
        for visit in ledger.visits(pass_id, turn)
        for place in visit.places(turn)
    ]


def test_a_pass_gives_its_ranks_in_order_and_is_resumed_after_the_last_decided(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.sqlite3")
    pass_id = open_pass(ledger, vod(1, "a"), vod(2, "b"), vod(3, "b"))
    order = ranks(ledger, pass_id)
    assert order == sorted(order)
    assert len(order) == 15
    ledger.commit([outcome(ledger, rank) for rank in order[:4]])
    ledger.close()
    again = Ledger(tmp_path / "l.sqlite3")
    found = again.open_pass("7", "vod")
    assert found is not None
    assert (found.id, found.last) == (pass_id, order[3])
    assert again.open_pass("7", "clip") is None
    again.finish_pass(pass_id)
    assert again.open_pass("7", "vod") is None
    assert again.next_seq() == 5


def test_sources_come_back_as_they_were() -> None:
    clip = Clip("Slug-aB3", "7", "9", "ann", "t\u202e", NOW, 28.5, "en", 5, "2001", 12.0)
    assert source_from("clip", source_record(clip)) == clip
    assert source_from("vod", source_record(vod(4))) == vod(4)


def test_anchors_and_counts_derive_from_committed_rows() -> None:
    ledger = Ledger(None)
    top = (1 << 64) - 2
    ledger.commit(
        [
            kept(ledger, Rank(1, 0, 0, 0, 0), "a/vod-1-000000001.jpg", top),
            kept(ledger, Rank(1, 0, 0, 0, 1), "a/vod-1-000000002.jpg", 5, broadcaster_id="b"),
            outcome(ledger, Rank(1, 0, 0, 0, 2)),
            outcome(ledger, Rank(1, 0, 0, 0, 3), verdict="failed", reason="timeout"),
        ]
    )
    hashes, keys = ledger.anchors("7")
    assert (hashes.tolist(), keys.tolist()) == ([top, 5], [1, 2])
    assert ledger.kept_count("7") == 2
    assert ledger.kept_by_broadcaster("7") == {"9": 1, "b": 1}
    assert ledger.totals("7") == {("kept", ""): 2, ("dropped", "flat"): 1, ("failed", "timeout"): 1}
    assert ledger.is_kept("a/vod-1-000000002.jpg")
    assert [row["phash"] for row in ledger.decisions()] == [top, 5, None, None]


def test_a_batch_is_committed_whole_or_not_at_all() -> None:
    ledger = Ledger(None)
    first = kept(ledger, Rank(1, 0, 0, 0, 0), "a/vod-1-000000001.jpg", 1)
    same_file = kept(ledger, Rank(1, 0, 0, 0, 1), "a/vod-1-000000001.jpg", 2)
    with pytest.raises(sqlite3.IntegrityError):
        ledger.commit([first, same_file])
    assert ledger.kept_count("7") == 0
    ledger.commit([first])
    assert ledger.kept_count("7") == 1


def test_failures_come_back_when_due_and_only_once() -> None:
    ledger = Ledger(None)
    first = open_pass(ledger, vod(1), vod(2))
    later = NOW + timedelta(hours=1)
    failed = {"verdict": "failed", "reason": "timeout"}
    ledger.commit(
        [
            outcome(ledger, Rank(first, 0, 0, 0, 3), retry_at=NOW, **failed),
            outcome(ledger, Rank(first, 0, 0, 0, 1), retry_at=NOW, **failed),
            outcome(ledger, Rank(first, 0, 0, 1, 0), source_id="2", k=None, retry_at=later, **failed),
        ]
    )
    assert [(source.id, ks) for source, ks in ledger.due_retries("7", NOW)] == [("1", (1, 3))]
    assert [(source.id, ks) for source, ks in ledger.due_retries("7", later)] == [("1", (1, 3)), ("2", None)]
    assert ledger.failures_of("7", "vod", "2", None) == 1
    assert ledger.failures_of("7", "vod", "1", 3) == 1
    assert ledger.failures_of("7", "vod", "1", 0) == 0
    innocent = {"verdict": "failed", "reason": "refused", "source_id": "2", "k": None, "retry_at": later}
    ledger.commit([outcome(ledger, Rank(first, 0, 0, 1, 1), **innocent)])
    assert ledger.failures_of("7", "vod", "2", None) == 1
    second = ledger.new_pass_id()
    wishes = [Wish(vod(1), (1, 3))]
    ledger.commit_pass(
        second, "7", "vod", opened_at=NOW, planned_at=NOW, listing={}, visits=plan_visits(second, wishes, SAMPLE)
    )
    assert [visit.retry for visit in ledger.visits(second, 0)] == [(1, 3)]
    assert [source.id for source, _ in ledger.due_retries("7", later)] == ["2"]
    assert ledger.known_sources("7") == {("vod", "1"), ("vod", "2")}


def test_a_failure_that_a_later_pass_takes_up_is_undecided_until_that_pass_decides_it() -> None:
    ledger = Ledger(None)
    first = open_pass(ledger, vod(1))
    for place, due in ((0, None), (1, NOW), (2, NOW)):
        failed = {"verdict": "failed", "reason": "timeout", "retry_at": due}
        ledger.commit([outcome(ledger, Rank(first, 0, 0, 0, place), **failed)])
    assert ledger.decided_targets("7", "vod", "1") == {0}
    second = ledger.new_pass_id()
    visits = list(plan_visits(second, [Wish(vod(1), (1, 2))], SAMPLE))
    ledger.commit_pass(second, "7", "vod", opened_at=NOW, planned_at=NOW, listing={}, visits=visits)
    assert ledger.decided_targets("7", "vod", "1") == {0}
    lost = {"verdict": "failed", "reason": "gone", "k": None, "retry_at": NOW}
    ledger.commit([outcome(ledger, Rank(second, 0, 0, 0, 0), **lost)])
    assert ledger.decided_targets("7", "vod", "1") == {0}
    ledger.commit([outcome(ledger, Rank(second, 0, 0, 0, 1), k=2, verdict="failed", reason="corrupt")])
    assert ledger.decided_targets("7", "vod", "1") == {0, 2}


def test_categories_keep_their_newest_name() -> None:
    ledger = Ledger(None)
    ledger.remember_category(Category("7", "Old"), NOW)
    ledger.remember_category(Category("7", "New"), NOW)
    assert ledger.categories() == [Category("7", "New")]


def test_a_newer_schema_is_refused_with_a_clear_line(tmp_path: Path) -> None:
    file = tmp_path / "l.sqlite3"
    Ledger(file).close()
    with sqlite3.connect(file) as database:
        database.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(ForeignDataset, match="newer"):
        Ledger(file)


def test_a_damaged_file_says_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "l.sqlite3"
    file.write_bytes(b"this is no database" * 100)
    with pytest.raises(MachineError, match=r"delete the \.harvester folder"):
        Ledger(file)


def test_a_read_only_ledger_is_read_beside_a_writer_and_refuses_changes(tmp_path: Path) -> None:
    file = tmp_path / "l.sqlite3"
    writer = Ledger(file)
    writer.remember_category(Category("7", "Celeste"), NOW)
    reader = Ledger(file, readonly=True)
    assert reader.categories() == [Category("7", "Celeste")]
    with pytest.raises(MachineError):
        reader.remember_category(Category("8", "Other"), NOW)
    reader.close()
    writer.close()
    before = file.read_bytes()
    closed = Ledger(file, readonly=True)
    assert closed.categories() == [Category("7", "Celeste")]
    closed.close()
    assert file.read_bytes() == before


def test_runs_that_were_killed_have_no_report() -> None:
    ledger = Ledger(None)
    ledger.begin_run("r1", NOW, {"radius": 6})
    ledger.begin_run("r2", NOW + timedelta(days=1), {"radius": 5})
    ledger.end_run("r1", NOW, '{"kept": 3}')
    assert [(run["id"], run["report"]) for run in ledger.runs()] == [("r2", None), ("r1", {"kept": 3})]
    assert ledger.rules_of_runs() == {"r1": {"radius": 6}, "r2": {"radius": 5}}


def test_kept_outcomes_name_a_file_and_no_reason() -> None:
    ledger = Ledger(None)
    with pytest.raises(ValueError, match="name a file"):
        outcome(ledger, Rank(1, 0, 0, 0, 0), verdict="kept", reason="")
    with pytest.raises(ValueError, match="reason"):
        outcome(ledger, Rank(1, 0, 0, 0, 0), verdict="dropped", reason="")


def test_what_a_killed_run_has_listed_is_known_until_a_run_ends() -> None:
    ledger = Ledger(None)

    def listed_by(run_id: str, category_id: str, at: datetime = NOW) -> None:
        listing = {"run": run_id}
        ledger.commit_pass(
            ledger.new_pass_id(), category_id, "clip", opened_at=at, planned_at=at, listing=listing, visits=[]
        )

    for run_id in ("ended", "killed", "rerun"):
        ledger.begin_run(run_id, NOW, {})
        listed_by(run_id, f"by-{run_id}")
        if run_id == "ended":
            ledger.end_run(run_id, NOW, "{}")
    listed_by("of-no-run", "else")
    listed_by("rerun", "long-ago", NOW - timedelta(days=1))
    since = NOW - timedelta(hours=12)
    assert ledger.listed_by_killed_runs(since) == {("by-killed", "clip"), ("by-rerun", "clip")}
    ledger.end_run("rerun", NOW, "{}")
    assert ledger.listed_by_killed_runs(since) == set()
