"""Text from outside made harmless, in one place: for terminals and logs, and for file names."""

from __future__ import annotations

import re
import unicodedata

#: Longest label shown on a line of a terminal or log, in characters; longer text is cut with an ellipsis.
PRINTABLE_CHARS = 120

#: Longest category slug, in characters: with the file's own name it stays far below the 255-byte limit of
#: common file systems.
SLUG_CHARS = 60

#: Device names that Windows refuses as a file name, with or without an extension.
_RESERVED = frozenset(
    ["con", "prn", "aux", "nul", *(f"com{n}" for n in range(10)), *(f"lpt{n}" for n in range(10))]
)

#: A value ends at ``&`` or white space; a decoded playback token is JSON and may hold spaces and quotes.
_SECRET_QUERY = re.compile(
    r"(?i)\b(client_secret|access_token|token|sig|nauth|nauthsig|signature|client_id)=(?:\{[^&]*|[^&\s]+)"
)
_SECRET_HEADER = re.compile(r"(?i)\b(bearer|oauth)\s+[a-z0-9._~+/=-]{6,}")


def printable(text: str, limit: int = PRINTABLE_CHARS) -> str:
    """``text`` on one line, without control, format (right-to-left marks, zero-width) or private characters.

    Nothing a title or name contains can move the cursor, colour the terminal or reorder what stands around it.
    """
    kept = "".join(" " if c.isspace() else c for c in text if c.isspace() or unicodedata.category(c)[0] != "C")
    line = " ".join(kept.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def redact(text: str) -> str:
    """``text`` with the values of secret query parameters and authorization headers replaced by ``***``."""
    return _SECRET_HEADER.sub(r"\1 ***", _SECRET_QUERY.sub(r"\1=***", text))


def slugify(name: str) -> str | None:
    """ASCII fold of ``name`` (NFKD, other characters dropped): lower-case letters, digits and single hyphens.

    At most :data:`SLUG_CHARS` long, never with a hyphen at an end; None if nothing is left of the name. As a file
    name it is safe unless :func:`is_reserved_name` says otherwise: the caller then makes another one of it.
    """
    folded = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", "-", folded.lower()).strip("-")[:SLUG_CHARS].strip("-")
    return slug or None


def is_reserved_name(name: str) -> bool:
    """True if an operating system takes a file called ``name`` for a device (``con``, ``nul``, ``com1`` ...).

    Case and extension do not matter there (Microsoft, "Naming Files, Paths, and Namespaces").
    """
    return name.partition(".")[0].rstrip(" ").lower() in _RESERVED


def is_page(body: bytes) -> bool:
    """True if ``body`` is empty or begins like html, XML or JSON: what a tired server sends with status 200.

    No video does: MPEG-TS begins with 0x47, an MP4 with the length of a box, whose first byte would make it 1 GB.
    """
    return body.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"", b"<", b"{", b"[")
