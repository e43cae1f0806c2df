"""Discovery, resolving and fetching against the package's own stand-in of Twitch, through sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from harvester.clock import Clock
from harvester.config import Credentials, Discover, Endpoints, Fetch
from harvester.errors import CredentialsRefused, FetchError, SourceError, UnknownCategory
from harvester.model import ByteRange, Category, Clip, Vod
from harvester.ports import Listing, ListingScope
from harvester.sandbox.build import default_world
from harvester.sandbox.faults import Fault
from harvester.sandbox.server import SandboxServer
from harvester.stats import RequestKind, Traffic
from harvester.transport import Transport
from harvester.twitch.helix import HelixCatalog
from harvester.twitch.playback import StreamlinkResolver

QUICK = Fetch(attempts=3, retry_base_s=0.001, retry_max_s=0.01, read_timeout_s=5.0, gql_requests_per_s=500)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxServer]:
    sandbox = SandboxServer(default_world(), cache_dir=tmp_path_factory.mktemp("media"))
    with sandbox.running():
        yield sandbox


@pytest.fixture(autouse=True)
def without_faults(server: SandboxServer) -> None:
    server.faults.clear()
    server.log.clear()


def endpoints(server: SandboxServer) -> Endpoints:
    origin = server.origin
    return Endpoints(helix=f"{origin}/helix/", auth=f"{origin}/oauth2/", gql=f"{origin}/gql", usher=origin)


def catalog(server: SandboxServer, traffic: Traffic | None = None, secret: str | None = None) -> HelixCatalog:
    known = server.environ
    credentials = Credentials(known["TWITCH_CLIENT_ID"], secret or known["TWITCH_CLIENT_SECRET"])
    return HelixCatalog(
        endpoints(server),
        Discover(requests_per_s=500),
        credentials,
        traffic or Traffic(),
        Clock(server.world.now),
        retry_base_s=0.001,
        retry_max_s=0.01,
    )


def resolver(server: SandboxServer, traffic: Traffic | None = None) -> StreamlinkResolver:
    return StreamlinkResolver(endpoints(server), QUICK, traffic or Traffic(), Clock(server.world.now))


def listings(server: SandboxServer, category: Category) -> tuple[Listing[Vod], Listing[Clip]]:
    async def ask() -> tuple[Listing[Vod], Listing[Clip]]:
        async with catalog(server) as found:
            return await found.list_vods(category, ListingScope()), await found.list_clips(
                category, ListingScope()
            )

    return asyncio.run(ask())


def busiest(server: SandboxServer) -> Category:
    """A category of the world that has VODs and clips."""
    game = next(
        game
        for game in server.world.games
        if any(v.game == game for v in server.world.videos) and any(c.game == game for c in server.world.clips)
    )
    return Category(game.id, game.name)


def test_every_game_is_found_by_id(server: SandboxServer) -> None:
    async def ask() -> list[Category]:
        async with catalog(server) as found:
            return [await found.find_category(f"id:{game.id}") for game in server.world.games]

    assert [(c.id, c.name) for c in asyncio.run(ask())] == [(g.id, g.name) for g in server.world.games]


def test_names_are_found_and_unknown_ones_told(server: SandboxServer) -> None:
    category = busiest(server)

    async def ask() -> None:
        async with catalog(server) as found:
            assert await found.find_category(category.name) == category
            assert await found.find_category(category.name.upper()) == category
            with pytest.raises(UnknownCategory):
                await found.find_category(f"{category.name} zzz")
            assert len(await found.top_categories(2)) == 2

    asyncio.run(ask())


def test_listings_are_the_worlds(server: SandboxServer) -> None:
    category = busiest(server)
    vods, clips = listings(server, category)
    assert {vod.id for vod in vods.sources} == {v.id for v in server.world.videos if v.game.id == category.id}
    assert {clip.id for clip in clips.sources} == {c.id for c in server.world.clips if c.game.id == category.id}
    assert (vods.stopped, clips.stopped) == ("end", "end")


def test_wrong_secret(server: SandboxServer) -> None:
    async def ask() -> None:
        async with catalog(server, secret="wrong") as found:
            with pytest.raises(CredentialsRefused):
                await found.top_categories(1)

    asyncio.run(ask())


def test_expired_tokens_and_rate_limit_cost_nothing(server: SandboxServer) -> None:
    category = busiest(server)

    async def ask() -> Listing[Vod]:
        async with catalog(server) as found:
            await found.find_category(f"id:{category.id}")
            server._routes.expire_tokens()
            limited = {"Ratelimit-Reset": "+2"}
            server.inject(Fault(path="^/helix/videos", status=429, headers=limited, times=2))
            server.inject(Fault(path="^/helix/videos", html=True, times=1))
            return await found.list_vods(category, ListingScope())

    listed = asyncio.run(ask())
    assert len(listed.sources) == sum(v.game.id == category.id for v in server.world.videos)


def test_vod_from_page_to_first_bytes(server: SandboxServer) -> None:
    vod = listings(server, busiest(server))[0].sources[0]
    server.log.clear()
    traffic = Traffic()

    async def ask() -> bytes:
        async with (
            Transport(QUICK, loopback=True, traffic=traffic) as transport,
            resolver(server, traffic) as door,
        ):
            found = [r for r in await door.renditions(vod) if r.has_video]
            smallest = min(found, key=lambda r: r.height or 0)
            assert (smallest.height or 0) >= 160
            playlist = await transport.get(smallest.url, kind=RequestKind.PLAYLIST, limit_bytes=1 << 20)
            first = next(line for line in playlist.body.decode().splitlines() if line and not line.startswith("#"))
            segment = smallest.url.rpartition("/")[0] + "/" + first
            response = await transport.get(
                segment, kind=RequestKind.MEDIA, byte_range=ByteRange(0, 1880), limit_bytes=1 << 20
            )
            assert response.status == 206
            assert (response.total_bytes or 0) > 1880
            return response.body

    head = asyncio.run(ask())
    assert len(head) == 1880
    assert head[0] == 0x47 or head[4:8] in (b"styp", b"moof")
    assert server.log.stats()["requests"] == {kind.value: n for kind, n in traffic.requests.items()}
    assert [entry.kind for entry in server.log.entries()] == ["gql", "usher", "playlist", "media"]


def test_clip_from_page_to_first_bytes(server: SandboxServer) -> None:
    clip = listings(server, busiest(server))[1].sources[0]

    async def ask() -> None:
        async with Transport(QUICK, loopback=True, traffic=Traffic()) as transport, resolver(server) as door:
            found = await door.renditions(clip)
            assert sorted(r.height or 0 for r in found) == sorted(server.world.clip(clip.id).heights)  # type: ignore[union-attr]
            wanted = ByteRange(0, 64)
            got = await transport.get(found[0].url, kind=RequestKind.MEDIA, byte_range=wanted, limit_bytes=64)
            assert got.body[4:8] == b"ftyp"
            with pytest.raises(FetchError) as caught:
                unsigned = found[0].url.partition("?")[0]
                await transport.get(unsigned, kind=RequestKind.MEDIA, byte_range=wanted, limit_bytes=64)
            assert (caught.value.status, caught.value.retryable) == (401, False)

    asyncio.run(ask())


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (
            Fault(
                path="^/vod/",
                status=403,
                body=b'[{"error_code":"vod_manifest_restricted","type":"error"}]',
                times=1,
            ),
            "sub-only",
        ),
        (
            Fault(
                path="^/vod/",
                status=404,
                body=b'[{"error_code":"transcode_does_not_exist","type":"error"}]',
                times=1,
            ),
            "gone",
        ),
        (Fault(path="^/gql", status=500, times=9), "unavailable"),
    ],
)
def test_refusals(server: SandboxServer, fault: Fault, reason: str) -> None:
    vod = listings(server, busiest(server))[0].sources[0]
    server.inject(fault)

    async def ask() -> SourceError:
        async with resolver(server) as door:
            with pytest.raises(SourceError) as caught:
                await door.renditions(vod)
            return caught.value

    assert asyncio.run(ask()).reason == reason


def test_passing_faults_of_media_cost_nothing(server: SandboxServer) -> None:
    vod = listings(server, busiest(server))[0].sources[0]

    async def ask() -> None:
        async with Transport(QUICK, loopback=True, traffic=Traffic()) as transport, resolver(server) as door:
            url = (await door.renditions(vod))[0].url
            for fault in (
                Fault(path="^/cdn/", status=503),
                Fault(path="^/cdn/", reset=True),
                Fault(path="^/cdn/", cut=20),
            ):
                server.inject(fault)
                whole = await transport.get(url, kind=RequestKind.PLAYLIST, limit_bytes=1 << 20)
                assert whole.body.startswith(b"#EXTM3U")

    asyncio.run(ask())
