"""The VODs that the benchmark serves: made once from the package's footage, kept in a cache folder.

Each segment of ten seconds begins with a picture of its own, a keyframe whose perceptual hash differs from every
other's; whole segments are filled up with the rest of a GOP and four further ones that many segments share, so
that who downloads or decodes more than the head gets ten seconds of real 1080p60 at 6 Mbit/s. To encode all of it
would take hours. (After a head, P and B pictures refer to what they were not made for: a smear that costs as much
to decode. Nobody's first picture is among them.)
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from bench.transport_stream import AUDIO, CLOCK_HZ, VIDEO, Stretch, Unit, adts, written
from harvester.config import Filter
from harvester.model import Codec, Measurement, Picture, StreamInfo
from harvester.sandbox.footage import PACKAGE_INDEX, Session, read_index
from harvester.vision.filters import judge
from harvester.vision.measure import measure
from harvester.vision.phash import phash

SEGMENT_S, GOP_S = 10, 2
#: Part of the cache folder's name: raise it when the footage would come out differently.
VERSION = 1
#: First pictures differ by at least this many bits of 64: twice the default radius.
DISTANCE = 12
#: Looks tried at one picture of the footage, and shares of it that a look shows.
_LOOKS, _SCALES = 40, (0.45, 0.95)
#: Fillings of segments, from different games.
TAILS = 3
#: Sound: AAC at 160 kbit/s, as broadcasters send it; frames of a PES packet, as libavformat packs them.
_SOUND_BITS, _SOUND_HZ, _SOUND_FRAME, _FRAMES_A_PES = 160_000, 48_000, 1024, 6
_AUD = b"\x00\x00\x00\x01\x09\xf0"
_SEED = "bench"

_Plane = NDArray[np.uint8]
_Planes = tuple[_Plane, _Plane, _Plane]


@dataclass(frozen=True, slots=True)
class Quality:
    """A rendition. ``key_bytes``: mean size of a keyframe, measured on VODs of that bit rate."""

    name: str
    width: int
    height: int
    fps: int
    mbps: float
    key_bytes: int
    vods: int
    segments: int = 60

    @property
    def x264(self) -> str:
        """Closed GOPs of two seconds; stitchable: the same parameter sets whatever the rate control."""
        gop = GOP_S * self.fps
        return f"keyint={gop}:min-keyint={gop}:scenecut=0:open-gop=0:bframes=2:mbtree=0:stitchable=1:level=4.2"


QUALITIES = {
    quality.name: quality
    for quality in (
        Quality("1080p60", 1920, 1080, 60, 6.0, 170_000, vods=10),
        Quality("480p30", 852, 480, 30, 1.4, 60_000, vods=30),
        Quality("180p15", 320, 180, 15, 0.3, 10_000, vods=2, segments=8),  # to try the command
    )
}


@dataclass(frozen=True, slots=True)
class Head:
    """The first picture of a segment: where its packets lie, what it shows, the size of its access unit."""

    start: int
    end: int
    unit_bytes: int
    phash: int


def sessions() -> list[Session]:
    """The games of the package."""
    return [session for session in read_index(PACKAGE_INDEX) if session.game is not None]


def build(quality: Quality, cache: Path) -> Path:
    """The folder with that quality's footage, made unless it is there."""
    folder = cache / f"{quality.name}-{VERSION}-{quality.vods}x{quality.segments}"
    if (folder / "heads.json").is_file():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    _say(f"{quality.name}: making {quality.vods} VODs of {quality.segments} segments, once")
    for number, session in enumerate(sessions()[: 2 * TAILS : 2]):
        _save(folder / f"tail-{number}.npz", _tail(quality, session))
        _say(f"  filling {number + 1} of {TAILS}")
    heads, position = [], 0
    with (folder / "heads.ts").open("wb") as file:
        for data in _encoded_heads(quality):
            stretch = head_packets(quality, data)
            file.write(stretch.data)
            heads.append([position, position + stretch.data.size, len(data), f"{shown(data):016x}"])
            position += stretch.data.size
            if len(heads) % 100 == 0:
                _say(f"  {len(heads)} of {quality.vods * quality.segments} segments")
    (folder / "heads.json").write_text(json.dumps(heads), encoding="utf-8")
    return folder


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def read_heads(folder: Path) -> list[Head]:
    """The heads of :func:`build`, segment by segment of VOD after VOD."""
    entries = json.loads((folder / "heads.json").read_text(encoding="utf-8"))
    return [Head(start, end, size, int(value, 16)) for start, end, size, value in entries]


def _save(path: Path, stretch: Stretch) -> None:
    np.savez(path, data=stretch.data, offsets=stretch.offsets, kinds=stretch.kinds, ticks=stretch.ticks)


