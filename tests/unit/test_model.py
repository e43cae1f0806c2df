"""The records: an invalid value cannot be built, nothing changes afterwards, no repr shows a pixel or a secret."""

from __future__ import annotations

import dataclasses
from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime

import numpy as np
import pytest

from harvester import model
from harvester.model import (
    AccessUnit,
    ByteRange,
    Category,
    Chapter,
    Clip,
    Codec,
    Frame,
    InitSection,
    Label,
    LabelledSpan,
    Measurement,
    Picture,
    Rank,
    Rendition,
    Segment,
    Span,
    StreamInfo,
    Target,
    Variogram,
    Verdict,
    VideoDetails,
    Vod,
    VodType,
)

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
SECRET_URL = "https://media.example/seg.ts?token=s3cret"


def stream(**changes) -> StreamInfo:
    return StreamInfo(codec=Codec.H264, coded_width=16, coded_height=16, **changes)


def histogram(pixels: int) -> np.ndarray:
    counts = np.zeros(256, np.int64)
    counts[16] = pixels
    return counts


VALID = {
    "category": Category("509658", "Hades II"),
    "vod": Vod("2001", "509658", "9001", "ann", "t", NOON, 60.0, VodType.ARCHIVE, "en", 3),
    "clip": Clip("Brave-Clip_aB3", "509658", "9001", "ann", "t", NOON, 30.0, "en", 3),
    "rendition": Rendition("720p60", SECRET_URL, 1280, 720, 60.0, 3_000_000, "avc1.64002A"),
    "span": Span(1.0, 2.0),
    "chapter": Chapter(Span(1.0, 2.0), None),
    "details": VideoDetails(
        "2001",
        length_s=60.0,
        chapters=(Chapter(Span(1.0, 2.0), None), Chapter(Span(2.0, 3.0), None)),
        storyboard_url=SECRET_URL,
    ),
    "byte_range": ByteRange(10, 5),
    "init": InitSection(SECRET_URL),
    "segment": Segment(SECRET_URL, 0.0, 10.0),
    "stream": stream(crop=(0, 0, 0, 8)),
    "unit": AccessUnit(stream(), b"\x99" * 40, 0.0),
    "picture": Picture(stream(), np.full((16, 16), 77, np.uint8), np.zeros((8, 8), np.uint8), None),
    "measurement": Measurement(
        Codec.H264,
        16,
        16,
        np.zeros((32, 32), np.int64),
        histogram(256),
        np.zeros((18, 32), np.int64),
        np.zeros((18, 32), np.int64),
        0,
        Variogram(0, 0),
    ),
    "label": Label("chapter", 0.9),
    "labelled_span": LabelledSpan(Span(0, 60), "509658", Label("chapter", 0.9)),
    "verdict": Verdict(False, "black", {"black_share": 1.0}),
    "rank": Rank(1, 0, 5, 6, 0),
    "target": Target(0, 3, 12.0, Label("chapter", 0.9)),
    "frame": Frame(
        file_name="hades-ii/vod-2001-000012000.jpg",
        label="Hades II",
        label_id=0,
        category_id="509658",
        source_type="vod",
        source_id="2001",
        broadcaster_id="9001",
        offset_s=12.0,
        streamed_at=None,
        width=16,
        height=16,
        rendition="720p60",
        codec="h264",
        decoder="cpu",
        phash="0123456789abcdef",
        sha256="0" * 64,
        label_source="chapter",
        label_confidence=0.9,
        scores={},
        split="train",
        run_id="r",
        harvester_version="0",
        harvested_at=NOON,
        url="https://www.twitch.tv/videos/2001?t=12s",
        image=np.full((16, 16, 3), 77, np.uint8),
    ),
}

