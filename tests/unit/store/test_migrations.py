"""A ledger of any earlier version becomes what a new one is, and what stood in it stays."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from harvester.store.ledger import SCHEMA_VERSION, Ledger

DATA = Path(__file__).parents[2] / "data"


def written(file: Path, version: int, rows: str = "") -> None:
    """An empty ledger of that version, with some rows."""
    schema = (DATA / f"ledger-{version}.sql").read_text(encoding="utf-8")
    with closing(sqlite3.connect(file)) as database:
        database.executescript(f"{schema};{rows};PRAGMA user_version = {version}")


def made(file: Path) -> dict[str, str]:
    """Tables and indexes as SQLite tells them, by name."""
    with closing(sqlite3.connect(file)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
        rows = database.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
        return {name: "".join(sql.split()) for name, sql in rows}


@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION))
def test_every_version_becomes_the_newest(tmp_path: Path, version: int) -> None:
    old, new = tmp_path / "old.sqlite3", tmp_path / "new.sqlite3"
    written(old, version)
    Ledger(new).close()
    Ledger(old).close()
    assert made(old) == made(new)


@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION))
def test_runs_and_verdicts_outlive_every_migration(tmp_path: Path, version: int) -> None:
    file = tmp_path / "l.sqlite3"
    outcome = {"run_id": "r", "category_id": "7", "kind": "vod", "source_id": "1", "broadcaster_id": "9"}
    outcome |= {"verdict": "dropped", "reason": "black", "decided_at": "2026-11-01T00:00:00+00:00"}
    numbers = {"seq": 1, "pass_id": 1, "round": 0, "broadcaster_hash": 0, "source_hash": 0, "place": 0, "k": 3}
    values = ", ".join([*(repr(text) for text in outcome.values()), *map(str, numbers.values())])
    written(
        file,
        version,
        "INSERT INTO runs (id, started_at, rules) VALUES ('r', '2026-11-01T00:00:00+00:00', '{}');"
        "INSERT INTO categories VALUES ('7', 'Celeste', '2026-11-01T00:00:00+00:00');"
        f"INSERT INTO outcomes ({', '.join([*outcome, *numbers])}) VALUES ({values})",
    )
    ledger = Ledger(file)
    assert [run["id"] for run in ledger.runs()] == ["r"]
    assert [category.name for category in ledger.categories()] == ["Celeste"]
    assert ledger.totals("7") == {("dropped", "black"): 1}
    assert ledger.next_seq() == 2
    ledger.close()
