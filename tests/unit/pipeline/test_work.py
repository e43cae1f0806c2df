"""A target's work where its source is opened twice: what the second opening may say."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, cast

from harvester.config import Decode
from harvester.decode import open_backend
from harvester.errors import FetchError
from harvester.model import Label, Source, Target
from harvester.pipeline.opening import Located
from harvester.pipeline.work import Failed, OpenSources, Void, Worker
from harvester.sampling.plan import Opened, Part, Span
from harvester.stats import StageTimes
from tests.unit.pipeline.conftest import clip, visit


@dataclass(eq=False)
class Refused:
    """An open clip whose signature is refused."""

    targets: Mapping[int, Target]

    async def read(self, target: Target) -> Located:
        raise FetchError("no", reason="http-401", retryable=False, status=401)


@dataclass
class Changing:
    """Opens a clip that has two keyframes at first and then one."""

    opened: list[Refused] = field(default_factory=list)

    async def open(self, source: Source) -> Refused:
        count = 1 if self.opened else 2
        self.opened.append(Refused({k: Target(k, k, float(k), Label("clip", 0.9)) for k in range(count)}))
        return self.opened[-1]


def test_a_target_that_a_renewed_clip_no_longer_has_fails_and_is_tried_again() -> None:
    async def take() -> tuple[Any, int]:
        opener = Changing()
        sources = OpenSources(cast("Any", opener), cast("Any", None))
        with ThreadPoolExecutor(1) as executor:
            worker = Worker(sources, executor, open_backend(Decode()), StageTimes())
            result = await worker.take(visit(clip()), 1, lambda: None)
        return result, len(opener.opened)

    result, openings = asyncio.run(take())
    assert isinstance(result, Failed)
    assert (result.whole_source, result.error.reason, result.error.retryable) == (False, "broken", True)
    assert openings == 2


def test_a_source_that_is_known_to_have_no_more_targets_is_not_opened() -> None:
    """Of a pass that goes on after a bound: opened in vain, or gone meanwhile, it would count as a failure."""
    known = Part(0, 9, 0.0, 60.0, Opened(Span(5, 55), 2, True, ()))

    async def take(part: Part, places: range) -> tuple[list[Any], int]:
        opener = Changing()
        sources = OpenSources(cast("Any", opener), cast("Any", None))
        with ThreadPoolExecutor(1) as executor:
            worker = Worker(sources, executor, open_backend(Decode()), StageTimes())
            planned = replace(visit(clip(), count=9), part=part)
            return [await worker.take(planned, place, lambda: None) for place in places], len(opener.opened)

    results, openings = asyncio.run(take(known, range(2, 9)))
    assert ([type(result) for result in results], openings) == ([Void] * 7, 0)
    _, openings = asyncio.run(take(known, range(1, 2)))
    assert openings
    _, openings = asyncio.run(take(replace(known, opened=None), range(2, 3)))
    assert openings
