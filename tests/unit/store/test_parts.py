"""Parts in the ledger: planned with a pass, found out once, and carried over from ledgers that knew none."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from harvester.config import Sample
from harvester.model import Label, LabelledSpan, Rank, Span, Vod, VodType
from harvester.sampling.labels import Evidence
from harvester.sampling.plan import Opened, Part, Wish, first_part, plan_visits
from harvester.store.ledger import SCHEMA_VERSION, Ledger
from harvester.store.records import Outcome, source_record

NOW = datetime(2026, 11, 1, tzinfo=UTC)
SAMPLE = Sample(round_size=2, max_per_vod=5, min_spacing_s=4)
VOD = Vod("1", "7", "9", "ann", "title", NOW, 600, VodType.ARCHIVE, "en", 5)
LISTED = Label("listing", 0.5)
KNOWN = Evidence("7")
FOUND = Opened(Span(30, 500), 3, False, (LabelledSpan(Span(30, 480), "7", LISTED),))
SECOND = Part(5, 4, 500, 2000)


def commit(ledger: Ledger, *wishes: Wish) -> int:
    pass_id = ledger.new_pass_id()
    visits = plan_visits(pass_id, wishes, SAMPLE)
    ledger.commit_pass(pass_id, "7", "vod", opened_at=NOW, planned_at=NOW, listing={}, visits=visits)
    return pass_id


def failed(ledger: Ledger, k: int | None) -> Outcome:
    rank = Rank(1, 0, 0, 0, ledger.next_seq())
    return Outcome(rank.k, "r", "7", rank, "vod", "1", "9", k, "failed", "timeout", decided_at=NOW, retry_at=NOW)


def test_a_pass_plans_the_first_part_and_opening_finds_out_about_it_once() -> None:
    ledger = Ledger(None)
    assert ledger.parts_of("7", "vod", "1") == ()
    commit(ledger, Wish(VOD))
    planned = Part(0, 5, 0.0, 600.0)
    assert ledger.parts_of("7", "vod", "1") == (planned,)
    assert ledger.growing_sources("7") == {}  # not known yet
    ledger.remember_opened(VOD, [replace(planned, opened=FOUND)], KNOWN)
    ledger.remember_opened(VOD, [replace(planned, opened=Opened(Span(0, 900), 5, True, ()))], KNOWN)
    assert ledger.parts_of("7", "vod", "1") == (replace(planned, opened=FOUND),)
    assert ledger.growing_sources("7") == {("vod", "1"): NOW}
    assert ledger.parts_of("8", "vod", "1") == ledger.parts_of("7", "clip", "1") == ()


def test_what_has_ended_grows_no_more_and_keeps_its_parts() -> None:
    ledger = Ledger(None)
    for mark_ended in (
        lambda: ledger.end_growing([VOD]),
        lambda: ledger.commit_pass(
            9, "7", "vod", opened_at=NOW, planned_at=NOW, listing={}, visits=[], ended=[VOD]
        ),
    ):
        ledger = Ledger(None)
        commit(ledger, Wish(VOD))
        ledger.end_growing([VOD])  # nothing is known of it yet: that it has ended neither
        assert ledger.parts_of("7", "vod", "1")[0].opened is None
        ledger.remember_opened(VOD, [replace(first_part(VOD, SAMPLE), opened=FOUND)], KNOWN)
        ledger.end_growing([replace(VOD, id="2")])
        assert ledger.growing_sources("7") == {("vod", "1"): NOW}
        mark_ended()
        assert ledger.growing_sources("7") == {}
        assert ledger.parts_of("7", "vod", "1")[0].opened == replace(FOUND, ended=True)


def test_a_further_part_is_visited_under_its_own_numbers_and_leaves_older_failures_due() -> None:
    ledger = Ledger(None)
    commit(ledger, Wish(VOD))
    ledger.remember_opened(VOD, [replace(first_part(VOD, SAMPLE), opened=FOUND)], KNOWN)
    ledger.commit([failed(ledger, 2), failed(ledger, None)])
    pass_id = commit(ledger, Wish(replace(VOD, duration_s=2000), part=SECOND))
    (visit,) = ledger.visits(pass_id, 0)
    assert visit.part == SECOND
    assert [visit.target_number(place) for place in range(visit.count)] == [5, 6, 7, 8]
    assert [(source.duration_s, ks) for source, ks in ledger.due_retries("7", NOW)] == [(2000, (2,))]
    assert ledger.growing_sources("7") == {}
    ledger.remember_opened(VOD, [replace(SECOND, opened=Opened(Span(500, 1900), 4, True, ()))], KNOWN)
    assert ledger.growing_sources("7") == {}
    assert [part.first_k for part in ledger.parts_of("7", "vod", "1")] == [0, 5]


def test_a_retry_visit_has_no_part_of_its_own() -> None:
    ledger = Ledger(None)
    commit(ledger, Wish(VOD))
    retry = commit(ledger, Wish(VOD, (1, 3)))
    (visit,) = ledger.visits(retry, 0)
    assert (visit.part, visit.retry) == (None, (1, 3))
    assert len(ledger.parts_of("7", "vod", "1")) == 1


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A ledger of schema 1, with one VOD whose first target failed."""
    file = tmp_path / "l.sqlite3"
    schema = (Path(__file__).parents[2] / "data" / "ledger-1.sql").read_text(encoding="utf-8")
    with sqlite3.connect(file) as database:
        database.executescript(schema + ";PRAGMA user_version = 1")
        database.execute("INSERT INTO sources VALUES ('7', 'vod', '1', '9', ?)", (source_record(VOD),))
        database.execute("INSERT INTO passes VALUES (1, '7', 'vod', '2026-11-01', '{}', 0)")
        database.execute("INSERT INTO visits VALUES (1, 3, 4, '7', 'vod', '1', 0, 5, 2, 0, 2, NULL)")
        database.execute("INSERT INTO passes VALUES (2, '7', 'vod', '2026-11-01', '{}', 0)")
        database.execute(
            "INSERT INTO visits VALUES (2, 3, 4, '7', 'vod', '1', 0, 2, 2, 0, 0, ?)", (json.dumps([0, 2]),)
        )
    database.close()
    return file


