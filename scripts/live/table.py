"""The assumptions, in the order in which they are looked at; should requests run out, the last weighs least."""

from __future__ import annotations

from live.catalogue import cursor_pages, known_hashes, listed_category
from live.clips import clip_file, offset_direction
from live.finding import Assumption
from live.media import gop_length, parallel_ranges, range_answers, segment_heads, storyboards
from live.playback import media_playlist, multivariant_layout, resolving_cost

ASSUMPTIONS = (
    Assumption(
        1,
        "/videos?game_id pages with a cursor",
        "a category gives 100 VODs a query at most: cross languages, types and periods to see more",
        cursor_pages,
    ),
    Assumption(
        2,
        "a VOD listed under a category has it as its game or among its chapters",
        "label_source listing is worth nothing: take VODs by their chapters only",
        listed_category,
    ),
    Assumption(
        3,
        "the persisted hashes of GQL are known",
        "chapters, previews and playback are asked spelt out, which costs a few requests",
        known_hashes,
    ),
    Assumption(
        4,
        "resolving a VOD costs GQL 1, usher 1 and one playlist; streamlink's inner names are where they are used",
        "opening sources costs several times the requests: see which streamlink is installed",
        resolving_cost,
    ),
    Assumption(
        5,
        "the multivariant playlist has layout v1 or v2 and names size and codecs of each rendition",
        "renditions may be chosen wrongly or not at all: reading multivariant playlists must learn the new layout",
        multivariant_layout,
    ),
    Assumption(
        6,
        "the playlist of a finished VOD ends, adds up to its length, and stays on allowed hosts",
        "offsets drift, VODs never count as finished, or [fetch] hosts must name another host",
        media_playlist,
    ),
    Assumption(
        7,
        "segments start on a random-access picture",
        "frames of such renditions fail (no-keyframe) or stand later than their segment's start",
        segment_heads,
    ),
    Assumption(
        8,
        "ranges of segments are answered with 206 and a total",
        "heads cost whole segments: the transport hangs up after the part it wants, and connections are lost",
        range_answers,
    ),
    Assumption(
        9,
        "the lowest rendition has a GOP of two seconds",
        "keyframes inside segments are rarer than thought; the first of each segment is not affected",
        gop_length,
    ),
    Assumption(
        10,
        "a clip's file: 401 unsigned, 206 signed, index in front",
        "clips cost more requests, or expired signatures are not recognised by their status",
        clip_file,
    ),
    Assumption(
        11,
        "vod_offset is where a clip starts in its VOD",
        "labels that clips give to their VODs are off by the clip's length",
        offset_direction,
    ),
    Assumption(
        12,
        "a VOD has storyboards of 160x90 and 220x124, five columns, 200 cells at most",
        "previews are left out for VODs without them; other sizes are read as their file says",
        storyboards,
    ),
    Assumption(
        13,
        "parallel ranges are as fast as one alone",
        "the CDN throttles (or this line is the bottleneck): fewer [fetch] connections_per_host lose nothing",
        parallel_ranges,
    ),
)
