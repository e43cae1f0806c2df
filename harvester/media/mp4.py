"""Plain MP4 files (clips): the index in ``moov`` -> where each keyframe lies and when it is shown.

The sample tables (ISO/IEC 14496-12 §8.6, §8.7) are run-length coded. They are looked up at the keyframes only,
by binary search over the runs, so that a table that claims four thousand million samples costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isnan

from harvester.errors import MediaError, NeedMoreData
from harvester.media.boxes import Box, top_level
from harvester.media.movie import Movie, SampleEntry, parse_movie
from harvester.media.sample_tables import SampleTables, read_sample_tables
from harvester.model import AccessUnit, ByteRange

#: Longest index that is asked for (bytes). A 60 s clip has 60-120 kB; 32 MiB would index some 20 hours.
MAX_INDEX_BYTES = 32 << 20
#: Longest box in front of the index that is read over to find it, rather than passed by (bytes).
MAX_SKIPPED_BYTES = 1 << 16
#: Largest picture that is asked for (bytes). An intra picture of 2160 lines at 40 Mbit/s is about 1.5 MB.
MAX_PICTURE_BYTES = 32 << 20
#: Keyframes of one file. A 60 s clip at 120 frames a second, all intra, has 7,200.
MAX_KEYFRAMES = 65_536

_HEADER_BYTES = 16  # bytes that hold any box header


class IndexElsewhere(MediaError):
    """The media data comes first and the index behind it: ask for the bytes from ``start`` on.

    ``start``: offset in the file; ``length``: bytes from there to the end of the file, None when the file's
    size is not known. Parse them with ``parse_index(tail, total_bytes=..., offset=start)``.
    """

    default_reason = "index-elsewhere"

    def __init__(self, start: int, length: int | None) -> None:
        super().__init__(f"the index lies behind the media data, at byte {start}")
        self.start = start
        self.length = length


@dataclass(frozen=True, slots=True)
class Keyframe:
    """A sync sample. ``moment_s``: presentation time after the edit list (seconds)."""

    moment_s: float
    byte_range: ByteRange


@dataclass(frozen=True, slots=True)
class Mp4Index:
    """The keyframes of a file that its edit list shows, in order of presentation."""

    keyframes: tuple[Keyframe, ...]
    width: int  # display size (pixels)
    height: int
    duration_s: float
    entries: tuple[SampleEntry, ...] = field(repr=False)  # sample description of each keyframe

    def access_unit(self, i: int, data: bytes) -> AccessUnit:
        """Keyframe ``i`` from the bytes of its range.

        Raises:
            MediaError: ``truncated`` (not that many bytes), ``corrupt``, ``no-keyframe`` (the sample needs
                other pictures), ``unsupported-codec``.
        """
        keyframe = self.keyframes[i]
        if len(data) != keyframe.byte_range.length:
            raise MediaError(
                f"{len(data)} bytes for a picture of {keyframe.byte_range.length}", reason="truncated"
            )
        found = self.entries[i].picture(data)
        if found is None:
            raise MediaError("the sample is no random-access picture", reason="no-keyframe")
        return AccessUnit(found.stream, found.data, keyframe.moment_s)


def parse_index(head: bytes, *, total_bytes: int | None, offset: int = 0) -> Mp4Index:
    """Read the index of an MP4 file from its first bytes (or from those at ``offset``, between two boxes).

    ``total_bytes``: size of the file, None when unknown.

    Raises:
        NeedMoreData: ``moov`` is not wholly inside; ``total_bytes`` counts from the start of ``head``.
        IndexElsewhere: the media data comes before ``moov``.
        MediaError: ``corrupt``, ``truncated`` (the file is shorter than its index says), ``no-keyframe``,
            ``no-video``, ``unsupported-codec``.
    """
    available = None if total_bytes is None else total_bytes - offset
    moov = _find_index(head, available, offset)
    end = len(head) if moov.end is None else moov.end
    movie = parse_movie(head[moov.body : end])
    return _index_of(movie, total_bytes)


def _find_index(head: bytes, available: int | None, offset: int) -> Box:
    """The ``moov`` box; ``available``: bytes from the head's start to the end of the file."""
    behind = 0
    for box in top_level(head):
        if box.type == b"moov":
            return _whole(box, len(head), available)
        if box.end is None or (available is not None and box.end >= available):
            cut = box.end is None or box.end > (available or 0) or box.type == b"mdat"
            raise MediaError("the file has no index", reason="truncated" if cut else "corrupt")
        behind = box.end
        if box.end > len(head) and (box.type == b"mdat" or box.end - box.start > MAX_SKIPPED_BYTES):
            raise IndexElsewhere(offset + box.end, None if available is None else available - box.end)
    if available is not None and behind + _HEADER_BYTES // 2 > available:
        raise MediaError("the file has no index")
    wanted = behind + _HEADER_BYTES
    raise NeedMoreData("the head ends before the index", total_bytes=wanted)


def _whole(box: Box, length: int, available: int | None) -> Box:
    end = available if box.end is None else box.end
    if end is None:
        return box
    if end - box.start > MAX_INDEX_BYTES:
        raise MediaError(f"an index of {end - box.start} bytes")
    if available is not None and end > available:
        raise MediaError("the file ends inside its index", reason="truncated")
    if end > length:
        raise NeedMoreData("the head ends inside the index", total_bytes=end)
    return box


def _index_of(movie: Movie, total_bytes: int | None) -> Mp4Index:
    tables = read_sample_tables(movie.video.tables, MAX_KEYFRAMES)
    shown = sorted(_shown_keyframes(movie, tables, total_bytes), key=lambda each: each[0].moment_s)
    if not shown:
        raise MediaError("the file shows no keyframe", reason="no-keyframe")
    entry = shown[0][1]
    stream = entry.stream
    return Mp4Index(
        keyframes=tuple(keyframe for keyframe, _ in shown),
        width=stream.width if stream else entry.width,
        height=stream.height if stream else entry.height,
        duration_s=_duration_s(movie),
        entries=tuple(entry for _, entry in shown),
    )


def _shown_keyframes(
    movie: Movie, tables: SampleTables, total_bytes: int | None
) -> list[tuple[Keyframe, SampleEntry]]:
    shown = []
    entries = movie.video.entries
    columns = (movie.presentation_s(tables.times), tables.offsets, tables.sizes, tables.descriptions)
    for moment_s, start, size, description in zip(*(column.tolist() for column in columns), strict=True):
        if size > MAX_PICTURE_BYTES or not 1 <= description <= len(entries):
            raise MediaError(f"a keyframe of {size} bytes and description {description}")
        if total_bytes is not None and start + size > total_bytes:
            raise MediaError("the file is shorter than its index says", reason="truncated")
        if size and not isnan(moment_s):
            shown.append((Keyframe(moment_s, ByteRange(start, size)), entries[description - 1]))
    return shown


def _duration_s(movie: Movie) -> float:
    """What the edit list shows in all; without one, or with one that is open, the track's own length."""
    edits = movie.video.edits
    if edits and all(edit.duration for edit in edits):
        return sum(edit.duration for edit in edits) / movie.timescale
    return movie.video.duration / movie.video.timescale