@pytest.mark.parametrize("readonly", [False, True])
def test_a_ledger_that_knew_no_parts_goes_on(old: Path, readonly: bool) -> None:
    before = old.read_bytes()
    ledger = Ledger(old, readonly=readonly)
    assert ledger.parts_of("7", "vod", "1") == (Part(0, 5, 0.0, 600.0),)
    found = ledger.open_pass("7", "vod")
    assert found is not None
    (visit,) = ledger.visits(found.id, 0)
    assert (visit.count, visit.part) == (5, Part(0, 5, 0.0, 600.0))
    assert [v.retry for v in ledger.visits(2, 0)] == [(0, 2)]
    ledger.close()
    assert (old.read_bytes() == before) == readonly


def test_an_upgraded_ledger_has_the_tables_of_a_new_one(old: Path, tmp_path: Path) -> None:
    def columns(file: Path) -> dict[str, list[tuple[str, str, int]]]:
        database = sqlite3.connect(file)
        names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found = {
            name: [(row[1], row[2], row[3]) for row in database.execute(f"PRAGMA table_info({name})")]
            for name in names
        }
        assert database.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
        database.close()
        return found

    Ledger(old).close()
    Ledger(tmp_path / "new.sqlite3").close()
    assert columns(old) == columns(tmp_path / "new.sqlite3")


def test_vods_are_those_of_the_newest_listing_and_of_passes_after_it() -> None:
    ledger = Ledger(None)
    vods = [replace(VOD, id=str(number)) for number in range(1, 6)]

    def visited(*which: Vod, scope: str = "vod", listed: dict[str, object] | None = None) -> None:
        pass_id = ledger.new_pass_id()
        visits = plan_visits(pass_id, map(Wish, which), SAMPLE)
        listing = {"listed": listed or {}}
        ledger.commit_pass(pass_id, "7", scope, opened_at=NOW, planned_at=NOW, listing=listing, visits=visits)

    assert ledger.vods_visited("7", "vod") == []
    visited(vods[0], listed={"vod": {"found": 1}})
    visited(vods[2], vods[1], listed={"vod": {"found": 2}})
    visited(vods[3])
    visited(vods[1])
    visited(vods[4], scope="other", listed={"vod": {"found": 1}})
    assert ledger.vods_visited("7", "vod") == vods[1:4]
    assert ledger.vods_visited("8", "vod") == []


def test_a_refill_is_committed_without_evidence_of_its_own() -> None:
    ledger = Ledger(None)
    commit(ledger, Wish(VOD))
    first = replace(first_part(VOD, SAMPLE), opened=replace(FOUND, ended=True))
    ledger.remember_opened(VOD, [first], KNOWN, ["8"])
    again = Part(5, 2, 0.0, 600.0)
    commit(ledger, Wish(VOD, part=again))
    assert ledger.parts_of("7", "vod", "1") == (first, again)
    found = replace(again, opened=replace(FOUND, ended=True, targets=2, chosen_s=(40.0, 60.0)))
    ledger.remember_opened(VOD, [first, found])
    assert ledger.parts_of("7", "vod", "1") == (first, found)
    assert ledger.evidence_of(replace(VOD, category_id="8", listed=False)) == replace(KNOWN, listed=None)
