"""An assumption about the outside, and what was found when it was looked at."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from harvester.errors import FetchError, HarvesterError
from harvester.text import printable

if TYPE_CHECKING:
    from live.scene import Scene

#: What looking at answers of unknown shape may raise; more would hide a fault of the check itself.
UNTOLD_BY = (HarvesterError, ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError)


class Answer(StrEnum):
    """Whether an assumption holds."""

    HOLDS = "holds"
    FAILS = "does not hold"
    UNTOLD = "could not tell"


class CannotTell(Exception):
    """What was found supports neither answer; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Finding:
    """An answer with its evidence: numbers and public names, never a token or a signed URL. ``lines``: a table."""

    answer: Answer
    evidence: str
    lines: tuple[str, ...] = ()

    @classmethod
    def of(cls, holds: bool, evidence: str, lines: tuple[str, ...] = ()) -> Finding:
        """``holds`` as an answer."""
        return cls(Answer.HOLDS if holds else Answer.FAILS, evidence, lines)


@dataclass(frozen=True, slots=True)
class Assumption:
    """Something that harvester takes for granted. ``otherwise``: what it means for harvester if it is not so."""

    number: int
    text: str
    otherwise: str
    look: Callable[[Scene], Awaitable[Finding]]

    async def examine(self, scene: Scene) -> Finding:
        """Look at it. Whatever goes wrong meanwhile is a finding too: could not tell, and why."""
        try:
            return await self.look(scene)
        except CannotTell as reason:
            return Finding(Answer.UNTOLD, str(reason))
        except UNTOLD_BY as error:
            refused = isinstance(error, FetchError) and error.reason == "host-refused"
            return Finding(Answer.FAILS if refused else Answer.UNTOLD, told_of(error))


def told_of(error: Exception) -> str:
    """Our own messages hold no secrets; of other errors nobody knows, so their kind is all that is shown."""
    if isinstance(error, HarvesterError):
        return printable(f"{error} ({error.reason})", 300)
    return f"an answer of unknown shape ({type(error).__name__})"
