"""From a source to its pictures: resolve, choose a rendition, read the playlist or index, choose the targets."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from harvester.config import Sample
from harvester.errors import FetchError, SourceError
from harvester.fetch.clips import ClipReader
from harvester.fetch.heads import HeadSizes
from harvester.fetch.segments import SegmentReader
from harvester.model import AccessUnit, Clip, Codec, Rendition, Segment, Source, Target, Vod
from harvester.ports import Resolver
from harvester.sampling.plan import choose_targets
from harvester.sampling.playlist import MediaPlaylist, parse_media_playlist
from harvester.sampling.renditions import order_renditions
from harvester.stats import RequestKind
from harvester.text import is_page
from harvester.transport import Transport

#: Longest media playlist read (bytes): 48 h in 10-s segments are about 0.5 MB.
PLAYLIST_LIMIT_BYTES = 16 << 20

#: Statuses of a rendition that is not there while others may be (facts: one variant 403, dead objects 404).
_ABSENT = frozenset({401, 403, 404, 410})


@dataclass(frozen=True, slots=True)
class Located:
    """An access unit and where its picture stands in the source (s from its start)."""

    unit: AccessUnit
    offset_s: float
    rendition: str


class OpenSource(Protocol):
    """A source whose targets are known and can be read, in any order."""

    targets: tuple[Target, ...]

    async def read(self, target: Target) -> Located:
        """Fetch one target. Raises TargetError."""
        ...


class OpenVod:
    """A VOD: only the segments of its targets are remembered."""

    def __init__(self, targets: tuple[Target, ...], segments: dict[int, Segment], reader: SegmentReader) -> None:
        self.targets = targets
        self._segments = segments
        self._reader = reader

    async def read(self, target: Target) -> Located:
        segment = self._segments[target.item]
        unit = await self._reader.read(segment)
        return Located(unit, segment.start_s + unit.moment_s, self._reader.rendition.name)


class OpenClip:
    """A clip whose index has been read."""

    def __init__(self, targets: tuple[Target, ...], reader: ClipReader, rendition: str) -> None:
        self.targets = targets
        self._reader = reader
        self._rendition = rendition
        reader.choose([target.item for target in targets])

    async def read(self, target: Target) -> Located:
        unit = await self._reader.read(target.item)
        return Located(unit, unit.moment_s, self._rendition)


class Opener:
    """Opens sources. One for a run: it shares what was learnt about the sizes of heads and indexes."""

    def __init__(
        self, resolver: Resolver, transport: Transport, sample: Sample, codecs: Collection[Codec]
    ) -> None:
        self._resolver = resolver
        self._transport = transport
        self._sample = sample
        self._codecs = codecs
        self._heads = HeadSizes()

    async def open(self, source: Source) -> OpenSource:
        """Resolve the source and find its targets. Raises TargetError, most often a SourceError.

        A clip whose signature is refused (401) is resolved once more, for a new one.
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
        candidates = order_renditions(renditions, min_height=self._sample.min_height, codecs=self._codecs)
        refused: FetchError | None = None
        for rendition in candidates:
            try:
                if isinstance(source, Clip):
                    return await self._open_clip(source, rendition)
                return await self._open_vod(source, rendition)
            except FetchError as error:
                if error.status not in _ABSENT or _signature_refused(source, error):
                    raise
                refused = error
        raise SourceError(
            f"{source.kind} {source.id}: no rendition can be read ({refused})", reason="gone", retryable=True
        )

    async def _open_vod(self, vod: Vod, rendition: Rendition) -> OpenVod:
        playlist = await self._playlist(rendition)
        starts_s = [segment.start_s for segment in playlist.segments]
        targets = choose_targets(vod, starts_s, playlist.total_s, self._sample)
        segments = {target.item: playlist.segments[target.item] for target in targets}
        return OpenVod(targets, segments, SegmentReader(self._transport, rendition, self._heads))

    async def _playlist(self, rendition: Rendition) -> MediaPlaylist:
        answer = await self._transport.get(
            rendition.url, kind=RequestKind.PLAYLIST, limit_bytes=PLAYLIST_LIMIT_BYTES, is_foreign=is_page
        )
        return parse_media_playlist(answer.body.decode("utf-8", "replace"), rendition.url)

    async def _open_clip(self, clip: Clip, rendition: Rendition) -> OpenClip:
        reader = await ClipReader.open(
            self._transport, rendition.url, duration_s=clip.duration_s, heads=self._heads
        )
        moments_s = [keyframe.moment_s for keyframe in reader.keyframes]
        targets = choose_targets(clip, moments_s, reader.duration_s, self._sample)
        return OpenClip(targets, reader, rendition.name)


def _signature_refused(source: Source, error: FetchError) -> bool:
    """One signature holds for all files of a clip: where one is refused, all are."""
    return isinstance(source, Clip) and error.status == 401
