"""Targets that read video: headers, containers, whole heads, and the decoder."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from itertools import pairwise
from math import isfinite
from typing import Any

import numpy as np

from harvester.config import Decode
from harvester.decode import open_decoder
from harvester.errors import MediaError
from harvester.fetch.clips import ClipReader
from harvester.fetch.heads import HeadSizes
from harvester.fetch.segments import SegmentReader
from harvester.media import av1, fmp4, h264, hevc, mp4, mpegts
from harvester.media.bitstream import length_prefixed
from harvester.media.nal import Role, annex_b, sample_picture
from harvester.media.pictures import PictureScan, nal_units, syntax_for
from harvester.model import AccessUnit, ByteRange, Codec, InitSection, Picture, Rendition, Segment
from harvester.ports import Decoder
from harvester.transport.client import Response, StatusError
from tests.contract.streams import Sample, named
from tests.fuzz.mutations import Mutation, any_of, blind, boxes, numbers, packets
from tests.fuzz.target import Reader, Target, plain
from tests.unit.media.box_editor import split_init
from tests.unit.media.footage import Recipe, access_units, make
from tests.unit.media.ts_writer import plain as by_hand

CODECS = ("libx264", "libx265", "libsvtav1")
_FRAGMENTED = (("movflags", "frag_keyframe+empty_moov+default_base_moof"),)
_SIZE = (64, 48)
#: Requests that reading one thing may take: heads double, an index may lie behind four boxes.
MAX_REQUESTS = 40
#: Cut nearer to its end than this, a CABAC slice may look whole (bytes; see decode/cpu.py).
_LAST_BYTES = 16
#: Height and width (pixels) of what may be wrong where an HEVC slice was cut in its last blocks, filters' reach
#: included: two blocks of 64; of 4,000 such inputs 10 % gave a picture wrong in one, 0.2 % in two of them.
_LAST_BLOCKS = (64 + 8, 128 + 8)


@cache
def transport_streams() -> tuple[bytes, ...]:
    """H.264 and HEVC, with sound, and one multiplexed by hand with long tables."""
    recipes = (
        Recipe(size=_SIZE, frames=10, params="open-gop=1"),
        Recipe(size=_SIZE, codec="libx265", frames=10),
        Recipe(size=_SIZE, frames=6, audio="first", params="slices=2"),
    )
    odd = by_hand(access_units(make(recipes[0])), length=True, pmt_padding=300)
    return (*map(make, recipes), odd)


@cache
def fragmented() -> tuple[bytes, ...]:
    """Init section and segment in one piece, of each codec."""
    return tuple(
        make(Recipe(size=_SIZE, codec=codec, container="mp4", frames=6, muxer=_FRAGMENTED, audio="first"))
        for codec in CODECS
    )


@cache
def inits() -> tuple[bytes, ...]:
    return tuple(split_init(data)[0] for data in fragmented())


@cache
def segments() -> tuple[bytes, ...]:
    return tuple(b"".join(box.plain() for box in split_init(data)[1]) for data in fragmented())


@cache
def clips() -> tuple[bytes, ...]:
    """Plain MP4 files, the index in front and behind."""
    recipes = [Recipe(size=_SIZE, codec=codec, container="mp4", frames=6, gop=2) for codec in CODECS]
    front = [make(Recipe(**{**vars(recipe), "muxer": (("movflags", "faststart"),)})) for recipe in recipes]
    return (*front, make(recipes[0]))


@cache
def streams(codec: Codec) -> tuple[bytes, ...]:
    """Annex B streams of a few pictures."""
    chosen = transport_streams()[1:2] if codec is Codec.HEVC else transport_streams()[::2]
    return tuple(b"".join(unit.data for unit in access_units(data)) for data in chosen)


def _nals(data: bytes) -> list[bytes]:
    return [data[nal.begin : nal.end] for nal in nal_units(data, closed=True)]


@cache
def headers(codec: Codec) -> tuple[bytes, ...]:
    """Parameter sets and slice heads, or AV1 sequence headers."""
    if codec is Codec.AV1:
        return tuple(unit.payload for unit in av1.obus(_sample(2)[1]) if unit.type == 1)
    syntax = syntax_for(codec)
    nals = [nal for data in streams(codec) for nal in _nals(data)]
    read = (Role.PARAMETERS, Role.SLICE)
    return tuple(dict.fromkeys(nal[:200] for nal in nals if syntax.role(nal[:2]) in read))


def _sample(number: int) -> tuple[fmp4.Init, bytes]:
    """The first sample of a fragmented file, as it lies in its mdat."""
    init, clip = fmp4.parse_init(inits()[number]), clips()[number]
    part = mp4.parse_index(clip, total_bytes=None).keyframes[0].byte_range
    return init, clip[part.start : part.end]


def _read_h264(data: bytes) -> object:
    syntax = h264.H264Syntax()
    for nal in headers(Codec.H264):
        if nal[0] & 31 in (7, 8):
            syntax.learn(nal)
    return _read_nal(syntax, data, {7: h264.parse_sps, 8: h264.parse_pps_ids}.get(data[0] & 31 if data else 0))


def _read_hevc(data: bytes) -> object:
    syntax = hevc.HevcSyntax()
    for nal in headers(Codec.HEVC):
        if nal[0] >> 1 in (32, 33, 34):
            syntax.learn(nal)
    return _read_nal(syntax, data, {33: hevc.parse_sps, 34: hevc.parse_pps}.get(data[0] >> 1 if data else 0))


def _read_nal(syntax: Any, data: bytes, parse: Callable[[bytes], object] | None) -> object:
    if len(data) < syntax.header_bytes:
        raise MediaError("no NAL unit")  # what every caller makes sure of
    if parse is not None:
        parse(data)
        return syntax.learn(data)
    found = syntax.read_slice(data)
    assert 0 < found.bytes_read <= len(data)
    return found


def _read_sequence(data: bytes) -> object:
    found = av1.parse_sequence_header(data)
    assert found.stream.width > 0
    return found


def _read_stream(codec: Codec) -> Reader:
    def read(data: bytes) -> object:
        syntax = syntax_for(codec)
        ends = [(nal.begin, nal.end) for nal in nal_units(data, closed=True)]
        assert all(begin <= end <= len(data) for begin, end in ends)
        assert all(before[1] < after[0] for before, after in pairwise(ends))
        for picture in PictureScan(data, syntax, closed=True):
            syntax.random_access(picture.slices, picture.bytes_of(data))
        return ends

    return read


def _read_sample(number: int) -> Reader:
    def read(data: bytes) -> object:
        entry = _sample(number)[0].entry
        if entry.codec is not None and entry.codec is not Codec.AV1:
            nals = list(length_prefixed(data, entry.length_bytes))
            assert sum(map(len, nals)) <= len(data)
            sample_picture(syntax_for(entry.codec), nals)
        return entry.picture(data)

    return read


def _check_unit(unit: AccessUnit, data: bytes) -> None:
    assert isfinite(unit.moment_s)
    assert 0 <= unit.head_bytes <= len(data)
    assert unit.stream.width > 0
    assert unit.stream.height > 0


def _read_head(parse: Callable[..., AccessUnit]) -> Reader:
    """``parse(data, complete=...)`` both ways; a head cut where the parser says it needs no more gives the same."""

    def read(data: bytes) -> object:
        with suppress(MediaError):
            unit = parse(data, complete=False)
            _check_unit(unit, data)
            assert parse(data[: unit.head_bytes], complete=False) == unit
        whole = parse(data, complete=True)
        _check_unit(whole, data)
        return whole

    return read


def _read_fragmented(data: bytes) -> object:
    at = max(data.find(b"moof") - 4, 0)
    init = fmp4.parse_init(data[:at] or data)
    assert init.width >= 0
    return fmp4.first_access_unit(init, data[at:], complete=True)


def _read_segment(number: int) -> Reader:
    return _read_head(lambda data, *, complete: fmp4.first_access_unit(_init(number), data, complete=complete))


@cache
def _init(number: int) -> fmp4.Init:
    return fmp4.parse_init(inits()[number])


def _read_index(data: bytes) -> object:
    index = mp4.parse_index(data, total_bytes=len(data))
    moments = [keyframe.moment_s for keyframe in index.keyframes]
    assert moments == sorted(moments)
    assert isfinite(index.duration_s)
    for number, keyframe in enumerate(index.keyframes[:4]):
        part = keyframe.byte_range
        assert part.end <= len(data)
        with suppress(MediaError):
            _check_unit(index.access_unit(number, data[part.start : part.end]), data)
    return index


class Shelf:
    """Resources by URL, served by range as a transport would; a reader that asks without end is a finding."""

    def __init__(self, **resources: bytes) -> None:
        self._resources = resources
        self._requests = 0

    async def get(self, url: str, *, byte_range: ByteRange | None = None, limit_bytes: int, **_: Any) -> Response:
        self._requests += 1
        assert self._requests <= MAX_REQUESTS, "asks without end"
        data = self._resources[url]
        wanted = byte_range or ByteRange(0, max(len(data), 1))
        body = data[wanted.start : wanted.end]
        assert len(body) <= limit_bytes
        if not body:
            raise StatusError("behind the end", status=416, total_bytes=len(data))
        return Response(206, body, len(data))


_RENDITION = Rendition("48p", "media", *_SIZE, 25.0, None, "")


@contextmanager
def segment_reading() -> Iterator[Reader]:
    """A segment and its init section over a transport: as a run reads them."""
    with asyncio.Runner() as loop:

        def read(data: bytes) -> object:
            at = max(data.find(b"moof") - 4, 0)
            shelf: Any = Shelf(init=data[:at], media=data[at:])
            segment = Segment("media", 0.0, 10.0, init=InitSection("init") if at else None)
            reader = SegmentReader(shelf, _RENDITION, HeadSizes())
            return loop.run(reader.read(segment))

        yield read


@contextmanager
def clip_reading() -> Iterator[Reader]:
    with asyncio.Runner() as loop:
        yield lambda data: loop.run(_read_clip(data))


async def _read_clip(data: bytes) -> object:
    shelf: Any = Shelf(clip=data)
    reader = await ClipReader.open(shelf, "clip", duration_s=0.24, heads=HeadSizes())
    chosen = range(min(len(reader.keyframes), 8))
    reader.choose(chosen)
    for item in chosen:
        with suppress(MediaError):
            await reader.read(item)
    return reader


_SCENES = {
    Codec.H264: Sample("h264", Codec.H264, *_SIZE, params="keyint=1:slices=2"),
    Codec.HEVC: named("hevc-slices"),  # x265 writes broken slices where they have few rows
    Codec.AV1: Sample("av1", Codec.AV1, *_SIZE),
}


@cache
def pictures(codec: Codec) -> tuple[bytes, ...]:
    """Access units of a game's picture, for the decoder."""
    return tuple(data for data, key in _SCENES[codec].packets(3) if key)


