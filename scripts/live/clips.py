"""What is taken for granted of clips: their files, and where in its VOD a clip lies."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from statistics import median
from urllib.parse import urlsplit

from harvester.decode import open_decoder
from harvester.errors import FetchError, HarvesterError
from harvester.media.boxes import top_level
from harvester.media.mp4 import parse_index
from harvester.model import AccessUnit, ByteRange, Clip
from harvester.stats import RequestKind
from harvester.transport import Response
from harvester.vision.phash import HASH_BITS, phash
from live.finding import CannotTell, Finding
from live.media import HEADS_LOW, head_items
from live.scene import WHOLE_BYTES, Scene

#: Pictures up to so many bits apart are taken for the same moment: two encodes of one picture differ in up to 6,
#: and a keyframe of the clip is up to a second away. Pictures of other moments differ in some 20 to 40.
SAME_BITS = 10
#: A place that is off by up to this share of the clip is still nearer to its start than to its end. ``vod_offset``
#: is whole seconds, a clip's keyframes lie two seconds apart, and streams have delays.
PLACE_SHARE = 0.25


async def clip_file(scene: Scene) -> Finding:
    """A clip's MP4 is refused unsigned, served in ranges when signed, and has its index in front."""
    unsigned, answer = await scene.once("clip file", lambda: _clip_answers(scene))
    order = [box.type.decode("latin-1") for box in top_level(answer.body)]
    in_front = "moov" in order and "mdat" in order and order.index("moov") < order.index("mdat")
    evidence = (
        f"unsigned {unsigned}, signed {answer.status} with total {answer.total_bytes}, boxes {' '.join(order[:6])}"
    )
    ranged = answer.status == 206 and answer.total_bytes is not None
    return Finding.of(unsigned == 401 and ranged and in_front, evidence)


async def _clip_answers(scene: Scene) -> tuple[int, Response]:
    """The status of the clip's lowest rendition without its signature, and the whole file with it."""
    clip = await _clip(scene)
    url = (await scene.opened(clip)).ladder[0].url
    await scene.turn()
    unsigned = await _status(scene, urlsplit(url)._replace(query="").geturl())
    await scene.turn()
    whole = await scene.outside.transport.get(
        url, kind=RequestKind.MEDIA, byte_range=ByteRange(0, WHOLE_BYTES), limit_bytes=WHOLE_BYTES
    )
    return unsigned, whole


async def _status(scene: Scene, url: str) -> int:
    try:
        answer = await scene.outside.transport.get(
            url, kind=RequestKind.MEDIA, byte_range=ByteRange(0, 1), limit_bytes=1 << 10
        )
    except FetchError as error:
        if error.status is None:
            raise
        return error.status
    return answer.status


async def _clip(scene: Scene) -> Clip:
    """The clip of the VOD looked at, else any."""
    clips = scene.clips.sources
    if not clips:
        raise CannotTell("the category lists no clip")
    try:
        _, clip = await scene.specimen()
    except HarvesterError:
        clip = None
    return clip or clips[0]


@dataclass(frozen=True, slots=True)
class _Hashed:
    """A picture's hash and its moment in its source (s)."""

    moment_s: float
    bits: int


async def offset_direction(scene: Scene) -> Finding:
    """``vod_offset`` is where a clip starts: pictures of the VOD after it, not before it, are in the clip."""
    _, clip = await scene.specimen()
    if clip is None or clip.vod_offset_s is None:
        raise CannotTell("no clip of the category has a place in a VOD that opens")
    in_vod = await _vod_pictures(scene)
    in_clip = await _clip_pictures(scene)
    starts_s = [(vod.moment_s, *_place(vod, in_clip)) for vod in in_vod]
    placed_s = [start_s for _, _, start_s in starts_s if start_s is not None]
    by_start = sum(_near(start_s, clip.vod_offset_s, clip) for start_s in placed_s)
    by_end = sum(_near(start_s, clip.vod_offset_s - clip.duration_s, clip) for start_s in placed_s)
    lines = tuple(
        f"VOD at {at_s:9.2f} s: nearest picture of the clip {bits} bits away" + _shown(start_s)
        for at_s, bits, start_s in starts_s
    )
    evidence = (
        f"vod_offset {clip.vod_offset_s:.0f} s, clip of {clip.duration_s:.1f} s: of {len(in_vod)} pictures of "
        f"the VOD {by_start} place its start there, {by_end} its end"
    )
    if by_start == by_end:
        raise CannotTell(
            f"{evidence}; found elsewhere or not at all: {', '.join(map(_seconds, placed_s)) or 'none'}"
        )
    return Finding.of(by_start > by_end, f"{evidence}; it starts at {_seconds(median(placed_s))}", lines)


async def _vod_pictures(scene: Scene) -> list[_Hashed]:
    """The first pictures of segments around the clip."""
    vod, _ = await scene.specimen()
    rendition = (await scene.opened(vod)).ladder[0]
    segments = (await scene.playlist(rendition)).media.segments
    found = []
    for item in await head_items(scene, rendition, HEADS_LOW):
        unit = await scene.head(rendition, item)
        bits = await asyncio.to_thread(_hashes, scene, [unit])
        found.append(_Hashed(segments[item].start_s + unit.moment_s, bits[0]))
    return found


async def _clip_pictures(scene: Scene) -> list[_Hashed]:
    """Every keyframe of the clip."""
    _, answer = await scene.once("clip file", lambda: _clip_answers(scene))
    index = parse_index(answer.body, total_bytes=answer.total_bytes)
    spans = [keyframe.byte_range for keyframe in index.keyframes]
    held = [number for number, span in enumerate(spans) if span.end <= len(answer.body)]
    units = [index.access_unit(n, answer.body[spans[n].start : spans[n].end]) for n in held]
    bits = await asyncio.to_thread(_hashes, scene, units)
    return [_Hashed(unit.moment_s, value) for unit, value in zip(units, bits, strict=True)]


def _hashes(scene: Scene, units: list[AccessUnit]) -> list[int]:
    decoder = open_decoder(scene.config.decode)
    try:
        return [phash(decoder.look(unit).measurement.grid) for unit in units]
    finally:
        decoder.close()


def _place(vod: _Hashed, in_clip: list[_Hashed]) -> tuple[int, float | None]:
    """Bits to the nearest picture of the clip; where in the VOD the clip starts by it, None if it is another."""
    nearest = min(in_clip, key=lambda picture: (vod.bits ^ picture.bits).bit_count(), default=None)
    if nearest is None:
        return HASH_BITS, None
    bits = (vod.bits ^ nearest.bits).bit_count()
    return bits, vod.moment_s - nearest.moment_s if bits <= SAME_BITS else None


def _near(start_s: float, expected_s: float, clip: Clip) -> bool:
    return abs(start_s - expected_s) <= PLACE_SHARE * clip.duration_s


def _shown(start_s: float | None) -> str:
    return "" if start_s is None else f", so the clip starts at {_seconds(start_s)}"


def _seconds(moment_s: float) -> str:
    return f"{moment_s:.2f} s"
