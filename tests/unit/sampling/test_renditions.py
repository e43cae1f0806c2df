"""The rendition is chosen by what it is: size, codec, orientation; never by name or order of the list."""

from __future__ import annotations

import random

import pytest

from harvester.errors import SourceError
from harvester.model import Codec, Rendition
from harvester.sampling.renditions import order_renditions

ALL = frozenset(Codec)


def rendition(width: int | None, height: int | None, bandwidth: int | None = None, **more) -> Rendition:
    values = {"name": f"{height}", "url": "http://127.0.0.1/x", "fps": 30.0, "codecs": "avc1.4D001F,mp4a.40.2"}
    return Rendition(width=width, height=height, bandwidth=bandwidth, **(values | more))


SOURCE = rendition(1920, 1080, 5_898_203, fps=59.995, codecs="avc1.64002A,mp4a.40.2")
P720 = rendition(1280, 720, 3_443_956, fps=59.995)
P480 = rendition(852, 480, 1_454_397)
P160 = rendition(284, 160, 288_409)
AUDIO = rendition(None, None, 220_328, fps=None, codecs="mp4a.40.2", has_video=False)
PORTRAIT = rendition(720, 1280, 1_000_000)


def choose(*offered: Rendition, min_height: int = 720, codecs=ALL) -> Rendition:
    return order_renditions(offered, min_height=min_height, codecs=codecs)[0]


@pytest.mark.parametrize(
    ("min_height", "expected"),
    [(720, P720), (721, SOURCE), (480, P480), (1, P160), (1080, SOURCE), (1440, SOURCE)],
)
def test_the_smallest_of_at_least_min_height_else_the_tallest(min_height, expected):
    offered = [AUDIO, SOURCE, PORTRAIT, P160, P720, P480]
    for seed in range(5):
        random.Random(seed).shuffle(offered)
        assert choose(*offered, min_height=min_height) is expected


def test_fallback_order_rises_from_the_threshold_then_falls_below_it():
    ordered = order_renditions([P160, SOURCE, AUDIO, P480, P720], min_height=720, codecs=ALL)
    assert ordered == [P720, SOURCE, P480, P160]


def test_ties_go_to_the_lower_bandwidth_then_the_lower_frame_rate_and_told_before_untold():
    slow = rendition(1280, 720, 2_000_000, fps=30.0)
    fast = rendition(1280, 720, 2_000_000, fps=60.0)
    untold = rendition(1280, 720, None, fps=30.0)
    assert order_renditions([untold, P720, fast, slow], min_height=720, codecs=ALL) == [slow, fast, P720, untold]


def test_a_clip_without_any_stream_information_is_usable():
    bare = rendition(None, None, codecs="", fps=None)
    assert choose(bare) is bare
    assert choose(bare, P480) is P480  # a known size is preferred, even a small one


@pytest.mark.parametrize(
    ("codecs", "codec"),
    [
        ("avc1.64002A,mp4a.40.2", Codec.H264),
        ("mp4a.40.2, avc3.4D001F", Codec.H264),
        ("hev1.1.2.L150.90.0.0.0.0.0,mp4a.40.2", Codec.HEVC),
        ("HVC1.1.6.L93.B0", Codec.HEVC),
        ("av01.0.08M.08,Opus", Codec.AV1),
    ],
)
def test_the_codec_is_read_from_the_rfc_6381_list(codecs, codec):
    item = rendition(1280, 720, codecs=codecs)
    assert choose(item, codecs={codec}) is item
    with pytest.raises(SourceError) as caught:
        choose(item, codecs=ALL - {codec})
    assert caught.value.reason == "unsupported-codec"


def test_an_unsupported_codec_falls_back_to_a_readable_rendition():
    hevc = rendition(1280, 720, codecs="hvc1.1.6.L93.B0,mp4a.40.2")
    assert choose(hevc, P480, codecs={Codec.H264}) is P480


@pytest.mark.parametrize(
    ("offered", "reason"),
    [
        ([], "no-video"),
        ([AUDIO], "no-video"),
        ([rendition(None, None, codecs="mp4a.40.2")], "no-video"),  # nobody marked it, the codecs tell
        ([AUDIO, PORTRAIT], "portrait"),
        ([rendition(1280, 720, codecs="vp09.00.10.08")], "unsupported-codec"),
    ],
)
def test_why_nothing_can_be_chosen(offered, reason):
    with pytest.raises(SourceError) as caught:
        choose(*offered)
    assert caught.value.reason == reason


def test_square_video_is_not_portrait():
    square = rendition(720, 720)
    assert choose(square, PORTRAIT) is square
