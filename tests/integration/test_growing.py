"""VODs whose broadcast goes on: sampled to their settled end, continued the next night, never twice the same."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from harvester.sandbox import Fault, SandboxServer, default_world
from harvester.sandbox.world import Video, World
from harvester.store.ledger import Ledger
from tests.integration.commands import QUICK, Commands, Ended
from tests.integration.killing import Harvesting, Processes
from tests.integration.wholeness import Content, assert_same, check_raw, content

SEGMENT_S = 2.0
#: All footage in one broadcast: 240 s of which no two stretches show the same.
LENGTH_S = 240.0
#: How long it has been on air when the first night comes; the last segment is not complete yet.
FIRST_NIGHT_S = 131.0
SETTLED_S = 130.0 - 3 * SEGMENT_S
#: The next night: it has ended long since.
NEXT_NIGHT_S = FIRST_NIGHT_S + 24 * 3600


def live_world(**fields: float) -> World:
    """A world of one VOD, live since a minute or two, which shows every session of the package."""
    world = default_world()
    shown = tuple(video.pieces[-1] for video in world.videos)
    model = next(video for video in world.videos if video.container == "ts")
    began = world.now - timedelta(seconds=FIRST_NIGHT_S)
    live = replace(model, pieces=shown, created_at=began, live=True, **fields)
    return replace_world(world, live)


def replace_world(world: World, *videos: Video) -> World:
    return World(world.seed, world.now, world.games, world.channels, videos, (), world.pts_mode)


class Nights:
    """The same dataset, night after night of a live VOD."""

    def __init__(self, server: SandboxServer, commands: Commands, out: Path) -> None:
        self.server, self.commands, self.out = server, commands, out
        self.video = server.world.videos[0]
        server.world.now = self.video.created_at + timedelta(seconds=FIRST_NIGHT_S)
        server.faults.clear()

    def run(self, on_air_s: float, *arguments: str, **environment: str) -> Ended:
        """A run at that time of the broadcast (s)."""
        self.server.world.now = now = self.video.created_at + timedelta(seconds=on_air_s)
        self.server.log.clear()
        variables = {
            "HARVESTER_RUN_NOW": f"{now:%Y-%m-%dT%H:%M:%SZ}",
            "HARVESTER_SAMPLE_MIN_GROWTH_S": "20",
            "HARVESTER_SAMPLE_MAX_PER_VOD": "60",
        } | environment
        category = f"id:{self.video.game.id}"
        command = ("run", "--category", category, "--out", str(self.out), "--json", *arguments)
        ended = self.commands(*command, **variables)
        assert ended.code == 0, ended.err
        return ended

    def moments(self) -> list[float]:
        """Offsets of all pictures that were measured, in order of time."""
        database = sqlite3.connect(self.out / ".harvester" / "ledger.sqlite3")
        rows = database.execute("SELECT offset_s FROM outcomes WHERE offset_s IS NOT NULL ORDER BY offset_s")
        return [offset for (offset,) in rows]

    def verified(self) -> None:
        assert self.commands("verify", "--out", self.out, "--replay").code == 0

    @property
    def media_requests(self) -> int:
        return sum(entry.kind == "media" for entry in self.server.log.entries())


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[float], SandboxServer]]:
    """A server of a live world, by how far the listing runs ahead of the playlist (s)."""
    cache = tmp_path_factory.mktemp("media")
    running: dict[float, SandboxServer] = {}
    with ExitStack() as stack:

        def serve(listing_ahead_s: float = 0) -> SandboxServer:
            if listing_ahead_s not in running:
                server = SandboxServer(live_world(listing_ahead_s=listing_ahead_s), cache_dir=cache)
                running[listing_ahead_s] = stack.enter_context(server.running())
            return running[listing_ahead_s]

        yield serve


@pytest.fixture
def nights(
    servers: Callable[[float], SandboxServer], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Nights]:
    def begin(listing_ahead_s: float = 0, out: str = "dataset") -> Nights:
        server = servers(listing_ahead_s)
        return Nights(server, Commands(server, tmp_path, capsys), tmp_path / out)

    return begin


#: Times of the broadcast at which there is a run (s).
TWO_NIGHTS = (FIRST_NIGHT_S, NEXT_NIGHT_S)


def on_air(server: SandboxServer, processes: Processes, folder: Path, on_air_s: float) -> Harvesting:
    """The command of a night, in processes of their own; the world's clock stands at that night."""
    video = server.world.videos[0]
    server.world.now = now = video.created_at + timedelta(seconds=on_air_s)
    config = folder / "sandbox.toml"
    config.write_text(server.config_toml(), encoding="utf-8")
    settings = {"HARVESTER_RUN_NOW": f"{now:%Y-%m-%dT%H:%M:%SZ}", "HARVESTER_SAMPLE_MIN_GROWTH_S": "20"}
    arguments = ("--category", f"id:{video.game.id}")
    return Harvesting(processes, server, config, server.environ | QUICK | settings, arguments)


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    environ = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    with closing(Processes(tmp_path_factory.mktemp("commands"), environ)) as served:
        yield served


