"""The records that flow from stage to stage: frozen, checked when built, units in the field names.

discover: Category, Vod, Clip · resolve: Rendition · plan: Segment, Span, Target · fetch: ByteRange, AccessUnit ·
decode: Picture · judge: Measurement, Verdict · write: Frame.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Mapping

SourceKind = Literal["vod", "clip"]
#: Where a label comes from (contract, column ``label_source``): the clip's own category, a chapter of the VOD, the
#: VOD's own single category, clips of the VOD, or nothing but Helix's listing.
LabelSource = Literal["clip", "chapter", "vod", "clip_span", "listing"]
SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")

#: Side of the square luma grid that the hash is made of (invariant: 32 x 32, exact area sums).
GRID_SIDE = 32
#: Rows and columns of the coarse tile sums of a measurement (16:9 thumbnails of 32 x 18).
TILE_ROWS, TILE_COLS = 18, 32


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise ValueError(what)


class Codec(StrEnum):
    """Video codecs we read, by their common short names."""

    H264 = "h264"
    HEVC = "hevc"
    AV1 = "av1"


class VodType(StrEnum):
    """Helix ``type`` of a video."""

    ARCHIVE = "archive"
    HIGHLIGHT = "highlight"
    UPLOAD = "upload"


@dataclass(frozen=True, slots=True)
class Category:
    """A Twitch game category: our label. Keyed by ``id`` for ever; names change."""

    id: str
    name: str

    def __post_init__(self) -> None:
        _require(self.id.isascii() and self.id.isdigit(), f"category id must be digits, got {self.id!r}")
        _require(bool(self.name), "category name is empty")


@dataclass(frozen=True, slots=True)
class Vod:
    """A recorded broadcast, highlight or upload, as Helix lists it under a category."""

    id: str
    category_id: str
    broadcaster_id: str
    broadcaster: str
    title: str
    created_at: datetime  # UTC, aware; for an archive the start of the stream
    duration_s: float
    type: VodType
    language: str
    views: int
    listed: bool = True  # False: Helix does not list it under category_id, other evidence says that it shows it

    def __post_init__(self) -> None:
        _require(self.id.isascii() and self.id.isdigit(), f"VOD id must be digits, got {self.id!r}")
        _require(bool(self.broadcaster_id), "broadcaster id is empty")
        _require(self.duration_s >= 0, "duration is negative")
        _require(self.created_at.tzinfo is not None, "created_at must be aware")

    @property
    def kind(self) -> SourceKind:
        return "vod"

    @property
    def page_url(self) -> str:
        """Public page of the VOD: what streamlink resolves and provenance quotes."""
        return f"https://www.twitch.tv/videos/{self.id}"


@dataclass(frozen=True, slots=True)
class Clip:
    """A Twitch clip, as Helix lists it under a category."""

    id: str  # the slug, case-sensitive
    category_id: str
    broadcaster_id: str
    broadcaster: str
    title: str
    created_at: datetime  # UTC, aware
    duration_s: float
    language: str
    views: int
    video_id: str | None = None  # the VOD it was cut from; None when gone or not linked
    vod_offset_s: float | None = None  # where in that VOD it starts; None when unknown

    def __post_init__(self) -> None:
        _require(
            bool(self.id) and self.id.replace("-", "").replace("_", "").isalnum() and self.id.isascii(),
            f"clip slug has unexpected characters: {self.id!r}",
        )
        _require(bool(self.broadcaster_id), "broadcaster id is empty")
        _require(self.duration_s >= 0, "duration is negative")
        _require(self.created_at.tzinfo is not None, "created_at must be aware")

    @property
    def kind(self) -> SourceKind:
        return "clip"

    @property
    def page_url(self) -> str:
        """Public page of the clip: what streamlink resolves and provenance quotes."""
        return f"https://clips.twitch.tv/{self.id}"


Source = Vod | Clip


@dataclass(frozen=True, slots=True)
class Rendition:
    """One quality of a source. ``url``: media playlist of a VOD, MP4 of a clip; may be signed, so never shown."""

    name: str
    url: str = field(repr=False)
    width: int | None  # pixels; None when the service does not tell (clips)
    height: int | None
    fps: float | None
    bandwidth: int | None  # bits per second, peak
    codecs: str  # RFC 6381 list, "" when unknown
    has_video: bool = True


@dataclass(frozen=True, slots=True)
class Span:
    """Half-open stretch of a source, ``[start_s, end_s)``, seconds from its start."""

    start_s: float
    end_s: float

    def __post_init__(self) -> None:
        _require(0 <= self.start_s <= self.end_s, f"span [{self.start_s}, {self.end_s}) is not ordered")

    @property
    def length_s(self) -> float:
        return self.end_s - self.start_s

    def __contains__(self, moment_s: float) -> bool:
        return self.start_s <= moment_s < self.end_s


@dataclass(frozen=True, slots=True)
class Chapter:
    """Stretch ``span`` of a VOD under one category, as Twitch's player marks it; ``category`` None = unset."""

    span: Span
    category: Category | None

    def __post_init__(self) -> None:
        _require(self.span.length_s > 0, "an empty chapter")


