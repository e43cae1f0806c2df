"""Media playlists: streamlink's parser is the oracle where both speak; the rest is RFC 8216 on literals."""

from __future__ import annotations

import tracemalloc
from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction
from itertools import accumulate
from urllib.parse import urljoin

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harvester.errors import MediaError
from harvester.model import ByteRange, InitSection, Segment
from harvester.sampling.playlist import (
    MAX_ATTRIBUTES,
    MAX_LINE_CHARS,
    MAX_SEGMENTS,
    MAX_URL_CHARS,
    parse_media_playlist,
)

BASE = "https://d2nvs31859zcd8.cloudfront.net/ab_login_1_2/chunked/index-dvr.m3u8?token=x"
FOLDER = "https://d2nvs31859zcd8.cloudfront.net/ab_login_1_2/chunked/"


def parse(*lines: str, base: str = BASE):
    return parse_media_playlist("\n".join(["#EXTM3U", *lines]), base)


def refuse(*lines: str) -> str:
    with pytest.raises(MediaError) as caught:
        parse(*lines)
    return caught.value.reason


TWITCH = """#EXTM3U
#EXT-X-VERSION:3
#EXT-X-TARGETDURATION:10
#ID3-EQUIV-TDTG:2026-11-01T12:00:00
#EXT-X-PLAYLIST-TYPE:EVENT
#EXT-X-MEDIA-SEQUENCE:0
#EXT-X-TWITCH-ELAPSED-SECS:0.000
#EXT-X-TWITCH-TOTAL-SECS:34.000
#EXTINF:10.000,
0.ts
#EXTINF:10.000,
1-muted.ts
#EXTINF:10.000,
2.ts
#EXTINF:4.000,
3.ts
#EXT-X-ENDLIST
"""


@pytest.mark.parametrize("text", [TWITCH, TWITCH.replace("\n", "\r\n"), "\ufeff" + TWITCH, TWITCH.rstrip("\n")])
def test_a_playlist_as_twitch_writes_it(text):
    playlist = parse_media_playlist(text, BASE)
    assert [s.url for s in playlist.segments] == [FOLDER + n for n in ("0.ts", "1-muted.ts", "2.ts", "3.ts")]
    assert [s.start_s for s in playlist.segments] == [0, 10, 20, 30]
    assert [s.duration_s for s in playlist.segments] == [10, 10, 10, 4]
    assert (playlist.ended, playlist.target_duration_s, playlist.total_s) == (True, 10, 34)


def test_without_endlist_the_broadcast_goes_on():
    assert not parse("#EXTINF:10,", "0.ts").ended


def test_48_hours_of_segments_do_not_drift():
    lengths = ["10.008", "9.98", "10.0"]
    lines = [line for i in range(17_280) for line in (f"#EXTINF:{lengths[i % 3]},", f"{i}.ts")]
    playlist = parse(*lines)
    exact = Fraction(0)
    for i, segment in enumerate(playlist.segments):
        assert segment.start_s == float(exact)
        exact += Fraction(lengths[i % 3])
    assert playlist.total_s == float(exact)
    assert len(playlist.segments) == 17_280


def test_byte_ranges_explicit_and_following_the_one_before():
    playlist = parse(
        "#EXTINF:2,", "#EXT-X-BYTERANGE:100@10", "all.ts",
        "#EXT-X-BYTERANGE:50", "#EXTINF:2,", "all.ts",
        "#EXTINF:2,", "#EXT-X-BYTERANGE:7", "all.ts",
    )  # fmt: skip
    assert [s.byte_range for s in playlist.segments] == [ByteRange(10, 100), ByteRange(110, 50), ByteRange(160, 7)]


def test_an_implicit_byte_range_needs_one_before_of_the_same_resource():
    first = ("#EXTINF:2,", "#EXT-X-BYTERANGE:100@0", "a.ts")
    assert refuse("#EXTINF:2,", "#EXT-X-BYTERANGE:100", "a.ts") == "corrupt"
    assert refuse(*first, "#EXTINF:2,", "#EXT-X-BYTERANGE:100", "b.ts") == "corrupt"
    assert refuse(*first, "#EXTINF:2,", "a.ts", "#EXTINF:2,", "#EXT-X-BYTERANGE:9", "a.ts") == "corrupt"


