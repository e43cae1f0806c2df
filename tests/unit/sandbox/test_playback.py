import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.sandbox.build import default_world
from harvester.sandbox.playback import OPERATIONS, Playback, Signer, media_playlist, multivariant
from harvester.sandbox.world import Chapter, RenditionInfo, SegmentEntry

ORIGIN = "http://127.0.0.1:1"


@pytest.fixture(scope="module")
def world():
    return default_world()


@pytest.fixture(scope="module")
def playback(world):
    return Playback(world, Signer(world.seed), ORIGIN)


def operation(name, hash_value=None, **variables):
    value = hash_value or min(OPERATIONS[name][0])
    return {
        "operationName": name,
        "variables": variables,
        "extensions": {"persistedQuery": {"version": 1, "sha256Hash": value}},
    }


def test_a_token_is_signed_for_its_video_and_expires(world, playback):
    answer = playback.answer(operation("PlaybackAccessToken", vodID=world.videos[0].id))
    token = answer["data"]["videoPlaybackAccessToken"]
    now = world.now.timestamp()
    assert playback.signer.verified(token["value"], token["signature"], now)["vod_id"] == int(world.videos[0].id)
    assert playback.signer.verified(token["value"] + " ", token["signature"], now) is None
    assert playback.signer.verified(token["value"], "0" * 40, now) is None
    assert playback.signer.verified(token["value"], "é", now) is None
    assert playback.signer.verified(token["value"], token["signature"], now + 86_400) is None
    assert Signer("else").verified(token["value"], token["signature"], now) is None
    assert len(token["signature"]) == 40


def test_gone_things_are_null(playback):
    assert playback.answer(operation("PlaybackAccessToken", vodID="5"))["data"] == {
        "videoPlaybackAccessToken": None
    }
    assert playback.answer(operation("VideoAccessToken_Clip", slug="x"))["data"] == {"clip": None}
    assert playback.answer(operation("ShareClipRenderStatus", slug="x"))["data"] == {"clip": None}
    for name in ("VideoMetadata", "VideoPlayer_ChapterSelectButtonVideo", "VideoPlayer_VODSeekbarPreviewVideo"):
        assert playback.answer(operation(name, videoID="5"))["data"] == {"video": None}


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_an_unknown_hash_is_not_found_unless_any_will_do(world, playback, name):
    wrong = operation(name, "0" * 64, vodID=world.videos[0].id, videoID=world.videos[0].id, slug=world.clips[0].id)
    assert playback.answer(wrong)["errors"] == [{"message": "PersistedQueryNotFound"}]
    assert "data" in replace(playback, any_hash=True).answer(wrong)


def test_unknown_operations_are_not_found(playback):
    answer = playback.answer({"operationName": "Hack"})
    assert answer["errors"][0]["message"] == "PersistedQueryNotFound"


def test_inline_queries(world, playback):
    video = world.videos[0]
    query = '{videoPlaybackAccessToken(id: "%s", params: {platform: "web"}) {value signature}}'
    assert playback.answer({"query": query % video.id})["data"]["videoPlaybackAccessToken"]["signature"]
    by_variable = {
        "query": "query($i: ID) {videoPlaybackAccessToken(id: $i) {value}}",
        "variables": {"i": video.id},
    }
    assert playback.answer(by_variable)["data"]["videoPlaybackAccessToken"]["value"]
    chapters = playback.answer({"query": f'{{video(id: "{video.id}") {{moments {{edges {{node {{id}}}}}}}}}}'})
    assert chapters["data"]["video"]["moments"] == {"edges": []}
    assert chapters["data"]["video"]["game"]["id"] == video.game.id
    assert playback.answer({"query": "{user}"})["errors"]


def test_chapters_are_empty_for_one_game_and_listed_for_several(world):
    video = world.videos[0]
    assert Playback(world, Signer("x"), ORIGIN).chapters({"videoID": video.id})["video"]["moments"]["edges"] == []
    other = world.games[1]
    changed = replace(video, chapters=(Chapter(video.game.id, 0, 10), Chapter(other.id, 10, 12.5)))
    several = replace(world, videos=(changed,))
    edges = Playback(several, Signer("x"), ORIGIN).chapters({"videoID": video.id})["video"]["moments"]["edges"]
    last = edges[1]["node"]
    assert (last["positionMilliseconds"], last["durationMilliseconds"]) == (10_000, 12_500)
    assert last["details"]["game"] == {"id": other.id, "displayName": other.name}


def test_a_clip_token_signs_all_its_qualities(world, playback):
    clip = world.clips[0]
    answer = playback.answer(operation("VideoAccessToken_Clip", slug=clip.id))["data"]["clip"]
    assert [quality["quality"] for quality in answer["videoQualities"]] == ["720", "360"]
    uri = json.loads(answer["playbackAccessToken"]["value"])["clip_uri"]
    assert all(quality["sourceURL"].startswith(uri) for quality in answer["videoQualities"])
    status = playback.answer(operation("ShareClipRenderStatus", slug=clip.id))["data"]["clip"]
    assert status["game"]["name"] == clip.game.name


INFOS = (
    RenditionInfo("chunked", "720p12", 1280, 720, 12.0, "avc1.64001F", 400_000),
    RenditionInfo("360p12", "360p12", 640, 360, 12.0, "avc1.640016", 100_000),
)


def test_both_texts_of_the_multivariant_playlist(world):
    new, old = (multivariant(world.videos[0], INFOS, ORIGIN, version=version) for version in (2, 1))
    assert [line for line in new.splitlines() if line.startswith("http")] == [
        line for line in old.splitlines() if line.startswith("http")
    ]
    assert "EXT-X-MEDIA" not in new
    assert 'STABLE-VARIANT-ID="720p12",IVS-NAME="720p12",IVS-GROUPS="landscape",IVS-VARIANT-SOURCE="source"' in new
    assert new.count("IVS-VARIANT-SOURCE") == 1
    assert 'STABLE-VARIANT-ID="audio_only"' in new
    assert '#EXT-X-MEDIA:TYPE=VIDEO,GROUP-ID="chunked",NAME="720p12"' in old
    assert 'VIDEO="chunked"' in old


def test_a_media_playlist_names_init_sections_where_they_change(world):
    entries = [
        SegmentEntry(0, (0,), 0.0, 2.0, 0),
        SegmentEntry(1, (0,), 2.0, 2.0, 1, discontinuity=True),
        SegmentEntry(1, (1,), 4.0, 1.5, 1),
    ]
    video = replace(world.videos[0], container="fmp4")
    lines = media_playlist(video, entries, sound=False).splitlines()
    start = lines.index('#EXT-X-MAP:URI="init-0.mp4"')
    assert lines[start:] == [
        '#EXT-X-MAP:URI="init-0.mp4"',
        "#EXTINF:2.000,",
        "0.mp4",
        "#EXT-X-DISCONTINUITY",
        '#EXT-X-MAP:URI="init-1.mp4"',
        "#EXTINF:2.000,",
        "1.mp4",
        "#EXTINF:1.500,",
        "2.mp4",
        "#EXT-X-ENDLIST",
    ]
    assert "#EXT-X-TWITCH-TOTAL-SECS:5.500" in lines
    sound = media_playlist(video, entries, sound=True)
    assert "MAP" not in sound
    assert "0.ts" in sound


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(["operationName", "query", "variables", "extensions"]), json_values))
def test_any_operation_has_an_answer(document):
    world = default_world()
    answer = Playback(world, Signer(world.seed), ORIGIN).answer(document)
    assert "data" in answer or "errors" in answer
