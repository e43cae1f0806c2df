"""Chapters, storyboards and the category of a VOD, which Helix does not tell: one batched GQL question each.

The interface is the web player's, not a public one: everything here may stop working any day, so nothing depends
on it. Each operation is asked by its hash, then spelt out, then given up for this run; a refusal (integrity check,
client id) or an outage gives up all of them, with one warning. Whoever asks goes on with what Helix tells.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from harvester.config import Endpoints, Fetch
from harvester.errors import FetchError, SourceError, TryAgainLater
from harvester.model import VideoDetails
from harvester.stats import RequestKind, Traffic
from harvester.text import printable
from harvester.transport import Backoff, RateLimit, SharedLimits, Transport, retry_after_s
from harvester.twitch.connected import Connected
from harvester.twitch.diagnosis import document_of
from harvester.twitch.moments import chapters_of, metadata_of, storyboard_url_of, video_of
from harvester.twitch.operations import (
    CHAPTERS,
    CLIENT_ID,
    METADATA,
    OPERATIONS,
    PREVIEWS,
    Operation,
    Outcome,
    complaint_of,
    outcome_of,
)

#: An answer of three operations has some 3 kB, 100 chapters 50 kB (bytes).
ANSWER_BYTES = 4 << 20
#: Tries by hash before an operation is spelt out: good hashes are not found now and then.
HASH_TRIES = 3
#: VODs in a row for which an operation, or the whole service, failed in all its tries before it is given up.
FAILURES_IN_A_ROW = 3
#: Statuses that say: not you, or not like that.
_POLICY = frozenset([400, 401, 403])

_log = logging.getLogger(__name__)


class _Refused(Exception):
    """A matter of policy: GQL will refuse the next question too."""


@dataclass(slots=True)
class _Asking:
    """What one VOD's question has come to: ``data.video`` by operation, and tries that failed. ``wanted``: what is
    asked about it, as far as that is asked at all."""

    wanted: Sequence[Operation]
    answers: dict[str, Mapping[str, Any] | None] = field(default_factory=dict)
    failed: Counter[str] = field(default_factory=Counter)
    unknown_hash: Counter[str] = field(default_factory=Counter)
    rounds: int = 0


class GqlDetails(Connected):
    """Asks GQL about VODs, used as ``async with GqlDetails(...) as details``.

    ``limit``: the pace of all GQL questions of a run, shared with whoever else asks. ``headers``: how the player
    names itself, besides its client id. ``limits``: what it shares with the run's other clients.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        fetch: Fetch,
        traffic: Traffic,
        limit: RateLimit,
        headers: Mapping[str, str] | None = None,
        *,
        limits: SharedLimits | None = None,
    ) -> None:
        self._url = endpoints.gql
        host = urlsplit(endpoints.gql).hostname or ""
        super().__init__(
            Transport(fetch, loopback=endpoints.loopback, traffic=traffic, hosts=(host,), limits=limits)
        )
        self._turn = asyncio.Lock()  # one batch at a time, over one connection: those who open sources have more
        self._limit = limit
        self._attempts = fetch.attempts
        self._backoff = Backoff(fetch.retry_base_s, fetch.retry_max_s)
        self._headers = {**(headers or {}), "Client-ID": CLIENT_ID, "Content-Type": "application/json"}
        self._asked: Sequence[Operation] = OPERATIONS
        self._spelt_out: set[str] = set()
        self._failures: Counter[str] = Counter()

    @property
    def working(self) -> bool:
        """False once everything is given up for this run."""
        return bool(self._asked)

    async def of_vod(self, vod_id: str, *, previews: bool = True) -> VideoDetails | None:
        """What GQL tells of a VOD, in as many parts as came; None if none did. ``previews``: also its storyboard.

        Raises :class:`SourceError` ``gone`` (retryable) if there is no such VOD.
        """
        asking = _Asking([op for op in OPERATIONS if previews or op is not PREVIEWS])
        try:
            while pending := self._pending(asking):
                wait_s = await self._round(vod_id, pending, asking)
                if self._pending(asking):
                    await asyncio.sleep(self._backoff.wait_s(asking.rounds, wait_s))
        except _Refused as refusal:
            self._give_up(self._asked, f"it refuses us ({refusal})")
            return None
        self._count_failures(asking)
        return _details(vod_id, asking.answers)

    def _pending(self, asking: _Asking) -> list[Operation]:
        """Operations without an answer that may still get one."""
        open_ones = [op for op in self._asked_in(asking) if op.name not in asking.answers]
        return [op for op in open_ones if asking.failed[op.name] < self._attempts]

    def _asked_in(self, asking: _Asking) -> list[Operation]:
        return [op for op in self._asked if op in asking.wanted]

    async def _round(self, vod_id: str, pending: Sequence[Operation], asking: _Asking) -> float | None:
        """One request for all that is pending. Returns the seconds that Twitch asks us to wait, if it does."""
        asking.rounds += 1
        questions = [op.inline(vod_id) if op.name in self._spelt_out else op.persisted(vod_id) for op in pending]
        entries, wait_s = await self._post(questions)
        for op, entry in zip(pending, entries, strict=True):
            self._take(op, entry, vod_id, asking)
        return wait_s

    def _take(self, op: Operation, entry: object, vod_id: str, asking: _Asking) -> None:
        """Enter one operation's answer, or that it failed."""
        outcome = outcome_of(entry)
        if outcome is Outcome.REFUSED:
            raise _Refused(complaint_of(entry))
        if outcome is Outcome.ANSWERED:
            try:
                asking.answers[op.name] = video_of(entry, vod_id)
            except ValueError:
                asking.failed[op.name] += 1  # an answer to another question is none
        elif outcome is Outcome.UNKNOWN_HASH and op.name not in self._spelt_out:
            asking.unknown_hash[op.name] += 1
            if asking.unknown_hash[op.name] >= HASH_TRIES:
                self._spelt_out.add(op.name)
                _log.info("GQL does not know the hash of %s any more: spelt out from now on", op.name)
        else:
            asking.failed[op.name] += 1

    async def _post(self, questions: Sequence[dict[str, Any]]) -> tuple[Sequence[object], float | None]:
        """An entry for each question, None where no usable answer came; and how long Twitch asks us to wait."""
        nothing = [None] * len(questions)
        body = json.dumps(questions).encode()
        try:
            async with self._turn, self._limit:
                response = await self._transport.send(
                    "POST",
                    self._url,
                    kind=RequestKind.GQL,
                    headers=self._headers,
                    body=body,
                    limit_bytes=ANSWER_BYTES,
                )
        except (FetchError, TryAgainLater) as error:  # an outage ends what needs GQL, and nothing here does
            _log.info("GQL: %s", error)
            return nothing, None
        document = document_of(response.body)
        if response.status in _POLICY:
            raise _Refused(complaint_of(document) or f"status {response.status}")
        if response.status != 200:
            return nothing, retry_after_s(response.headers)
        if isinstance(document, dict):  # one complaint about the whole batch
            return [{key: value for key, value in document.items() if key != "data"}] * len(questions), None
        if isinstance(document, list) and len(document) == len(questions):
            return document, None
        return nothing, None

    def _count_failures(self, asking: _Asking) -> None:
        for op in self._asked_in(asking):
            self._failures[op.name] = 0 if op.name in asking.answers else self._failures[op.name] + 1
        lost = [op for op in self._asked if self._failures[op.name] >= FAILURES_IN_A_ROW]
        self._give_up(lost, f"no answer for {FAILURES_IN_A_ROW} VODs in a row")

    def _give_up(self, lost: Sequence[Operation], why: str) -> None:
        """Ask ``lost`` no more in this run."""
        if not lost:
            return
        names = ", ".join(op.name for op in lost)
        self._asked = [op for op in self._asked if op not in lost]
        _log.warning("GQL gives no more details of VODs in this run (%s): %s. The run goes on without", names, why)


def _details(vod_id: str, answers: Mapping[str, Mapping[str, Any] | None]) -> VideoDetails | None:
    """The parts that came as one record; None if none came. Raises SourceError ``gone``."""
    videos = {name: video for name, video in answers.items() if video is not None}
    if answers and not videos:
        raise SourceError(f"there is no VOD {printable(vod_id)} any more", reason="gone", retryable=True)
    if not videos:
        return None
    fields = metadata_of(videos.get(METADATA.name, {}))
    if CHAPTERS.name in videos:
        fields["chapters"] = chapters_of(videos[CHAPTERS.name], fields.get("length_s"))
    return VideoDetails(vod_id, storyboard_url=storyboard_url_of(videos.get(PREVIEWS.name, {})), **fields)
