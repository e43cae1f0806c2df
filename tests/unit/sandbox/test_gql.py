import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.sandbox.build import default_world
from harvester.sandbox.gql import OPERATIONS, Gql, Signer
from harvester.sandbox.world import Chapter

ORIGIN = "http://127.0.0.1:1"


@pytest.fixture(scope="module")
def world():
    return default_world()


@pytest.fixture(scope="module")
def gql(world):
    return Gql(world, Signer(world.seed), ORIGIN)


def operation(name, hash_value=None, **variables):
    value = hash_value or min(OPERATIONS[name][0])
    return {
        "operationName": name,
        "variables": variables,
        "extensions": {"persistedQuery": {"version": 1, "sha256Hash": value}},
    }


def test_a_token_is_signed_for_its_video_and_expires(world, gql):
    answer = gql.answer(operation("PlaybackAccessToken", vodID=world.videos[0].id))
    token = answer["data"]["videoPlaybackAccessToken"]
    now = world.now.timestamp()
    assert gql.signer.verified(token["value"], token["signature"], now)["vod_id"] == int(world.videos[0].id)
    assert gql.signer.verified(token["value"] + " ", token["signature"], now) is None
    assert gql.signer.verified(token["value"], "0" * 40, now) is None
    assert gql.signer.verified(token["value"], "é", now) is None
    assert gql.signer.verified(token["value"], token["signature"], now + 86_400) is None
    assert Signer("else").verified(token["value"], token["signature"], now) is None
    assert len(token["signature"]) == 40


def test_gone_things_are_null(gql):
    assert gql.answer(operation("PlaybackAccessToken", vodID="5"))["data"] == {"videoPlaybackAccessToken": None}
    assert gql.answer(operation("VideoAccessToken_Clip", slug="x"))["data"] == {"clip": None}
    assert gql.answer(operation("ShareClipRenderStatus", slug="x"))["data"] == {"clip": None}
    for name in ("VideoMetadata", "VideoPlayer_ChapterSelectButtonVideo", "VideoPlayer_VODSeekbarPreviewVideo"):
        assert gql.answer(operation(name, videoID="5"))["data"] == {"video": None}


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_an_unknown_hash_is_not_found_unless_any_will_do(world, gql, name):
    wrong = operation(name, "0" * 64, vodID=world.videos[0].id, videoID=world.videos[0].id, slug=world.clips[0].id)
    assert gql.answer(wrong)["errors"] == [{"message": "PersistedQueryNotFound"}]
    assert "data" in replace(gql, any_hash=True).answer(wrong)


def test_unknown_operations_are_not_found(gql):
    answer = gql.answer({"operationName": "Hack"})
    assert answer["errors"][0]["message"] == "PersistedQueryNotFound"


def test_inline_queries(world, gql):
    video = world.videos[0]
    query = '{videoPlaybackAccessToken(id: "%s", params: {platform: "web"}) {value signature}}'
    assert gql.answer({"query": query % video.id})["data"]["videoPlaybackAccessToken"]["signature"]
    by_variable = {
        "query": "query($i: ID) {videoPlaybackAccessToken(id: $i) {value}}",
        "variables": {"i": video.id},
    }
    assert gql.answer(by_variable)["data"]["videoPlaybackAccessToken"]["value"]
    spelt_out = f'{{video(id: "{video.id}") {{id game {{id}} moments {{edges {{node {{id}}}}}}}}}}'
    chapters = gql.answer({"query": spelt_out})["data"]["video"]
    assert chapters["moments"] == {"edges": []}
    assert chapters["game"]["id"] == video.game.id
    assert set(chapters) == {"id", "game", "moments"}
    assert gql.answer({"query": "{user}"})["errors"]


@pytest.mark.parametrize("slug", ["by name", "by variable"])
def test_a_clip_asked_for_by_an_inline_query(world, gql, slug):
    clip = world.clips[0]
    named = f'"{clip.id}"' if slug == "by name" else "$slug"
    query = f"query($slug: ID!) {{ clip(slug: {named}) {{ id playbackAccessToken {{ value signature }} }} }}"
    asked = {"query": query, "variables": {"slug": clip.id}}
    persisted = operation("VideoAccessToken_Clip", slug=clip.id)
    assert gql.answer(asked) == gql.answer(persisted)
    assert gql.answer(asked | {"query": query.replace(named, '"Unknown-Clip"')})["data"] == {"clip": None}


def test_chapters_are_empty_for_one_game_and_listed_for_several(world):
    video = world.videos[0]
    assert Gql(world, Signer("x"), ORIGIN).chapters({"videoID": video.id})["video"]["moments"]["edges"] == []
    other = world.games[1]
    changed = replace(video, chapters=(Chapter(video.game.id, 0, 10), Chapter(other.id, 10, 12.5)))
    several = replace(world, videos=(changed,))
    edges = Gql(several, Signer("x"), ORIGIN).chapters({"videoID": video.id})["video"]["moments"]["edges"]
    last = edges[1]["node"]
    assert (last["positionMilliseconds"], last["durationMilliseconds"]) == (10_000, 12_500)
    assert last["details"]["game"] == {"id": other.id, "displayName": other.name}


def test_a_clip_token_signs_all_its_qualities(world, gql):
    clip = world.clips[0]
    answer = gql.answer(operation("VideoAccessToken_Clip", slug=clip.id))["data"]["clip"]
    assert [quality["quality"] for quality in answer["videoQualities"]] == ["720", "360"]
    uri = json.loads(answer["playbackAccessToken"]["value"])["clip_uri"]
    assert all(quality["sourceURL"].startswith(uri) for quality in answer["videoQualities"])
    status = gql.answer(operation("ShareClipRenderStatus", slug=clip.id))["data"]["clip"]
    assert status["game"]["name"] == clip.game.name


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(["operationName", "query", "variables", "extensions"]), json_values))
def test_any_operation_has_an_answer(document):
    world = default_world()
    answer = Gql(world, Signer(world.seed), ORIGIN).answer(document)
    assert "data" in answer or "errors" in answer
