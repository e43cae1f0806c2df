"""A strict reader of Prometheus' text format 0.0.4, as its specification has it; stricter where that is lax."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"')
_UNESCAPED = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}


@dataclass
class Family:
    """A metric: its help, its type, and its samples by their labels."""

    help: str
    type: str = ""
    samples: dict[frozenset[tuple[str, str]], float] = field(default_factory=dict)

    def value(self, **labels: str) -> float:
        return self.samples[frozenset(labels.items())]


def parse(text: str) -> dict[str, Family]:
    """The metrics by name. ValueError for text that a scraper may refuse: every metric has HELP, then TYPE, then at
    least one sample, stands in one place, and no sample comes twice."""
    if not text.endswith("\n"):
        raise ValueError("the last line must end")
    families: dict[str, Family] = {}
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            name, _, told = line[7:].partition(" ")
            if not _NAME.fullmatch(name) or name in families or not told:
                raise ValueError(line)
            families[name] = Family(told)
        elif line.startswith("# TYPE "):
            name, _, kind = line[7:].partition(" ")
            if name != list(families)[-1] or families[name].type or kind not in ("gauge", "counter"):
                raise ValueError(line)
            families[name].type = kind
        else:
            _add(families, line)
    if empty := [name for name, family in families.items() if not family.samples]:
        raise ValueError(f"without samples: {empty}")
    return families


def _add(families: dict[str, Family], line: str) -> None:
    found = _SAMPLE.fullmatch(line)
    if not found or found[1] != list(families)[-1] or not families[found[1]].type:
        raise ValueError(f"no sample: {line!r}")
    labels = frozenset(_labels(found[2] or ""))
    if labels in families[found[1]].samples:
        raise ValueError(f"twice: {line!r}")
    families[found[1]].samples[labels] = float(found[3])


def _labels(text: str) -> list[tuple[str, str]]:
    found, at = [], 0
    while at < len(text):
        label = _LABEL.match(text, at)
        if not label:
            raise ValueError(f"no label: {text[at:]!r}")
        found.append((label[1], re.sub(r"\\.", lambda escape: _UNESCAPED[escape[0]], label[2])))
        at = label.end() + (text[label.end() : label.end() + 1] == ",")
    return found
