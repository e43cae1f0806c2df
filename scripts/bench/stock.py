"""Segments out of the cached footage: any byte range of any segment of any VOD, put together when asked for."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np

from bench.footage import SEGMENT_S, TAILS, Head, Quality, head_packets, load, read_heads
from bench.transport_stream import AUDIO, CLOCK_HZ, PAT, PMT, VIDEO, Stretch
from harvester.media import mpegts
from harvester.model import AccessUnit

#: Presentation time of a VOD's first picture (s): rising from there, as on Twitch, and never 0.
FIRST_PTS_S = 10
#: Bytes of a head that is looked at for the places of its time stamps: more than a packet's.
_ANY = 1000
#: Bytes of a segment behind its first picture that prove it whole.
_BEYOND = 2000
#: Hash bits that JPEG and colours may change (BT.709 or BT.601 makes other greys); other pictures differ by 12.
SAME_BITS = 10


@dataclass(frozen=True, slots=True)
class Place:
    """A segment: number of its VOD, number in it."""

    vod: int
    segment: int


class Stock:
    """The media of one quality. ``folder``: what :func:`bench.footage.build` made."""

    def __init__(self, quality: Quality, folder: Path) -> None:
        self.quality = quality
        self._heads = read_heads(folder)
        self._hashes = np.array([head.phash for head in self._heads], np.uint64)
        self._before = list(accumulate(map(_video_packets, self._heads), initial=0))
        self._pattern = head_packets(quality, bytes(_ANY))  # every head is stamped at the same places
        self._tails = [load(folder / f"tail-{number}.npz") for number in range(TAILS)]
        self._counts = [{pid: tail.count(pid) for pid in (VIDEO, AUDIO)} for tail in self._tails]
        with (folder / "heads.ts").open("rb") as file:
            self._packets = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def head(self, place: Place) -> Head:
        """What the segment begins with. Raises LookupError if there is no such segment."""
        if not (0 <= place.vod < self.quality.vods and 0 <= place.segment < self.quality.segments):
            raise LookupError(place)
        return self._heads[place.vod * self.quality.segments + place.segment]

    def shows(self, place: Place, phash: int) -> bool:
        """True if a picture of that hash is the first of the segment, and of no other."""
        distances = np.bitwise_count(self._hashes ^ np.uint64(phash))
        own = place.vod * self.quality.segments + place.segment
        return int(distances.argmin()) == own and int(distances[own]) <= SAME_BITS

    def size(self, place: Place) -> int:
        """Bytes of a segment."""
        head = self.head(place)
        return head.end - head.start + int(self._tails[place.vod % TAILS].data.size)

    def read(self, place: Place, start: int, end: int) -> bytes:
        """Bytes ``[start, end)`` of a segment; only what lies before ``end`` is put together."""
        head = self.head(place)
        length = head.end - head.start
        ticks = (FIRST_PTS_S + place.segment * SEGMENT_S) * CLOCK_HZ
        counters = self._counters(place)
        data = self._head(head).moved(ticks, counters, min(end, length))
        if end > length:
            counters |= {VIDEO: counters[VIDEO] + _video_packets(head)}
            data += self._tails[place.vod % TAILS].moved(ticks, counters, end - length)
        return data[start:end]

    def unit(self, place: Place) -> AccessUnit:
        """What the segment begins with, as harvester reads it."""
        head = self.head(place)
        return mpegts.first_access_unit(self.read(place, 0, head.end - head.start + _BEYOND), complete=False)

    def _head(self, head: Head) -> Stretch:
        packets = np.frombuffer(self._packets, np.uint8, head.end - head.start, head.start)
        return Stretch(packets, self._pattern.offsets, self._pattern.kinds, self._pattern.ticks)

    def _counters(self, place: Place) -> dict[int, int]:
        """Packets of each PID in the segments before."""
        count, first = self._counts[place.vod % TAILS], place.vod * self.quality.segments
        heads = self._before[first + place.segment] - self._before[first]
        tables = {PAT: place.segment, PMT: place.segment}
        return tables | {VIDEO: place.segment * count[VIDEO] + heads, AUDIO: place.segment * count[AUDIO]}


def _video_packets(head: Head) -> int:
    return (head.end - head.start) // 188 - 2
