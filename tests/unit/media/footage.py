"""Small streams made in memory by PyAV, and PyAV as the oracle of what they hold."""

from __future__ import annotations

import io
import os
import tempfile
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np

RATE = 25
os.environ.setdefault("SVT_LOG", "1")  # errors only


@dataclass(frozen=True)
class Recipe:
    """How a stream is made; equal recipes are encoded once."""

    codec: str = "libx264"
    container: str = "mpegts"
    size: tuple[int, int] = (160, 96)
    frames: int = 20
    gop: int = 8
    params: str = ""  # x264-params, x265-params or svtav1-params, colon separated
    pix_fmt: str = "yuv420p"
    audio: str = ""  # "", "first" or "last"
    muxer: tuple[tuple[str, str], ...] = ()
    full_range: bool = False
    bt709: bool = False


_PARAMS = {"libx264": "x264-params", "libx265": "x265-params", "libsvtav1": "svtav1-params"}


def _options(recipe: Recipe) -> dict[str, str]:
    base = {
        "libx264": f"keyint={recipe.gop}:min-keyint={recipe.gop}:scenecut=0:bframes=3:threads=1",
        "libx265": f"keyint={recipe.gop}:min-keyint={recipe.gop}:scenecut=0:bframes=3:pools=none:frame-threads=1"
        ":log-level=none",
        "libsvtav1": "lp=1",
    }[recipe.codec]
    params = ":".join(part for part in (base, recipe.params) if part)
    preset = "12" if recipe.codec == "libsvtav1" else "ultrafast" if recipe.codec == "libx265" else "veryfast"
    return {_PARAMS[recipe.codec]: params, "preset": preset, "crf": "30"}


def picture(size: tuple[int, int], number: int) -> np.ndarray:
    """RGB (H, W, 3): coarse noise that drifts, so that every frame differs and prediction has work."""
    width, height = size
    noise = np.random.default_rng(7).integers(0, 256, (height // 8 + 2, width // 8 + 2, 3), np.uint8)
    full = np.kron(noise, np.ones((8, 8, 1), np.uint8))
    full = np.roll(full, (number, 2 * number), (0, 1))[:height, :width].copy()
    full[: height // 4, : width // 4] = (number * 37) % 256
    return full


@cache
def make(recipe: Recipe) -> bytes:
    """Encode and mux ``recipe``. In a file: faststart opens its output a second time, by name."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stream"
        _write(recipe, str(path))
        return path.read_bytes()


def _write(recipe: Recipe, path: str) -> None:
    with av.open(path, "w", format=recipe.container, options=dict(recipe.muxer)) as out:
        sound = out.add_stream("aac", rate=48000, layout="mono") if recipe.audio == "first" else None
        video = _add_video(out, recipe)
        if recipe.audio == "last":
            sound = out.add_stream("aac", rate=48000, layout="mono")
        for number in range(recipe.frames):
            frame = av.VideoFrame.from_ndarray(picture(recipe.size, number)).reformat(format=recipe.pix_fmt)
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            out.mux(video.encode(frame))
            if sound is not None:
                out.mux(sound.encode(_tone(number)))
        out.mux(video.encode(None))
        if sound is not None:
            out.mux(sound.encode(None))


def _add_video(out, recipe: Recipe):
    video = out.add_stream(recipe.codec, rate=RATE, options=_options(recipe))
    video.width, video.height = recipe.size
    video.pix_fmt = recipe.pix_fmt
    video.gop_size = recipe.gop
    if recipe.full_range:
        video.codec_context.color_range = 2
    if recipe.bt709:
        video.codec_context.colorspace = 1
    return video


def _tone(number: int):
    count = 48000 // RATE
    samples = (np.arange(count, dtype=np.float32) + number * count) * 0.05
    tone = av.AudioFrame.from_ndarray(np.sin(samples)[None].astype(np.float32), format="fltp", layout="mono")
    tone.rate, tone.pts, tone.time_base = 48000, number * count, Fraction(1, 48000)
    return tone


Planes = tuple[bytes, ...]


def planes(frame) -> Planes:
    """The visible bytes of every plane of a decoded frame, without padding."""
    parts = [frame.format.name.encode()]
    for plane, component in zip(frame.planes, frame.format.components, strict=False):
        rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
        parts.append(rows[:, : plane.width * ((component.bits + 7) // 8)].tobytes())
    return tuple(parts)


@dataclass(frozen=True)
class Oracle:
    """What PyAV makes of a whole file: its key pictures with times from the earliest picture, in seconds."""

    keys: tuple[tuple[float, Planes], ...]
    width: int
    height: int
    pix_fmt: str


def demux(data: bytes) -> Oracle:
    """Demux and decode ``data`` wholly with PyAV."""
    with av.open(io.BytesIO(data)) as file:
        stream = file.streams.video[0]
        packets = [packet for packet in file.demux(stream) if packet.pts is not None]
        base = stream.time_base
        earliest = min(packet.pts for packet in packets)
        keys = [packet.pts for packet in packets if packet.is_keyframe]
        context = stream.codec_context
        frames = {}
        for packet in packets:
            frames.update({frame.pts: frame for frame in packet.decode()})
        frames.update({frame.pts: frame for frame in context.decode(None)})
        pairs = tuple((float((pts - earliest) * base), planes(frames[pts])) for pts in keys if pts in frames)
        return Oracle(pairs, context.width, context.height, context.pix_fmt)


def times(data: bytes) -> list[float]:
    """Presentation times of the key packets as PyAV reports them (edit list applied), seconds."""
    with av.open(io.BytesIO(data)) as file:
        stream = file.streams.video[0]
        return [float(p.pts * stream.time_base) for p in file.demux(stream) if p.pts is not None and p.is_keyframe]


def decode_alone(codec: str, data: bytes) -> Planes:
    """Decode one access unit with a decoder that has seen nothing before; exactly one frame must come."""
    context = av.CodecContext.create(codec, "r")
    context.thread_count = 1
    frames = [*context.decode(av.Packet(data)), *context.decode(None)]
    assert len(frames) == 1
    assert not frames[0].is_corrupt
    return planes(frames[0])


@dataclass(frozen=True)
class Unit:
    """An access unit as PyAV's demuxer cuts it (Annex B), times in 90 kHz ticks."""

    data: bytes
    pts: int
    dts: int
    key: bool


def access_units(ts: bytes) -> list[Unit]:
    """The video access units of an MPEG-TS stream."""
    with av.open(io.BytesIO(ts)) as file:
        stream = file.streams.video[0]
        return [
            Unit(
                bytes(packet), packet.pts, packet.dts if packet.dts is not None else packet.pts, packet.is_keyframe
            )
            for packet in file.demux(stream)
            if packet.size
        ]
