"""Ways to damage an input: blind to its form, and by its form (boxes, packets, NAL units, text, JSON).

A mutation takes a generator, one good input and another one of the same corpus to splice with. All chance comes
from the generator, so an input can be made again from its seed.
"""

from __future__ import annotations

import json
import random
import re
import struct
from collections.abc import Callable
from copy import deepcopy
from typing import Any

from tests.unit.media.fuzz import mutate

Mutation = Callable[[random.Random, bytes, bytes], bytes]

#: Sizes, counts and times that parsers like to believe, by width in bytes.
EXTREMES = {
    1: (0, 1, 0x7F, 0x80, 0xFF),
    2: (0, 1, 2, 0x7FFF, 0x8000, 0xFFFF),
    4: (0, 1, 2, 7, 8, 9, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF),
    8: (0, 1, 8, 16, (1 << 31) - 1, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1),
}
_NUMBERS = (
    *("0", "-0", "1", "-1", "0.0", "1e999", "-1e999", "1e-999", "nan", "NaN", "inf", "Infinity", "0x10", "1_000"),
    *(
        str(2**31),
        str(2**53),
        str(2**63),
        str(2**64),
        str(-(2**63)),
        "9" * 30,
        "9" * 5000,
        "00012",
        "1.5.2",
        "",
        "1",
        "9999",
        "60",
    ),
    *("١٢", "１２", "²", " 7", "+3", "1,5", "10:00", "0." + "3" * 40),
)
_TRICKS = (
    *("\u202e", "\u200b", "\ufeff", "\x00", "\ud800", "\r", "\u2028", "\x85", "\x1c", "é", "e\u0301", "ﬁ", "İ"),
    *('"', "\\", "#", ":", ",", "=", "@", "/", "//", "../", "http://[", "data:x", "%00", "\t", " ", "\x1b[2J"),
)
_ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 2**31, 2**63, -(2**63), 10**400, 0.5, -0.0, 1e308),
    *(float("nan"), float("inf"), float("-inf"), "", " ", "0", "-1", "\x00", "\ud800", "\u202e", "a" * 3000),
    *("http://[", "https://a:b@c:99999/", "2026-13-45T99:99:99Z", "0001-01-01T00:00:00+23:59"),
    *([], {}, [[]], [None], [{}], {"": {}}, {"id": None}),
)
#: Levels of a document that are edited.
_DEPTH = 30
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


