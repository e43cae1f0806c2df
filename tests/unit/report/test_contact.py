"""The contact sheet: the right pictures at the right places, the same every time, whole or not there."""

from __future__ import annotations

import random
from pathlib import Path

import cv2
import numpy as np
import pytest

from harvester.errors import MachineError
from harvester.report.contact import MAX_CATEGORIES, TILE_HEIGHT, TILE_WIDTH, ascii_fold, contact_sheet, pick

LABEL, GAP = 28, 4
ROW = LABEL + TILE_HEIGHT + GAP


def picture(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (640, 360)) -> Path:
    """A PNG of one colour (BGR), so that nothing but its place can differ."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = cv2.imencode(".png", np.full((size[1], size[0], 3), colour, np.uint8))[1]
    path.write_bytes(bytes(data))
    return path


def sheet(path: Path) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)


def tile(image: np.ndarray, row: int, place: int) -> np.ndarray:
    """The tile's own pixels, away from its edge, which JPEG's blocks of 16 pixels blur."""
    top, left = row * ROW + LABEL, GAP + place * (TILE_WIDTH + GAP)
    return image[top + 16 : top + TILE_HEIGHT - 16, left + 16 : left + TILE_WIDTH - 16].astype(int)


def is_colour(pixels: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool(np.abs(pixels - np.array(colour)).max() <= 6)


RED, BLUE, GREEN = (60, 60, 180), (180, 60, 60), (60, 180, 60)


def test_each_category_is_a_row_under_its_label_in_the_order_given(tmp_path):
    red, blue = picture(tmp_path / "r.png", RED), picture(tmp_path / "b.png", BLUE)
    out = tmp_path / "sheet.jpg"
    assert contact_sheet([("Red", [red]), ("Blue", [blue])], out, per_category=2) == out
    image = sheet(out)
    assert image.shape == (2 * ROW, 2 * (TILE_WIDTH + GAP) + GAP, 3)
    assert is_colour(tile(image, 0, 0), RED)
    assert is_colour(tile(image, 1, 0), BLUE)
    assert is_colour(tile(image, 0, 1), (24, 24, 24))  # no second picture: paper
    for row in range(2):
        label = image[row * ROW + 8 : row * ROW + LABEL - 6]
        assert label[:, :100].max() > 200
        assert label[:, 100:].max() < 60  # three or four letters, no more


def test_a_picture_of_another_shape_is_letterboxed(tmp_path):
    square = picture(tmp_path / "g.png", GREEN, size=(50, 50))
    contact_sheet([("Square", [square])], tmp_path / "sheet.jpg")
    pixels = tile(sheet(tmp_path / "sheet.jpg"), 0, 0)
    side = (TILE_WIDTH - TILE_HEIGHT) // 2 - 16
    assert is_colour(pixels[:, side + 16 : -side - 16], GREEN)
    assert is_colour(pixels[:, : side - 16], (48, 48, 48))
    assert is_colour(pixels[:, -side + 16 :], (48, 48, 48))


def test_which_frames_are_shown_depends_on_seed_and_names_alone(tmp_path):
    files = [tmp_path / f"{n:02}.jpg" for n in range(40)]
    shuffled = random.Random(1).sample(files, len(files))
    chosen = pick(files, 8, "seed")
    assert len(set(chosen)) == 8
    assert chosen == sorted(chosen) == pick(shuffled, 8, "seed")
    assert chosen == [tmp_path / p.name for p in pick([Path("/elsewhere") / f.name for f in files], 8, "seed")]
    assert chosen != pick(files, 8, "another seed")
    assert chosen != files[:8]
    assert pick(files[:3], 8, "seed") == files[:3]


def test_the_same_pictures_make_the_same_bytes(tmp_path):
    files = [picture(tmp_path / f"{n}.png", (n * 20, 0, 0)) for n in range(12)]
    once, again = tmp_path / "1.jpg", tmp_path / "2.jpg"
    contact_sheet([("x", files)], once)
    contact_sheet([("x", files[::-1])], again)
    assert once.read_bytes() == again.read_bytes()


def test_an_unreadable_picture_leaves_its_place_grey(tmp_path):
    broken, empty = tmp_path / "1.jpg", tmp_path / "2.jpg"
    broken.write_bytes(b"\xff\xd8 no picture")
    empty.write_bytes(b"")
    files = [broken, empty, tmp_path / "3-is-not-there.jpg", picture(tmp_path / "4.png", RED)]
    contact_sheet([("x", files)], tmp_path / "sheet.jpg")
    image = sheet(tmp_path / "sheet.jpg")
    assert [is_colour(tile(image, 0, place), (48, 48, 48)) for place in range(3)] == [True] * 3
    assert is_colour(tile(image, 0, 3), RED)


def test_nothing_to_show_writes_nothing(tmp_path):
    assert contact_sheet([], tmp_path / "sheet.jpg") is None
    assert contact_sheet([("empty", [])], tmp_path / "sheet.jpg") is None
    assert list(tmp_path.iterdir()) == []


def test_a_thousand_categories_are_cut_with_a_word(tmp_path):
    red = picture(tmp_path / "r.png", RED, size=(16, 9))
    contact_sheet([(f"{n}", [red]) for n in range(MAX_CATEGORIES + 3)], tmp_path / "sheet.jpg", per_category=1)
    image = sheet(tmp_path / "sheet.jpg")
    assert image.shape[0] == MAX_CATEGORIES * ROW + LABEL
    assert image[-LABEL:].max() > 180


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Pokémon Açaí", "Pokemon Acai"),
        ("原神", "??"),
        ("Ｆｕｌｌ", "Full"),
        ("a\x1b[2J\u202eb\nc", "a[2Jb c"),
        ("", ""),
    ],
)
def test_labels_are_folded_to_what_can_be_drawn(text, folded):
    assert ascii_fold(text) == folded


def test_a_long_or_hostile_label_neither_fails_nor_leaves_its_strip(tmp_path):
    red = picture(tmp_path / "r.png", RED)
    for label in ("W" * 300, "\U0001f3ae" * 300, "\x1b]0;x\x07", "%s{0}</script>"):
        contact_sheet([(label, [red])], tmp_path / "sheet.jpg")
        image = sheet(tmp_path / "sheet.jpg")
        assert image.shape[0] == ROW
        assert is_colour(tile(image, 0, 0), RED)


def test_an_old_sheet_is_replaced_not_written_over(tmp_path):
    out, opened = tmp_path / "sheet.jpg", tmp_path / "somebody has it open"
    out.write_bytes(b"old")
    opened.hardlink_to(out)
    contact_sheet([("x", [picture(tmp_path / "r.png", RED)])], out)
    assert opened.read_bytes() == b"old"
    assert sheet(out).shape[0] == ROW


def test_a_sheet_that_cannot_be_written_leaves_the_old_one_and_nothing_beside(tmp_path, monkeypatch):
    red = picture(tmp_path / "in" / "r.png", RED)
    out = tmp_path / "out" / "sheet.jpg"
    with pytest.raises(MachineError, match=r"cannot write the contact sheet .*No such file"):
        contact_sheet([("x", [red])], out)
    out.parent.mkdir()
    out.write_bytes(b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("harvester.report.writing.os.fsync", full)
    with pytest.raises(MachineError, match="No space left on device"):
        contact_sheet([("x", [red])], out)
    assert out.read_bytes() == b"old"
    assert list(out.parent.iterdir()) == [out]
