from dataclasses import replace

import pytest

from harvester.sandbox.build import default_world
from harvester.sandbox.playback import media_playlist, multivariant
from harvester.sandbox.world import RenditionInfo, SegmentEntry

ORIGIN = "http://127.0.0.1:1"


@pytest.fixture(scope="module")
def world():
    return default_world()


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
