"""PacketData: numbers only. The data is an address and a length, and whoever sets them keeps the memory alive."""

from __future__ import annotations

from typing import Any

#: Attribute -> (smallest, largest, value at first).
_FIELDS = {
    "bDiscontinuity": (0, 1, 0),
    "bsl": (0, 2**64 - 1, 0),
    "bsl_data": (0, 2**64 - 1, 0),
    "decode_flag": (-(2**7), 2**7 - 1, 0),
    "discardable": (0, 1, 0),
    "dts": (-(2**63), 2**63 - 1, 0),
    "duration": (-(2**63), 2**63 - 1, 0),
    "is_video": (0, 1, 1),
    "key": (-(2**31), 2**31 - 1, 0),
    "pos": (-(2**63), 2**63 - 1, 0),
    "pts": (-(2**63), 2**63 - 1, 0),
    "seek_pts": (-(2**63), 2**63 - 1, 0),
    "stream_index": (-(2**31), 2**31 - 1, -1),
}


class PacketData:
    """One packet. Any other attribute is an AttributeError, a value that does not fit a TypeError."""

    __slots__ = tuple(_FIELDS)

    def __init__(self) -> None:
        for name, (_, _, value) in _FIELDS.items():
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in _FIELDS:
            raise AttributeError(f"'_PyNvVideoCodec.PacketData' object has no attribute {name!r}")
        low, high, _ = _FIELDS[name]
        if not hasattr(value, "__index__") or not low <= int(value) <= high:
            raise TypeError(f"(): incompatible function arguments. Invoked with: {self!r}, {value!r}")
        object.__setattr__(self, name, int(value))

    def __repr__(self) -> str:
        return "".join(f"{name}: {getattr(self, name)}\n" for name in _FIELDS)
