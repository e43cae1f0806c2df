#!/usr/bin/env python3
"""How clean the labels are: of harvester's set, and of one that takes Twitch's listing at its word.

    .venv/bin/python scripts/bench_labels.py [--footage INDEX.json] [--half reporting|tuning|all] [--quick]
                                             [--no-gql] [--cache FOLDER] [--json scripts/results/bench_labels.json]

Serves a world whose every second is known (scripts/labels): games of the footage and three drawn ones that stand
still for long, cards of 14 designs, breaks, talks, overlays, mixed VODs, clips, categories that are changed late,
not at all, or are wrong. Harvests it by ``harvester run`` as it is, and naively: Helix's label, equal steps, no
filter. ``--no-gql``: without chapters and storyboards. Thresholds are set on one half of the games and designs
(``--half tuning``); the figures that count are of the other.

Printed with sample sizes and 95 % bounds (Wilson):

- purity: kept frames that show the game they are labelled with; junk: those that show no game;
- near-duplicates: kept frames within the radius of an earlier one of their label;
- coverage: kept distinct 30-s bins of true gameplay of VODs, of those that could be had: by source as many as it
  may give, and no more than have a kept frame or hold, outside of the guard bands (min(90 s, 5 %) at the ends of
  chapters and VODs), a picture farther than the radius from every kept frame;
- false drops: gameplay dropped for what it shows, of all gameplay judged under its own label; what left again
  counts as dropped;
- classifier: accuracy on gameplay of broadcasters and footage that nobody harvests, mean of five seeds at equal
  numbers of frames: four fifths of the smaller set, drawn anew for each seed.

Every judged picture is held against the truth by its hash. The videos are drawn once and kept in --cache. Some ten
minutes on two cores, --quick two. Exit codes: 0 measured, whatever the goals; 1 a way failed, or frames are not
what stands at their offsets.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from bench.results import leave, machine, versions
from labels.arms import ArmFailed, Harvested, run_harvester, run_naively
from labels.classifier import Labelled, accuracies, features_of, features_of_jpegs, mean_with_bounds
from labels.figures import (
    Goal,
    Judged,
    Share,
    coverage,
    false_drops,
    false_drops_by_reason,
    junk,
    junk_by_design,
    kept_of,
    near_duplicates,
    of_another_game,
    purity,
)
from labels.footage import Footage, read
from labels.games import DRAWN
from labels.overlays import overlay_of
from labels.reels import Studio
from labels.truth import Truth, laid_out
from labels.world import (
    BROADCASTERS,
    CLIP_SEGMENTS,
    QUICK_BROADCASTERS,
    SEGMENT_S,
    Half,
    broadcasts_of,
    cast_of,
    clips_of,
    games_named,
    guards_of,
    halved,
    video_of,
    world_of,
)

from harvester.config import Config, load
from harvester.errors import HarvesterError
from harvester.model import Span
from harvester.sandbox.footage import PACKAGE_INDEX
from harvester.sandbox.server import SandboxServer
from harvester.sandbox.world import GOP_S, Game, World

RESULTS = Path(__file__).parent / "results" / "bench_labels.json"
SEEDS = 5
#: Broadcasters of each game that nobody harvests, and pictures of each.
HELD_OUT, HELD_OUT_PICTURES = 3, 40
#: Of the smaller set, the share that teaches: all of it would be the same for every seed.
DRAWN_SHARE = 0.8
#: Helix and GQL answer as fast as is asked: there is nobody to be polite to.
POINTS = 100_000
PURITY, JUNK, COVERAGE, FALSE_DROPS, AHEAD = 0.995, 0.003, 0.90, 0.02, 0.05


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@dataclass(frozen=True, slots=True)
class Stage:
    """What is harvested, and the truth of it."""

    games: tuple[Game, ...]
    world: World
    truth: Truth
    guards: dict[str, tuple[Span, ...]]
    studio: Studio
    shared_footage: tuple[str, ...]

    @property
    def vods(self) -> Truth:
        """The truth without clips: what they show is part of a VOD."""
        ids = [video.id for video in self.world.videos]
        return Truth({source_id: self.truth.sources[source_id] for source_id in ids})

    def in_vod(self, frame: Judged) -> Judged:
        """The same frame; one of a clip where it stands in its VOD."""
        clip = next((clip for clip in self.world.clips if clip.id == frame.source_id), None)
        if clip is None or clip.vod_offset_s is None:
            return frame
        offset_s = clip.vod_offset_s + frame.offset_s / GOP_S * SEGMENT_S
        return replace(frame, source_id=clip.video_id, offset_s=offset_s)

    @property
    def names(self) -> dict[str, str]:
        """Names of the games by category id."""
        return {game.id: game.name for game in self.games}


def staged(index: Path, half: Half, each: int, cache: Path) -> Stage:
    """The world, drawn."""
    footage = read(index)
    names = halved([(name, name) for name in footage], half) + halved([(name, name) for name in DRAWN], half)
    if len(names) < 2:
        raise SystemExit("two games at least, to be told apart")
    games = games_named(names)
    studio = Studio(cache, {game.id: game.name for game in games}, footage, _mark(footage))
    broadcasts = [broadcast for one in cast_of(games, half, each) for broadcast in broadcasts_of(one)]
    scenes = [scene for broadcast in broadcasts for scene in broadcast.scenes]
    say(f"drawing {sum(scene.segments for scene in scenes)} pictures, unless they are there from before")
    drawn = iter(studio.draw(scenes))
    videos, truth = [], {}
    for broadcast in broadcasts:
        files = [next(drawn) for _ in broadcast.scenes]
        videos.append(video_of(broadcast, [file.path for file in files]))
        shown = [(scene.shown, file.hashes) for scene, file in zip(broadcast.scenes, files, strict=True)]
        truth[broadcast.id] = laid_out(shown, SEGMENT_S)
    clips = []
    for clip, number, first in clips_of(broadcasts, videos):
        clips.append(clip)
        whole = truth[clip.video_id][number]
        truth[clip.id] = laid_out([(whole.shown, whole.hashes[first : first + CLIP_SEGMENTS])], GOP_S)
    shared = tuple(name for name in names if name in footage and footage[name].shared)
    guards = {broadcast.id: guards_of(broadcast) for broadcast in broadcasts}
    return Stage(tuple(games), world_of(games, videos, clips), Truth(truth), guards, studio, shared)


def _mark(footage: dict[str, Footage]) -> str:
    """A name of all footage, for the cache."""
    digest = sha256()
    for game in sorted(footage):
        for image in (*footage[game].harvested, *footage[game].held_out):
            digest.update(image[::16, ::16].tobytes())
    return digest.hexdigest()[:16]


def harvested(stage: Stage, cache: Path, scratch: Path, *, gql: bool) -> tuple[Harvested, Harvested, Config]:
    """Both ways, one after the other, and by which settings. ``gql``: whether it is asked for chapters and
    storyboards. Raises ArmFailed."""
    games = [game.id for game in stage.games]
    server = SandboxServer(stage.world, cache_dir=cache, helix_points=POINTS)
    with server.running():
        config = scratch / "config.toml"
        config.write_text(server.config_toml(), encoding="utf-8")
        settings = load(config, environ={}).config
        began = time.monotonic()
        environ = server.environ | ({} if gql else {"HARVESTER_DISCOVER_DETAILS": "off"})
        ours = run_harvester(config, environ, games, scratch / "dataset", stage.truth)
        say(f"harvester: {len(ours.jpegs)} kept of {len(ours.frames)} in {time.monotonic() - began:.0f} s")
        began = time.monotonic()
        naive = run_naively(config, server.environ, games, settings.sample.max_per_vod, stage.truth)
        say(f"naive: {len(naive.frames)} frames in {time.monotonic() - began:.0f} s")
    return ours, naive, settings


# -- figures ------------------------------------------------------------------------------------------------------


def figures(way: Harvested, stage: Stage, settings: Config) -> dict[str, Any]:
    """All that is told of one way but the classifier."""
    kept, names, radius = kept_of(way.frames), stage.names, settings.dedupe.radius
    covered = coverage(
        stage.vods, [stage.in_vod(frame) for frame in kept], radius, settings.sample.max_per_vod, stage.guards
    )
    return {
        "judged": len(way.frames),
        "kept": len(kept),
        "purity": purity(kept).document(),
        "junk": junk(kept).document(),
        "junk_by_design": junk_by_design(kept),
        "of_another_game": [
            {"source": source, "label": names[label], "shows": names[game], "at_s": _moments(offsets_s)}
            for (source, label, game), offsets_s in of_another_game(kept).items()
        ],
        "near_duplicates": near_duplicates(kept, radius).document(),
        "frames_per_media_mb": round(len(kept) / (way.media_bytes / 1e6), 3) if way.media_bytes else None,
        "coverage": _all(covered).document(),
        "coverage_by_game": {names[game]: share.document() for game, share in covered.items()},
        "false_drops": {names[game]: share.document() for game, share in false_drops(way.frames).items()},
        "false_drops_by_reason": {
            reason: {names[game]: count for game, count in games.items()}
            for reason, games in false_drops_by_reason(way.frames).items()
        },
        "dropped": _reasons(way),
        "without_a_picture": dict(way.unseen),
    }


def _moments(offsets_s: Sequence[float]) -> str:
    return ", ".join(f"{offset_s:g}" for offset_s in offsets_s)


def _all(shares: dict[str, Share]) -> Share:
    return Share(sum(share.hits for share in shares.values()), sum(share.of for share in shares.values()))


def _reasons(way: Harvested) -> dict[str, int]:
    reasons = [frame.reason for frame in way.frames if frame.reason]
    return {reason: reasons.count(reason) for reason in sorted(set(reasons))}


def taught(way: Harvested, games: Sequence[Game]) -> Labelled:
    """A way's set as the classifier sees it."""
    numbers = {game.id: number for number, game in enumerate(games)}
    classes = np.array([numbers[frame.label] for frame in kept_of(way.frames)], np.int64)
    return Labelled(features_of_jpegs(way.jpegs), classes)


