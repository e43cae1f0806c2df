"""Words for what a listing lacks: none where it is complete, the reason where it is not."""

from __future__ import annotations

import pytest

from harvester.pipeline.listing import Listed
from harvester.report.completeness import listed_text, shortfalls
from harvester.twitch.paging import STOPS


def test_a_complete_listing_lacks_nothing() -> None:
    assert shortfalls({"vod": Listed(5, 7, 2), "clip": Listed(0, 0)}) == []
    assert shortfalls({"clip": Listed(0, 0, stopped="limit")}) == []  # none were wanted
    assert shortfalls({}) == []


@pytest.mark.parametrize("stopped", [reason for reason in STOPS if reason != "end"])
def test_every_reason_has_words(stopped: str) -> None:
    (line,) = shortfalls({"clip": Listed(1000, 1100, 100, stopped, 3)})
    assert line.startswith("1000 new clips and 100 known of at least 1100: ")
    assert len(line.partition(": ")[2]) > 30  # words, not a slug
    assert "{" not in line
    assert ("later run" in line) == (stopped == "limit")


def test_one_and_several_questions() -> None:
    (one,) = shortfalls({"vod": Listed(500, 500, 0, "cap", 1)})
    (many,) = shortfalls({"vod": Listed(500, 500, 0, "cap", 12)})
    assert "one question" in one
    assert "12 questions" in many


def test_the_limit_is_named_by_its_key() -> None:
    assert "max_vods" in shortfalls({"vod": Listed(5, 5, stopped="limit")})[0]
    assert "max_clips" in shortfalls({"clip": Listed(5, 5, stopped="limit")})[0]


def test_a_listing_tells_what_it_found_of_what_there_is_and_where_it_ended() -> None:
    whole = {"vod": Listed(1, 2), "clip": Listed(3, 9, 4)}
    assert listed_text(whole) == (
        "1 new VODs of at least 2, 3 new clips and 4 known of at least 9; VODs and clips to the end"
    )
    part = whole | {"clip": Listed(3, 9, 4, "limit")}
    assert listed_text(part) == "1 new VODs of at least 2, 3 new clips and 4 known of at least 9; VODs to the end"
    assert listed_text({"clip": Listed(5, 9, stopped="cap")}) == "5 new clips of at least 9"
    assert listed_text({}) == ""
