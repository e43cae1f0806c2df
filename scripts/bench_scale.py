#!/usr/bin/env python3
"""How far the books go: a dataset of a million frames from 100,000 sources, opened, resumed and reported.

    .venv/bin/python scripts/bench_scale.py [--sources 10000,100000] [--targets 11]
                                            [--json scripts/results/bench_scale.json]

Builds, through the store's own calls, the ledger and the metadata that many nights would leave, with measurements
as large as real ones and without image files: one category, every source with as many targets (nine of ten are
kept), the last pass half decided. Then, in a process of its own, it times what every command does with it before
and after the network: opening, the status, the comparison of a listing in which nearly all is known, a run's
start, going on in the middle of a pass, the report, the checks of ``verify``; and publishing. The last column is
how much longer it takes with the most sources than with the fewest.

Last, what the playlist of a VOD of 48 hours needs in memory next to one of 10 minutes: while it is read, and once
its targets are chosen. 100,000 sources need 7 GB of disk and some five minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import random
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from bench.results import leave, machine

from harvester.clock import Clock
from harvester.config import Config, Discover, Sample
from harvester.model import Category, Frame, Rank, Source, Vod, VodType
from harvester.pipeline.listing import Lister, Request
from harvester.pipeline.outside import inspect_dataset, open_dataset
from harvester.pipeline.preview import preview
from harvester.ports import Listing, ListingScope
from harvester.sampling.plan import Wish, plan_visits
from harvester.sampling.playlist import parse_media_playlist
from harvester.store.columns import score_names
from harvester.store.dataset import Dataset
from harvester.store.index import open_index
from harvester.store.layout import frame_file_name
from harvester.store.ledger import Ledger
from harvester.store.metadata import SplitRows
from harvester.store.overview import overview
from harvester.store.passes import OpenPass
from harvester.store.records import Outcome
from harvester.store.verify import check_images, check_order, near_duplicates_across_splits, rules_record
from harvester.version import __version__
from harvester.vision.fold import Rules

RESULTS = Path(__file__).parent / "results" / "bench_scale.json"
SEED = 20261122
SOURCES = (10_000, 100_000)

#: Nights that listed the sources; sources of a broadcaster; bytes of a packed measurement (those of games: 5 kB).
NIGHTS, PER_BROADCASTER, MEASUREMENT_BYTES = 30, 20, 5_000
#: Every so-manieth target is dropped.
DROPPED = 10
#: Outcomes of a transaction while building; frames of one while publishing is timed, and how many such batches.
BUILT_AT_ONCE, BATCH_FRAMES, BATCHES = 4096, 64, 20
#: New sources in the listing of tonight; ranks asked for when a run goes on (its window).
NEW_SOURCES, RANKS = 500, 256
#: A file as large as the JPEG of a game at 720p (bytes).
JPEG_BYTES = 160_000

#: A playlist lies at such an address; its segments beside it.
PLAYLIST_URL = (
    "https://d0example.cloudfront.net/0123456789abcdef0123_somebody_40000000000_1700000000/chunked/index.m3u8"
)

GAME = Category("509658", "Hades II")
START = datetime(2026, 10, 1, tzinfo=UTC)
SAMPLE = Sample()


# -- building ---------------------------------------------------------------------------------------------


def vod(number: int, night: int) -> Vod:
    """A VOD as Helix lists it."""
    broadcaster = str(10_000_000 + number // PER_BROADCASTER)
    at = START + timedelta(days=night)
    title = f"Broadcast {number}: some forty characters of title"
    return Vod(
        str(2_000_000_000 + number), GAME.id, broadcaster, "name", title, at, 7200, VodType.ARCHIVE, "en", 99
    )


@dataclass(frozen=True, slots=True)
class Size:
    """How much is built."""

    sources: int
    targets: int  # a source


class Builder:
    """Makes decisions and their frames, numbered in the order they are asked for."""

    def __init__(self, dataset: Dataset, ledger: Ledger) -> None:
        self._dataset, self._ledger = dataset, ledger
        self._entry = dataset.classes.register(GAME)
        self._chance = random.Random(SEED)
        self._blob = self._chance.randbytes(2 * MEASUREMENT_BYTES)

    def decided(
        self, source: Source, rank: Rank, k: int, night: int, jpeg: bytes = b""
    ) -> tuple[Outcome, Frame | None]:
        """Target ``k`` of a source."""
        seq = self._ledger.next_seq()
        offset_s = 300 + 40 * k + self._chance.random()
        keeps = seq % DROPPED != 0
        name = frame_file_name(self._entry.slug, source.kind, source.id, offset_s)
        cut = self._chance.randrange(MEASUREMENT_BYTES)
        outcome = Outcome(
            seq=seq,
            run_id=f"run-{night}",
            category_id=GAME.id,
            rank=rank,
            kind=source.kind,
            source_id=source.id,
            broadcaster_id=source.broadcaster_id,
            k=k,
            verdict="kept" if keeps else "dropped",
            reason="" if keeps else "duplicate",
            decided_at=START + timedelta(days=night, seconds=seq / 25),
            offset_s=offset_s,
            phash=self._chance.getrandbits(64),
            measurement=self._blob[cut : cut + MEASUREMENT_BYTES],
            file_name=name if keeps else None,
            sha256=hashlib.sha256(jpeg or name.encode()).hexdigest(),
        )
        return outcome, self._frame(outcome, source) if keeps else None

    def _frame(self, outcome: Outcome, source: Source) -> Frame:
        return Frame(
            file_name=outcome.file_name or "",
            label=self._entry.name,
            label_id=self._entry.label_id,
            category_id=GAME.id,
            source_type=source.kind,
            source_id=source.id,
            broadcaster_id=source.broadcaster_id,
            offset_s=outcome.offset_s or 0.0,
            streamed_at=source.created_at + timedelta(seconds=outcome.offset_s or 0.0),
            width=1280,
            height=720,
            rendition="720p60",
            codec="h264",
            decoder="cpu",
            phash=f"{outcome.phash:016x}",
            sha256=outcome.sha256 or "",
            label_source="listing",
            label_confidence=0.5,
            scores={name: self._chance.random() for name in score_names()},
            split=self._dataset.classes.split_of(source.broadcaster_id),
            run_id=outcome.run_id,
            harvester_version=__version__,
            harvested_at=outcome.decided_at,
            url=f"{source.page_url}?t={outcome.offset_s:.0f}s",
        )


def nights_of(size: Size) -> Iterator[tuple[int, range]]:
    """The numbers of the sources that each night has listed."""
    edges = [size.sources * night // NIGHTS for night in range(NIGHTS + 1)]
    yield from ((night, range(edges[night], edges[night + 1])) for night in range(NIGHTS))


def build(root: Path, size: Size) -> dict[str, float]:
    """Ledger and metadata of that size; how many rows a second went in."""
    dataset = Dataset.open(root)
    ledger = Ledger(dataset.paths.ledger)
    builder, rows = Builder(dataset, ledger), dict.fromkeys(("train", "validation", "test"), SplitRows.empty())
    planned_s = decided_s = 0.0
    ledger.remember_category(GAME, START)
    for night, numbers in nights_of(size):
        at = START + timedelta(days=night)
        ledger.begin_run(f"run-{night}", at, rules_record(Rules(Config().filter, 6)))
        visits = list(plan_visits(night + 1, [Wish(vod(number, night)) for number in numbers], SAMPLE))
        begin = time.perf_counter()
        opened = {"opened_at": at, "planned_at": at, "listing": {"run": f"run-{night}"}, "visits": visits}
        ledger.commit_pass(night + 1, GAME.id, "clip,vod", **opened)
        planned_s += time.perf_counter() - begin
        last = night == NIGHTS - 1
        ranks = sorted((visit.rank(place), visit) for visit in visits for place in range(size.targets))
        outcomes, frames = [], []
        for rank, visit in ranks[: len(ranks) // (2 if last else 1)]:
            outcome, frame = builder.decided(visit.source, rank, visit.target_number(rank.k), night)
            outcomes.append(outcome)
            frames += [frame] if frame else []
        begin = time.perf_counter()
        for first in range(0, len(outcomes), BUILT_AT_ONCE):
            ledger.commit(outcomes[first : first + BUILT_AT_ONCE])
        decided_s += time.perf_counter() - begin
        for split in rows:
            more = [frame for frame in frames if frame.split == split]
            rows[split] = rows[split].added(more, {0: GAME.name}) if more else rows[split]
        if not last:
            ledger.finish_pass(night + 1)
            ledger.end_run(f"run-{night}", at, json.dumps({"kept": len(frames)}))
    for split, table in rows.items():
        dataset.paths.split(split).mkdir(parents=True)  # type: ignore[arg-type]
        dataset.paths.metadata(split).write_bytes(table.encoded())  # type: ignore[arg-type]
    decided = ledger.next_seq() - 1
    ledger.close()
    file = dataset.paths.ledger
    return {
        "decided": decided,
        "kept": sum(map(len, rows.values())),
        "ledger_mb": file.stat().st_size / 1e6,
        "visits_per_s": size.sources / planned_s,
        "outcomes_per_s": decided / decided_s,
    }


# -- measuring --------------------------------------------------------------------------------------------


class KnownListing:
    """A catalog that lists everything that was listed before, and :data:`NEW_SOURCES` besides, at once."""

    def __init__(self, size: Size) -> None:
        self._size = size

    async def list_vods(self, _category: Category, scope: ListingScope) -> Listing[Vod]:
        new = tuple(vod(self._size.sources + number, NIGHTS) for number in range(NEW_SOURCES))
        known = [number for number in range(self._size.sources) if str(2_000_000_000 + number) in scope.known]
        return Listing(new, "end", self._size.sources + NEW_SOURCES, len(known))


class Stopwatch:
    """Seconds by name, and the most memory that the process has had by then (MB)."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.peak_mb: dict[str, float] = {}

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - begin
        self.peak_mb[name] = peak_mb()


