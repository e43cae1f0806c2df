"""``classes.json``: which label id, slug and split is whose, frozen for ever; it also marks a directory as ours.

A category gets the next label id when it is first registered; neither that id nor its slug ever changes, whatever
Twitch renames it to. A broadcaster's split is a hash, so every frame of a channel lands in one split::

    first 8 bytes of sha256(salt + broadcaster id), big-endian, / 2^64  ->  < .8 train, < .9 validation, else test
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from harvester.errors import ForeignDataset
from harvester.model import SPLITS, Category, SplitName
from harvester.sampling.categories import OTHER
from harvester.store.disk import changing, machine_error, replace_durably
from harvester.store.layout import CLASSES, STATE, Layout, shown
from harvester.text import is_reserved_name, printable, slugify

#: Version of the directory's form. A directory with a larger one was written by a newer harvester.
FORMAT = 1

#: Longest category name kept (characters). Twitch's own stay below 100; the bound keeps hostile ones small.
NAME_CHARS = 300

#: Words in a folder's name that make Hugging Face ``datasets`` put it into a split of that name (SPLIT_KEYWORDS of
#: its data_files.py): a class ``test-drive`` in data/train makes up an empty test split, which breaks the reader.
_SPLIT_WORDS = re.compile(
    r"(?:^|[-0-9])(?:train|training|validation|valid|dev|val|test|testing|eval|evaluation)(?:[-0-9]|$)"
)

#: What a new, empty file system already holds and what a run killed at its very start leaves.
_NOT_CONTENT = frozenset({STATE, "lost+found"})


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


_Share = Annotated[float, Field(ge=0, le=1)]


class SplitRule(_Record):
    """How broadcasters are dealt to the splits; ``fractions`` in the order train, validation, test."""

    salt: str = "split:"
    fractions: dict[SplitName, Annotated[float, Field(ge=0, le=1)]] = {
        "train": 0.8,
        "validation": 0.1,
        "test": 0.1,
    }

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if tuple(self.fractions) != SPLITS or round(sum(self.fractions.values()), 9) != 1:
            raise ValueError("fractions must name train, validation and test, in this order, and sum to 1")
        return self

    def split_of(self, broadcaster_id: str) -> SplitName:
        """The split of everything a broadcaster streams."""
        digest = hashlib.sha256((self.salt + broadcaster_id).encode()).digest()
        place, bound = int.from_bytes(digest[:8], "big") / 2**64, 0.0
        for split, fraction in self.fractions.items():
            bound = round(bound + fraction, 9)  # .8 + .1 must be .9, not a neighbour
            if place < bound:
                return split
        return SPLITS[-1]


class _Class(_Record):
    label_id: Annotated[int, Field(ge=0)]
    category_id: Annotated[str, Field(pattern=r"^[0-9]{0,20}$")]
    slug: Annotated[str, Field(pattern=rf"^([a-z0-9](-?[a-z0-9])*|{OTHER})$", max_length=120)]
    names: Annotated[tuple[str, ...], Field(min_length=1, strict=False)]

    @model_validator(mode="after")
    def _of_one_category(self) -> Self:
        if (self.category_id == "") != (self.slug == OTHER):
            raise ValueError(f"all classes but {OTHER} are of one category")
        return self


class _File(_Record):
    format: int
    split: SplitRule
    classes: Annotated[tuple[_Class, ...], Field(strict=False)]

    @model_validator(mode="after")
    def _unambiguous(self) -> Self:
        if [c.label_id for c in self.classes] != list(range(len(self.classes))):
            raise ValueError("label ids must count from 0")
        for key in ("category_id", "slug"):
            if len({getattr(c, key) for c in self.classes}) != len(self.classes):
                raise ValueError(f"a {key} occurs twice")
        return self


@dataclass(frozen=True, slots=True)
class ClassEntry:
    """A class of the dataset: all but ``name`` (the newest, printable) is frozen for ever.

    ``category_id``: "" for the class of all that is no game, whose rows name their categories themselves.
    """

    label_id: int
    category_id: str
    slug: str
    name: str


class Classes:
    """The classes of one dataset, written to ``classes.json`` whenever they change."""

    def __init__(self, layout: Layout, file: _File) -> None:
        self._layout = layout
        self._file = file
        self._by_category = {c.category_id: c for c in file.classes}

    @classmethod
    def create(cls, layout: Layout) -> Self:
        """Make the ``classes.json`` of a new dataset. Raises :class:`MachineError` if it cannot be written."""
        classes = cls(layout, _File(format=FORMAT, split=SplitRule(), classes=()))
        classes._write(classes._file)
        return classes

    @classmethod
    def load(cls, layout: Layout) -> Self:
        """Read ``classes.json``. Raises :class:`ForeignDataset` if it is not ours, damaged or newer."""
        return cls(layout, _read(layout.classes))

    def register(self, category: Category) -> ClassEntry:
        """The class of ``category``, first come, first numbered; a new name becomes its newest.

        On disk when it returns. Raises :class:`MachineError` if that fails; then nothing has changed.
        """
        name = printable(category.name, NAME_CHARS) or f"category {category.id}"
        known = self._by_category.get(category.id)
        if known is None:
            slug = _free_slug(name, category.id, {c.slug for c in self._file.classes})
            number = len(self._file.classes)
            self._put(_Class(label_id=number, category_id=category.id, slug=slug, names=(name,)))
        elif known.names[-1] != name:
            # A name that comes back moves to the end, so that an alternating one cannot grow the file.
            names = (*(n for n in known.names if n != name), name)
            self._put(known.model_copy(update={"names": names}))
        return self._entry(self._by_category[category.id])

    def register_other(self) -> ClassEntry:
        """The one class of all categories that are no games; on disk and raises as of :meth:`register`."""
        if "" not in self._by_category:
            number = len(self._file.classes)
            self._put(_Class(label_id=number, category_id="", slug=OTHER, names=(OTHER,)))
        return self._entry(self._by_category[""])

    def forget(self, category_id: str) -> None:
        """Take the names of a category, and its slug, which is made of one, out of the file; its label id stays
        its own. On disk when it returns. Only for a category that has no image, and will have none."""
        known = self._by_category.get(category_id)
        nameless = f"category-{category_id}"
        if known is None or known.names == (nameless,):
            return
        others = {c.slug for c in self._file.classes if c is not known}
        slug = _free_slug(nameless, category_id, others)
        self._put(known.model_copy(update={"names": (nameless,), "slug": slug}))

    def split_of(self, broadcaster_id: str) -> SplitName:
        """The split of everything a broadcaster streams, in every run."""
        return self._file.split.split_of(broadcaster_id)

    def find(self, category_id: str) -> ClassEntry | None:
        """The class of a category; None if it was never registered."""
        known = self._by_category.get(category_id)
        return self._entry(known) if known else None

    def named(self, name: str) -> str | None:
        """Id of the one category that has or had that name, in any case; None if none or several had."""
        wanted = printable(name, NAME_CHARS).casefold()
        had = [c for c in self._file.classes if wanted in (known.casefold() for known in c.names)]
        return had[0].category_id or None if len(had) == 1 else None

    def __getitem__(self, label_id: int) -> ClassEntry:
        return self._entry(self._file.classes[label_id])

    def __iter__(self) -> Iterator[ClassEntry]:
        return map(self._entry, self._file.classes)

    def __len__(self) -> int:
        return len(self._file.classes)

    @staticmethod
    def _entry(known: _Class) -> ClassEntry:
        return ClassEntry(known.label_id, known.category_id, known.slug, known.names[-1])

    def _put(self, entry: _Class) -> None:
        before, after = self._file.classes[: entry.label_id], self._file.classes[entry.label_id + 1 :]
        self._write(self._file.model_copy(update={"classes": (*before, entry, *after)}))
        self._by_category[entry.category_id] = entry

    def _write(self, file: _File) -> None:
        text = json.dumps(file.model_dump(), ensure_ascii=False, indent=1) + "\n"
        with changing(self._layout.root):
            replace_durably(self._layout.classes, text.encode(), self._layout.state)
        self._file = file


def holds_dataset(root: Path) -> bool:
    """True if ``root`` is a dataset of ours, False if one can be made there (absent or empty).

    Raises :class:`ForeignDataset` for anything else, :class:`MachineError` if it cannot be read. Writes nothing.
    """
    try:
        names = set(os.listdir(root))  # noqa: PTH208 - the names are all that is needed
    except FileNotFoundError:
        return False
    except NotADirectoryError:
        raise ForeignDataset(f"{shown(root)} is no directory: choose another one") from None
    except OSError as error:
        raise machine_error(error, root) from None
    if CLASSES in names:
        _read(root / CLASSES)
        return True
    if names - _NOT_CONTENT:
        raise ForeignDataset(_foreign(root, ours=STATE in names))
    return False


def _foreign(root: Path, *, ours: bool) -> str:
    place = shown(root)
    if ours:
        return f"{place} has lost its {CLASSES}, which holds labels and splits: restore that file"
    return f"{place} holds other files and is no dataset of harvester: choose a new or empty directory"


def _read(path: Path) -> _File:
    try:
        content = json.loads(path.read_bytes())
        json.dumps(content, ensure_ascii=False).encode()  # lone surrogates are no text that could be written back
    except OSError as error:
        raise machine_error(error, path) from None
    except (ValueError, RecursionError):
        raise ForeignDataset(f"{shown(path)} is no file of harvester, or damaged: restore it") from None
    version = content.get("format") if isinstance(content, dict) else None
    if isinstance(version, int) and version > FORMAT:
        raise ForeignDataset(f"{shown(path.parent)} was written by a newer version: update harvester")
    try:
        return _File.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        what = printable(f"{'.'.join(map(str, first['loc']))}: {first['msg']}")
        raise ForeignDataset(f"{shown(path)} is no file of harvester, or damaged ({what})") from None


def _free_slug(name: str, category_id: str, taken: set[str]) -> str:
    """Slug of a new class: its name's, with ``-<id>`` if taken or reserved.

    ``category-<id>`` if nothing is left of the name, or if readers would take it for a split.
    """
    fallback = f"category-{category_id}"
    plain = slugify(name) or fallback
    plain = fallback if _SPLIT_WORDS.search(plain) else plain
    candidates = itertools.chain(
        [plain, f"{plain}-{category_id}", fallback], (f"{fallback}-{n}" for n in itertools.count(2))
    )
    return next(slug for slug in candidates if slug not in taken and not is_reserved_name(slug))
