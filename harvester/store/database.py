"""One SQLite file (WAL), used by one process from several threads. The only importer of sqlite3."""

from __future__ import annotations

import os
import re
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from harvester.errors import ForeignDataset, MachineError
from harvester.store.disk import changing, sync_folder

#: Rows read at a time by :meth:`Database.records`.
ROWS_AT_ONCE = 256
#: Copies of a database from before its migrations that are kept, the newest.
BACKUPS = 2

_BACKUP = re.compile(r"\.schema-(\d+)\.bak$")


class Database:
    """An open database with a schema of the given version; ``path`` None = in memory.

    ``migrations``: statements that make version n to n + 1, by n; the file as it was stays beside it as one of
    :func:`backups_of`, at most :data:`BACKUPS`. ``readonly``: it exists, and is only looked at,
    also where nothing can be written (a read-only file system); an older one is looked at as a copy in memory.
    ``alone``: nobody else can change it meanwhile; then looking leaves no trace beside the file.
    Raises :class:`MachineError` (disk full, damaged) and, where a newer version wrote it, :class:`ForeignDataset`.
    """

    def __init__(
        self,
        path: Path | None,
        schema: str,
        version: int,
        *,
        migrations: Mapping[int, str] = MappingProxyType({}),
        readonly: bool = False,
        alone: bool = False,
    ) -> None:
        self._path = path
        self._readonly = readonly
        self._lock = threading.RLock()
        try:
            if readonly and path is not None:
                self._connection = _looked_at(path, version, alone=alone)
            else:
                self._connection = _connected(":memory:" if path is None else str(path))
                self._connection.execute("PRAGMA journal_mode=WAL")
                self._connection.execute("PRAGMA synchronous=FULL")
            self._migrate(schema, version, migrations)
        except sqlite3.Error as error:
            raise _translated(error, path) from error

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All statements inside, or none of them; durable when the block ends."""
        with self._lock, self._translating():
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def execute(self, statement: str, arguments: Sequence[Any] = ()) -> None:
        """Run a statement, inside a transaction."""
        self._connection.execute(statement, arguments)

    def executemany(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run a statement for every row, inside a transaction."""
        self._connection.executemany(statement, rows)

    def rows(self, query: str, *arguments: Any) -> list[Any]:
        """All rows of a query, as tuples."""
        with self._lock, self._translating():
            return self._connection.execute(query, arguments).fetchall()

    def one(self, query: str, *arguments: Any) -> Any:
        """The first column of the first row; None if there is no row."""
        with self._lock, self._translating():
            row = self._connection.execute(query, arguments).fetchone()
        return None if row is None else row[0]

    def records(self, query: str) -> Iterator[dict[str, Any]]:
        """Rows of a query one by one, as columns by name."""
        with self._lock, self._translating():
            cursor = self._connection.execute(query)
            names = [column[0] for column in cursor.description]
            while rows := cursor.fetchmany(ROWS_AT_ONCE):
                for row in rows:
                    yield dict(zip(names, row, strict=True))

    def rewrite(self) -> None:
        """Write the file anew: what was deleted is then nowhere in its bytes, nor in those of its log.

        SQLite leaves deleted rows in free places of its pages, and moves copies of others about, so nothing less
        will do. Needs as much free space again, twice. Raises MachineError, also while somebody reads the file.
        """
        with self._lock, self._translating():
            self._connection.execute("VACUUM")
            busy, *_ = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise MachineError(
                f"the ledger {self._path} is being read: what was forgotten is still in its log; run again",
                reason="ledger",
            )

    @contextmanager
    def _translating(self) -> Iterator[None]:
        """What the disk does to us becomes a MachineError; a broken constraint is our own mistake and stays so."""
        try:
            yield
        except sqlite3.IntegrityError:
            raise
        except sqlite3.Error as error:
            raise _translated(error, self._path) from error

    def _migrate(self, schema: str, version: int, migrations: Mapping[int, str]) -> None:
        found = self.one("PRAGMA user_version")
        if found > version:
            raise ForeignDataset(
                f"the ledger {self._path} was written by a newer harvester (schema {found}, this one knows"
                f" {version}): update harvester",
                reason="newer-version",
            )
        if found == version:
            return
        if found and self._path is not None and not self._readonly:
            _back_up(self._connection, self._path, found)
        steps = [schema] if found == 0 else [migrations[old] for old in range(found, version)]
        with self.transaction():
            for statement in ";".join(steps).split(";"):
                self.execute(statement)
            self.execute(f"PRAGMA user_version = {version}")


def backups_of(path: Path) -> list[Path]:
    """The copies of the database ``path`` from before its migrations, the newest first."""
    copies = path.parent.glob(f"{path.name}.schema-*.bak")
    numbered = {int(match[1]): copy for copy in copies if (match := _BACKUP.search(copy.name))}
    return [numbered[version] for version in sorted(numbered, reverse=True)]


def _back_up(connection: sqlite3.Connection, path: Path, version: int) -> None:
    """Keep a copy of ``path``, which has that version, and forget the oldest. Raises MachineError."""
    fresh = path.with_name(f"{path.name}.copying")
    with changing(path.parent):
        fresh.unlink(missing_ok=True)
        with closing(_connected(str(fresh))) as copy:
            connection.backup(copy)
        os.replace(fresh, path.with_name(f"{path.name}.schema-{version}.bak"))  # noqa: PTH105 - as in disk.py
        for old in backups_of(path)[BACKUPS:]:
            old.unlink()
        sync_folder(path.parent)


def _connected(name: str, *, uri: bool = False) -> sqlite3.Connection:
    return sqlite3.connect(name, isolation_level=None, check_same_thread=False, uri=uri)


def _looked_at(path: Path, version: int, *, alone: bool) -> sqlite3.Connection:
    """Read-only; one of a version before ``version`` as a copy in memory, which can be brought up to it."""
    connection = _unchanging(path) if alone and not _log_of(path).exists() else _readonly(path)
    if connection.execute("PRAGMA user_version").fetchone()[0] >= version:
        return connection
    copy = _connected(":memory:")
    connection.backup(copy)
    connection.close()
    return copy


def _readonly(path: Path) -> sqlite3.Connection:
    """Where even the shared-memory file of WAL cannot be made, as a file that does not change."""
    connection = _connected(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    try:
        connection.execute("PRAGMA user_version").fetchone()
    except sqlite3.OperationalError:
        connection.close()
        return _unchanging(path)
    return connection


def _unchanging(path: Path) -> sqlite3.Connection:
    """Without a file beside it, not even for the time being."""
    return _connected(f"{path.absolute().as_uri()}?immutable=1", uri=True)


def _log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _translated(error: sqlite3.Error, path: Path | None) -> MachineError:
    where = f" {path}" if path else ""
    if getattr(error, "sqlite_errorname", "") == "SQLITE_FULL":
        return MachineError(
            f"the disk is full, the ledger{where} cannot grow: free some space and run again", reason="disk-full"
        )
    return MachineError(
        f"the ledger{where} cannot be used ({error}); if it is damaged, delete the .harvester folder beside"
        " the data: the next run rebuilds it from the metadata and loses no image",
        reason="ledger",
    )
