"""The two ways to the same pictures: harvester as it is, and the naive way through harvester's own fetching.

The naive way takes Helix at its word: every VOD of a category's listing, at equal steps, labelled with it, none
left out. Both sets are told as what they fetched, each picture beside the truth. A hash that is not the truth's
ends the benchmark: it would prove that offsets, or the truth, are wrong.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from harvester.clock import Clock
from harvester.config import credentials, load
from harvester.decode import open_backend
from harvester.fetch.heads import HeadSizes
from harvester.fetch.segments import SegmentReader
from harvester.model import Category, Codec, Segment, Vod
from harvester.pipeline.harvest import Outside
from harvester.pipeline.opening import PLAYLIST_LIMIT_BYTES
from harvester.pipeline.outside import reach
from harvester.ports import Decoder, ListingScope
from harvester.sampling.playlist import parse_media_playlist
from harvester.sampling.renditions import order_renditions
from harvester.stats import RequestKind, Traffic
from harvester.store.layout import LEDGER_FILE
from harvester.vision.jpeg import encode
from harvester.vision.phash import phash
from labels.figures import Judged
from labels.truth import Truth

_QUALITY = 90  # of harvester's own files
_WORD = (1 << 64) - 1


class ArmFailed(Exception):
    """A way did not come to its end, or its frames are not what stands at their offsets."""


@dataclass(frozen=True, slots=True)
class Harvested:
    """What a way brought. ``frames``: every judged picture; ``jpegs``: of each that is kept, in the same order;
    ``unseen``: targets that were left out without a picture, by reason."""

    name: str
    frames: tuple[Judged, ...]
    jpegs: tuple[bytes, ...]
    media_bytes: int
    unseen: Mapping[str, int]


def matched(frame: Judged) -> Judged:
    """The frame itself. Raises ArmFailed unless its hash is that of what truly stands there."""
    if frame.phash != frame.truth.phash:
        bits = (frame.phash ^ frame.truth.phash).bit_count()
        raise ArmFailed(f"{frame.source_id} at {frame.offset_s} s: {bits} bits from what stands there")
    return frame


# -- harvester ----------------------------------------------------------------------------------------------------

#: Measured pictures and, without one, what was dropped all the same, in the order of decisions.
_OUTCOMES = """
SELECT o.category_id, o.source_id, o.offset_s, o.phash, o.verdict, coalesce(r.reason, o.reason), o.file_name
FROM outcomes o LEFT JOIN removals r ON r.seq = o.seq WHERE o.verdict != 'failed' ORDER BY o.seq
"""


def run_harvester(
    config: Path, environ: Mapping[str, str], games: Sequence[str], out: Path, truth: Truth
) -> Harvested:
    """``harvester run`` over those categories (ids), as a process of its own. Raises ArmFailed."""
    command = [sys.executable, "-m", "harvester", "run", "--config", str(config), "--out", str(out), "--json"]
    for game in games:
        command += ["--category", f"id:{game}"]
    done = subprocess.run(command, env={**os.environ, **environ}, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise ArmFailed(f"harvester run: exit code {done.returncode}\n{done.stderr[-2000:]}")
    report = json.loads(done.stdout.splitlines()[-1])
    frames, names, unseen = _outcomes(out / ".harvester" / LEDGER_FILE, truth)
    kept = [name for name in names if name]
    images = {path.name: path for path in (out / "data").rglob("*.jpg")}
    missing = [name for name in kept if Path(name).name not in images]
    if missing:
        raise ArmFailed(f"{len(missing)} kept frames have no image")
    jpegs = tuple(images[Path(name).name].read_bytes() for name in kept)
    return Harvested("harvester", tuple(frames), jpegs, report["bytes"].get("media", 0), unseen)


def _outcomes(ledger: Path, truth: Truth) -> tuple[list[Judged], list[str], dict[str, int]]:
    """Judged pictures, the file name of each ("" unless it is kept), and drops without a picture."""
    frames: list[Judged] = []
    names: list[str] = []
    unseen: dict[str, int] = {}
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as connection:
        for label, source, offset_s, word, verdict, reason, name in connection.execute(_OUTCOMES):
            if offset_s is None:
                unseen[reason] = unseen.get(reason, 0) + 1
                continue
            there = truth.at(source, offset_s)
            seen = there.phash if word is None else word & _WORD  # what a filter drops has no hash
            frames.append(matched(Judged(label, source, offset_s, seen, reason, there)))
            names.append(name if verdict == "kept" and not reason else "")
    return frames, names, unseen


# -- the naive way ------------------------------------------------------------------------------------------------


def run_naively(
    config: Path, environ: Mapping[str, str], games: Sequence[str], each: int, truth: Truth
) -> Harvested:
    """``each`` moments of every VOD that Helix lists, at equal steps. Raises ArmFailed."""
    return asyncio.run(_Naive(config, environ, each, truth).harvest(games))


class _Naive:
    def __init__(self, config: Path, environ: Mapping[str, str], each: int, truth: Truth) -> None:
        self._settings = load(config, environ={}).config
        self._secrets = credentials(environ)
        self._each, self._truth = each, truth
        self._frames: list[Judged] = []
        self._jpegs: list[bytes] = []

    async def harvest(self, games: Sequence[str]) -> Harvested:
        traffic = Traffic()
        clock = Clock(self._settings.run.start)
        backend = open_backend(self._settings.decode)
        try:
            async with reach(self._settings, self._secrets, clock, traffic) as outside:
                outside.resolver.offer([Codec.H264])
                for game in games:
                    category = await outside.catalog.find_category(f"id:{game}")
                    listing = await outside.catalog.list_vods(category, ListingScope())
                    for vod in listing.sources:
                        await self._take(outside, backend.decoder(), category, vod)
        finally:
            backend.close()
        media = traffic.bytes[RequestKind.MEDIA]
        return Harvested("naive", tuple(self._frames), tuple(self._jpegs), media, {})

    async def _take(self, outside: Outside, decoder: Decoder, category: Category, vod: Vod) -> None:
        renditions = await outside.resolver.renditions(vod)
        best, *_ = order_renditions(renditions, min_height=self._settings.sample.min_height, codecs=[Codec.H264])
        answer = await outside.transport.get(best.url, kind=RequestKind.PLAYLIST, limit_bytes=PLAYLIST_LIMIT_BYTES)
        segments = parse_media_playlist(answer.body.decode(), answer.url).segments
        reader = SegmentReader(outside.transport, best, HeadSizes())
        steps = equal_steps(len(segments), self._each)
        for unit, segment in zip(
            await asyncio.gather(*(reader.read(segments[step]) for step in steps)),
            (segments[step] for step in steps),
            strict=True,
        ):
            look = decoder.look(unit)
            self._enter(category, vod, segment, unit.moment_s, phash(look.measurement.grid))
            self._jpegs.append(encode(look.picture(), quality=_QUALITY))

    def _enter(self, category: Category, vod: Vod, segment: Segment, moment_s: float, seen: int) -> None:
        offset_s = segment.start_s + moment_s
        there = self._truth.at(vod.id, offset_s)
        self._frames.append(matched(Judged(category.id, vod.id, offset_s, seen, "", there)))


def equal_steps(count: int, wanted: int) -> list[int]:
    """The middles of ``wanted`` equal parts of ``count``; all of them if they are fewer."""
    if count <= wanted:
        return list(range(count))
    return [int((2 * number + 1) * count / (2 * wanted)) for number in range(wanted)]
