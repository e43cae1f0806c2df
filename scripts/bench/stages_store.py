"""What becomes durable: decisions in the ledger, frames with their rows in a dataset."""

from __future__ import annotations

import hashlib
import itertools
import os
import sqlite3
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from bench.stages_samples import Sample
from bench.stages_timing import Stage
from harvester.model import Category, Frame, Rank
from harvester.store.classes import ClassEntry
from harvester.store.columns import score_names
from harvester.store.dataset import Dataset
from harvester.store.layout import frame_file_name
from harvester.store.ledger import Ledger
from harvester.store.records import Outcome, outcome_row
from harvester.vision.jpeg import encode
from harvester.vision.measure import measure, pack
from harvester.vision.phash import hex16, phash

#: Decisions and frames of a batch, as a run publishes them.
BATCH = 64
NOW = datetime(2026, 11, 1, tzinfo=UTC)
GAME = Category("1", "Game")


def store_stages(samples: Sequence[Sample], folder: Path, stack: ExitStack) -> list[Stage]:
    """Both; the files are in ``folder``."""
    return [_ledger(samples, folder, stack), _publish(samples, folder)]


def _ledger(samples: Sequence[Sample], folder: Path, stack: ExitStack) -> Stage:
    ledger = Ledger(folder / "ledger.sqlite3")
    stack.callback(ledger.close)
    numbers, others = itertools.count(1), itertools.count(1)
    packed = [pack(measure(sample.picture)) for sample in samples]
    bare = sqlite3.connect(folder / "bare.sqlite3", isolation_level=None)
    stack.callback(bare.close)
    bare.execute("PRAGMA journal_mode = WAL")
    bare.execute("PRAGMA synchronous = FULL")
    columns = len(outcome_row(_outcome(1, packed[0])))
    bare.execute(f"CREATE TABLE outcomes ({', '.join(f'c{i}' for i in range(columns))})")

    def rows(count: itertools.count[int]) -> list[Outcome]:
        return [_outcome(next(count), packed[number % len(packed)]) for number in range(BATCH)]

    def raw() -> None:
        marks = ", ".join("?" * columns)
        bare.execute("BEGIN")
        bare.executemany(f"INSERT INTO outcomes VALUES ({marks})", [outcome_row(o) for o in rows(others)])
        bare.execute("COMMIT")

    def check() -> None:
        ledger.commit(rows(numbers))
        assert ledger.committed_in("run") == {GAME.id: BATCH}

    ways = {"harvester": lambda: ledger.commit(rows(numbers)), "SQLite, no index": raw}
    return Stage("ledger", ways, check, calls=BATCH, unit="row", wall=True)


def _outcome(seq: int, packed: bytes) -> Outcome:
    return Outcome(
        seq=seq,
        run_id="run",
        category_id=GAME.id,
        rank=Rank(1, 0, 0, 0, seq),
        kind="vod",
        source_id=str(seq // 40),
        broadcaster_id=str(seq // 400),
        k=seq % 40,
        verdict="dropped",
        reason="duplicate",
        decided_at=NOW,
        offset_s=float(seq),
        phash=seq * 0x9E37_79B9_7F4A_7C15 % 2**64,
        measurement=packed,
    )


def _publish(samples: Sequence[Sample], folder: Path) -> Stage:
    dataset = Dataset.open(folder / "dataset")
    dataset.recover(lambda _: True)
    entry = dataset.classes.register(GAME)
    made = [_frame(dataset, entry, sample) for sample in samples]
    numbers, others = itertools.count(1), itertools.count(1)
    plain = folder / "plain"
    plain.mkdir()

    def batch() -> list[tuple[Frame, bytes]]:
        chosen = (made[number % len(made)] for number in range(BATCH))
        return [(_moved(frame, entry, next(numbers)), jpeg) for frame, jpeg in chosen]

    def files() -> None:
        for number in range(BATCH):
            with (plain / f"{next(others)}.jpg").open("wb") as file:
                file.write(made[number % len(made)][1])
                file.flush()
                os.fsync(file.fileno())

    def check() -> None:
        wanted = batch()
        dataset.publish(wanted, lambda: None)
        assert {frame.file_name for frame in dataset.frames()} == {frame.file_name for frame, _ in wanted}
        assert all(dataset.image_path(frame).read_bytes() == jpeg for frame, jpeg in wanted)

    ways = {"harvester": lambda: dataset.publish(batch(), lambda: None), "files and fsync alone": files}
    return Stage("dataset: image and metadata row", ways, check, calls=BATCH, unit="frame", wall=True)


def _frame(dataset: Dataset, entry: ClassEntry, sample: Sample) -> tuple[Frame, bytes]:
    jpeg, stream = encode(sample.picture, quality=90), sample.picture.stream
    frame = Frame(
        file_name=frame_file_name(entry.slug, "vod", "1", 0.0),
        label=entry.name,
        label_id=entry.label_id,
        category_id=entry.category_id,
        source_type="vod",
        source_id="1",
        broadcaster_id="1",
        offset_s=0.0,
        streamed_at=NOW,
        width=stream.width,
        height=stream.height,
        rendition="source",
        codec=stream.codec.value,
        decoder="cpu",
        phash=hex16(phash(measure(sample.picture).grid)),
        sha256=hashlib.sha256(jpeg).hexdigest(),
        label_source="listing",
        label_confidence=0.5,
        scores=dict.fromkeys(score_names(), 1.0),
        split=dataset.classes.split_of("1"),
        run_id="run",
        harvester_version="0",
        harvested_at=NOW,
        url="https://www.twitch.tv/videos/1",
    )
    return frame, jpeg


def _moved(frame: Frame, entry: ClassEntry, number: int) -> Frame:
    """The same frame at another moment."""
    return replace(frame, offset_s=float(number), file_name=frame_file_name(entry.slug, "vod", "1", float(number)))
