import itertools
import json
from dataclasses import replace

import numpy as np
import pytest

from harvester.sandbox import reels as reels_module
from harvester.sandbox.build import world_from_index
from harvester.sandbox.delivery import PTS_WRAP_S, Delivery
from harvester.sandbox.footage import FootageFile
from harvester.sandbox.reels import MediaReels
from harvester.sandbox.stamp import read_stamp
from harvester.sandbox.world import Coding, Cutting
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


def delivered(world, login, **fields):
    return replace(by_login(world, login), delivery=Delivery(**fields))


def test_listed_times_err_as_they_are_meant_to_and_pictures_do_not(tiny_index):
    world = world_from_index(tiny_index)
    video = delivered(world, "ann", extinf_errors_s=(0.008, -0.0204), first_pts_s=500.0)
    reels = MediaReels(world)
    entries = reels.entries(video, 180)
    assert [item.duration_s for item in entries] == [4.008, 3.98, 4.008]
    assert [item.start_s for item in entries] == [0.0, 4.008, 7.988]
    times = [decoded(reels.segment(video, 180, number))[0][0] for number in range(3)]
    assert times == pytest.approx([500.0, 504.0, 508.0])
    restarting = delivered(world, "ann", pts_mode="restart")
    assert decoded(MediaReels(world).segment(restarting, 180, 2))[0][0] == pytest.approx(10.0)


def test_what_is_shown_at_any_time_is_what_the_segment_holds_there(tmp_path, tiny_index):
    """In a pool of segments that wraps and repeats, with EXTINF that errs."""
    world = world_from_index(tiny_index, multiply=2, stamped=True)
    video = by_login(world, "cleo")
    cutting, delivery = Cutting(10.0, rolling=True, repeats=2), Delivery(extinf_errors_s=(0.01, 0.003))
    video = replace(video, container="ts", cutting=cutting, delivery=delivery)
    reels = MediaReels(world, tmp_path)
    entries = reels.entries(video, 180)
    assert len(entries) == 12
    assert video.duration_s == 120
    for number, item in enumerate(entries):
        found = decoded(reels.segment(video, 180, number))
        for time, luma in found:
            piece, moment_s = reels.shown_at(video, 180, item.start_s + time - found[0][0])
            assert read_stamp(luma).moment_ms == round(1000 * moment_s)
            assert piece == video.pieces[0]
    for outside in (-0.1, entries[-1].start_s + entries[-1].duration_s):
        with pytest.raises(ValueError, match="nothing"):
            reels.shown_at(video, 180, outside)


def test_time_stamps_run_through_the_end_of_33_bits(tiny_index):
    world = world_from_index(tiny_index)
    video = delivered(world, "ann", first_pts_s=PTS_WRAP_S - 5.0)
    raw = MediaReels(world).segment(video, 180, 1)  # from one second before the end to three after it
    stamps = sorted(set(pes_times(raw)))
    assert stamps[0] < 4 * 90_000 < 2**33 - 2 * 90_000 < stamps[-1] < 2**33


def pes_times(data):
    """Presentation times (90 kHz) out of the PES headers of an MPEG-TS (ISO/IEC 13818-1 §2.4.3.7)."""
    at = data.find(b"\x00\x00\x01\xe0")
    while at >= 0:
        a, b, c, d, e = data[at + 9 : at + 14]
        yield (a >> 1 & 7) << 30 | b << 22 | (c >> 1) << 15 | d << 7 | e >> 1
        at = data.find(b"\x00\x00\x01\xe0", at + 4)


def test_pieces_of_other_sizes_share_a_rendition_and_portraits_are_named(tmp_path, tiny_index):
    world = world_from_index(tiny_index)
    video = by_login(world, "ann")
    session = video.pieces[0].session
    path = session.files[0].path
    files = (FootageFile(path, 320, 180, 0), FootageFile(path, 180, 320, 0))
    tall = replace(video.pieces[0], session=replace(session, files=files), coding=Coding())
    reels = MediaReels(world, tmp_path)
    infos = reels.renditions(replace(video, pieces=(tall,)))
    assert [(info.folder, info.width, info.height, info.portrait) for info in infos] == [
        ("chunked", 320, 180, False),
        ("180p6-portrait", 180, 320, True),
    ]