def held_out(stage: Stage) -> Labelled:
    """Gameplay of broadcasters whom nobody harvests, under their own overlays; as many pictures of each game."""
    features, classes = [], []
    for number, game in enumerate(stage.games):
        for image in _held_out_pictures(stage.studio, game.name):
            features.append(features_of(image))
            classes.append(number)
    return Labelled(np.array(features, np.float32), np.array(classes, np.int64))


def _held_out_pictures(studio: Studio, game: str) -> Iterator[np.ndarray[Any, np.dtype[np.uint8]]]:
    for stranger in range(HELD_OUT):
        name = f"stranger_{stranger}_{game}"
        for number in range(HELD_OUT_PICTURES):
            image = studio.gameplay(game, name, 3 * number, held_out=True)
            overlay_of(name).lay_over(image, 3 * number * SEGMENT_S)
            _, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])
            yield np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), np.uint8)


def classified(ours: Harvested, naive: Harvested, stage: Stage) -> dict[str, Any]:
    """Accuracy of both, and how far ours is ahead (shares)."""
    test = held_out(stage)
    sets = {way.name: taught(way, stage.games) for way in (ours, naive)}
    frames = int(DRAWN_SHARE * min(len(one.classes) for one in sets.values()))
    found = {
        name: accuracies(one, test, count=len(stage.games), frames=frames, seeds=SEEDS)
        for name, one in sets.items()
    }
    ahead = [one - other for one, other in zip(found["harvester"], found["naive"], strict=True)]
    document = {name: _told(values) for name, values in {**found, "ahead": ahead}.items()}
    return {"frames": frames, "test_frames": len(test.classes), "seeds": SEEDS, **document}


