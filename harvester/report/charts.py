"""Counts as bars: the geometry only, in units of the drawing; the page's template writes it as SVG.

A column is a run, its parts lie upon each other; a share is one bar from 0 to 100. Bars start at zero and share
one scale, so that areas compare as the numbers do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

#: Colours there are, the last for all the rest (page.css has as many).
COLOURS = 8
#: What the rest is called.
REST = "all others"
#: Height of a chart's drawing; as wide as it has columns, each this wide with the gap before it.
HEIGHT, COLUMN, GAP = 100.0, 10.0, 2.0


@dataclass(frozen=True, slots=True)
class Part:
    """A coloured rectangle; ``title`` is shown where a pointer rests on it."""

    x: float
    y: float
    width: float
    height: float
    colour: int
    title: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Columns from left to right. ``highest``: what the full height stands for; ``legend``: names by colour."""

    width: float
    highest: float
    parts: tuple[Part, ...]
    legend: tuple[str, ...]


def columns(bars: Sequence[tuple[str, Mapping[str, float]]], order: Sequence[str] = ()) -> Chart:
    """A column for each named mapping, its parts from the bottom up.

    ``order``: names that come first, with the first colours, if they occur; the others follow by size in all. More
    than :data:`COLOURS` are thrown together as :data:`REST`.
    """
    legend = _legend(bars, order)
    highest = max((sum(values.values()) for _, values in bars), default=0)
    parts = []
    for number, (name, values) in enumerate(bars):
        top = HEIGHT
        for colour, (what, value) in enumerate(_grouped(values, legend)):
            if value > 0:
                height = HEIGHT * value / highest
                top -= height
                title = f"{name}: {_figure(value)} {what}".rstrip()
                parts.append(Part(number * COLUMN + GAP, top, COLUMN - GAP, height, colour, title))
    return Chart(len(bars) * COLUMN + GAP, highest, tuple(parts), legend)


def shares(counts: Mapping[str, float], order: Sequence[str] = ()) -> Chart:
    """One bar of width 100, divided as ``counts`` are; empty if they are all zero."""
    total = sum(counts.values())
    if not total:
        return Chart(HEIGHT, 0, (), ())
    legend = _legend([("", counts)], order)
    parts, left = [], 0.0
    for colour, (what, value) in enumerate(_grouped(counts, legend)):
        width = 100 * value / total
        parts.append(Part(left, 0, width, HEIGHT, colour, f"{what}: {_figure(value)} ({width:.0f} %)"))
        left += width
    return Chart(HEIGHT, total, tuple(parts), legend)


def _legend(bars: Sequence[tuple[str, Mapping[str, float]]], order: Sequence[str]) -> tuple[str, ...]:
    totals: dict[str, float] = {}
    for _, values in bars:
        for name, value in values.items():
            if value > 0:
                totals[name] = totals.get(name, 0) + value
    others = sorted(set(totals) - set(order), key=lambda name: (-totals[name], name))
    names = [name for name in order if name in totals] + others
    return tuple(names) if len(names) <= COLOURS else (*names[: COLOURS - 1], REST)


def _grouped(values: Mapping[str, float], legend: Sequence[str]) -> list[tuple[str, float]]:
    """The value of each name of the legend."""
    named = [(name, values.get(name, 0)) for name in legend if name != REST]
    if REST in legend:
        named.append((REST, sum(values.values()) - sum(value for _, value in named)))
    return named


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.1f}"
