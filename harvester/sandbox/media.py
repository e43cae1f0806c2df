"""Video bytes: footage files demuxed into GOPs and remuxed on demand; encodes only to build footage.

Remuxing keeps every coded picture as it is, so serving costs no encode: an MPEG-TS or fMP4 segment is some whole
GOPs written by libavformat, a clip is a run of GOPs as a faststart MP4 (with the edit list that B-frames need).
Only this module of the sandbox touches PyAV.
"""

from __future__ import annotations

import heapq
import io
import math
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.filter
import numpy as np
from numpy.typing import NDArray

from harvester.model import Codec
from harvester.sandbox.codec_names import codec_name
from harvester.sandbox.encoding import Encoding

#: SVT-AV1 writes a page about itself to stderr for every encode; it reads this when it is first opened.
os.environ.setdefault("SVT_LOG", "1")

#: Fragmented MP4 as a packager writes it: init section first, one moof and mdat per GOP, offsets relative to moof.
_FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}

DrawLuma = Callable[[NDArray[np.uint8], int], None]


@dataclass(frozen=True, slots=True)
class Gop:
    """One group of pictures: coded samples as (data, pts, dts, duration) in ticks of the reel's time base."""

    start: int  # pts of its keyframe (ticks)
    length: int  # until the next keyframe (ticks)
    samples: tuple[tuple[bytes, int, int, int], ...] = field(repr=False)


