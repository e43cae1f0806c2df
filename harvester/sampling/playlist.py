"""Media playlist (RFC 8216) → segments with the time at which each one starts.

A media playlist is a list of URLs, each preceded by tags that describe it. What we read of it::

    #EXTM3U                                   first line of every playlist
    #EXT-X-TARGETDURATION:10                  longest segment, rounded (s)
    #EXT-X-MAP:URI="init-0.mp4"               init section of all following (fMP4) segments
    #EXT-X-PROGRAM-DATE-TIME:2026-11-01T...   wall clock of the next segment's first picture
    #EXTINF:10.000,                           duration of the next segment (s)
    #EXT-X-BYTERANGE:5000@100                 the next segment is this part of its URL
    #EXT-X-DISCONTINUITY                      the next segment has other time stamps, parameters or wall clock
    #EXT-X-GAP                                the next segment does not exist, though its time passes
    0.ts
    #EXT-X-ENDLIST                            nothing will be added: the broadcast is over

A segment starts where the EXTINF before it add up to. They are added as decimals, as they are written: 17,280
float additions of 10.008 s (a VOD of 48 h) are off by micro-seconds, decimals by nothing. Never "index times
target duration": real ingests write 10.008 or 9.98.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal
from typing import ClassVar
from urllib.parse import urljoin

from harvester.errors import MediaError
from harvester.model import ByteRange, InitSection, Segment
from harvester.text import printable

#: Most segments of one playlist. Twitch's longest VOD, 48 h in segments of 10 s, has 17,280; of 2 s, 86,400.
MAX_SEGMENTS = 100_000
#: Longest line (characters). Signed segment URLs stay below 2,000.
MAX_LINE_CHARS = 8192
#: Most characters of all segments' URLs together: 48 h in segments of 10 s with signed URLs have 35 million.
MAX_URL_CHARS = 64 << 20
#: Most attributes of one tag; EXT-X-KEY, which has most, has six.
MAX_ATTRIBUTES = 64
#: Longest segment believed (s): a day. Also keeps sums far from the limits of decimals and dates.
MAX_SEGMENT_S = Decimal(86_400)

#: 28 digits: nanoseconds over more than a billion years, so sums are exact. Our own, not the thread's.
_EXACT = Context(prec=28)
_DURATION = re.compile(r"\s*(\d{1,9}(?:\.\d{0,12})?)\d*\s*(?:,|$)", re.ASCII)
_BYTE_RANGE = re.compile(r"(\d{1,15})(?:@(\d{1,15}))?", re.ASCII)
_LINE = re.compile(r"[^\n]+")
#: A name that joins to its folder without any of RFC 3986's rules: what nearly all playlists hold.
_PLAIN_NAME = re.compile(r"\w[\w-]*(?:\.[\w-]+)+", re.ASCII)


@dataclass(frozen=True, slots=True)
class MediaPlaylist:
    """A parsed media playlist.

    ``segments``: in order, without gaps that the playlist declares. ``ended``: it holds ENDLIST, so nothing will
    be added. ``target_duration_s``: as declared, else the longest segment. ``total_s``: sum of all EXTINF, gaps
    included.
    """

    segments: tuple[Segment, ...]
    ended: bool
    target_duration_s: float
    total_s: float


def parse_media_playlist(text: str, base_url: str) -> MediaPlaylist:
    """The segments of the media playlist ``text`` that came from ``base_url`` (absolute, http or https; after
    redirects).

    Raises :class:`MediaError`: ``corrupt`` when it is no media playlist or contradicts itself,
    ``unsupported-encryption`` when segments are encrypted.
    """
    lines = _lines(text)
    if next(lines, "") != "#EXTM3U":  # a page of an error in place of it: tomorrow it may be one
        raise MediaError(f"no media playlist: it begins with {printable(text[:200], 40)!r}", retryable=True)
    reader = _Reader(base_url)
    for line in lines:
        reader.take(line)
    return reader.playlist()


def _lines(text: str) -> Iterator[str]:
    """One after the other, whatever their number; neither blank ones nor the byte order mark."""
    for match in _LINE.finditer(text, text.startswith("\ufeff")):
        if match.end() - match.start() > MAX_LINE_CHARS:
            raise MediaError(f"a line of the playlist has more than {MAX_LINE_CHARS} characters")
        if line := match[0].strip():
            yield line


@dataclass(slots=True)
class _Reader:
    """What has been read so far, and the tags that wait for the next URI."""

    base_url: str
    segments: list[Segment] = field(default_factory=list)
    ended: bool = False
    target_duration_s: float | None = None
    total: Decimal = Decimal(0)
    duration: Decimal | None = None
    byte_range: tuple[int, int | None] | None = None
    gap: bool = False
    map: str | None = None  # EXT-X-MAP in force, as it is written: tags that no segment uses are never read
    init: InitSection | None = None
    date: str | None = None  # PROGRAM-DATE-TIME of the next segment
    clock: datetime | None = None  # wall clock where the segment before ends
    range_end: tuple[str, int] | None = None  # URL and end of the byte range before: where an implicit one starts
    folder: str = ""
    url_chars: int = 0

    tags: ClassVar[dict[str, Callable[[_Reader, str], None]]]

    def __post_init__(self) -> None:
        self.folder = self._join(".")

    def take(self, line: str) -> None:
        if not line.startswith("#"):
            self._segment(line)
            return
        name, _, value = line.partition(":")
        read = self.tags.get(name)
        if read is not None:
            read(self, value)

    def playlist(self) -> MediaPlaylist:
        longest = max((s.duration_s for s in self.segments), default=0.0)
        target_s = longest if self.target_duration_s is None else self.target_duration_s
        return MediaPlaylist(tuple(self.segments), self.ended, target_s, float(self.total))

    def _segment(self, uri: str) -> None:
        if self.duration is None:
            raise MediaError("a segment of the playlist has no EXTINF")
        if len(self.segments) >= MAX_SEGMENTS:
            raise MediaError(f"the playlist has more than {MAX_SEGMENTS} segments")
        url = self.folder + uri if _PLAIN_NAME.fullmatch(uri) else self._join(uri)
        byte_range = self._resolve_range(url)
        duration_s = float(self.duration)
        clock = (self.date and _parse_date(self.date)) or self.clock
        if not self.gap:
            self._add(Segment(url, float(self.total), duration_s, byte_range, self._init(), clock))
        self.total = _EXACT.add(self.total, self.duration)
        self.clock = later(clock, duration_s)
        self.duration, self.byte_range, self.date, self.gap = None, None, None, False

    def _add(self, segment: Segment) -> None:
        self.url_chars += len(segment.url)
        if self.url_chars > MAX_URL_CHARS:
            raise MediaError(f"the URLs of the playlist have more than {MAX_URL_CHARS} characters")
        self.segments.append(segment)

    def _init(self) -> InitSection | None:
        """The init section in force."""
        if self.map is not None:
            self.init, self.map = self._parse_map(self.map), None
        return self.init

    def _resolve_range(self, url: str) -> ByteRange | None:
        """RFC 8216 §4.3.2.2: without an offset the range follows the one before, of the same URL."""
        if self.byte_range is None:
            self.range_end = None
            return None
        length, offset = self.byte_range
        if offset is None:
            if self.range_end is None or self.range_end[0] != url:
                raise MediaError("EXT-X-BYTERANGE without an offset follows no range of the same resource")
            offset = self.range_end[1]
        self.range_end = (url, offset + length)
        return ByteRange(offset, length)

    def _join(self, uri: str) -> str:
        try:
            url = urljoin(self.base_url, uri)
        except ValueError:
            url = ""
        if not url.startswith(("http://", "https://")):
            raise MediaError("a URI of the playlist does not lead to an http(s) resource")
        return url

    def _read_duration(self, value: str) -> None:
        match = _DURATION.match(value)
        seconds = Decimal(match[1]) if match else None
        if seconds is None or seconds > MAX_SEGMENT_S:
            raise MediaError(f"EXTINF {printable(value, 40)!r} is no duration")
        self.duration = seconds

    def _read_byte_range(self, value: str) -> None:
        self.byte_range = _parse_byte_range(value)

    def _parse_map(self, value: str) -> InitSection:
        attributes = _attributes(value)
        if not attributes.get("URI"):
            raise MediaError("EXT-X-MAP has no URI")
        byte_range = None
        if "BYTERANGE" in attributes:
            length, offset = _parse_byte_range(attributes["BYTERANGE"])
            byte_range = ByteRange(offset or 0, length)
        return InitSection(self._join(attributes["URI"]), byte_range)

    def _read_map(self, value: str) -> None:
        self.map = value

    def _read_key(self, value: str) -> None:
        if _attributes(value).get("METHOD") != "NONE":
            raise MediaError("the segments are encrypted", reason="unsupported-encryption")

    def _read_date(self, value: str) -> None:
        self.date = value

    def _read_discontinuity(self, _value: str) -> None:
        self.clock = None  # it jumps too, unless the segment has its own date

    def _read_gap(self, _value: str) -> None:
        self.gap = True

    def _read_end(self, _value: str) -> None:
        self.ended = True

    def _read_target_duration(self, value: str) -> None:
        match = _DURATION.match(value)
        self.target_duration_s = float(match[1]) if match else None

    def _refuse_multivariant(self, _value: str) -> None:
        raise MediaError("this is a multivariant playlist, not a media playlist")


_Reader.tags = {
    "#EXTINF": _Reader._read_duration,
    "#EXT-X-BYTERANGE": _Reader._read_byte_range,
    "#EXT-X-MAP": _Reader._read_map,
    "#EXT-X-KEY": _Reader._read_key,
    "#EXT-X-PROGRAM-DATE-TIME": _Reader._read_date,
    "#EXT-X-DISCONTINUITY": _Reader._read_discontinuity,
    "#EXT-X-GAP": _Reader._read_gap,
    "#EXT-X-ENDLIST": _Reader._read_end,
    "#EXT-X-TARGETDURATION": _Reader._read_target_duration,
    "#EXT-X-STREAM-INF": _Reader._refuse_multivariant,
}


def _parse_byte_range(value: str) -> tuple[int, int | None]:
    match = _BYTE_RANGE.fullmatch(value.strip())
    if match is None or int(match[1]) == 0:
        raise MediaError(f"byte range {printable(value, 40)!r} is not length[@offset]")
    return int(match[1]), int(match[2]) if match[2] is not None else None


def _attributes(text: str) -> dict[str, str]:
    """An attribute list (RFC 8216 §4.2), quotes taken off."""
    found: dict[str, str] = {}
    for _ in range(MAX_ATTRIBUTES):
        if not text:
            break
        name, _, text = text.partition("=")
        if text.startswith('"'):
            value, _, text = text[1:].partition('"')
            text = text.partition(",")[2]
        else:
            value, _, text = text.partition(",")
        found[name.strip()] = value.strip()
    if text:
        raise MediaError(f"a tag of the playlist has more than {MAX_ATTRIBUTES} attributes")
    return found


def _parse_date(value: str) -> datetime | None:
    """The tag is optional and informational: one that cannot be read is as good as none. Without a zone: UTC."""
    try:
        date = datetime.fromisoformat(value.strip())
        return date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def later(clock: datetime | None, seconds: float) -> datetime | None:
    """The wall clock so many seconds later; None if it is not known, or beyond the calendar."""
    try:
        return clock and clock + timedelta(seconds=seconds)
    except OverflowError:
        return None
