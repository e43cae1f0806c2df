"""Faults: which requests they happen to, and what becomes of the answer. Pure but for the count of requests.

A fault is written down as JSON (``POST /_control/faults``) or as a :class:`Fault`::

    {"match": {"method": "GET", "path": "^/helix/clips", "query": "after=", "header": {"Range": "bytes=0-"}},
     "action": {"status": 429, "headers": {"Ratelimit-Reset": "+2"}}, "times": 1, "skip": 1}

A fault of one GQL operation is known by what is ``sent``, the request's body. This one is a hash that has changed,
while the same question spelt out is answered::

    {"match": {"path": "^/gql", "sent": "PlaybackAccessToken.*persistedQuery"},
     "action": {"body": {"errors": [{"message": "PersistedQueryNotFound"}]}}, "times": 0}

For storms a fault has a ``probability``: whether it happens to the n-th request of a path depends on its seed,
the path and n alone, so that a storm is the same whatever order its requests come in.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: What each key of a fault's ``match`` and ``action`` must be, in JSON.
_MATCH: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("method", "path", "query", "sent"), (str,)),
    "header": (dict,),
}
_ACTION: Mapping[str, tuple[type, ...]] = {
    "status": (int,),
    "headers": (dict,),
    "body": (str, dict, list),
    "delay_s": (int, float),
    "drip": (int,),
    "cut": (int,),
    "reset": (bool,),
    "html": (bool,),
    "drop_headers": (list,),
    "empty_page_with_cursor": (bool,),
    "same_cursor": (bool,),
    "wrong_range": (bool,),
    "ignore_range": (bool,),
}
_WHOLE: Mapping[str, tuple[type, ...]] = {
    **{"match": (dict,), "action": (dict,), "times": (int,), "skip": (int,)},
    **{"probability": (int, float), "seed": (str, int)},
}
_WORDS = {
    str: "text",
    dict: "an object",
    list: "a list",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fault:
    """One kind of misbehaviour, for ``times`` requests (0 = for ever) after ``skip`` that match.

    Match, all of: ``method``; ``path``, ``query``: regular expressions searched in them; ``sent``: one for the
    request's body; ``header``: one for the value of each request header named. ``probability``: share of the
    requests that match; see ``seed`` above.

    Action, alone or together: ``status``, ``headers`` and ``body`` replace the answer's (a body without a status
    is a 200; ``b""`` the empty answer; a header ``Ratelimit-Reset: +2`` means two seconds from now). ``html``
    answers 200 with a web page. ``delay_s`` waits first; ``drip`` sends that many bytes a second; ``cut`` closes
    the connection after that many body bytes of the promised length; ``reset`` closes it without an answer.
    ``drop_headers`` leaves answer headers out (without Content-Length the body is chunked).
    ``empty_page_with_cursor`` and ``same_cursor`` spoil a Helix page: no entries and yet a cursor; the cursor
    that was asked with. ``wrong_range`` shifts a 206's Content-Range; ``ignore_range`` serves 200 and everything.

    Raises :class:`ValueError` for values that make no fault.
    """

    path: str = ""
    method: str = ""
    query: str = ""
    sent: str = ""
    header: Mapping[str, str] = field(default_factory=dict)
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    delay_s: float = 0
    drip: int = 0
    cut: int | None = None
    reset: bool = False
    html: bool = False
    drop_headers: tuple[str, ...] = ()
    empty_page_with_cursor: bool = False
    same_cursor: bool = False
    wrong_range: bool = False
    ignore_range: bool = False
    times: int = 1
    skip: int = 0
    probability: float = 1.0
    seed: str = ""

    @classmethod
    def from_json(cls, document: object) -> Fault:
        """A fault as JSON tells it (module docstring). Raises :class:`ValueError` that says which key is wrong."""
        whole = _checked(document, _WHOLE, "a fault")
        match = _checked(whole.pop("match", {}), _MATCH, "match")
        action = _checked(whole.pop("action", {}), _ACTION, "action")
        if "body" in action:
            body = action["body"]
            action["body"] = (body if isinstance(body, str) else json.dumps(body)).encode()
        for key in ("header", "headers"):
            holder = match if key == "header" else action
            holder[key] = {name: str(value) for name, value in holder.get(key, {}).items()}
        action["drop_headers"] = tuple(map(str, action.get("drop_headers", ())))
        whole["seed"] = str(whole.get("seed", ""))
        return cls(**match, **action, **whole)

    def __post_init__(self) -> None:
        for pattern in (self.path, self.query, self.sent, *self.header.values()):
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
        if self.status is not None and not 200 <= self.status <= 599:
            raise ValueError(f"status must be between 200 and 599, got {self.status}")
        if not 0 <= self.probability <= 1:
            raise ValueError(f"probability must be between 0 and 1, got {self.probability}")
        for name in ("times", "skip", "delay_s", "drip", "cut"):
            if (getattr(self, name) or 0) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")

    def matches(
        self, method: str, path: str, query: str, headers: Mapping[str, str] | None = None, sent: str = ""
    ) -> bool:
        """True if the fault is meant for such a request. ``headers``: with case-insensitive names."""
        wanted = not self.method or self.method.upper() == method
        shown = all(re.search(pattern, (headers or {}).get(name, "")) for name, pattern in self.header.items())
        searched = ((self.path, path), (self.query, query), (self.sent, sent))
        return wanted and shown and all(re.search(pattern, text, re.DOTALL) for pattern, text in searched)

    def strikes(self, method: str, path: str, number: int) -> bool:
        """True if it happens to the ``number``-th request of that path."""
        return self.probability == 1 or drawn(self.seed, method, path, number) < self.probability


def drawn(*key: object) -> float:
    """A number in [0, 1), uniform over keys and the same for ever for one."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    return float(int.from_bytes(digest[:6], "big") / 2**48)


def _checked(document: object, allowed: Mapping[str, tuple[type, ...]], what: str) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise ValueError(f"{what} must be an object")  # noqa: TRY004 (one kind of error for bad input)
    for key, value in document.items():
        kinds = allowed.get(key)
        if kinds is None:
            raise ValueError(f"{what} has no key {key!r}; there are {', '.join(allowed)}")
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise ValueError(f"{key} must be {' or '.join(_WORDS[kind] for kind in kinds)}, got {value!r}")
    return dict(document)


class FaultBook:
    """The faults waiting to happen, in the order they were written."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._left: dict[int, list[int]] = {}  # id of the fault -> [skips left, times left]
        self._asked: Counter[tuple[str, str]] = Counter()

    def add(self, fault: Fault) -> None:
        """Write a fault down."""
        with self._lock:
            self._faults.append(fault)
            self._left[id(fault)] = [fault.skip, fault.times]

    def clear(self) -> None:
        """Back to good behaviour."""
        with self._lock:
            self._faults.clear()
            self._left.clear()
            self._asked.clear()

    def take(
        self, method: str, path: str, query: str, headers: Mapping[str, str] | None = None, sent: str = ""
    ) -> Fault | None:
        """The fault that happens to this request, used up by one."""
        with self._lock:
            if not self._faults:
                return None
            self._asked[method, path] += 1
            number = self._asked[method, path]
            for fault in self._faults:
                meant = fault.matches(method, path, query, headers, sent) and fault.strikes(method, path, number)
                if meant and self._use(fault):
                    return fault
        return None

    def _use(self, fault: Fault) -> bool:
        left = self._left[id(fault)]
        if left[0] > 0:
            left[0] -= 1
            return False
        if fault.times and left[1] <= 0:
            return False
        left[1] -= 1
        return True
