"""Before a ledger is migrated a copy of it is kept; only the newest few are."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from harvester.errors import MachineError
from harvester.store.database import BACKUPS, Database, backups_of
from harvester.store.ledger import Ledger

MIGRATIONS = {version: f"INSERT INTO seen VALUES ({version})" for version in range(1, 9)}


def opened(file: Path, version: int) -> None:
    """Open and close a database that is to have that version."""
    Database(file, "CREATE TABLE seen (version INTEGER)", version, migrations=MIGRATIONS).close()


def seen(file: Path) -> tuple[int, list[int]]:
    """The version of a database, and which migrations it went through."""
    with closing(sqlite3.connect(file)) as database:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        return version, [row[0] for row in database.execute("SELECT version FROM seen")]


def test_the_database_before_a_migration_stays_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "l.sqlite3"
    opened(file, 1)
    assert backups_of(file) == []
    opened(file, 3)
    (copy,) = backups_of(file)
    assert (seen(copy), seen(file)) == ((1, []), (3, [1, 2]))
    opened(file, 3)
    assert backups_of(file) == [copy]


def test_only_the_newest_copies_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "l.sqlite3"
    for version in range(1, 10):
        opened(file, version)
    copies = backups_of(file)
    assert [seen(copy)[0] for copy in copies] == [8, 7]
    assert len(copies) == BACKUPS
    assert sorted(tmp_path.iterdir()) == sorted([file, *copies])


def test_what_a_kill_left_of_a_copy_is_written_anew(tmp_path: Path) -> None:
    file = tmp_path / "l.sqlite3"
    opened(file, 1)
    (tmp_path / "l.sqlite3.copying").write_bytes(b"torn" * 1000)
    opened(file, 2)
    assert [seen(copy) for copy in backups_of(file)] == [(1, [])]
    assert not (tmp_path / "l.sqlite3.copying").exists()


def test_without_a_copy_nothing_is_migrated(tmp_path: Path) -> None:
    file = tmp_path / "l.sqlite3"
    opened(file, 1)
    (tmp_path / "l.sqlite3.copying").mkdir()
    with pytest.raises(MachineError):
        opened(file, 2)
    assert seen(file) == (1, [])


def test_looking_at_an_older_ledger_copies_nothing(tmp_path: Path) -> None:
    file = tmp_path / "l.sqlite3"
    schema = (Path(__file__).parents[2] / "data" / "ledger-2.sql").read_text(encoding="utf-8")
    with closing(sqlite3.connect(file)) as database:
        database.executescript(schema + ";PRAGMA user_version = 2")
    Ledger(file, readonly=True).close()
    assert backups_of(file) == []
    Ledger(file).close()
    assert [copy.name for copy in backups_of(file)] == ["l.sqlite3.schema-2.bak"]
