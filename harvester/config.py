"""One frozen :class:`Config`, from flags over environment over file over built-in defaults.

The environment spells ``[section] key`` as ``HARVESTER_SECTION_KEY`` (value parsed as TOML, else a string).
Secrets come from ``TWITCH_CLIENT_ID`` and ``TWITCH_CLIENT_SECRET`` (or ``..._FILE``) alone and are no part of it.
An unknown key or a bad value is a :class:`ConfigError` that names key, place and the nearest valid name.
"""

from __future__ import annotations

import difflib
import ipaddress
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from harvester.errors import ConfigError
from harvester.model import VodType
from harvester.text import printable

ENV_PREFIX = "HARVESTER_"

#: Hosts that Twitch serves playlists and media from (suffixes; facts collected from recorded playlists).
MEDIA_HOST_SUFFIXES = ("cloudfront.net", "twitch.tv", "ttvnw.net", "jtvnw.net", "twitchcdn.net")

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
PositiveInt = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(ge=0)]
PositiveSeconds = Annotated[float, Field(gt=0)]
Rate = Annotated[float, Field(gt=0)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


def is_loopback(url: str) -> bool:
    """True if the URL's host is this machine's loopback (``localhost``, 127.0.0.0/8, ::1)."""
    host = (urlsplit(url).hostname or "").rstrip(".").lower()
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Endpoints(_Section):
    """Where Twitch is: the real one, or a stand-in on loopback. Never a mixture."""

    helix: str = "https://api.twitch.tv/helix/"
    auth: str = "https://id.twitch.tv/oauth2/"
    gql: str = "https://gql.twitch.tv/gql"
    usher: str = "https://usher.ttvnw.net"

    @model_validator(mode="after")
    def _one_world(self) -> Self:
        urls = [self.helix, self.auth, self.gql, self.usher]
        for url in urls:
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError(f"{printable(url)} is no http(s) URL")
            if parts.scheme == "http" and not is_loopback(url):
                raise ValueError(f"{printable(url)}: plain http is for loopback only")
        if len({is_loopback(url) for url in urls}) > 1:
            raise ValueError("either all four endpoints are loopback or none is")
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

    now: str = ""
    failed_share: Share = 0.2
    max_time_s: Seconds = 0
    max_bytes: Count = 0
    max_frames: Count = 0
    max_requests: Count = 0

    @field_validator("now")
    @classmethod
    def _utc(cls, value: str) -> str:
        if value:
            _parse_utc(value)
        return value

    @property
    def start(self) -> datetime | None:
        """``now`` as an aware UTC time; None = take the clock."""
        return _parse_utc(self.now) if self.now else None


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
    since: str = ""
    until: str = ""
    max_vods: Count = 200
    max_clips: Count = 200
    requests_per_s: Rate = 8

    @field_validator("since", "until")
    @classmethod
    def _utc(cls, value: str) -> str:
        if value:
            _parse_utc(value)
        return value


class Sample(_Section):
    """Which moments of a source become targets."""

    seed: str = "harvester"
    min_spacing_s: PositiveSeconds = 4
    max_per_vod: PositiveInt = 40
    max_per_clip: PositiveInt = 8
    max_per_broadcaster: Count = 0
    round_size: PositiveInt = 4
    guard_s: Seconds = 90
    guard_share: Annotated[float, Field(ge=0, lt=0.5)] = 0.05
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
    window_frames: PositiveInt = 96
    window_mb: PositiveInt = 192
    hosts: tuple[str, ...] = MEDIA_HOST_SUFFIXES


class Decode(_Section):
    """Which decoder, and how many threads."""

    backend: Literal["auto", "cpu"] = "auto"
    threads: Count = 0


class Filter(_Section):
    """Thresholds of the picture filters, on 8-bit luma as coded (limited range: black is 16)."""

    black_level: Annotated[int, Field(ge=0, le=255)] = 32
    black_share: Share = 0.98
    dark_mean: Annotated[float, Field(ge=0, le=255)] = 20
    flat_deviation: Annotated[float, Field(ge=0, le=128)] = 3


class Dedupe(_Section):
    """When two frames of a category are the same picture."""

    radius: Annotated[int, Field(ge=0, le=7)] = 6


class Dataset(_Section):
    """How pictures are stored."""

    short_side: Annotated[int, Field(ge=0, le=4320)] = 0
    jpeg_quality: Annotated[int, Field(ge=1, le=100)] = 90


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

    def replace(self, section: str, **values: Any) -> Config:
        """A checked copy with ``values`` set in ``section``."""
        changed = self.model_dump()
        changed[section].update(values)
        return Config.model_validate(changed)


@dataclass(frozen=True, slots=True)
class Credentials:
    """Client id and secret of the user's Twitch application; its repr shows neither."""

    client_id: str = field(repr=False)
    client_secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration and where it came from (None: built-in defaults only)."""

    config: Config
    path: Path | None


def load(
    path: Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[tuple[str, str], Any] | None = None,
    cwd: Path | None = None,
) -> Loaded:
    """The configuration of a run.

    ``path``: an explicit file (must exist); None = ``config.toml`` of ``cwd`` if there is one. ``environ``: the
    process environment. ``flags``: values of command line flags by (section, key).
    Raises :class:`ConfigError` for an unreadable file, an unknown key or a bad value.
    """
    file = path or _default_file(cwd or Path.cwd())
    values: dict[str, dict[str, Any]] = {}
    origin: dict[tuple[str, ...], str] = {}
    if file is not None:
        _merge_file(file, values, origin)
    _merge_environment(environ or {}, values, origin)
    for (section, key), value in (flags or {}).items():
        values.setdefault(section, {})[key] = value
        origin[(section, key)] = "the command line"
    try:
        return Loaded(Config.model_validate(values), file)
    except ValidationError as error:
        raise _explain(error, origin) from None


def credentials(environ: Mapping[str, str]) -> Credentials:
    """The Twitch application's id and secret from the environment, or from the files that ``..._FILE`` name.

    Raises :class:`ConfigError` that says which variable is missing.
    """
    return Credentials(_secret(environ, "TWITCH_CLIENT_ID"), _secret(environ, "TWITCH_CLIENT_SECRET"))


def _secret(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name, "").strip()
    file = environ.get(f"{name}_FILE", "")
    if not value and file:
        try:
            value = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "not text"
            raise ConfigError(f"{name}_FILE names {printable(file)}, which cannot be read: {why}") from None
    if not value:
        raise ConfigError(
            f"{name} is not set: export it (or {name}_FILE with the path of a file that holds it); "
            "an application's id and secret come from https://dev.twitch.tv/console/apps",
            reason="no-credentials",
        )
    if not value.isprintable() or not value.isascii() or " " in value:
        raise ConfigError(f"{name} holds characters that no Twitch credential has", reason="no-credentials")
    return value


def _default_file(cwd: Path) -> Path | None:
    file = cwd / "config.toml"
    return file if file.is_file() else None


def _merge_file(file: Path, values: dict[str, dict[str, Any]], origin: dict[tuple[str, ...], str]) -> None:
    try:
        text = file.read_text(encoding="utf-8")
        parsed = tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {file}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is no valid TOML: {printable(str(error))}") from None
    for section, table in parsed.items():
        place = f"{file}:{_line_of(text, section, None)}"
        _check_section(section, place)
        if not isinstance(table, dict):
            raise ConfigError(f"{place}: [{section}] must be a table of keys")
        for key, value in table.items():
            place = f"{file}:{_line_of(text, section, key)}"
            _check_key(section, key, place)
            values.setdefault(section, {})[key] = value
            origin[(section, key)] = place
        values.setdefault(section, {})
        origin[(section,)] = f"{file}:{_line_of(text, section, None)}"


def _merge_environment(
    environ: Mapping[str, str], values: dict[str, dict[str, Any]], origin: dict[tuple[str, ...], str]
) -> None:
    for name in sorted(environ):
        if not name.startswith(ENV_PREFIX):
            continue
        section, _, key = name.removeprefix(ENV_PREFIX).lower().partition("_")
        _check_section(section, name)
        _check_key(section, key, name)
        values.setdefault(section, {})[key] = _toml_value(environ[name])
        origin[(section, key)] = name


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _sections() -> dict[str, type[BaseModel]]:
    return {name: type(info.default) for name, info in Config.model_fields.items()}


def _check_section(section: str, place: str) -> None:
    if section not in _sections():
        raise ConfigError(f"{place}: unknown section [{printable(section)}]{_hint(section, _sections())}")


def _check_key(section: str, key: str, place: str) -> None:
    known = _sections()[section].model_fields
    if key not in known:
        raise ConfigError(f"{place}: unknown key {printable(key)!r} in [{section}]{_hint(key, known)}")


def _hint(word: str, known: Iterable[str]) -> str:
    names = list(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(names)}"


def _line_of(text: str, section: str, key: str | None) -> int:
    """Line number (from 1) of a section header, or of a key inside it; 1 if it is written in another form."""
    inside, header_line = False, 1
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if stripped.startswith("["):
            inside = stripped.split("]")[0].strip("[ ") == section
            if inside:
                header_line = number
                if key is None:
                    return number
        elif inside and key is not None and stripped.partition("=")[0].strip(" \"'") == key:
            return number
    return header_line


def _explain(error: ValidationError, origin: Mapping[tuple[str, ...], str]) -> ConfigError:
    first = error.errors(include_url=False)[0]
    location = tuple(str(part) for part in first["loc"])
    name = f"[{location[0]}] {location[1]}" if len(location) > 1 else f"[{location[0]}]"
    place = origin.get(location[:2]) or origin.get(location[:1]) or "the configuration"
    given = printable(repr(first["input"])) if len(location) > 1 else ""
    message = printable(first["msg"].removeprefix("Value error, "))
    return ConfigError(f"{place}: {name}{' = ' + given if given else ''}: {message}")


def _parse_utc(value: str) -> datetime:
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError("must be an ISO 8601 time such as 2026-11-01T03:00:00Z") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
