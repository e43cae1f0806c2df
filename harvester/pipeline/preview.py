"""``harvester plan``: what a run would fetch and what that would cost. Lists sources; fetches no media."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from harvester.config import Config
from harvester.errors import TryAgainLater
from harvester.model import Category, Clip, Vod
from harvester.pipeline.listing import Listed, Lister, Request, scope_key
from harvester.pipeline.storyboards import worth_a_look
from harvester.sampling.parts import strongest
from harvester.sampling.plan import Visit, plan_visits
from harvester.store.ledger import Ledger
from harvester.store.passes import OpenPass

#: Media bytes of one target: a 720p keyframe of a 3 Mbit/s rendition and what is read around it.
TARGET_BYTES = 150_000
#: Requests for a storyboard: the file that lists it, and the one sheet of its smaller quality.
STORYBOARD_REQUESTS = 2
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
    listed: bool = True  # False: Twitch could not be asked now, or gave nothing of a category that had something
    labels: Mapping[str, int] = field(default_factory=dict)  # sources to visit, by what labels them
    listing: Mapping[str, Listed] = field(default_factory=dict)  # by kind; {} = nothing had to be listed


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
        note = "goes on with a listing that is not finished"
        undecided = _undecided(ledger, open_pass)
        return _costed(config, category, total, request, undecided, left_out=Counter(), note=note)
    try:
        found = await lister.find(category, request)
    except TryAgainLater as error:
        return CategoryPlan(category, total, request.frames, note=f"not listed: {error}", listed=False)
    suspicion = lister.suddenly_empty(category, request, found)
    wishes = (*found.wishes, *lister.elsewhere(category, request).wishes)
    note = str(suspicion or ("" if wishes else "no new sources"))
    offers = [(visit, visit.count) for visit in plan_visits(0, wishes, config.sample)]
    plan = _costed(config, category, total, request, offers, left_out=found.left_out, note=note)
    return replace(plan, listing=found.listed, listed=suspicion is None)


def _undecided(ledger: Ledger, open_pass: OpenPass) -> list[tuple[Visit, int]]:
    """Visits of an open pass with the number of their targets that are not decided."""
    last = open_pass.last
    visits = ledger.visits(open_pass.id, last.round if last else 0, through=ledger.last_round(open_pass.id))
    left = ((v, sum(last is None or v.rank(place) > last for place in range(v.count))) for v in visits)
    return [(visit, count) for visit, count in left if count]


def _costed(
    config: Config,
    category: Category,
    total: int,
    request: Request,
    offers: list[tuple[Visit, int]],
    *,
    left_out: Counter[str],
    note: str,
) -> CategoryPlan:
    offered = sum(count for _, count in offers)
    wanted = None if request.frames is None else round((request.frames - total) / EXPECTED_YIELD)
    targets = offered if wanted is None else min(offered, wanted)
    used = _visited(offers, targets)
    kinds = Counter(visit.source.kind for visit in used)
    asked = [visit.source for visit in used if _label(visit, gql=config.discover.details == "gql") == "asked"]
    looked_at = [source for source in asked if isinstance(source, Vod) and worth_a_look(source)]
    requests = Counter(
        gql=kinds["vod"] + kinds["clip"] + len(asked),  # one access token each, and one question for chapters
        usher=kinds["vod"],
        playlist=kinds["vod"],
        media=targets + kinds["clip"],  # a clip's index is one more
        **({"storyboard": STORYBOARD_REQUESTS * len(looked_at)} if config.sample.storyboard == "on" else {}),
    )
    return CategoryPlan(
        category,
        total,
        request.frames,
        sources=dict(Counter(visit.source.kind for visit, _ in offers)),
        left_out=dict(left_out),
        labels=dict(_labels(config, offers)),
        targets=targets,
        requests=dict(requests),
        media_bytes=targets * TARGET_BYTES,
        disk_bytes=round(targets * EXPECTED_YIELD) * IMAGE_BYTES,
        minutes=targets / TARGETS_PER_S / 60,
        note=note,
    )


def _labels(config: Config, offers: list[tuple[Visit, int]]) -> Counter[str]:
    """Sources to visit, by what labels them as far as that is known: "asked" is GQL when they are opened;
    "elsewhere": VODs that another category lists, known to show this one."""
    return Counter(_label(visit, gql=config.discover.details == "gql") for visit, _ in offers)


def _label(visit: Visit, *, gql: bool) -> str:
    if visit.part is not None and visit.part.opened is not None:
        return strongest([visit.part])
    if isinstance(visit.source, Clip):
        return "clip"
    if not visit.source.listed:
        return "elsewhere"
    return "asked" if gql else "listing"


def _visited(offers: list[tuple[Visit, int]], targets: int) -> list[Visit]:
    """Visits whose turn comes before ``targets`` targets are done, in order of rounds."""
    used: list[Visit] = []
    left = targets
    for visit, count in sorted(offers, key=lambda o: (o[0].first_round, o[0].broadcaster_hash, o[0].source_hash)):
        if left <= 0:
            break
        used.append(visit)
        left -= min(count, visit.round_size)
    return used
