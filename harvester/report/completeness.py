"""How complete a listing is, in words: what was found of what exists, and why there may be more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harvester.pipeline.listing import Listed

_NAMES = {"vod": "VODs", "clip": "clips"}

#: Why a listing that stopped so may lack something; the others are complete.
_WHY = {
    "limit": "as many as [discover] max_{kind}s allows; a later run goes on with others",
    "requests": "stopped after as many requests as one listing may take",
    "cap": "Twitch gives no more of {lost} than its limit of a query",
    "broken-off": "Twitch broke {lost} off",
    "repeated-cursor": "Twitch gave the same page mark again",
    "no-new-ids": "Twitch repeated what it had given",
    "empty-page": "Twitch gave an empty page and promised more",
}


def shortfalls(listed: Mapping[str, Listed]) -> list[str]:
    """A line for each kind of which more may exist than was listed."""
    return [_shortfall(kind, entry) for kind, entry in listed.items() if _is_short(entry)]


def listed_text(parts: Sequence[Mapping[str, Listed]]) -> str:
    """What several listings found in all; "" if there was none."""
    counts = [_count(kind, [part[kind] for part in parts if kind in part]) for kind in _NAMES]
    return ", ".join(count for count in counts if count)


def _is_short(entry: Listed) -> bool:
    """A limit of 0 asks for nothing, and nothing is short."""
    return entry.stopped != "end" and (entry.stopped != "limit" or entry.found > 0)


def _shortfall(kind: str, entry: Listed) -> str:
    lost = "one question" if entry.lost == 1 else f"{entry.lost} questions"
    why = _WHY.get(entry.stopped, entry.stopped).format(kind=kind, lost=lost)
    more = "" if entry.stopped == "limit" else "; more exist or may exist"
    return f"{_count(kind, [entry])}: {why}{more}"


def _count(kind: str, entries: Sequence[Listed]) -> str:
    if not entries:
        return ""
    found, known, at_least = (sum(getattr(e, name) for e in entries) for name in ("found", "known", "at_least"))
    besides = f" and {known} known" if known else ""
    return f"{found} new {_NAMES[kind]}{besides} of at least {at_least}"
