"""Asks Helix and its token service patiently: an even rate, retries, and the rate limit's own clock.

Twitch counts points: a bucket of 800 a minute for an application, told in ``Ratelimit-Limit``, ``-Remaining`` and
``-Reset`` (unix seconds) on every answer. An empty bucket is a 429; all queries then wait for the reset together.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from harvester.errors import FetchError, TryAgainLater
from harvester.ports import RateHeadroom
from harvester.stats import RequestKind
from harvester.text import printable, redact
from harvester.transport import Backoff, RateLimit, Response, Transport, retry_after_s, server_time, where

#: Tries of one question. With the base below: 1, 2, 4, 8 s at most between them, what Twitch's docs call for.
ATTEMPTS = 5
RETRY_BASE_S = 1.0
#: Longest single wait: the bucket refills within a minute, a few seconds more for clocks that differ.
RETRY_MAX_S = 65.0
#: A page of 100 videos is some 100 kB; a body larger than this is not Helix (bytes).
ANSWER_BYTES = 8 * 1024 * 1024

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that means something: its status, and its JSON object ({} when a refusal carries none)."""

    status: int
    data: Mapping[str, Any]

    @property
    def message(self) -> str:
        """What Twitch says about a refusal: for people only, its wording is no interface."""
        return redact(printable(str(self.data.get("message", ""))))


@dataclass(frozen=True, slots=True)
class _Trouble:
    """A try without a usable answer, and how long to wait before the next."""

    what: str
    wait_s: float
    retryable: bool = True
    rate_limited: bool = False


class Wire:
    """One question at a time over a :class:`Transport`, in a rate and with retries of its own."""

    def __init__(
        self, transport: Transport, *, requests_per_s: float, retry_base_s: float, retry_max_s: float
    ) -> None:
        self._transport = transport
        self._limit = RateLimit(requests_per_s)
        self._backoff = Backoff(retry_base_s, retry_max_s)
        self._resume_at_s = 0.0  # the event loop's clock; until then the bucket is empty
        self.headroom = RateHeadroom()

    async def ask(self, method: str, url: str, *, kind: RequestKind, headers: Mapping[str, str]) -> Answer:
        """An answer below 500 that is no 429; a 200 carries a JSON object.

        Raises :class:`TryAgainLater` when none came in :data:`ATTEMPTS` tries: ``rate-limited``, ``unavailable``.
        """
        attempt = 1
        while True:
            answer = await self._try(method, url, kind, headers, attempt)
            if isinstance(answer, Answer):
                return answer
            if attempt == ATTEMPTS or not answer.retryable:
                raise _gave_up(answer)
            _log.info("%s (try %d of %d)", answer.what, attempt, ATTEMPTS)
            await asyncio.sleep(answer.wait_s)
            attempt += 1

    async def _try(
        self, method: str, url: str, kind: RequestKind, headers: Mapping[str, str], attempt: int
    ) -> Answer | _Trouble:
        await self._wait_for_points()
        async with self._limit:
            pass
        try:
            response = await self._transport.send(
                method, url, kind=kind, headers=headers, limit_bytes=ANSWER_BYTES
            )
        except FetchError as error:
            return _Trouble(str(error), self._backoff.wait_s(attempt), retryable=error.retryable)
        self._note_rate(response, attempt)
        answer = _read(response)
        if answer is not None:
            return answer
        what = f"{where(url)} answered {response.status}"
        if response.status == 429:  # the wait is noted for all queries, and taken before the next try
            return _Trouble(what, 0.0, rate_limited=True)
        return _Trouble(what, self._backoff.wait_s(attempt, retry_after_s(response.headers)))

    async def _wait_for_points(self) -> None:
        delay_s = self._resume_at_s - asyncio.get_running_loop().time()
        if delay_s > 0:
            await asyncio.sleep(delay_s)

    def _note_rate(self, response: Response, attempt: int) -> None:
        headroom = _headroom(response.headers)
        if headroom.limit is not None or headroom.remaining is not None:
            self.headroom = headroom
        if response.status == 429 or headroom.remaining == 0:
            wait_s = self._backoff.wait_s(attempt, _reset_in_s(headroom, response.headers))
            self._resume_at_s = max(self._resume_at_s, asyncio.get_running_loop().time() + wait_s)


def _gave_up(trouble: _Trouble) -> TryAgainLater:
    if trouble.rate_limited:
        return TryAgainLater(
            f"Twitch's rate limit for this application is used up ({ATTEMPTS} tries): wait some minutes, "
            "or lower [discover] requests_per_s",
            reason="rate-limited",
        )
    return TryAgainLater(f"Twitch cannot be asked now: {trouble.what}; check the network, then try again")


def _read(response: Response) -> Answer | None:
    """None when it is a failure that may pass: 429, 5xx, a success that is no JSON object."""
    if response.status == 429 or response.status >= 500:
        return None
    try:
        data = _encodable(json.loads(response.body))
    except (ValueError, RecursionError):
        data = None
    if isinstance(data, dict):
        return Answer(response.status, data)
    return None if response.status == 200 else Answer(response.status, {})


def _encodable(data: Any) -> Any:
    """``data`` with lone surrogates, which JSON can spell but no URL, database or file can hold, as "?"."""
    try:
        json.dumps(data, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.loads(json.dumps(data, ensure_ascii=False).encode("utf-8", "replace"))
    return data


def _headroom(headers: Mapping[str, str]) -> RateHeadroom:
    reset = _whole(headers.get("Ratelimit-Reset"))
    return RateHeadroom(
        limit=_whole(headers.get("Ratelimit-Limit")),
        remaining=_whole(headers.get("Ratelimit-Remaining")),
        reset=None if reset is None else datetime.fromtimestamp(reset, UTC),
    )


def _whole(value: str | None) -> int | None:
    """A header's whole number; None if there is none, or one beyond any date (year 2286)."""
    text = (value or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else None


def _reset_in_s(headroom: RateHeadroom, headers: Mapping[str, str]) -> float | None:
    if headroom.reset is None:
        return retry_after_s(headers)
    return max(0.0, (headroom.reset - server_time(headers)).total_seconds())