def _told(values: list[float]) -> dict[str, Any]:
    mean, low, high = mean_with_bounds(values)
    return {"mean": round(mean, 4), "95%": [round(low, 4), round(high, 4)]}


def goals(ours: dict[str, Any], classifier: dict[str, Any]) -> list[Goal]:
    """What is to be reached."""
    drops = [share["share"] for share in ours["false_drops"].values()]
    return [
        Goal("purity", _number(ours["purity"]["share"]), PURITY, at_least=True),
        Goal("junk", _number(ours["junk"]["share"]), JUNK, at_least=False),
        Goal("coverage", _number(ours["coverage"]["share"]), COVERAGE, at_least=True),
        Goal("false drops, the worst game", max(drops, default=math.nan), FALSE_DROPS, at_least=False),
        Goal("classifier, ahead of the naive set's", classifier["ahead"]["mean"], AHEAD, at_least=True),
    ]


def _number(value: float | None) -> float:
    return math.nan if value is None else value


# -- telling ------------------------------------------------------------------------------------------------------


def table(ways: dict[str, dict[str, Any]], classifier: dict[str, Any], reached: Sequence[Goal]) -> str:
    """All of it for people."""
    lines = [line for name, told in ways.items() for line in _lines(name, told)]
    lines.append(f"classifier: {classifier['frames']} frames each, {classifier['test_frames']} tested")
    for name in ("harvester", "naive", "ahead"):
        low, high = classifier[name]["95%"]
        lines.append(f"  {name:16}{classifier[name]['mean']:8.2%}  95 % {low:.2%} to {high:.2%}")
    for goal in reached:
        sign, met = ("at least" if goal.at_least else "at most"), ("met" if goal.met else "NOT MET")
        lines.append(f"goal {goal.name}: {goal.value:.2%}, {sign} {goal.limit:.1%}: {met}")
    return "\n".join(lines)


