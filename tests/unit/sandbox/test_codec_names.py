import io
import re

import av
import pytest

from harvester.model import Codec
from harvester.sandbox.codec_names import codec_name
from tests.unit.media.footage import Recipe, make


def configuration(codec, **more):
    """The configuration record that libavformat writes for a small stream."""
    with av.open(io.BytesIO(make(Recipe(codec=codec, container="mp4", **more)))) as container:
        return bytes(container.streams.video[0].codec_context.extradata)


@pytest.mark.parametrize(
    ("codec", "params", "expected"),
    [
        (Codec.H264, "level=3.1", "avc1.64001F"),  # high profile, as in the RFC's own examples
        (Codec.HEVC, "level-idc=3.1", "hev1.1.6.L93.90"),  # main profile
    ],
)
def test_names_of_known_streams(codec, params, expected):
    encoder = {Codec.H264: "libx264", Codec.HEVC: "libx265"}[codec]
    assert codec_name(codec, configuration(encoder, params=params)) == expected


def test_ten_bits_are_named():
    assert codec_name(Codec.HEVC, configuration("libx265", pix_fmt="yuv420p10le")).startswith("hev1.2.4.L")
    assert codec_name(Codec.AV1, configuration("libsvtav1", pix_fmt="yuv420p10le")).endswith(".10")
    assert re.fullmatch(r"av01\.0\.\d\dM\.08", codec_name(Codec.AV1, configuration("libsvtav1")))


def test_names_of_records_written_by_hand():
    """The example of AV1-ISOBMFF §5 (main profile, level 3.0, main tier, 10 bits) and a high-tier HEVC one."""
    assert codec_name(Codec.AV1, bytes([0x81, 0b000_00100, 0b0100_0000, 0])) == "av01.0.04M.10"
    hevc = bytes([1, 0b01_1_00100]) + bytes.fromhex("08000000") + bytes([0x90, 0, 1, 0, 0, 0, 153])
    assert codec_name(Codec.HEVC, hevc) == "hev1.A4.10.H153.90.0.1"
