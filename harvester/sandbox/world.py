"""What exists in the stand-in of Twitch: games, channels, videos, clips. Pure records, no bytes, no HTTP.

A :class:`World` is built from footage sessions and a seed (see :mod:`harvester.sandbox.build`); the same seed and
footage give the same ids, times, counts and titles on every machine. ``World.now`` is the world's clock: it
stands still until it is set, so that the same request has the same answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Literal

from harvester.model import SplitName, VodType
from harvester.sandbox.delivery import PLAIN, Delivery, PtsMode
from harvester.sandbox.footage import Session
from harvester.sandbox.quirks import ListingQuirks

Container = Literal["ts", "fmp4"]
#: How a clip misbehaves: it has no answer, lists no files or not the tallest, lists portrait files among the
#: others, its object is dead, its signatures have expired before they are used.
ClipCondition = Literal["fine", "null", "no-files", "part-files", "portrait-listed", "dead", "expired"]

#: Length of a GOP of the footage, as its description promises (s).
GOP_S = 2.0

#: The rendition that is the broadcaster's own stream.
SOURCE_FOLDER = "chunked"
#: The rendition that is sound alone, and its bits per second.
AUDIO_FOLDER = "audio_only"
AUDIO_BANDWIDTH = 64_000


@dataclass(frozen=True, slots=True)
class Game:
    """A Twitch category. ``viewers`` orders ``/games/top``.

    ``empty_from``: from then on its listings are answered with 200 and nothing, whatever there is, as happened to
    ``/videos`` for days (twitchdev/issues #598, 2022); None = never.
    """

    id: str
    name: str
    slug: str
    igdb_id: str = ""
    viewers: int = 0
    empty_from: datetime | None = None

    def listed_at(self, now: datetime) -> bool:
        """True while its listings tell what there is."""
        return self.empty_from is None or now < self.empty_from


@dataclass(frozen=True, slots=True)
class Channel:
    """A broadcaster."""

    id: str
    login: str
    name: str


@dataclass(frozen=True, slots=True)
class Look:
    """One seeded variety of a session: a crop window (shares of the picture), mirrored or not, tinted.

    ``tint``: what is added to the two chroma planes (8-bit levels).
    """

    left: float
    top: float
    scale: float
    mirror: bool
    tint: tuple[int, int]

    def __post_init__(self) -> None:
        fits = 0 < self.scale <= 1 and 0 <= self.left <= 1 - self.scale and 0 <= self.top <= 1 - self.scale
        if not fits:
            raise ValueError(f"crop window leaves the picture: {self!r}")


@dataclass(frozen=True, slots=True)
class Coding:
    """How a piece is encoded anew. ``fps`` None: as the footage; ``gop_frames`` 0: GOPs of two seconds."""

    fps: Fraction | None = None
    gop_frames: int = 0


@dataclass(frozen=True, slots=True)
class Piece:
    """Footage shown in a video: a session in one look. ``number`` is what its stamp carries, if it has one.

    With a ``coding`` the sizes and codecs of the session's files are those to encode; their path is the source.
    """

    session: Session
    number: int
    look: Look | None = None
    stamp_category: int | None = None  # category id to stamp into the pictures; None = no stamp
    coding: Coding | None = None
    drawing: Literal["menu"] | None = None  # what is drawn over the whole picture

    @property
    def encoded(self) -> bool:
        """True if the pictures differ from the footage file, so that an encode must exist."""
        return any(change is not None for change in (self.look, self.stamp_category, self.coding, self.drawing))

    @property
    def fps(self) -> float:
        """Pictures per second."""
        return float(self.coding.fps) if self.coding and self.coding.fps else self.session.fps


@dataclass(frozen=True, slots=True)
class Cutting:
    """How a video is cut into segments, at keyframes.

    ``segment_s``: least length; a segment ends with the GOP that reaches it. ``rolling``: segment k starts with
    GOP k of the footage and goes on with the next ones (wrapping), so that little footage gives many segments
    with different heads; the video then is ``segment_s / GOP_S`` times as long as its footage. ``repeats``: how
    often each piece is shown, one time after the other.
    """

    segment_s: float
    rolling: bool = False
    repeats: int = 1

    def duration_s(self, footage_s: float) -> float:
        """Length of a video of that much footage."""
        return self.repeats * (footage_s / GOP_S * self.segment_s if self.rolling else footage_s)


@dataclass(frozen=True, slots=True)
class Chapter:
    """A stretch of a video with one game (None: unset), as the player shows it. Nothing is checked: Twitch's own
    are negative, zero long or overlap at times."""

    game_id: str | None
    start_s: float
    length_s: float


@dataclass(frozen=True, slots=True)
class Video:
    """A VOD. ``created_at``: start of the stream, UTC.

    ``live``: it is being broadcast from ``created_at`` on, and what the world's clock has not reached is not there
    yet. ``listing_ahead_s``: the duration that Helix lists runs ahead of the playlist by this (s; negative: it
    lags) as long as the broadcast goes on. That they differ at all is unverified; nothing promises they agree.
    """

    id: str
    stream_id: str | None
    channel: Channel
    game: Game
    pieces: tuple[Piece, ...]
    cutting: Cutting
    container: Container
    title: str
    created_at: datetime
    language: str
    views: int
    type: VodType
    distribution: str  # host part of its CDN path
    chapters: tuple[Chapter, ...] = ()
    told_game: Game | None = None  # what the player is told as its game, if it is another than the listing's
    live: bool = False
    listing_ahead_s: float = 0.0
    delivery: Delivery = PLAIN

    @property
    def duration_s(self) -> float:
        """Length (s), as the footage index tells it."""
        return sum(self.cutting.duration_s(piece.session.seconds) for piece in self.pieces)

    @property
    def heights(self) -> tuple[int, ...]:
        """Heights of its renditions, source first: those that every piece has."""
        source, *rest = (file.height for file in self.pieces[-1].session.files)
        shared = [h for h in rest if all(any(f.height == h for f in p.session.files) for p in self.pieces)]
        return (source, *shared)

    @property
    def muted_s(self) -> tuple[float, float] | None:
        """Start and length (s) of its muted stretch; None if it has none."""
        muted, segment_s = self.delivery.muted, self.cutting.segment_s
        return (muted.start * segment_s, len(muted) * segment_s) if muted else None

    @property
    def special(self) -> str:
        """Its folder on the CDN: 20 hex digits, login, stream id and start, as Twitch names them."""
        rest = f"{self.channel.login}_{self.stream_id or self.id}_{int(self.created_at.timestamp())}"
        return f"{hashlib.sha1(rest.encode(), usedforsecurity=False).hexdigest()[:20]}_{rest}"

    def footage_at(self, offset_s: float) -> tuple[Piece, float]:
        """Which footage plays ``offset_s`` into the video: the piece, and seconds from the start of its session.

        For GOPs of :data:`GOP_S` and true EXTINF. Raises :class:`ValueError` outside the video.
        """
        position = offset_s
        for piece in self.pieces:
            length = self.cutting.duration_s(piece.session.seconds)
            if 0 <= position < length:
                return piece, self._footage_second(piece, position)
            position -= length
        raise ValueError(f"video {self.id} has nothing at {offset_s} s")

    def _footage_second(self, piece: Piece, position: float) -> float:
        if not self.cutting.rolling:
            return position % piece.session.seconds
        segment, inside = divmod(position, self.cutting.segment_s)
        return (segment * GOP_S + inside) % piece.session.seconds


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip: ``duration_s`` of one piece from ``start_s`` (seconds of its footage) on, at keyframes."""

    id: str
    channel: Channel
    game: Game
    piece: Piece
    start_s: float
    duration_s: float
    title: str
    created_at: datetime
    language: str
    views: int
    creator: Channel
    video_id: str = ""  # "" = the video is gone or not linked
    vod_offset_s: int | None = None
    condition: ClipCondition = "fine"

    @property
    def heights(self) -> tuple[int, ...]:
        """Heights of its renditions, best first."""
        return tuple(file.height for file in self.piece.session.files)


@dataclass(frozen=True, slots=True)
class RenditionInfo:
    """One quality of a video, as a multivariant playlist describes it."""

    folder: str
    name: str
    width: int
    height: int
    fps: float
    codecs: str
    bandwidth: int  # bits per second of its heaviest segment

    @property
    def source(self) -> bool:
        """What the broadcaster sent, not a transcode."""
        return self.folder == SOURCE_FOLDER

    @property
    def portrait(self) -> bool:
        """Higher than wide."""
        return self.height > self.width


@dataclass(frozen=True, slots=True)
class SegmentEntry:
    """One segment of a media playlist. ``init``: index of its init section (fMP4).

    ``start_s``, ``duration_s``: as the playlist has them (sum of EXTINF, EXTINF). ``media_s``: where its pictures
    stand in the recording, by which they are time-stamped.
    """

    piece: int
    gops: tuple[int, ...]
    start_s: float
    duration_s: float
    init: int = 0
    discontinuity: bool = False
    media_s: float = 0.0


@dataclass(slots=True)
class World:
    """Everything there is. Only its clock can change; what is younger than ``now`` does not exist yet."""

    seed: str
    now: datetime
    games: tuple[Game, ...]
    channels: tuple[Channel, ...]
    videos: tuple[Video, ...]
    clips: tuple[Clip, ...]
    pts_mode: PtsMode = "rising"
    quirks: ListingQuirks = field(default_factory=ListingQuirks)
    _video_by_id: dict[str, Video] = field(init=False, repr=False)
    _clip_by_id: dict[str, Clip] = field(init=False, repr=False)
    _by_game: dict[str, tuple[list[Video], list[Clip]]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.now.tzinfo is None:
            raise ValueError("now must be an aware UTC time")
        self.now = self.now.astimezone(UTC)
        self._video_by_id = {video.id: video for video in self.videos}
        self._clip_by_id = {clip.id: clip for clip in self.clips}
        self._by_game = {}
        for video in self.videos:
            self._of(video.game.id)[0].append(video)
        for clip in self.clips:
            self._of(clip.game.id)[1].append(clip)

    def video(self, video_id: str) -> Video | None:
        """The video of that id, if it exists now."""
        video = self._video_by_id.get(video_id)
        return video if video and video.created_at <= self.now and not video.delivery.gone else None

    def playable(self, video_id: str) -> Video | None:
        """The video of that id, if there is a playback token for it now."""
        video = self.video(video_id)
        return video if video and (video.delivery.token_from or self.now) <= self.now else None

    def clip(self, slug: str) -> Clip | None:
        """The clip of that slug (case-sensitive), if it exists now."""
        clip = self._clip_by_id.get(slug)
        return clip if clip and clip.created_at <= self.now else None

    def find_videos(self, wanted: Callable[[Video], bool], game_id: str | None = None) -> list[Video]:
        """Existing videos (of one game) that ``wanted`` accepts, newest first."""
        videos = self.videos if game_id is None else self._by_game.get(game_id, ([], []))[0]
        found = [video for video in videos if video.created_at <= self.now and wanted(video)]
        return sorted(found, key=lambda video: (video.created_at, video.id), reverse=True)

    def find_clips(self, wanted: Callable[[Clip], bool], game_id: str | None = None) -> list[Clip]:
        """Existing clips (of one game) that ``wanted`` accepts, most views first."""
        clips = self.clips if game_id is None else self._by_game.get(game_id, ([], []))[1]
        found = [clip for clip in clips if clip.created_at <= self.now and wanted(clip)]
        return sorted(found, key=lambda clip: (-clip.views, clip.id))

    def _of(self, game_id: str) -> tuple[list[Video], list[Clip]]:
        return self._by_game.setdefault(game_id, ([], []))

    def ended(self, video: Video) -> bool:
        """True once nothing will be added to the video."""
        return not video.live or self.now >= video.created_at + timedelta(seconds=video.duration_s)

    def listed_s(self, video: Video) -> float:
        """Length of the video as Helix lists it now (s)."""
        if self.ended(video):
            return video.duration_s
        return max(0.0, self._on_air_s(video) + video.listing_ahead_s)

    def aired(self, video: Video, entries: Sequence[SegmentEntry]) -> Sequence[SegmentEntry]:
        """Those of the video's segments that are there now: the ones that have been broadcast to their end."""
        if self.ended(video):
            return entries
        shown_s = self._on_air_s(video) + 1e-6  # sums of durations are floats
        return [entry for entry in entries if entry.start_s + entry.duration_s <= shown_s]

    def _on_air_s(self, video: Video) -> float:
        return (self.now - video.created_at).total_seconds()

    def pieces(self) -> list[Piece]:
        """Every piece of footage shown anywhere, each once."""
        shown = [piece for video in self.videos for piece in video.pieces] + [clip.piece for clip in self.clips]
        return list(dict.fromkeys(shown))


def split_of(broadcaster_id: str) -> SplitName:
    """The dataset split of a broadcaster, by the rule the dataset's contract states."""
    digest = hashlib.sha256(f"split:{broadcaster_id}".encode()).digest()
    share: float = int.from_bytes(digest[:8], "big") / 2**64
    return "train" if share < 0.8 else "validation" if share < 0.9 else "test"


def whole_minutes(moment: datetime) -> datetime:
    """``moment`` without seconds: Twitch rounds window edges."""
    return moment - timedelta(seconds=moment.second, microseconds=moment.microsecond)
