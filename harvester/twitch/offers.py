"""What a source offers: from streamlink's streams to our renditions."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from harvester.model import Rendition
from harvester.text import printable

#: Quality of a clip as GQL writes it: ``720``, perhaps ``720p60`` one day.
_LINES = re.compile(r"(\d{2,4})(?:p\d*)?", re.ASCII)

#: Longest name of a rendition that is taken as it is told (characters); Twitch's have up to 20.
NAME_CHARS = 40

_File = tuple[str, str]  # host and path


def vod_renditions(streams: Mapping[str, Any]) -> list[Rendition]:
    """One for each variant of the multivariant playlist, whatever key streamlink gave it."""
    multivariant = next((s.multivariant for s in streams.values() if getattr(s, "multivariant", None)), None)
    if multivariant is None:
        return []
    return [_vod_rendition(playlist) for playlist in multivariant.playlists if not playlist.is_iframe]


def _vod_rendition(playlist: Any) -> Rendition:
    info = playlist.stream_info
    width, height = info.resolution or (None, None)
    fps = float(info.framerate) if info.framerate and math.isfinite(info.framerate) else None
    name = printable(info.video or "", NAME_CHARS)
    name = name or (f"{height}p{math.ceil(fps or 0) or ''}" if height else "audio_only")
    sound_only = not height and (name.startswith("audio") or not info.codecs)
    return Rendition(
        name=name,
        url=playlist.uri,
        width=width or None,
        height=height or None,
        fps=fps,
        bandwidth=info.bandwidth or None,
        codecs=printable(",".join(info.codecs)),
        has_video=not sound_only and not (info.codecs and all(c.startswith("mp4a") for c in info.codecs)),
    )


def clip_renditions(streams: Mapping[str, Any], clip: Mapping[str, Any]) -> list[Rendition]:
    """The clip's files that streamlink signed, with the height and rate that GQL told; portrait ones left out.

    Keys of ``streams`` are not read: two files of one quality differ in them by accident.
    """
    signed = {_file(stream.url): stream.url for stream in streams.values()}
    ratios = aspect_ratios(clip)
    found = []
    for quality in objects(clip.get("videoQualities")):
        file = _file(quality.get("sourceURL"))
        url = signed.pop(file, None)
        if url is not None and not is_portrait(quality, ratios):
            found.append(_clip_rendition(quality, url))
    return found


def _clip_rendition(quality: Mapping[str, Any], url: str) -> Rendition:
    match = _LINES.fullmatch(str(quality.get("quality", "")))
    height = int(match[1]) if match else None
    rate = quality.get("frameRate")
    fps = float(rate) if isinstance(rate, int | float) and 0 < rate < 1000 else None
    name = f"{height}p{math.ceil(fps) if fps else ''}" if height else "clip"
    return Rendition(
        name=name,
        url=url,
        width=_pixels(quality.get("width")),
        height=height,
        fps=fps,
        bandwidth=None,
        codecs=printable(str(quality.get("codecs") or "")),
    )


def is_portrait(quality: Mapping[str, Any], ratios: Mapping[_File, object]) -> bool:
    """By the file's own size, or by the asset that lists it: a face above a cut-out of the game is no material."""
    width, height = _pixels(quality.get("width")), _pixels(quality.get("height"))
    if width is not None and height is not None:
        return width < height
    ratio = ratios.get(_file(quality.get("sourceURL")))
    return isinstance(ratio, int | float) and 0 < ratio < 1


def aspect_ratios(clip: Mapping[str, Any]) -> dict[_File, object]:
    """Width over height of the first asset that lists a file, as it is told."""
    found: dict[_File, object] = {}
    for asset in objects(clip.get("assets")):
        for quality in objects(asset.get("videoQualities")):
            found.setdefault(_file(quality.get("sourceURL")), asset.get("aspectRatio"))
    return found


def _pixels(value: object) -> int | None:
    """A length in pixels; None for what is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _file(url: object) -> _File:
    """Host and path: what stays the same when a URL is signed. Of what is no URL: ("", "")."""
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
    except ValueError:
        return "", ""
    return parts.netloc, parts.path


def objects(value: object) -> list[Mapping[str, Any]]:
    """The objects of a JSON list; [] for anything else."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
