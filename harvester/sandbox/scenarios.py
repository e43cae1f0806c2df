"""Scenario VODs: one for each way in which the playback of real recordings differs from the plain case.

``harvester sandbox --scenario NAME`` adds one to the world, in a category of its own (``Scenario NAME``); ``all``
adds every one, and the cases of :mod:`harvester.sandbox.category_cases`. Their pictures are stamped
(:mod:`harvester.sandbox.stamp`), except cards and menus, so that a test can prove which picture was delivered.
What is known of the real service stands with each; nothing here was tried on it, and ``unverified`` marks what
nobody outside has been seen to tell.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction

from harvester.model import Codec, VodType
from harvester.sandbox.delivery import PLAIN, PTS_WRAP_S, Delivery, Refusal, Withheld
from harvester.sandbox.faults import Fault
from harvester.sandbox.world import Coding, Container, Cutting, Game

#: (width, height, codec) of the renditions, source first; the small ones keep encodes short.
Sizes = tuple[tuple[int, int, Codec], ...]
SMALL: Sizes = ((640, 360, Codec.H264),)
TWO: Sizes = ((640, 360, Codec.H264), (426, 240, Codec.H264))
#: What Twitch makes of a source of 1080 lines.
LADDER: Sizes = tuple(
    (width, height, Codec.H264)
    for width, height in ((1920, 1080), (1280, 720), (852, 480), (640, 360), (284, 160))
)

#: Footage of a scenario (s): four GOPs, which head four segments.
FOOTAGE_S = 8.0
AS_FILMED = Coding()
TEN_SECONDS = Cutting(10.0, rolling=True)


def _always(delivery: Delivery) -> Callable[[datetime], Delivery]:
    return lambda _now: delivery


_PLAINLY = _always(PLAIN)


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario. ``shots``: the sizes of each stretch of footage, one after the other; () = never played.

    ``outcome``: what harvester makes of it. ``deliver``: how it is delivered, given the time at which the world
    starts. ``live``: its broadcast began ``age`` ago and goes on. ``faults`` happen to requests for its playlists
    and media, where their ``path`` fits.
    """

    name: str
    id: str
    meaning: str
    outcome: str
    shots: tuple[Sizes, ...] = (SMALL,)
    cutting: Cutting = TEN_SECONDS
    container: Container = "ts"
    coding: Coding = AS_FILMED
    footage_s: float = FOOTAGE_S
    type: VodType = VodType.ARCHIVE
    age: timedelta = timedelta(days=2)
    deliver: Callable[[datetime], Delivery] = _PLAINLY
    chapters: tuple[
        tuple[str | None, float, float], ...
    ] = ()  # game ("" = its own, None = unset), start, length (s)
    shows: str = ""  # name of the category that the player is told, if it is another
    intro: bool = False
    live: bool = False
    faults: tuple[Fault, ...] = ()

    @property
    def game(self) -> Game:
        """The category that it stands in, alone."""
        return scenario_game(f"Scenario {self.name}", int(self.id))


def scenario_game(name: str, number: int) -> Game:
    """A category of that name."""
    return Game(str(600_000 + number), name, name.lower().replace(" ", "-"), viewers=1)


def _usher(status: int, code: str, message: str, heals: timedelta | None = None) -> Callable[[datetime], Delivery]:
    return lambda now: Delivery(refusal=Refusal(status, code, message, until=now + heals if heals else None))


#: Asked for anonymously, 1440 lines are withheld and named so.
_QUAD_HD = Withheld(
    "1440p12", 2560, 1440, 12.0, "hev1.1.6.L150.90", 9_000_000, authorization_reasons=("AUTHZ_NOT_LOGGED_IN",)
)

#: Each kind strikes a tenth of the requests, drawn by path and count: they differ from one another by their seeds.
_BAD_LINE = tuple(
    Fault(**action, probability=0.1, seed=str(action), times=0)
    for action in ({"cut": 1000}, {"reset": True}, {"delay_s": 5.0}, {"html": True})
)

SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        "plain",
        "2001",
        "MPEG-TS in 10 s segments, five renditions and sound alone",
        "frames of the least rendition of 720 lines or more",
        (LADDER,),
        deliver=_always(Delivery(sound=True)),
    ),
    # Helix names no game of a video: its listing says that the category occurred, not where.
    Scenario(
        "chapters",
        "2002",
        "three chapters, the category of the listing is the middle one",
        "frames of the middle one; of the others too, if their categories are asked for",
        (SMALL,) * 3,
        chapters=(("Scenario prelude", 0, 40), ("", 40, 40), ("Scenario encore", 80, 40)),
    ),
    # Copyrighted sound is replaced by silence in files of their own; the pictures are the same.
    Scenario(
        "muted",
        "2003",
        "a muted stretch, listed as -muted in a playlist of its own name",
        "frames, from the -muted files too",
        deliver=_always(Delivery(muted=range(2, 4), playlist="index-muted-AB12CD34EF.m3u8", sound=True)),
    ),
    # Seen by several downloaders: the playlist names -unmuted, which is refused; -muted stands beside it.
    Scenario(
        "unmuted",
        "2004",
        "a muted stretch, listed as -unmuted, which answers 403",
        "frames, read from the -muted files",
        deliver=_always(Delivery(muted=range(2, 4), lists_unmuted=True, sound=True)),
    ),
    Scenario(
        "sub-only",
        "2005",
        "for subscribers: usher answers 403 vod_manifest_restricted",
        "none: sub-only, never asked for again",
        (),
        deliver=_usher(403, "vod_manifest_restricted", "Manifest is restricted"),
    ),
    # The listing of a category lags behind (unverified); by id a deleted video is not found, and has no token.
    Scenario(
        "gone",
        "2006",
        "deleted: still listed, not found by id, no token",
        "none: gone is a candidate, asked for again on another day",
        (),
        deliver=_always(Delivery(gone=True)),
    ),
    Scenario(
        "passing-404",
        "2007",
        "usher answers 404 for twelve hours, then the playlist; seen to heal within an hour",
        "none tonight, frames on the next day",
        deliver=_usher(404, "transcode_does_not_exist", "transcode does not exist", timedelta(hours=12)),
    ),
    # Broadcasts sent in several encodes are packed as fragmented MP4, whatever the codec.
    # The clock of the stand-in stands still until it is set; the listing's length is that of the playlist.
    Scenario(
        "growing",
        "2008",
        "live for half an hour, for another half to come: no end, segments appear with the clock",
        "half of its frames, up to three segments before the end; the others on the next day",
        (SMALL, SMALL),
        cutting=Cutting(10.0, rolling=True, repeats=18),
        footage_s=20.0,
        age=timedelta(minutes=30),
        live=True,
    ),
    Scenario("fmp4", "2009", "fragmented MP4 with an init section", "frames", container="fmp4"),
    # The broadcaster's connection broke and came back with other settings.
    Scenario(
        "discontinuity",
        "2010",
        "fragmented MP4 that goes on in another resolution, with a second init section",
        "frames of both sizes",
        (((426, 240, Codec.H264),), SMALL),
        container="fmp4",
    ),
    # Without h265 in supported_codecs the best offered is a transcode in H.264.
    Scenario(
        "hevc",
        "2011",
        "source in HEVC, transcode in H.264, 1440 lines withheld",
        "frames of the source, where it can be decoded",
        (((640, 360, Codec.HEVC), (426, 240, Codec.H264)),),
        container="fmp4",
        deliver=_always(Delivery(withheld=(_QUAD_HD,))),
    ),
    # Reported of anonymous clients in October 2026.
    Scenario(
        "sound-only",
        "2012",
        "the multivariant playlist holds audio_only alone",
        "none: no-video, never asked for again",
        (),
        deliver=_always(Delivery(sound_only=True)),
    ),
    # Since 2026: a face above a cut-out of the game, named 1080p60-portrait and so on.
    Scenario(
        "portrait",
        "2013",
        "portrait variants beside the landscape ones",
        "frames of the landscape rendition",
        (((640, 360, Codec.H264), (360, 640, Codec.H264)),),
    ),
    Scenario(
        "dead-variant",
        "2014",
        "the media playlist of the source answers 403",
        "frames of the next rendition",
        (TWO,),
        deliver=_always(Delivery(denied=frozenset(["chunked"]))),
    ),
    # The source keeps the settings of the broadcaster's encoder; Twitch asks for a keyframe every two seconds.
    Scenario(
        "long-gop",
        "2015",
        "GOPs of 250 pictures, another picture size half-way, EXTINF that drifts",
        "frames of both sizes, at the times of their segments",
        (SMALL, ((512, 288, Codec.H264),)),
        cutting=Cutting(5.0),
        coding=Coding(fps=Fraction(30), gop_frames=250),
        footage_s=22.0,
        deliver=_always(Delivery(extinf_errors_s=(0.008, -0.012, 0.003))),
    ),
    Scenario(
        "two-days",
        "2016",
        "48 hours, 17,280 segments, time stamps through the end of 33 bits",
        "40 frames' worth of all 48 hours, equal pictures once",
        cutting=Cutting(10.0, rolling=True, repeats=4320),
    ),
    Scenario(
        "bad-line",
        "2017",
        "one answer in three is a short body, a reset, a stall of 5 s or a web page with status 200",
        "frames after retries, which are counted; what fails for good is asked for again",
        footage_s=24.0,
        faults=_BAD_LINE,
    ),
    Scenario(
        "intro",
        "2018",
        'five minutes of "Starting soon", black, a menu that stands still, then the game',
        "frames of the game, next to none of the rest",
        intro=True,
    ),
    # Seen: negative lengths, and zero for the last one of a growing recording. No game: where none was set
    # (unverified).
    Scenario(
        "odd-chapters",
        "2019",
        "chapters of negative and zero length, one of another game inside, one without a game",
        "frames of the chapters of its game that have a length, or last to the end",
        footage_s=22.0,
        chapters=(
            ("", 0, -5),
            ("Scenario prelude", 20, 10),
            ("", 15, 20),
            (None, 35, 3),
            ("", 40, 40),
            ("Scenario prelude", 80, 10),
            ("", 90, 0),
        ),
    ),
    Scenario(
        "fresh",
        "2020",
        "made two minutes ago: listed, no token before an hour has passed (unverified how long)",
        "none: not-ready, asked for again an hour later",
        (),
        age=timedelta(minutes=2),
        deliver=lambda now: Delivery(token_from=now + timedelta(hours=1)),
    ),
    Scenario(
        "unauthorized",
        "2021",
        "for subscribers: usher answers 403 unauthorized_entitlements",
        "none: sub-only, never asked for again",
        (),
        deliver=_usher(403, "unauthorized_entitlements", "Unauthorized"),
    ),
    Scenario(
        "av1",
        "2022",
        "source in AV1, transcode in H.264",
        "frames of the source, where it can be decoded",
        (((640, 360, Codec.AV1), (426, 240, Codec.H264)),),
        container="fmp4",
    ),
    Scenario(
        "old-segments",
        "2023",
        "of 2015: segments of 4.004 s under names with a start_offset",
        "frames",
        cutting=Cutting(4.004, rolling=True),
        coding=Coding(fps=Fraction(30_000, 1001), gop_frames=60),
        type=VodType.HIGHLIGHT,
        age=timedelta(days=4000),
        deliver=_always(Delivery(old_names=True)),
    ),
    # A highlight keeps the file numbers of the broadcast that it was cut from.
    Scenario(
        "highlight",
        "2024",
        "a highlight: playlist highlight-<id>.m3u8, first file 137.ts",
        "frames",
        type=VodType.HIGHLIGHT,
        deliver=_always(Delivery(first_number=137)),
    ),
    Scenario(
        "byte-ranges",
        "2025",
        "segments are byte ranges of one file",
        "frames",
        deliver=_always(Delivery(single_file=True)),
    ),
    Scenario(
        "fmp4-byte-ranges",
        "2026",
        "init sections and segments are byte ranges of one file",
        "frames of both sizes",
        (((426, 240, Codec.H264),), SMALL),
        container="fmp4",
        deliver=_always(Delivery(single_file=True)),
    ),
    Scenario(
        "absolute", "2027", "segments at absolute URLs", "frames", deliver=_always(Delivery(uris="absolute"))
    ),
    Scenario(
        "signed",
        "2028",
        "segments at signed URLs, refused without the signature",
        "frames; no signature in log or metadata",
        deliver=_always(Delivery(uris="signed")),
    ),
    Scenario(
        "dated",
        "2029",
        "every segment with its EXT-X-PROGRAM-DATE-TIME",
        "frames, at times that EXTINF adds up to",
        deliver=_always(Delivery(dated=True)),
    ),
    Scenario(
        "old-master",
        "2030",
        "the older multivariant playlist, with EXT-X-MEDIA",
        "frames",
        (TWO,),
        deliver=_always(Delivery(version=1)),
    ),
    Scenario(
        "no-source",
        "2031",
        "transcodes without the source rendition",
        "frames of the tallest transcode",
        (TWO,),
        deliver=_always(Delivery(no_source=True)),
    ),
    # 26.5 hours into a broadcast.
    Scenario(
        "pts-wrap",
        "2032",
        "time stamps that run through the end of their 33 bits, inside a segment",
        "frames at the right times",
        deliver=_always(Delivery(first_pts_s=PTS_WRAP_S - 25.5, sound=True)),
    ),
    Scenario(
        "two-days-restart",
        "2033",
        "48 hours, 17,280 segments, time stamps that start again in each",
        "as two-days",
        cutting=Cutting(10.0, rolling=True, repeats=4320),
        deliver=_always(Delivery(pts_mode="restart")),
    ),
    # Which category of a video Helix goes by is not documented; the player's own answer names one, too.
    Scenario(
        "other-game",
        "2034",
        "listed under its category, of another one by what the player is told; no chapters",
        "none; frames of 'Scenario prelude', if that is asked for too",
        shows="Scenario prelude",
    ),
)
