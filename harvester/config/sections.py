"""The keys there are: one frozen section each, with range and built-in default.

The top-level ``config.toml`` shows every key with its unit, range and what it does; a test holds the two equal.
"""

from __future__ import annotations

import ipaddress
import re
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from harvester.config.wording import explain
from harvester.model import VodType
from harvester.text import printable

#: Hosts that Twitch serves playlists and media from (suffixes; facts collected from recorded playlists).
MEDIA_HOST_SUFFIXES = ("cloudfront.net", "twitch.tv", "ttvnw.net", "jtvnw.net", "twitchcdn.net")

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
PositiveInt = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(ge=0)]
PositiveSeconds = Annotated[float, Field(gt=0)]
Rate = Annotated[float, Field(gt=0)]


def _parse_utc(value: str) -> datetime:
    try:
        moment = datetime.fromisoformat(value)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):  # OverflowError: year 1 with an offset to the east
        raise ValueError("must be an ISO 8601 time such as 2026-11-01T03:00:00Z") from None


def _utc_text(value: str) -> str:
    if value:
        _parse_utc(value)
    return value


#: "" or an ISO 8601 time; without an offset it is UTC.
UtcText = Annotated[str, AfterValidator(_utc_text)]

#: Ids of Twitch, which are digits; a name may be given to somebody else.
Ids = tuple[Annotated[str, Field(pattern=r"^[0-9]{1,20}$")], ...]

#: A host, or its suffix, as ``[fetch] hosts`` lists it: at least two labels, so that no entry opens a whole
#: top-level domain.
_HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z][a-z0-9-]*[a-z0-9]")


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, coerce_numbers_to_str=True)

    @field_validator("*", mode="before")
    @classmethod
    def _plain(cls, value: Any) -> Any:
        """No key is a switch, so true is never meant as 1; a TOML date is as good as its text."""
        if isinstance(value, bool):
            raise ValueError("must not be true or false")  # noqa: TRY004 (pydantic takes ValueError alone)
        return value.isoformat() if isinstance(value, date) else value


