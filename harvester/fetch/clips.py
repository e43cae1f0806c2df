"""Clips: the index in front of the MP4 once, then the byte ranges of the keyframes wanted, and nothing between."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from harvester.errors import MediaError, NeedMoreData
from harvester.fetch.front import Front
from harvester.media.mp4 import IndexElsewhere, Keyframe, Mp4Index, parse_index
from harvester.model import AccessUnit, ByteRange
from harvester.stats import RequestKind

if TYPE_CHECKING:
    from harvester.fetch.heads import HeadSizes
    from harvester.transport import Transport

#: Longest index read (bytes). A clip of 60 s at 60 frames a second has 100 kB.
MAX_INDEX_BYTES = 16 << 20
#: Largest keyframe, and longest run of merged ones, fetched by one request (bytes).
MAX_RUN_BYTES = 16 << 20
#: Keyframes are fetched together when what lies between is at most this share of an average keyframe of the clip.
#: In usual clips it is 3-10 keyframes' worth, so merging is for clips that are little else than keyframes.
MERGED_GAP = 0.5
#: Asked for beyond a box header that the parser wants to see: mostly the box is the index, and small.
_LOOK_BYTES = 4096
#: Misses after which each further request asks for twice as much as is held: small boxes without end may lie in
#: front.
_PATIENCE = 4
#: Boxes of media that may lie in front of an index at the end.
_MAX_JUMPS = 4


@dataclass(slots=True, eq=False)
class _Run:
    """Keyframes that one request fetches. ``data`` is kept until each of ``waiting`` has been read."""

    span: ByteRange
    waiting: set[int]
    data: bytes | None = field(default=None, repr=False)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)


class ClipReader:
    """Reads keyframes of one clip; made by :meth:`open`. Many reads may run at once."""

    def __init__(self, transport: Transport, url: str, index: Mp4Index, held: bytes) -> None:
        self._transport = transport
        self._url = url
        self._index = index
        self._held = held  # front of the file
        self._runs: dict[int, _Run] = {}

    @classmethod
    async def open(cls, transport: Transport, url: str, *, duration_s: float, heads: HeadSizes) -> Self:
        """Read the index of the clip at ``url``, of ``duration_s`` as Helix tells.

        Raises :class:`FetchError` when its bytes do not come, :class:`MediaError` when it is no readable MP4 or
        (reason ``portrait``) higher than wide.
        """
        front = Front(transport, url, limit_bytes=MAX_INDEX_BYTES)
        await front.grow(heads.indexes.ask(duration_s))
        index, in_front = await _find_index(transport, url, front)
        if index.height > index.width:
            raise MediaError(f"the clip is portrait, {index.width}x{index.height}", reason="portrait")
        if in_front:  # then it ends where the media begins; a hidden beginning (edit list) may lie between
            begin = min(keyframe.byte_range.start for keyframe in index.keyframes)
            heads.indexes.learn(duration_s, min(begin, len(front)))
        return cls(transport, url, index, front.data)

    @property
    def keyframes(self) -> tuple[Keyframe, ...]:
        """The keyframes in order of presentation; their numbers are the items of :meth:`read`."""
        return self._index.keyframes

    @property
    def duration_s(self) -> float:
        """Length as the file tells (s)."""
        return self._index.duration_s

    def choose(self, items: Sequence[int]) -> None:
        """Say which keyframes will be read, so that neighbours can share a request."""
        sizes = [keyframe.byte_range.length for keyframe in self.keyframes]
        gap = MERGED_GAP * sum(sizes) / len(sizes) if sizes else 0.0
        missing = [item for item in set(items) if not self._holds(self._range(item))]
        self._runs = {}
        run: _Run | None = None
        for item in sorted(missing, key=lambda number: self._range(number).start):
            span = self._range(item)
            joined = _joined(run.span, span, gap) if run else None
            if run is None or joined is None:
                run = _Run(span, set())
            else:
                run.span = joined
            run.waiting.add(item)
            self._runs[item] = run

    async def read(self, item: int) -> AccessUnit:
        """Keyframe number ``item``. One that was not chosen, or is read again, costs a request of its own.

        Raises :class:`FetchError` when its bytes do not come, :class:`MediaError` when they are no picture.
        """
        return self._index.access_unit(item, await self._bytes(item))

    async def _bytes(self, item: int) -> bytes:
        wanted = self._range(item)
        run = self._runs.get(item)
        if run is None:
            return await self._fetch(wanted)
        async with run.lock:
            if run.data is None:
                run.data = await self._fetch(run.span)
            offset = wanted.start - run.span.start
            data = run.data[offset : offset + wanted.length]
            self._release(run, item)
        return data

    def _release(self, run: _Run, item: int) -> None:
        run.waiting.discard(item)
        self._runs.pop(item, None)
        if not run.waiting:
            run.data = None

    async def _fetch(self, span: ByteRange) -> bytes:
        """The bytes of ``span``; what the front holds of them is not asked for again."""
        if span.length > MAX_RUN_BYTES:
            raise MediaError(f"a keyframe of {span.length} bytes", reason="too-large")
        begin = self._held[span.start : span.end]
        if len(begin) == span.length:
            return begin
        rest = ByteRange(span.start + len(begin), span.length - len(begin))
        response = await self._transport.get(
            self._url, kind=RequestKind.MEDIA, byte_range=rest, limit_bytes=rest.length
        )
        return begin + response.body

    def _range(self, item: int) -> ByteRange:
        return self.keyframes[item].byte_range

    def _holds(self, span: ByteRange) -> bool:
        return span.end <= len(self._held)


def _joined(run: ByteRange, span: ByteRange, gap: float) -> ByteRange | None:
    """One range over both, if ``span`` (which does not start before ``run``) is near enough."""
    end = max(run.end, span.end)
    if span.start - run.end > gap or end - run.start > MAX_RUN_BYTES:
        return None
    return ByteRange(run.start, end - run.start)


async def _find_index(transport: Transport, url: str, front: Front) -> tuple[Mp4Index, bool]:
    """Parse the index, following the boxes to where it lies; and whether that was in front of the media."""
    part, offset = front, 0
    for _jump in range(_MAX_JUMPS):
        try:
            return await _grow_index(part, offset, file_bytes=front.length), part is front
        except IndexElsewhere as elsewhere:
            offset = elsewhere.start
            window = ByteRange(offset, elsewhere.length) if elsewhere.length else ByteRange(offset, 1 << 50)
            guess = len(front) if elsewhere.length is None else min(elsewhere.length, 4 * len(front))
            part = Front(transport, url, window=window, limit_bytes=MAX_INDEX_BYTES)
            await part.grow(guess)
    raise MediaError("the index lies behind too many boxes of media")


async def _grow_index(part: Front, offset: int, *, file_bytes: int | None) -> Mp4Index:
    misses = 0
    while True:
        try:
            return parse_index(part.data, total_bytes=file_bytes, offset=offset)
        except NeedMoreData as shortage:
            if part.complete:
                raise MediaError("the file ends before its index does", reason="truncated") from shortage
            misses += 1
            least = len(part) + _LOOK_BYTES if misses < _PATIENCE else 2 * len(part)
            await part.grow(max(shortage.total_bytes or 2 * len(part), least))
