"""Crowded worlds and the quirks of their listings, page by page."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from multidict import MultiDict

from harvester.sandbox import helix
from harvester.sandbox.crowd import CLIPPED, STREAMED, crowd_world, many_games
from harvester.sandbox.helix import HelixError
from harvester.sandbox.quirks import ListingQuirks
from harvester.sandbox.world import World


@pytest.fixture(scope="module")
def world() -> World:
    return crowd_world(quirks=ListingQuirks())


def page(world: World, after: str = "", hours: float = 24, **more: str) -> tuple[list[str], str]:
    """Ids of one page of the crowded day (or of the ``hours`` up to its end), and the cursor."""
    end = world.now - timedelta(hours=2)
    window = {"started_at": (end - timedelta(hours=hours)).isoformat(), "ended_at": end.isoformat()}
    query = {"game_id": CLIPPED.id, "first": "100", **window, **more} | ({"after": after} if after else {})
    answer = helix.clips(world, MultiDict(query), "http://127.0.0.1:1")
    return [item["id"] for item in answer["data"]], answer["pagination"].get("cursor", "")


def quirky(world: World, **quirks: Any) -> World:
    return replace(world, quirks=ListingQuirks(**quirks))


def test_crowds_are_what_they_say(world: World) -> None:
    ages = [world.now - clip.created_at for clip in world.clips if clip.game == CLIPPED]
    assert len(ages) == len({clip.id for clip in world.clips if clip.game == CLIPPED}) == 1500
    assert max(ages) - min(ages) <= timedelta(days=1)
    videos = [video for video in world.videos if video.game == STREAMED]
    assert len({video.id for video in videos}) == 700
    assert len(Counter(video.type for video in videos)) == 3
    assert len(Counter(video.language for video in videos)) >= 10
    assert crowd_world().clips == crowd_world().clips


def test_many_games_have_their_share() -> None:
    world = many_games(7, clips=3, videos=2)
    assert len(world.games) == 7
    assert set(Counter(clip.game.id for clip in world.clips).values()) == {3}
    assert set(Counter(video.game.id for video in world.videos).values()) == {2}
    assert len({video.id for video in world.videos}) == 14


def test_after_the_cap_the_listing_ends(world: World) -> None:
    assert page(world, helix.cursor(900))[1] == ""


def test_after_the_cap_clips_repeat_under_new_cursors(world: World) -> None:
    odd = quirky(world, beyond="repeat")
    first, _ = page(odd)
    _, at_cap = page(odd, helix.cursor(900))
    again, beyond = page(odd, at_cap)
    assert again == first
    assert len({at_cap, beyond, page(odd, beyond)[1]}) == 3


def test_after_the_cap_the_cursor_stands_still(world: World) -> None:
    odd = quirky(world, beyond="stuck")
    _, at_cap = page(odd, helix.cursor(900))
    assert page(odd, at_cap)[1] == at_cap


def test_after_the_cap_come_errors_or_empty_pages(world: World) -> None:
    with pytest.raises(HelixError) as caught:
        page(quirky(world, beyond="error", clip_cap=600), helix.cursor(600))
    assert caught.value.status == 500
    ids, after = page(quirky(world, beyond="empty"), helix.cursor(1000))
    assert (ids, bool(after)) == ([], True)


def test_below_the_cap_every_listing_ends(world: World) -> None:
    for beyond in ("repeat", "stuck", "error", "empty"):
        few, after = page(quirky(world, beyond=beyond), hours=0.1)
        assert (0 < len(few) < 100, after) == (True, "")


def test_clips_leak_from_before_the_window(world: World) -> None:
    def oldest(odd: World) -> datetime:
        ids, _ = page(odd, hours=0.5)
        return min(clip.created_at for clip in odd.clips if clip.id in ids)

    start = world.now - timedelta(hours=2.5)
    assert oldest(world) >= start
    assert start - timedelta(minutes=9) <= oldest(quirky(world, leak=timedelta(minutes=9))) < start


def test_wide_windows_lose_clips(world: World) -> None:
    odd = quirky(world, wide_loss=True, clip_cap=100_000)
    wide, narrow = (sum(1 for _ in every(odd, hours)) for hours in (25, 24))
    assert (wide, narrow) == (1000, 1500)


def every(world: World, hours: float) -> list[str]:
    ids, after = page(world, hours=hours)
    while after:
        more, after = page(world, after, hours)
        ids += more
    return ids


def test_pages_may_be_short(world: World) -> None:
    ids, after = page(quirky(world, page=8))
    assert (len(ids), bool(after)) == (8, True)
    with pytest.raises(ValueError, match="no such listings"):
        ListingQuirks(page=0)
