"""Fragmented MP4 (CMAF) segments: an init section once, then ``moof`` + ``mdat`` pairs.

A ``moof`` names the size, time and kind of every sample of its fragment, in front of their bytes. So a head that
holds the ``moof`` tells exactly how long it must be to hold the first picture.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from harvester.errors import MediaError, NeedMoreData
from harvester.media.boxes import Container, top_level, unsigned
from harvester.media.fragments import Fragment, FragmentReader, SampleDefaults
from harvester.media.movie import Edit, Movie, SampleEntry, parse_movie
from harvester.model import AccessUnit, Codec, StreamInfo

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harvester.media.nal import RandomAccess

#: Largest picture that is asked for (bytes). An intra picture of 2160 lines at 40 Mbit/s is about 1.5 MB.
MAX_PICTURE_BYTES = 32 << 20
#: Sync samples looked into before the segment is given up: each costs a read of its bytes.
MAX_CANDIDATES = 64


@dataclass(frozen=True, slots=True)
class Init:
    """An init section. ``defaults``: of every track by its id (audio too: its bytes may lie in front)."""

    track_id: int
    timescale: int  # ticks a second
    entries: tuple[SampleEntry, ...] = field(repr=False)
    defaults: Mapping[int, SampleDefaults]
    edits: tuple[Edit, ...] = ()

    @property
    def entry(self) -> SampleEntry:
        """The first sample description that is read."""
        return next(entry for entry in self.entries if entry.codec is not None)

    @property
    def codec(self) -> Codec:
        """Codec of :attr:`entry`."""
        codec = self.entry.codec
        assert codec is not None
        return codec

    @property
    def stream(self) -> StreamInfo | None:
        """From the parameter sets; None when they only come with the samples (avc3, hev1)."""
        return self.entry.stream

    @property
    def parameter_sets(self) -> tuple[bytes, ...]:
        """VPS, SPS, PPS of the init section without start codes; none for AV1."""
        return self.entry.parameter_sets

    @property
    def width(self) -> int:
        """Display width (pixels)."""
        return self.stream.width if self.stream else self.entry.width

    @property
    def height(self) -> int:
        """Display height (pixels)."""
        return self.stream.height if self.stream else self.entry.height


def parse_init(init: bytes) -> Init:
    """Read an init section (``ftyp`` + ``moov``).

    Raises:
        NeedMoreData: ``moov`` is cut; ``total_bytes`` says how long the section must be.
        MediaError: ``corrupt``, ``no-video`` or ``unsupported-codec``.
    """
    for box in top_level(init):
        if box.type == b"moov":
            end = len(init) if box.end is None else box.end
            if end > len(init):
                raise NeedMoreData("the init section is cut", total_bytes=end)
            return _init_of(parse_movie(init[box.body : end]))
    raise MediaError("the init section has no moov box")


def _init_of(movie: Movie) -> Init:
    track = movie.video
    mvex = movie.moov.first(b"mvex") or b""
    defaults = {
        unsigned(trex, 4, 4): SampleDefaults(*(unsigned(trex, at, 4) for at in (8, 12, 16, 20)))
        for trex in Container(mvex).children(b"trex")
    }
    return Init(track.id, track.timescale, track.entries, defaults, track.edits)


def first_access_unit(init: Init, head: bytes, *, complete: bool) -> AccessUnit:
    """First random-access picture of a segment, of which ``head`` is the front (or all: ``complete``).

    ``moment_s`` is its presentation time minus that of the earliest picture of the segment, as the fragments up
    to it (and up to the first picture shown after it) tell. ``head_bytes``: with fewer bytes the same call would
    have raised :class:`NeedMoreData`.

    Raises:
        NeedMoreData: ``total_bytes`` says how long the head must be, as far as the boxes seen so far tell.
        MediaError: ``corrupt``, ``truncated``, ``no-keyframe``, ``unsupported-codec``.
    """
    search = _Search(init, head, complete=complete)
    try:
        return search.run()
    except NeedMoreData as shortage:
        if complete:
            raise MediaError("the segment ends inside its picture", reason="truncated") from shortage
        raise


class _Search:
    """Finds the picture, then its distance from the segment's earliest."""

    def __init__(self, init: Init, head: bytes, *, complete: bool) -> None:
        self._init = init
        self._head = head
        self._complete = complete
        self._reader = FragmentReader(head, init.track_id, init.defaults)
        self._fragments = iter(self._reader)
        self._candidates = 0

    def run(self) -> AccessUnit:
        earliest: int | None = None
        for fragment in self._fragments:
            if not len(fragment.times):
                continue
            first = int(fragment.times.min())
            earliest = first if earliest is None else min(first, earliest)
            for index in np.flatnonzero(fragment.sync & (fragment.sizes > 0)).tolist():
                found = self._picture(fragment, index)
                if found is not None:
                    return self._place(fragment, index, found, earliest)
        raise self._nothing()

    def _nothing(self) -> MediaError:
        if not self._complete:
            return NeedMoreData("the head ends before its first picture", total_bytes=self._reader.next_bytes)
        if not self._reader.count:
            return MediaError("the segment has no moof box")
        return MediaError("no random-access picture in the segment", reason="no-keyframe")

    def _picture(self, fragment: Fragment, index: int) -> RandomAccess | None:
        self._candidates += 1
        if self._candidates > MAX_CANDIDATES:
            raise MediaError("sync samples that are no random-access pictures", reason="no-keyframe")
        start, size = int(fragment.offsets[index]), int(fragment.sizes[index])
        if size > MAX_PICTURE_BYTES:
            raise MediaError(f"a picture of {size} bytes")
        if start + size > len(self._head):
            raise NeedMoreData("the head ends inside its first picture", total_bytes=start + size)
        description = int(fragment.descriptions[index])
        if not 1 <= description <= len(self._init.entries):
            raise MediaError(f"there is no sample description {description}")
        return self._init.entries[description - 1].picture(self._head[start : start + size])

    def _place(self, fragment: Fragment, index: int, found: RandomAccess, earliest: int) -> AccessUnit:
        time = int(fragment.times[index])
        end = max(fragment.end, int(fragment.offsets[index] + fragment.sizes[index]))
        if found.leading and not (fragment.times[index + 1 :] > time).any():
            earliest, end = self._pass_leading(time, earliest, end)
        return AccessUnit(found.stream, found.data, (time - earliest) / self._init.timescale, end)

    def _pass_leading(self, time: int, earliest: int, end: int) -> tuple[int, int]:
        """Go on to the first picture shown after ``time``: (earliest time, bytes of the head it took)."""
        for fragment in self._fragments:
            later = np.flatnonzero(fragment.times > time)
            seen = fragment.times[: later[0]] if later.size else fragment.times
            earliest = min([earliest, *seen.tolist()])
            end = max(end, fragment.end)
            if later.size:
                return earliest, end
        if not self._complete:
            raise NeedMoreData(
                "the head ends before the pictures that lead its first", total_bytes=self._reader.next_bytes
            )
        return earliest, len(self._head)
