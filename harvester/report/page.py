"""A dataset as one page for a browser: self-contained, nothing is loaded from anywhere, readable on a phone.

Names and reasons come from strangers: they reach the page through :func:`printable` (no control or direction
marks, a bounded length) and the template's automatic escaping. The page's own policy (Content-Security-Policy)
forbids scripts and every request; its one style sheet is allowed by its hash. Whatever the dataset holds, the page
has at most :data:`PAGE_BYTES`.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harvester.model import SPLITS
from harvester.report.charts import Chart, columns, shares
from harvester.report.completeness import LABELLED_BY, caps_text
from harvester.report.contact import pick
from harvester.report.figures import duration_of, size_of
from harvester.report.overview import why_short
from harvester.report.thumbnails import Budget, frame_uri, tiles_uri
from harvester.store.overview import CategoryOverview
from harvester.store.pictures import SeenPicture
from harvester.store.survey import Contents, Survey
from harvester.text import printable, redact
from harvester.version import __version__
from harvester.vision.caps import CAP_REASONS

if TYPE_CHECKING:
    import jinja2

TEMPLATE, STYLE = Path(__file__).with_name("page.html.j2"), Path(__file__).with_name("page.css")

#: Runs on the page, the latest: two months of nights.
RUNS_SHOWN = 60
#: Categories on the page, those with the fewest frames; of them, how many with pictures.
CATEGORIES_SHOWN, CATEGORIES_PICTURED = 200, 64
#: Frames of a category, and from how many they are chosen (another choice after every run).
FRAMES_SHOWN, FRAMES_CHOSEN_FROM = 6, 48
#: Reasons with pictures, and pictures of each.
REASONS_SHOWN, PICTURES_SHOWN = 24, 24
#: Broadcasters named of a category.
BROADCASTERS_SHOWN = 5
#: Longest name or id, reason, and message (characters); reasons are slugs of ours, unless a file was changed.
NAME_CHARS, REASON_CHARS, MESSAGE_CHARS = 80, 40, 300
#: Reasons of a run that are told in its row, the most frequent.
REASONS_TOLD = 6
#: Bytes of all pictures together: some 500 frames, more than 64 categories show.
PICTURE_BYTES = 5_000_000
#: Most bytes of a page: the pictures, and text of which everything above bounds the length.
PAGE_BYTES = 10_000_000

#: What of a run is told first in the chart of its targets.
_VERDICTS = ("kept", "dropped", "failed")


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture with its caption."""

    uri: str
    caption: str


@dataclass(frozen=True, slots=True)
class Category:
    """A category on the page. ``broadcasters``: those with most frames, with their share in percent; ``capped``:
    what caps have cost it, ``short``: what is missing and why, "" for nothing."""

    facts: CategoryOverview
    split: Chart
    labels: Chart
    broadcasters: tuple[tuple[str, float], ...]
    capped: str
    short: str
    frames: tuple[Picture, ...]


@dataclass(frozen=True, slots=True)
class Reason:
    """A reason why pictures are not in the dataset, and what some of them looked like."""

    name: str
    count: int
    pictures: tuple[Picture, ...]


def render_page(found: Survey, root: Path, now: datetime) -> bytes:
    """The page about the dataset ``root`` in HTML (UTF-8)."""
    runs = found.overview.runs
    seed = str(runs[0]["id"]) if runs else ""
    budget = Budget(PICTURE_BYTES)
    names = {entry.category_id: entry.name for entry in found.overview.categories}
    dropped = sum((Counter(entry.dropped) for entry in found.overview.categories), Counter[str]())
    removed = sum((Counter(entry.removed) for entry in found.overview.categories), Counter[str]())
    reported = [run for run in reversed(runs[:RUNS_SHOWN]) if isinstance(run["report"], dict)]
    text = _template().render(
        css=_style(),
        css_hash=base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode(),
        root=str(root),
        now=now,
        version=__version__,
        facts=found,
        frames=sum(entry.frames for entry in found.overview.categories),
        runs=runs[:RUNS_SHOWN],
        runs_in_all=len(runs),
        charts=_history(reported),
        first=_day(reported[0]) if reported else "",
        last=_day(reported[-1]) if reported else "",
        drops=_gallery(dropped, found.dropped, names, budget),
        removals=_gallery(removed, found.removed, names, budget),
        categories=_categories(found, seed, budget),
        categories_in_all=len(found.contents),
        caps=_lost(dropped),
        caps_lately=caps_text(_counts(reported[-1]["report"].get("capped"))) if reported else "",
        splits=shares(_splits(found.overview.categories), SPLITS),
        budget=budget,
    )
    return text.encode("utf-8", "replace")


def _day(run: Mapping[str, Any]) -> str:
    return str(run["started_at"])[:10]


def _splits(categories: Iterable[CategoryOverview]) -> Counter[str]:
    return sum((Counter(entry.splits) for entry in categories), Counter[str]())