def test_an_init_section_holds_for_all_that_follows_until_the_next():
    playlist = parse(
        "#EXTINF:2,", "0.ts",
        '#EXT-X-MAP:URI="init,0=a.mp4",BYTERANGE="800@4"', "#EXTINF:2,", "0.mp4", "#EXTINF:2,", "1.mp4",
        "#EXT-X-DISCONTINUITY", "#EXTINF:2,", "2.mp4",
        '#EXT-X-MAP:FUTURE=7,URI="../init-1.mp4"', "#EXTINF:2,", "3.mp4",
        '#EXT-X-MAP:BYTERANGE="600",URI="i.mp4"', "#EXTINF:2,", "4.mp4",
    )  # fmt: skip
    first = InitSection(FOLDER + "init,0=a.mp4", ByteRange(4, 800))
    second = InitSection(urljoin(FOLDER, "../init-1.mp4"))
    third = InitSection(FOLDER + "i.mp4", ByteRange(0, 600))
    assert [s.init for s in playlist.segments] == [None, first, first, first, second, third]


def test_a_gap_has_time_but_no_segment():
    playlist = parse(
        "#EXTINF:10,", "0.ts", "#EXT-X-DISCONTINUITY", "#EXT-X-GAP", "#EXTINF:5.5,", "1.ts", "#EXTINF:10,", "2.ts"
    )
    assert [(s.url, s.start_s) for s in playlist.segments] == [(FOLDER + "0.ts", 0), (FOLDER + "2.ts", 15.5)]
    assert playlist.total_s == 25.5


def test_wall_clock_runs_on_from_a_date_and_is_lost_at_a_discontinuity():
    date = datetime(2026, 11, 1, 12, tzinfo=UTC)
    playlist = parse(
        "#EXTINF:10,", "0.ts",
        "#EXT-X-PROGRAM-DATE-TIME:2026-11-01T13:00:00.000+01:00", "#EXTINF:10.5,", "1.ts", "#EXTINF:10,", "2.ts",
        "#EXT-X-DISCONTINUITY", "#EXTINF:10,", "3.ts",
        "#EXT-X-PROGRAM-DATE-TIME:2026-11-01T14:00:00Z", "#EXT-X-DISCONTINUITY", "#EXTINF:10,", "4.ts",
        "#EXT-X-PROGRAM-DATE-TIME:yesterday", "#EXTINF:10,", "5.ts",
    )  # fmt: skip
    second = date + timedelta(hours=2)
    expected = [None, date, date + timedelta(seconds=10.5), None, second, second + timedelta(seconds=10)]
    assert [s.program_date_time for s in playlist.segments] == expected
    assert playlist.segments[1].program_date_time.tzinfo is UTC


def test_a_date_at_the_end_of_the_calendar_is_harmless():
    playlist = parse("#EXT-X-PROGRAM-DATE-TIME:9999-12-31T23:59:59Z", "#EXTINF:10,", "0.ts", "#EXTINF:1,", "1.ts")
    assert playlist.segments[1].program_date_time is None
    assert parse("#EXT-X-PROGRAM-DATE-TIME:0001-01-01T00:00:00+05:00", "#EXTINF:1,", "0.ts").segments


@pytest.mark.parametrize(
    "uri",
    ["7.ts", "a/b.ts", "/top.ts", "../up.ts", "//other.net/x.ts", "https://h.net/a/../b.ts?q=1", "?only=query",
     "name with space.ts", "a..b.ts", "-1.ts", "index-0000000001-XXXX.ts?start_offset=9", "é.ts", "x:y.ts"],
)  # fmt: skip
def test_uris_resolve_as_rfc_3986_says(uri):
    url = urljoin(BASE, uri)
    if url.startswith("https://"):
        assert parse("#EXTINF:1,", uri).segments[0].url == url
    else:
        assert refuse("#EXTINF:1,", uri) == "corrupt"


@pytest.mark.parametrize("uri", ["file:///etc/passwd", "data:text/plain,x", "ftp://h/x.ts", "http://[::1"])
def test_only_http_resources(uri):
    assert refuse("#EXTINF:1,", uri) == "corrupt"
    assert refuse(f'#EXT-X-MAP:URI="{uri}"', "#EXTINF:1,", "0.mp4") == "corrupt"


def test_encrypted_segments_are_told_apart():
    key = '#EXT-X-KEY:METHOD=AES-128,URI="https://h.net/key"'
    assert refuse(key, "#EXTINF:1,", "0.ts") == "unsupported-encryption"
    assert refuse("#EXT-X-KEY:METHOD=SAMPLE-AES", "#EXTINF:1,", "0.ts") == "unsupported-encryption"
    assert len(parse("#EXT-X-KEY:METHOD=NONE", "#EXTINF:1,", "0.ts").segments) == 1