@dataclass(frozen=True, slots=True)
class VideoDetails:
    """What GQL tells of a VOD beyond Helix; a part that it did not tell is None, or "" for text.

    ``category``: the one category of the whole VOD, None also when unset. ``chapters``: in order, without overlap,
    perhaps with gaps; () = the VOD has no chapters, so all of it is ``category``.
    """

    id: str
    category: Category | None = None
    length_s: float | None = None
    broadcast_type: str = ""  # ARCHIVE, HIGHLIGHT, UPLOAD ...
    owner_login: str = ""
    owner_name: str = ""
    chapters: tuple[Chapter, ...] | None = None
    storyboard_url: str | None = field(default=None, repr=False)  # of its JSON; None also for fresh VODs

    def __post_init__(self) -> None:
        _require(self.length_s is None or self.length_s >= 0, "length is negative")
        ends = [0.0, *(chapter.span.end_s for chapter in self.chapters or ())]
        starts = [chapter.span.start_s for chapter in self.chapters or ()]
        _require(all(end <= start for end, start in zip(ends, starts, strict=False)), "chapters overlap")


@dataclass(frozen=True, slots=True)
class Label:
    """Which evidence says that a picture shows its category, and how sure that is (0..1)."""

    source: LabelSource
    confidence: float

    def __post_init__(self) -> None:
        _require(0 <= self.confidence <= 1, f"confidence {self.confidence} is no share")


@dataclass(frozen=True, slots=True)
class LabelledSpan:
    """Stretch of a source that shows one category, guards taken off."""

    span: Span
    category_id: str
    label: Label


@dataclass(frozen=True, slots=True)
class ByteRange:
    """``length`` bytes from ``start`` of a resource (bytes)."""

    start: int
    length: int

    def __post_init__(self) -> None:
        _require(self.start >= 0 and self.length > 0, f"byte range {self.start}+{self.length} is not a range")

    @property
    def end(self) -> int:
        """One past the last byte."""
        return self.start + self.length

    def header(self) -> str:
        """Value of an HTTP ``Range`` header (RFC 9110 §14.1.2; its last byte is inclusive)."""
        return f"bytes={self.start}-{self.end - 1}"


@dataclass(frozen=True, slots=True)
class InitSection:
    """``EXT-X-MAP``: where the init section of fMP4 segments lies."""

    url: str = field(repr=False)
    byte_range: ByteRange | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """One media segment of a playlist."""

    url: str = field(repr=False)
    start_s: float  # sum of EXTINF before it
    duration_s: float  # its EXTINF
    byte_range: ByteRange | None = None
    init: InitSection | None = None
    program_date_time: datetime | None = None  # UTC of its first picture, if the playlist dates it

    def __post_init__(self) -> None:
        _require(self.start_s >= 0 and self.duration_s >= 0, "segment times are negative")


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """What a decoder and the colour conversion need to know, read from SPS or sequence header.

    ``matrix`` is H.273 MatrixCoefficients (1 BT.709, 5/6 BT.601, 2 unspecified); ``crop`` is
    (left, top, right, bottom) in luma pixels of the coded picture.
    """

    codec: Codec
    coded_width: int
    coded_height: int
    crop: tuple[int, int, int, int] = (0, 0, 0, 0)
    bit_depth: int = 8
    chroma: Literal["400", "420", "422", "444"] = "420"
    full_range: bool = False
    matrix: int = 2
    interlaced: bool = False

    @property
    def width(self) -> int:
        """Display width (pixels)."""
        return self.coded_width - self.crop[0] - self.crop[2]

    @property
    def height(self) -> int:
        """Display height (pixels)."""
        return self.coded_height - self.crop[1] - self.crop[3]

    def __post_init__(self) -> None:
        _require(self.width > 0 and self.height > 0, f"no picture left: {self.coded_width}x{self.coded_height}")
        _require(8 <= self.bit_depth <= 16, f"bit depth {self.bit_depth}")