class Reel:
    """The GOPs of one video file that start before ``until_s``, and their remuxes. Nothing is decoded.

    Raises :class:`ValueError` for another codec or a file that does not start with a keyframe.
    """

    def __init__(self, path: Path, until_s: float = math.inf) -> None:
        # Kept open: libavformat copies the codec parameters of an open stream into each remux.
        self._container = av.open(str(path))
        self._video = self._container.streams.video[0]
        coded = self._video.codec_context.codec.canonical_name
        if coded not in tuple(Codec):
            raise ValueError(f"{path.name} is {coded}, the sandbox serves {', '.join(Codec)} only")
        self.codec = Codec(coded)
        self._time_base = self._video.time_base or Fraction(1, 90_000)
        self.width, self.height = self._video.width, self._video.height
        self.fps = float(self._video.average_rate or 30)
        self.configuration = bytes(self._video.codec_context.extradata or b"")
        self.gops = tuple(gop for gop in self._split() if gop.start * self._time_base < until_s - 1e-3)

    def _split(self) -> Iterator[Gop]:
        packets = [
            packet for packet in self._container.demux(self._video) if packet.size and packet.pts is not None
        ]
        keys = [index for index, packet in enumerate(packets) if packet.is_keyframe]
        if not keys or keys[0] != 0:
            raise ValueError("the first picture of the footage is no keyframe")
        starts = [packets[index].pts or 0 for index in keys]
        starts.append(max((packet.pts or 0) + (packet.duration or 0) for packet in packets))
        for number, first in enumerate(keys):
            group = packets[first : keys[number + 1] if number + 1 < len(keys) else None]
            samples = tuple(
                (bytes(p), p.pts or 0, p.dts if p.dts is not None else 0, p.duration or 0) for p in group
            )
            yield Gop(starts[number], starts[number + 1] - starts[number], samples)

    def start_s(self, gop: int) -> float:
        """Where a GOP starts in the footage (s from the first picture)."""
        return float((self.gops[gop].start - self.gops[0].start) * self._time_base)

    def seconds(self, gop: int) -> float:
        """Length of a GOP (s)."""
        return float(self.gops[gop].length * self._time_base)

    def size_bytes(self, gop: int) -> int:
        """Coded bytes of a GOP."""
        return sum(len(sample[0]) for sample in self.gops[gop].samples)

    @property
    def codecs(self) -> str:
        """RFC 6381 name."""
        return codec_name(self.codec, self.configuration)

    def ts(self, gops: Sequence[int], at_s: float, *, sound: bool = False) -> bytes:
        """The GOPs one after another as an MPEG-TS segment whose first picture is presented at ``at_s``.

        ``sound``: beside them a track of silence.
        """
        return self._remux("mpegts", {"mpegts_copyts": "1"}, gops, at_s, sound=sound)

    def init(self) -> bytes:
        """Init section (ftyp, moov) of the fMP4 segments."""
        data = self._remux("mp4", _FRAGMENTED, [0], 0)
        return data[: _boxes(data)[b"moof"][0]]

    def fragment(self, gops: Sequence[int], at_s: float) -> bytes:
        """The GOPs as an fMP4 segment (moof and mdat per GOP) whose decode time starts at ``at_s``."""
        data = self._remux("mp4", _FRAGMENTED, gops, 0)
        boxes = _boxes(data)
        end = boxes[b"mfra"][0] if b"mfra" in boxes else len(data)
        return _shift_decode_times(data[boxes[b"moof"][0] : end], round(at_s / self._time_base))

    def mp4(self, gops: Sequence[int]) -> bytes:
        """The GOPs as a faststart MP4 file that starts at presentation time 0."""
        # libavformat moves the index to the front by opening its own output again, so it needs a real file.
        with tempfile.TemporaryDirectory(prefix="harvester-clip-") as folder:
            target = Path(folder) / "clip.mp4"
            self._write(str(target), "mp4", {"movflags": "faststart"}, gops, 0)
            return target.read_bytes()

    def picture(self, at_s: float, width: int, height: int) -> NDArray[np.uint8]:
        """What a player shows ``at_s`` seconds into the file, scaled: planes stacked (3/2 height, width).

        Its GOP is decoded from the keyframe on, each time.
        """
        ticks = self.gops[0].start + round(at_s / self._time_base)
        gop = next((gop for gop in reversed(self.gops) if gop.start <= ticks), self.gops[0])
        decoder = av.CodecContext.create(self._video.codec_context.name, "r")
        decoder.extradata = self.configuration
        assert isinstance(decoder, av.VideoCodecContext)
        shown = None
        for frame in _decoded(decoder, gop):
            if shown is not None and (frame.pts or 0) > ticks:
                break
            shown = frame
        if shown is None:
            raise ValueError("a GOP without a picture")
        scaled = shown.reformat(width, height, "yuv420p", interpolation="AREA")
        return np.asarray(scaled.to_ndarray(), np.uint8)

    def _remux(
        self, container: str, options: dict[str, str], gops: Sequence[int], at_s: float, *, sound: bool = False
    ) -> bytes:
        buffer = io.BytesIO()
        self._write(buffer, container, options, gops, at_s, sound=sound)
        return buffer.getvalue()

    def _write(
        self,
        target: io.BytesIO | str,
        container: str,
        options: dict[str, str],
        gops: Sequence[int],
        at_s: float,
        *,
        sound: bool = False,
    ) -> None:
        with av.open(target, "w", format=container, options=options) as output:
            # PyAV looks for an encoder of the decoder's name, unless told to copy; dav1d has none.
            stream = output.add_stream_from_template(self._video, opaque=self.codec is Codec.AV1)
            packets = self._packets(stream, gops, at_s)
            if sound:
                duration_s = sum(self.seconds(gop) for gop in gops)
                silent = _silent_packets(_add_sound(output), duration_s, at_s)
                packets = heapq.merge(packets, silent, key=lambda packet: (packet.dts or 0) * packet.time_base)
            for packet in packets:
                output.mux_one(packet)

    def _packets(self, stream: av.VideoStream, gops: Sequence[int], at_s: float) -> Iterator[av.Packet[Any]]:
        """The coded pictures of the GOPs, time-stamped from ``at_s`` on."""
        position = round(at_s / self._time_base)
        for number in gops:
            gop = self.gops[number]
            for index, (data, pts, dts, duration) in enumerate(gop.samples):
                packet = av.Packet(data)
                packet.pts, packet.dts = pts - gop.start + position, dts - gop.start + position
                packet.duration, packet.time_base = duration, self._time_base
                packet.is_keyframe, packet.stream = index == 0, stream
                yield packet
            position += gop.length


def _decoded(decoder: av.VideoCodecContext, gop: Gop) -> Iterator[av.VideoFrame]:
    """The pictures of a GOP in order of presentation, decoded as they are asked for."""
    for data, pts, dts, _duration in gop.samples:
        packet = av.Packet(data)
        packet.pts, packet.dts = pts, dts
        yield from decoder.decode(packet)
    yield from decoder.decode(None)


def _boxes(data: bytes, start: int = 0, end: int | None = None) -> dict[bytes, tuple[int, int]]:
    """(start, end) of the first box of each type between two offsets (ISO/IEC 14496-12 §4.2)."""
    found: dict[bytes, tuple[int, int]] = {}
    for kind, low, high in _walk(data, start, len(data) if end is None else end):
        found.setdefault(kind, (low, high))
    return found


