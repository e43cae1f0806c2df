"""Playlists of a VOD: the multivariant one in both texts and the media playlists. Text only, no sockets."""

from __future__ import annotations

from collections.abc import Sequence

from harvester.sandbox.world import (
    AUDIO_BANDWIDTH,
    AUDIO_FOLDER,
    RenditionInfo,
    SegmentEntry,
    Video,
)


def playlist_name(video: Video) -> str:
    """File name of a video's media playlists."""
    return f"highlight-{video.id}.m3u8" if video.type == "highlight" else "index-dvr.m3u8"


def multivariant(video: Video, renditions: Sequence[RenditionInfo], origin: str, *, version: int) -> str:
    """The multivariant playlist, in the newer text (``version`` 2) or the older with EXT-X-MEDIA (1)."""
    base = f"{origin}/cdn/{video.distribution}/{video.special}"
    lines = ["#EXTM3U", '#EXT-X-TWITCH-INFO:ORIGIN="s3",B="false",REGION="EU",CLUSTER="cloudfront_vod"']
    for info in renditions:
        attributes = (
            f'BANDWIDTH={info.bandwidth},CODECS="{info.codecs}",RESOLUTION={info.width}x{info.height},'
            f"FRAME-RATE={info.fps:.3f}"
        )
        lines += _variant(info.folder, info.name, attributes, version, source=info is renditions[0])
        lines.append(f"{base}/{info.folder}/{playlist_name(video)}")
    lines += _variant(AUDIO_FOLDER, AUDIO_FOLDER, f'BANDWIDTH={AUDIO_BANDWIDTH},CODECS="mp4a.40.2"', version)
    lines.append(f"{base}/{AUDIO_FOLDER}/{playlist_name(video)}")
    return "\n".join(lines) + "\n"


def _variant(folder: str, name: str, attributes: str, version: int, *, source: bool = False) -> list[str]:
    if version == 1:
        media = f'#EXT-X-MEDIA:TYPE=VIDEO,GROUP-ID="{folder}",NAME="{name}",AUTOSELECT=NO,DEFAULT=NO'
        return [media, f'#EXT-X-STREAM-INF:{attributes},VIDEO="{folder}"']
    label = "Audio Only" if folder == AUDIO_FOLDER else name
    groups = 'IVS-GROUPS="landscape"' if folder != AUDIO_FOLDER else 'IVS-GROUPS="audio"'
    mark = ',IVS-VARIANT-SOURCE="source"' if source else ""
    return [f'#EXT-X-STREAM-INF:{attributes},STABLE-VARIANT-ID="{name}",IVS-NAME="{label}",{groups}{mark}']


def media_playlist(video: Video, entries: Sequence[SegmentEntry], *, sound: bool, ended: bool = True) -> str:
    """The media playlist of one rendition, ``ended`` if it is whole; ``sound``: that of sound alone, always TS."""
    fragmented = video.container == "fmp4" and not sound
    total_s = sum(entry.duration_s for entry in entries)
    lines = [
        "#EXTM3U",
        f"#EXT-X-VERSION:{6 if fragmented else 3}",
        f"#EXT-X-TARGETDURATION:{max((round(entry.duration_s) for entry in entries), default=10) or 1}",
        f"#ID3-EQUIV-TDTG:{video.created_at:%Y-%m-%dT%H:%M:%S}",
        "#EXT-X-PLAYLIST-TYPE:EVENT",
        "#EXT-X-MEDIA-SEQUENCE:0",
        "#EXT-X-TWITCH-ELAPSED-SECS:0.000",
        f"#EXT-X-TWITCH-TOTAL-SECS:{total_s:.3f}",
    ]
    last_init = None
    for number, entry in enumerate(entries):
        if entry.discontinuity:
            lines.append("#EXT-X-DISCONTINUITY")
        if fragmented and entry.init != last_init:
            lines.append(f'#EXT-X-MAP:URI="init-{entry.init}.mp4"')
            last_init = entry.init
        lines += [f"#EXTINF:{entry.duration_s:.3f},", f"{number}.{'mp4' if fragmented else 'ts'}"]
    if ended:
        lines.append("#EXT-X-ENDLIST")
    return "\n".join(lines) + "\n"
