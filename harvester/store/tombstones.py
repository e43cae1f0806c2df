"""``tombstones.json``: what was forgotten on request and must not come back. Read before anything is planned.

A tombstone names a source, a broadcaster or a category, or several of them at once; it covers what agrees with
every field it has.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

from harvester.errors import ForeignDataset
from harvester.model import Frame
from harvester.store.disk import changing, machine_error, replace_durably
from harvester.store.layout import Layout, shown

#: Version of the file's form.
VERSION = 1


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What is forgotten: everything that agrees with every field that is not None."""

    source_type: str | None = None
    source_id: str | None = None
    broadcaster_id: str | None = None
    category_id: str | None = None

    def __post_init__(self) -> None:
        if (self.source_id is None) != (self.source_type is None):
            raise ValueError("a source is named by its type and its id")
        if not any(self.key):
            raise ValueError("a tombstone must name a source, a broadcaster or a category")

    @property
    def key(self) -> tuple[str | None, ...]:
        """(source_type, source_id, broadcaster_id, category_id)."""
        return (self.source_type, self.source_id, self.broadcaster_id, self.category_id)

    @property
    def is_category(self) -> bool:
        """True if it covers all of a category."""
        return self.category_id is not None and self.source_id is None and self.broadcaster_id is None


class Tombstones:
    """All tombstones of a dataset, in the order they were set."""

    def __init__(self, layout: Layout, stones: tuple[Tombstone, ...] = ()) -> None:
        self._layout = layout
        self._stones = stones
        self._keys = {stone.key for stone in stones}
        self._forms = {tuple(part is not None for part in key) for key in self._keys}

    @classmethod
    def open(cls, layout: Layout) -> Self:
        """Read ``tombstones.json``; make an empty one in a dataset that has no data yet.

        Raises :class:`ForeignDataset` if it is damaged, newer, or missing beside data: going on without it would
        bring back what somebody asked to be removed.
        """
        if layout.tombstones.exists():
            return cls(layout, _read(layout.tombstones))
        if layout.data.exists():
            raise ForeignDataset(
                f"{shown(layout.tombstones)} is missing, it keeps removed content out: restore it"
            )
        empty = cls(layout)
        empty._write()
        return empty

    def add(self, stone: Tombstone) -> Self:
        """These and ``stone``, on disk when it returns; the same object if it is covered already."""
        if stone.key in self._keys:
            return self
        more = type(self)(self._layout, (*self._stones, stone))
        more._write()
        return more

    def is_forgotten(self, source_type: str, source_id: str, broadcaster_id: str, category_id: str) -> bool:
        """True if any tombstone covers a frame of this origin."""
        origin = (source_type, source_id, broadcaster_id, category_id)
        return any(_masked(origin, form) in self._keys for form in self._forms)

    def covers(self, frame: Frame) -> bool:
        """True if any tombstone covers the frame."""
        return self.is_forgotten(frame.source_type, frame.source_id, frame.broadcaster_id, frame.category_id)

    def covers_category(self, category_id: str) -> bool:
        """True if all of a category is forgotten."""
        return Tombstone(category_id=category_id).key in self._keys

    def __len__(self) -> int:
        return len(self._stones)

    def __iter__(self) -> Iterator[Tombstone]:
        return iter(self._stones)

    def _write(self) -> None:
        stones = [dict(zip(_FIELDS, stone.key, strict=True)) for stone in self._stones]
        listed = [{name: value for name, value in stone.items() if value is not None} for stone in stones]
        text = json.dumps({"version": VERSION, "tombstones": listed}, indent=1) + "\n"
        with changing(self._layout.root):
            replace_durably(self._layout.tombstones, text.encode(), self._layout.state)


_FIELDS = tuple(field.name for field in fields(Tombstone))


def _masked(origin: tuple[str, ...], form: tuple[bool, ...]) -> tuple[str | None, ...]:
    return tuple(part if used else None for part, used in zip(origin, form, strict=True))


def _read(path: Path) -> tuple[Tombstone, ...]:
    try:
        content = json.loads(path.read_bytes())
        if content["version"] > VERSION:
            raise ForeignDataset(f"{shown(path)} was written by a newer version: update harvester")
        if not isinstance(content["tombstones"], list):
            raise TypeError("tombstones are a list")
        return tuple(map(_stone, content["tombstones"]))
    except OSError as error:
        raise machine_error(error, path) from None
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ForeignDataset(f"{shown(path)} is no file of harvester, or damaged: restore it") from None


def _stone(entry: Any) -> Tombstone:
    if not isinstance(entry, dict) or not all(isinstance(value, str) for value in entry.values()):
        raise TypeError("a tombstone has fields that are strings")
    return Tombstone(**entry)
