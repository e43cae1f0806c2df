"""Figures as people read them."""

from __future__ import annotations

from collections.abc import Mapping


def count_of(n: int, noun: str) -> str:
    """Such as ``1 frame``, ``2 frames``."""
    return f"{n} {noun}{'' if n == 1 else 's'}"


def duration_of(seconds: float) -> str:
    """In the two units that fit."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s"
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {whole % 60} s"


def size_of(n_bytes: int) -> str:
    """Bytes in decimal units, as disks and networks count."""
    size = float(n_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def by_kind(total: str, parts: Mapping[str, str]) -> str:
    """A total with its parts, such as ``3 (helix 1, gql 2)``."""
    return f"{total} ({', '.join(f'{kind} {part}' for kind, part in parts.items())})" if parts else total
