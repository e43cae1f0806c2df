from collections import Counter
from datetime import timedelta

import pytest

from harvester.cli.commands import ERROR_CHARS
from harvester.errors import UsageError
from harvester.model import Codec, VodType
from harvester.sandbox.build import default_world
from harvester.sandbox.category_cases import CATEGORY_CASES, EMPTIED, EMPTIED_AFTER, TWINS
from harvester.sandbox.clip_cases import CASES
from harvester.sandbox.crowd import CLIPPED, NASTY, STREAMED
from harvester.sandbox.scenarios import SCENARIOS
from harvester.sandbox.staging import ALL, faults_of, offered, scenarios_named, with_scenarios

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


@pytest.fixture(scope="module")
def world():
    return with_scenarios(default_world(), [ALL])


def video_of(world, name):
    return next(video for video in world.videos if video.id == BY_NAME[name].id)


def test_names_and_ids_are_unique_and_an_unknown_name_lists_them():
    assert max(Counter(scenario.name for scenario in SCENARIOS).values()) == 1
    assert max(Counter(scenario.id for scenario in SCENARIOS).values()) == 1
    assert scenarios_named(["muted", "muted", "plain"]) == (BY_NAME["plain"], BY_NAME["muted"])
    assert scenarios_named(["all", "plain"]) == (*SCENARIOS, *CATEGORY_CASES)
    assert scenarios_named([]) == ()
    with pytest.raises(UsageError, match=r"no scenario mutd; there are: all, .*muted.*unmuted") as caught:
        scenarios_named(["mutd", "plain"])
    assert len(f"error: {caught.value}") <= ERROR_CHARS


def test_every_name_is_offered_with_what_it_shows_and_what_comes_of_it():
    rows = dict(offered())
    names = {case.name for case in (*SCENARIOS, *CATEGORY_CASES)}
    assert set(rows) == {ALL, *names, *(f"  {case.name}" for case in CASES)}
    told = [text.split(" -> ") for name, text in rows.items() if name != ALL]
    assert all(len(halves) == 2 and all(halves) for halves in told)


def test_the_world_stays_as_it_was_and_gains_a_category_for_each(world):
    before = default_world()
    assert world.videos[: len(before.videos)] == before.videos
    assert world.games[: len(before.games)] == before.games
    assert world.clips[: len(before.clips)] == before.clips
    assert max(Counter(game.id for game in world.games).values()) == 1
    assert max(Counter(channel.id for channel in world.channels).values()) == 1
    assert max(Counter(video.special for video in world.videos).values()) == 1
    for scenario in SCENARIOS:
        found = world.find_videos(lambda video, game=scenario.game: video.game == game)
        assert [video.id for video in found] == [scenario.id]
    assert with_scenarios(before, []) == before
    assert with_scenarios(before, [ALL]) == world


def test_what_stands_beside_the_vods_can_be_had_alone(world):
    before = default_world()
    counts = {"crowded-clips": 1500, "crowded-videos": 700, "same-name": 2, "emptied": 5, "clips": 12}
    assert counts.keys() == {case.name for case in CATEGORY_CASES}
    for name, count in counts.items():
        alone = with_scenarios(before, [name])
        added = alone.videos[len(before.videos) :] + alone.clips[len(before.clips) :]
        assert len(added) == count
        assert {source.game for source in added} == set(alone.games[len(before.games) :])
        assert any(piece.encoded for piece in alone.pieces()) == (name == "clips")
        assert {source.id for source in added} <= {source.id for source in world.videos + world.clips}
    assert {CLIPPED, STREAMED, *TWINS} < set(world.games)
    assert world.quirks == NASTY


def test_a_category_empties_by_the_clock():
    emptied = next(game for game in with_scenarios(default_world(), ["emptied"]).games if game.id == EMPTIED.id)
    start = default_world().now
    assert emptied.listed_at(start + EMPTIED_AFTER - timedelta(seconds=1))
    assert not emptied.listed_at(start + EMPTIED_AFTER)


