"""Takes MP4 files apart and puts them together again in unusual ways; written apart from the parser it tests."""

from __future__ import annotations

import struct
from dataclasses import dataclass


@dataclass
class Part:
    """One top-level box."""

    kind: bytes
    body: bytes

    def plain(self) -> bytes:
        return struct.pack(">I4s", 8 + len(self.body), self.kind) + self.body

    def wide(self) -> bytes:
        """With a 64-bit size."""
        return struct.pack(">I4sQ", 1, self.kind, 16 + len(self.body)) + self.body


def parts(data: bytes) -> list[Part]:
    out, at = [], 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        header = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, at + 8)
            header = 16
        out.append(Part(kind, data[at + header : at + size]))
        at += size
    return out


def split_init(data: bytes) -> tuple[bytes, list[Part]]:
    """(init section, the boxes behind it without mfra)."""
    boxes = parts(data)
    last = next(index for index, box in enumerate(boxes) if box.kind == b"moov")
    behind = [box for box in boxes[last + 1 :] if box.kind in (b"moof", b"mdat", b"styp", b"sidx")]
    return b"".join(box.plain() for box in boxes[: last + 1]), behind


def replace_box(data: bytes, path: list[bytes], new: bytes | None, *, skip: int = 0) -> bytes:
    """``data`` (boxes side by side) with the first box at ``path`` replaced (None: removed), sizes kept right.

    ``skip``: bytes in front of the first child box (only for the outermost call).
    """
    out, done = [data[:skip]], False
    for box in parts(data[skip:]):
        if box.kind == path[0] and not done:
            done = True
            if len(path) > 1:
                out.append(Part(box.kind, replace_box(box.body, path[1:], new)).plain())
            elif new is not None:
                out.append(Part(box.kind, new).plain())
        else:
            out.append(box.plain())
    assert done, path
    return b"".join(out)


def find_box(data: bytes, path: list[bytes]) -> bytes:
    """Content of the first box at ``path``."""
    for kind in path:
        data = next(box.body for box in parts(data) if box.kind == kind)
    return data


def shift_moof(moof: bytes, by: int) -> bytes:
    """Content of a moof whose truns' data offsets are moved by ``by`` bytes (its mdat moved that far)."""
    out = []
    for box in parts(moof):
        if box.kind != b"traf":
            out.append(box.plain())
            continue
        inner = []
        for child in parts(box.body):
            body = child.body
            if child.kind == b"trun" and body[3] & 1:
                (offset,) = struct.unpack_from(">i", body, 8)
                body = body[:8] + struct.pack(">i", offset + by) + body[12:]
            inner.append(Part(child.kind, body).plain())
        out.append(Part(b"traf", b"".join(inner)).plain())
    return b"".join(out)
