"""What is taken for granted of segments and of the CDN that serves them."""

from __future__ import annotations

import asyncio
import io
import time
from statistics import median

import av

from harvester.decode import open_decoder
from harvester.errors import MediaError
from harvester.fetch.storyboard import cut_sheet, fetch_sheet, fetch_storyboards
from harvester.model import AccessUnit, ByteRange, Rendition, Segment
from harvester.stats import RequestKind
from harvester.transport import Response, Transport
from live.finding import Answer, CannotTell, Finding
from live.scene import WHOLE_BYTES, Scene

#: Segments whose head is looked at in the lowest rendition, and in the highest.
HEADS_LOW, HEADS_HIGH = 4, 1
#: A first picture shown so much (s) after the segment's earliest is not its first: some frames at 60 a second.
FIRST_S = 0.1
#: What Twitch asks of broadcasters and makes in transcodes (s); a longer GOP than the second is another rule.
GOP_S, LONG_GOP_S = 2.0, 2.25

#: Ranges measured one after another, at once, and their size: a head of a small rendition (bytes).
ALONE, AT_ONCE, MEASURED_BYTES = 3, 4, 64 << 10
#: Slower by less than this ratio, or than this time (s), is as fast: a hiccup of a scheduler or a handshake.
AS_FAST, AS_FAST_S = 1.5, 0.03
#: Slower by more than the first ratio is slower, if times alone differ by less than the second; else it is chance.
SLOWER, STEADY = 2.5, 2.0

#: (cell width, cell height, columns) of the two storyboards known, and most cells of one.
STORYBOARDS, MAX_CELLS = frozenset({(160, 90, 5), (220, 124, 5)}), 200


async def segment_heads(scene: Scene) -> Finding:
    """Every segment starts with a random-access picture, in the lowest and in the highest rendition."""
    vod, _ = await scene.specimen()
    ladder = (await scene.opened(vod)).ladder
    lines, late = [], 0
    for rendition, count in dict.fromkeys([(ladder[0], HEADS_LOW), (ladder[-1], HEADS_HIGH)]):
        for item in await head_items(scene, rendition, count):
            try:
                unit = await scene.head(rendition, item)
                await asyncio.to_thread(decoded_width, scene, unit)
            except MediaError as error:
                late += 1
                lines.append(f"{rendition.name}  segment {item}: {error}")
                continue
            late += unit.moment_s > FIRST_S
            lines.append(f"{rendition.name}  segment {item}: {_unit(unit)}")
    return Finding.of(not late, f"{len(lines) - late} of {len(lines)} segments", tuple(lines))


