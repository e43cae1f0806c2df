from collections import Counter
from datetime import timedelta

import pytest

from harvester.errors import UsageError
from harvester.model import Codec, VodType
from harvester.sandbox.build import default_world
from harvester.sandbox.clip_cases import CASES
from harvester.sandbox.scenarios import ALL, SCENARIOS, scenarios_named
from harvester.sandbox.staging import with_scenarios

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
    assert scenarios_named(["all", "plain"]) == SCENARIOS
    assert scenarios_named([]) == ()
    with pytest.raises(UsageError, match=r"no scenario mutd; there are: all, .*muted.*unmuted"):
        scenarios_named(["mutd", "plain"])


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


def test_the_clip_cases_can_be_seen_alone_and_with_all(world):
    before = default_world()
    clips = with_scenarios(before, ["clips"])
    assert clips.videos == before.videos
    for staged in (clips, world):
        added = staged.clips[len(before.clips) :]
        assert {clip.game.name for clip in added} == {case.game_name for case in CASES}
        assert {clip.game for clip in added} <= set(staged.games)
    assert with_scenarios(before, ["plain"]).clips == before.clips


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


def test_highlights_have_no_stream(world):
    kinds = {video.type for video in world.videos if video.stream_id is None}
    assert kinds == {VodType.HIGHLIGHT}
