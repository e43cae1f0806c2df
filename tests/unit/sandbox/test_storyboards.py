"""Seek previews: listed where GQL says, and each cell is the picture that plays at its time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harvester.config import Endpoints, Fetch
from harvester.errors import FetchError
from harvester.fetch.storyboard import cut_sheet, fetch_sheet, fetch_storyboards
from harvester.model import Category, VideoDetails
from harvester.sandbox import SandboxServer
from harvester.sandbox.build import world_from_index
from harvester.sandbox.storyboards import interval_s, listing
from harvester.sandbox.world import Chapter, Video
from harvester.stats import Traffic
from harvester.transport import RateLimit, Transport
from harvester.twitch.gql import GqlDetails
from tests.unit.sandbox.conftest import FPS, SECONDS

QUICK = Fetch(attempts=2, retry_base_s=0.001, retry_max_s=0.01)


@pytest.fixture(scope="module")
def server(tiny_index: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxServer]:
    world = world_from_index(tiny_index, segment_s=4)
    first, second, *rest = world.videos
    other = world.games[1].id
    chapters = (
        Chapter(None, 0, 2),
        Chapter(first.game.id, 2, 6),
        Chapter(other, 6, -3),
        Chapter(other, 8, 0),
    )
    fresh = replace(second, created_at=world.now - timedelta(minutes=10))
    world = replace(world, videos=(replace(first, chapters=chapters), fresh, *rest))
    sandbox = SandboxServer(world, cache_dir=tmp_path_factory.mktemp("media"))
    with sandbox.running():
        yield sandbox


def asked(server: SandboxServer, question: Callable[[GqlDetails, Transport], Any]) -> Any:
    """What ``question`` gets from the sandbox, over GQL and over the transport."""
    endpoints = Endpoints(
        helix=f"{server.origin}/helix/",
        auth=f"{server.origin}/oauth2/",
        gql=f"{server.origin}/gql",
        usher=server.origin,
    )

    async def main() -> Any:
        traffic = Traffic()
        async with (
            GqlDetails(endpoints, QUICK, traffic, RateLimit(1000)) as details,
            Transport(QUICK, loopback=True, traffic=traffic) as transport,
        ):
            return await question(details, transport)

    return asyncio.run(main())


def told_of(server: SandboxServer, video: Video) -> VideoDetails:
    return asked(server, lambda details, transport: details.of_vod(video.id))


def spans(told: VideoDetails) -> list[tuple[float, float, str | None]]:
    return [(c.span.start_s, c.span.end_s, c.category and c.category.id) for c in told.chapters or ()]


def test_the_real_client_is_told_everything(server: SandboxServer) -> None:
    first, second, third, *_ = server.world.videos
    server.log.clear()
    told = told_of(server, first)
    assert server.log.stats()["requests"] == {"gql": 1}
    assert told.category == Category(first.game.id, first.game.name)
    assert (told.length_s, told.broadcast_type, told.owner_login) == (12, first.type.value.upper(), "ann")
    assert spans(told) == [(0, 2, None), (2, 6, first.game.id), (8, 12, server.world.games[1].id)]
    assert told_of(server, third).chapters == ()
    assert told_of(server, second).storyboard_url is None


def test_spelt_out_questions_get_the_same_answer(server: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> None:
    video = server.world.videos[0]
    by_hash = told_of(server, video)
    monkeypatch.setattr("harvester.sandbox.gql.OPERATIONS", {})
    assert told_of(server, video) == by_hash


def brightness_of(number: int) -> float:
    """Mean of green in picture ``number`` of "alpha" as its maker drew it: one luma level brighter each time."""
    row = 40 + number + np.arange(320) * 40 // 320
    row[(number * 3) % 320] = 235
    return float((row.mean() - 16) * 255 / 219)


def test_each_cell_is_the_picture_that_plays_at_its_time(server: SandboxServer) -> None:
    video = next(v for v in server.world.videos if len(v.pieces) == 1 and v.pieces[0].session.name == "alpha")

    async def question(details: GqlDetails, transport: Transport) -> list[list[tuple[float, float]]]:
        told = await details.of_vod(video.id)
        boards = await fetch_storyboards(transport, told.storyboard_url)
        assert [(board.cell_width, board.cell_height) for board in boards] == [(220, 124), (160, 90)]
        sheets = [(board, await fetch_sheet(transport, board, 0)) for board in boards]
        return [[(c.time_s, c.image[:, :, 1].mean()) for c in cut_sheet(data, b, 0)] for b, data in sheets]

    for cells in asked(server, question):
        assert [time_s for time_s, _ in cells] == list(range(0, SECONDS, 2))
        expected = [brightness_of(number) for number in range(0, SECONDS * FPS, 2 * FPS)]
        assert [brightness for _, brightness in cells] == pytest.approx(expected, abs=0.5)


def test_junk_in_front_of_a_game_has_its_cells(server: SandboxServer) -> None:
    video = next(v for v in server.world.videos if len(v.pieces) == 2)
    (low, _) = listing(video)
    assert (low["count"], low["interval"]) == (8, 2)
    cells = [video.footage_at(k * 2)[0].session.name for k in range(8)]
    assert cells == ["soon"] * 2 + ["beta"] * 6


def test_long_videos_have_200_cells_on_five_sheets(server: SandboxServer) -> None:
    video = server.world.videos[0]
    session = replace(video.pieces[0].session, seconds=3 * 3600.0)
    long = replace(video, pieces=(replace(video.pieces[0], session=session),))
    low, high = listing(long)
    assert (interval_s(long), low["count"], len(low["images"]), len(high["images"])) == (54, 200, 1, 4)


def test_what_is_not_there_is_denied(server: SandboxServer) -> None:
    first, fresh, *_ = server.world.videos

    async def question(_details: GqlDetails, transport: Transport) -> list[int | None]:
        found = []
        for video, name in (
            (first, f"{first.id}-low-1.jpg"),
            (first, "x.jpg"),
            (first, f"{fresh.id}-info.json"),
            (fresh, f"{fresh.id}-info.json"),
            (replace(first, distribution="other"), f"{first.id}-info.json"),
        ):
            url = f"{server.origin}/cdn/{video.distribution}/{video.special}/storyboards/{name}"
            with pytest.raises(FetchError) as caught:
                await fetch_storyboards(transport, url)
            found.append(caught.value.status)
        return found

    assert asked(server, question) == [403] * 5


def test_the_file_has_the_fields_that_players_read(server: SandboxServer) -> None:
    video = server.world.videos[0]
    for entry in json.loads(json.dumps(listing(video))):
        assert set(entry) == {"quality", "count", "width", "height", "cols", "rows", "interval", "images"}
