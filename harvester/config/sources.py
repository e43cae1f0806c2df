"""Where values come from: flags over environment over file, laid over the built-in defaults.

The environment spells ``[section] key`` as ``HARVESTER_SECTION_KEY``; its value is read as TOML, else as a string.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harvester.config.sections import SECTIONS, Config
from harvester.config.wording import elsewhere, explain, hint, line_numbers
from harvester.errors import ConfigError
from harvester.text import printable

ENV_PREFIX = "HARVESTER_"

#: The file that is read from the working directory when none is named.
DEFAULT_FILE = "config.toml"

#: Longest path quoted in a message, in characters: Linux allows 4096, an error line should stay readable.
_PATH_CHARS = 400

_KEYS = {section: list(model.model_fields) for section, model in SECTIONS.items()}


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration and where it came from (None: built-in defaults only)."""

    config: Config
    path: Path | None


@dataclass(frozen=True, slots=True)
class _Setting:
    """One value for one key, and the place a message names for it."""

    section: str
    key: str
    value: Any
    place: str


def load(
    path: Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[tuple[str, str], Any] | None = None,
    cwd: Path | None = None,
) -> Loaded:
    """The configuration of a run.

    ``path``: an explicit file (must exist); None = ``config.toml`` of ``cwd`` if there is one. ``environ``: the
    process environment. ``flags``: values of command line flags by (section, key); None = the flag was not given.
    Raises :class:`ConfigError` for an unreadable file, an unknown key or a bad value.
    """
    file = path or _default_file(cwd or Path.cwd())
    values: dict[str, dict[str, Any]] = {}
    origin: dict[tuple[str, ...], str] = {}
    for setting in _settings(file, environ or {}, flags or {}):
        values.setdefault(setting.section, {})[setting.key] = setting.value
        origin[(setting.section, setting.key)] = setting.place
    try:
        return Loaded(Config.model_validate(values), file)
    except ValidationError as error:
        raise explain(error, origin) from None


def _settings(
    file: Path | None, environ: Mapping[str, str], flags: Mapping[tuple[str, str], Any]
) -> Iterator[_Setting]:
    """Every value that is set, weakest source first."""
    if file is not None:
        yield from _from_file(file)
    yield from _from_environment(environ)
    for (section, key), value in flags.items():
        if value is not None:
            yield _Setting(section, key, value, "the command line")


def _default_file(cwd: Path) -> Path | None:
    file = cwd / DEFAULT_FILE
    return file if file.is_file() else None


def _read(file: Path) -> tuple[str, dict[str, Any]]:
    """Text and tables of a TOML file. A byte order mark, as some editors write it, is no error."""
    name = printable(str(file), _PATH_CHARS)
    try:
        text = file.read_text(encoding="utf-8-sig")
        return text, tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {name}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # ValueError: not UTF-8, not TOML, or a number beyond all bounds
        raise ConfigError(f"{name} is no valid TOML: {printable(str(error))}") from None


def _from_file(file: Path) -> Iterator[_Setting]:
    text, tables = _read(file)
    lines, name = line_numbers(text), printable(str(file), _PATH_CHARS)
    for section, table in tables.items():
        place = f"{name}:{lines.get((section,), 1)}"
        _check_section(section, place, is_table=isinstance(table, dict))
        for key, value in table.items():
            place = f"{name}:{lines.get((section, key), 1)}"
            _check_key(section, key, place)
            yield _Setting(section, key, value, place)


def _from_environment(environ: Mapping[str, str]) -> Iterator[_Setting]:
    for name in sorted(environ):
        if not name.startswith(ENV_PREFIX):
            continue
        section, _, key = name.removeprefix(ENV_PREFIX).lower().partition("_")
        _check_section(section, printable(name))
        if not key:
            raise ConfigError(
                f"{printable(name)} names a section without a key: write {ENV_PREFIX}{section.upper()}_<KEY>; "
                f"known: {', '.join(_KEYS[section])}"
            )
        _check_key(section, key, printable(name))
        yield _Setting(section, key, _toml_value(section, key, environ[name]), name)


def _toml_value(section: str, key: str, text: str) -> Any:
    """``text`` read as a TOML value, else as it stands; a key that holds text takes 42 or a date as text too."""
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    if parsed.keys() != {"value"}:  # more lines than the value: no TOML value
        return text
    value = parsed["value"]
    takes_text = SECTIONS[section].model_fields[key].annotation is str
    return text if takes_text and not isinstance(value, str) else value


def _check_section(section: str, place: str, *, is_table: bool = True) -> None:
    if section not in SECTIONS:
        home = "" if is_table else elsewhere(section, _KEYS)
        if home:
            raise ConfigError(f"{place}: key {section!r} stands outside its section; did you mean {home}?")
        raise ConfigError(f"{place}: unknown section [{printable(section)}]{hint(section, SECTIONS)}")
    if not is_table:
        raise ConfigError(f"{place}: [{section}] must be a table of keys")


def _check_key(section: str, key: str, place: str) -> None:
    if key not in _KEYS[section]:
        home = elsewhere(key, _KEYS)
        near = f"; did you mean {home}?" if home else hint(key, _KEYS[section])
        raise ConfigError(f"{place}: unknown key {printable(key)!r} in [{section}]{near}")
