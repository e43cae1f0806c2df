"""Opens a VOD or clip and lists its renditions: a few streamlink sessions in threads, paced and retried.

:mod:`harvester.twitch.desk` is such a session, :mod:`harvester.twitch.adapter` what lies below its requests.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Collection, Sequence
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from harvester.clock import Clock
from harvester.config import Endpoints, Fetch
from harvester.model import Clip, Rendition, SourceKind, Vod
from harvester.stats import Traffic
from harvester.transport import AllowedHosts, Backoff, Proxies, RateLimit, SharedLimits
from harvester.twitch.adapter import Exchange
from harvester.twitch.desk import STREAMLINK_CODECS, Desk, cut_off_logs
from harvester.twitch.diagnosis import PassingTrouble
from harvester.twitch.questions import Questions
from harvester.twitch.workers import Workers

#: Sources opened at a time, each over a connection to GQL of its own: at 2 GQL requests a second and some 30 ms
#: each, more would only wait. With the one of :class:`~harvester.twitch.gql.GqlDetails` GQL sees four.
SLOTS = 3
#: Longest time for opening one source (seconds), pauses of a host and of an operation aside; several requests,
#: each with time-outs of its own.
RESOLVE_TIMEOUT_S = 90.0

_log = logging.getLogger(__name__)


class StreamlinkResolver:
    """A :class:`harvester.ports.Resolver`, used as ``async with StreamlinkResolver(...) as resolver``.

    Usher offers H.264 alone until :meth:`offer` is told of more.
    ``gql_limit``: the pace of all GQL questions of a run, where others ask too; None = alone.
    ``limits``: what it shares with the run's other clients. ``kinds``: of the sources that the run opens; while
    Twitch still gives one of them, its refusal of the other does not end the run. Raises :class:`ConfigError` if
    the environment names no proper proxy.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        fetch: Fetch,
        traffic: Traffic,
        clock: Clock,
        *,
        gql_limit: RateLimit | None = None,
        limits: SharedLimits | None = None,
        kinds: Collection[SourceKind] = (),
    ) -> None:
        cut_off_logs()
        limits = limits or SharedLimits()
        self._fetch = fetch
        self._clock = clock
        self._limit = gql_limit or RateLimit(fetch.gql_requests_per_s)
        self._backoff = Backoff(fetch.retry_base_s, fetch.retry_max_s)
        self._workers: Workers[list[Rendition]] = Workers(SLOTS)
        self._closed = threading.Event()
        self._idle: list[Desk] = []
        self._questions = Questions(limits.breakers.pauses_s, kinds)
        self._codecs: Collection[str] = ("h264",)
        proxies = Proxies.from_environment(loopback=endpoints.loopback)
        hosts = tuple(urlsplit(url).hostname or "" for url in (endpoints.gql, endpoints.usher))

        def new_desk() -> Desk:
            exchange = Exchange(
                hosts=AllowedHosts(endpoints.loopback, fetch.hosts + hosts),
                questions=self._questions,
                limits=limits,
                proxies=proxies,
                traffic=traffic,
                closed=self._closed,
                read_timeout_s=fetch.read_timeout_s,
            )
            codecs = [name for codec, name in STREAMLINK_CODECS.items() if codec in self._codecs]
            return Desk(endpoints, fetch, codecs, exchange)

        self._new_desk = new_desk
        self._timeout_s = RESOLVE_TIMEOUT_S + 2 * sum(limits.breakers.pauses_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release idle connections; calls under way send no further request."""
        self._closed.set()
        while self._idle:
            self._idle.pop().close()

    def offer(self, codecs: Collection[str]) -> None:
        """What the decoder at hand reads, of ``h264``, ``hevc``, ``av1``: usher offers no others to those who ask
        from now on; to be told before the first source is opened."""
        self._codecs = codecs

    async def renditions(self, source: Vod | Clip) -> Sequence[Rendition]:
        """All renditions offered, sound alone and portrait included (``has_video``, ``width`` tell them).

        Raises :class:`SourceError` as :func:`harvester.twitch.diagnosis.diagnose` says, ``no-video`` when there is
        sound only; what may pass is tried ``[fetch] attempts`` times. While Twitch is down, or refuses all that it
        is asked, it waits, then raises :class:`TryAgainLater`; once only sources of this kind are refused, a
        retryable :class:`SourceError` of reason ``refused``.
        """
        attempt = 1
        while True:
            try:
                return await self._open(source)
            except PassingTrouble as trouble:
                if attempt >= self._fetch.attempts or self._closed.is_set():
                    raise
                _log.info("%s %s: %s; try %d", source.kind, source.id, trouble, attempt)
            await asyncio.sleep(self._backoff.wait_s(attempt))
            attempt += 1

    async def _open(self, source: Vod | Clip) -> list[Rendition]:
        self._questions.check(source.kind)
        async with self._limit:
            pass
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._workers.call(lambda: self._work(source))
        except TimeoutError:
            raise PassingTrouble("opening the source takes too long", reason="unavailable") from None

    def _work(self, source: Vod | Clip) -> list[Rendition]:
        """In a thread: one desk, used by nobody else meanwhile."""
        desk = self._idle.pop() if self._idle else self._new_desk()
        try:
            return desk.open(source, self._clock)
        finally:
            if self._closed.is_set():
                desk.close()
            else:
                self._idle.append(desk)