@pytest.fixture(scope="module")
def undisturbed(
    processes: Processes, servers: Callable[[float], SandboxServer], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Content, list[dict[str, list[str]]]]:
    """The dataset of both nights when nobody kills them, and the steps of each night."""
    folder = tmp_path_factory.mktemp("undisturbed")
    steps = []
    for on_air_s in TWO_NIGHTS:
        done = on_air(servers(50), processes, folder, on_air_s).run(folder / "out")
        assert done.code == 0, done.err
        steps.append(done.steps)
    return content(folder / "out"), steps


@pytest.mark.parametrize(
    "listing_ahead_s", [0, 50, LENGTH_S - FIRST_NIGHT_S, -60], ids=["level", "ahead", "whole", "behind"]
)
def test_the_second_night_goes_on_where_the_first_had_to_stop(
    nights: Callable[..., Nights], listing_ahead_s: float
) -> None:
    night = nights(listing_ahead_s)
    first = night.run(FIRST_NIGHT_S)
    early = night.moments()
    assert first.json["kept"] > 0
    assert max(early) < SETTLED_S
    assert max(early) > SETTLED_S - 15  # no guard at an end that is none
    again = night.run(FIRST_NIGHT_S)  # nothing has come
    assert (again.json["planned"], night.media_requests) == (0, 0)
    second = night.run(NEXT_NIGHT_S)
    assert second.json["kept"] > 0
    both = night.moments()
    late = sorted(set(both) - set(early))
    assert len(both) == len(early) + len(late), "a moment came twice"
    assert SETTLED_S <= min(late) < SETTLED_S + 15  # no gap ...
    assert max(late) > LENGTH_S - 40  # ... and to its end, less the guard
    assert len(both) <= 60
    assert all(b - a > SEGMENT_S * 0.9 for a, b in pairwise(both))
    night.verified()
    third = night.run(NEXT_NIGHT_S + 3600)
    assert (third.json["planned"], night.media_requests) == (0, 0)


def test_three_nights_share_one_cap(nights: Callable[..., Nights]) -> None:
    night, cap = nights(), {"HARVESTER_SAMPLE_MAX_PER_VOD": "12"}
    counts = []
    for on_air_s in (FIRST_NIGHT_S, 180.0, LENGTH_S + 60):
        night.run(on_air_s, **cap)
        counts.append(len(night.moments()))
    assert counts == [6, 9, 12]  # half of what is left, as long as more may come
    assert len(set(night.moments())) == 12
    night.verified()


def test_growth_below_the_useful_amount_is_not_worth_a_visit(nights: Callable[..., Nights]) -> None:
    night = nights()
    night.run(FIRST_NIGHT_S)
    listed = night.run(FIRST_NIGHT_S + 12)
    assert listed.json["planned"] == 0
    assert not [entry for entry in night.server.log.entries() if entry.kind in ("gql", "playlist", "media")]


