"""What is taken for granted of opening a VOD: its cost, its multivariant playlist, a media playlist."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import timedelta
from statistics import median
from typing import Any
from urllib.parse import urlsplit

from harvester.sampling.renditions import VIDEO_CODECS
from harvester.stats import RequestKind
from harvester.text import printable
from harvester.transport import AllowedHosts
from live.finding import Answer, CannotTell, Finding
from live.scene import SETTLED_S, ReadPlaylist, Scene

#: What resolving a VOD costs when streamlink's inner names are where they are used.
VOD_COST = {RequestKind.GQL: 1, RequestKind.USHER: 1}
#: Helix tells whole seconds and rounds; beyond one segment more, the sum of EXTINF says another length.
LENGTH_TOLERANCE_S = 2.0

_ATTRIBUTE = re.compile(r'([A-Z0-9-]{1,64})=("[^"]{0,65536}"|[^",]{0,4096})', re.ASCII)
_UNAVAILABLE = "com.amazon.ivs.unavailable-media"


async def resolving_cost(scene: Scene) -> Finding:
    """A VOD costs one question to GQL, one to usher and one playlist."""
    vod, _ = await scene.specimen()
    opened = await scene.opened(vod)
    before = scene.outside.traffic.requests[RequestKind.PLAYLIST]
    await scene.playlist(opened.ladder[0])
    after = scene.outside.traffic.requests[RequestKind.PLAYLIST]
    cost = Counter(opened.cost) + Counter({RequestKind.PLAYLIST: after - before})
    told = ", ".join(f"{kind} {count}" for kind, count in cost.items())
    if dict(opened.cost) == VOD_COST:
        return Finding(Answer.HOLDS, told)
    if opened.cost.get(RequestKind.PLAYLIST):  # its public way asks for the playlist of each variant
        return Finding(Answer.FAILS, f"{told}: streamlink's inner names have moved")
    raise CannotTell(f"{told}: a try was repeated")


async def multivariant_layout(scene: Scene) -> Finding:
    """The multivariant playlist has one of two known layouts, which name every variant's size and codecs."""
    text = await scene.multivariant()
    variants = list(_variants(text))
    if not variants:
        raise CannotTell("usher's answer lists no variant")
    layout = _layout(text, variants)
    video = [variant for variant in variants if not _is_sound(variant)]
    named = all(_size(variant) and _codec(variant) in VIDEO_CODECS for variant in video)
    portrait = sum(1 for variant in video if (size := _size(variant)) and size[0] < size[1])
    withheld = _withheld(text)
    evidence = (
        f"layout {layout}, {len(video)} renditions of video, {portrait} of them portrait, "
        f"{len(variants) - len(video)} of sound, {len(withheld)} withheld"
    )
    lines = [_line(variant) for variant in variants]
    lines += [f"withheld  {_line(item)}  {_reasons(item)}" for item in withheld]
    return Finding.of(layout in ("v1", "v2") and named and bool(video), evidence, tuple(lines))


def _variants(text: str) -> Iterator[dict[str, str]]:
    """The attributes of each EXT-X-STREAM-INF, quotes taken off."""
    for line in text.splitlines():
        if line.startswith("#EXT-X-STREAM-INF:"):
            yield _attributes(line)


def _attributes(line: str) -> dict[str, str]:
    return {name: value.strip('"') for name, value in _ATTRIBUTE.findall(line.partition(":")[2])}


def _layout(text: str, variants: list[dict[str, str]]) -> str:
    if all("STABLE-VARIANT-ID" in variant for variant in variants):
        return "v2"
    groups = {_attributes(line).get("GROUP-ID") for line in text.splitlines() if line.startswith("#EXT-X-MEDIA:")}
    return "v1" if all(variant.get("VIDEO") in groups for variant in variants) else "unknown"


def _is_sound(variant: Mapping[str, str]) -> bool:
    return "RESOLUTION" not in variant and variant.get("CODECS", "").startswith("mp4a")


def _size(variant: Mapping[str, Any]) -> tuple[int, int] | None:
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", str(variant.get("RESOLUTION", "")), re.ASCII)
    return (int(match[1]), int(match[2])) if match else None


def _codec(variant: Mapping[str, Any]) -> str:
    return str(variant.get("CODECS", "")).split(",")[0].split(".")[0].lower()


def _withheld(text: str) -> list[Mapping[str, Any]]:
    """What ``unavailable-media`` lists: base64 of a JSON list."""
    for line in text.splitlines():
        attributes = _attributes(line) if line.startswith("#EXT-X-SESSION-DATA:") else {}
        if attributes.get("DATA-ID") == _UNAVAILABLE:
            try:
                items = json.loads(base64.b64decode(attributes.get("VALUE", "")))
            except (ValueError, binascii.Error):
                return []
            return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
    return []


def _line(variant: Mapping[str, Any]) -> str:
    name = variant.get("STABLE-VARIANT-ID") or variant.get("VIDEO") or variant.get("NAME") or "unnamed"
    told = (variant.get(key, "-") for key in ("RESOLUTION", "FRAME-RATE", "BANDWIDTH", "CODECS"))
    return printable(f"{name}  {'  '.join(map(str, told))}")


def _reasons(item: Mapping[str, Any]) -> str:
    return printable(f"{item.get('FILTER_REASONS', '')} {item.get('AUTHORIZATION_REASONS', '')}".strip())


async def media_playlist(scene: Scene) -> Finding:
    """The media playlist of a VOD that is over ends, adds up to its length and stays on known hosts."""
    vod, _ = await scene.specimen()
    playlist = await scene.playlist((await scene.opened(vod)).ladder[0])
    lengths_s = [segment.duration_s for segment in playlist.media.segments]
    usual_s = median(lengths_s)
    drift_s = playlist.media.total_s - vod.duration_s
    hosts = _hosts(scene, playlist)  # raises for one that is not allowed
    over = vod.created_at + timedelta(seconds=vod.duration_s + SETTLED_S) < scene.outside.clock.now()
    ends = playlist.media.ended or not over
    evidence = (
        f"{len(lengths_s)} segments, ENDLIST {_yes(playlist.media.ended)}, "
        f"PROGRAM-DATE-TIME {_yes('#EXT-X-PROGRAM-DATE-TIME:' in playlist.text)}, EXTINF {usual_s:.3f} s "
        f"({min(lengths_s):.3f} to {max(lengths_s):.3f}, {_uneven(lengths_s, usual_s)} others), "
        f"sum {drift_s:+.1f} s from Helix's length, hosts {', '.join(sorted(hosts))}"
    )
    return Finding.of(ends and abs(drift_s) <= max(lengths_s) + LENGTH_TOLERANCE_S, evidence)


def _uneven(lengths_s: list[float], usual_s: float) -> int:
    """Segments but the last that are not of the usual length to the millisecond."""
    return sum(abs(length_s - usual_s) > 0.001 for length_s in lengths_s[:-1])


def _hosts(scene: Scene, playlist: ReadPlaylist) -> set[str]:
    allowed = AllowedHosts(scene.config.endpoints.loopback, scene.config.fetch.hosts)
    urls = {playlist.url, *(segment.url for segment in playlist.media.segments)}
    first_of_host = {urlsplit(url).netloc: url for url in urls}
    for url in first_of_host.values():
        allowed.check(url)
    return set(first_of_host)


def _yes(there: bool) -> str:
    return "yes" if there else "no"