@pytest.mark.parametrize(
    "lines",
    [
        ["0.ts"],
        ["#EXTINF:1,", "0.ts", "1.ts"],
        ["#EXTINF:-1,", "0.ts"],
        ["#EXTINF:nan,", "0.ts"],
        ["#EXTINF:1e400,", "0.ts"],
        ["#EXTINF:86400.5,", "0.ts"],
        ["#EXTINF:,", "0.ts"],
        ["#EXTINF:1,", "#EXT-X-BYTERANGE:0@5", "0.ts"],
        ["#EXTINF:1,", "#EXT-X-BYTERANGE:-4@5", "0.ts"],
        ["#EXTINF:1,", "#EXT-X-BYTERANGE:4@", "0.ts"],
        ['#EXT-X-MAP:BYTERANGE="1@0"', "#EXTINF:1,", "0.mp4"],
        ['#EXT-X-MAP:URI="i.mp4",BYTERANGE="x"', "#EXTINF:1,", "0.mp4"],
        ["#EXT-X-STREAM-INF:BANDWIDTH=1", "chunked/index-dvr.m3u8"],
        ["#" + "x" * MAX_LINE_CHARS],
    ],
)
def test_contradictions_are_corrupt(lines):
    assert refuse(*lines) == "corrupt"


@pytest.mark.parametrize(
    "text", ["", "\n\n", "<!DOCTYPE html><html>", '{"error":"x"}', "#EXTM3U8\n", "0.ts", "\x00\x01", "EXTM3U"]
)
def test_what_is_no_playlist_is_corrupt(text):
    with pytest.raises(MediaError) as caught:
        parse_media_playlist(text, BASE)
    assert caught.value.reason == "corrupt"
    assert caught.value.args[0].isprintable()


def test_a_broadcast_that_just_began_has_no_segments_yet():
    playlist = parse("#EXT-X-TARGETDURATION:10")
    assert (playlist.segments, playlist.total_s, playlist.target_duration_s) == ((), 0, 10)


def test_target_duration_missing_or_odd_falls_back_to_the_longest_segment():
    assert parse("#EXTINF:4.2,", "0.ts", "#EXTINF:9,", "1.ts").target_duration_s == 9
    assert parse("#EXT-X-TARGETDURATION:soon", "#EXTINF:4.2,", "0.ts").target_duration_s == 4.2


def test_the_number_of_segments_is_bounded():
    text = "#EXTM3U\n" + "#EXTINF:1,\n0.ts\n" * (MAX_SEGMENTS + 1)
    with pytest.raises(MediaError, match="more than"):
        parse_media_playlist(text, BASE)


def test_a_million_tags_that_no_segment_uses_cost_little_memory():
    lines = '#EXT-X-MAP:URI="init.mp4"\n#EXT-X-PROGRAM-DATE-TIME:2026-11-01T12:00:00Z\n#EXT-X-DISCONTINUITY\n\n'
    text = "#EXTM3U\n" + lines * 50_000 + "#EXTINF:1,\n0.mp4\n"
    tracemalloc.start()
    try:
        playlist = parse_media_playlist(text, BASE)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    (segment,) = playlist.segments
    assert segment.init == InitSection(FOLDER + "init.mp4")
    assert segment.program_date_time == datetime(2026, 11, 1, 12, tzinfo=UTC)


def test_48_hours_are_kept_in_few_megabytes():
    text = "#EXTM3U\n" + "".join(f"#EXTINF:10.000,\n{n}.ts\n" for n in range(17_280))
    tracemalloc.start()
    try:
        playlist = parse_media_playlist(text, BASE)
        assert tracemalloc.get_traced_memory()[1] < 12 << 20
    finally:
        tracemalloc.stop()
    assert playlist.total_s == 172_800


