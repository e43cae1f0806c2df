"""The Twitch application's credentials: by environment only, so that no configuration file ever holds a secret."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harvester.errors import ConfigError
from harvester.text import printable

#: Where an application's id and secret are made (quoted in the error that misses them).
CONSOLE_URL = "https://dev.twitch.tv/console/apps"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Client id and secret of the user's Twitch application; its repr shows neither."""

    client_id: str = field(repr=False)
    client_secret: str = field(repr=False)


def credentials(environ: Mapping[str, str]) -> Credentials:
    """The Twitch application's id and secret from the environment, or from the files that ``..._FILE`` name.

    The variable itself wins over its ``_FILE``. Raises :class:`ConfigError` that says which variable is missing
    or unusable, and never quotes its value.
    """
    return Credentials(_secret(environ, "TWITCH_CLIENT_ID"), _secret(environ, "TWITCH_CLIENT_SECRET"))


def _secret(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name, "").strip() or _from_file(environ, name)
    if not value:
        raise _no_credentials(
            f"{name} is not set: export it (or {name}_FILE with the path of a file that holds it); "
            f"an application's id and secret come from {CONSOLE_URL}"
        )
    if not value.isprintable() or not value.isascii() or " " in value:
        raise _no_credentials(f"{name} holds characters that no Twitch credential has")
    return value


def _from_file(environ: Mapping[str, str], name: str) -> str:
    file = environ.get(f"{name}_FILE", "")
    if not file:
        return ""
    try:
        value = Path(file).read_text(encoding="utf-8-sig").strip()
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or a NUL in the path
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise _no_credentials(f"{name}_FILE names {printable(file)}, which cannot be read: {why}") from None
    if not value:
        raise _no_credentials(f"{name}_FILE names {printable(file)}, which is empty: write the value into it")
    return value


def _no_credentials(message: str) -> ConfigError:
    return ConfigError(message, reason="no-credentials")