def peak_mb() -> float:
    """The most resident memory this program has had; NaN where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return float("nan")
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e6


def measure(root: Path, size: Size) -> dict[str, dict[str, float]]:
    """What the commands do with the dataset in ``root``, in a process that has done nothing else."""
    watch, clock = Stopwatch(), Clock(START + timedelta(days=NIGHTS))
    SplitRows.empty()  # imports are not what is asked about
    with watch.timed("import"):
        pass
    with watch.timed("status"), inspect_dataset(root, clock) as looked:
        assert looked is not None
        overview(looked.dataset, looked.ledger, max_per_vod=40)
    with watch.timed("open for a run"):
        opening = open_dataset(root, clock)
        opened = opening.__enter__()
    dataset, ledger = opened.dataset, opened.ledger
    lister = Lister(KnownListing(size), ledger, Discover(source_types=("vod",)), SAMPLE, clock, opened.forgotten)  # type: ignore[arg-type]
    with watch.timed("compare a listing"):
        found = asyncio.run(lister.find(GAME, Request()))
    assert len(found.wishes) == NEW_SOURCES, len(found.wishes)
    with watch.timed("plan of an open pass"):
        plan = asyncio.run(preview(Config(), lister, ledger, Request(), GAME))
    assert plan.targets
    with watch.timed("index, first time"):
        open_index(ledger, dataset.paths.index, GAME.id)
    with watch.timed("index, from its file"):
        open_index(ledger, dataset.paths.index, GAME.id)
    with watch.timed("start of a category"):
        ledger.kept_count(GAME.id)
        ledger.kept_by_broadcaster(GAME.id)
        ledger.listed_by_killed_runs(clock.start - timedelta(days=1))
        going_on = ledger.open_pass(GAME.id, "clip,vod")
    assert going_on is not None and going_on.last is not None
    with watch.timed("go on in a pass"):
        ahead = list(islice(_ahead(ledger, going_on), RANKS))
    assert len(ahead) == RANKS
    with watch.timed("report of a night"):
        ledger.committed_in(f"run-{NIGHTS - 1}")
        ledger.decided_in(f"run-{NIGHTS - 1}")
        dataset.card_facts(__version__, "")
    with watch.timed("verify: order"):
        assert not list(islice(check_order(ledger), 1))
    with watch.timed("verify: splits"):  # quadratic: every hash against every one of another split
        assert not list(near_duplicates_across_splits(dataset, 0))
    with watch.timed("publish 64 frames (median)"):
        pass
    watch.seconds["publish 64 frames (median)"] = _publishing(dataset, ledger, ahead)
    with watch.timed("list them at the end"):
        dataset.complete()
    with watch.timed("verify: first image"):
        list(islice(check_images(dataset, ledger), 1))
    opening.__exit__(None, None, None)
    return {"seconds": watch.seconds, "peak_mb": watch.peak_mb}


def _ahead(ledger: Ledger, going_on: OpenPass) -> Iterator[tuple[Rank, Source, int]]:
    """The ranks after the last one decided, as :class:`harvester.pipeline.category.CategoryWalk` asks for them."""
    assert going_on.last is not None
    for turn in range(going_on.last.round, ledger.last_round(going_on.id) + 1):
        for visit in ledger.visits(going_on.id, turn):
            ledger.settled_elsewhere(visit.source, going_on.id)
            for place in visit.places(turn):
                if visit.rank(place) > going_on.last:
                    yield visit.rank(place), visit.source, visit.target_number(place)


def _publishing(dataset: Dataset, ledger: Ledger, ahead: list[tuple[Rank, Source, int]]) -> float:
    """Median seconds of publishing a batch: files, rows beside the metadata, ledger."""
    builder, jpeg, spent = Builder(dataset, ledger), random.Random(1).randbytes(JPEG_BYTES), []
    for number in range(BATCHES):
        rank, source, _ = ahead[number]
        made = [
            builder.decided(source, rank, 1000 + BATCH_FRAMES * number + k, NIGHTS, jpeg)
            for k in range(BATCH_FRAMES)
        ]
        begin = time.perf_counter()
        batch = [(frame, jpeg) for _, frame in made if frame is not None]
        dataset.publish(batch, lambda made=made: ledger.commit([outcome for outcome, _ in made]))  # type: ignore[misc]
        spent.append(time.perf_counter() - begin)
    return sorted(spent)[BATCHES // 2]


def playlist_memory(segments: int) -> dict[str, float]:
    """MB that reading a media playlist takes at most, and that the segments of its targets keep; seconds."""
    lines = [line for number in range(segments) for line in ("#EXTINF:10.000,", f"{number}.ts")]
    text = "\n".join(["#EXTM3U", "#EXT-X-TARGETDURATION:10", *lines, "#EXT-X-ENDLIST"])
    tracemalloc.start()
    playlist = parse_media_playlist(text, PLAYLIST_URL)
    kept = playlist.segments[:: max(1, segments // SAMPLE.max_per_vod)]
    peak = tracemalloc.get_traced_memory()[1]
    del playlist
    left = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    begin = time.perf_counter()
    parse_media_playlist(text, PLAYLIST_URL)
    return {
        "segments": segments,
        "targets": len(kept),
        "parse_s": time.perf_counter() - begin,
        "parse_peak_mb": peak / 1e6,
        "kept_mb": left / 1e6,
    }


# -- saying it --------------------------------------------------------------------------------------------


def table(rows: list[dict[str, Any]]) -> str:
    fewest, most = rows[0]["seconds"], rows[-1]["seconds"]
    lines = [
        f"{'seconds':<28}" + "".join(f"{row['sources']:>12,}" for row in rows) + f"{'ratio':>8}{'peak MB':>9}"
    ]
    for name in most:
        cells = "".join(f"{row['seconds'][name]:>12.3f}" for row in rows)
        ratio = most[name] / fewest[name] if fewest[name] > 1e-4 else float("nan")
        lines.append(f"{name:<28}{cells}{ratio:>8.1f}{rows[-1]['peak_mb'][name]:>9.0f}")
    return "\n".join(lines)


def bench(size: Size, folder: Path) -> dict[str, Any]:
    root = folder / str(size.sources)
    built = build(root, size)
    child = [sys.executable, __file__, "--measure", str(root), "--targets", str(size.targets)]
    done = subprocess.run([*child, "--sources", str(size.sources)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return {"sources": size.sources, **built, **json.loads(done.stdout)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sources", type=lambda text: [int(size) for size in text.split(",")], default=SOURCES)
    parser.add_argument("--targets", type=int, default=11, help="of each source")
    parser.add_argument("--json", type=Path, default=RESULTS)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure, Size(options.sources[0], options.targets))))
        return 0
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for sources in options.sources:
            rows.append(bench(Size(sources, options.targets), Path(folder)))
            row = rows[-1]
            print(
                f"{sources:,} sources, {row['decided']:,} decided, {row['kept']:,} kept: ledger"
                f" {row['ledger_mb']:,.0f} MB, {row['visits_per_s']:,.0f} visits/s and"
                f" {row['outcomes_per_s']:,.0f} outcomes/s went in",
                flush=True,
            )
    print(table(rows))
    playlists = [playlist_memory(segments) for segments in (60, 17_280)]
    for entry in playlists:
        print(
            f"playlist of {entry['segments']:,} segments: read in {entry['parse_s']:.3f} s with"
            f" {entry['parse_peak_mb']:.2f} MB, {entry['kept_mb']:.3f} MB left for {entry['targets']} targets"
        )
    leave(options.json, "bench_scale", machine(), rows=rows, playlists=playlists)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
