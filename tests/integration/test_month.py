"""Thirty nights over a world that changes every day; afterwards the books are held against what there was.

Every day brings VODs and clips, and takes those that are a week old. One broadcast goes on over two nights. One
night all of Twitch is down, one run is killed, one meets a full disk; a category gets another name, and a broadcaster
is forgotten.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from harvester.sandbox import Fault, SandboxServer, world_from_index
from harvester.sandbox.world import Video, World
from tests.integration.commands import QUICK, Commands, Ended
from tests.integration.killing import Harvesting, Processes
from tests.integration.small_world import write_footage
from tests.integration.test_bad_directory import LIMITED
from tests.integration.wholeness import check_books, check_raw, check_whole, outcomes, rows_of

pytestmark = pytest.mark.long

NIGHTS = 30
GAMES, SESSIONS, GOPS = 2, 14, 8
#: A VOD stays this long, as that of a streamer who is no partner.
VOD_LIFE = timedelta(days=7)
#: Frames that a night may keep: more than a day brings, less than the first night finds.
NIGHT_FRAMES = 24
MOST = str(NIGHT_FRAMES)
#: VODs and clips that are there before the first night.
BACKLOG = 6

OUTAGE, KILLED, FULL, RENAMED, LIVE, FORGOTTEN = 9, 12, 15, 18, 21, 24
#: Nights on which nothing new had come: with little in the dataset, and with much.
QUIET = (6, 27)
NEW_NAME = "Game 0: Definitive Edition"
LIVE_ID = "9990001"
#: How long it has been on air when its first night comes (s); all of it is there on the next.
ON_AIR_S = 22.0

#: Hashes this near are the same picture ([dedupe] radius).
RADIUS = 6
#: Media requests per target in sources as short as these, whose every head is among the first of its source.
MOST_REQUESTS = 2
#: From here on no night has to make up for one before.
RECOVERED = FULL + 1


@dataclass
class Story:
    """What happens in the world. ``born``: the night before which a source appears, by its id."""

    whole: World
    born: dict[str, int]
    live: Video

    def on(self, night: int, life: timedelta = VOD_LIFE) -> World:
        """The world of a night: what has appeared and not gone, which VODs do at that age."""
        now = self.time_of(night)
        games = [replace(game, name=self.name_of(game.id, night)) for game in self.whole.games]
        by_id = {game.id: game for game in games}
        videos = [
            replace(
                video, created_at=self.time_of(self.born[video.id]) - timedelta(hours=2), game=by_id[video.game.id]
            )
            for video in self.whole.videos
            if self.born[video.id] <= night
        ]
        clips = [
            replace(
                clip, created_at=self.time_of(self.born[clip.id]) - timedelta(hours=1), game=by_id[clip.game.id]
            )
            for clip in self.whole.clips
            if self.born[clip.id] <= night
        ]
        if night >= LIVE:
            videos.append(replace(self.live, created_at=self.went_live))
        there = tuple(video for video in videos if now - video.created_at < life)
        return World(self.whole.seed, now, tuple(games), self.whole.channels, there, tuple(clips))

    def to_come(self, night: int) -> set[str]:
        """Ids of the broadcasters of whom there is more after that night."""
        return {
            source.channel.id for source in (*self.whole.videos, *self.whole.clips) if self.born[source.id] > night
        }

    @property
    def went_live(self) -> datetime:
        return self.time_of(LIVE) - timedelta(seconds=ON_AIR_S)

    def time_of(self, night: int) -> datetime:
        return self.whole.now + timedelta(days=night)

    def name_of(self, game_id: str, night: int) -> str:
        first = self.whole.games[0]
        names = {game.id: game.name for game in self.whole.games}
        return NEW_NAME if game_id == first.id and night >= RENAMED else names[game_id]


def become(world: World, other: World) -> None:
    """Change a world that is being served."""
    world.now, world.games, world.videos, world.clips = other.now, other.games, other.videos, other.clips
    world.__post_init__()


def told(folder: Path) -> Story:
    """All sources, and when each appears: some before the first night, then some a day, on quiet days none."""
    world = world_from_index(write_footage(folder, games=GAMES, sessions=SESSIONS, gops=GOPS), segment_s=2.0)
    first = [video for video in world.videos if video.game == world.games[0]]
    live = first[-2:]  # what these show is seen in the broadcast alone
    world.videos = tuple(video for video in world.videos if video not in live)
    world.clips = tuple(clip for clip in world.clips if clip.video_id not in {video.id for video in live})
    days = [night for night in range(1, NIGHTS - 2) if night not in QUIET]
    born: dict[str, int] = {}
    for sources in (world.videos, world.clips):
        for number, source in enumerate(sorted(sources, key=lambda source: source.id)):
            late = number - BACKLOG
            born[source.id] = 0 if late < 0 else days[late * len(days) // (len(sources) - BACKLOG)]
    pieces = tuple(piece for video in live for piece in video.pieces)
    return Story(world, born, replace(live[0], id=LIVE_ID, pieces=pieces, live=True, container="ts"))


@dataclass
class Month:
    """The dataset, and what each night reported."""

    story: Story
    server: SandboxServer
    commands: Commands
    processes: Processes
    out: Path
    reports: dict[int, dict[str, Any]] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)  # split of each image ever listed, by its name
    forgotten: str = ""  # id of a broadcaster

    def night(self, night: int) -> None:
        """One night, whatever befalls it, and what must hold after any."""
        become(self.server.world, self.story.on(night))
        self.server.log.clear()
        self.server.faults.clear()
        {OUTAGE: self._outage, KILLED: self._killed, FULL: self._full}.get(night, self._usual)(night)
        self._look()
        if night == FORGOTTEN:
            self._forget()

    def _forget(self) -> None:
        """A broadcaster who has frames, and more to come."""
        seen = Counter(row["broadcaster_id"] for row in outcomes(self.out) if row["verdict"] == "kept")
        self.forgotten = max(seen, key=lambda who: (seen[who] * (who in self.story.to_come(FORGOTTEN)), who))
        assert self.forgotten in self.story.to_come(FORGOTTEN)
        done = self.commands("forget", "--broadcaster", self.forgotten, "--out", self.out)
        assert done.code == 0, done.err
        check_whole(self.out)
        for split, rows in rows_of(self.out).items():
            assert not [row for row in rows if row["broadcaster_id"] == self.forgotten], split

    def _usual(self, night: int) -> None:
        ended = self.commands(*self.arguments(), **self.settings(night))
        assert ended.code == 0, ended.err
        self._ended(night, ended)

    def _outage(self, night: int) -> None:
        self.server.inject(Fault(path="^/", status=503, times=0))
        ended = self.commands(*self.arguments(), **self.settings(night))
        assert ended.code == 5, ended.err

    def _killed(self, night: int) -> None:
        harvesting = Harvesting(
            self.processes,
            self.server,
            self.commands.config,
            self.server.environ | QUICK | self.settings(night),
            tuple(self.arguments()[1:-3]),
        )
        assert harvesting.run(self.out, kind="committed", at=5).killed

    def _full(self, night: int) -> None:
        command = [sys.executable, "-c", LIMITED, "20000", "run", "--config", str(self.commands.config)]
        done = subprocess.run(
            [*command, *self.arguments()[1:]],
            env=os.environ | self.server.environ | QUICK | self.settings(night),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 6, done.stderr
        assert not Ended(done.returncode, done.stdout, done.stderr).json["kept"]

    def _ended(self, night: int, ended: Ended) -> None:
        self.reports[night] = report = ended.json
        check_books(self.out, report)
        check_whole(self.out)
        assert report["kept"] <= NIGHT_FRAMES

    def _look(self) -> None:
        """No image changes its split, and none that is listed is broken, at any time."""
        check_raw(self.out)
        for split, rows in rows_of(self.out).items():
            for row in rows:
                assert self.places.setdefault(row["file_name"], split) == split

    def arguments(self, out: Path | None = None) -> list[str]:
        wanted = [f"id:{game.id}" for game in self.story.whole.games[:GAMES]]
        named = [argument for name in wanted for argument in ("--category", name)]
        return ["run", *named, "--max-frames", MOST, "--out", str(out or self.out), "--json"]

    def settings(self, night: int) -> dict[str, str]:
        return {
            "HARVESTER_RUN_NOW": f"{self.story.time_of(night):%Y-%m-%dT%H:%M:%SZ}",
            "HARVESTER_SAMPLE_MIN_HEIGHT": "90",
            "HARVESTER_SAMPLE_MIN_GROWTH_S": "10",
        }


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    environ = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    (tmp_path / "commands").mkdir()
    with closing(Processes(tmp_path / "commands", environ)) as served:
        yield served


@pytest.fixture
def month(tmp_path: Path, processes: Processes, capsys: pytest.CaptureFixture[str]) -> Iterator[Month]:
    story = told(tmp_path / "footage")
    server = SandboxServer(story.on(0), helix_points=1_000_000, cache_dir=tmp_path / "cache")
    with server.running():
        yield Month(story, server, Commands(server, tmp_path, capsys), processes, tmp_path / "out")


def test_a_month_of_nights(month: Month) -> None:
    for night in range(NIGHTS):
        month.night(night)
    assert month.commands("verify", "--out", month.out, "--replay").code == 0
    check_nothing_was_missed(month)
    check_pictures(month)
    check_costs(month)


def check_nothing_was_missed(month: Month) -> None:
    """In spite of the bad nights each source gave as much as in one run over everything, with nothing gone."""
    given = targets_of(month.out)
    story, at_once = month.story, month.out.with_name("at-once")
    become(month.server.world, story.on(NIGHTS, life=timedelta(days=2 * NIGHTS)))
    arguments = [argument for argument in month.arguments(at_once) if argument not in ("--max-frames", MOST)]
    assert month.commands(*arguments, **month.settings(NIGHTS)).code == 0
    wanted = targets_of(at_once)
    out_of_it = {source for source in wanted if source[2] == month.forgotten}
    assert out_of_it
    assert not {source for source in given if source[2] == month.forgotten}
    assert given == Counter({source: n for source, n in wanted.items() if source not in out_of_it})
    assert {row["verdict"] for row in outcomes(month.out)} == {"kept", "dropped"}


def targets_of(root: Path) -> Counter[tuple[str, str, str]]:
    """How many targets of each source were looked at, by kind, id and broadcaster."""
    return Counter(
        (row["kind"], row["source_id"], row["broadcaster_id"]) for row in outcomes(root) if row["measurement"]
    )


def check_pictures(month: Month) -> None:
    """No two pictures of a category are alike, a broadcaster is in one split, all have the newest name."""
    split_of: dict[str, set[str]] = {}
    kept: dict[str, list[int]] = {}
    for split, rows in rows_of(month.out).items():
        for row in rows:
            split_of.setdefault(row["broadcaster_id"], set()).add(split)
            kept.setdefault(row["category_id"], []).append(int(row["phash"], 16))
            assert row["label"] == month.story.name_of(row["category_id"], NIGHTS)
    assert all(len(splits) == 1 for splits in split_of.values())
    for hashes in kept.values():
        assert min((one ^ other).bit_count() for one, other in combinations(hashes, 2)) > RADIUS
    last = month.reports[NIGHTS - 1]["categories"]
    assert {category: books["total"] for category, books in last.items()} == {
        category: len(hashes) for category, hashes in kept.items()
    }


def check_costs(month: Month) -> None:
    """A night costs what is new in it, not what is stored."""
    early, late = (month.reports[night] for night in QUIET)
    for quiet in (early, late):
        assert quiet["planned"] == 0
        assert not {"media", "playlist", "usher", "gql"} & set(quiet["requests"])
    assert late["requests"]["helix"] <= 1.5 * early["requests"]["helix"]
    for night, report in month.reports.items():
        if night > RECOVERED:
            assert report["requests"].get("media", 0) <= MOST_REQUESTS * report["planned"], night
