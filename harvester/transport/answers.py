"""What comes back: a complete answer, or the status that says why there is none; and what their headers tell."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harvester.errors import FetchError
from harvester.model import ByteRange
from harvester.stats import RequestKind
from harvester.transport.hosts import where

if TYPE_CHECKING:
    import aiohttp
    from yarl import URL

#: Statuses below 500 that may pass by themselves (RFC 9110 §15.5.9, RFC 8470 §5.2, RFC 6585 §4).
_PASSING = frozenset([408, 425, 429])

#: RFC 9110 §14.4, ``Content-Range: bytes 0-99/1234``; the total may be ``*``.
_CONTENT_RANGE = re.compile(r"bytes\s+(\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.ASCII | re.IGNORECASE)
#: ... and of a 416: ``bytes */1234``.
_UNSATISFIED_RANGE = re.compile(r"bytes\s+\*/(\d{1,18})", re.ASCII | re.IGNORECASE)


class StatusError(FetchError):
    """An answer came, with a status that carries no body for us (reason ``http-<status>``).

    ``retry_after_s``: how long the server asks us to stay away; None if it does not. ``total_bytes``: size of the
    resource, which a 416 tells; None if unknown.
    """

    def __init__(
        self, message: str, *, status: int, retry_after_s: float | None = None, total_bytes: int | None = None
    ) -> None:
        retryable = status in _PASSING or status >= 500
        super().__init__(message, reason=f"http-{status}", retryable=retryable, status=status)
        self.retry_after_s = retry_after_s
        self.total_bytes = total_bytes


@dataclass(frozen=True, slots=True)
class Response:
    """A complete answer. ``total_bytes``: size of the whole resource, None if the server does not tell.

    ``url``: where it came from after all redirects, which is what its relative URIs are relative to (RFC 3986
    §5.1.3); "" if none are followed.
    """

    status: int
    body: bytes = field(repr=False)
    total_bytes: int | None
    headers: Mapping[str, str] = field(repr=False, default_factory=dict)  # case-insensitive
    url: str = field(repr=False, default="")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for; see :meth:`harvester.transport.client.Transport.get`."""

    kind: RequestKind
    byte_range: ByteRange | None
    limit_bytes: int
    is_foreign: Callable[[bytes], bool] | None = None

    def first_byte(self) -> Wanted:
        """The least that shows that a resource of the same kind comes."""
        return Wanted(self.kind, ByteRange(0, 1), 1, self.is_foreign)

    def checked(self, response: Response, url: URL) -> Response:
        """The response, with the ``url`` it came from, unless it is foreign."""
        if self.is_foreign is not None and self.is_foreign(response.body):
            said = f"{where(url)}: something else than asked for came"
            raise FetchError(said, reason="foreign-body", status=response.status)
        return Response(response.status, response.body, response.total_bytes, response.headers, str(url))


def content_length(answer: aiohttp.ClientResponse) -> int | None:
    """Bytes of the whole resource by ``Content-Length``; None if it is not told, or of the coded body."""
    return None if "Content-Encoding" in answer.headers else answer.content_length


def content_range(answer: aiohttp.ClientResponse) -> tuple[int, int, int | None]:
    """Start, one past the end, and total of a 206; (0, 0, None) when it has no single readable range."""
    match = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", "").strip())
    if match is None:
        return 0, 0, None
    return int(match[1]), int(match[2]) + 1, None if match[3] == "*" else int(match[3])


def too_large(url: URL, limit_bytes: int) -> FetchError:
    return FetchError(f"{where(url)} is larger than {limit_bytes} bytes", reason="too-large", retryable=False)


def unsatisfied(headers: Mapping[str, str]) -> int | None:
    """Size of the resource as a 416 tells it; None if it does not."""
    match = _UNSATISFIED_RANGE.fullmatch(headers.get("Content-Range", "").strip())
    return int(match[1]) if match else None
