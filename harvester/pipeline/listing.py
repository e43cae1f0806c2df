"""Discover: which categories are meant, and which sources a new pass of a category visits."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from harvester.clock import Clock
from harvester.config import Discover, Sample
from harvester.errors import TryAgainLater, UnknownCategory, UsageError
from harvester.model import Category, Source, SourceKind, Vod
from harvester.pipeline.admission import Admission
from harvester.pipeline.naming import NO_MEMORY, Memory, category_named, category_of_source
from harvester.ports import Catalog, Details, Listing, ListingScope
from harvester.sampling.categories import NON_GAMES, is_game
from harvester.sampling.parts import is_over, next_part
from harvester.sampling.plan import Part, Wish
from harvester.sampling.refill import refill_part
from harvester.store.ledger import Ledger
from harvester.text import printable
from harvester.vision.caps import NO_CAPS, Caps

#: Newest known clips that tell how many come in an hour, and how few tell nothing: below a page of them a listing
#: is as good with windows of a day.
PACE_CLIPS, FEW_CLIPS = 500, 100

#: Settings that leave sources of a category out.
_NARROWING = ("since", "until", "languages", "period", "vod_types", "min_views", "min_duration_s")


@dataclass(frozen=True, slots=True)
class Request:
    """What a run is asked for. ``frames``: the dataset's target per category, None = what is new."""

    categories: tuple[str, ...] = ()
    top: int = 0
    frames: int | None = None
    source: tuple[SourceKind, str] | None = None

    def __post_init__(self) -> None:
        if self.frames is not None and self.frames < 1:
            raise UsageError("--frames must be at least 1")


@dataclass(frozen=True, slots=True)
class Listed:
    """How complete the listing of one kind of sources is.

    ``found``: sources listed for this pass; ``known``: wanted ones that earlier passes took, on top of it;
    ``at_least``: sources that exist, of any kind and time, as far as seen; ``stopped``: why listing ended, and
    ``lost``: how many queries hold more than they gave (both as in :class:`harvester.ports.Listing`).
    """

    found: int
    at_least: int
    known: int = 0
    stopped: str = "end"
    lost: int = 0

    @classmethod
    def of(cls, listing: Listing[Source]) -> Listed:
        return cls(len(listing.sources), listing.seen, listing.known, listing.stopped, listing.lost)


@dataclass(frozen=True, slots=True)
class Found:
    """Sources of a category's new pass, and why others were left out. ``listed``: by kind; ``ended``: sources that
    had not ended when they were last sampled, and will give no more."""

    wishes: tuple[Wish, ...]
    left_out: Counter[str] = field(default_factory=Counter)
    listed: dict[str, Listed] = field(default_factory=dict)
    ended: tuple[Source, ...] = ()

    @property
    def sources(self) -> int:
        """Sources that Twitch listed at all."""
        return sum(listed.at_least for listed in self.listed.values())

    @property
    def nothing(self) -> bool:
        """True if Twitch listed nothing at all."""
        return self.sources == 0


async def find_categories(
    catalog: Catalog,
    request: Request,
    details: Details | None = None,
    *,
    other: bool = False,
    memory: Memory = NO_MEMORY,
) -> tuple[list[Category], list[UnknownCategory]]:
    """The request's categories, each once, in the order asked; and those that do not exist.

    Among the most watched ones those that are no games are passed over, unless ``other``: they are wanted.
    A single source asked for without a category has its own, as Twitch tells it. Raises UnknownCategory if there
    is none at all.
    """
    if request.source is not None and not request.categories:
        return [await category_of_source(catalog, details, *request.source)], []
    found: dict[str, Category] = {}
    unknown: list[UnknownCategory] = []
    for query in request.categories:
        try:
            category = await category_named(catalog, query, memory)
        except UnknownCategory as error:
            unknown.append(error)
        else:
            found.setdefault(category.id, category)
    if request.top:
        for category in await _most_watched(catalog, request.top, other=other):
            found.setdefault(category.id, category)
    if not found:
        nothing = "no category was asked for: give --category, --categories-file or --top"
        raise UnknownCategory("; ".join(map(str, unknown)) or nothing)
    return list(found.values()), unknown


async def _most_watched(catalog: Catalog, count: int, *, other: bool) -> Sequence[Category]:
    if other:
        return await catalog.top_categories(count)
    watched = await catalog.top_categories(count + len(NON_GAMES))
    return [category for category in watched if is_game(category)][:count]


def listing_scope(discover: Discover, limit: int, known: frozenset[str] = frozenset()) -> ListingScope:
    """The configured filters as a listing's scope; ``known`` sources do not count toward its limit."""
    return ListingScope(
        languages=discover.languages,
        period=discover.period,
        vod_types=discover.vod_types,
        min_views=discover.min_views,
        min_duration_s=discover.min_duration_s,
        since=discover.window[0],
        until=discover.window[1],
        limit=limit,
        known=known,
    )


