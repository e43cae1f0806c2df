"""Which bytes belong to which path: segments, init sections and clips of a world, made when first asked for.

Between the world (records) and :mod:`harvester.sandbox.media` (remux). Everything is a pure function of the
footage, so it is cached freely. Safe to call from several threads.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harvester.sandbox.encodes import Encodes
from harvester.sandbox.media import Reel, silence
from harvester.sandbox.world import (
    AUDIO_FOLDER,
    SOURCE_FOLDER,
    Clip,
    Piece,
    RenditionInfo,
    SegmentEntry,
    Video,
    World,
)

#: Remuxed bytes kept in memory; the whole package footage is a twentieth of it.
KEPT_BYTES = 256 << 20


class MediaReels:
    """The media of one world. ``cache_dir``: where encodes are kept; None = a folder of the platform's temp."""

    def __init__(self, world: World, cache_dir: Path | None = None) -> None:
        self._world = world
        self._encodes = Encodes(cache_dir)
        self._lock = threading.RLock()
        self._reels: dict[tuple[Piece, int], Reel] = {}
        self._renditions: dict[str, tuple[RenditionInfo, ...]] = {}
        self._entries: dict[tuple[str, int], tuple[SegmentEntry, ...]] = {}
        self._kept: OrderedDict[tuple[object, ...], bytes] = OrderedDict()
        self._kept_bytes = 0

    def prepare(self) -> int:
        """Encode whatever this world needs and the cache folder lacks; returns how many files were encoded."""
        return self._encodes.prepare(self._world.pieces())

    def renditions(self, video: Video) -> tuple[RenditionInfo, ...]:
        """The video qualities of ``video``, source first."""
        with self._lock:
            if video.id not in self._renditions:
                self._renditions[video.id] = tuple(self._rendition(video, height) for height in video.heights)
            return self._renditions[video.id]

    def height_of(self, video: Video, folder: str) -> int | None:
        """Height of the rendition in ``folder``, 0 for audio only, None if there is no such folder."""
        if folder == AUDIO_FOLDER:
            return 0
        return next((info.height for info in self.renditions(video) if info.folder == folder), None)

    def entries(self, video: Video, height: int) -> tuple[SegmentEntry, ...]:
        """The segments of a rendition; ``height`` 0: those of its sound, cut like the source."""
        key = (video.id, height or video.heights[0])
        with self._lock:
            if key not in self._entries:
                self._entries[key] = tuple(self._cut(video, key[1]))
            return self._entries[key]

    def segment(self, video: Video, height: int, number: int) -> bytes:
        """Bytes of a segment. Raises :class:`IndexError` if there is none of that number."""
        if number < 0:
            raise IndexError(number)
        entry = self.entries(video, height)[number]
        return self._keep(("segment", video.id, height, number), partial(self._segment, video, height, entry))

    def init(self, video: Video, height: int, index: int) -> bytes:
        """Bytes of init section ``index``. Raises :class:`IndexError` if there is none."""
        entry = next((e for e in self.entries(video, height) if e.init == index), None)
        if entry is None or video.container != "fmp4" or not height:
            raise IndexError(index)
        reel = self._reel(video.pieces[entry.piece], height)
        return self._keep(("init", video.id, height, index), reel.init)

    def inits(self, video: Video, height: int) -> list[bytes]:
        """All init sections of a rendition, in order; none for MPEG-TS."""
        if video.container != "fmp4" or not height:
            return []
        return [self.init(video, height, n) for n in sorted({entry.init for entry in self.entries(video, height)})]

    def segments(self, video: Video, height: int) -> list[bytes]:
        """All segments of a rendition."""
        return [self.segment(video, height, number) for number in range(len(self.entries(video, height)))]

    def shown_at(self, video: Video, height: int, offset_s: float) -> tuple[Piece, float]:
        """Which footage a player shows ``offset_s`` into the video: the piece, and seconds into its session.

        By the segments as they are listed: sum of EXTINF, then the pictures' own times. Raises
        :class:`ValueError` outside the video.
        """
        entries = self.entries(video, height)
        number = bisect_right(entries, offset_s + 1e-6, key=lambda entry: entry.start_s) - 1
        if number < 0 or offset_s < 0 or offset_s >= entries[-1].start_s + entries[-1].duration_s:
            raise ValueError(f"video {video.id} has nothing at {offset_s} s")
        entry = entries[number]
        piece = video.pieces[entry.piece]
        reel = self._reel(piece, height)
        inside_s = max(0.0, offset_s - entry.start_s)
        *earlier, last = entry.gops
        for gop in earlier:
            if inside_s < reel.seconds(gop) - 1e-6:
                return piece, reel.start_s(gop) + inside_s
            inside_s -= reel.seconds(gop)
        return piece, reel.start_s(last) + inside_s

    def clip(self, clip: Clip, height: int) -> bytes:
        """Bytes of a clip's MP4 of that height."""
        return self._keep(("clip", clip.id, height), partial(self._clip, clip, height))

    def picture(self, video: Video, at_s: float, width: int, height: int) -> NDArray[np.uint8]:
        """What plays ``at_s`` into ``video``, out of its smallest rendition, scaled: see :meth:`Reel.picture`.

        Raises :class:`ValueError` outside the video.
        """
        piece, second = video.footage_at(at_s)
        return self._reel(piece, video.heights[-1]).picture(second, width, height)

    def _clip(self, clip: Clip, height: int) -> bytes:
        reel = self._reel(clip.piece, height)
        chosen, position = [], 0.0
        for number in range(len(reel.gops)):
            if clip.start_s - 1e-6 <= position < clip.start_s + clip.duration_s - 1e-6:
                chosen.append(number)
            position += reel.seconds(number)
        return reel.mp4(chosen or [0])

    def _segment(self, video: Video, height: int, entry: SegmentEntry) -> bytes:
        delivery = video.delivery
        rising = (delivery.pts_mode or self._world.pts_mode) == "rising"
        at_s = delivery.first_pts_s + (entry.media_s if rising else 0.0)
        if not height:
            return silence(entry.duration_s, at_s)
        reel = self._reel(video.pieces[entry.piece], height)
        return (
            reel.fragment(entry.gops, at_s)
            if video.container == "fmp4"
            else reel.ts(entry.gops, at_s, sound=delivery.sound)
        )

    def _rendition(self, video: Video, height: int) -> RenditionInfo:
        reel = self._reel(video.pieces[-1], height)
        lines = min(reel.width, reel.height)  # of a portrait rendition too: 1080p60-portrait is 1080 wide
        name = f"{lines}p{round(reel.fps)}" + ("-portrait" if reel.height > reel.width else "")
        peak = 0.0
        for entry in self.entries(video, height):
            size = sum(self._reel(video.pieces[entry.piece], height).size_bytes(gop) for gop in entry.gops)
            peak = max(peak, size * 8 / entry.duration_s)
        folder = SOURCE_FOLDER if height == video.heights[0] else name
        codecs = reel.codecs + (",mp4a.40.2" if video.delivery.sound else "")
        # 1.1: what MPEG-TS adds to the coded bytes.
        return RenditionInfo(folder, name, reel.width, reel.height, reel.fps, codecs, round(peak * 1.1))

    def _cut(self, video: Video, height: int) -> Iterator[SegmentEntry]:
        """The segments as the playlist has them: EXTINF in whole milliseconds, with the errors meant to be."""
        listed_s = Decimal(0)
        for number, entry in enumerate(self._cut_media(video, height)):
            extinf_s = round(Decimal(entry.duration_s + video.delivery.extinf_error_s(number)), 3)
            yield replace(entry, start_s=float(listed_s), duration_s=float(extinf_s))
            listed_s += extinf_s

    def _cut_media(self, video: Video, height: int) -> Iterator[SegmentEntry]:
        """The segments at their true times."""
        start_s, init, last_configuration = 0.0, -1, b""
        for index, piece in enumerate(video.pieces):
            reel = self._reel(piece, height)
            changed = reel.configuration != last_configuration
            init, last_configuration = init + changed, reel.configuration
            runs = [*_gop_runs(reel, video.cutting.segment_s, video.cutting.rolling)] * video.cutting.repeats
            for first, gops in enumerate(runs):
                duration_s = sum(reel.seconds(gop) for gop in gops)
                discontinuity = changed and index > 0 and first == 0
                yield SegmentEntry(index, gops, start_s, duration_s, init, discontinuity, start_s)
                start_s += duration_s

    def _reel(self, piece: Piece, height: int) -> Reel:
        with self._lock:
            key = (piece, height)
            if key not in self._reels:
                path = self._encodes.path(piece, height) if piece.encoded else piece.session.file(height).path
                self._reels[key] = Reel(path, piece.session.seconds)
            return self._reels[key]

    def _keep(self, key: tuple[object, ...], make: Callable[[], bytes]) -> bytes:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            data = self._kept[key] = make()
            self._kept_bytes += len(data)
            while self._kept_bytes > KEPT_BYTES and len(self._kept) > 1:
                self._kept_bytes -= len(self._kept.popitem(last=False)[1])
            return data


def _gop_runs(reel: Reel, segment_s: float, rolling: bool) -> Iterator[tuple[int, ...]]:
    """GOP numbers of each segment: one after another, or rolling, starting one GOP later each time."""
    count = len(reel.gops)
    first = 0
    while first < count:
        run, length_s = [first], reel.seconds(first)
        while length_s < segment_s - 1e-3 and (rolling or run[-1] + 1 < count):
            run.append((run[-1] + 1) % count)
            length_s += reel.seconds(run[-1])
        yield tuple(run)
        first += 1 if rolling else len(run)
