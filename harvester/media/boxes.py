"""ISO base media file format boxes (ISO/IEC 14496-12 §4.2): a bounded walk and bounded tables.

A box is a 32-bit size, a four-letter type, then its body; size 1 means a 64-bit size follows, size 0 "to the
end of the file". Nothing here trusts a size: a box must lie in its parent, a table in its box.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harvester.errors import MediaError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

#: Boxes side by side in one container. A 10 s low-latency segment of one frame a fragment has about 1,800.
MAX_BOXES = 16_384

#: What files and segments begin with. Web pages and transport streams may look like a box of another type.
_FIRST_BOXES = frozenset(
    b"ftyp styp moov moof mdat sidx ssix emsg prft free skip wide pdin uuid meta pssh udta mfra".split()
)

_HEADER_BYTES = 8
_LARGE_HEADER_BYTES = 16


@dataclass(frozen=True, slots=True)
class Box:
    """Where a box lies in its bytes: ``[start, end)``, its content ``[body, end)``. ``end`` is None: open."""

    type: bytes
    start: int
    body: int
    end: int | None


def top_level(head: bytes, at: int = 0) -> Iterator[Box]:
    """Boxes side by side from ``at`` on, the last of which may end outside ``head``.

    Raises:
        MediaError: bytes that cannot be a box header, or a first box that files do not begin with.
    """
    begin = at
    for _ in range(MAX_BOXES):
        box = _header(head, at, len(head))
        if box is None:
            return
        if at == begin and box.type not in _FIRST_BOXES:
            raise MediaError(f"not an ISO media file: it begins with {box.type!r}")
        yield box
        if box.end is None or box.end > len(head):
            return
        at = box.end
    raise MediaError(f"more than {MAX_BOXES} boxes side by side")


def _header(data: bytes, at: int, limit: int) -> Box | None:
    """The box that begins at ``at``; None if its header is not all there."""
    if at + _HEADER_BYTES > limit:
        return None
    size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
    if not all(0x20 <= letter < 0x7F or letter == 0xA9 for letter in kind):
        raise MediaError("not an ISO media file: no box where one must be")
    body = at + _HEADER_BYTES
    if size == 1:
        body = at + _LARGE_HEADER_BYTES
        if body > limit:
            return None
        size = int.from_bytes(data[at + 8 : body], "big")
    if size == 0:
        return Box(kind, at, body, None)
    if at + size < body:
        raise MediaError(f"box {kind!r} is smaller than its header")
    return Box(kind, at, body, at + size)


@dataclass(frozen=True, slots=True)
class Container:
    """The children of one box whose bytes are all at hand. ``data`` is the box's content."""

    data: bytes

    def children(self, kind: bytes) -> Iterator[bytes]:
        """Contents of the child boxes of type ``kind`` in order.

        Raises:
            MediaError: a child does not fit.
        """
        return (content for found, content in self.boxes() if found == kind)

    def boxes(self) -> Iterator[tuple[bytes, bytes]]:
        """(type, content) of every child in order; up to three stray bytes may end the box."""
        at, count = 0, 0
        while at + _HEADER_BYTES <= len(self.data):
            box = _header(self.data, at, len(self.data))
            end = len(self.data) if box is not None and box.end is None else box.end if box is not None else None
            if box is None or end is None or end > len(self.data):
                raise MediaError("a box is longer than its parent")
            yield box.type, self.data[box.body : end]
            at, count = end, count + 1
            if count > MAX_BOXES:
                raise MediaError(f"more than {MAX_BOXES} boxes side by side")

    def first(self, *path: bytes) -> bytes | None:
        """Content of the first box along ``path``; None if there is none."""
        content = self.data
        for kind in path:
            child = next(Container(content).children(kind), None)
            if child is None:
                return None
            content = child
        return content

    def require(self, *path: bytes) -> bytes:
        """Like :meth:`first`; MediaError without such a box."""
        content = self.first(*path)
        if content is None:
            raise MediaError(f"box {b'/'.join(path).decode('latin-1')} is missing")
        return content


def version_and_flags(content: bytes) -> tuple[int, int]:
    """Of a full box (§4.2): its version and its 24 flags."""
    if len(content) < 4:
        raise MediaError("a full box without version and flags")
    return content[0], int.from_bytes(content[1:4], "big")


def unsigned(content: bytes, at: int, length: int) -> int:
    """Big-endian number of ``length`` bytes at ``at``; MediaError if the box ends before."""
    if at + length > len(content):
        raise MediaError("a box ends inside a field")
    return int.from_bytes(content[at : at + length], "big")


def table(content: bytes, at: int, *, rows: int, fields: int, width: int = 4) -> NDArray[np.int64]:
    """``rows`` x ``fields`` unsigned big-endian numbers of ``width`` bytes (1, 2, 4 or 8) from ``at`` on.

    Returns int64 (rows, fields). The rows are checked against the box before anything is allocated.

    Raises:
        MediaError: the box is too small for its table.
    """
    if at + rows * fields * width > len(content):
        raise MediaError("a table is longer than its box")
    flat = np.frombuffer(content, f">u{width}", rows * fields, at)
    return flat.astype(np.int64).reshape(rows, fields)
