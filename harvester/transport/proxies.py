"""The proxy of the environment, by one reading for all HTTP stacks: each of their libraries has rules of its own.

``HTTPS_PROXY`` (or ``https_proxy``, which wins), else ``ALL_PROXY``; ``NO_PROXY`` names hosts and suffixes that
are asked directly, ``*`` all of them. Plain ``HTTP_PROXY`` means nothing here: the real world is https only. A
loopback world has no proxy.
"""

from __future__ import annotations

import base64
import os
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import unquote, urlsplit

from harvester.errors import ConfigError, FetchError


@dataclass(frozen=True, slots=True)
class Proxies:
    """Where https requests go through; ``url`` "" = nowhere. Credentials stay out of ``url`` and of the repr.

    ``headers``: for the proxy alone, with the credentials. ``bypass``: the value of NO_PROXY.
    """

    url: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    bypass: str = ""

    @classmethod
    def from_environment(cls, *, loopback: bool) -> Self:
        """As the environment says now. Raises :class:`ConfigError` for a proxy that is no HTTP proxy."""
        known = {} if loopback else urllib.request.getproxies_environment()
        value = known.get("https") or known.get("all") or ""
        if not value:
            return cls()
        try:
            parts = urlsplit(value if "://" in value else f"http://{value}")
            port, host = parts.port, parts.hostname
        except ValueError:
            port, host, parts = None, None, urlsplit("")
        if parts.scheme not in ("http", "https") or not host:
            raise ConfigError("HTTPS_PROXY (or ALL_PROXY) is no URL such as http://proxy.example:3128")
        name = f"[{host}]" if ":" in host else host
        port = port or (443 if parts.scheme == "https" else 80)
        return cls(
            f"{parts.scheme}://{name}:{port}", _credentials(parts.username, parts.password), known.get("no", "")
        )

    def for_host(self, host: str, port: int) -> str | None:
        """The proxy for https requests to that host; None: it is asked directly."""
        bypass = urllib.request.proxy_bypass_environment  # type: ignore[attr-defined]  # in its source alone
        return self.url if self.url and not bypass(f"{host}:{port}", {"no": self.bypass}) else None

    @property
    def place(self) -> str:
        """Host and port of the proxy, for messages."""
        return self.url.partition("://")[2]


def _credentials(user: str | None, password: str | None) -> dict[str, str]:
    """RFC 9110 §11.7.2 and RFC 7617: Basic, of what the URL holds percent-encoded."""
    if user is None:
        return {}
    pair = f"{unquote(user)}:{unquote(password or '')}".encode()
    return {"Proxy-Authorization": f"Basic {base64.b64encode(pair).decode()}"}


def refused_by(proxies: Proxies, host: str, status: int) -> FetchError | ConfigError:
    """What to say of a proxy that answered CONNECT with that status."""
    if status == 407:
        return wants_password(proxies)
    return FetchError(f"the proxy {proxies.place} does not connect to {host} (status {status})", reason="proxy")


def trusted_authorities() -> str | None:
    """The file or folder of certificate authorities that the environment names, by requests' names or OpenSSL's.

    For requests, which knows none of them when it is told to leave the environment alone; aiohttp's OpenSSL does.
    """
    names = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
    return next((os.environ[name] for name in names if os.environ.get(name)), None)


def wants_password(proxies: Proxies) -> ConfigError:
    """What to say of a proxy that answered 407."""
    held = "refuses the user and password in" if proxies.headers else "asks for a user and password:"
    return ConfigError(
        f"the proxy {proxies.place} {held} HTTPS_PROXY (http://user:password@host:port)", reason="proxy-auth"
    )
