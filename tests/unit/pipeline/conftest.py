"""Records for tests of the pipeline: sources, pictures, decisions, and a sink that remembers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

import numpy as np

from harvester.clock import Clock
from harvester.config import Filter
from harvester.decode.looks import HostLook
from harvester.model import (
    Category,
    Clip,
    Codec,
    Frame,
    Label,
    Picture,
    Rank,
    Source,
    SplitName,
    StreamInfo,
    Vod,
    VodType,
)
from harvester.pipeline.deciding import Judge
from harvester.pipeline.sinks import Decision, Rendered
from harvester.pipeline.work import Item, Measured, Result
from harvester.sampling.plan import Visit
from harvester.stats import StageTimes
from harvester.store.classes import ClassEntry, SplitRule
from harvester.store.ledger import Ledger
from harvester.store.records import Outcome
from harvester.vision.caps import Caps
from harvester.vision.fold import CategoryFold, Rules
from harvester.vision.hamming import HashIndex
from harvester.vision.measure import measure

NOW = datetime(2026, 11, 2, 3, 0, tzinfo=UTC)
HADES = Category("1001", "Hades II")


def vod(number: int = 1, *, broadcaster: str = "b1", kind: VodType = VodType.ARCHIVE, seconds: float = 600) -> Vod:
    return Vod(str(number), HADES.id, broadcaster, "Streamer", "title", NOW, seconds, kind, "en", 10)


def clip(slug: str = "BraveOtter-1", *, broadcaster: str = "b1", seconds: float = 30) -> Clip:
    return Clip(slug, HADES.id, broadcaster, "Streamer", "title", NOW, seconds, "en", 10)


def visit(source: Source, count: int = 4, retry: tuple[int, ...] | None = None) -> Visit:
    return Visit(1, source, 0, count, 4, 7, hash((source.kind, source.id)) & 0xFFFF, retry)


def item(source: Source, place: int = 0, retry: tuple[int, ...] | None = None) -> Item:
    """A place of the rank order; its work is not looked at by who decides."""
    return at(visit(source, retry=retry), place)


def at(visit: Visit, place: int) -> Item:
    """A place of a visit."""
    return Item(visit.rank(place), visit, place, cast("Any", None), StageTimes().waiting("order"))


def picture(seed: int, side: int = 64) -> Picture:
    """A picture of its own: no two seeds are near-duplicates."""
    blocks = np.random.default_rng(seed).integers(40, 220, (8, 8), dtype=np.uint8)
    luma = np.kron(blocks, np.ones((side // 8, side // 8), np.uint8))
    chroma = np.full((side // 2, side // 2), 128, np.uint8)
    return Picture(StreamInfo(Codec.H264, side, side), luma, chroma, chroma)


def measured(
    seed: int,
    *,
    k: int = 0,
    offset_s: float = 10.0,
    shown: Picture | None = None,
    label: Label = Label("listing", 0.5),
) -> Measured:
    shown = shown or picture(seed)
    return Measured(k, label, offset_s, "720p30", HostLook(measure(shown), "cpu", shown))


def outcome(seq: int, verdict: str = "dropped", **columns: Any) -> Outcome:
    named = {"file_name": f"hades-ii/vod-1-{seq:09d}.jpg", "reason": ""} if verdict == "kept" else {"reason": "x"}
    values: dict[str, Any] = named | {"k": seq, "run_id": "run", "category_id": HADES.id} | columns
    rank = Rank(1, 0, 0, 0, seq)
    return Outcome(
        seq=seq,
        rank=rank,
        kind="vod",
        source_id="1",
        broadcaster_id="b1",
        verdict=verdict,
        decided_at=NOW,
        **values,
    )


def decision(seq: int, *, kept: bool = False) -> Decision:
    """A decision that is told by its number; a kept one has some frame."""
    return Decision(outcome(seq, "kept" if kept else "dropped"), cast("Frame", object()) if kept else None)


class RememberingSink:
    """A sink that keeps every batch in ``batches``, and fails at the batch numbered ``fails_at``."""

    pixels = False

    def free_bytes(self) -> float:
        return float("inf")

    def __init__(self, fails_at: int = -1, error: Exception | None = None) -> None:
        self.batches: list[list[Decision]] = []
        self.finished = False
        self._fails_at, self._error = fails_at, error

    @property
    def numbers(self) -> list[int]:
        """The decisions published, in order."""
        return [each.outcome.seq for batch in self.batches for each in batch]

    def label(self, category: Category) -> ClassEntry:
        return ClassEntry(0, category.id, "hades-ii", category.name)

    def split(self, broadcaster_id: str) -> SplitName:
        return SplitRule().split_of(broadcaster_id)

    def render(self, picture: Picture) -> Rendered:
        return Rendered(jpeg=picture.y.tobytes())

    def publish(self, decisions: Sequence[Decision]) -> None:
        if len(self.batches) == self._fails_at and self._error is not None:
            raise self._error
        self.batches.append(list(decisions))

    def finish(self) -> None:
        self.finished = True


def judge(
    ledger: Ledger, *, cap: int = 0, caps: Caps | None = None, run_id: str = "run", now: datetime = NOW
) -> Judge:
    sink = RememberingSink()
    return Judge(
        run_id=run_id,
        category=HADES,
        entry=sink.label(HADES),
        fold=CategoryFold(Rules(Filter(), 6, caps or Caps(cap)), HashIndex()),
        ledger=ledger,
        sink=sink,
        clock=Clock(now),
        times=StageTimes(),
        short_side=0,
    )


def decided(judging: Judge, ledger: Ledger, at: Item, result: Result) -> Outcome | None:
    """Decide and commit, as a run does."""
    ruling = judging.decide(at, result)
    if ruling is None:
        return None
    ledger.commit([ruling.outcome])
    return ruling.outcome
