"""Seeded mutations of real streams, thrown at every parser of outside bytes. Reusable: ``storm(seed, rounds)``."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache

from harvester.errors import MediaError
from harvester.media import fmp4, mp4, mpegts
from tests.unit.media.box_editor import split_init
from tests.unit.media.footage import Recipe, access_units, make
from tests.unit.media.ts_writer import plain

Entry = Callable[[bytes], object]

_BYTES = [0, 1, 2, 3, 0x09, 0x47, 0x65, 0x67, 0x68, 0x7F, 0x80, 0xFF]


def mutate(rng: random.Random, data: bytes) -> bytes:
    """A few edits: bytes and bits changed, runs removed, doubled, swapped, zeroed; numbers made huge; cut."""
    out = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 3, 6, 20])):
        if not out:
            return bytes(out)
        at = rng.randrange(len(out)) if rng.random() < 0.5 else rng.randrange(min(len(out), 800))
        size = rng.choice([1, 2, 4, 8, 188, rng.randrange(1, 2000)])
        kind = rng.randrange(9)
        if kind == 0:
            out[at] = rng.randrange(256)
        elif kind == 1:
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            out[at] = rng.choice(_BYTES)
        elif kind == 3:
            del out[at : at + size]
        elif kind == 4:
            out[at:at] = out[at : at + size]
        elif kind == 5:
            out[at : at + 4] = rng.choice(
                [b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x00\x00\x00\x01", b"\0\0\0\0"]
            )
        elif kind == 6:
            out[at : at + size] = bytes(min(size, len(out) - at))
        elif kind == 7:
            other = rng.randrange(len(out))
            out[at : at + size], out[other : other + size] = out[other : other + size], out[at : at + size]
        else:
            del out[at:]
    return bytes(out)


def _fmp4_whole(data: bytes) -> object:
    at = data.find(b"moof") - 4
    init = fmp4.parse_init(data[: max(at, 0)] or data)
    return fmp4.first_access_unit(init, data[max(at, 0) :], complete=True)


def _fmp4_segment(init: fmp4.Init) -> Entry:
    return lambda data: _both(lambda complete: fmp4.first_access_unit(init, data, complete=complete))


def _both(read: Callable[[bool], object]) -> object:
    try:
        read(False)
    except MediaError:
        pass
    return read(True)


def _clip(data: bytes) -> object:
    index = mp4.parse_index(data, total_bytes=None)
    for i, keyframe in enumerate(index.keyframes[:4]):
        part = keyframe.byte_range
        index.access_unit(i, data[part.start : part.end])
    return index


@cache
def entries() -> tuple[tuple[str, Entry, bytes], ...]:
    """(name, parser, a good input) for every door that outside bytes come through."""
    ts: Entry = lambda data: _both(lambda complete: mpegts.first_access_unit(data, complete=complete))  # noqa: E731
    found: list[tuple[str, Entry, bytes]] = []
    for name, recipe in {
        "h264": Recipe(frames=10, params="open-gop=1"),
        "hevc": Recipe(codec="libx265", frames=10),
        "h264 audio": Recipe(frames=6, audio="first", params="slices=2"),
    }.items():
        found.append((f"mpegts {name}", ts, make(recipe)))
    found.append(
        ("mpegts by hand", ts, plain(access_units(make(Recipe(frames=10))), length=True, pmt_padding=300))
    )
    for codec in ("libx264", "libx265", "libsvtav1"):
        muxer = (("movflags", "frag_keyframe+empty_moov+default_base_moof"),)
        data = make(Recipe(codec=codec, container="mp4", frames=6, muxer=muxer, audio="first"))
        init, boxes = split_init(data)
        segment = b"".join(box.plain() for box in boxes)
        found.append((f"fmp4 {codec}", _fmp4_whole, data))
        found.append((f"fmp4 segment {codec}", _fmp4_segment(fmp4.parse_init(init)), segment))
        clip = Recipe(codec=codec, container="mp4", frames=6, gop=2, muxer=(("movflags", "faststart"),))
        found.append((f"mp4 {codec}", _clip, make(clip)))
    return tuple(found)


def storm(seed: int, rounds: int) -> dict[str, int]:
    """Throw ``rounds`` mutations at every entry; anything but a MediaError escapes. Counts what came of them."""
    outcomes = {"picture": 0}
    for name, parse, good in entries():
        rng = random.Random(f"{seed} {name}")
        for _ in range(rounds):
            try:
                parse(mutate(rng, good))
                outcomes["picture"] += 1
            except MediaError as error:
                outcomes[error.reason] = outcomes.get(error.reason, 0) + 1
    return outcomes
