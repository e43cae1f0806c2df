from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import MultiDict

from harvester.sandbox import helix
from harvester.sandbox.build import default_world
from harvester.sandbox.delivery import Delivery
from harvester.sandbox.helix import HelixError
from harvester.sandbox.world import Cutting

ORIGIN = "http://127.0.0.1:1"


@pytest.fixture(scope="module")
def world():
    return default_world()


def ask(endpoint, world, *pairs):
    return helix.ENDPOINTS[endpoint](world, MultiDict(pairs), ORIGIN)


def pages(endpoint, world, *pairs):
    """All items, page by page, and how many pages there were."""
    items, after, count = [], [], 0
    while True:
        answer = ask(endpoint, world, *pairs, *after)
        items += answer["data"]
        count += 1
        if not answer["pagination"]:
            return items, count
        after = [("after", answer["pagination"]["cursor"])]


def crowded(world, count):
    """A world with ``count`` videos and clips of the first game."""
    video, clip = world.videos[0], world.clips[0]
    hour = timedelta(hours=1)
    return replace(
        world,
        videos=tuple(replace(video, id=str(n), created_at=world.now - n * hour) for n in range(count)),
        clips=tuple(replace(clip, id=f"c{n}", views=n, created_at=world.now - n * hour) for n in range(count)),
    )


def test_games_by_id_name_and_igdb_id_and_the_unknown_left_out(world):
    first, second, third = world.games[:3]
    answer = ask("games", world, ("id", first.id), ("name", second.name), ("igdb_id", third.igdb_id), ("id", "1"))
    assert {game["id"] for game in answer["data"]} == {first.id, second.id, third.id}
    assert ask("games", world, ("name", first.name.upper()))["data"] == []
    assert "{width}x{height}" in answer["data"][0]["box_art_url"]


def test_of_two_games_with_one_name_one_comes_back_but_search_finds_both(world):
    twin = replace(world.games[0], id="77")
    both = replace(world, games=(*world.games, twin))
    assert [game["id"] for game in ask("games", both, ("name", twin.name))["data"]] == [world.games[0].id]
    assert len(ask("search/categories", both, ("query", twin.name.lower()))["data"]) == 2


def test_top_games_by_viewers(world):
    viewers = {game.id: game.viewers for game in world.games}
    items, count = pages("games/top", world, ("first", "2"))
    assert count == 3
    assert [viewers[item["id"]] for item in items] == sorted(viewers.values(), reverse=True)


def test_search_needs_every_word(world):
    names = [item["name"] for item in ask("search/categories", world, ("query", "TUX kart"))["data"]]
    assert names == ["SuperTuxKart"]
    assert ask("search/categories", world, ("query", "tux chess"))["data"] == []


def test_videos_page_without_loss_and_end_at_500(world):
    items, count = pages("videos", crowded(world, 30), ("game_id", world.games[0].id), ("first", "7"))
    assert [item["id"] for item in items] == [str(n) for n in range(30)]
    assert count == 5
    items, _ = pages("videos", crowded(world, 620), ("game_id", world.games[0].id), ("first", "100"))
    assert [item["id"] for item in items] == [str(n) for n in range(500)]


def test_clips_end_at_1000_most_views_first(world):
    items, _ = pages("clips", crowded(world, 1010), ("game_id", world.games[0].id), ("first", "100"))
    assert [item["view_count"] for item in items] == list(range(1009, 9, -1))


def test_video_filters(world):
    many = crowded(world, 24 * 40)
    game = ("game_id", world.games[0].id)
    assert len(pages("videos", many, game, ("first", "100"), ("period", "day"))[0]) == 25
    assert len(pages("videos", many, game, ("first", "100"), ("period", "week"))[0]) == 7 * 24 + 1
    video = world.videos[0]
    for key, value in (("language", video.language), ("type", video.type.value), ("sort", "views")):
        assert video.id in {
            v["id"] for v in ask("videos", world, ("game_id", video.game.id), (key, value))["data"]
        }
    for key, value in (("language", "xx"), ("type", "upload")):
        assert ask("videos", world, ("game_id", video.game.id), (key, value))["data"] == []
    assert [v["id"] for v in ask("videos", world, ("user_id", video.channel.id))["data"]] == [video.id]


def test_videos_by_id_leave_out_the_unknown_and_404_when_all_are(world):
    known = world.videos[3].id
    assert [v["id"] for v in ask("videos", world, ("id", known), ("id", "5"))["data"]] == [known]
    with pytest.raises(HelixError) as caught:
        ask("videos", world, ("id", "5"))
    assert caught.value.status == 404


def test_clip_windows(world):
    many = crowded(world, 100)
    game = ("game_id", world.games[0].id)
    start = world.now - timedelta(hours=10)

    def numbers(*pairs):
        return sorted(int(item["id"][1:]) for item in pages("clips", many, game, *pairs)[0])

    window = ("started_at", start.isoformat()), ("ended_at", (start + timedelta(hours=4)).isoformat())
    assert numbers(*window) == [7, 8, 9, 10]
    assert numbers(("started_at", (start - timedelta(days=3)).isoformat())) == list(range(83))
    late = start + timedelta(minutes=7)
    assert 10 in numbers(("started_at", late.isoformat()), ("ended_at", world.now.isoformat()))


