"""``harvester plan``: what a run would fetch and what that would cost. Lists sources; fetches no media."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from harvester.config import Config
from harvester.errors import TryAgainLater
from harvester.model import Category
from harvester.pipeline.listing import Lister, Request, scope_key
from harvester.sampling.plan import Visit, plan_visits
from harvester.store.ledger import Ledger

#: Media bytes of one target: a 720p keyframe of a 3 Mbit/s rendition and what is read around it.
TARGET_BYTES = 150_000
#: Bytes of a stored 720p JPEG at quality 90, median of gameplay.
IMAGE_BYTES = 160_000
#: Share of targets that is kept; the rest are duplicates, idle pictures and failures.
EXPECTED_YIELD = 0.8
#: Targets a second over four polite connections at 40 ms and 720p; only the minutes shown depend on it.
TARGETS_PER_S = 25.0


@dataclass(frozen=True, slots=True)
class CategoryPlan:
    """What a run would do in one category. Bytes and minutes are estimates."""

    category: Category
    total: int  # kept frames there are
    target: int | None
    sources: Mapping[str, int] = field(default_factory=dict)  # to visit, by kind
    left_out: Mapping[str, int] = field(default_factory=dict)
    targets: int = 0
    requests: Mapping[str, int] = field(default_factory=dict)
    media_bytes: int = 0
    disk_bytes: int = 0
    minutes: float = 0.0
    note: str = ""


async def preview(
    config: Config, lister: Lister, ledger: Ledger, request: Request, category: Category
) -> CategoryPlan:
    """The plan of one category: the open pass if there is one, else what listing finds now."""
    total = ledger.kept_count(category.id)
    missing = None if request.frames is None else max(0, request.frames - total)
    if missing == 0:
        return CategoryPlan(category, total, request.frames, note="target met")
    open_pass = ledger.open_pass(category.id, scope_key(config.discover, request))
    if open_pass is not None:
        first = open_pass.last.round if open_pass.last else 0
        turns = range(first, ledger.last_round(open_pass.id) + 1)
        left = {visit.source_hash: visit for turn in turns for visit in ledger.visits(open_pass.id, turn)}
        note = "goes on with a listing that is not finished"
        return _costed(category, total, request, list(left.values()), left_out=Counter(), note=note)
    try:
        found = await lister.find(category, request)
    except TryAgainLater as error:
        return CategoryPlan(category, total, request.frames, note=f"not listed: {error}")
    note = "" if found.wishes else "no new sources"
    visits = list(plan_visits(0, found.wishes, config.sample)) if found.wishes else []
    return _costed(category, total, request, visits, left_out=found.left_out, note=note)


def _costed(
    category: Category, total: int, request: Request, visits: list[Visit], *, left_out: Counter[str], note: str
) -> CategoryPlan:
    offered = sum(visit.count for visit in visits)
    wanted = None if request.frames is None else round((request.frames - total) / EXPECTED_YIELD)
    targets = offered if wanted is None else min(offered, wanted)
    used = _visited(visits, targets)
    kinds = Counter(visit.source.kind for visit in used)
    requests = Counter(
        gql=kinds["vod"] + kinds["clip"],  # one access token each
        usher=kinds["vod"],
        playlist=kinds["vod"],
        media=targets + kinds["clip"],  # a clip's index is one more
    )
    return CategoryPlan(
        category,
        total,
        request.frames,
        sources=dict(Counter(visit.source.kind for visit in visits)),
        left_out=dict(left_out),
        targets=targets,
        requests=dict(requests),
        media_bytes=targets * TARGET_BYTES,
        disk_bytes=round(targets * EXPECTED_YIELD) * IMAGE_BYTES,
        minutes=targets / TARGETS_PER_S / 60,
        note=note,
    )


def _visited(visits: list[Visit], targets: int) -> list[Visit]:
    """Visits whose turn comes before ``targets`` targets are done, in order of rounds."""
    used: list[Visit] = []
    left = targets
    for visit in sorted(visits, key=lambda v: (v.first_round, v.broadcaster_hash, v.source_hash)):
        if left <= 0:
            break
        used.append(visit)
        left -= min(visit.count, visit.round_size)
    return used