def _walk(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    while start + 8 <= end:
        size = int.from_bytes(data[start : start + 4], "big")
        yield data[start + 4 : start + 8], start, start + size
        start += size


def _shift_decode_times(data: bytes, ticks: int) -> bytes:
    """Fragments with ``ticks`` added to every baseMediaDecodeTime (tfdt, version 1 as libavformat writes it).

    libavformat starts the first fragment of a file at 0 whatever its timestamps are; a segment of a longer
    recording does not.
    """
    shifted = bytearray(data)
    for kind, start, end in _walk(data, 0, len(data)):
        if kind == b"moof":
            traf = _boxes(data, start + 8, end)[b"traf"]
            tfdt = _boxes(data, traf[0] + 8, traf[1])[b"tfdt"][0]
            time = int.from_bytes(data[tfdt + 12 : tfdt + 20], "big") + ticks
            shifted[tfdt + 12 : tfdt + 20] = time.to_bytes(8, "big")
    return bytes(shifted)


def silence(duration_s: float, at_s: float) -> bytes:
    """An MPEG-TS segment of silent AAC, 48 kHz mono: what an audio-only rendition serves."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mpegts", options={"mpegts_copyts": "1"}) as output:
        output.mux(list(_silent_packets(_add_sound(output), duration_s, at_s)))
    return buffer.getvalue()


def _add_sound(output: av.container.OutputContainer) -> av.AudioStream:
    return output.add_stream("aac", rate=48_000, layout="mono")


def _silent_packets(stream: av.AudioStream, duration_s: float, at_s: float) -> Iterator[av.Packet[Any]]:
    for number in range(max(1, round(duration_s * 48_000 / 1024))):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.time_base = 48_000, Fraction(1, 48_000)
        frame.pts = round(at_s * 48_000) + number * 1024
        yield from stream.encode(frame)
    yield from stream.encode(None)


def encode(
    source: Path,
    target: Path,
    encoding: Encoding,
    *,
    start_s: float = 0,
    seconds: float | None = None,
    draw: DrawLuma | None = None,
) -> None:
    """Encode ``seconds`` of ``source`` from ``start_s`` on into the MP4 file ``target``.

    ``draw(luma, number)`` may paint on the luma plane (height, width) of picture ``number`` before it is coded.
    """
    with av.open(str(source)) as container, av.open(str(target), "w", options={"movflags": "faststart"}) as output:
        video = container.streams.video[0]
        video.thread_type = "AUTO"
        rate = Fraction(encoding.fps or video.average_rate or 30)
        name, options = encoding.encoder(rate)
        stream = output.add_stream(name, rate=rate, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = encoding.width, encoding.height, "yuv420p"
        first = round(start_s * rate)
        last = first + round(seconds * rate) if seconds is not None else None
        for number, frame in enumerate(_filtered(container, video, encoding, rate)):
            if last is not None and number >= last:
                break
            if number >= first:
                output.mux(stream.encode(_painted(frame, number - first, rate, draw)))
        output.mux(stream.encode(None))


def _filtered(
    container: av.container.InputContainer, video: av.VideoStream, encoding: Encoding, rate: Fraction
) -> Iterator[av.VideoFrame]:
    graph = av.filter.Graph()
    last = graph.add_buffer(template=video)
    source = last
    scale = ("scale", f"{encoding.width}:{encoding.height}:flags=area")
    for name, arguments in (("fps", str(rate)), *encoding.filters, scale, ("format", "yuv420p")):
        node = graph.add(name, arguments or None)
        last.link_to(node)
        last = node
    sink = graph.add("buffersink")
    last.link_to(sink)
    graph.configure()
    for frame in container.decode(video):
        source.push(frame)
        yield from _drain(sink)
    source.push(None)
    yield from _drain(sink)


def _drain(sink: av.filter.context.FilterContext) -> Iterator[av.VideoFrame]:
    while True:
        try:
            frame = sink.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        assert isinstance(frame, av.VideoFrame)
        yield frame


def _painted(frame: av.VideoFrame, number: int, rate: Fraction, draw: DrawLuma | None) -> av.VideoFrame:
    if draw is not None:
        planes = np.asarray(frame.to_ndarray(format="yuv420p"), np.uint8)
        draw(planes[: frame.height], number)
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
    frame.pts, frame.time_base = number, 1 / rate
    frame.pict_type = av.video.frame.PictureType.NONE
    return frame
