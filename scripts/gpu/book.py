"""What was found, one JSON object a line, on disk before the next thing is tried: a crash loses nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

Record = dict[str, Any]

#: Keys of a record that found nothing: why. ``lacks`` names a package that is not installed.
NOTHING = frozenset(("failed", "out_of_time", "lacks"))


class Book:
    """The file of records. Each has ``step`` and ``what``; with ``fake`` it says nothing about any hardware.

    Until :meth:`keep` it stands beside ``path``: a run that finds no GPU leaves the last one's results alone.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.records: list[Record] = []
        self.fake = False
        self.wanted, self.path = path, path.with_name(f"{path.name}.new")
        self._file = self.path.open("w", encoding="utf-8")

    def keep(self) -> None:
        """From now on ``path`` is this file; what was there is gone."""
        self.path = self.path.replace(self.wanted)

    def write(self, record: Mapping[str, Any]) -> Record:
        """Add one record, and have it on disk when this returns."""
        written = {**record, **({"fake": True} if self.fake else {})}
        self.records.append(written)
        self._file.write(json.dumps(written) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        return written

    def close(self) -> None:
        """A file that was not kept is removed."""
        self._file.close()
        if self.path != self.wanted:
            self.path.unlink()


def read(path: Path) -> list[Record]:
    """The records of a file; a last line that was cut is left out."""
    return list(_whole(path.read_text(encoding="utf-8").splitlines()))


def _whole(lines: list[str]) -> Iterator[Record]:
    for number, line in enumerate(lines):
        try:
            yield json.loads(line)
        except ValueError:
            if number + 1 < len(lines):
                raise


def found(records: list[Record], step: str, what: str, **equal: object) -> list[Record]:
    """The records of that step and name, with those values, that found something."""
    return [
        record
        for record in records
        if (record["step"], record["what"]) == (step, what)
        and not NOTHING & record.keys()
        and all(record.get(key) == value for key, value in equal.items())
    ]
