"""How the playback of a VOD deviates from the plain case: what usher says, what playlists list, what is served.

Records only. Each field names what is known of the real service; ``unverified`` stands where nobody outside of
Twitch has been seen to tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

PtsMode = Literal["rising", "restart"]

#: Presentation time of the first picture of a recording with rising timestamps (s): never 0, as on Twitch.
FIRST_PTS_S = 10.0
#: Where the 33 bits of an MPEG-TS time stamp at 90 kHz start again (s): after 26.5 hours.
PTS_WRAP_S = 2**33 / 90_000


@dataclass(frozen=True, slots=True)
class Refusal:
    """What usher answers in place of a playlist. ``until``: when it stops, by the world's clock; None = never.

    Codes seen: ``vod_manifest_restricted`` and ``unauthorized_entitlements`` (403, for subscribers only),
    ``transcode_does_not_exist`` (404, expired; also seen to heal within an hour). Wordings are unverified.
    """

    status: int
    code: str
    message: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Withheld:
    """A rendition that the multivariant playlist names among ``unavailable-media``, with the reasons.

    Reasons as seen: ``AUTHZ_NOT_LOGGED_IN`` for 1440 lines asked for anonymously. Reasons of filters begin with
    ``FR_``; the rest of their names is unverified.
    """

    name: str
    width: int
    height: int
    fps: float
    codecs: str
    bandwidth: int
    filter_reasons: tuple[str, ...] = ()
    authorization_reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Delivery:
    """How one VOD is delivered; the defaults are the plain case.

    ``gone``: the listing of its category still shows it; asked for by id it is not there, nor has it a token.
    ``token_from``: before that there is no playback token, as for broadcasts of a few minutes ago.
    ``version``: text of the multivariant playlist, 1 with EXT-X-MEDIA, 2 without; None = as the path asks.
    ``sound_only``, ``no_source``: no picture is offered; no ``chunked``. ``denied``: folders whose media
    playlist answers 403. ``playlist``: file name of media playlists; "" = as the type of the video has it.
    ``sound``: MPEG-TS segments hold silence beside the picture, as real ones hold sound. ``first_number``: number
    of the first file; a highlight keeps those of its broadcast. ``muted``: segments whose sound was taken for
    copyright; ``lists_unmuted``: they are listed as ``-unmuted``, which answers 403. ``old_names``:
    ``index-0000000001-xxxx.ts?start_offset=0``, as in 2015. ``uris``: how playlists point at files;
    neither absolute nor signed ones were seen of VODs, HLS allows both. ``single_file``: segments are byte ranges
    of one file (not seen on Twitch either). ``dated``: EXT-X-PROGRAM-DATE-TIME, which some recordings of 2026
    have. ``extinf_errors_s``: added in turn to what EXTINF says; real ingests write 10.008 or 9.98.
    """

    gone: bool = False
    token_from: datetime | None = None
    refusal: Refusal | None = None
    version: Literal[1, 2] | None = None
    sound_only: bool = False
    no_source: bool = False
    denied: frozenset[str] = frozenset()
    withheld: tuple[Withheld, ...] = ()
    playlist: str = ""
    sound: bool = False
    first_number: int = 0
    muted: range = range(0)
    lists_unmuted: bool = False
    old_names: bool = False
    uris: Literal["relative", "absolute", "signed"] = "relative"
    single_file: bool = False
    dated: bool = False
    extinf_errors_s: tuple[float, ...] = ()
    pts_mode: PtsMode | None = None  # None = the world's
    first_pts_s: float = FIRST_PTS_S

    def refusal_at(self, now: datetime) -> Refusal | None:
        """What usher refuses with at that time, if it does."""
        refusal = self.refusal
        return refusal if refusal and (refusal.until is None or now < refusal.until) else None

    def extinf_error_s(self, segment: int) -> float:
        """By how much EXTINF of a segment is wrong (s)."""
        return self.extinf_errors_s[segment % len(self.extinf_errors_s)] if self.extinf_errors_s else 0.0


PLAIN = Delivery()