def _lines(name: str, told: dict[str, Any]) -> Iterator[str]:
    yield f"{name}: {told['kept']} kept of {told['judged']} judged, {told['frames_per_media_mb']} a MB"
    for figure in ("purity", "junk", "near_duplicates", "coverage"):
        yield f"  {figure:16}{_share(told[figure])}"
    for figure in ("false_drops", "coverage_by_game"):
        for game, share in told[figure].items():
            yield f"  {figure.split('_by')[0]:16}{_share(share)}  {game}"
    for reason, games in told["false_drops_by_reason"].items():
        yield f"  dropped falsely as {reason}: {_counts(games)}"
    for one in told["of_another_game"] if name == "harvester" else ():
        yield f"  {one['label']} that shows {one['shows']}: {one['source']} at {one['at_s']} s"
    yield f"  junk kept: {_counts(told['junk_by_design'])}"
    yield f"  dropped: {_counts(told['dropped'])}; without a picture: {_counts(told['without_a_picture'])}"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {what}" for what, count in counts.items()) or "none"


def _share(share: dict[str, Any]) -> str:
    low, high = share["95%"]
    value = _number(share["share"])
    return f"{value:8.2%}  95 % {low:.2%} to {high:.2%}  ({share['hits']} of {share['of']})"


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cache = Path(tempfile.gettempdir()) / f"harvester-bench-{os.getuid()}" / "labels"
    parser.add_argument(
        "--footage", type=Path, default=PACKAGE_INDEX, help="index of footage (default: the package's)"
    )
    parser.add_argument("--half", choices=("reporting", "tuning", "all"), default="reporting")
    parser.add_argument(
        "--quick", action="store_true", help=f"{QUICK_BROADCASTERS} broadcaster a game, some 1,000 judged frames"
    )
    parser.add_argument(
        "--no-gql", dest="gql", action="store_false", help="neither chapters nor storyboards are asked for"
    )
    parser.add_argument("--broadcasters", type=int, default=0, help=f"of each game (default: {BROADCASTERS})")
    parser.add_argument("--cache", type=Path, default=cache, help="folder for the videos")
    parser.add_argument("--json", type=Path, default=RESULTS)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parsed(arguments)
    each = options.broadcasters or (QUICK_BROADCASTERS if options.quick else BROADCASTERS)
    try:
        stage = staged(options.footage, options.half, each, options.cache)
        with tempfile.TemporaryDirectory(prefix="harvester-bench-") as scratch:
            ours, naive, settings = harvested(stage, options.cache, Path(scratch), gql=options.gql)
    except (ArmFailed, HarvesterError) as failure:
        say(str(failure))
        return 1
    ways = {way.name: figures(way, stage, settings) for way in (ours, naive)}
    classifier = classified(ours, naive, stage)
    reached = goals(ways["harvester"], classifier)
    print(table(ways, classifier, reached))
    leave(
        options.json,
        "bench_labels",
        {**machine(), **versions("av", "numpy", "opencv-python-headless")},
        half=options.half,
        games=[game.name for game in stage.games],
        same_footage_held_out=list(stage.shared_footage),
        vods=len(stage.world.videos),
        broadcasters=len(stage.world.channels),
        ways=ways,
        classifier=classifier,
        goals=[{"name": g.name, "value": g.value, "limit": g.limit, "met": g.met} for g in reached],
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
