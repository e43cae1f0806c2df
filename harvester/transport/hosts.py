"""Which hosts may be asked, and how a URL is written where people read it.

Every URL from outside (a playlist, a redirect, an answer of an API) passes :meth:`AllowedHosts.check` before
it is asked, so nothing can point us at a machine of the local network. It is parsed once: what was checked is
what is connected to.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from yarl import URL

from harvester.config import is_loopback
from harvester.errors import FetchError
from harvester.text import printable, redact

#: A host name in its ASCII form (RFC 1123 §2.1). A percent sign or worse means something else to each parser.
_HOST_NAME = re.compile(r"[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*", re.ASCII)


@dataclass(frozen=True, slots=True)
class AllowedHosts:
    """Which hosts may be asked: any loopback one and no other, or https hosts below ``suffixes`` and no other.

    The real world is asked on https' own port alone, by name, and never with credentials in the URL.
    """

    loopback: bool
    suffixes: tuple[str, ...] = ()

    def check(self, url: str | URL) -> URL:
        """The URL, parsed once and for all. Raises :class:`FetchError` ``host-refused``."""
        parsed = url if isinstance(url, URL) else parse(url)
        if not _is_allowed(self, parsed.scheme, parsed.raw_authority):
            raise FetchError(
                f"refused to ask {where(parsed)}: not an allowed host", reason="host-refused", retryable=False
            )
        return parsed


@lru_cache(maxsize=256)
def _is_allowed(hosts: AllowedHosts, scheme: str, authority: str) -> bool:
    """Whether that part of a URL which says who is asked may; the same few are asked all the time."""
    if scheme not in ("http", "https") or not authority:
        return False
    url = URL.build(scheme=scheme, authority=authority, encoded=True)
    host = (url.raw_host or "").removesuffix(".").lower()
    if not host or url.user is not None or url.password is not None:
        return False
    if hosts.loopback:
        return is_loopback(str(url.origin()))
    if scheme != "https" or url.explicit_port not in (None, 443):
        return False
    if not _HOST_NAME.fullmatch(host) or is_loopback(str(url.origin())) or _is_address(host):
        return False
    names = [suffix.strip(".").lower() for suffix in hosts.suffixes]
    return any(name and (host == name or host.endswith(f".{name}")) for name in names)


def where(url: str | URL) -> str:
    """Host and file of a URL, for messages: no query, no path that could hold a signature."""
    parsed = url if isinstance(url, URL) else parse(url)
    last = parsed.raw_path.rpartition("/")[2]
    return redact(printable(f"{parsed.raw_host or '?'}/…/{last}", 100))


def host_of(url: URL) -> str:
    """The host in one spelling, with its port where that is not the scheme's own."""
    host = (url.raw_host or "").removesuffix(".").lower()
    return host if url.is_default_port() else f"{host}:{url.port}"


def parse(url: str) -> URL:
    """The URL as it is sent: kept byte for byte when it can be (signatures), quoted where it must be."""
    as_it_is = url.isascii() and url.isprintable() and " " not in url
    try:
        parsed = URL(url, encoded=as_it_is)
        if parsed.explicit_port == 0:  # read when first asked for: a port that is none raises here
            raise ValueError("port 0")
        return parsed
    except ValueError:
        raise FetchError("refused a malformed URL", reason="host-refused", retryable=False) from None


def join(base: URL, location: str) -> URL:
    try:
        return base.join(parse(location))
    except ValueError:
        raise FetchError("refused a malformed redirect", reason="host-refused", retryable=False) from None


def _is_address(host: str) -> bool:
    """True for IPv4 and IPv6 literals, also in the short, octal and hexadecimal forms that resolvers accept."""
    return ":" in host or host.replace(".", "").isdigit() or host.rpartition(".")[2].startswith("0x")