@dataclass(frozen=True, slots=True)
class AccessUnit:
    """One complete random-access picture, ready for a decoder that has seen nothing before.

    ``data``: H.264, HEVC: Annex B, parameter sets in front; AV1: the OBUs of a temporal unit, sequence header
    in front. ``moment_s``: for a segment, its presentation time minus that of the segment's earliest picture;
    for an MP4 file, its presentation time after the edit list. ``head_bytes``: bytes from the head's start
    that had to be read to know the picture complete (0 for MP4 samples, whose sizes are known beforehand).
    """

    stream: StreamInfo
    data: bytes = field(repr=False)
    moment_s: float
    head_bytes: int = 0

    def __post_init__(self) -> None:
        _require(bool(self.data), "access unit is empty")


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A decoded picture in host memory, cropped to display size.

    ``y`` (height, width); ``u``, ``v`` chroma planes at the stream's subsampling; uint8 for 8 bit, else uint16
    with the value in the low bits. ``u`` and ``v`` are None for monochrome.
    """

    stream: StreamInfo
    y: NDArray[np.uint8] | NDArray[np.uint16] = field(repr=False)
    u: NDArray[np.uint8] | NDArray[np.uint16] | None = field(repr=False)
    v: NDArray[np.uint8] | NDArray[np.uint16] | None = field(repr=False)

    def __post_init__(self) -> None:
        _require(
            self.y.shape == (self.stream.height, self.stream.width),
            f"luma plane is {self.y.shape}, stream says {(self.stream.height, self.stream.width)}",
        )

    @property
    def nbytes(self) -> int:
        """Memory held by the planes (bytes)."""
        return sum(plane.nbytes for plane in (self.y, self.u, self.v) if plane is not None)


class Variogram(NamedTuple):
    """How much the luma of a picture changes over a short way: sums of squared differences of Y between pixels
    beside and below one another, one lag apart (``near``) and two (``far``), on every line that is a multiple of
    the lag.

    Four times the ``near`` sum is the most that the ``far`` one can be: in a picture that is smooth over both.
    """

    near: int
    far: int


@dataclass(frozen=True, slots=True, eq=False)
class Measurement:
    """All that verdicts are made of, in integers, equal on every backend (8-bit luma Y of the display area).

    ``grid``: int64 (32, 32), area sums of Y in units of 1/1024 pixel. ``histogram``: int64 (256,), pixels per
    level. ``tile_sums``, ``tile_squares``: int64 (18, 32), sums of Y and of Y squared over the tiles whose edges
    are ``floor(i * H / 18)`` and ``floor(j * W / 32)``. ``gradient``: sum of absolute differences of Y between
    horizontal and between vertical neighbours. ``variogram``: at a lag of a 60th of the shorter side; None
    where an earlier version measured.
    """

    codec: Codec
    width: int
    height: int
    grid: NDArray[np.int64] = field(repr=False)
    histogram: NDArray[np.int64] = field(repr=False)
    tile_sums: NDArray[np.int64] = field(repr=False)
    tile_squares: NDArray[np.int64] = field(repr=False)
    gradient: int
    variogram: Variogram | None

    def __post_init__(self) -> None:
        _require(self.grid.shape == (GRID_SIDE, GRID_SIDE), f"grid is {self.grid.shape}")
        _require(self.histogram.shape == (256,), f"histogram is {self.histogram.shape}")
        _require(int(self.histogram.sum()) == self.width * self.height, "histogram does not count every pixel")
        for tiles in (self.tile_sums, self.tile_squares):
            _require(tiles.shape == (TILE_ROWS, TILE_COLS), f"tiles are {tiles.shape}")
        if self.variogram is not None:
            near, far = self.variogram
            _require(0 <= far <= 4 * near, f"no variogram: {near}, {far}")


@dataclass(frozen=True, slots=True)
class Verdict:
    """Keep, or drop with a reason slug. ``scores`` explain it and become columns of the dataset."""

    kept: bool
    reason: str = ""  # "" when kept
    scores: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _require(self.kept == (not self.reason), "a verdict keeps, or drops with a reason")


@dataclass(frozen=True, slots=True, order=True)
class Rank:
    """Place of a target in the order of decisions of a category; smaller is decided first."""

    pass_id: int
    round: int
    broadcaster_hash: int
    source_hash: int
    k: int


@dataclass(frozen=True, slots=True)
class Target:
    """One moment we want a frame for: number ``k`` of a source's plan, at ``moment_s`` from its start.

    ``item`` is the index of the segment (VOD) or keyframe (clip) in the source's own list; ``label`` that of the
    span it lies in.
    """

    k: int
    item: int
    moment_s: float
    label: Label


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A kept frame with its provenance: one row of ``metadata.parquet`` (contract) plus, maybe, its pixels.

    ``overlay_boxes``: where overlays of its broadcaster lie, as JSON (:mod:`harvester.store.overlays`); None until
    enough is known of it. ``scene``: of the game itself, where others show it too (:mod:`harvester.store.shared`).
    ``image``: RGB uint8 (height, width, 3), only filled by :func:`harvester.frames`.
    """

    file_name: str
    label: str
    label_id: int
    category_id: str
    source_type: SourceKind
    source_id: str
    broadcaster_id: str
    offset_s: float
    streamed_at: datetime | None
    width: int
    height: int
    rendition: str
    codec: str
    decoder: str
    phash: str  # 16 hex digits
    sha256: str  # of the JPEG file
    label_source: LabelSource
    label_confidence: float
    scores: Mapping[str, float]
    split: SplitName
    run_id: str
    harvester_version: str
    harvested_at: datetime
    url: str
    overlay_boxes: str | None = None
    scene: str | None = None
    image: NDArray[np.uint8] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        _require(len(self.phash) == 16, "phash must be 16 hex digits")
        _require(self.offset_s >= 0, "offset_s is negative")
        _require(0 <= self.label_confidence <= 1, "label_confidence must lie in 0..1")
        _require(self.split in SPLITS, f"unknown split {self.split!r}")
        if self.image is not None:
            _require(self.image.dtype == np.uint8 and self.image.ndim == 3, "image must be RGB uint8 (H, W, 3)")