def load(path: Path) -> Stretch:
    """What a ``tail-N.npz`` holds."""
    with np.load(path) as arrays:
        return Stretch(*(arrays[name] for name in ("data", "offsets", "kinds", "ticks")))


def picture_hash(y: _Plane) -> int:
    """Harvester's hash of a luma plane."""
    return phash(_measured(y).grid)


def _measured(y: _Plane) -> Measurement:
    height, width = y.shape
    return measure(Picture(StreamInfo(Codec.H264, width, height, chroma="400"), y, None, None))


def shown(data: bytes) -> int:
    """Hash of the picture that plain PyAV decodes an access unit to."""
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    frames = [*decoder.decode(av.Packet(data)), *decoder.decode(None)]
    return picture_hash(np.ascontiguousarray(frames[0].to_ndarray(format="gray")))


# -- pictures -----------------------------------------------------------------------------------------------


def _pictures(session: Session, quality: Quality) -> Iterator[_Planes]:
    tallest, *smaller = session.files
    file = next((file for file in smaller if file.height >= 2 * quality.height), tallest)
    with av.open(str(file.path)) as container:
        for frame in container.decode(video=0):
            planes = frame.to_ndarray(format="yuv420p").ravel()
            luma = frame.width * frame.height
            shape = (frame.height // 2, frame.width // 2)
            yield (
                planes[:luma].reshape(frame.height, frame.width),
                planes[luma : luma * 5 // 4].reshape(shape),
                planes[luma * 5 // 4 :].reshape(shape),
            )


def _looked(planes: _Planes, quality: Quality, left: float, top: float, scale: float, mirror: bool) -> _Planes:
    """The window of a picture at ``left``, ``top`` (shares of what the window leaves) in the rendition's size."""
    out = []
    for plane, divisor in zip(planes, (1, 2, 2), strict=True):
        lines, columns = plane.shape
        y, x = int(top * (1 - scale) * lines), int(left * (1 - scale) * columns)
        part = plane[y : y + int(scale * lines), x : x + int(scale * columns)]
        size = (quality.width // divisor, quality.height // divisor)
        sized = cv2.resize(part, size, interpolation=cv2.INTER_LINEAR)
        out.append(np.ascontiguousarray(sized[:, ::-1] if mirror else sized))
    return cast(_Planes, tuple(out))


def _frame(planes: _Planes, number: int, quality: Quality) -> av.VideoFrame:
    joined = np.concatenate([plane.ravel() for plane in planes]).reshape(quality.height * 3 // 2, quality.width)
    frame = av.VideoFrame.from_ndarray(joined, format="yuv420p")
    frame.pts, frame.time_base = number, Fraction(1, quality.fps)
    return frame


def _distinct(quality: Quality) -> Iterator[_Planes]:
    """The first picture of every segment: kept by the default filters, unlike all before. One game a VOD."""
    seen = np.zeros(0, np.uint64)
    games = sessions()
    for vod in range(quality.vods):
        pictures = list(_pictures(games[vod % len(games)], quality))
        for segment in range(quality.segments):
            rng = random.Random(f"{_SEED}:{vod}:{segment}")
            for _ in range(_LOOKS):
                base = pictures[(segment * len(pictures) // quality.segments + rng.randrange(6)) % len(pictures)]
                planes = _looked(
                    base, quality, rng.random(), rng.random(), rng.uniform(*_SCALES), rng.random() < 0.5
                )
                value = _usable(planes[0])
                if value is not None and (np.bitwise_count(seen ^ np.uint64(value)) >= DISTANCE).all():
                    seen = np.append(seen, np.uint64(value))
                    yield planes
                    break
            else:
                raise SystemExit(f"the footage has no {quality.vods * quality.segments} different pictures")


def _usable(y: _Plane) -> int | None:
    """Its hash, if the default filters keep it."""
    measured = _measured(y)
    return phash(measured.grid) if judge(measured, Filter()).kept else None


# -- coding -------------------------------------------------------------------------------------------------


def _encoder(quality: Quality, rate: str) -> Any:
    encoder = cast(Any, av.CodecContext.create("libx264", "w"))
    encoder.width, encoder.height, encoder.pix_fmt = quality.width, quality.height, "yuv420p"
    encoder.framerate, encoder.time_base = Fraction(quality.fps), Fraction(1, quality.fps)
    parameters = f"{quality.x264}:{rate}"
    encoder.options = {"preset": "veryfast", "x264-params": parameters, "forced-idr": "1"}
    return encoder


def _keyframes(quality: Quality, pictures: Iterator[_Planes], crf: float) -> Iterator[bytes]:
    """Each picture as an IDR picture with its parameter sets, Annex B."""
    encoder = _encoder(quality, f"crf={crf:.2f}")
    for number, planes in enumerate(pictures):
        frame = _frame(planes, number, quality)
        frame.pict_type = av.video.frame.PictureType.I
        yield from (bytes(packet) for packet in encoder.encode(frame))
    yield from (bytes(packet) for packet in encoder.encode(None))


def _encoded_heads(quality: Quality) -> Iterator[bytes]:
    """Keyframes of one quality, which is the one that gives the mean size wanted."""
    every = max(1, quality.segments // 4)
    pictures = list(_sample(quality, every))
    low, high = 1.0, 45.0
    while high - low > 0.5:
        crf = (low + high) / 2
        sizes = [len(data) for data in _keyframes(quality, iter(pictures), crf)]
        low, high = (crf, high) if np.mean(sizes) > quality.key_bytes else (low, crf)
    return _keyframes(quality, _distinct(quality), (low + high) / 2)


def _sample(quality: Quality, every: int) -> Iterator[_Planes]:
    """Some pictures of each game, to find the quality by."""
    for session in sessions():
        for planes in list(_pictures(session, quality))[:: 12 * every]:
            yield _looked(planes, quality, 0.5, 0.5, 0.7, False)


def _unit(quality: Quality, data: bytes, pts: int, dts: int, *, key: bool) -> Unit:
    """``pts``, ``dts`` in pictures."""
    ticks = CLOCK_HZ // quality.fps
    return Unit(VIDEO, _AUD + data, pts * ticks, dts * ticks, key)


def head_packets(quality: Quality, data: bytes) -> Stretch:
    """A segment's tables and first picture. Two B pictures in a row, the first referred to: DTS is two ahead."""
    return written([_unit(quality, data, 0, -2, key=True)], tables=True)


def _tail(quality: Quality, session: Session) -> Stretch:
    """Ten seconds without their first picture, with sound, at the rendition's bit rate."""
    kbps = round(quality.mbps * 1000 - _SOUND_BITS / 1000 * 1.1)
    encoder = _encoder(quality, f"bitrate={kbps}:vbv-maxrate={kbps}:vbv-bufsize={kbps}")
    units = []
    for frame in _panned(quality, session):
        units += [(p.pts, p.dts, bytes(p), p.is_keyframe) for p in encoder.encode(frame)]
    units += [(p.pts, p.dts, bytes(p), p.is_keyframe) for p in encoder.encode(None)]
    video = [_unit(quality, data, pts, dts, key=key) for pts, dts, data, key in units[1:]]
    return written(sorted([*video, *_sound()], key=lambda unit: unit.dts), tables=False)


def _panned(quality: Quality, session: Session) -> Iterator[av.VideoFrame]:
    """The footage at the rendition's rate, the window in motion: there is something new in every picture."""
    pictures = list(_pictures(session, quality))
    for number in range(SEGMENT_S * quality.fps):
        at_s = number / quality.fps
        base = pictures[int(at_s * session.fps) % len(pictures)]
        left, top = 0.5 + 0.45 * np.sin(at_s * 1.3), 0.5 + 0.45 * np.cos(at_s * 0.9)
        yield _frame(_looked(base, quality, left, top, 0.8, False), number, quality)


def _sound() -> list[Unit]:
    """Noise, which AAC gives all the bits it may use; a few frames a PES packet. The encoder is a frame behind."""
    encoder = cast(Any, av.CodecContext.create("aac", "w"))
    encoder.sample_rate, encoder.layout, encoder.format = _SOUND_HZ, "stereo", "fltp"
    encoder.bit_rate = _SOUND_BITS
    rng = np.random.default_rng(0)
    count = SEGMENT_S * _SOUND_HZ // _SOUND_FRAME
    frames = [bytes(packet) for number in range(count + 1) for packet in encoder.encode(_noise(rng, number))]
    starts = range(0, count, _FRAMES_A_PES)
    return [_sound_unit(frames[first : min(first + _FRAMES_A_PES, count)], first) for first in starts]


def _noise(rng: np.random.Generator, number: int) -> av.AudioFrame:
    samples = rng.normal(0, 0.1, (2, _SOUND_FRAME)).astype(np.float32)
    frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
    frame.sample_rate, frame.pts = _SOUND_HZ, number * _SOUND_FRAME
    return frame


def _sound_unit(frames: Sequence[bytes], first: int) -> Unit:
    ticks = first * _SOUND_FRAME * CLOCK_HZ // _SOUND_HZ
    return Unit(AUDIO, adts(frames, channels=2), ticks, ticks)
