"""Playlists of a VOD: the multivariant one in both texts and the media playlists. Text only, no sockets."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import timedelta

from harvester.model import VodType
from harvester.sandbox.delivery import Withheld
from harvester.sandbox.world import (
    AUDIO_BANDWIDTH,
    AUDIO_FOLDER,
    RenditionInfo,
    SegmentEntry,
    Video,
)

#: Codecs as the parameter ``supported_codecs`` of usher names them, by sample entry (RFC 6381).
CODEC_NAMES = {"avc1": "h264", "hev1": "h265", "av01": "av1"}
#: What usher offers to a client that does not say what it can play: what every one can.
DEFAULT_CODECS = "h264"

_SEGMENT = re.compile(r"(\d{1,9})(-muted|-unmuted)?\.(ts|mp4)")
_OLD_SEGMENT = re.compile(r"index-(\d{10})-(\w{4})\.(ts)")


def playlist_name(video: Video) -> str:
    """File name of a video's media playlists."""
    plain = f"highlight-{video.id}.m3u8" if video.type is VodType.HIGHLIGHT else "index-dvr.m3u8"
    return video.delivery.playlist or plain


def container(video: Video, *, sound: bool) -> str:
    """Extension of a rendition's segments; sound alone is MPEG-TS always."""
    return "mp4" if video.container == "fmp4" and not sound else "ts"


def segment_name(video: Video, number: int, *, sound: bool) -> str:
    """File name of segment ``number`` (from 0) as the playlist has it."""
    extension, file_number = container(video, sound=sound), number + video.delivery.first_number
    if video.delivery.old_names:
        return f"index-{file_number:010}-{_tail(video, file_number)}.{extension}"
    sound_mark = "-unmuted" if video.delivery.lists_unmuted else "-muted"
    return f"{file_number}{sound_mark if number in video.delivery.muted else ''}.{extension}"


def served_segment(video: Video, name: str, *, sound: bool) -> int:
    """Number (from 0) of the segment served under a file name; may lie beyond the end. Raises LookupError if none.

    A muted segment is served as ``-muted`` alone: the file it was made from is refused, listed or not. (On
    Twitch the plain name may live on for a day; nobody can count on it.)
    """
    match = (_OLD_SEGMENT if video.delivery.old_names else _SEGMENT).fullmatch(name)
    if match is None or match[3] != container(video, sound=sound):
        raise LookupError(name)
    number = int(match[1]) - video.delivery.first_number
    expected = _tail(video, int(match[1])) if video.delivery.old_names else _sound_mark(video, number)
    if number < 0 or match[2] != expected:
        raise LookupError(name)
    return number


def _sound_mark(video: Video, number: int) -> str | None:
    return "-muted" if number in video.delivery.muted else None


def _tail(video: Video, file_number: int) -> str:
    """Four characters that nobody can guess, in file names of 2015."""
    return hashlib.sha256(f"{video.id}:{file_number}".encode()).hexdigest()[:4]


def multivariant(
    video: Video,
    renditions: Sequence[RenditionInfo],
    origin: str,
    *,
    version: int,
    codecs: Collection[str] | None = None,
) -> str:
    """The multivariant playlist, in the newer text (``version`` 2) or the older with EXT-X-MEDIA (1).

    ``codecs``: names of those to offer (None = all); the others are listed among the unavailable.
    """
    base = f"{origin}/cdn/{video.distribution}/{video.special}"
    delivery = video.delivery
    there = [info for info in renditions if not (delivery.sound_only or (delivery.no_source and info.source))]
    offered = [info for info in there if codecs is None or _codec(info.codecs) in codecs]
    filtered = [_filtered(info) for info in there if info not in offered]
    lines = ["#EXTM3U", *_unavailable([*delivery.withheld, *filtered], version)]
    lines.append('#EXT-X-TWITCH-INFO:ORIGIN="s3",B="false",REGION="EU",CLUSTER="cloudfront_vod"')
    for info in offered:
        attributes = (
            f'BANDWIDTH={info.bandwidth},CODECS="{info.codecs}",RESOLUTION={info.width}x{info.height},'
            f"FRAME-RATE={info.fps:.3f}"
        )
        lines += _variant(info.folder, info.name, attributes, version, portrait=info.portrait)
        lines.append(f"{base}/{info.folder}/{playlist_name(video)}")
    lines += _variant(AUDIO_FOLDER, AUDIO_FOLDER, f'BANDWIDTH={AUDIO_BANDWIDTH},CODECS="mp4a.40.2"', version)
    lines.append(f"{base}/{AUDIO_FOLDER}/{playlist_name(video)}")
    return "\n".join(lines) + "\n"


def _codec(codecs: str) -> str:
    return CODEC_NAMES.get(codecs.split(".", maxsplit=1)[0], "")


def _filtered(info: RenditionInfo) -> Withheld:
    """The name of the reason is unverified; real ones begin with ``FR_``."""
    reasons = ("FR_UNSUPPORTED_CODEC",)
    return Withheld(info.name, info.width, info.height, info.fps, info.codecs, info.bandwidth, reasons)


