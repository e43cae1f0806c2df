"""Storyboard sheets over the transport: cells cut where they lie, and nothing made up where a sheet is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest

from harvester.errors import FetchError, MediaError
from harvester.fetch.storyboard import cut_sheet, fetch_sheet, fetch_storyboards
from harvester.media.storyboard import Storyboard
from harvester.stats import RequestKind
from tests.unit.fetch.conftest import World

FILE = {"count": 7, "width": 32, "height": 16, "cols": 2, "rows": 3, "interval": 10, "images": ["a.jpg", "b.jpg"]}
BOARD = Storyboard(("a.jpg", "b.jpg"), 2, 3, 7, 32, 16, 10)


def sheet(first: int, count: int, width: int = 64, height: int | None = None) -> bytes:
    """Cells of one grey each, 20 times their number plus 40; black where there is no cell."""
    image = np.zeros((height or 16 * -(-count // 2), width, 3), np.uint8)
    for place in range(count):
        row, column = divmod(place, 2)
        image[16 * row : 16 * row + 16, 32 * column : 32 * column + 32] = 40 + 20 * (first + place)
    return bytes(cv2.imencode(".jpg", image)[1])


A, B = sheet(0, 6), sheet(6, 1)


def test_every_cell_lies_where_the_arithmetic_says(in_world: Callable[..., Any]) -> None:
    async def scenario(here: World) -> list[tuple[float, int]]:
        (board,) = await fetch_storyboards(here.transport, here.server.url("s/1-info.json"))
        sheets = [await fetch_sheet(here.transport, board, number) for number in range(2)]
        found = [cell for number, data in enumerate(sheets) for cell in cut_sheet(data, board, number)]
        assert all(cell.image.shape == (16, 32, 3) and cell.image.dtype == np.uint8 for cell in found)
        assert all(int(cell.image.max()) - int(cell.image.min()) <= 4 for cell in found)
        assert here.traffic.requests == {RequestKind.STORYBOARD: 3}
        return [(cell.time_s, round(float(cell.image.mean()) / 20) * 20) for cell in found]

    files = {"s/1-info.json": json.dumps([FILE]).encode(), "s/a.jpg": A, "s/b.jpg": B}
    assert in_world(files, scenario) == [(k * 10.0, 40 + 20 * k) for k in range(7)]


def test_a_page_in_place_of_a_sheet_is_a_passing_fault(in_world: Callable[..., Any]) -> None:
    async def scenario(here: World) -> None:
        board = Storyboard((here.server.url("s/a.jpg"),), 2, 3, 6, 32, 16, 10)
        with pytest.raises(FetchError) as caught:
            await fetch_sheet(here.transport, board, 0)
        assert (caught.value.reason, caught.value.retryable) == ("foreign-body", True)

    in_world({"s/a.jpg": b"<!DOCTYPE html>"}, scenario)


def test_colours_come_as_rgb() -> None:
    image = np.zeros((48, 64, 3), np.uint8)
    image[:, :, 2] = 200  # OpenCV writes blue, green, red
    cells = cut_sheet(bytes(cv2.imencode(".jpg", image)[1]), BOARD, 0)
    assert cells[0].image.mean(axis=(0, 1)) == pytest.approx([200, 0, 0], abs=4)


@pytest.mark.parametrize(
    ("data", "number"),
    [
        (b"", 0),
        (b"<html>", 0),
        (A[:-200], 0),
        (A[: len(A) // 2], 0),
        (B, 0),  # too short for its cells
        (sheet(0, 6, height=64), 0),  # more than its grid
        (sheet(0, 6, width=48), 0),
        (sheet(0, 6, width=80), 0),
        (sheet(0, 6, width=20_000, height=48), 0),
        (A[:160] + b"\xff\xd9", 0),
    ],
)
def test_a_sheet_that_is_wrong_gives_no_cell(data: bytes, number: int) -> None:
    with pytest.raises(MediaError):
        cut_sheet(data, BOARD, number)


def test_a_sheet_that_breaks_off_in_its_picture_is_not_filled_up() -> None:
    noise = np.random.default_rng(1).integers(0, 255, (48, 64, 3), np.uint8)
    data = bytes(cv2.imencode(".jpg", noise)[1])
    assert len(cut_sheet(data, BOARD, 0)) == 6
    with pytest.raises(MediaError) as caught:
        cut_sheet(data[: len(data) * 3 // 4], BOARD, 0)
    assert caught.value.reason == "truncated"


def test_a_narrow_last_sheet_is_enough_for_its_cells() -> None:
    (cell,) = cut_sheet(sheet(6, 1, width=32), BOARD, 1)
    assert (cell.time_s, cell.image.shape) == (60.0, (16, 32, 3))


def test_a_huge_picture_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []
    monkeypatch.setattr("harvester.fetch.storyboard.decode", lambda data: decoded.append(len(data)))
    start = A.index(b"\xff\xc0")
    huge = A[: start + 5] + b"\xff\xff\xff\xff" + A[start + 9 :]
    with pytest.raises(MediaError):
        cut_sheet(huge, BOARD, 0)
    assert decoded == []


def test_what_does_not_come_is_a_fetch_error(in_world: Callable[..., Any]) -> None:
    async def scenario(here: World) -> list[str]:
        reasons = []
        for path in ("gone/1-info.json", "failing/1-info.json"):
            with pytest.raises(FetchError) as caught:
                await fetch_storyboards(here.transport, here.server.url(path))
            reasons.append(caught.value.reason)
        with pytest.raises(FetchError) as caught:
            await fetch_storyboards(here.transport, "http://169.254.169.254/1-info.json")
        return [*reasons, caught.value.reason]

    assert in_world({}, scenario) == ["http-404", "http-503", "host-refused"]