def _decoding(codec: Codec) -> Callable[[], Any]:
    @contextmanager
    def opened() -> Iterator[Reader]:
        decoder = open_decoder(Decode(backend="cpu"))
        yield lambda data: _decode(decoder, codec, data)
        decoder.close()

    return opened


def _decode(decoder: Decoder, codec: Codec, data: bytes) -> Picture:
    if not data:
        raise MediaError("an empty access unit")  # AccessUnit refuses it
    picture = decoder.look(AccessUnit(_SCENES[codec].info, data, 0.0)).picture()
    assert picture.y.dtype == np.uint8
    return picture


def _decoding_of_parts(codec: Codec) -> Callable[[], Any]:
    """Parts of the picture are gone: no picture may come, or for HEVC one that is wrong in its last blocks only."""

    @contextmanager
    def opened() -> Iterator[Reader]:
        with _decoding(codec)() as decode:
            whole: list[Any] = [decode(data) for data in pictures(codec)]

            def read(data: bytes) -> object:
                found: Any = decode(data)
                if data in pictures(codec):
                    return found
                assert codec is Codec.HEVC, "a picture was made of a part of one"
                wrong = min((np.argwhere(found.y != each.y) for each in whole), key=len)
                reach = np.ptp(wrong, axis=0) if len(wrong) else np.zeros(2)
                assert (reach <= _LAST_BLOCKS).all(), f"{reach} pixels are made up"
                return found

            yield read

    return opened


