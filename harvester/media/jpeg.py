"""JPEG headers: how large a picture is, before anybody makes room for its pixels."""

from __future__ import annotations

from harvester.errors import MediaError

#: Frame headers SOF0..SOF15 (ITU-T T.81 table B.1) without DHT (C4), JPG (C8) and DAC (CC), which share the row.
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
#: Markers without a segment: TEM and RST0..RST7.
_BARE = frozenset([0x01, *range(0xD0, 0xD8)])
#: Start of scan: the frame header comes before it, or not at all.
_SCAN = 0xDA

#: The end-of-image marker stands within so many bytes of a file's end, whatever padding follows it.
_TAIL_BYTES = 64


def jpeg_ends(data: bytes) -> bool:
    """False for a file that breaks off: decoders make up the rest, most often in grey."""
    return b"\xff\xd9" in data[-_TAIL_BYTES:]


def jpeg_size(data: bytes) -> tuple[int, int]:
    """(width, height) in pixels that the frame header tells. Raises :class:`MediaError` if there is none."""
    if data[:2] != b"\xff\xd8":
        raise MediaError("no JPEG")
    position = 2
    while position + 9 <= len(data) and data[position] == 0xFF and (marker := data[position + 1]) != _SCAN:
        if marker in _FRAME_HEADERS:
            height = int.from_bytes(data[position + 5 : position + 7], "big")
            return int.from_bytes(data[position + 7 : position + 9], "big"), height
        position += _step(data, position)
    raise MediaError("a JPEG without a frame header", reason="truncated")


def _step(data: bytes, position: int) -> int:
    """Bytes from this marker to the next."""
    marker = data[position + 1]
    if marker == 0xFF:  # any number of fill bytes may stand in front of a marker (T.81 B.1.1.2)
        return 1
    return 2 if marker in _BARE else 2 + max(2, int.from_bytes(data[position + 2 : position + 4], "big"))