def test_clips_by_id_and_broadcaster(world):
    clip = world.clips[0]
    found = ask("clips", world, ("id", clip.id), ("id", "nope"))["data"]
    assert [item["id"] for item in found] == [clip.id]
    owned = ask("clips", world, ("broadcaster_id", clip.channel.id))["data"]
    assert {item["broadcaster_id"] for item in owned} == {clip.channel.id}


@pytest.mark.parametrize(
    ("endpoint", "pairs", "status"),
    [
        ("games", [], 400),
        ("games", [("id", str(n)) for n in range(101)], 400),
        ("videos", [], 400),
        ("videos", [("game_id", "1"), ("user_id", "2")], 400),
        ("videos", [("game_id", "1")], 404),
        ("videos", [("user_id", "1"), ("period", "year")], 400),
        ("videos", [("user_id", "1"), ("type", "premiere")], 400),
        ("videos", [("user_id", "1"), ("first", "101")], 400),
        ("videos", [("user_id", "1"), ("first", "0")], 400),
        ("videos", [("user_id", "1"), ("after", "???")], 400),
        ("clips", [("game_id", "1")], 404),
        ("clips", [("broadcaster_id", "1"), ("before", "x")], 400),
        ("clips", [("broadcaster_id", "1"), ("started_at", "yesterday")], 400),
        ("search/categories", [], 400),
    ],
)
def test_bad_queries_are_refused(world, endpoint, pairs, status):
    with pytest.raises(HelixError) as caught:
        ask(endpoint, world, *pairs)
    assert caught.value.status == status


texts = st.text(max_size=12) | st.datetimes().map(lambda d: d.isoformat() + "Z") | st.integers().map(helix.cursor)


@given(
    st.sampled_from(sorted(helix.ENDPOINTS)),
    st.lists(
        st.tuples(
            st.sampled_from(
                ["id", "user_id", "broadcaster_id", "first", "after", "started_at", "ended_at", "query", "period"]
            ),
            texts,
        ),
        max_size=4,
    ),
)
def test_any_query_gives_an_answer_or_a_refusal(endpoint, pairs):
    world = default_world()
    try:
        assert "data" in ask(endpoint, world, *pairs)
    except HelixError as error:
        assert error.status in (400, 404)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (45.9, "45s"), (201, "3m21s"), (3600, "1h0m0s"), (11313, "3h8m33s")]
)
def test_durations_as_helix_writes_them(seconds, text):
    assert helix.duration_text(seconds) == text


def test_a_muted_stretch_is_told_and_none_is_null(world):
    video = world.videos[0]
    muted = replace(video, cutting=Cutting(10.0), delivery=Delivery(muted=range(2, 5)))
    both = replace(world, videos=(muted, world.videos[1]))
    answer = ask("videos", both, ("id", muted.id), ("id", world.videos[1].id))
    assert [item["muted_segments"] for item in answer["data"]] == [[{"offset": 20, "duration": 30}], None]


def test_listings_that_empty_by_the_clock_still_tell_what_is_asked_for_by_id(world):
    noon = world.now + timedelta(hours=9)
    game = replace(world.games[0], empty_from=noon)
    later = replace(world, games=(game, *world.games[1:]))
    listings = [("videos", ("game_id", game.id)), ("clips", ("game_id", game.id))]
    assert all(ask(endpoint, later, query)["data"] for endpoint, query in listings)
    later.now = noon
    assert [ask(endpoint, later, query) for endpoint, query in listings] == [{"data": [], "pagination": {}}] * 2
    video = next(video for video in later.videos if video.game.id == game.id)
    assert ask("videos", later, ("id", video.id))["data"]
    assert ask("videos", later, ("game_id", world.games[1].id))["data"]


def test_streams_are_the_broadcasts_that_go_on(world):
    archive = next(video for video in world.videos if video.stream_id)
    live = replace(archive, live=True, created_at=world.now - timedelta(seconds=archive.duration_s / 2))
    other = next(video for video in world.videos if video.channel != live.channel)
    on_air = replace(world, videos=(live, other))
    (item,) = ask("streams", on_air)["data"]
    assert (item["id"], item["user_id"], item["game_id"]) == (live.stream_id, live.channel.id, live.game.id)
    assert ask("streams", on_air, ("user_id", other.channel.id), ("user_id", live.channel.id))["data"] == [item]
    assert ask("streams", on_air, ("user_id", other.channel.id))["data"] == []
    assert ask("streams", on_air, ("game_id", "0"))["data"] == []
    on_air.now += timedelta(seconds=archive.duration_s)
    assert ask("streams", on_air)["data"] == []
