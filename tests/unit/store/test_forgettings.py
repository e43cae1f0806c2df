"""The ledger forgets: rows, numbers that are not used again, bytes; and keeps apart why frames leave."""

from __future__ import annotations

from pathlib import Path

from harvester.store.database import Database
from harvester.store.ledger import Ledger
from harvester.store.tombstones import Tombstone
from harvester.store.verify import replay
from tests.unit.store.test_removals import NOW, Books, picture


def test_numbers_of_forgotten_decisions_are_not_used_again(tmp_path: Path) -> None:
    file, stone = tmp_path / "ledger.sqlite3", Tombstone(broadcaster_id="ann")
    books = Books(file)
    books.show(books.vod(1, "10", "bob"), picture(1))
    newest = books.show(books.vod(2, "10", "ann"), picture(2)).seq
    assert books.ledger.erase(stone).decisions == 1
    assert not books.ledger.has_forgotten(stone)
    books.ledger.erase(stone)  # as after a kill
    books.ledger.commit_forgotten([stone], NOW)
    assert books.ledger.has_forgotten(stone)
    books.ledger.close()
    again = Ledger(file)
    assert (again.next_seq(), again.forgotten_through()) == (newest + 1, newest)
    assert again.known_sources("10") == {("vod", "1")}
    again.close()


def test_a_repeat_of_a_forgotten_picture_is_replayed_as_it_was_decided() -> None:
    books = Books()
    books.show(books.vod(1, "10", "ann"), picture(1))
    assert books.show(books.vod(2, "10", "bob"), picture(1)).verdict == "dropped"
    books.ledger.erase(Tombstone(source_type="vod", source_id="1"))
    assert not list(replay(books.ledger))


def test_frames_that_are_too_old_leave_without_a_look_at_sightings() -> None:
    books = Books()
    kept = books.show(books.vod(1, "10", "ann"), picture(1))
    barrier = books.ledger.retention_barrier()
    books.ledger.commit_barrier(barrier, "run", NOW, {kept.seq: "expired"})
    look = books.ledger.next_barrier()
    assert look is not None
    assert (look.number, look.after, look.through) == (2, -1, kept.seq)
    books.ledger.commit_barrier(look, "run", NOW, {})
    assert [barrier.after for barrier, _ in books.ledger.barriers()] == [-1, -1]
    assert books.ledger.next_barrier() is None
    assert not list(replay(books.ledger))


def test_what_was_deleted_is_not_in_the_bytes_of_a_file_written_anew(tmp_path: Path) -> None:
    file = tmp_path / "d.sqlite3"
    database = Database(file, "CREATE TABLE t (a TEXT)", 1)
    database.rows("PRAGMA secure_delete = OFF")  # some builds of SQLite have it on
    with database.transaction():
        database.executemany("INSERT INTO t VALUES (?)", [(f"secret-{number}" * 20,) for number in range(99)])
    with database.transaction():
        database.execute("DELETE FROM t")
    database.rewrite()
    assert all(b"secret-" not in path.read_bytes() for path in tmp_path.iterdir())
    database.close()