def test_urls_that_a_long_folder_multiplies_are_bounded():
    folder = "https://h.net/" + "x" * 8000 + "/"
    text = "#EXTM3U\n" + "#EXTINF:1,\n0.ts\n" * (MAX_URL_CHARS // len(folder) + 1)
    with pytest.raises(MediaError, match="characters"):
        parse_media_playlist(text, folder)


def test_attributes_of_a_tag_are_bounded():
    assert refuse("#EXT-X-KEY:" + "A=1," * MAX_ATTRIBUTES + "METHOD=NONE") == "corrupt"
    assert parse("#EXT-X-KEY:" + "A=1," * (MAX_ATTRIBUTES - 1) + "METHOD=NONE").segments == ()


def test_a_page_in_place_of_a_playlist_may_be_one_later_but_a_broken_playlist_stays_broken():
    for text, passing in (("<html>", True), ("", True), ("#EXTM3U\n0.ts", False)):
        with pytest.raises(MediaError) as caught:
            parse_media_playlist(text, BASE)
        assert caught.value.retryable == passing


@pytest.mark.parametrize(
    "length", ["1000000000", "99999999999999999999", "1e9", "inf", "-0.5", "0x10", "1_0", "٣"]
)
def test_lengths_that_no_segment_has(length):
    assert refuse(f"#EXTINF:{length},", "0.ts") == "corrupt"


@settings(max_examples=100)
@given(st.lists(st.decimals(0, 20, places=6), min_size=1, max_size=50))
def test_starts_are_exact_sums(lengths):
    playlist = parse(*(line for n, length in enumerate(lengths) for line in (f"#EXTINF:{length:f},", f"{n}.ts")))
    sums = [Fraction(0), *accumulate(map(Fraction, lengths))]
    assert [segment.start_s for segment in playlist.segments] == [float(total) for total in sums[:-1]]
    assert playlist.total_s == float(sums[-1])


def streamlink_segments(text: str) -> list[tuple[object, ...]]:
    from streamlink.stream.hls.m3u8 import M3U8Parser, parse_m3u8

    playlist = parse_m3u8(text, base_uri=BASE, parser=M3U8Parser)
    return [
        (
            s.uri,
            s.duration,
            s.map and (s.map.uri, s.map.byterange and (s.map.byterange.range, s.map.byterange.offset or 0)),
            s.byterange and (s.byterange.range, s.byterange.offset),
        )
        for s in playlist.segments
    ]


def as_oracle(segment: Segment) -> tuple[object, ...]:
    init, part = segment.init, segment.byte_range
    return (
        segment.url,
        segment.duration_s,
        init and (init.url, init.byte_range and (init.byte_range.length, init.byte_range.start)),
        part and (part.length, part.start),
    )


names = st.from_regex(r"\A[a-z0-9-]{1,8}\.(ts|mp4)(\?[a-z]=[0-9]{1,3})?\Z")
durations = st.one_of(st.integers(0, 20).map(str), st.decimals(0, 20, places=3).map(str))
ranges = st.builds("{}@{}".format, st.integers(1, 10**9), st.integers(0, 10**9))
comments = st.sampled_from(["", "# note", "#EXT-X-FUTURE:1", "#EXT-X-KEY:METHOD=NONE"])


@st.composite
def playlists(draw) -> str:
    """Media playlists in which every discontinuity brings its own init section (streamlink forgets the old)."""
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:10"]
    fragmented = draw(st.booleans())
    for index in range(draw(st.integers(0, 8))):
        broken = index > 0 and draw(st.booleans())
        if broken:
            lines.append("#EXT-X-DISCONTINUITY")
        if fragmented and (index == 0 or broken):
            part = draw(st.none() | ranges)
            lines.append(f'#EXT-X-MAP:URI="{draw(names)}"' + (f',BYTERANGE="{part}"' if part else ""))
        tags = [f"#EXTINF:{draw(durations)},{draw(st.sampled_from(['', 'title']))}"]
        if draw(st.booleans()):
            tags.append(f"#EXT-X-BYTERANGE:{draw(ranges)}")
        lines += [*draw(st.permutations(tags)), draw(comments), draw(names)]
    return draw(st.sampled_from(["\n", "\r\n"])).join([*lines, "#EXT-X-ENDLIST"])


@settings(max_examples=150, deadline=None)
@given(playlists())
def test_oracle_streamlink_reads_the_same(text):
    assert [as_oracle(s) for s in parse_media_playlist(text, BASE).segments] == streamlink_segments(text)


fragments = st.sampled_from(
    ["#EXTM3U", "#EXTINF:", "#EXT-X-MAP:", "#EXT-X-BYTERANGE:", "#EXT-X-KEY:", "#EXT-X-PROGRAM-DATE-TIME:", "URI=",
     '"', ",", "=", "@", "10.0", "1" * 40, "\n", "\r\n", "0.ts", "http://[", "#EXT-X-GAP\n", "METHOD=NONE", "\ufeff",
     "#EXT-X-DISCONTINUITY\n", "2026-11-01T12:00:00Z", "\x00", "-", "e9", "#EXT-X-TARGETDURATION:"]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(fragments | st.text(max_size=8), max_size=40).map("".join), st.booleans())
def test_fuzz_only_media_errors_escape(text, headed):
    try:
        playlist = parse_media_playlist("#EXTM3U\n" + text if headed else text, BASE)
    except MediaError:
        return
    assert len(playlist.segments) <= text.count("\n") + 1
    starts = [s.start_s for s in playlist.segments]
    assert starts == sorted(starts)


def test_time_zones_are_kept_as_utc():
    zone = timezone(timedelta(hours=-7))
    date = datetime(2026, 3, 4, 5, 6, 7, tzinfo=zone)
    segment = parse(f"#EXT-X-PROGRAM-DATE-TIME:{date.isoformat()}", "#EXTINF:1,", "0.ts").segments[0]
    assert segment.program_date_time == date