def _history(runs: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, str, Chart], ...]:
    """Title, what the full height is, and chart of each plot; ``runs`` from the oldest, all with reports."""
    told = [(_day(run), run["report"]) for run in runs]
    targets = columns([(day, _verdicts(report)) for day, report in told], _VERDICTS)
    drops = columns([(day, _numbers(report.get("dropped"))) for day, report in told])
    received = columns([(day, {"received": _total(report, "bytes")}) for day, report in told])
    speed = columns([(day, {"frames/s": _speed(report)}) for day, report in told])
    return (
        ("Targets", f"{targets.highest:,.0f}", targets),
        ("Dropped, by reason", f"{drops.highest:,.0f}", drops),
        ("Received", size_of(round(received.highest)), received),
        ("Speed", f"{speed.highest:.1f} frames/s", speed),
    )


def _numbers(counts: object) -> dict[str, float]:
    """Counts as a report of any version has them; what is none is left out."""
    if not isinstance(counts, dict):
        return {}
    return {printable(str(name), REASON_CHARS): n for name, n in counts.items() if isinstance(n, int | float)}


def _counts(counts: object) -> dict[str, int]:
    return {name: round(n) for name, n in _numbers(counts).items()}


def _lost(dropped: Mapping[str, int]) -> str:
    """What caps have cost of all targets that were decided; what is held back only waits."""
    return caps_text({reason: dropped.get(reason, 0) for reason in CAP_REASONS})


def _short(facts: CategoryOverview) -> str:
    """How many frames are missing of those that were wanted, and why; "" if none is."""
    if facts.shortfall is None:
        return ""
    return f"{facts.shortfall.missing:,} short of {facts.wanted:,}: {why_short(facts.shortfall)}"


def _total(report: Mapping[str, Any], name: str) -> float:
    return sum(_numbers(report.get(name)).values())


def _verdicts(report: Mapping[str, Any]) -> dict[str, float]:
    return {"kept": report.get("kept", 0)} | {name: _total(report, name) for name in _VERDICTS[1:]}


def _speed(report: Mapping[str, Any]) -> float:
    """Decided targets a second."""
    seconds = report.get("seconds")
    return sum(_verdicts(report).values()) / seconds if seconds else 0.0


def _gallery(
    counts: Mapping[str, int],
    pictures: Mapping[str, Sequence[SeenPicture]],
    names: Mapping[str, str],
    budget: Budget,
) -> list[Reason]:
    """The most frequent reasons with their pictures."""
    reasons = sorted(set(counts) | set(pictures), key=lambda reason: (-counts.get(reason, 0), reason))
    return [
        Reason(
            printable(reason, REASON_CHARS),
            counts.get(reason, 0),
            tuple(_likenesses(pictures.get(reason, ()), names, budget)),
        )
        for reason in reasons[:REASONS_SHOWN]
    ]


def _likenesses(seen: Iterable[SeenPicture], names: Mapping[str, str], budget: Budget) -> Iterable[Picture]:
    for picture in seen:
        uri = tiles_uri(picture.measurement)
        if uri and budget.takes(uri):
            name = printable(names.get(picture.category_id, picture.category_id), NAME_CHARS)
            where = f"{picture.kind} {printable(picture.source_id, NAME_CHARS)} at {duration_of(picture.offset_s)}"
            yield Picture(uri, f"{name}, {where}")


def _categories(found: Survey, seed: str, budget: Budget) -> list[Category]:
    """The categories, the neediest first."""
    pairs = sorted(
        zip(found.overview.categories, found.contents, strict=True),
        key=lambda pair: (pair[0].frames, pair[0].category_id),
    )
    return [
        _category(facts, contents, seed, budget if number < CATEGORIES_PICTURED else None)
        for number, (facts, contents) in enumerate(pairs[:CATEGORIES_SHOWN])
    ]


def _category(facts: CategoryOverview, contents: Contents, seed: str, budget: Budget | None) -> Category:
    total = contents.broadcasters.total()
    most = sorted(contents.broadcasters.items(), key=lambda item: (-item[1], item[0]))[:BROADCASTERS_SHOWN]
    labels = {LABELLED_BY.get(source, source): n for source, n in _numbers(contents.label_sources).items()}
    files = pick(contents.images, FRAMES_SHOWN, seed) if budget else []
    return Category(
        facts=facts,
        split=shares(facts.splits, SPLITS),
        labels=shares(labels),
        broadcasters=tuple((name, 100 * count / total) for name, count in most),
        capped=_lost(facts.dropped),
        short=_short(facts),
        frames=tuple(Picture(uri, file.stem) for file in files if (uri := frame_uri(file)) and budget.takes(uri))
        if budget
        else (),
    )


def told_reasons(counts: object) -> str:
    """The most frequent reasons with their counts, as one text; "" for none."""
    numbers = sorted(_numbers(counts).items(), key=lambda item: (-item[1], item[0]))
    rest = len(numbers) - REASONS_TOLD
    more = f" and {rest} more" if rest > 0 else ""
    return ", ".join(f"{n:,} {name}" for name, n in numbers[:REASONS_TOLD] if n) + more


@cache
def _style() -> str:
    return STYLE.read_text(encoding="utf-8")


@cache
def _template() -> jinja2.Template:
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "shown": lambda text: printable(str(text), NAME_CHARS),
        "message": lambda text: printable(redact(str(text)), MESSAGE_CHARS),
        "counted": lambda n, one, many: f"{n:,} {one if n == 1 else many}",
        "reasons": told_reasons,
        "size": size_of,
        "lasting": duration_of,
        "speed": _speed,
        "total": _total,
        "ours": Markup,  # the style sheet alone
    }
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