async def head_items(scene: Scene, rendition: Rendition, count: int) -> list[int]:
    """Which segments are looked at: those around the clip where there is one (then its check has them), else
    spread over the VOD."""
    _, clip = await scene.specimen()
    segments = (await scene.playlist(rendition)).media.segments
    if clip is None or clip.vod_offset_s is None:
        return sorted({len(segments) * (2 * k + 1) // (2 * count) for k in range(count)})
    before = _within(segments, clip.vod_offset_s - clip.duration_s, clip.vod_offset_s, count // 2)
    after = _within(segments, clip.vod_offset_s, clip.vod_offset_s + clip.duration_s, count - count // 2)
    return before + after or [len(segments) // 2]


def _within(segments: tuple[Segment, ...], start_s: float, end_s: float, count: int) -> list[int]:
    """Up to ``count`` segments that start in ``[start_s, end_s)``, evenly."""
    inside = [item for item, segment in enumerate(segments) if start_s <= segment.start_s < end_s]
    count = min(count, len(inside))
    return [inside[len(inside) * (2 * k + 1) // (2 * count)] for k in range(count)]


def decoded_width(scene: Scene, unit: AccessUnit) -> int:
    """Width of the picture as decoded. Raises MediaError."""
    decoder = open_decoder(scene.config.decode)
    try:
        return decoder.look(unit).stream.width
    finally:
        decoder.close()


def _unit(unit: AccessUnit) -> str:
    stream = unit.stream
    size = f"{stream.codec} {stream.width}x{stream.height}"
    return f"{size}, first picture at {unit.moment_s:.3f} s, complete after {unit.head_bytes} bytes"


async def gop_length(scene: Scene) -> Finding:
    """The lowest rendition has a keyframe every two seconds."""
    vod, _ = await scene.specimen()
    rendition = (await scene.opened(vod)).ladder[0]
    playlist = await scene.playlist(rendition)
    segment = playlist.media.segments[len(playlist.media.segments) // 2]
    data = await _whole(scene, segment)
    times_s = await asyncio.to_thread(_keyframe_times, data)
    if not times_s:
        return Finding(Answer.FAILS, "no keyframe in a whole segment")
    ends_s = [*times_s[1:], times_s[0] + segment.duration_s]
    gops_s = [end - start for start, end in zip(times_s, ends_s, strict=True)]
    told = ", ".join(f"{gop_s:.2f}" for gop_s in gops_s)
    evidence = f"{rendition.name}, a segment of {segment.duration_s:.2f} s: GOPs of {told} s"
    return Finding.of(max(gops_s) <= LONG_GOP_S, evidence)


async def _whole(scene: Scene, segment: Segment) -> bytes:
    data = b""
    parts = [(segment.init.url, segment.init.byte_range)] if segment.init else []
    for url, byte_range in [*parts, (segment.url, segment.byte_range)]:
        await scene.turn()
        answer = await scene.outside.transport.get(
            url, kind=RequestKind.MEDIA, byte_range=byte_range, limit_bytes=WHOLE_BYTES
        )
        data += answer.body
    return data


def _keyframe_times(data: bytes) -> list[float]:
    """When the keyframes of the first video stream are shown (s), in order. Raises MediaError."""
    try:
        with av.open(io.BytesIO(data), "r") as container:
            stream = container.streams.video[0]
            ticks = [p.pts for p in container.demux(stream) if p.is_keyframe and p.pts is not None]
            unit = float(stream.time_base or 0)
    except (av.error.FFmpegError, IndexError) as error:
        raise MediaError(f"libavformat reads no video in a segment ({type(error).__name__})") from None
    return sorted(tick * unit for tick in ticks)


async def range_answers(scene: Scene) -> Finding:
    """A range request is answered with 206 and the size of the whole."""
    answer, _ = await _range_alone(scene, 0)
    total = "no total" if answer.total_bytes is None else f"a total of {answer.total_bytes} bytes"
    evidence = f"a range of {MEASURED_BYTES} bytes: status {answer.status}, {len(answer.body)} bytes, {total}"
    return Finding.of(answer.status == 206 and answer.total_bytes is not None, evidence)


async def parallel_ranges(scene: Scene) -> Finding:
    """Four ranges at once take no longer each than one alone; every one on a new connection."""
    alone_s = [seconds for _, seconds in [await _range_alone(scene, number) for number in range(ALONE)]]
    at_once_s = [seconds for _, seconds in await _ranges_at_once(scene)]
    ratio = median(at_once_s) / median(alone_s)
    evidence = (
        f"medians {1000 * median(alone_s):.0f} ms alone ({ALONE}), {1000 * median(at_once_s):.0f} ms "
        f"{AT_ONCE} at once: ratio {ratio:.2f}"
    )
    if ratio <= AS_FAST or median(at_once_s) - median(alone_s) <= AS_FAST_S:
        return Finding(Answer.HOLDS, evidence)
    if ratio > SLOWER and max(alone_s) < STEADY * min(alone_s):
        return Finding(Answer.FAILS, evidence)
    raise CannotTell(f"{evidence}; too noisy to say")


_Timed = tuple[Response, float]


async def _range_alone(scene: Scene, number: int) -> _Timed:
    """Range number ``number`` of :data:`ALONE`, asked once."""
    return await scene.once(("range", number), lambda: _ranged(scene, number))


async def _ranged(scene: Scene, number: int) -> _Timed:
    url = await _measured_url(scene, number)
    await scene.turn()
    async with _connected(scene) as transport:
        return await _timed(transport, url)


async def _ranges_at_once(scene: Scene) -> list[_Timed]:
    urls = [await _measured_url(scene, number) for number in range(ALONE, ALONE + AT_ONCE)]
    await scene.turn(AT_ONCE)
    async with _connected(scene) as transport:
        return list(await asyncio.gather(*(_timed(transport, url) for url in urls)))


async def _measured_url(scene: Scene, number: int) -> str:
    """A segment of its own for each measured range, as far as there are that many."""
    vod, _ = await scene.specimen()
    segments = (await scene.playlist((await scene.opened(vod)).ladder[0])).media.segments
    return segments[len(segments) * number // (ALONE + AT_ONCE)].url


def _connected(scene: Scene) -> Transport:
    """A client without connections, so that each request pays for one, alone or not."""
    endpoints, traffic = scene.config.endpoints, scene.outside.traffic
    return Transport(scene.config.fetch, loopback=endpoints.loopback, traffic=traffic)


async def _timed(transport: Transport, url: str) -> _Timed:
    begun = time.perf_counter()
    answer = await transport.get(
        url, kind=RequestKind.MEDIA, byte_range=ByteRange(0, MEASURED_BYTES), limit_bytes=MEASURED_BYTES
    )
    return answer, time.perf_counter() - begun


async def storyboards(scene: Scene) -> Finding:
    """A VOD has storyboards of the two known sizes."""
    vod, _ = await scene.specimen()
    url = (await scene.details(vod)).storyboard_url
    if url is None:
        return Finding(Answer.FAILS, "GQL names none")
    await scene.turn()
    boards = await fetch_storyboards(scene.outside.transport, url)
    if not boards:
        return Finding(Answer.FAILS, "its file lists none")
    await scene.turn()
    cells = cut_sheet(await fetch_sheet(scene.outside.transport, boards[0], 0), boards[0], 0)
    lines = tuple(
        f"{b.cell_width}x{b.cell_height}, {b.columns} x {b.rows} a sheet, sheets {len(b.sheets)}, "
        f"cells {b.count}, every {b.interval_s:g} s"
        for b in boards
    )
    known = {(b.cell_width, b.cell_height, b.columns) for b in boards} <= STORYBOARDS
    covers = all(b.count <= MAX_CELLS and b.count * b.interval_s >= vod.duration_s * 0.9 for b in boards)
    return Finding.of(known and covers, f"{len(boards)} sizes; {len(cells)} cells cut from the first sheet", lines)
