"""The ``moov`` box, as clips and init sections both have it: the video track, its codec, its edit list."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from harvester.errors import MediaError
from harvester.media import h264, hevc
from harvester.media.av1 import obus, parse_sequence_header, temporal_unit_picture
from harvester.media.bitstream import length_prefixed
from harvester.media.boxes import Container, unsigned, version_and_flags
from harvester.media.nal import RandomAccess, sample_picture
from harvester.media.pictures import syntax_for
from harvester.model import Codec, StreamInfo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_CODECS = {
    b"avc1": (Codec.H264, b"avcC"),
    b"avc3": (Codec.H264, b"avcC"),
    b"hvc1": (Codec.HEVC, b"hvcC"),
    b"hev1": (Codec.HEVC, b"hvcC"),
    b"av01": (Codec.AV1, b"av1C"),
}
_VISUAL_ENTRY_BYTES = 78  # of a VisualSampleEntry, in front of its boxes (ISO 14496-12 §12.1.3)
#: Sample descriptions of one track. Editors write one a source file; 256 is more than any seen.
MAX_DESCRIPTIONS = 256
#: Edits of one track; encoders write one or two, editors some dozens.
MAX_EDITS = 512
#: Tracks that are looked at. A clip has two; editors' files have some dozens of sound and subtitles.
MAX_TRACKS = 64
#: Parameter sets of one sample description: there are ids for 32 SPS and 256 PPS (H.264), 16, 16 and 64 (HEVC).
MAX_PARAMETER_SETS = 288

_MAX_TIME = 1 << 62  # ticks


@dataclass(frozen=True, slots=True)
class SampleEntry:
    """One sample description: how the bytes of a sample are to be read.

    ``parameter_sets``: NAL units of avcC or hvcC. ``config_obus``: those of av1C. ``codec`` is None for one
    that is not read (``fourcc`` says which).
    """

    fourcc: bytes
    codec: Codec | None
    width: int  # pixels, as the entry says
    height: int
    length_bytes: int = 4  # of the length in front of each NAL unit
    parameter_sets: tuple[bytes, ...] = field(default=(), repr=False)
    config_obus: bytes = field(default=b"", repr=False)
    stream: StreamInfo | None = None  # None when the parameter sets come with the samples

    def picture(self, sample: bytes) -> RandomAccess | None:
        """The random-access picture in ``sample``; None if it needs other pictures.

        Raises:
            MediaError: ``corrupt`` bytes, or ``unsupported-codec``.
        """
        if self.codec is None:
            raise unsupported(self.fourcc)
        if self.codec is Codec.AV1:
            return temporal_unit_picture(sample, self.config_obus)
        syntax = syntax_for(self.codec)
        for nal in self.parameter_sets:
            syntax.learn(nal)
        return sample_picture(syntax, length_prefixed(sample, self.length_bytes))


def unsupported(fourcc: bytes) -> MediaError:
    """The error for a sample entry of another codec, or an encrypted one."""
    return MediaError(f"video of type {fourcc.decode('latin-1')!r} is not read", reason="unsupported-codec")


@dataclass(frozen=True, slots=True)
class Edit:
    """One entry of an edit list (§8.6.6). ``media_time`` is None for an empty edit (nothing is shown)."""

    duration: int  # ticks of the movie; 0 = to the end
    media_time: int | None  # ticks of the track
    normal_rate: bool


@dataclass(frozen=True, slots=True)
class VideoTrack:
    """The video track of a movie. ``tables``: content of its ``stbl``."""

    id: int
    timescale: int  # ticks a second
    duration: int  # ticks
    entries: tuple[SampleEntry, ...]
    edits: tuple[Edit, ...]
    tables: Container = field(repr=False)


@dataclass(frozen=True, slots=True)
class Movie:
    """A ``moov`` box: its video track and its own clock."""

    timescale: int
    video: VideoTrack
    moov: Container = field(repr=False)

    def presentation_s(self, times: NDArray[np.int64]) -> NDArray[np.float64]:
        """When the edit list first shows each of ``times`` (int64, ticks of the track).

        Returns float64 of the same shape, seconds; NaN for a time that no edit shows.
        """
        if not self.video.edits:
            return times / self.video.timescale
        shown = np.full(times.shape, np.nan)
        start = Fraction(0)
        for edit in self.video.edits:
            if edit.media_time is not None and edit.media_time < _MAX_TIME and edit.normal_rate:
                into = times - edit.media_time
                inside = np.isnan(shown) & (into >= 0) & (into < self._ticks(edit))
                shown[inside] = float(start) + into[inside] / self.video.timescale
            start += Fraction(edit.duration, self.timescale)
        return shown

    def _ticks(self, edit: Edit) -> int:
        """Length of an edit, rounded up to ticks of the track."""
        exact = Fraction(edit.duration * self.video.timescale, self.timescale)
        return min(ceil(exact), _MAX_TIME) if edit.duration else _MAX_TIME


def parse_movie(content: bytes) -> Movie:
    """Read the content of a ``moov`` box: the first video track whose codec is read.

    Raises:
        MediaError: ``corrupt``, ``no-video``, or ``unsupported-codec`` when there is video of other codecs only.
    """
    moov = Container(content)
    mvhd = moov.require(b"mvhd")
    timescale = unsigned(mvhd, 20 if version_and_flags(mvhd)[0] == 1 else 12, 4)
    other: VideoTrack | None = None
    for content_of_track in islice(moov.children(b"trak"), MAX_TRACKS):
        track = _parse_track(Container(content_of_track))
        if track is not None and any(entry.codec for entry in track.entries):
            return Movie(_positive(timescale), track, moov)
        other = other or track
    if other is not None:
        raise unsupported(other.entries[0].fourcc if other.entries else b"none")
    raise MediaError("the file has no video track", reason="no-video")


def _positive(timescale: int) -> int:
    if timescale <= 0:
        raise MediaError("a timescale of 0")
    return timescale


def _parse_track(trak: Container) -> VideoTrack | None:
    """The track, or None if it is no video."""
    mdia = Container(trak.require(b"mdia"))
    if mdia.require(b"hdlr")[8:12] != b"vide":
        return None
    mdhd, tkhd = mdia.require(b"mdhd"), trak.require(b"tkhd")
    wide = version_and_flags(mdhd)[0] == 1
    tables = Container(mdia.require(b"minf", b"stbl"))
    elst = trak.first(b"edts", b"elst")
    return VideoTrack(
        id=unsigned(tkhd, 20 if version_and_flags(tkhd)[0] == 1 else 12, 4),
        timescale=_positive(unsigned(mdhd, 20 if wide else 12, 4)),
        duration=unsigned(mdhd, 24, 8) if wide else unsigned(mdhd, 16, 4),
        entries=_parse_descriptions(tables.require(b"stsd")),
        edits=_parse_edits(elst) if elst is not None else (),
        tables=tables,
    )


def _parse_edits(elst: bytes) -> tuple[Edit, ...]:
    wide = 8 if version_and_flags(elst)[0] == 1 else 4
    row = 2 * wide + 4
    count = unsigned(elst, 4, 4)
    if count > MAX_EDITS:
        raise MediaError(f"an edit list of {count} entries")
    return tuple(_parse_edit(elst, 8 + row * index, wide) for index in range(count))


def _parse_edit(elst: bytes, at: int, wide: int) -> Edit:
    media_time = unsigned(elst, at + wide, wide)
    empty = media_time >> (8 * wide - 1) == 1  # -1
    return Edit(
        duration=unsigned(elst, at, wide),
        media_time=None if empty else media_time,
        normal_rate=unsigned(elst, at + 2 * wide, 2) == 1,
    )


def _parse_descriptions(stsd: bytes) -> tuple[SampleEntry, ...]:
    count = unsigned(stsd, 4, 4)
    if count > MAX_DESCRIPTIONS:
        raise MediaError(f"{count} sample descriptions")
    return tuple(_parse_entry(fourcc, content) for fourcc, content in islice(Container(stsd[8:]).boxes(), count))


def _parse_entry(fourcc: bytes, content: bytes) -> SampleEntry:
    codec, config_type = _CODECS.get(fourcc, (None, b""))
    if codec is None:
        return SampleEntry(fourcc, None, 0, 0)
    width, height = unsigned(content, 24, 2), unsigned(content, 26, 2)
    config = Container(content[_VISUAL_ENTRY_BYTES:]).require(config_type)
    if codec is Codec.AV1:
        return _av1_entry(fourcc, config, width, height)
    found = _avc_sets(config) if codec is Codec.H264 else _hevc_sets(config)
    sets = tuple(islice(found, MAX_PARAMETER_SETS + 1))
    if len(sets) > MAX_PARAMETER_SETS:
        raise MediaError(f"more than {MAX_PARAMETER_SETS} parameter sets in one sample description")
    length_at = 4 if codec is Codec.H264 else 21
    return SampleEntry(
        fourcc=fourcc,
        codec=codec,
        width=width,
        height=height,
        length_bytes=1 + (unsigned(config, length_at, 1) & 3),
        parameter_sets=sets,
        stream=_stream_of(codec, sets),
    )


def _av1_entry(fourcc: bytes, config: bytes, width: int, height: int) -> SampleEntry:
    units = config[4:]
    stream = next((parse_sequence_header(unit.payload).stream for unit in obus(units) if unit.type == 1), None)
    return SampleEntry(fourcc, Codec.AV1, width, height, config_obus=units, stream=stream)


def _stream_of(codec: Codec, sets: tuple[bytes, ...]) -> StreamInfo | None:
    if codec is Codec.H264:
        return next((h264.parse_sps(nal).stream for nal in sets if nal[0] & 0x1F == 7), None)
    return next((hevc.parse_sps(nal).stream for nal in sets if nal[0] >> 1 == 33), None)


def _avc_sets(config: bytes) -> Iterator[bytes]:
    """SPS and PPS of an AVCDecoderConfigurationRecord (ISO 14496-15 §5.3.3.1)."""
    at = 5
    for mask in (0x1F, 0xFF):
        count, at = unsigned(config, at, 1) & mask, at + 1
        for _ in range(count):
            nal, at = _set_at(config, at)
            yield nal


def _hevc_sets(config: bytes) -> Iterator[bytes]:
    """VPS, SPS and PPS of an HEVCDecoderConfigurationRecord (ISO 14496-15 §8.3.3.1); SEI is left out."""
    at = 23
    for _ in range(unsigned(config, 22, 1)):
        kind, count = unsigned(config, at, 1) & 0x3F, unsigned(config, at + 1, 2)
        at += 3
        for _ in range(count):
            nal, at = _set_at(config, at)
            if kind in (32, 33, 34):
                yield nal


def _set_at(config: bytes, at: int) -> tuple[bytes, int]:
    """A parameter set behind its 16-bit length, and the offset behind it."""
    length = unsigned(config, at, 2)
    end = at + 2 + length
    if length < 3 or end > len(config):
        raise MediaError("a parameter set is longer than its box")
    return config[at + 2 : end], end
