import base64
import json
import re
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from harvester.model import VodType
from harvester.sandbox.build import default_world
from harvester.sandbox.delivery import Delivery, Withheld
from harvester.sandbox.playback import (
    media_playlist,
    multivariant,
    playlist_name,
    served_segment,
    single_file_name,
)
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


def delivered(world, container="ts", **fields):
    return replace(world.videos[0], container=container, delivery=Delivery(**fields))


def entries(count, init=lambda number: 0):
    return [SegmentEntry(0, (0,), 2.0 * number, 2.0, init(number)) for number in range(count)]


def uris(text):
    return [line for line in text.splitlines() if not line.startswith("#")]


def test_muted_segments_are_named_so_and_served_under_one_name(world):
    listed = uris(media_playlist(delivered(world, muted=range(1, 3)), entries(4), sound=False))
    assert listed == ["0.ts", "1-muted.ts", "2-muted.ts", "3.ts"]
    video = delivered(world, muted=range(1, 3), lists_unmuted=True)
    assert uris(media_playlist(video, entries(4), sound=False)) == ["0.ts", "1-unmuted.ts", "2-unmuted.ts", "3.ts"]
    assert served_segment(video, "1-muted.ts", sound=False) == 1
    assert served_segment(video, "0.ts", sound=False) == 0
    for refused in ("1-unmuted.ts", "1.ts", "0-muted.ts", "0.mp4", "x.ts", "0.ts2", "-1.ts"):
        with pytest.raises(LookupError):
            served_segment(video, refused, sound=False)


@pytest.mark.parametrize("old_names", [False, True])
def test_file_numbers_may_start_anywhere(world, old_names):
    video = delivered(world, first_number=137, old_names=old_names)
    names = [name.partition("?")[0] for name in uris(media_playlist(video, entries(3), sound=False))]
    assert [served_segment(video, name, sound=False) for name in names] == [0, 1, 2]
    assert "137" in names[0]
    with pytest.raises(LookupError):
        served_segment(video, names[0].replace("137", "136"), sound=False)


def test_names_of_2015(world):
    lines = uris(media_playlist(delivered(world, old_names=True), entries(2), sound=False))
    assert all(re.fullmatch(r"index-000000000[01]-\w{4}\.ts\?start_offset=0", line) for line in lines)
    with pytest.raises(LookupError):
        served_segment(delivered(world, old_names=True), "index-0000000000-zzzz.ts", sound=False)


def test_uris_are_what_the_caller_makes_of_names(world):
    text = media_playlist(
        delivered(world, "fmp4"), entries(2), sound=False, uri=lambda name: f"http://h/{name}?s=1"
    )
    assert uris(text) == ["http://h/0.mp4?s=1", "http://h/1.mp4?s=1"]
    assert '#EXT-X-MAP:URI="http://h/init-0.mp4?s=1"' in text


def test_byte_ranges_lie_one_behind_the_other(world):
    video = delivered(world, "fmp4", single_file=True)
    text = media_playlist(
        video, entries(4, lambda number: number // 2), sound=False, sizes=([10, 20], [100, 200, 300, 400])
    )
    tags = [line for line in text.splitlines() if "BYTERANGE" in line]
    file = single_file_name(video, sound=False)
    assert tags == [
        f'#EXT-X-MAP:URI="{file}",BYTERANGE="10@0"',
        "#EXT-X-BYTERANGE:100@30",
        "#EXT-X-BYTERANGE:200",
        f'#EXT-X-MAP:URI="{file}",BYTERANGE="20@10"',
        "#EXT-X-BYTERANGE:300@330",
        "#EXT-X-BYTERANGE:400",
    ]
    assert uris(text) == [file] * 4


def test_dates_count_from_the_start_of_the_stream(world):
    video = delivered(world, dated=True)
    dates = [
        line[25:] for line in media_playlist(video, entries(3), sound=False).splitlines() if "DATE-TIME" in line
    ]
    assert [(datetime.fromisoformat(date) - video.created_at).total_seconds() for date in dates] == [0, 2, 4]
    assert "DATE-TIME" not in media_playlist(delivered(world), entries(3), sound=False)


def test_the_playlists_name(world):
    assert playlist_name(delivered(world)) == "index-dvr.m3u8"
    assert playlist_name(delivered(world, playlist="index-muted-AB.m3u8")) == "index-muted-AB.m3u8"
    highlight = replace(delivered(world), type=VodType.HIGHLIGHT, id="77")
    assert playlist_name(highlight) == "highlight-77.m3u8"


def unavailable(text):
    (line,) = [line for line in text.splitlines() if "unavailable-media" in line]
    return json.loads(base64.b64decode(line.split('VALUE="')[1].rstrip('"')))


HEVC = RenditionInfo("chunked", "1080p12", 1920, 1080, 12.0, "hev1.1.6.L93.90", 900_000)
TALL = RenditionInfo("720p12-portrait", "720p12-portrait", 720, 1280, 12.0, "avc1.64001F", 200_000)


@pytest.mark.parametrize("version", [1, 2])
def test_what_is_withheld_is_listed_with_its_reasons(world, version):
    quad = Withheld("1440p60", 2560, 1440, 60.0, "hev1.1", 9, authorization_reasons=("AUTHZ_NOT_LOGGED_IN",))
    video = delivered(world, withheld=(quad,))
    text = multivariant(video, [HEVC, INFOS[1]], ORIGIN, version=version, codecs=["h264"])
    assert [url.split("/")[-2] for url in uris(text)] == ["360p12", "audio_only"]
    first, second = unavailable(text)
    assert (first["RESOLUTION"], first["AUTHORIZATION_REASONS"]) == ("2560x1440", ["AUTHZ_NOT_LOGGED_IN"])
    assert second["CODECS"] == HEVC.codecs
    assert second["FILTER_REASONS"][0].startswith("FR_")
    both = multivariant(delivered(world), [HEVC, INFOS[1]], ORIGIN, version=version, codecs=["h264", "h265"])
    assert [url.split("/")[-2] for url in uris(both)] == ["chunked", "360p12", "audio_only"]
    assert "unavailable-media" not in both


def test_what_is_not_offered_is_not_in_the_playlist(world):
    def folders(**fields):
        text = multivariant(delivered(world, **fields), [*INFOS, TALL], ORIGIN, version=2)
        return [url.split("/")[-2] for url in uris(text)]

    assert folders() == ["chunked", "360p12", "720p12-portrait", "audio_only"]
    assert folders(no_source=True) == ["360p12", "720p12-portrait", "audio_only"]
    assert folders(sound_only=True) == ["audio_only"]
    text = multivariant(delivered(world), [*INFOS, TALL], ORIGIN, version=2)
    assert 'STABLE-VARIANT-ID="720p12-portrait",IVS-NAME="720p12-portrait",IVS-GROUPS="portrait"' in text
    assert text.count('IVS-GROUPS="landscape"') == 2


def test_a_growing_recording_has_no_end_yet(world):
    growing = media_playlist(delivered(world), entries(2), sound=False, ended=False)
    assert "ENDLIST" not in growing
    assert media_playlist(delivered(world), entries(2), sound=False) == growing + "#EXT-X-ENDLIST\n"


def test_a_live_video_holds_what_has_been_broadcast(world):
    live = replace(world.videos[0], live=True, created_at=world.now - timedelta(seconds=7))
    assert not world.ended(live)
    assert world.aired(live, entries(9)) == entries(3)
    assert world.aired(replace(live, live=False), entries(9)) == entries(9)
    later = replace(world, now=world.now + timedelta(hours=1))
    assert later.ended(live)
    assert later.aired(live, entries(9)) == entries(9)