def lose(codec: Codec) -> Mutation:
    """A slice less, or a slice that ends early."""
    role = syntax_for(codec).role

    def lost(rng: random.Random, data: bytes, other: bytes) -> bytes:
        nals = _nals(data)
        at = rng.choice([number for number, nal in enumerate(nals) if role(nal[:2]) is Role.SLICE])
        if rng.random() < 0.3:
            del nals[at]
        else:
            nals[at] = nals[at][: rng.randrange(6, len(nals[at]) - _LAST_BYTES)]
        return annex_b(nals)

    return lost


def cut(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """The end is gone."""
    return data[: rng.randrange(1, len(data) - _LAST_BYTES)]


_bits = any_of(blind, numbers)
_box = any_of(blind, boxes, boxes)


def _of(source: Callable[[], Sequence[bytes]], number: int) -> Callable[[], Sequence[bytes]]:
    return lambda: source()[number : number + 1]


MEDIA: tuple[Target, ...] = (
    Target(
        "mpegts head",
        80,
        transport_streams,
        any_of(blind, packets, packets),
        plain(_read_head(mpegts.first_access_unit)),
    ),
    Target("h264 headers", 120, lambda: headers(Codec.H264), _bits, plain(_read_h264)),
    Target("hevc headers", 120, lambda: headers(Codec.HEVC), _bits, plain(_read_hevc)),
    Target("av1 sequence header", 60, lambda: headers(Codec.AV1), _bits, plain(_read_sequence)),
    Target("h264 stream", 30, lambda: streams(Codec.H264), blind, plain(_read_stream(Codec.H264))),
    Target("hevc stream", 30, lambda: streams(Codec.HEVC), blind, plain(_read_stream(Codec.HEVC))),
    *(
        Target(f"sample {codec}", 25, lambda n=n: (_sample(n)[1],), _bits, plain(_read_sample(n)))
        for n, codec in enumerate(CODECS)
    ),
    *(
        Target(f"fmp4 segment {codec}", 25, _of(segments, n), _box, plain(_read_segment(n)))
        for n, codec in enumerate(CODECS)
    ),
    Target("fmp4 init", 70, inits, _box, plain(fmp4.parse_init)),
    Target("fmp4 whole", 30, fragmented, _box, plain(_read_fragmented)),
    Target("mp4 index", 80, clips, _box, plain(_read_index)),
    Target(
        "segment reader",
        20,
        lambda: (*fragmented(), *transport_streams()),
        any_of(blind, boxes, packets),
        segment_reading,
    ),
    Target("clip reader", 20, clips, _box, clip_reading),
    *(
        Target(f"decode {codec}", 20, lambda c=codec: pictures(c), any_of(blind, numbers), _decoding(codec))
        for codec in _SCENES
    ),
    Target("decode lost h264", 4, lambda: pictures(Codec.H264), lose(Codec.H264), _decoding_of_parts(Codec.H264)),
    Target("decode lost hevc", 4, lambda: pictures(Codec.HEVC), lose(Codec.HEVC), _decoding_of_parts(Codec.HEVC)),
    Target("decode cut av1", 2, lambda: pictures(Codec.AV1), cut, _decoding_of_parts(Codec.AV1)),
)
