"""What one line of the table of targets says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, fields
from datetime import datetime
from math import isfinite
from typing import Any, get_type_hints

from harvester.errors import HarvesterError
from tests.fuzz.mutations import Mutation

#: Takes an input; returns or raises an error of ``Target.checked``. A wrong answer is an AssertionError.
Reader = Callable[[bytes], object]


@dataclass(frozen=True)
class Target:
    """A door that outside bytes come through.

    ``share``: its part of all inputs, against the sum of the table. ``corpus``: good inputs. ``opened``: gives the
    reader, with what it needs around it (a folder, a server) as long as the block lasts. ``checked``: the errors it
    may raise.
    """

    kind: str
    share: int
    corpus: Callable[[], Sequence[bytes]]
    mutation: Mutation
    opened: Callable[[], AbstractContextManager[Reader]]
    checked: tuple[type[BaseException], ...] = (HarvesterError,)


def plain(reader: Reader) -> Callable[[], AbstractContextManager[Reader]]:
    """A reader that needs nothing around it."""

    @contextmanager
    def opened() -> Iterator[Reader]:
        yield reader

    return opened


def well_typed(record: Any) -> None:
    """Every field holds what it is declared to hold, and numbers are finite: a database column relies on it."""
    hints = get_type_hints(type(record), localns={"datetime": datetime})
    for each in fields(record):
        value, kind = getattr(record, each.name), hints[each.name]
        allowed = (
            kind | int
            if isinstance(value, int) and not isinstance(value, bool) and isinstance(0.5, kind)
            else kind
        )
        assert isinstance(value, allowed), f"{each.name} = {value!r:.60}"
        assert not isinstance(value, bool) or kind is bool, f"{each.name} is a truth value"
        assert not isinstance(value, str) or value.isascii() or value.encode()
        assert not isinstance(value, float) or isfinite(value), f"{each.name} is {value}"
