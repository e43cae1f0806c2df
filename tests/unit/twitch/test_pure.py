"""The pure parts: durations, paging, names and diagnosis, with properties for whatever Twitch may send."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.errors import SourceError, UnknownCategory
from harvester.model import Category, Clip, Vod, VodType
from harvester.stats import RequestKind
from harvester.twitch.diagnosis import Said, clip_answer, diagnose, token_refusal
from harvester.twitch.names import match_name, search_terms, unknown
from harvester.twitch.offers import clip_renditions
from harvester.twitch.paging import STOPS, Paging
from harvester.twitch.records import parse_duration_s

NOW = datetime(2026, 11, 2, 3, tzinfo=UTC)
VOD = Vod("2001", "1", "9", "Ann", "", NOW, 1, VodType.ARCHIVE, "en", 0)
CLIP = Clip("Slug", "1", "9", "Ann", "", NOW, 1, "en", 0)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "data",
                    "clip",
                    "errors",
                    "error",
                    "error_code",
                    "message",
                    "value",
                    "authorization",
                    "videoQualities",
                    "sourceURL",
                    "videoPlaybackAccessToken",
                    "assets",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.integers(0, 99_999), st.integers(0, 59), st.integers(0, 59))
def test_duration_reads_what_twitch_writes(hours: int, minutes: int, seconds: int) -> None:
    total = hours * 3600 + minutes * 60 + seconds
    assert parse_duration_s(f"{hours}h{minutes}m{seconds}s") == total
    short = (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + f"{seconds}s"
    assert parse_duration_s(short) == total


@pytest.mark.parametrize(
    "text", ["", "h", "3", "3m3h", "-3s", "3.5s", "1d2h", "3h 8m", "٣h", "9" * 50 + "s", "3s\n"]
)
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration_s(text)


@given(st.text(max_size=20))
def test_any_duration_is_read_or_refused(text: str) -> None:
    try:
        assert parse_duration_s(text) >= 0
    except ValueError as error:
        assert str(error) == "not a duration"


@given(
    st.lists(st.tuples(st.lists(st.integers(0, 30), max_size=5), st.none() | st.integers(0, 5)), min_size=1),
    st.integers(1, 40),
)
def test_paging_gives_each_id_once_and_always_ends(pages: list[tuple[list[int], int | None]], cap: int) -> None:
    paging, given_ids, stopped, asked = Paging(cap), [], None, 0
    while stopped is None:
        ids, cursor = pages[asked % len(pages)]  # a service that never ends by itself
        asked += 1
        fresh, stopped = paging.take(
            {"data": [{"id": str(i)} for i in ids], "pagination": {"cursor": cursor and str(cursor)}}
        )
        given_ids += [entry["id"] for entry in fresh]
        assert asked <= 31  # at most one page a new id, and one more
    assert len(given_ids) == len(set(given_ids)) <= cap
    assert stopped.reason in STOPS
    ended_among_gaps = not cursor and asked > 1  # no page is full here, and one reaches all these caps
    assert (stopped.reason == "cap") == (len(given_ids) == cap or ended_among_gaps)


@pytest.mark.parametrize(
    ("sizes", "reason"),
    [
        ([100, 100, 100, 100, 99], "end"),  # 499 there are: only the last page is short
        ([100, 97, 100, 100, 100], "cap"),  # the cap's place is reached, three of its items are hidden
        ([98, 97, 100, 95, 2], "cap"),
        ([98, 97, 100, 95], "end"),  # gaps, and fewer places than the cap
        ([100, 100, 100, 100, 100], "cap"),
    ],
)
def test_a_cap_counts_the_places_of_hidden_items_too(sizes: list[int], reason: str) -> None:
    paging, stopped = Paging(500), None
    for number, size in enumerate(sizes):
        assert stopped is None
        more = {} if number == len(sizes) - 1 else {"cursor": str(number)}
        data = [{"id": f"{number}-{place}"} for place in range(size)]
        _, stopped = paging.take({"data": data, "pagination": more})
    assert stopped is not None
    assert stopped.reason == reason


def test_entries_without_ids_are_bounded_too() -> None:
    paging, stopped, seen = Paging(10), None, 0
    while stopped is None:
        fresh, stopped = paging.take(
            {"data": [{"id": str(seen)}, {}, "x", None], "pagination": {"cursor": str(seen)}}
        )
        seen += len(fresh)
    assert (seen, stopped.reason) == (10, "cap")


@given(st.text(max_size=20), st.lists(st.tuples(st.integers(1, 9), st.text(min_size=1, max_size=6)), max_size=6))
def test_a_name_is_matched_never_guessed(name: str, listed: list[tuple[int, str]]) -> None:
    candidates = [Category(str(id_), title) for id_, title in listed]
    try:
        found = match_name(name, candidates)
    except UnknownCategory as error:
        assert str(error).isprintable()
    else:
        assert found is None or found.name.casefold() == name.casefold()
    assert str(unknown(name, candidates)).isprintable()
    assert all(term in name for term in search_terms(name))


@given(
    st.lists(
        st.tuples(
            st.sampled_from([RequestKind.GQL, RequestKind.USHER, RequestKind.PLAYLIST]),
            st.none() | st.integers(200, 599),
            JSON.map(json.dumps).map(str.encode) | st.binary(max_size=30),
        ),
        max_size=4,
    )
)
def test_any_answers_have_a_diagnosis(answers: list[tuple[RequestKind, int | None, bytes]]) -> None:
    said = [Said(kind, status, body) for kind, status, body in answers]
    for source in (VOD, CLIP):
        error = diagnose(said, source, NOW)
        assert isinstance(error, SourceError)
        assert error.reason in {"sub-only", "region", "gone", "not-ready", "broken", "unavailable"}
        assert error.retryable == (error.reason not in {"sub-only", "region"})
        assert str(error).isprintable()


@given(JSON)
def test_any_token_and_clip_is_read(document: Any) -> None:
    refusal = token_refusal(json.dumps(document))
    assert refusal is None or refusal.reason in {"sub-only", "region"}
    clip = clip_answer([Said(RequestKind.GQL, 200, json.dumps({"data": {"clip": document}}).encode())])
    assert clip_renditions({}, clip) == []


def test_deeply_nested_answers_are_refused() -> None:
    assert diagnose([Said(RequestKind.GQL, 200, b"[" * 200_000)], VOD, NOW).reason == "broken"