def test_what_grows_is_live_and_is_there_in_part():
    later = with_scenarios(default_world(), ["growing"])
    growing = video_of(later, "growing")
    assert growing.live
    assert later.listed_s(growing) == growing.duration_s / 2 == 1800
    later.now += timedelta(days=1)
    assert later.ended(growing)
    assert later.listed_s(growing) == 3600


def test_a_bad_line_strikes_one_video_alone(world):
    faults = faults_of(world, [ALL])
    assert faults_of(world, ["plain", "growing"]) == ()
    assert len(faults) == 4
    bad, plain = video_of(world, "bad-line"), video_of(world, "plain")
    for fault in faults:
        assert fault.times == 0
        assert fault.matches("GET", f"/cdn/{bad.distribution}/{bad.special}/chunked/0.ts", "")
        assert not fault.matches("GET", f"/cdn/{plain.distribution}/{plain.special}/chunked/0.ts", "")
    paths = [f"/cdn/{bad.distribution}/{bad.special}/chunked/{number}.ts" for number in range(300)]
    struck = [sum(fault.strikes("GET", path, 1) for path in paths) for fault in faults]
    assert all(15 <= count <= 50 for count in struck)  # a tenth of them each
    assert len({tuple(fault.strikes("GET", path, 1) for path in paths) for fault in faults}) == 4


def test_what_is_gone_is_listed_and_nothing_else(world):
    gone = video_of(world, "gone")
    assert gone in world.find_videos(lambda video: True)
    assert world.video(gone.id) is None
    assert world.playable(gone.id) is None


def test_tokens_and_refusals_follow_the_clock(world):
    later = with_scenarios(default_world(), [ALL])
    fresh, passing, closed = (video_of(later, name) for name in ("fresh", "passing-404", "sub-only"))
    assert later.now - fresh.created_at == timedelta(minutes=2)
    assert later.video(fresh.id) == fresh
    assert later.playable(fresh.id) is None
    assert passing.delivery.refusal_at(later.now).status == 404
    later.now += timedelta(hours=12)
    assert later.playable(fresh.id) == fresh
    assert passing.delivery.refusal_at(later.now) is None
    assert closed.delivery.refusal_at(later.now + timedelta(days=1000)).code == "vod_manifest_restricted"


def test_lengths_are_what_their_segments_add_up_to(world):
    assert video_of(world, "two-days").duration_s == video_of(world, "two-days-restart").duration_s == 48 * 3600
    assert video_of(world, "plain").duration_s == 40
    assert video_of(world, "old-segments").duration_s == pytest.approx(16.016)
    intro = video_of(world, "intro")
    assert [intro.footage_at(at_s)[0].session.name for at_s in (0, 299, 300, 319, 320, 379)] == [
        "starting_soon_A", "starting_soon_A", "black", "black", "black", "black"
    ]  # fmt: skip
    assert intro.footage_at(330)[0].drawing == "menu"
    assert intro.footage_at(380)[0].stamp_category == int(intro.game.id)
    middle = video_of(world, "chapters").chapters[1]
    assert (middle.game_id, middle.start_s, middle.length_s) == (BY_NAME["chapters"].game.id, 40, 40)


def test_what_no_client_can_play_costs_no_encode(world):
    for name in ("sub-only", "unauthorized", "gone", "sound-only", "fresh"):
        assert not any(piece.encoded for piece in video_of(world, name).pieces)


def test_sources_in_other_codecs_have_a_transcode_everyone_reads(world):
    for name, codec in (("hevc", Codec.HEVC), ("av1", Codec.AV1)):
        source, transcode = video_of(world, name).pieces[0].session.files
        assert (source.codec, transcode.codec) == (codec, Codec.H264)
        assert source.height > transcode.height


def test_highlights_have_no_stream():
    world = with_scenarios(default_world(), BY_NAME)
    kinds = {video.type for video in world.videos if video.stream_id is None}
    assert kinds == {VodType.HIGHLIGHT}