INVALID = [
    ("category", {"id": "hades"}, "digits"),
    ("category", {"id": ""}, "digits"),
    ("category", {"name": ""}, "name is empty"),
    ("vod", {"id": "v2001"}, "digits"),
    ("vod", {"id": "../2001"}, "digits"),
    ("vod", {"broadcaster_id": ""}, "broadcaster"),
    ("vod", {"duration_s": -1.0}, "negative"),
    ("vod", {"created_at": datetime(2026, 11, 1)}, "aware"),
    ("clip", {"id": ""}, "slug"),
    ("clip", {"id": "../../etc"}, "slug"),
    ("clip", {"id": "Bravé"}, "slug"),
    ("clip", {"id": "a b"}, "slug"),
    ("clip", {"broadcaster_id": ""}, "broadcaster"),
    ("clip", {"duration_s": -0.1}, "negative"),
    ("clip", {"created_at": datetime(2026, 11, 1)}, "aware"),
    ("span", {"start_s": 3.0}, "ordered"),
    ("span", {"start_s": -1.0}, "ordered"),
    ("span", {"end_s": float("nan")}, "ordered"),
    ("chapter", {"span": Span(1.0, 1.0)}, "empty"),
    ("details", {"length_s": -1.0}, "negative"),
    ("details", {"length_s": float("nan")}, "negative"),
    ("details", {"chapters": (Chapter(Span(1.0, 3.0), None), Chapter(Span(2.0, 4.0), None))}, "overlap"),
    ("details", {"chapters": (Chapter(Span(2.0, 3.0), None), Chapter(Span(0.0, 1.0), None))}, "overlap"),
    ("byte_range", {"start": -1}, "not a range"),
    ("byte_range", {"length": 0}, "not a range"),
    ("segment", {"start_s": -1.0}, "negative"),
    ("segment", {"duration_s": -1.0}, "negative"),
    ("stream", {"crop": (8, 0, 8, 0)}, "no picture left"),
    ("stream", {"crop": (0, 16, 0, 0)}, "no picture left"),
    ("stream", {"coded_width": 0}, "no picture left"),
    ("stream", {"bit_depth": 7}, "bit depth"),
    ("stream", {"bit_depth": 17}, "bit depth"),
    ("unit", {"data": b""}, "empty"),
    ("picture", {"y": np.zeros((16, 15), np.uint8)}, "luma plane"),
    ("measurement", {"grid": np.zeros((32, 31), np.int64)}, "grid"),
    ("measurement", {"histogram": np.zeros(255, np.int64)}, "histogram"),
    ("measurement", {"histogram": histogram(255)}, "every pixel"),
    ("measurement", {"tile_sums": np.zeros((32, 18), np.int64)}, "tiles"),
    ("measurement", {"tile_squares": np.zeros((32, 18), np.int64)}, "tiles"),
    ("verdict", {"kept": True}, "drops with a reason"),
    ("verdict", {"reason": ""}, "drops with a reason"),
    ("frame", {"phash": "0123"}, "phash"),
    ("frame", {"offset_s": -0.1}, "offset_s"),
    ("label", {"confidence": 1.1}, "confidence"),
    ("frame", {"label_confidence": 1.1}, "label_confidence"),
    ("frame", {"label_confidence": float("nan")}, "label_confidence"),
    ("frame", {"split": "dev"}, "split"),
    ("frame", {"image": np.zeros((16, 16), np.uint8)}, "RGB"),
    ("frame", {"image": np.zeros((16, 16, 3), np.float32)}, "RGB"),
]


def test_every_record_of_the_module_is_tried_here():
    records = {value for value in vars(model).values() if dataclasses.is_dataclass(value)}
    assert records == {type(valid) for valid in VALID.values()}


@pytest.mark.parametrize(("name", "changes", "message"), INVALID)
def test_an_invalid_value_cannot_be_built(name, changes, message):
    with pytest.raises(ValueError, match=message):
        replace(VALID[name], **changes)


def test_every_record_that_checks_itself_is_shown_invalid():
    checked = {name for name, valid in VALID.items() if hasattr(valid, "__post_init__")}
    assert checked == {name for name, _, _ in INVALID}


@pytest.mark.parametrize("name", VALID)
def test_records_are_frozen_and_slotted(name):
    valid = VALID[name]
    first = dataclasses.fields(valid)[0].name
    with pytest.raises(FrozenInstanceError):
        setattr(valid, first, getattr(valid, first))
    assert not hasattr(valid, "__dict__")


@pytest.mark.parametrize("name", VALID)
def test_no_repr_shows_pixels_bytes_or_signed_urls(name):
    shown = repr(VALID[name])
    assert len(shown) < 700
    for hidden in ("s3cret", "array(", "77, 77", "\\x99"):
        assert hidden not in shown


def test_spans_are_half_open():
    span = Span(1.0, 2.0)
    assert 1.0 in span
    assert 1.999 in span
    assert 2.0 not in span
    assert span.length_s == 1.0
    assert 1.0 not in Span(1.0, 1.0)


def test_a_byte_range_is_a_range_header_whose_last_byte_is_inclusive():
    assert ByteRange(10, 5).end == 15
    assert ByteRange(10, 5).header() == "bytes=10-14"
    assert ByteRange(0, 1).header() == "bytes=0-0"


def test_display_size_is_the_coded_size_without_the_crop():
    info = StreamInfo(Codec.H264, 1920, 1088, crop=(2, 4, 6, 8))
    assert (info.width, info.height) == (1912, 1076)


def test_sources_know_their_kind_and_public_page():
    assert (VALID["vod"].kind, VALID["clip"].kind) == ("vod", "clip")
    assert VALID["vod"].page_url == "https://www.twitch.tv/videos/2001"
    assert VALID["clip"].page_url == "https://clips.twitch.tv/Brave-Clip_aB3"


def test_a_pictures_memory_is_that_of_its_planes():
    assert VALID["picture"].nbytes == 16 * 16 + 8 * 8


def test_ranks_order_by_pass_then_round_then_hashes_then_k():
    ordered = [
        Rank(1, 0, 9, 9, 9),
        Rank(1, 1, 0, 0, 0),
        Rank(1, 1, 0, 0, 1),
        Rank(1, 1, 0, 1, 0),
        Rank(1, 1, 1, 0, 0),
    ]
    assert sorted([*ordered[3:], *ordered[:3]]) == ordered
    assert ordered[-1] < Rank(2, 0, 0, 0, 0)
