"""How complete things are, in words: what a listing found of what exists, and what caps left out."""

from __future__ import annotations

from collections.abc import Mapping

from harvester.pipeline.listing import Listed

_NAMES = {"vod": "VODs", "clip": "clips"}

#: What labels a source most surely (``label_source``; "asked": GQL will be, when it is opened).
LABELLED_BY = {
    "clip": "by its clip",
    "chapter": "by chapters",
    "vod": "by the VOD's own category",
    "clip_span": "by clips of it",
    "listing": "by the listing alone",
    "elsewhere": "listed elsewhere and known to show it",
    "none": "of other categories",
    "asked": "to be asked for chapters",
}

#: What a cap has cost.
_CAPS = {
    "broadcaster-cap": "targets beyond max_per_broadcaster",
    "day-cap": "targets beyond max_per_day",
    "few-broadcasters": "targets held back until min_broadcasters have frames",
    "vod-cap": "moments beyond max_per_vod",
    "clip-cap": "moments beyond max_per_clip",
}

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


def listed_text(listed: Mapping[str, Listed]) -> str:
    """What the listings of a category found of what there is, and which went to their end; "" if there was none.

    Why the others stopped is told by :func:`shortfalls`.
    """
    kinds = [kind for kind in _NAMES if kind in listed]
    ended = [_NAMES[kind] for kind in kinds if listed[kind].stopped == "end"]
    to_the_end = f"; {' and '.join(ended)} to the end" if ended else ""
    return ", ".join(_count(kind, listed[kind]) for kind in kinds) + to_the_end


def labels_text(labels: Mapping[str, int]) -> str:
    """How many sources are labelled by what; "" if none was opened."""
    return ", ".join(f"{n} {LABELLED_BY[kind]}" for kind, n in labels.items() if n)


def caps_text(capped: Mapping[str, int]) -> str:
    """What each cap has cost; "" if none has cost anything."""
    return ", ".join(f"{n} {_CAPS.get(cap, cap)}" for cap, n in capped.items() if n)


def _is_short(entry: Listed) -> bool:
    """A limit of 0 asks for nothing, and nothing is short."""
    return entry.stopped != "end" and (entry.stopped != "limit" or entry.found > 0)


def _shortfall(kind: str, entry: Listed) -> str:
    lost = "one question" if entry.lost == 1 else f"{entry.lost} questions"
    why = _WHY.get(entry.stopped, entry.stopped).format(kind=kind, lost=lost)
    more = "" if entry.stopped == "limit" else "; more exist or may exist"
    return f"{_count(kind, entry)}: {why}{more}"


def _count(kind: str, entry: Listed) -> str:
    besides = f" and {entry.known} known" if entry.known else ""
    return f"{entry.found} new {_NAMES[kind]}{besides} of at least {entry.at_least}"
