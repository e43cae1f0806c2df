"""One target from its source to a measured picture: the part of the flow that runs in any order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime

from harvester.decode import Backend
from harvester.errors import FetchError, SourceError, TargetError
from harvester.model import AccessUnit, Label, Rank, Source
from harvester.pipeline.gone import SecondLook
from harvester.pipeline.opening import Located, Opener, OpenSource
from harvester.ports import Look
from harvester.sampling.plan import Visit
from harvester.stats import StageTimes, Wait

#: A signature that has expired (facts: clip MP4s answer 401, sometimes 403): the source is resolved once more.
_EXPIRED = frozenset({401, 403})


@dataclass(frozen=True, slots=True)
class Void:
    """The source has no such target (shorter than listed, or it could not be opened at an earlier rank)."""


@dataclass(frozen=True, slots=True)
class Capped:
    """The target was not begun: its broadcaster already has its share."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The target was not begun: nothing of its source may be taken any more."""

    reason: str


@dataclass(frozen=True, slots=True)
class Doubtful:
    """The target was not fetched: its label is not sure enough."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The target, or (``whole_source``) its source, could not be had."""

    error: TargetError
    whole_source: bool


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """A decoded and measured picture that waits for its turn to be decided. ``label``: that of its target;
    ``on_air``: as in Located."""

    k: int
    label: Label
    offset_s: float
    rendition: str
    look: Look
    on_air: datetime | None = None


Result = Void | Capped | Refused | Doubtful | Failed | Measured


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """A place of the rank order, with the work that is under way for it; ``turn``: its wait once that is done."""

    rank: Rank
    visit: Visit
    place: int
    task: asyncio.Task[Result]
    turn: Wait


class OpenSources:
    """Sources open at the moment, each opened once however many targets ask at the same time."""

    def __init__(self, opener: Opener, second_look: SecondLook) -> None:
        self._opener = opener
        self._second_look = second_look
        self._opening: dict[tuple[str, str, str], asyncio.Task[OpenSource]] = {}

    async def get(self, source: Source) -> OpenSource:
        """The open source. Raises what opening it raised, to everyone who asks."""
        key = _key(source)
        if key not in self._opening:
            self._opening[key] = asyncio.create_task(self._open(source))
        return await asyncio.shield(self._opening[key])

    async def _open(self, source: Source) -> OpenSource:
        try:
            return await self._opener.open(source)
        except TargetError as failure:
            raise await self._second_look.judge(source, failure) from None

    async def renew(self, source: Source, stale: OpenSource) -> OpenSource:
        """The source opened afresh, unless somebody has already replaced ``stale``."""
        key = _key(source)
        task = self._opening.get(key)
        if task is not None and task.done() and not task.cancelled() and task.exception() is None:
            if task.result() is not stale:
                return task.result()
            del self._opening[key]
        return await self.get(source)

    def forget(self, source: Source) -> None:
        """Let go of a source whose targets are all decided."""
        task = self._opening.pop(_key(source), None)
        if task is not None and not task.done():
            task.cancel()

    async def close(self) -> None:
        """Cancel what is still being opened."""
        tasks = list(self._opening.values())
        self._opening.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _key(source: Source) -> tuple[str, str, str]:
    """Two categories that ask for one source open it twice: neither can close the other's."""
    return source.category_id, source.kind, source.id


class Worker:
    """Takes targets through fetch, decode and measurement; decoding runs in the executor's threads."""

    def __init__(
        self,
        sources: OpenSources,
        executor: Executor,
        backend: Backend,
        times: StageTimes,
        min_confidence: float = 0.0,
    ) -> None:
        self._sources = sources
        self._min_confidence = min_confidence
        self._executor = executor
        self._backend = backend
        self._times = times

    async def take(self, visit: Visit, place: int, taken: Callable[[], None]) -> Result:
        """Do the work of one target; ``taken`` is called once it is known to exist."""
        if visit.is_void(
            place
        ):  # no reason to open it: it may be gone by now, with everything it had in the dataset
            return Void()
        try:
            with self._times.waiting("open"):
                source = await self._sources.get(visit.source)
        except TargetError as error:
            return Failed(error, whole_source=True)
        k = visit.target_number(place)
        if k not in source.targets:
            return Void()
        taken()
        label = source.targets[k].label
        if label.confidence < self._min_confidence:
            return Doubtful()
        try:
            located = await self._read(visit.source, source, k)
            with self._times.waiting("decode") as turn:
                loop = asyncio.get_running_loop()
                look = await loop.run_in_executor(self._executor, self._look, located.unit, turn)
        except TargetError as error:
            return Failed(error, whole_source=False)
        return Measured(k, label, located.offset_s, located.rendition, look, located.on_air)

    async def _read(self, source: Source, opened: OpenSource, k: int) -> Located:
        with self._times.waiting("network"):
            try:
                return await opened.read(opened.targets[k])
            except FetchError as error:
                if error.status not in _EXPIRED or source.kind != "clip":
                    raise
            renewed = await self._sources.renew(source, opened)
            if k not in renewed.targets:
                said = f"clip {source.id}: its files changed while it was read"
                raise SourceError(said, reason="broken", retryable=True)
            return await renewed.read(renewed.targets[k])

    def _look(self, unit: AccessUnit, turn: Wait) -> Look:
        turn.end()
        return self._backend.decoder().look(unit)