def blind(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Bits, runs, insertions, a splice of two inputs, a cut: whatever the form."""
    kind = rng.randrange(8)
    if kind == 0:
        return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]
    if kind == 1:
        at = rng.randrange(len(data) + 1)
        return data[:at] + rng.randbytes(rng.choice([1, 3, 17, 400])) + data[at:]
    if kind == 2:
        return data[: rng.randrange(len(data) + 1)]
    return mutate(rng, data)


def numbers(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """One to four big-endian fields of any width set to an extreme."""
    out = bytearray(data)
    for _ in range(rng.randrange(1, 5)):
        width = rng.choice([1, 2, 4, 8])
        if len(out) > width:
            at = rng.randrange(min(len(out) - width, 2000))
            out[at : at + width] = rng.choice(EXTREMES[width]).to_bytes(width, "big")
    return bytes(out)


_NESTED = frozenset(b"moov trak mdia minf stbl moof traf mvex edts dinf".split())
_PREFIXES = {b"stsd": 8, b"avc1": 78, b"hvc1": 78, b"hev1": 78, b"av01": 78}


def _box_spans(data: bytes, at: int, end: int, found: list[tuple[int, int, bytes]]) -> None:
    while at + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, at)
        if size < 8 or at + size > end:
            return
        found.append((at, at + size, kind))
        if kind in _NESTED or kind in _PREFIXES:
            _box_spans(data, at + 8 + _PREFIXES.get(kind, 0), at + size, found)
        at += size


def boxes(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """A box with another size, type or place, or with an extreme number in its front (counts, times, offsets)."""
    spans: list[tuple[int, int, bytes]] = []
    _box_spans(data, 0, len(data), spans)
    if not spans:
        return blind(rng, data, other)
    start, end, _ = rng.choice(spans)
    out, kind = bytearray(data), rng.randrange(7)
    if kind == 0:
        out[start : start + 4] = rng.choice(EXTREMES[4]).to_bytes(4, "big")
    elif kind == 1:
        out[start + 4 : start + 8] = rng.choice(spans)[2]
    elif kind == 2:
        del out[start:end]
    elif kind == 3:
        out[end:end] = out[start:end] * rng.choice([1, 2, 50])
    elif kind == 4 and end - start > 12:
        width = rng.choice([1, 2, 4, 8])
        at = rng.randrange(start + 8, min(end - 1, start + 40))
        out[at : at + width] = rng.choice(EXTREMES[width]).to_bytes(width, "big")
    elif kind == 5:  # the 64-bit form of the size
        large = rng.choice([end - start + 8, *EXTREMES[8]])
        out[start : start + 8] = struct.pack(">I4sQ", 1, bytes(out[start + 4 : start + 8]), large)
    else:
        first, last, _ = rng.choice(spans)
        out[start:end] = data[first:last]
    return bytes(out)


def packets(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Transport packets lost, doubled, swapped; PIDs, counters, adaptation and PES lengths set to extremes."""
    out = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 5])):
        at = 188 * rng.randrange(max(len(out) // 188, 1))
        if at + 188 > len(out):
            break
        kind = rng.randrange(8)
        if kind == 0:
            del out[at : at + 188]
        elif kind == 1:
            out[at:at] = out[at : at + 188]
        elif kind == 2:
            out[at + 3] = out[at + 3] & 0x0F | rng.choice([0, 0x10, 0x20, 0x30, 0x80, 0xC0])
        elif kind == 3:
            out[at + 3] |= 0x20
            out[at + 4] = rng.choice([0, 1, 7, 182, 183, 184, 255])
        elif kind == 4:
            out[at + 1 : at + 3] = rng.choice([0, 0x4000, 0x5000, 0x4100, 0x0100, 0x1FFF, 0x8100]).to_bytes(
                2, "big"
            )
        elif kind == 5:
            out[at + 3] = out[at + 3] & 0xF0 | rng.randrange(16)
        elif kind == 6:
            pes = out.find(b"\x00\x00\x01\xe0", at)
            if 0 <= pes < len(out) - 14:
                field = pes + rng.choice([4, 6, 7, 8, 9, 13])
                out[field : field + 2] = rng.choice(EXTREMES[2]).to_bytes(2, "big")
        else:
            other_at = 188 * rng.randrange(max(len(out) // 188, 1))
            out[at : at + 188], out[other_at : other_at + 188] = out[other_at : other_at + 188], out[at : at + 188]
    return bytes(out)


def text(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Numbers, lines and separators of a text edited; characters that are not what they look like put in."""
    out = data.decode("utf-8", "replace")
    for _ in range(rng.choice([1, 1, 2, 3, 8])):
        kind = rng.randrange(7)
        lines = out.split("\n")
        at = rng.randrange(len(lines))
        if kind <= 1 and (found := list(_NUMBER.finditer(out))):
            match = rng.choice(found)
            out = out[: match.start()] + rng.choice(_NUMBERS) + out[match.end() :]
        elif kind == 2:
            where = rng.randrange(len(out) + 1)
            out = out[:where] + rng.choice(_TRICKS) * rng.choice([1, 1, 1, 300]) + out[where:]
        elif kind == 3:
            del lines[at]
            out = "\n".join(lines)
        elif kind == 4:
            lines[at:at] = [lines[rng.randrange(len(lines))]] * rng.choice([1, 2, 100])
            out = "\n".join(lines)
        elif kind == 5:
            foreign = other.decode("utf-8", "replace").split("\n")
            lines[at] = rng.choice(foreign)
            out = "\n".join(lines)
        elif out:
            where = rng.randrange(len(out))
            out = out[:where] + out[where + rng.choice([1, 1, 2, 9]) :]
    return out.encode("utf-8", "surrogatepass")


def _places(node: Any, found: list[tuple[Any, Any]], depth: int = 0) -> None:
    if depth > _DEPTH:
        return
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        found.append((node, key))
        _places(value, found, depth + 1)


def document(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """JSON whose values change type, sign and size, whose keys get lost, whose lists grow; at times broken as text."""
    if rng.random() < 0.2:
        return rng.choice([text, blind])(rng, data, other)
    root = [json.loads(data)]
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        places: list[tuple[Any, Any]] = []
        _places(root, places)
        node, key = rng.choice(places)
        kind = rng.randrange(6)
        if kind <= 2:
            node[key] = deepcopy(rng.choice(_ODD_VALUES))
        elif kind == 3 and node is not root:
            del node[key]
        elif kind == 4 and isinstance(node[key], str):
            node[key] = text(rng, node[key].encode("utf-8", "surrogatepass"), b"").decode("utf-8", "replace")
        elif isinstance(node, list) and node is not root:
            node[key:key] = [deepcopy(node[key]) for _ in range(rng.choice([1, 2, 40]))]
        else:
            chosen, name = rng.choice(places)
            node[key] = deepcopy(chosen[name])
    return json.dumps(root[0], ensure_ascii=rng.random() < 0.7).encode("utf-8", "surrogatepass")


def any_of(*mutations: Mutation) -> Mutation:
    """Each input by one of ``mutations``."""
    return lambda rng, data, other: rng.choice(mutations)(rng, data, other)
