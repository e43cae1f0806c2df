"""What must hold of a dataset directory, seen from outside: by its files, its Parquet, its SQLite (invariants I1, I2, I4).

Nothing here asks the program's own view: ranks are computed again, images are hashed again.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harvester.config import Sample
from harvester.model import Label, LabelledSpan, Span
from harvester.sampling.parts import Media, open_parts
from harvester.sampling.plan import first_part
from harvester.store.records import labels_from, source_from

SPLITS = ("train", "validation", "test")
LEDGER = ".harvester/ledger.sqlite3"


def rows_of(root: Path) -> dict[str, list[dict[str, Any]]]:
    """The rows of each split that has a metadata file."""
    import pyarrow.parquet as pq

    files = {split: root / "data" / split / "metadata.parquet" for split in SPLITS}
    return {split: pq.ParquetFile(file).read().to_pylist() for split, file in files.items() if file.exists()}


def check_raw(root: Path) -> None:
    """I4, at this instant and before any recovery: a reader of the directory finds every listed image whole."""
    for split, rows in rows_of(root).items():
        for row in rows:
            image = root / "data" / split / row["file_name"]
            assert image.exists(), f"{split}/{row['file_name']} is listed and not there"
            assert hashlib.sha256(image.read_bytes()).hexdigest() == row["sha256"], row["file_name"]
    for folder in (root / "data").glob("*"):
        assert (folder / "metadata.parquet").exists(), f"{folder.name} has no metadata"
        classes = [entry for entry in folder.iterdir() if entry.is_dir()]
        assert classes, f"{folder.name} has no image"
        assert all(any(entry.iterdir()) for entry in classes), f"an empty class in {folder.name}"


def check_whole(root: Path) -> None:
    """After a run: nothing staged; images, metadata and ledger name the same frames; ranks are prefixes.

    And no target was decided by its picture twice.
    """
    check_raw(root)
    staging = root / ".harvester" / "staging"
    assert not staging.exists() or not any(staging.rglob("*"))
    listed = {f"{split}/{row['file_name']}" for split, rows in rows_of(root).items() for row in rows}
    images = {str(path.relative_to(root / "data")) for path in (root / "data").glob("*/*/*")}
    assert images == listed
    left = removed(root)
    assert not [seq for seq, row in left.items() if row["left_at"] is None], "leaving, and not left"
    kept = [row["file_name"] for row in outcomes(root) if row["verdict"] == "kept" and row["seq"] not in left]
    assert Counter(kept) == Counter(name.split("/", 1)[1] for name in listed)
    check_prefixes(root)
    looked_at = Counter(
        (row["category_id"], row["kind"], row["source_id"], row["k"])
        for row in outcomes(root)
        if row["k"] is not None and row["measurement"] is not None
    )
    assert not [target for target, times in looked_at.items() if times > 1]


def check_books(root: Path, report: Mapping[str, Any]) -> None:
    """I1: planned is what became of it, in all and in each category, and the ledger says the same."""
    for books in (report, *report["categories"].values()):
        decided = books["kept"] + sum(books["dropped"].values()) + sum(books["failed"].values())
        assert books["planned"] == decided + books["pending"]
    rows = _final([row for row in outcomes(root) if row["run_id"] == report["run_id"]])
    by_verdict = Counter(row["verdict"] for row in rows)
    dropped = Counter(row["reason"] for row in rows if row["verdict"] == "dropped")
    failed = Counter(row["reason"] for row in rows if row["verdict"] == "failed")
    assert (by_verdict["kept"], dropped, failed) == (report["kept"], report["dropped"], report["failed"])
    left = removed(root)
    kept = Counter(
        row["category_id"] for row in outcomes(root) if row["verdict"] == "kept" and row["seq"] not in left
    )
    assert {category: books["total"] for category, books in report["categories"].items()} == {
        category: kept[category] for category in report["categories"]
    }
    for books in report["categories"].values():
        assert books["target"] is None or books["total"] <= books["target"]


def _final(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What became of each target in the end: a failure that the same run mended counts no more."""
    final: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        source = (row["category_id"], row["kind"], row["source_id"])
        final.pop((*source, None), None)
        final[*source, row["k"]] = row
    return list(final.values())


@contextmanager
def _ledger(root: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(f"file:{root / LEDGER}?mode=ro", uri=True)) as database:
        database.row_factory = sqlite3.Row
        yield database


def outcomes(root: Path) -> list[dict[str, Any]]:
    """The ledger's outcomes in the order of their commits."""
    with _ledger(root) as database:
        return [dict(row) for row in database.execute("SELECT * FROM outcomes ORDER BY seq")]


def removed(root: Path) -> dict[int, dict[str, Any]]:
    """The ledger's removals by decision."""
    with _ledger(root) as database:
        return {row["seq"]: dict(row) for row in database.execute("SELECT * FROM removals")}


