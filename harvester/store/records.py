"""Rows of the ledger as records, and back."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np

from harvester.model import (
    TILE_COLS,
    TILE_ROWS,
    Category,
    Chapter,
    Clip,
    Label,
    LabelledSpan,
    Rank,
    Source,
    SourceKind,
    Span,
    Vod,
    VodType,
)
from harvester.sampling.labels import ClipMark, Evidence
from harvester.sampling.looks import Glance
from harvester.sampling.scene import Scene


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one target (``k`` None: of the whole source). Hashes are unsigned 64-bit.

    ``measurement``: packed Measurement (vision.measure). ``file_name``: that of a kept image as its metadata row
    has it. ``retry_at``: when a failure may be tried again; None = never.
    """

    seq: int
    run_id: str
    category_id: str
    rank: Rank
    kind: SourceKind
    source_id: str
    broadcaster_id: str
    k: int | None
    verdict: str
    reason: str
    decided_at: datetime
    offset_s: float | None = None
    phash: int | None = None
    measurement: bytes | None = None
    near_key: int | None = None
    near_distance: int | None = None
    file_name: str | None = None
    sha256: str | None = None
    detail: str | None = None
    retry_at: datetime | None = None

    def __post_init__(self) -> None:
        if (self.verdict == "kept") != (self.file_name is not None):
            raise ValueError("exactly the kept outcomes name a file")
        if (self.verdict == "kept") != (self.reason == ""):
            raise ValueError("exactly the kept outcomes have no reason")


def source_record(source: Source) -> str:
    """A source as JSON text."""
    values = asdict(source)
    values["created_at"] = source.created_at.isoformat()
    return json.dumps(values, sort_keys=True)


def source_from(kind: str, record: str) -> Source:
    """The source that :func:`source_record` wrote."""
    values = json.loads(record)
    values["created_at"] = datetime.fromisoformat(values["created_at"])
    if kind == "clip":
        return Clip(**values)
    values["type"] = VodType(values["type"])
    return Vod(**values)


def labels_record(labels: Sequence[LabelledSpan]) -> str:
    """Labelled spans of one category as JSON text: start and end (s), source and confidence of each."""
    return json.dumps([(s.span.start_s, s.span.end_s, s.label.source, s.label.confidence) for s in labels])


def labels_from(category_id: str, record: str) -> tuple[LabelledSpan, ...]:
    """The spans that :func:`labels_record` wrote of that category."""
    rows = json.loads(record)
    return tuple(
        LabelledSpan(Span(start, end), category_id, Label(source, sure)) for start, end, source, sure in rows
    )


def evidence_record(evidence: Evidence) -> str:
    """Evidence as JSON text; chapters and clips as start and end (s) and category."""
    chapters = evidence.chapters and [
        (c.span.start_s, c.span.end_s, c.category and c.category.id, c.category and c.category.name)
        for c in evidence.chapters
    ]
    values = {
        "listed": evidence.listed,
        "chapters": chapters if chapters is None else list(chapters),
        "game": evidence.game,
        "clips": [(m.span.start_s, m.span.end_s, m.category_id) for m in evidence.clips],
        "idle": [(span.start_s, span.end_s) for span in evidence.idle],
        "scenes": [_scene_record(scene) for scene in evidence.scenes],
        "doubted": [(span.start_s, span.end_s) for span in evidence.doubted],
        "glance": evidence.glance and _glance_record(evidence.glance),
        "unlike": [(span.start_s, span.end_s, category_id) for span, category_id in evidence.unlike],
    }
    return json.dumps(values)


def evidence_from(record: str) -> Evidence:
    """The evidence that :func:`evidence_record` wrote."""
    values = json.loads(record)
    chapters = values["chapters"] and [
        Chapter(Span(start, end), Category(id_, name) if id_ else None)
        for start, end, id_, name in values["chapters"]
    ]
    return Evidence(
        values["listed"],
        None if chapters is None else tuple(chapters),
        values["game"],
        tuple(ClipMark(Span(start, end), category_id) for start, end, category_id in values["clips"]),
        tuple(Span(start, end) for start, end in values.get("idle", ())),  # older versions saw no storyboards
        tuple(_scene_from(record) for record in values.get("scenes", ())),
        tuple(Span(start, end) for start, end in values.get("doubted", ())),
        None if (glance := values.get("glance")) is None else _glance_from(*glance),
        tuple((Span(start, end), category_id) for start, end, category_id in values.get("unlike", ())),
    )


def _scene_record(scene: Scene) -> list[str]:
    """Cells and, as bits, which of them stand: both in base 64."""
    parts = scene.cells, np.packbits(scene.standing)
    return [b64encode(part.tobytes()).decode("ascii") for part in parts]


def _scene_from(record: Sequence[str]) -> Scene:
    cells, bits = (np.frombuffer(b64decode(part), np.uint8) for part in record)
    standing = np.unpackbits(bits, count=TILE_ROWS * TILE_COLS).astype(np.bool_)
    return Scene(cells.reshape(TILE_ROWS, TILE_COLS, 3), standing.reshape(TILE_ROWS, TILE_COLS))


def _glance_record(glance: Glance) -> tuple[Sequence[float], str]:
    return glance.moments_s, b64encode(glance.looks.tobytes()).decode("ascii")


def _glance_from(moments_s: Sequence[float], looks: str) -> Glance:
    return Glance(tuple(moments_s), np.frombuffer(b64decode(looks), np.int8).reshape(len(moments_s), -1))


def without_category(record: str, category_id: str) -> str:
    """What :func:`evidence_record` wrote, without that category: its chapters are of none, its clips gone."""
    values = json.loads(record)
    chapters = values["chapters"] and [
        (start, end, None, None) if id_ == category_id else (start, end, id_, name)
        for start, end, id_, name in values["chapters"]
    ]
    values |= {key: None for key in ("listed", "game") if values[key] == category_id}
    clips = [clip for clip in values["clips"] if clip[2] != category_id]
    return json.dumps({**values, "chapters": chapters, "clips": clips})


def _signed(value: int | None) -> int | None:
    """A 64-bit hash as the signed integer that SQLite stores."""
    return value if value is None or value < 1 << 63 else value - (1 << 64)


def outcome_row(outcome: Outcome) -> tuple[Any, ...]:
    """Values of the columns of ``outcomes``, in the schema's order."""
    rank = outcome.rank
    return (
        *(outcome.seq, outcome.run_id, outcome.category_id),
        *(rank.pass_id, rank.round, rank.broadcaster_hash, rank.source_hash, rank.k),
        *(outcome.kind, outcome.source_id, outcome.broadcaster_id, outcome.k),
        *(outcome.verdict, outcome.reason, outcome.offset_s, _signed(outcome.phash), outcome.measurement),
        *(outcome.near_key, outcome.near_distance, outcome.file_name, outcome.sha256, outcome.detail),
        outcome.decided_at.isoformat(),
        None if outcome.retry_at is None else outcome.retry_at.isoformat(),
    )
