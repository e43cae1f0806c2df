"""What is wrong with a configuration, as one line: the place, the key, why, and the nearest valid name."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from harvester.errors import ConfigError
from harvester.text import printable, redact

#: Where values came from, by (section, key) or (section,): "config.toml:12", a variable's name ...
Origin = Mapping[tuple[str, ...], str]

#: Similarity (difflib ratio) from which a valid name is offered for an unknown one: "radios" for "radius" is
#: 0.83, "jpg_quality" for "jpeg_quality" 0.96, "frames" for "max_frames" 0.75, unrelated words of the file < 0.5.
NEAR = 0.6

#: The same for a value, all valid ones of which are told anyway: "nvdc" and "NVDEC" are meant as "nvdec", but
#: "gpu", at 0.67, is not meant as "cpu".
_NEAR_VALUE = 0.7

#: Longest message of a failed check, in characters: the list of valid values of a choice must fit.
_REASON_CHARS = 300

_USER_INFO = re.compile(r"//[^/\s]*@")

_PLAIN_WORDS = {
    "tuple_type": 'must be a list, such as ["one", "two"]',
    "string_type": "must be a text in quotes",
    "string_unicode": "must be valid Unicode text",
    "model_type": "must be a table of keys",
}


def hint(word: str, known: Iterable[str]) -> str:
    """Tail of an error about an unknown ``word``: the nearest of the ``known`` names, else all of them."""
    names = list(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=NEAR)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(names)}"


def elsewhere(key: str, sections: Mapping[str, Iterable[str]]) -> str:
    """``[section] key`` for a key that stands in the wrong section or in none, or ``""``."""
    return next((f"[{section}] {key}" for section, keys in sections.items() if key in keys), "")


def explain(error: ValidationError, origin: Origin) -> ConfigError:
    """The first failed check of a configuration as a :class:`ConfigError` with its place."""
    first = error.errors(include_url=False)[0]
    location = tuple(str(part) for part in first["loc"])
    reason = _PLAIN_WORDS.get(first["type"]) or first["msg"].removeprefix("Value error, ")
    reason = printable(reason, _REASON_CHARS) + _meant(first)
    name = f"[{location[0]}]"
    if len(location) > 1:
        name += f" {location[1]} = {_shown(first['input'])}"
    return ConfigError(f"{_place(location, origin)}: {name}: {reason}")


def _meant(failed: ErrorDetails) -> str:
    """Tail of an error about one of a few values: the one that was probably meant."""
    if failed["type"] not in ("literal_error", "enum") or not isinstance(failed["input"], str):
        return ""
    values = re.findall(r"'([^']*)'", failed["ctx"]["expected"])
    near = difflib.get_close_matches(failed["input"].lower(), values, n=1, cutoff=_NEAR_VALUE)
    return f"; did you mean {near[0]!r}?" if near else ""


def _shown(value: object) -> str:
    """A refused value, without what it may hold of a secret (a URL's password, a token)."""
    return printable(_USER_INFO.sub("//***@", redact(repr(value))))


def _place(location: tuple[str, ...], origin: Origin) -> str:
    """Where the value at ``location`` came from; for a whole section every place that set a key of it."""
    if len(location) > 1:
        return origin.get(location[:2], "the configuration")
    places = [place for path, place in origin.items() if path[:1] == location and len(path) > 1]
    return ", ".join(dict.fromkeys(places)) or "the configuration"


def line_numbers(text: str) -> dict[tuple[str, ...], int]:
    """First line (from 1) of every table and key of a valid TOML ``text``, by path, in whatever form it stands.

    TOML statements end with their line unless a value goes on: lines are gathered until they parse below the
    table header in force, so dotted keys, inline tables and multi-line values all find their line.
    """
    found: dict[tuple[str, ...], int] = {}
    header, statement, first = "", "", 1
    for number, line in enumerate(text.split("\n"), start=1):
        statement += line + "\n"
        if number > first and not any(end in line for end in ("]", "}", '"""', "'''")):
            continue  # inside a value that cannot end here: spares a parse per line of a long list
        try:
            table = tomllib.loads(header + statement)
        except tomllib.TOMLDecodeError:
            continue
        for path in _paths(table):
            found.setdefault(path, first)
        if number == first and line.lstrip().startswith("["):
            header = statement
        statement, first = "", number + 1
    return found


def _paths(table: Mapping[str, object], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in table.items():
        yield (*above, key)
        if isinstance(value, dict) and not above:
            yield from _paths(value, (key,))
