"""Storyboard files and JPEG headers: what is believed of them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.errors import MediaError
from harvester.media.jpeg import jpeg_ends, jpeg_size
from harvester.media.storyboard import MAX_FILE_BYTES, MAX_SHEETS, Storyboard, parse_storyboards

URL = "https://d1.cloudfront.net/abc_ann_1_2/storyboards/2001-info.json"
LOW = {
    "quality": "low",
    "count": 200,
    "width": 160,
    "height": 90,
    "cols": 5,
    "rows": 40,
    "interval": 55,
    "images": ["2001-low-0.jpg"],
}
HIGH = {
    **LOW,
    "quality": "high",
    "width": 220,
    "height": 124,
    "rows": 10,
    "images": [f"2001-high-{n}.jpg" for n in range(4)],
}


def parsed(*entries: Any, url: str = URL) -> tuple[Storyboard, ...]:
    return parse_storyboards(json.dumps(list(entries)).encode(), url)


def test_two_qualities_largest_first() -> None:
    high, low = parsed(LOW, HIGH)
    assert (high.cell_width, low.cell_width, high.interval_s) == (220, 160, 55)
    assert high.sheets[3] == "https://d1.cloudfront.net/abc_ann_1_2/storyboards/2001-high-3.jpg"
    assert parsed() == ()


def test_cells_by_the_known_arithmetic() -> None:
    high, low = parsed(LOW, HIGH)
    for k in range(200):
        cell = high.cells(k // 50)[k % 50]
        assert (cell.time_s, cell.sheet) == (k * 55, k // 50)
        assert (cell.left, cell.top) == (k % 5 * 220, k % 50 // 5 * 124)
    assert [cell.time_s for cell in low.cells(0)] == [k * 55 for k in range(200)]


def test_a_short_last_sheet_holds_fewer_cells() -> None:
    (board,) = parsed({**HIGH, "count": 57, "images": HIGH["images"][:2]})
    assert (len(board.cells(0)), len(board.cells(1)), board.cells(1)[-1].time_s) == (50, 7, 56 * 55)
    assert board.cells(2) == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"count": 0},
        {"count": -5},
        {"count": 201},
        {"count": 150},
        {"count": "200"},
        {"count": True},
        {"count": 10**30},
        {"count": None},
        {"cols": 0},
        {"rows": 2.5},
        {"width": 10**9},
        {"width": 10_000, "height": 10_000},
        {"interval": 0},
        {"interval": -1},
        {"interval": float("nan")},
        {"interval": float("inf")},
        {"interval": 10**400},
        {"interval": "55"},
        {"images": []},
        {"images": None},
        {"images": ["2001-high-0.jpg"] * (MAX_SHEETS + 1), "count": 50 * (MAX_SHEETS + 1)},
        {"images": [*HIGH["images"], "2001-high-4.jpg"]},
        *(
            {"images": [*HIGH["images"][:3], name]}
            for name in (
                "../x.jpg",
                "..",
                "a/b.jpg",
                "/x.jpg",
                "//evil.example/x.jpg",
                "https://evil.example/x.jpg",
                "file:x.jpg",
                "x.jpg?y=1",
                "x.jpg#y",
                "x%2f..%2fy.jpg",
                "x\\y.jpg",
                "x\n.jpg",
                "é.jpg",
                ".hidden",
                "",
                5,
                None,
            )
        ),
    ],
)
def test_a_quality_that_does_not_add_up_is_left_out(changes: dict[str, Any]) -> None:
    assert [board.cell_width for board in parsed({**HIGH, **changes}, LOW)] == [160]
    with pytest.raises(MediaError):
        parsed({**HIGH, **changes})


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"null", b"<html>", b"\xff", b"[" * 100_000, b"[5]", b" " * (MAX_FILE_BYTES + 1), b"[NaN]"],
)
def test_other_files_are_refused(body: bytes) -> None:
    with pytest.raises(MediaError):
        parse_storyboards(body, URL)


@pytest.mark.parametrize("url", ["", "http://[", "x", URL + "?sig=1&a=../b/#c"])
def test_sheets_lie_beside_their_file_whatever_its_url(url: str) -> None:
    try:
        (board,) = parsed(LOW, url=url)
    except MediaError:
        return
    assert (
        board.sheets == (url.partition("?")[0].rpartition("/")[0].strip("/") + "/2001-low-0.jpg",)
        or "/" not in url
    )


def test_a_record_refuses_what_does_not_add_up() -> None:
    (board,) = parsed(LOW)
    for change in ({"count": 0}, {"columns": -1}, {"interval_s": float("nan")}, {"sheets": ()}):
        with pytest.raises(ValueError):
            replace(board, **change)


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from([1, 5, 10, 200]),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)
qualities = st.fixed_dictionaries({}, optional={key: st.just(value) | values for key, value in HIGH.items()})


@given(st.lists(qualities | values, max_size=4))
def test_any_json_is_checked_records_or_an_error(entries: list[Any]) -> None:
    try:
        boards = parsed(*entries)
    except MediaError:
        return
    for board in boards:
        cells = [cell for sheet in range(len(board.sheets)) for cell in board.cells(sheet)]
        assert [cell.time_s for cell in cells] == [k * board.interval_s for k in range(board.count)]
        assert all(url.startswith(URL.rpartition("/")[0] + "/") for url in board.sheets)


def jpeg(width: int, height: int) -> bytes:
    return bytes(cv2.imencode(".jpg", np.zeros((height, width, 3), np.uint8))[1])


@given(st.integers(1, 300), st.integers(1, 300))
def test_the_size_of_a_jpeg(width: int, height: int) -> None:
    data = jpeg(width, height)
    assert jpeg_size(data) == (width, height)
    assert jpeg_ends(data)
    assert jpeg_ends(data + b"\0" * 40)
    assert not jpeg_ends(data[:-40])


def test_jpeg_headers_with_fill_bytes_and_without_a_frame() -> None:
    data = jpeg(30, 20)
    assert jpeg_size(data[:2] + b"\xff" * 9 + data[2:]) == (30, 20)
    assert jpeg_size(data[:2] + b"\xff\x01" + data[2:]) == (30, 20)
    start = data.index(b"\xff\xc0")
    for broken in (b"", b"GIF89a", data[:2], data[: start + 6], data[:start] + data[data.index(b"\xff\xda") :]):
        with pytest.raises(MediaError):
            jpeg_size(broken)


@given(st.binary(max_size=200))
def test_any_bytes_have_a_size_or_none(data: bytes) -> None:
    try:
        width, height = jpeg_size(b"\xff\xd8" + data)
    except MediaError:
        return
    assert 0 <= width < 65_536
    assert 0 <= height < 65_536
