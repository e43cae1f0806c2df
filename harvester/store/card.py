"""``README.md`` of a dataset: the card that says what is in it, whose it is and how to read it.

Its YAML header tells the Hugging Face Hub which files belong to which split. Names of categories come from
outside: they reach the text only through :func:`inert`.
"""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from harvester.model import SPLITS, SplitName
from harvester.store.classes import ClassEntry
from harvester.store.disk import changing, replace_durably
from harvester.store.layout import Layout
from harvester.text import printable

if TYPE_CHECKING:
    import jinja2

TEMPLATE = Path(__file__).with_name("card.md.j2")

#: ASCII that means nothing to Markdown and HTML inside a line. No full stop: ``www.`` would start a link.
_PLAIN = frozenset(string.ascii_letters + string.digits + " ,;:'-!?%()")


@dataclass(frozen=True, slots=True)
class CategoryCount:
    """Images of a category by split."""

    entry: ClassEntry
    train: int = 0
    validation: int = 0
    test: int = 0

    @property
    def total(self) -> int:
        return self.train + self.validation + self.test


@dataclass(frozen=True, slots=True)
class CardFacts:
    """What a card tells: nothing of it changes from a run that added nothing."""

    version: str  # of harvester
    rights_basis: str  # as configured; "" = not stated
    categories: tuple[CategoryCount, ...]  # in the order of label ids, those with images
    sources: Mapping[str, int]  # images by source type

    @property
    def total(self) -> int:
        return sum(row.total for row in self.categories)

    def count(self, split: SplitName) -> int:
        """Images in a split."""
        return sum(int(getattr(row, split)) for row in self.categories)


def write_card(root: Path, facts: CardFacts) -> None:
    """Write ``README.md`` in the dataset ``root``, at one instant; an equal one is left alone.

    Raises :class:`MachineError` if the disk is full or refuses.
    """
    layout, text = Layout(root), card_text(facts).encode()
    with changing(root):
        if not layout.card.exists() or layout.card.read_bytes() != text:
            replace_durably(layout.card, text, layout.state)


def card_text(facts: CardFacts) -> str:
    """The card in Markdown with its YAML header; the header names only splits that have images."""
    splits = [split for split in SPLITS if facts.count(split)]
    return _template().render(facts=facts, splits=splits)


def inert(text: str, limit: int = 300) -> str:
    """``text`` as Markdown that is only text: no markup, table cell, link, HTML or control character.

    One line of at most ``limit`` characters, for use inside a line. Punctuation that could mean something becomes
    a character reference, which CommonMark never reads as structure (0.31, §2.5).
    """
    return "".join(_references(printable(text, limit)))


def _references(text: str) -> Iterator[str]:
    for character in text:
        plain = character in _PLAIN or not character.isascii()
        yield character if plain else f"&#{ord(character)};"


@cache
def _template() -> jinja2.Template:
    import jinja2

    environment = jinja2.Environment(
        autoescape=False, undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    environment.filters["inert"] = inert
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