@lru_cache(maxsize=256)  # every request asks, of the same few hosts
def is_loopback(url: str) -> bool:
    """True if the URL's host is this machine's loopback (``localhost``, 127.0.0.0/8, ::1); False for no URL."""
    host = _host(url)
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _host(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").rstrip(".").lower()
    except ValueError:  # an unfinished [ of an IPv6 address
        return ""


class Endpoints(_Section):
    """Where Twitch is: the real one, or a stand-in on loopback. Never a mixture."""

    helix: str = "https://api.twitch.tv/helix/"
    auth: str = "https://id.twitch.tv/oauth2/"
    gql: str = "https://gql.twitch.tv/gql"
    usher: str = "https://usher.ttvnw.net"

    @field_validator("helix", "auth", "gql", "usher")
    @classmethod
    def _http_url(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or not url.isprintable() or " " in url:
            raise ValueError("is no http(s) URL")
        if parts.scheme == "http" and not is_loopback(url):
            raise ValueError("plain http is for loopback only")
        if parts.username is not None or parts.query or parts.fragment or parts.port == 0:
            raise ValueError("must be scheme, host, port and path, nothing more")
        return url

    @field_validator("helix", "auth")
    @classmethod
    def _folder(cls, url: str) -> str:
        """twitchAPI appends to these, so they end with a slash."""
        return url if url.endswith("/") else url + "/"

    @field_validator("gql", "usher")
    @classmethod
    def _file(cls, url: str) -> str:
        """These are used as they stand, or with ``/vod/...`` behind them."""
        return url.rstrip("/")

    @model_validator(mode="after")
    def _one_world(self) -> Self:
        sides = {name: is_loopback(url) for name, url in self.model_dump().items()}
        if len(set(sides.values())) > 1:
            inside = ", ".join(name for name, loopback in sides.items() if loopback)
            raise ValueError(f"either all four endpoints are loopback or none is; loopback: {inside}")
        return self

    @property
    def loopback(self) -> bool:
        """True in a loopback world: any loopback host may be reached and no other; else the reverse."""
        return is_loopback(self.helix)


class Rights(_Section):
    """On which ground the user stores this content."""

    basis: str = ""


class Run(_Section):
    """Bounds and clock of one run; 0 = no bound."""

    now: UtcText = ""
    failed_share: Share = 0.2
    max_time_s: Seconds = 0
    max_bytes: Count = 0
    max_frames: Count = 0
    max_requests: Count = 0
    min_free_gb: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0

    @property
    def start(self) -> datetime | None:
        """``now`` as an aware UTC time; None = take the clock."""
        return _parse_utc(self.now) if self.now else None

    @property
    def bounded(self) -> bool:
        """True if it may end before all that is wanted has been looked at."""
        return any((self.max_time_s, self.max_bytes, self.max_frames, self.max_requests))


class Discover(_Section):
    """What is looked for on Twitch."""

    categories: tuple[str, ...] = ()
    top: Annotated[int, Field(ge=0, le=1000)] = 0
    source_types: tuple[Literal["vod", "clip"], ...] = ("vod", "clip")
    languages: tuple[str, ...] = ()
    period: Literal["all", "day", "week", "month"] = "all"
    vod_types: tuple[VodType, ...] = (VodType.ARCHIVE, VodType.HIGHLIGHT, VodType.UPLOAD)
    min_views: Count = 0
    min_duration_s: Seconds = 0
    since: UtcText = ""
    until: UtcText = ""
    max_vods: Count = 2000
    max_clips: Count = 2000
    details: Literal["gql", "off"] = "gql"
    allow_broadcasters: Ids = ()
    deny_broadcasters: Ids = ()
    deny_categories: Ids = ()
    requests_per_s: Rate = 8

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        since, until = self.window
        if since and until and since >= until:
            raise ValueError("since must lie before until")
        return self

    @property
    def window(self) -> tuple[datetime | None, datetime | None]:
        """``[since, until)`` as aware UTC times; None = open."""
        return _parse_utc(self.since) if self.since else None, _parse_utc(self.until) if self.until else None


class Sample(_Section):
    """Which moments of a source become targets."""

    seed: str = "harvester"
    min_spacing_s: PositiveSeconds = 4
    max_per_vod: PositiveInt = 40
    max_per_clip: PositiveInt = 8
    max_per_broadcaster: Count = 0
    max_per_day: Count = 0
    min_broadcasters: Count = 0
    min_growth_s: PositiveSeconds = 600
    round_size: PositiveInt = 4
    guard_s: Seconds = 90
    guard_share: Annotated[float, Field(ge=0, lt=0.5)] = 0.05
    min_confidence: Share = 0.5
    storyboard: Literal["on", "off"] = "on"
    min_height: PositiveInt = 720


class Fetch(_Section):
    """How politely and how patiently bytes are fetched."""

    connections_per_host: Annotated[int, Field(ge=1, le=64)] = 4
    gql_requests_per_s: Rate = 2
    attempts: Annotated[int, Field(ge=1, le=10)] = 4
    connect_timeout_s: PositiveSeconds = 10
    read_timeout_s: PositiveSeconds = 20
    retry_base_s: PositiveSeconds = 0.5
    retry_max_s: PositiveSeconds = 30
    outage_pauses_s: Annotated[tuple[PositiveSeconds, ...], Field(min_length=1, max_length=10)] = (5, 15, 40)
    max_mbit_per_s: Annotated[float, Field(ge=0)] = 0
    window_frames: PositiveInt = 96
    window_mb: PositiveInt = 192
    hosts: tuple[str, ...] = MEDIA_HOST_SUFFIXES

    @field_validator("hosts")
    @classmethod
    def _host_names(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        plain = tuple(host.lower().strip(".") for host in hosts)
        for host in plain:
            if not _HOST.fullmatch(host):
                raise ValueError(f"{printable(host)!r} is no host name such as cloudfront.net")
        return plain


class Decode(_Section):
    """Which decoder, and how many threads."""

    backend: Literal["auto", "nvdec", "nvdec-av", "cpu"] = "auto"
    threads: Count = 0


class Filter(_Section):
    """Thresholds of the picture filters, on 8-bit luma as coded (limited range: black is 16)."""

    black_level: Annotated[int, Field(ge=0, le=255)] = 32
    black_share: Share = 0.98
    dark_mean: Annotated[float, Field(ge=0, le=255)] = 20
    lit_share: Share = 0.1
    flat_deviation: Annotated[float, Field(ge=0, le=128)] = 3
    detail_share: Share = 0.015
    blur: Share = 0.85
    idle: Literal["on", "off"] = "on"


class Dedupe(_Section):
    """When two frames of a category are the same picture."""

    radius: Annotated[int, Field(ge=0, le=7)] = 6


class Dataset(_Section):
    """How pictures are stored."""

    short_side: Annotated[int, Field(ge=0, le=4320)] = 0
    jpeg_quality: Annotated[int, Field(ge=1, le=100)] = 90
    other: Literal["on", "off"] = "off"


class Report(_Section):
    """What a run tells others besides its summary."""

    metrics_file: str = ""


class Retention(_Section):
    """How long frames stay."""

    ttl_days: Annotated[float, Field(ge=0, le=36_500)] = 0
    gone: Literal["flag", "purge"] = "flag"


class Config(_Section):
    """All settings of a run."""

    endpoints: Endpoints = Endpoints()
    rights: Rights = Rights()
    run: Run = Run()
    discover: Discover = Discover()
    sample: Sample = Sample()
    fetch: Fetch = Fetch()
    decode: Decode = Decode()
    filter: Filter = Filter()
    dedupe: Dedupe = Dedupe()
    dataset: Dataset = Dataset()
    report: Report = Report()
    retention: Retention = Retention()

    def replace(self, section: str, **values: Any) -> Config:
        """A checked copy with ``values`` set in ``section``. Raises :class:`ConfigError` for an unknown key or a
        bad value."""
        changed = self.model_dump()
        changed.setdefault(section, {}).update(values)
        try:
            return Config.model_validate(changed)
        except ValidationError as error:
            raise explain(error, {}) from None


#: The sections by name, in the order of the file.
SECTIONS: dict[str, type[BaseModel]] = {name: type(info.default) for name, info in Config.model_fields.items()}
