"""Which category a user means by a name: exact first, then without regard to case, never by guess."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from harvester.errors import AMBIGUOUS, UnknownCategory
from harvester.model import Category
from harvester.text import printable

#: Near matches shown when a name is unknown.
SUGGESTIONS = 5


def match_name(name: str, candidates: Iterable[Category]) -> Category | None:
    """The one candidate of that name, case as written before any other case; None if there is none.

    Raises :class:`UnknownCategory` that lists the ids when several have it.
    """
    alike = {c.id: c for c in candidates if c.name.casefold() == name.casefold()}
    exact = [c for c in alike.values() if c.name == name]
    found = exact or list(alike.values())
    if len(found) > 1:
        listed = " or ".join(f"id:{c.id}" for c in sorted(found, key=lambda c: (len(c.id), c.id)))
        raise UnknownCategory(
            f"several categories are named {printable(name)!r}: say which one by {listed}",
            reason=AMBIGUOUS,
        )
    return found[0] if found else None


def unknown(name: str, near: Sequence[Category]) -> UnknownCategory:
    """The error for a name that no category has, with what it may have meant."""
    closest = _closest(name, near)
    if not closest:
        return UnknownCategory(f"no category is named {printable(name)!r}, nor anything like it")
    listed = ", ".join(f"{printable(c.name)!r} (id:{c.id})" for c in closest)
    return UnknownCategory(f"no category is named {printable(name)!r}; near matches: {listed}")


def search_terms(name: str) -> list[str]:
    """What to search for in turn until something turns up: a misspelt word hides what all words would find."""
    longest = max(name.split(), key=len, default="")
    return [term for term in dict.fromkeys([longest, longest[:4]]) if term and term != name]


def _closest(name: str, near: Sequence[Category]) -> list[Category]:
    def likeness(category: Category) -> float:
        return difflib.SequenceMatcher(None, name.casefold()[:200], category.name.casefold()[:200]).ratio()

    return sorted(near, key=likeness, reverse=True)[:SUGGESTIONS]
