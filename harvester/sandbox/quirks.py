"""How Helix's listings misbehave in a world, as they have been seen to on Twitch (twitchdev/issues)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

#: What follows the last clip that Helix gives of a query: nothing; the first ones again under ever new cursors
#: (#1188, 2026); the same cursor for ever (#1045, 2025); status 500 (#360, 2021); empty pages with cursors.
Beyond = Literal["end", "repeat", "stuck", "error", "empty"]


@dataclass(frozen=True, slots=True)
class ListingQuirks:
    """``clip_cap``: clips given of a query, and ``beyond`` what comes after them. ``leak``: clips from so much
    before ``started_at`` come back (#521). ``wide_loss``: windows wider than a day that hold more than a page lose
    every third clip (#48, #80). ``page``: most items a page."""

    clip_cap: int = 1000
    beyond: Beyond = "end"
    leak: timedelta = timedelta(0)
    wide_loss: bool = False
    page: int = 100

    def __post_init__(self) -> None:
        if not (self.clip_cap >= 1 and 1 <= self.page <= 100 and self.leak >= timedelta(0)):
            raise ValueError(f"no such listings: {self!r}")