def check_prefixes(root: Path) -> None:
    """I2: what is decided of a pass are its first ranks, without those that no picture stands behind.

    Ranks are recomputed from the committed visits. A rank may be passed over when its source has fewer targets,
    could not be opened at an earlier rank, or had that target decided in another pass.
    """
    decided: dict[int, list[dict[str, Any]]] = {}
    settled = {}
    for row in outcomes(root):
        if row["pass_id"]:
            decided.setdefault(row["pass_id"], []).append(row)
        if row["verdict"] != "failed":
            settled[row["category_id"], row["kind"], row["source_id"], row["k"]] = row["pass_id"]
    for pass_id, rows in decided.items():
        order = [_rank(row) for row in rows]
        assert order == sorted(set(order)), f"pass {pass_id} is out of order"
        done = set(order)
        lost = {(row["kind"], row["source_id"]): _rank(row) for row in rows if row["k"] is None}
        assert len(lost) == sum(row["k"] is None for row in rows), "a source is lost once in a pass"
        for rank, source, k, targets in _ranks(root, pass_id):
            if rank > order[-1] or rank in done:
                continue
            elsewhere = settled.get((rows[0]["category_id"], *source, k), pass_id) != pass_id
            assert elsewhere or k >= targets or (source in lost and rank > lost[source]), f"{source} {k} skipped"


def _rank(row: Mapping[str, Any]) -> tuple[int, ...]:
    return (row["round"], row["broadcaster_hash"], row["source_hash"], row["place"])


def _ranks(root: Path, pass_id: int) -> Iterator[tuple[tuple[int, ...], tuple[str, str], int, int]]:
    """Rank, source, number of the target, and how many targets the source really has (of this world)."""
    query = (
        "SELECT v.*, s.record, p.labels, q.targets FROM visits v JOIN sources s ON s.category_id = v.category_id"
        " AND s.kind = v.kind AND s.id = v.source_id JOIN parts p ON p.category_id = v.category_id"
        " AND p.kind = v.kind AND p.source_id = v.source_id AND p.first_k = 0 LEFT JOIN parts q"
        " ON q.category_id = v.category_id AND q.kind = v.kind AND q.source_id = v.source_id"
        " AND q.first_k = v.first_k WHERE v.pass_id = ?"
    )
    with _ledger(root) as database:
        visits = [dict(row) for row in database.execute(query, (pass_id,))]
    for visit in visits:
        retry = json.loads(visit["retry"]) if visit["retry"] else None
        for place in range(visit["count"]):
            turn = (visit["first_slot"] + place) // visit["round_size"]
            rank = (turn, visit["broadcaster_hash"], visit["source_hash"], place)
            k = visit["first_k"] + place if retry is None else retry[place]
            source = (visit["kind"], visit["source_id"])
            yield rank, source, k, _targets(visit) if retry or not visit["first_k"] else _further(visit)


def _further(visit: Mapping[str, Any]) -> int:
    """Number after the last one of a part that is not the source's first; of one never opened it has them all."""
    return int(visit["first_k"] + (visit["count"] if visit["targets"] is None else visit["targets"]))


#: How the worlds of these tests are sampled: few targets, several rounds, the small rendition.
SAMPLE = Sample(min_spacing_s=2, round_size=2, max_per_vod=6, max_per_clip=3, min_height=100)


def _targets(visit: Mapping[str, Any]) -> int:
    """How many targets a source of these worlds has: their GOPs, and so their pictures, are 2 s apart.

    They lie in the spans that were found to show its category; of one that was never open, anywhere.
    """
    source = source_from(visit["kind"], visit["record"])
    moments_s = [2.0 * number for number in range(int(source.duration_s / 2))]
    media = Media(moments_s, source.duration_s, ended=True)
    everywhere = (LabelledSpan(Span(0, source.duration_s), source.category_id, Label("listing", 0.5)),)
    spans = everywhere if visit["labels"] is None else labels_from(source.category_id, visit["labels"])
    _, targets = open_parts(source, [first_part(source, SAMPLE)], media, SAMPLE, spans)
    return len(targets)


@dataclass(frozen=True)
class Content:
    """What a dataset is, apart from when and by which runs it was made."""

    frames: frozenset[tuple[Any, ...]]
    decisions: Counter[tuple[Any, ...]]


def content(root: Path) -> Content:
    """The frames with their files, and every decision: source, place, offset, hash, verdict, reason."""
    frames = []
    for split, rows in rows_of(root).items():
        for row in rows:
            stored = hashlib.sha256((root / "data" / split / row["file_name"]).read_bytes()).hexdigest()
            names = ("source_type", "source_id", "offset_s", "phash", "split", "label", "label_id", "file_name")
            frames.append((*(row[name] for name in names), stored))
    passes: dict[str, list[int]] = {}
    left = removed(root)
    decisions = []
    for row in outcomes(root):
        numbers = passes.setdefault(row["category_id"], [])
        if row["pass_id"] not in numbers:
            numbers.append(row["pass_id"])
        names = ("category_id", "kind", "source_id", "k", "offset_s", "phash", "verdict", "reason", "sha256")
        gone = left[row["seq"]]["reason"] if row["seq"] in left else ""
        decisions.append((numbers.index(row["pass_id"]), *_rank(row), gone, *(row[name] for name in names)))
    assert len(set(frames)) == len(frames)
    return Content(frozenset(frames), Counter(decisions))


def assert_same(got: Content, wanted: Content) -> None:
    """Both datasets are the same; else say what differs, in short."""
    assert got.frames == wanted.frames, sorted(got.frames ^ wanted.frames, key=str)[:4]
    more, less = got.decisions - wanted.decisions, wanted.decisions - got.decisions
    assert not more and not less, (f"{len(more)} more", list(more)[:4], f"{len(less)} less", list(less)[:4])
