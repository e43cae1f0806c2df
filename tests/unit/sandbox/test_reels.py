import itertools
import json
from dataclasses import replace

import numpy as np
import pytest

from harvester.sandbox import reels as reels_module
from harvester.sandbox.build import world_from_index
from harvester.sandbox.reels import MediaReels
from harvester.sandbox.stamp import read_stamp
from tests.unit.sandbox.conftest import FPS, decoded, entry, make_video


def by_login(world, login):
    return next(video for video in world.videos if video.channel.login == login)


def test_segments_are_whole_gops_and_fill_the_video(tiny_index):
    world = world_from_index(tiny_index)
    reels = MediaReels(world)
    for video in world.videos:
        entries = reels.entries(video, 180)
        assert sum(entry.duration_s for entry in entries) == video.duration_s
        assert [entry.start_s for entry in entries] == [4.0 * n for n in range(len(entries))]
        assert all(entry.duration_s == 4 for entry in entries)
        for number in (-1, len(entries)):
            with pytest.raises(IndexError):
                reels.segment(video, 180, number)


@pytest.mark.parametrize(("mode", "first"), [("rising", 10.0 + 8.0), ("restart", 10.0)])
def test_timestamps_rise_or_restart(tiny_index, mode, first):
    world = world_from_index(tiny_index, pts_mode=mode)
    reels = MediaReels(world)
    video = by_login(world, "ann")
    assert decoded(reels.segment(video, 180, 2))[0][0] == pytest.approx(first)


def test_every_picture_of_every_segment_is_the_one_the_world_promises(tiny_index):
    world = world_from_index(tiny_index)
    reels = MediaReels(world)
    assert {video.container for video in world.videos} == {"ts", "fmp4"}
    for video in world.videos:
        source = {piece: decoded(piece.session.files[0].path) for piece in video.pieces}
        for number, item in enumerate(reels.entries(video, 180)):
            init = reels.init(video, 180, item.init) if video.container == "fmp4" else b""
            found = decoded(init + reels.segment(video, 180, number))
            for time, luma in found:
                piece, second = video.footage_at(item.start_s + time - found[0][0] + 1e-3)
                assert np.array_equal(luma, source[piece][int(second * FPS)][1])


def test_clips_hold_their_stretch_of_the_footage(tiny_index):
    world = world_from_index(tiny_index)
    reels = MediaReels(world)
    for clip in world.clips:
        source = decoded(clip.piece.session.files[0].path)
        found = decoded(reels.clip(clip, 180))
        assert len(found) == clip.duration_s * FPS
        assert np.array_equal(found[0][1], source[int(clip.start_s * FPS)][1])


def test_a_change_of_picture_size_is_a_discontinuity_with_an_init_section_of_its_own(tiny_index):
    make_video(tiny_index.parent / "wide.mp4", 50, width=192, height=108, seconds=4)
    sessions = [entry("alpha", "G", "ann"), entry("wide", None, "ann", seconds=4, width=192, height=108)]
    index = tiny_index.parent / "wide.json"
    index.write_text(json.dumps(sessions))
    world = world_from_index(index)
    video = replace(world.videos[0], container="fmp4")
    reels = MediaReels(world)
    entries = reels.entries(video, 180)
    assert [item.init for item in entries] == [0, 1, 1, 1]
    assert [item.discontinuity for item in entries] == [False, True, False, False]
    shapes = [
        decoded(reels.init(video, 180, item.init) + reels.segment(video, 180, n))[0][1].shape
        for n, item in enumerate(entries)
    ]
    assert shapes == [(108, 192), (180, 320), (180, 320), (180, 320)]
    with pytest.raises(IndexError):
        reels.init(video, 180, 2)


def test_a_multiplied_and_stamped_world_proves_which_picture_was_delivered(tmp_path, tiny_index):
    world = world_from_index(tiny_index, multiply=2, stamped=True)
    reels = MediaReels(world, tmp_path / "cache")
    assert reels.prepare() == 8  # three sessions and the junk of one, in two looks
    assert MediaReels(world, tmp_path / "cache").prepare() == 0
    game = {video.id: int(video.game.id) for video in world.videos}
    video = by_login(world, "bob")
    heads = []
    for number, item in enumerate(reels.entries(video, 180)):
        assert len(item.gops) == 5 or item.piece == 0
        found = decoded(reels.segment(video, 180, number))
        stamp = read_stamp(found[0][1])
        piece, second = video.footage_at(item.start_s)
        assert stamp == type(stamp)(game[video.id], piece.number, round(second * 1000))
        heads.append((stamp.session, stamp.moment_ms))
        later = video.footage_at(item.start_s + 7 / FPS)[1]
        assert read_stamp(found[7][1]).moment_ms == round(1000 * later)
    assert len(set(heads)) == len(heads) == 8


def test_looks_differ_in_their_pictures(tmp_path, tiny_index):
    world = world_from_index(tiny_index, multiply=3)
    reels = MediaReels(world, tmp_path)
    videos = [video for video in world.videos if video.channel.login == "ann"]
    first = [decoded(reels.segment(video, 180, 0))[0][1].astype(int) for video in videos]
    assert all(np.abs(a - b).max() > 5 for a, b in itertools.combinations(first, 2))


def test_memory_is_bounded(tiny_index, monkeypatch):
    monkeypatch.setattr(reels_module, "KEPT_BYTES", 5000)
    world = world_from_index(tiny_index)
    reels = MediaReels(world)
    once = {(v.id, n): reels.segment(v, 180, n) for v in world.videos for n in range(3)}
    assert reels._kept_bytes == sum(map(len, reels._kept.values()))
    assert len(reels._kept) == 1 or reels._kept_bytes <= 5000
    assert all(reels.segment(world.video(key[0]), 180, key[1]) == data for key, data in once.items())


def test_renditions_of_the_package_are_described_truly():
    from harvester.sandbox.build import default_world

    world = default_world()
    reels = MediaReels(world)
    video = world.videos[0]
    source, small = reels.renditions(video)
    assert (source.folder, source.width, source.height, source.fps) == ("chunked", 1280, 720, 12.0)
    assert (small.folder, small.width, small.height) == ("360p12", 640, 360)
    heaviest = max(len(reels.segment(video, 720, n)) * 8 / 2 for n in range(11))
    assert heaviest == pytest.approx(source.bandwidth, rel=0.15)
    assert reels.height_of(video, "audio_only") == 0
    assert reels.height_of(video, "360p12") == 360
    assert reels.height_of(video, "1080p60") is None
