"""Discovery is complete, and says so when it is not: crowded games, sparse years, faults of cursors."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import ExitStack, aclosing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from twitchAPI.twitch import Twitch

from harvester.clock import Clock
from harvester.config import Credentials, Discover, Endpoints
from harvester.errors import TryAgainLater
from harvester.model import Category, Clip, Vod, VodType
from harvester.ports import Listing, ListingScope
from harvester.sandbox import Fault, SandboxServer
from harvester.sandbox.crowd import CLIPPED, NASTY, STREAMED, crowd_world
from harvester.sandbox.helix import cursor
from harvester.sandbox.quirks import Beyond
from harvester.sandbox.world import Game, World
from harvester.stats import Traffic
from harvester.twitch.helix import HelixCatalog
from tests.integration.commands import Commands

EVERYTHING = ListingScope(limit=100_000)


def endpoints(server: SandboxServer) -> Endpoints:
    origin = server.origin
    return Endpoints(helix=f"{origin}/helix/", auth=f"{origin}/oauth2/", gql=f"{origin}/gql", usher=origin)


def catalog(server: SandboxServer) -> HelixCatalog:
    known = server.environ
    return HelixCatalog(
        endpoints(server),
        Discover(requests_per_s=10_000),
        Credentials(known["TWITCH_CLIENT_ID"], known["TWITCH_CLIENT_SECRET"]),
        Traffic(),
        Clock(server.world.now),
        retry_base_s=0.001,
        retry_max_s=0.01,
    )


def clips_of(server: SandboxServer, game: Game, scope: ListingScope = EVERYTHING) -> Listing[Clip]:
    async def ask() -> Listing[Clip]:
        async with catalog(server) as found:
            return await found.list_clips(Category(game.id, game.name), scope)

    server.log.clear()
    return asyncio.run(ask())


def vods_of(server: SandboxServer, game: Game, scope: ListingScope = EVERYTHING) -> Listing[Vod]:
    async def ask() -> Listing[Vod]:
        async with catalog(server) as found:
            return await found.list_vods(Category(game.id, game.name), scope)

    server.log.clear()
    return asyncio.run(ask())


def requests(server: SandboxServer) -> int:
    return int(server.log.stats()["requests"].get("helix", 0))


def ids(listing: Listing[Clip] | Listing[Vod]) -> set[str]:
    found = {source.id for source in listing.sources}
    assert len(found) == len(listing.sources)
    return found


def there(world: World, game: Game) -> tuple[set[str], set[str]]:
    """Ids of the game's videos and clips: the truth."""
    videos = {video.id for video in world.videos if video.game.id == game.id}
    return videos, {clip.id for clip in world.clips if clip.game.id == game.id}


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with ExitStack() as stack:
        yield Serving(stack, tmp_path_factory)


class Serving:
    """Starts servers of worlds."""

    def __init__(self, stack: ExitStack, folders: pytest.TempPathFactory) -> None:
        self._stack, self._folders = stack, folders

    def __call__(self, world: World) -> SandboxServer:
        server = SandboxServer(world, cache_dir=self._folders.mktemp("media"), helix_points=10_000_000)
        return self._stack.enter_context(server.running())


@pytest.fixture(scope="module")
def crowded(serving: Serving) -> SandboxServer:
    return serving(crowd_world())


@pytest.fixture(autouse=True)
def without_faults(crowded: SandboxServer) -> None:
    crowded.faults.clear()


def test_1500_clips_of_a_day_are_all_found(crowded: SandboxServer) -> None:
    listing = clips_of(crowded, CLIPPED)
    assert ids(listing) == there(crowded.world, CLIPPED)[1]
    assert (listing.stopped, listing.lost, listing.seen) == ("end", 0, 1500)
    assert requests(crowded) <= 100
    assert list(listing.sources) == sorted(listing.sources, key=lambda clip: clip.created_at, reverse=True)


def test_700_videos_are_all_found(crowded: SandboxServer) -> None:
    listing = vods_of(crowded, STREAMED)
    assert ids(listing) == there(crowded.world, STREAMED)[0]
    assert (listing.stopped, listing.lost, listing.seen) == ("end", 0, 700)
    assert requests(crowded) <= 60


def test_what_the_unguarded_library_finds_of_them(crowded: SandboxServer) -> None:
    """The demonstration: it ends at 500 videos, and of clips gives the same thousand for ever."""

    async def ask() -> tuple[set[str], list[str]]:
        known = crowded.environ
        client = await Twitch(
            *(known["TWITCH_CLIENT_ID"], known["TWITCH_CLIENT_SECRET"]),
            base_url=f"{crowded.origin}/helix/",
            auth_base_url=f"{crowded.origin}/oauth2/",
        )
        videos = {video.id async for video in client.get_videos(game_id=STREAMED.id, first=100)}
        clips: list[str] = []
        end = crowded.world.now - timedelta(hours=2)
        async with aclosing(
            client.get_clips(game_id=CLIPPED.id, first=100, started_at=end - timedelta(days=1), ended_at=end)
        ) as items:
            async for clip in items:
                clips.append(clip.id)
                if len(clips) == 5000:
                    break
        await client.close()
        return videos, clips

    videos, clips = asyncio.run(ask())
    assert len(videos) == 500
    assert (len(clips), len(set(clips))) == (5000, 1000)


