import json
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from harvester.sandbox.build import DEFAULT_NOW, EMPTY_GAME, default_world, world_from_index
from harvester.sandbox.world import Game, Look, split_of
from tests.unit.sandbox.conftest import entry


@pytest.fixture(scope="module")
def world():
    return default_world()


def test_the_same_seed_gives_the_same_world_and_another_seed_another(world):
    assert default_world() == world
    other = default_world(seed="else")
    assert not {v.id for v in other.videos} & {v.id for v in world.videos}
    assert not {c.id for c in other.clips} & {c.id for c in world.clips}
    assert [v.created_at for v in other.videos] != [v.created_at for v in world.videos]


def test_later_footage_does_not_change_what_was_there(tmp_path, tiny_index):
    sessions = json.loads(tiny_index.read_text())
    (tiny_index.parent / "more.json").write_text(json.dumps([*sessions, entry("gamma", "Third", "dan")]))
    before, after = world_from_index(tiny_index), world_from_index(tiny_index.parent / "more.json")
    assert after.videos[: len(before.videos)] == before.videos


def test_every_game_trains_and_every_split_has_a_channel(world):
    splits = defaultdict(set)
    for video in world.videos:
        splits[video.game.id].add(split_of(video.channel.id))
    assert all("train" in found for found in splits.values())
    assert set.union(*splits.values()) == {"train", "validation", "test"}


def test_split_rule_is_the_contracts():
    import hashlib

    for number in range(200):
        share = int(hashlib.sha256(f"split:{number}".encode()).hexdigest()[:16], 16) / 2**64
        expected = "train" if share < 0.8 else "validation" if share < 0.9 else "test"
        assert split_of(str(number)) == expected


def test_a_derived_session_shares_the_split_of_its_origin(tiny_index):
    sessions = json.loads(tiny_index.read_text())
    sessions += [
        entry("alpha", "First Game", f"copycat{n}", session=f"copy{n}", derived_from="beta") for n in range(4)
    ]
    index = tiny_index.parent / "derived.json"
    index.write_text(json.dumps(sessions))
    world = world_from_index(index)
    split = {channel.login: split_of(channel.id) for channel in world.channels}
    assert {split[f"copycat{n}"] for n in range(4)} == {split["bob"]}
    assert split["bob"] != "train"


def test_junk_stands_in_front_of_its_channels_video_only(tiny_index):
    world = world_from_index(tiny_index)
    shown = {video.channel.login: [piece.session.name for piece in video.pieces] for video in world.videos}
    assert shown == {"ann": ["alpha"], "bob": ["soon", "beta"], "cleo": ["gamma"]}
    video = next(video for video in world.videos if video.channel.login == "bob")
    assert video.duration_s == 16
    assert video.footage_at(3.5) == (video.pieces[0], 3.5)
    assert video.footage_at(4) == (video.pieces[1], 0)
    for outside in (-0.1, 16):
        with pytest.raises(ValueError, match="nothing"):
            video.footage_at(outside)


def test_ids_are_unique_and_look_like_twitchs(world):
    for ids in ([g.id for g in world.games], [c.id for c in world.channels], [v.id for v in world.videos]):
        assert len(set(ids)) == len(ids)
        assert all(number.isdigit() for number in ids)
    slugs = [clip.id for clip in world.clips]
    assert len(set(slugs)) == len(slugs) == 20
    assert len({video.special for video in world.videos}) == len(world.videos)


def test_clips_lie_inside_their_video_on_keyframes(world):
    by_id = {video.id: video for video in world.videos}
    assert any(not clip.video_id for clip in world.clips)
    for clip in world.clips:
        assert clip.start_s % 2 == 0
        assert clip.start_s + clip.duration_s <= clip.piece.session.seconds
        assert clip.created_at <= world.now
        if clip.video_id:
            piece, second = by_id[clip.video_id].footage_at(clip.vod_offset_s)
            assert (piece, second) == (clip.piece, clip.start_s)
        else:
            assert clip.vod_offset_s is None


def test_some_titles_are_awkward_and_both_containers_served(world):
    titles = "".join(video.title for video in world.videos)
    assert "</script>" in titles
    assert "\u202e" in titles
    assert "\x1b" in titles
    assert max(len(video.title) for video in world.videos) > 200
    assert {video.container for video in world.videos} == {"ts", "fmp4"}
    assert {video.type.value for video in world.videos} >= {"archive", "highlight"}


def test_what_is_younger_than_now_does_not_exist(world):
    early = replace(world, now=DEFAULT_NOW - timedelta(days=10))
    seen = early.find_videos(lambda video: True)
    assert 0 < len(seen) < len(world.videos)
    assert [v.created_at for v in seen] == sorted((v.created_at for v in seen), reverse=True)
    hidden = {video.id for video in world.videos} - {video.id for video in seen}
    assert all(early.video(number) is None and world.video(number) is not None for number in hidden)
    assert any(early.clip(clip.id) is None for clip in world.clips)
    assert world.clip(world.clips[0].id.swapcase()) is None


def test_multiplied_videos_have_long_segments_with_different_heads(tiny_index):
    world = world_from_index(tiny_index, multiply=3)
    assert len(world.videos) == 9
    first, second, third = (v for v in world.videos if v.channel.login == "ann")
    assert first.pieces[0].look is None
    assert second.pieces[0].look != third.pieces[0].look
    assert first.duration_s == 60  # six GOPs, each heads a segment of ten seconds
    assert [first.footage_at(10 * k)[1] for k in range(6)] == [0, 2, 4, 6, 8, 10]
    assert first.footage_at(55)[1] == 3  # runs on past the end of the footage


def test_extra_games_and_the_empty_one_have_no_source(world):
    twin = Game("77", world.games[0].name, "twin")
    bigger = default_world(extra_games=[twin])
    assert [game for game in bigger.games if game.name == twin.name] == [world.games[0], twin]
    assert EMPTY_GAME in world.games
    assert not world.find_videos(lambda video: video.game == EMPTY_GAME)


def test_impossible_values_are_refused(tiny_index):
    with pytest.raises(ValueError, match="multiply"):
        default_world(multiply=0)
    with pytest.raises(ValueError, match="aware"):
        default_world(now=datetime(2026, 1, 1, tzinfo=UTC).replace(tzinfo=None))
    with pytest.raises(ValueError, match="crop"):
        Look(0.5, 0, 0.6, False, (0, 0))
