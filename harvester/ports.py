"""What the pipeline needs of the outside, as protocols: the stages implement them, tests may too."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, Protocol, TypeVar

from harvester.model import (
    AccessUnit,
    Category,
    Clip,
    Codec,
    Measurement,
    Picture,
    Rendition,
    Source,
    SourceKind,
    StreamInfo,
    VideoDetails,
    Vod,
    VodType,
)

SourceT_co = TypeVar("SourceT_co", bound=Source, covariant=True)


@dataclass(frozen=True, slots=True)
class ListingScope:
    """Which sources of a category are wanted; half-open time window ``[since, until)`` on ``created_at``, UTC."""

    languages: tuple[str, ...] = ()  # ISO 639-1; () = all
    period: str = "all"  # all | day | week | month, Helix's own for videos
    vod_types: tuple[VodType, ...] = tuple(VodType)
    min_views: int = 0
    min_duration_s: float = 0
    since: datetime | None = None
    until: datetime | None = None
    limit: int = 2000  # most sources to list
    known: frozenset[str] = field(default=frozenset(), repr=False)  # ids to count and not to list
    pace_per_h: float | None = None  # sources that came in an hour lately, as far as known; None = not known


@dataclass(frozen=True, slots=True)
class Listing(Generic[SourceT_co]):
    """Sources found, each id once, newest first, and why listing stopped there.

    ``stopped``: end | limit | requests (our bound) | cap (Twitch's own limit of a query) | broken-off (an answer
    that does not come) | repeated-cursor | no-new-ids | empty-page.
    """

    sources: tuple[SourceT_co, ...]
    stopped: str
    seen: int  # sources the service listed before our own filters: at least as many exist
    known: int = 0  # wanted ones of these that the scope calls known; not among ``sources``
    lost: int = 0  # queries and windows known to hold more than they gave
    cut: int = 0  # wanted ones that were found beyond the limit; not among ``sources``


@dataclass(frozen=True, slots=True)
class RateHeadroom:
    """A catalog's rate limit as its last answer told it; None where it did not."""

    limit: int | None = None  # points a minute
    remaining: int | None = None
    reset: datetime | None = None  # UTC, when the bucket is full again


class Catalog(Protocol):
    """Finds categories and their sources."""

    async def find_category(self, query: str) -> Category:
        """The category of that id or exact name. Digits are an id first, then a name; ``id:`` or ``name:`` force
        one. Raises UnknownCategory (with near matches, or the ids of several of one name)."""
        ...

    async def top_categories(self, count: int) -> Sequence[Category]:
        """The ``count`` categories with most viewers now."""
        ...

    async def list_vods(self, category: Category, scope: ListingScope) -> Listing[Vod]:
        """VODs listed under the category. Raises TryAgainLater when the listing cannot be completed."""
        ...

    async def list_clips(self, category: Category, scope: ListingScope) -> Listing[Clip]:
        """Clips of the category. Raises TryAgainLater when the listing cannot be completed."""
        ...

    async def find_source(self, category: Category, kind: SourceKind, source_id: str) -> Source:
        """One VOD or clip by id, to be labelled as ``category``. Raises SourceError if Twitch does not know it."""
        ...

    async def still_listed(self, kind: SourceKind, ids: Sequence[str]) -> set[str]:
        """Those of the sources that are public now. Raises CredentialsRefused, TryAgainLater."""
        ...

    async def clip_category(self, slug: str) -> Category:
        """The category of a clip. Raises SourceError if Twitch does not know it, UsageError if it has none."""
        ...

    async def headroom(self) -> RateHeadroom:
        """The rate limit now, at the cost of one question. Raises CredentialsRefused, TryAgainLater."""
        ...


class Details(Protocol):
    """Tells of a VOD what a catalog does not: its one category, chapters, previews. Nothing may depend on it."""

    async def of_vod(self, vod_id: str, *, previews: bool = True) -> VideoDetails | None:
        """What is told, in as many parts as came; None if none did. Raises SourceError ``gone``.

        ``previews``: whether its storyboard is asked for too.
        """
        ...


class Resolver(Protocol):
    """Turns a source into its renditions."""

    def offer(self, codecs: Collection[Codec]) -> None:
        """From now on renditions in these codecs are wanted, and no others."""
        ...

    async def renditions(self, source: Vod | Clip) -> Sequence[Rendition]:
        """All renditions offered. Raises SourceError (sub-only, gone, not-ready, region, broken)."""
        ...


class Look(Protocol):
    """A decoded picture, measured, that stays where its decoder keeps it until it is decided.

    Whoever drops the last reference to it gives its memory back, here or on a GPU.
    """

    @property
    def stream(self) -> StreamInfo: ...

    @property
    def measurement(self) -> Measurement: ...

    @property
    def decoder(self) -> str:
        """What decoded it: the dataset's column ``decoder``."""
        ...

    @property
    def nbytes(self) -> int:
        """Memory the picture holds, wherever (bytes)."""
        ...

    def picture(self) -> Picture:
        """The picture in host memory. Blocks; raises MediaError, or MachineError if its device is lost."""
        ...


class Decoder(Protocol):
    """Decodes and measures single random-access pictures. One instance belongs to one thread at a time."""

    name: str

    def look(self, unit: AccessUnit) -> Look:
        """The picture, cropped to display size, and its measurement. Blocks. Raises MediaError when it is corrupt
        or not supported, MachineError when what decodes is lost for good."""
        ...

    def close(self) -> None:
        """Release the codec contexts. Looks that are still held may not be able to give their picture any more."""
        ...