@pytest.mark.parametrize("beyond", ["end", "stuck", "error", "empty"])
def test_whatever_follows_the_last_page_nothing_is_lost(
    serving: Serving, crowded: SandboxServer, beyond: Beyond
) -> None:
    server = serving(replace(crowded.world, quirks=replace(NASTY, beyond=beyond)))
    listing = clips_of(server, CLIPPED)
    assert ids(listing) == there(server.world, CLIPPED)[1]
    assert (listing.stopped, listing.lost) == ("end", 0)
    assert requests(server) <= 120


def test_a_page_that_never_comes_costs_requests_and_no_clips(crowded: SandboxServer) -> None:
    crowded.inject(Fault(path="/clips", query=re.escape(quote(cursor(600), safe="")), status=500, times=0))
    listing = clips_of(crowded, CLIPPED)
    assert ids(listing) == there(crowded.world, CLIPPED)[1]
    assert (listing.stopped, listing.lost) == ("end", 0)


def test_more_clips_than_ten_minutes_can_give_are_a_named_loss(serving: Serving, crowded: SandboxServer) -> None:
    world, moment = crowded.world, crowded.world.now - timedelta(hours=5)
    burst = [replace(clip, created_at=moment) if clip.game == CLIPPED else clip for clip in world.clips]
    server = serving(replace(world, clips=tuple(burst)))
    listing = clips_of(server, CLIPPED)
    assert (listing.stopped, listing.seen) == ("cap", 1000)
    assert listing.lost >= 1
    assert ids(listing) < there(world, CLIPPED)[1]


def test_more_videos_of_one_language_and_type_than_a_query_gives_are_a_named_loss(
    serving: Serving, crowded: SandboxServer
) -> None:
    world = crowded.world
    alike = [replace(v, language="en", type=VodType.UPLOAD) if v.game == STREAMED else v for v in world.videos]
    server = serving(replace(world, videos=tuple(alike)))
    listing = vods_of(server, STREAMED)
    assert (listing.stopped, listing.lost) == ("cap", 1)
    assert 500 < len(ids(listing)) <= 700  # sorts show others than the newest
    assert requests(server) <= 100


def test_the_newest_videos_are_not_crossed_when_they_reach_back_far_enough(crowded: SandboxServer) -> None:
    since = crowded.world.now - timedelta(days=30)
    listing = vods_of(crowded, STREAMED, replace(EVERYTHING, since=since))
    wanted = {v.id for v in crowded.world.videos if v.game == STREAMED and v.created_at >= since}
    assert ids(listing) == wanted
    assert (listing.stopped, requests(crowded)) == ("end", 5)


def test_sparse_years_are_cheap(serving: Serving, crowded: SandboxServer) -> None:
    world = crowded.world
    clip = next(clip for clip in world.clips if clip.game == CLIPPED)
    ages = [1, 2, 50, 400, 1500, 3400]
    few = [replace(clip, id=f"Old-{days}", created_at=world.now - timedelta(days=days)) for days in ages]
    server = serving(replace(world, clips=tuple(few)))
    assert len(ids(clips_of(server, CLIPPED))) == len(few)
    assert requests(server) <= 15
    assert not ids(clips_of(server, STREAMED))
    assert requests(server) <= 15


def test_wide_windows_that_lose_clips_are_not_believed(serving: Serving, crowded: SandboxServer) -> None:
    world = crowded.world
    clip = next(clip for clip in world.clips if clip.game == CLIPPED)
    steady = [replace(clip, id=f"C{n}", created_at=world.now - timedelta(hours=4 * n)) for n in range(1200)]
    busy = [replace(clip, id=f"D{n}", created_at=world.now - timedelta(days=90, minutes=n)) for n in range(900)]
    server = serving(replace(world, clips=(*steady, *busy)))
    listing = clips_of(server, CLIPPED)
    assert len(ids(listing)) == 2100
    assert listing.stopped == "end"
    assert requests(server) <= 120