def _unavailable(withheld: Sequence[Withheld], version: int) -> Iterator[str]:
    """The session data that tell what was not offered, and why: base64 of a JSON list."""
    if not withheld:
        return
    named = "STABLE-VARIANT-ID" if version == 2 else "GROUP-ID"
    items = [
        {
            "IVS-NAME" if version == 2 else "NAME": item.name,
            named: item.name,
            "BANDWIDTH": item.bandwidth,
            "CODECS": item.codecs,
            "RESOLUTION": f"{item.width}x{item.height}",
            "FRAME-RATE": item.fps,
            "FILTER_REASONS": list(item.filter_reasons),
            "AUTHORIZATION_REASONS": list(item.authorization_reasons),
        }
        for item in withheld
    ]
    value = base64.b64encode(json.dumps(items, separators=(",", ":")).encode()).decode()
    yield f'#EXT-X-SESSION-DATA:DATA-ID="com.amazon.ivs.unavailable-media",VALUE="{value}"'


def _variant(folder: str, name: str, attributes: str, version: int, *, portrait: bool = False) -> list[str]:
    if version == 1:
        media = f'#EXT-X-MEDIA:TYPE=VIDEO,GROUP-ID="{folder}",NAME="{name}",AUTOSELECT=NO,DEFAULT=NO'
        return [media, f'#EXT-X-STREAM-INF:{attributes},VIDEO="{folder}"']
    label = "Audio Only" if folder == AUDIO_FOLDER else name
    group = "audio" if folder == AUDIO_FOLDER else "portrait" if portrait else "landscape"
    mark = ',IVS-VARIANT-SOURCE="source"' if folder == "chunked" else ""
    return [
        f'#EXT-X-STREAM-INF:{attributes},STABLE-VARIANT-ID="{name}",IVS-NAME="{label}",IVS-GROUPS="{group}"{mark}'
    ]


def single_file_name(video: Video, *, sound: bool) -> str:
    """File that holds all init sections and then all segments, of a video whose segments are byte ranges."""
    return f"{video.id}.{container(video, sound=sound)}"


def media_playlist(
    video: Video,
    entries: Sequence[SegmentEntry],
    *,
    sound: bool,
    uri: Callable[[str], str] = str,
    sizes: tuple[Sequence[int], Sequence[int]] = ((), ()),
    ended: bool = True,
) -> str:
    """The media playlist of one rendition, ``ended`` if it is whole; ``sound``: that of sound alone, always TS.

    ``uri``: from a file's name to how it is listed. ``sizes``: bytes of each init section and of each segment,
    needed where they are ranges of a single file.
    """
    fragmented = container(video, sound=sound) == "mp4"
    lines = list(_head(video, entries, fragmented=fragmented))
    listing = _Listing(video, sound, uri, *sizes)
    last_init = None
    for number, entry in enumerate(entries):
        if entry.discontinuity:
            lines.append("#EXT-X-DISCONTINUITY")
        if fragmented and entry.init != last_init:
            lines.append(listing.init(entry.init))
            last_init = entry.init
        lines += listing.segment(number, entry)
    if ended:
        lines.append("#EXT-X-ENDLIST")
    return "\n".join(lines) + "\n"


def _head(video: Video, entries: Sequence[SegmentEntry], *, fragmented: bool) -> Iterator[str]:
    """What stands before the segments, in the order seen. The type stays EVENT even when nothing will be added."""
    total_s = sum(entry.duration_s for entry in entries)
    yield "#EXTM3U"
    yield f"#EXT-X-VERSION:{6 if fragmented else 4 if video.delivery.single_file else 3}"
    yield f"#EXT-X-TARGETDURATION:{max((round(entry.duration_s) for entry in entries), default=10) or 1}"
    yield f"#ID3-EQUIV-TDTG:{video.created_at:%Y-%m-%dT%H:%M:%S}"
    yield "#EXT-X-PLAYLIST-TYPE:EVENT"
    yield "#EXT-X-MEDIA-SEQUENCE:0"
    yield "#EXT-X-TWITCH-ELAPSED-SECS:0.000"
    yield f"#EXT-X-TWITCH-TOTAL-SECS:{total_s:.3f}"


class _Listing:
    """The lines of init sections and segments, in order."""

    def __init__(
        self,
        video: Video,
        sound: bool,
        uri: Callable[[str], str],
        init_sizes: Sequence[int],
        segment_sizes: Sequence[int],
    ) -> None:
        self._video, self._sound, self._uri = video, sound, uri
        self._init_sizes, self._segment_sizes = init_sizes, segment_sizes
        self._file = uri(single_file_name(video, sound=sound)) if video.delivery.single_file else ""

    def init(self, index: int) -> str:
        """EXT-X-MAP of init section ``index``."""
        if not self._file:
            return f'#EXT-X-MAP:URI="{self._uri(f"init-{index}.mp4")}"'
        start = sum(self._init_sizes[:index])
        return f'#EXT-X-MAP:URI="{self._file}",BYTERANGE="{self._init_sizes[index]}@{start}"'

    def segment(self, number: int, entry: SegmentEntry) -> Iterator[str]:
        """Tags and URI of a segment. Every other byte range leaves out its start: it follows the one before."""
        if self._video.delivery.dated:
            moment = self._video.created_at + timedelta(seconds=entry.start_s)
            yield f"#EXT-X-PROGRAM-DATE-TIME:{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"
        yield f"#EXTINF:{entry.duration_s:.3f},"
        if self._file:
            start = sum(self._init_sizes) + sum(self._segment_sizes[:number])
            yield f"#EXT-X-BYTERANGE:{self._segment_sizes[number]}" + (f"@{start}" if number % 2 == 0 else "")
            yield self._file
            return
        listed = self._uri(segment_name(self._video, number, sound=self._sound))
        yield listed + ("?start_offset=0" if self._video.delivery.old_names else "")
