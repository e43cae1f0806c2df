import os
import tempfile
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from harvester.model import Codec
from harvester.sandbox.encodes import Encodes, draw_menu, private_folder
from harvester.sandbox.footage import FootageFile, read_index
from harvester.sandbox.media import Reel
from harvester.sandbox.stamp import Stamp, read_stamp
from harvester.sandbox.world import Coding, Piece
from tests.unit.sandbox.conftest import FPS, decoded


@pytest.fixture
def piece(tiny_index):
    session = replace(read_index(tiny_index)[0], seconds=4.0)
    return Piece(session, 7, stamp_category=11, coding=Coding())


def resized(piece, *sizes):
    path = piece.session.files[0].path
    files = tuple(FootageFile(path, width, height, 0, codec) for width, height, codec in sizes)
    return replace(piece, session=replace(piece.session, files=files))


@pytest.mark.parametrize("codec", list(Codec))
def test_each_codec_gives_closed_gops_of_the_length_asked_for(tmp_path, piece, codec):
    piece = replace(resized(piece, (320, 180, codec)), coding=Coding(Fraction(10), gop_frames=15))
    reel = Reel(Encodes(tmp_path).path(piece, 180))
    assert reel.codec is codec
    assert [reel.seconds(number) for number in range(len(reel.gops))] == pytest.approx([1.5, 1.5, 1.0])
    assert [reel.start_s(number) for number in range(3)] == pytest.approx([0, 1.5, 3.0])
    for number in range(3):  # decoded alone, so nothing refers to what came before
        found = decoded(reel.init() + reel.fragment([number], 0))
        stamps = [read_stamp(luma) for _, luma in found]
        first_ms = round(1500 * number)
        assert stamps == [Stamp(11, 7, first_ms + 100 * n) for n in range(len(found))]


def test_files_differ_where_the_recipe_does_and_only_there(tmp_path, piece):
    encodes = Encodes(tmp_path)
    ladder = resized(piece, (320, 180, Codec.H264), (480, 270, Codec.H264))
    assert encodes.prepare([ladder, ladder]) == 2
    assert encodes.prepare([ladder, resized(piece, (320, 180, Codec.H264))]) == 0
    again = [
        replace(ladder, number=8),
        replace(ladder, stamp_category=12),
        replace(ladder, coding=Coding(gop_frames=5)),
        replace(ladder, drawing="menu"),
        replace(ladder, session=replace(ladder.session, seconds=2.0)),
        resized(piece, (320, 180, Codec.AV1)),
    ]
    assert encodes.prepare(again) == 11
    assert encodes.prepare([replace(piece, coding=None, stamp_category=None)]) == 0  # the footage itself
    assert not list(tmp_path.glob("*.*.mp4")), "nothing unfinished stays"


def test_the_users_own_folder_is_shared_and_private(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = private_folder()
    assert (folder.parent, folder.stat().st_mode & 0o777) == (tmp_path, 0o700)
    assert private_folder() == folder


@pytest.mark.parametrize("trap", ["open to others", "link", "dangling link", "file"])
def test_a_folder_that_others_may_have_made_is_not_used(tmp_path, monkeypatch, trap):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = private_folder()
    folder.rmdir()
    elsewhere = tmp_path / "elsewhere"
    if trap == "open to others":
        folder.mkdir()
        folder.chmod(0o755)
    elif trap == "file":
        folder.touch(0o700)
    else:
        folder.symlink_to(elsewhere)
        if trap == "link":
            elsewhere.mkdir(mode=0o700)
    found = private_folder()
    assert (found.parent, found.stat().st_mode & 0o777) == (tmp_path, 0o700)
    assert found not in (folder, elsewhere)


def test_a_folder_of_another_user_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = private_folder()
    owner = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    assert private_folder() != folder


def test_a_failed_encode_leaves_nothing(tmp_path, piece):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    session = replace(piece.session, files=(FootageFile(broken, 320, 180, 0),))
    with pytest.raises(Exception, match="Invalid data"):
        Encodes(tmp_path / "cache").path(replace(piece, session=session), 180)
    assert not list((tmp_path / "cache").iterdir())


def test_a_menu_stands_still(tmp_path, piece):
    pictures = decoded(Encodes(tmp_path).path(replace(piece, drawing="menu"), 180))
    assert len(pictures) == 4 * FPS
    wanted = np.zeros((180, 320), np.uint8)
    draw_menu(wanted)
    assert wanted.std() > 20
    assert all(np.abs(luma.astype(int) - wanted).mean() < 4 for _, luma in pictures)