def scope_key(discover: Discover, request: Request) -> str:
    """What a pass may be resumed for: the single source that was asked for, or the kinds and the narrowing."""
    if request.source is not None:
        return ":".join(request.source)
    narrowing = {key: value for key, value in _narrowing(discover).items() if value != _narrowing(Discover())[key]}
    return ",".join(sorted(discover.source_types)) + (json.dumps(narrowing, sort_keys=True) if narrowing else "")


def is_narrow(discover: Discover, request: Request) -> bool:
    """True if less than everything of a category is asked for: finding nothing then tells nothing."""
    whole = Discover()
    everything = set(discover.source_types) == set(whole.source_types)
    return request.source is not None or not everything or _narrowing(discover) != _narrowing(whole)


def _narrowing(discover: Discover) -> dict[str, Any]:
    return discover.model_dump(mode="json", include=set(_NARROWING))


@dataclass(frozen=True, slots=True)
class Lister:
    """Lists a category's sources and leaves out those that are known, forgotten or unwanted."""

    catalog: Catalog
    ledger: Ledger
    discover: Discover
    sample: Sample
    clock: Clock
    forgotten: Callable[[Source], bool]
    caps: Caps = NO_CAPS

    @property
    def admission(self) -> Admission:
        """Who may come in."""
        return Admission(self.discover, self.forgotten)

    def suddenly_empty(self, category: Category, request: Request, found: Found) -> TryAgainLater | None:
        """The error that it is when a category lists nothing at all and had sources before; None if it is none."""
        suspect = found.nothing and not is_narrow(self.discover, request)
        if not suspect or not self.ledger.has_listed(category.id):
            return None
        return TryAgainLater(
            f"category {printable(category.name)!r} (id:{category.id}) lists no sources although it had some"
            " before: Twitch may have an outage, try again later",
            reason="suddenly-empty",
        )

    async def find(self, category: Category, request: Request) -> Found:
        """New sources of the category and what there is to do for known ones, for the first new pass of a run."""
        again = is_narrow(self.discover, request)
        unfinished = self.ledger.unfinished_sources(category.id) if again else set()
        growing = self.ledger.growing_sources(category.id)
        known = self.ledger.known_sources(category.id)
        listings = await self._listings(category, request, known - unfinished - growing.keys())
        sources = [source for listing in listings.values() for source in listing.sources]
        wishes, left_out = self._choose(sources, known, unfinished, growing)
        for listing in listings.values():
            left_out["known"] += listing.known
            left_out["limit"] += listing.cut
            left_out["filtered"] += listing.seen - len(listing.sources) - listing.known - listing.cut
        chosen = {(wish.source.kind, wish.source.id) for wish in wishes}
        due = (w for w in self.again(category, request) if (w.source.kind, w.source.id) not in chosen)
        ended = tuple(s for s in sources if (s.kind, s.id) not in chosen and self._is_over(s, growing))
        listed = {kind: Listed.of(listing) for kind, listing in listings.items()}
        return Found((*wishes, *due), +left_out, listed, ended)

    def elsewhere(self, category: Category, request: Request) -> Found:
        """VODs that show the category though its own listings lack them, as passes of other categories found."""
        if request.source is not None:
            return Found(())
        holding = self.ledger.vods_holding(category.id, scope_key(self.discover, request))
        vods = [replace(vod, category_id=category.id, listed=False) for vod in holding]
        known, growing = self.ledger.known_sources(category.id), self.ledger.growing_sources(category.id)
        wishes, _ = self._choose(vods, known, set(), growing)
        return Found(tuple(wishes))

    async def _listings(
        self, category: Category, request: Request, known: set[tuple[SourceKind, str]]
    ) -> dict[str, Listing[Source]]:
        """Listings by kind; ``known`` sources are counted in them and left out."""
        if request.source is not None:
            source = await self.catalog.find_source(category, *request.source)
            return {source.kind: Listing((source,), "end", 1)}
        listings: dict[str, Listing[Source]] = {}
        if "vod" in self.discover.source_types:
            scope = listing_scope(self.discover, self.discover.max_vods, _ids(known, "vod"))
            listings["vod"] = await self.catalog.list_vods(category, scope)
        if "clip" in self.discover.source_types:
            scope = listing_scope(self.discover, self.discover.max_clips, _ids(known, "clip"))
            paced = replace(scope, pace_per_h=self._pace_per_h(category))
            listings["clip"] = await self.catalog.list_clips(category, paced)
        return listings

    def _pace_per_h(self, category: Category) -> float | None:
        """How many clips of the category came in an hour, by the newest that are known; None if few are."""
        made = self.ledger.newest_known(category.id, "clip", PACE_CLIPS)
        if len(made) < FEW_CLIPS:
            return None
        return len(made) * timedelta(hours=1) / max(made[0] - made[-1], timedelta(seconds=1))

    def _choose(
        self,
        sources: Sequence[Source],
        known: set[tuple[SourceKind, str]],
        unfinished: set[tuple[SourceKind, str]],
        growing: Mapping[tuple[SourceKind, str], datetime],
    ) -> tuple[list[Wish], Counter[str]]:
        """``unfinished``: those that a pass has listed and not decided are taken up now, for what is left.

        ``growing``: those that were live when they were sampled, for what has come to them since.
        """
        wishes: list[Wish] = []
        left_out: Counter[str] = Counter()
        admission = self.admission
        for source in map(admission.unlinked, sources):
            key = (source.kind, source.id)
            if refusal := admission.refusal(source):
                left_out[refusal] += 1
            elif (wish := self._again(source, unfinished, growing)) is not None:
                wishes.append(wish)
            elif key in known:
                left_out["known"] += 1
            elif source.duration_s <= 0:
                left_out["no-duration"] += 1
            else:
                wishes.append(Wish(source))
        return wishes, left_out

    def _again(
        self,
        source: Source,
        unfinished: Collection[tuple[SourceKind, str]],
        growing: Mapping[tuple[SourceKind, str], datetime],
    ) -> Wish | None:
        """What there is to do for a source that has been visited: what is undecided, or what came to it."""
        key = (source.kind, source.id)
        wish = self._rest(source) if key in unfinished else None
        return self._more(source, growing[key]) if wish is None and key in growing else wish

    def retries(self, category: Category, request: Request) -> list[Wish]:
        """Failures that were due again when the run started, for a further pass of the same run; and what was held
        back until there were more broadcasters, once there are."""
        held_back = self.caps.held_back(self.ledger.kept_by_broadcaster(category.id))
        wanted = self.discover.source_types if request.source is None else (request.source[0],)
        return [
            wish
            for source, targets in self.ledger.due_retries(category.id, self.clock.start, held_back)
            if source.kind in wanted
            and not self.admission.refusal(source)
            and (request.source is None or source.id == request.source[1])
            and (wish := self._retry(source, targets)) is not None
        ]

    def again(self, category: Category, request: Request) -> tuple[Wish, ...]:
        """What there is to do for known sources: :meth:`retries`, and for other VODs of the newest listing further
        moments in place of those that gave nothing."""
        retries = self.retries(category, request)
        busy = {wish.source.id for wish in retries if wish.source.kind == "vod"}
        vods = self.ledger.vods_visited(category.id, scope_key(self.discover, request))
        mine = (vod for vod in vods if vod.id not in busy and not self.admission.refusal(vod))
        return (*retries, *(Wish(vod, part=part) for vod in mine if (part := self._refill(vod)) is not None))

    def _refill(self, vod: Vod) -> Part | None:
        parts = self.ledger.parts_of(vod.category_id, vod.kind, vod.id)
        return refill_part(vod, parts, self.ledger.vain_targets(vod), self.sample) if parts else None

    def _retry(self, source: Source, targets: tuple[int, ...] | None) -> Wish | None:
        """The failed targets of a source, or (None) all of one that could not be opened; less what is decided."""
        return self._rest(source) if targets is None else Wish(source, targets)

    def _rest(self, source: Source) -> Wish | None:
        """The targets of a source that are not decided; None if all are."""
        decided = self.ledger.decided_targets(source.category_id, source.kind, source.id)
        parts = self.ledger.parts_of(source.category_id, source.kind, source.id)
        if not decided and len(parts) < 2:
            return Wish(source, part=parts[0] if parts else None)
        targets = tuple(k for part in parts for k in part.numbers if k not in decided)
        return Wish(source, targets) if targets else None

    def _more(self, source: Source, planned_at: datetime) -> Wish | None:
        """What a VOD that was live has grown by since it was sampled; None if that is not worth a visit yet."""
        parts = self.ledger.parts_of(source.category_id, source.kind, source.id)
        part = next_part(source, parts, self.clock.start - planned_at, self.sample)
        return None if part is None else Wish(source, part=part)

    def _is_over(self, source: Source, growing: Mapping[tuple[SourceKind, str], datetime]) -> bool:
        """True if a source that had not ended, and has nothing to be visited for now, will never have."""
        planned_at = growing.get((source.kind, source.id))
        if planned_at is None:
            return False
        parts = self.ledger.parts_of(source.category_id, source.kind, source.id)
        return is_over(source, parts, self.clock.start - planned_at, self.sample)


def _ids(sources: set[tuple[SourceKind, str]], kind: SourceKind) -> frozenset[str]:
    return frozenset(source_id for its_kind, source_id in sources if its_kind == kind)