def test_the_first_window_follows_from_the_top_list_or_from_what_is_known(
    serving: Serving, crowded: SandboxServer
) -> None:
    """180 clips an hour. The top list is asked for by --top alone; the pace is what a ledger knows."""
    world = crowded.world
    clip = next(clip for clip in world.clips if clip.game == CLIPPED)
    many = [replace(clip, id=f"B{n}", created_at=world.now - timedelta(seconds=20 * n + 5)) for n in range(6000)]
    server = serving(replace(world, clips=tuple(many)))

    async def topped() -> Listing[Clip]:
        async with catalog(server) as found:
            (biggest,) = await found.top_categories(1)
            assert biggest.id == CLIPPED.id
            return await found.list_clips(biggest, EVERYTHING)

    cold = ids(clips_of(server, CLIPPED))
    asked_cold = requests(server)
    server.log.clear()
    assert ids(asyncio.run(topped())) == cold == there(server.world, CLIPPED)[1]
    assert requests(server) - 1 < asked_cold * 0.8
    assert ids(clips_of(server, CLIPPED, replace(EVERYTHING, pace_per_h=180.0))) == cold
    assert requests(server) < asked_cold * 0.8


def test_what_is_known_does_not_count_toward_the_limit(crowded: SandboxServer) -> None:
    taken: set[str] = set()
    for night in range(4):
        scope = ListingScope(limit=450, known=frozenset(taken))
        listing = clips_of(crowded, CLIPPED, scope)
        assert not ids(listing) & taken
        assert (listing.stopped, len(listing.sources)) == (("limit", 450) if night < 3 else ("end", 150))
        assert listing.known <= len(taken)
        taken |= ids(listing)
    assert listing.known == 1350
    assert taken == there(crowded.world, CLIPPED)[1]


def test_a_limit_asks_for_no_more_than_it_needs(crowded: SandboxServer) -> None:
    assert (clips_of(crowded, CLIPPED, ListingScope(limit=120)).stopped, requests(crowded)) == ("limit", 2)
    assert (vods_of(crowded, STREAMED, ListingScope(limit=120)).stopped, requests(crowded)) == ("limit", 2)
    assert (clips_of(crowded, CLIPPED, ListingScope(limit=0)).stopped, requests(crowded)) == ("limit", 0)


def test_twitch_down_is_no_empty_category(crowded: SandboxServer) -> None:
    crowded.inject(Fault(path="/helix/", status=503, times=0))
    with pytest.raises(TryAgainLater):
        clips_of(crowded, CLIPPED)
    with pytest.raises(TryAgainLater):
        vods_of(crowded, STREAMED)


def test_twitch_going_down_leaves_what_was_read_and_says_so(crowded: SandboxServer) -> None:
    crowded.inject(Fault(path="/clips", status=503, times=0, skip=20))
    listing = clips_of(crowded, CLIPPED)
    assert listing.stopped == "broken-off"
    assert listing.lost >= 1
    assert 1000 <= len(listing.sources) < 1500
    crowded.faults.clear()
    crowded.inject(Fault(path="/videos", status=503, times=0, skip=5))
    videos = vods_of(crowded, STREAMED)
    assert (videos.stopped, len(videos.sources)) == ("broken-off", 500)


# --- as a user sees it ------------------------------------------------------------------------------------------


@pytest.fixture
def harvester(crowded: SandboxServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(crowded, tmp_path, capsys)


def test_a_plan_says_how_complete_it_is(harvester: Commands, tmp_path: Path) -> None:
    wanted = ("--category", CLIPPED.name, "--category", STREAMED.name, "--out", tmp_path / "dataset")
    ended = harvester("plan", *wanted, HARVESTER_DISCOVER_MAX_CLIPS="700")
    assert ended.code == 0
    assert "700 new clips of at least" in ended.out
    assert "as many as [discover] max_clips allows; a later run goes on with others" in ended.out
    assert "listed: 700 new VODs of at least 700, 0 new clips of at least 0" in ended.out
    record = harvester("plan", *wanted, "--json").json
    listings = [entry["listing"] for entry in record["plan"]]
    whole = {"found": 1500, "at_least": 1500, "known": 0, "stopped": "end", "lost": 0}
    assert listings[0]["clip"] == whole
    assert listings[1]["vod"] == whole | {"found": 700, "at_least": 700}


def test_a_run_says_how_complete_its_listing_was(harvester: Commands, tmp_path: Path) -> None:
    wanted = ("--category", CLIPPED.name, "--source-type", "clip", "--out", tmp_path / "dataset", "--frames")
    limit = {"HARVESTER_DISCOVER_MAX_CLIPS": "3", "HARVESTER_SAMPLE_MAX_PER_CLIP": "1"}
    first = harvester("run", *wanted, "1", "--json", **limit).json["categories"][CLIPPED.id]["listed"]
    assert first == {"clip": {"found": 3, "at_least": 3, "known": 0, "stopped": "limit", "lost": 0}}
    harvester("run", *wanted, "9", **limit)  # what the first has listed, and three others
    again = harvester("run", *wanted, "99", "--json", **limit).json["categories"][CLIPPED.id]["listed"]
    assert again == {"clip": {"found": 3, "at_least": 9, "known": 6, "stopped": "limit", "lost": 0}}
    text = harvester("run", *wanted, "99", **limit).out
    assert "3 new clips and 9 known of at least 12" in text
    assert "max_clips" in text
