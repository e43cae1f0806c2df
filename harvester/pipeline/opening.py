"""From a source to its pictures: resolve, choose a rendition, read the playlist or index, choose the targets."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from harvester.config import Sample
from harvester.errors import FetchError, SourceError, TargetError
from harvester.fetch.clips import ClipReader
from harvester.fetch.heads import HeadSizes
from harvester.fetch.segments import SegmentReader
from harvester.model import (
    AccessUnit,
    Clip,
    Codec,
    Rendition,
    Segment,
    Source,
    Target,
    VideoDetails,
    Vod,
)
from harvester.pipeline.storyboards import Foreseen, Storyboards, worth_a_look
from harvester.ports import Details, Resolver
from harvester.sampling.changes import with_doubts
from harvester.sampling.doubt import begun, passed_over, with_unlike
from harvester.sampling.labels import Evidence, Extent, labelled_spans, usable
from harvester.sampling.parts import UNSETTLED_SEGMENTS, Media, cut_off, open_parts, strongest
from harvester.sampling.plan import first_part
from harvester.sampling.playlist import MediaPlaylist, later, parse_media_playlist
from harvester.sampling.refill import are_known
from harvester.sampling.renditions import obstacle, order_renditions
from harvester.sampling.storyboard import Tiles, busy, idle_spans
from harvester.sampling.unplayed import with_unplayed
from harvester.stats import RequestKind
from harvester.store.parts import Parts
from harvester.text import is_page
from harvester.transport import Transport

#: Longest media playlist read (bytes): 48 h in 10-s segments are about 0.5 MB.
PLAYLIST_LIMIT_BYTES = 16 << 20

#: Statuses of a rendition that is not there while others may be (facts: one variant 403, dead objects 404).
_ABSENT = frozenset({401, 403, 404, 410})


@dataclass(frozen=True, slots=True)
class Located:
    """An access unit and where its picture stands in the source (s from its start).

    ``on_air``: UTC of the picture, None where the source does not date it.
    """

    unit: AccessUnit
    offset_s: float
    rendition: str
    on_air: datetime | None = None


class OpenSource(Protocol):
    """A source whose targets are known and can be read, in any order."""

    targets: Mapping[int, Target]  # by number

    async def read(self, target: Target) -> Located:
        """Fetch one target. Raises TargetError."""
        ...


class OpenVod:
    """A VOD: only the segments of its targets are remembered."""

    def __init__(self, targets: Mapping[int, Target], segments: dict[int, Segment], reader: SegmentReader) -> None:
        self.targets = targets
        self._segments = segments
        self._reader = reader

    async def read(self, target: Target) -> Located:
        segment = self._segments[target.item]
        unit = await self._reader.read(segment)
        on_air = later(segment.program_date_time, unit.moment_s)
        return Located(unit, segment.start_s + unit.moment_s, self._reader.rendition.name, on_air)


class OpenClip:
    """A clip whose index has been read."""

    def __init__(self, targets: Mapping[int, Target], reader: ClipReader, rendition: str) -> None:
        self.targets = targets
        self._reader = reader
        self._rendition = rendition
        reader.choose([target.item for target in targets.values()])

    async def read(self, target: Target) -> Located:
        unit = await self._reader.read(target.item)
        return Located(unit, unit.moment_s, self._rendition)


class Opener:
    """Opens sources. One for a run: it shares what was learnt about the sizes of heads and indexes."""

    def __init__(
        self,
        resolver: Resolver,
        transport: Transport,
        sample: Sample,
        codecs: Collection[Codec],
        parts: Parts,
        *,
        details: Details | None = None,
    ) -> None:
        self._resolver = resolver
        self._transport = transport
        self._sample = sample
        self._codecs = codecs
        self._parts = parts
        self._details = details
        self._labels: dict[tuple[str, str, str], str] = {}  # what labels a source, by category, kind and id
        self._cut: dict[tuple[str, str, str], int] = {}  # moments beyond the cap of one source, by the same
        self._untold: set[str] = set()
        self._storyboards = Storyboards(transport) if sample.storyboard == "on" else None
        self._heads = HeadSizes()
        self._reading = asyncio.Lock()

    def labels(self, category_id: str) -> Counter[str]:
        """How many sources of the category were opened, by what most surely labels them ("none": nothing does)."""
        return Counter(label for (category, _, _), label in self._labels.items() if category == category_id)

    def cut_off(self, category_id: str) -> Counter[str]:
        """Moments of the category's opened sources that are not sampled because one source may give no more."""
        cut: Counter[str] = Counter()
        for (category, kind, _), moments in self._cut.items():
            cut[f"{kind}-cap"] += moments * (category == category_id)
        return +cut

    @property
    def untold(self) -> int:
        """VODs opened of which nobody told the chapters."""
        return len(self._untold)

    @property
    def foreseen(self) -> Foreseen:
        """What storyboards told of the VODs opened, and saved."""
        return Foreseen() if self._storyboards is None else self._storyboards.foreseen

    async def open(self, source: Source) -> OpenSource:
        """Resolve the source and find its targets, in the first rendition that can be read.

        A clip whose signature is refused (401) is resolved once more, for a new one. Raises TargetError: a
        :class:`SourceError` that says of every rendition why it is not read, or what may pass.
        """
        for _first in (True, False):
            try:
                return await self._open(source)
            except FetchError as error:
                if not _signature_refused(source, error):
                    raise
        raise SourceError(f"clip {source.id}: new signatures are refused too", reason="broken", retryable=True)

    async def _open(self, source: Source) -> OpenSource:
        renditions = await self._resolver.renditions(source)
        unread = [f"{r.name}: {why}" for r in renditions if (why := obstacle(r, self._codecs))]
        errors: list[TargetError] = []
        for rendition in order_renditions(renditions, min_height=self._sample.min_height, codecs=self._codecs):
            try:
                if isinstance(source, Clip):
                    return await self._open_clip(source, rendition)
                return await self._open_vod(source, rendition)
            except TargetError as error:
                passing = isinstance(error, FetchError) and error.retryable
                if passing or _signature_refused(source, error):
                    raise  # the others lie on the same server, under the same signature
                errors.append(error)
                unread.append(f"{rendition.name}: {error}")
        raise _unreadable(f"{source.kind} {source.id}: no rendition can be read: {'; '.join(unread)}", errors)

    async def _open_vod(self, vod: Vod, rendition: Rendition) -> OpenVod:
        playlist = await self._playlist(rendition)
        starts_s = [segment.start_s for segment in playlist.segments]
        settled_s = playlist.total_s if playlist.ended else starts_s[-UNSETTLED_SEGMENTS:][0]
        targets, tiles = await self._targets(vod, Media(starts_s, settled_s, playlist.ended))
        segments = {target.item: playlist.segments[target.item] for target in targets.values()}
        detail_at = None if tiles is None else tiles.detail_at
        return OpenVod(targets, segments, SegmentReader(self._transport, rendition, self._heads, detail_at))

    async def _playlist(self, rendition: Rendition) -> MediaPlaylist:
        answer = await self._transport.get(
            rendition.url, kind=RequestKind.PLAYLIST, limit_bytes=PLAYLIST_LIMIT_BYTES, is_foreign=is_page
        )
        text = answer.body.decode("utf-8", "replace")
        # 48 h take 0.1 s, the longest hostile one some seconds: other sources go on meanwhile. One at a time:
        # Python reads two no faster, and 48 h need 5 MB until their targets are chosen (then 0.02 MB).
        async with self._reading:
            playlist = await asyncio.to_thread(parse_media_playlist, text, answer.url)
        if not playlist.segments:  # of a broadcast that has just begun there will be some
            reason = "no-segments" if playlist.ended else "not-ready"
            raise SourceError("its playlist holds no segments", reason=reason, retryable=not playlist.ended)
        return playlist

    async def _open_clip(self, clip: Clip, rendition: Rendition) -> OpenClip:
        reader = await ClipReader.open(
            self._transport, rendition.url, duration_s=clip.duration_s, heads=self._heads
        )
        moments_s = [keyframe.moment_s for keyframe in reader.keyframes]
        length_s = min((s for s in (clip.duration_s, reader.duration_s) if s > 0), default=0.0)
        targets, _ = await self._targets(clip, Media(moments_s, length_s, ended=True))
        return OpenClip(targets, reader, rendition.name)

    async def _targets(self, source: Source, media: Media) -> tuple[dict[int, Target], Tiles | None]:
        """The source's targets by number, and its storyboard if that was looked at. What opening a part found, and
        by which evidence it is labelled, is committed before one of them is decided."""
        known = self._parts.parts_of(source.category_id, source.kind, source.id)
        planned, tiles = known or (first_part(source, self._sample),), None
        if are_known(planned):
            parts, targets = open_parts(source, planned, media, self._sample, ())
            if parts != planned:
                await asyncio.to_thread(self._parts.remember_opened, source, parts)
        else:
            evidence, tiles = await self._evidence(source, media)
            spans = labelled_spans(source, evidence, Extent(media.edge_s, media.ended), self._sample)
            if tiles is not None:
                looked_at = tiles, spans, _length_s(media)
                evidence = await asyncio.to_thread(with_unplayed, evidence, *looked_at)
                evidence = await asyncio.to_thread(with_unlike, evidence, *looked_at)
            sure = usable(spans, source.category_id, self._sample.min_confidence)
            count = sum(part.count for part in planned)
            unseen = begun(sure, media.moments_s, count, self._sample) if isinstance(source, Vod) else sure
            no_play = passed_over(evidence, source.category_id, seen=tiles is not None)
            left = busy(unseen if evidence.glance is None else sure, no_play)
            parts, targets = await asyncio.to_thread(
                open_parts, source, planned, media, self._sample, left, tiles=tiles
            )
            if evidence.idle and isinstance(source, Vod) and self._storyboards is not None:
                _, plain = open_parts(source, planned, media, self._sample, unseen)
                self._storyboards.skip(source, plain, evidence.idle)
            held = {s.category_id for s in spans if s.label.confidence >= self._sample.min_confidence}
            held.discard(source.category_id)
            # a commit waits for the disk: others go on meanwhile
            await asyncio.to_thread(self._parts.remember_opened, source, parts, evidence, held)
        key = source.category_id, source.kind, source.id
        self._labels[key], self._cut[key] = strongest(parts), cut_off(source, parts, self._sample)
        return targets, tiles

    async def _evidence(self, source: Source, media: Media) -> tuple[Evidence, Tiles | None]:
        """What is known of the source now, with its storyboard; of a VOD that its category's listing lacks, what
        was known before."""
        if isinstance(source, Clip):
            return Evidence(source.category_id), None
        if not source.listed:
            return self._parts.evidence_of(source) or Evidence(None), None
        clips = self._parts.clips_of(source)
        told = None if self._details is None else await self._told(self._details, source)
        if told is None or told.chapters is None:
            self._untold.add(source.id)
        if told is None:
            return Evidence(source.category_id, clips=clips), None
        game = told.category.id if told.category else None
        board = self._storyboard(source)
        tiles = None if board is None else await board.tiles(source, told)
        evidence = Evidence(source.category_id, told.chapters, game, clips)
        if tiles is None:
            return evidence, None
        evidence = replace(evidence, idle=idle_spans(tiles, _length_s(media)))
        return with_doubts(evidence, tiles, Extent(media.edge_s, media.ended)), tiles

    def _storyboard(self, vod: Vod) -> Storyboards | None:
        """What looks at the VOD's storyboard; None if nobody does."""
        return self._storyboards if worth_a_look(vod) else None

    async def _told(self, details: Details, vod: Vod) -> VideoDetails | None:
        """What GQL tells of the VOD; that it knows of none does not matter once the VOD plays."""
        try:
            return await details.of_vod(vod.id, previews=self._storyboard(vod) is not None)
        except SourceError:
            return None


def _length_s(media: Media) -> float:
    """How long a VOD is; without end as long as it grows."""
    return media.edge_s if media.ended else math.inf


def _is_absent(error: TargetError) -> bool:
    return isinstance(error, FetchError) and error.status in _ABSENT


def _unreadable(message: str, errors: Sequence[TargetError]) -> SourceError:
    """All renditions failed: for the reason of the best one that is there; if none is, they are gone."""
    told = next((error for error in errors if not _is_absent(error)), None)
    if told is None:
        return SourceError(message, reason="gone", retryable=True)
    return SourceError(message, reason=told.reason, retryable=any(error.retryable for error in errors))


def _signature_refused(source: Source, error: TargetError) -> bool:
    """One signature holds for all files of a clip: where one is refused, all are."""
    return isinstance(source, Clip) and isinstance(error, FetchError) and error.status == 401
