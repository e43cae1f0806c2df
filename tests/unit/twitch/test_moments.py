"""Answers about a VOD: what chapters are made of odd moments, and that nothing in an answer can do harm."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.model import Category, VideoDetails
from harvester.twitch.moments import (
    MAX_LENGTH_S,
    category_of,
    chapters_of,
    metadata_of,
    storyboard_url_of,
    video_of,
)

CELESTE, DOOM = ("492535", "Celeste"), ("584", "DOOM")


def moment(
    start_s: float, length_s: Any, game: tuple[str, str] | None = CELESTE, **changes: Any
) -> dict[str, Any]:
    node = {
        "id": "m",
        "type": "GAME_CHANGE",
        "positionMilliseconds": start_s * 1000,
        "durationMilliseconds": length_s * 1000 if isinstance(length_s, int | float) else length_s,
        "details": {"game": game and {"id": game[0], "displayName": game[1]}},
        "video": {"id": "2001", "lengthSeconds": 100},
    }
    return {"node": {key: value for key, value in {**node, **changes}.items() if value is not ...}}


def spans(edges: list[Any], length_s: float | None = 100, **more: Any) -> list[tuple[float, float, str]] | None:
    found = chapters_of({"moments": {"edges": edges, **more}}, length_s)
    if found is None:
        return None
    return [(c.span.start_s, c.span.end_s, c.category.name if c.category else "-") for c in found]


@pytest.mark.parametrize(
    ("edges", "expected"),
    [
        ([], []),
        ([moment(0, 60), moment(60, 40, DOOM)], [(0, 60, "Celeste"), (60, 100, "DOOM")]),
        ([moment(60, 40, DOOM), moment(0, 60)], [(0, 60, "Celeste"), (60, 100, "DOOM")]),
        ([moment(10, 20), moment(50, 20, DOOM)], [(10, 30, "Celeste"), (50, 70, "DOOM")]),
        ([moment(0, 80), moment(60, 40, DOOM)], [(0, 60, "Celeste"), (60, 100, "DOOM")]),
        ([moment(0, 100), moment(20, 10, DOOM)], [(0, 20, "Celeste"), (20, 30, "DOOM")]),
        ([moment(0, -5), moment(60, 40, DOOM)], [(60, 100, "DOOM")]),
        ([moment(0, 60), moment(60, -5, DOOM)], [(0, 60, "Celeste")]),
        ([moment(0, 0), moment(60, 40, DOOM)], [(60, 100, "DOOM")]),
        ([moment(0, 60), moment(60, 0, DOOM)], [(0, 60, "Celeste"), (60, 100, "DOOM")]),
        ([moment(0, 60), moment(60, None, DOOM)], [(0, 60, "Celeste")]),
        ([moment(0, 90), moment(60, ..., DOOM)], [(0, 60, "Celeste")]),
        ([moment(0, 60, None), moment(60, 40)], [(0, 60, "-"), (60, 100, "Celeste")]),
        ([moment(0, 60, details=None), moment(60, 40, details=...)], [(0, 60, "-"), (60, 100, "-")]),
        ([moment(0, 60), moment(30, 5, DOOM, type="HIGHLIGHT")], [(0, 60, "Celeste")]),
        ([moment(0, 60), moment(30, 5, DOOM, type=...)], [(0, 30, "Celeste"), (30, 35, "DOOM")]),
        ([moment(0, 500)], [(0, 100, "Celeste")]),
        ([moment(0, 60), moment(120, 20, DOOM)], [(0, 60, "Celeste")]),
        ([moment(0, 60), moment(0, 60, DOOM, positionMilliseconds="0")], [(0, 60, "Celeste")]),
        ([moment(0, 60), moment(-10, 60, DOOM)], [(0, 60, "Celeste")]),
        ([moment(0, 60), None, 5, {}, {"node": None}, {"node": []}], [(0, 60, "Celeste")]),
    ],
)
def test_what_is_made_of_moments(edges: list[Any], expected: list[tuple[float, float, str]]) -> None:
    assert spans(edges) == expected


def test_an_unknown_length_bounds_nothing_and_ends_nothing() -> None:
    nameless = [moment(0, 60, video=None), moment(60, 0, DOOM, video=...)]
    assert spans(nameless, None) == [(0, 60, "Celeste")]
    assert spans([moment(0, 60), moment(60, 0, DOOM)], None) == [(0, 60, "Celeste"), (60, 100, "DOOM")]
    assert spans([moment(0, 500, video=None)], None) == [(0, 500, "Celeste")]


def test_what_comes_after_a_full_page_is_not_covered() -> None:
    edges = [moment(0, 60), moment(60, 0, DOOM)]
    assert spans(edges, pageInfo={"hasNextPage": True}) == [(0, 60, "Celeste")]
    assert spans([*edges[:1], moment(60, 10, DOOM)], pageInfo={"hasNextPage": True}) == [
        (0, 60, "Celeste"),
        (60, 70, "DOOM"),
    ]


@pytest.mark.parametrize("moments", [None, [], {}, {"edges": None}, {"edges": [{"node": {"type": "OTHER"}}]}])
def test_no_list_of_chapters_is_not_the_same_as_no_chapters(moments: Any) -> None:
    assert chapters_of({"moments": moments}, 100) is None
    assert chapters_of({}, 100) is None
    assert chapters_of({"moments": {"edges": []}}, 100) == ()


def test_a_category_needs_an_id_and_loses_what_its_name_could_do_to_a_terminal() -> None:
    assert category_of({"id": "584", "displayName": "a\x1b[31m\u202eb\n"}) == Category("584", "a[31mb")
    assert category_of({"id": "584", "name": "DOOM"}) == Category("584", "DOOM")
    assert category_of({"id": "584"}) == Category("584", "584")
    assert len(str(category_of({"id": "584", "displayName": "x" * 10_000}))) < 200
    for game in (None, {}, [], {"id": None}, {"id": 584}, {"id": ""}, {"id": "../x"}, {"displayName": "DOOM"}):
        assert category_of(game) is None


def test_metadata_keeps_what_is_there() -> None:
    video = {
        "id": "1",
        "owner": {"displayName": "Ann", "login": "ann"},
        "game": {"id": "584", "displayName": "DOOM"},
        "lengthSeconds": 11313,
        "broadcastType": "ARCHIVE",
    }
    told = VideoDetails("1", **metadata_of(video))
    assert (told.category, told.length_s, told.owner_name) == (Category(*DOOM), 11_313, "Ann")
    assert metadata_of({"owner": 5, "game": None, "lengthSeconds": 0, "broadcastType": 7}) == {}


@pytest.mark.parametrize(
    "document",
    [None, [], {}, {"data": None}, {"data": {}}, {"data": {"video": []}}, {"data": {"video": {"id": "other"}}}],
)
def test_other_shapes_are_no_answer(document: Any) -> None:
    with pytest.raises(ValueError):
        video_of(document, "2001")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just(CELESTE[0]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
durations = st.integers(-(10**14), 10**14) | st.floats() | json_values
nodes = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["GAME_CHANGE", "OTHER"]) | json_values,
        "positionMilliseconds": durations,
        "durationMilliseconds": durations,
        "details": st.fixed_dictionaries({"game": st.just({"id": "584", "displayName": "DOOM"}) | json_values})
        | json_values,
        "video": st.fixed_dictionaries({"lengthSeconds": durations}) | json_values,
    },
)
edges_of = st.lists(st.fixed_dictionaries({"node": nodes | json_values}) | json_values, max_size=6)
videos = st.fixed_dictionaries(
    {},
    optional={
        "moments": st.fixed_dictionaries({"edges": edges_of}, optional={"pageInfo": json_values}) | json_values,
        "game": json_values,
        "owner": st.fixed_dictionaries({"login": json_values, "displayName": json_values}) | json_values,
        "lengthSeconds": durations,
        "seekPreviewsURL": json_values,
        "broadcastType": json_values,
    },
)


@given(videos)
def test_any_video_makes_a_checked_record(video: dict[str, Any]) -> None:
    video = json.loads(json.dumps(video))
    fields = metadata_of(video)
    chapters = chapters_of(video, fields.get("length_s"))
    told = VideoDetails("1", chapters=chapters, storyboard_url=storyboard_url_of(video), **fields)
    for chapter in told.chapters or ():
        assert 0 <= chapter.span.start_s < chapter.span.end_s <= (told.length_s or MAX_LENGTH_S)


@given(edges_of.flatmap(lambda edges: st.tuples(st.just(edges), st.permutations(edges))))
def test_the_order_of_an_answer_does_not_matter(both: tuple[list[Any], list[Any]]) -> None:
    listed, shuffled = both
    assert spans(listed) == spans(shuffled)


@given(json_values)
def test_any_document_is_a_video_or_none_or_refused(document: Any) -> None:
    try:
        video = video_of({"data": {"video": document}}, "2001")
    except ValueError:
        return
    assert video is None or isinstance(video, dict)
