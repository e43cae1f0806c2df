"""VOD segments: the head of each, as long as its first picture."""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

from harvester.errors import FetchError, MediaError, NeedMoreData
from harvester.fetch.front import Front
from harvester.fetch.turns import Turns
from harvester.media import fmp4, mpegts
from harvester.model import AccessUnit, InitSection, Rendition, Segment
from harvester.stats import RequestKind
from harvester.text import is_page

if TYPE_CHECKING:
    from harvester.fetch.heads import HeadSizes
    from harvester.transport import Transport

#: Longest head (bytes). A keyframe of 2160 lines at 40 Mbit/s has 1.5 MB; 10 s of Twitch's largest rendition
#: (12 Mbit/s) have 15 MB: a segment whose first picture lies beyond has something else wrong.
MAX_HEAD_BYTES = 16 << 20
#: Largest init section (bytes); usual ones have 700 to 3,000.
MAX_INIT_BYTES = 1 << 20
#: Init sections remembered per rendition; a VOD has one, plus one per reconnect of the broadcaster.
MAX_INITS = 16
#: Misses of one head after which each further request asks for twice as much as is held: the sizes seen so far
#: have proved no guide, and a segment of 8 MB must not take 20 requests.
_PATIENCE = 2
#: The same where the container tells how much more it needs: fragments of a frame each, without a keyframe for
#: long, would else cost a request each.
_TOLD_PATIENCE = 4

_TS_PACKET, _TS_SYNC = 188, 0x47
#: A segment whose sound was muted for copyright is listed as ``-unmuted`` and refused; ``-muted`` beside it holds
#: the same picture and silence (as twitch-dl and TwitchDownloader ask for).
_UNMUTED = re.compile(r"-unmuted(\.\w+)$", re.ASCII)
_REFUSED = frozenset([403, 404])

#: Heads of one source under way at a time in the end: as many as the polite number of connections. How much to ask
#: for is decided when a head's turn comes; without turns a whole window was asked for by what one head told.
HEADS_IN_FLIGHT = 4


class SegmentReader:
    """Reads the first picture of segments of one rendition of one VOD. Many reads may run at once."""

    def __init__(
        self,
        transport: Transport,
        rendition: Rendition,
        heads: HeadSizes,
        detail_at: Callable[[float], float] | None = None,
    ) -> None:
        """``detail_at``: log detail of the picture at a moment (s), if a storyboard has told
        (:meth:`~harvester.fetch.source_heads.SourceHeads.foresee`)."""
        self._transport = transport
        self.rendition = rendition
        self._sizes = heads.source(rendition)
        if detail_at is not None:
            self._sizes.foresee(detail_at)
        self._inits: OrderedDict[InitSection, fmp4.Init] = OrderedDict()
        self._one_init = asyncio.Lock()
        self._turns = Turns(HEADS_IN_FLIGHT)
        self._prefers_muted = False

    async def read(self, segment: Segment) -> AccessUnit:
        """The first random-access picture of ``segment``.

        Raises :class:`FetchError` when its bytes do not come, :class:`MediaError` when they hold no picture.
        """
        async with self._turns:
            return await self._read(segment)

    async def _read(self, segment: Segment) -> AccessUnit:
        front = await self._open(segment)
        misses = 0
        while True:
            try:
                unit = await self._parse(segment, front)
            except NeedMoreData as shortage:
                if front.complete:
                    raise MediaError("the segment ends inside its picture", reason="truncated") from shortage
                misses += 1
                await front.grow(self._next_length(segment, len(front), misses, shortage.total_bytes))
            else:
                if unit.head_bytes:
                    self._sizes.learn(segment.start_s, unit.head_bytes, len(front))
                return unit

    async def _open(self, segment: Segment) -> Front:
        """The head as first guessed, under the name that is served."""
        ask = self._sizes.first_ask(segment.start_s)
        listed, muted = segment.url, _muted_name(segment.url)
        if muted is None:
            return await self._head(listed, segment, ask)
        first, second = (muted, listed) if self._prefers_muted else (listed, muted)
        try:
            return await self._head(first, segment, ask)
        except FetchError as error:
            if error.status not in _REFUSED:
                raise
        front = await self._head(second, segment, ask)
        self._prefers_muted = second == muted
        return front

    async def _head(self, url: str, segment: Segment, ask: int) -> Front:
        front = Front(self._transport, url, window=segment.byte_range, limit_bytes=MAX_HEAD_BYTES)
        await front.grow(ask)
        return front

    async def _parse(self, segment: Segment, front: Front) -> AccessUnit:
        head = front.data
        if segment.init is None or _is_transport_stream(head):
            return mpegts.first_access_unit(head, complete=front.complete)
        init = await self._init(segment.init)
        return fmp4.first_access_unit(init, head, complete=front.complete)

    def _next_length(self, segment: Segment, held: int, misses: int, told: int | None) -> int:
        """Bytes to hold next: what the container tells, else what earlier heads suggest, else twice as many."""
        if told is not None and told > held:
            return told if misses < _TOLD_PATIENCE else max(told, 2 * held)
        guess = self._sizes.next_ask(segment.start_s, held)
        return guess if misses < _PATIENCE else max(guess, 2 * held)

    async def _init(self, section: InitSection) -> fmp4.Init:
        """The init section, fetched once however many reads wait for it."""
        async with self._one_init:
            if section not in self._inits:
                self._inits[section] = fmp4.parse_init(await self._fetch_init(section))
                if len(self._inits) > MAX_INITS:
                    self._inits.popitem(last=False)
            return self._inits[section]

    async def _fetch_init(self, section: InitSection) -> bytes:
        if section.byte_range is not None and section.byte_range.length > MAX_INIT_BYTES:
            raise MediaError(f"an init section of {section.byte_range.length} bytes", reason="too-large")
        response = await self._transport.get(
            section.url,
            kind=RequestKind.MEDIA,
            byte_range=section.byte_range,
            limit_bytes=MAX_INIT_BYTES,
            is_foreign=is_page,
        )
        return response.body


def _muted_name(url: str) -> str | None:
    path, query, rest = url.partition("?")
    name, changed = _UNMUTED.subn(r"-muted\1", path)
    return name + query + rest if changed else None


def _is_transport_stream(head: bytes) -> bool:
    """Two sync bytes a packet apart: no MP4 box begins so (its length would be 1.2 GB)."""
    return len(head) > _TS_PACKET and head[0] == head[_TS_PACKET] == _TS_SYNC