@pytest.mark.parametrize("failing", [False, True])
def test_one_that_ended_soon_after_it_was_sampled_is_done_with(
    nights: Callable[..., Nights], failing: bool
) -> None:
    """Nothing worth a visit has come to it by the next night: from then on it is one of the known; what failed of
    it comes back all the same."""
    night = nights()

    def growing() -> set[str]:
        ledger = Ledger(night.out / ".harvester" / "ledger.sqlite3", readonly=True)
        with closing(ledger):
            return {source_id for _, source_id in ledger.growing_sources(night.video.game.id)}

    if failing:
        night.server.inject(Fault(path=r"/2\d\.ts$", status=500, times=0))
    failed = night.run(LENGTH_S - 10, HARVESTER_RUN_FAILED_SHARE="1").json["failed"]
    assert bool(failed) == failing
    night.server.faults.clear()
    assert growing() == {night.video.id}
    night.run(LENGTH_S - 5)
    assert growing() == {night.video.id}  # it may go on
    ended = night.run(NEXT_NIGHT_S)
    assert ended.json["planned"] == sum(failed.values())
    assert growing() == set()
    third = night.run(NEXT_NIGHT_S + 24 * 3600)
    assert third.json["categories"][night.video.game.id]["listed"]["vod"]["known"] == 1
    night.verified()


def test_a_failure_of_the_first_night_comes_back_beside_what_has_been_added(nights: Callable[..., Nights]) -> None:
    night = nights()
    night.server.inject(Fault(path=r"/2\d\.ts$", status=500, times=0))
    night.run(FIRST_NIGHT_S, HARVESTER_RUN_FAILED_SHARE="1")
    early = night.moments()
    assert not any(40 <= moment < 60 for moment in early)
    night.server.faults.clear()
    night.run(NEXT_NIGHT_S)
    both = night.moments()
    assert any(40 <= moment < 60 for moment in both)
    assert max(both) > LENGTH_S - 40
    assert len(both) == len(set(both))
    night.verified()


def test_a_run_that_is_cut_short_goes_on_in_the_part_as_it_was_found(nights: Callable[..., Nights]) -> None:
    """The pass of the first night is finished in the second, when the playlist is longer: same targets as planned."""
    whole, cut = nights(out="whole"), nights(out="cut")
    whole.run(FIRST_NIGHT_S)
    cut.run(FIRST_NIGHT_S, "--max-frames", "3")
    cut.run(LENGTH_S + 60, "--max-requests", "100000")
    first_part = [moment for moment in cut.moments() if moment < SETTLED_S]
    assert first_part == whole.moments()
    assert len(cut.moments()) == len(set(cut.moments()))
    assert max(cut.moments()) > LENGTH_S - 40
    cut.verified()


def test_what_is_known_of_a_live_vod_is_committed(nights: Callable[..., Nights]) -> None:
    night = nights()
    night.run(FIRST_NIGHT_S)
    ledger = Ledger(night.out / ".harvester" / "ledger.sqlite3", readonly=True)
    (part,) = ledger.parts_of(night.video.game.id, "vod", night.video.id)
    assert part.opened is not None
    assert (part.opened.ended, part.opened.span.end_s) == (False, SETTLED_S)
    began = night.server.world.now  # however long the run had taken when it planned
    assert ledger.growing_sources(night.video.game.id) == {("vod", night.video.id): began}
    ledger.close()


@pytest.mark.long
@pytest.mark.parametrize(("kind", "share"), [("step", 0.3), ("step", 0.7), ("committed", 0.2), ("committed", 0.6)])
def test_killed_on_either_night_it_ends_at_the_same_dataset(
    processes: Processes,
    undisturbed: tuple[Content, list[dict[str, list[str]]]],
    servers: Callable[[float], SandboxServer],
    tmp_path: Path,
    kind: str,
    share: float,
) -> None:
    wanted, steps = undisturbed
    for night, on_air_s in enumerate(TWO_NIGHTS):
        harvesting = on_air(servers(50), processes, tmp_path, on_air_s)
        done = harvesting.run(tmp_path / "out", kind=kind, at=max(1, round(share * len(steps[night][kind]))))
        assert done.killed
        check_raw(tmp_path / "out")
        assert harvesting.run(tmp_path / "out").code == 0
        assert harvesting.verify(tmp_path / "out").code == 0
    assert_same(content(tmp_path / "out"), wanted)
