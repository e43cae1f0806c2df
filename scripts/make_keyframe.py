"""Make the keyframe with which the probe of a GPU's decoder is tried, out of the package's footage.

    python scripts/make_keyframe.py [--out harvester/decode/keyframe.h264]

A picture of Freedoom, 320x180 (coded 320x192: the crop is tried too), H.264 High, 8 bit, limited range. Its SPS
announces B-frames and so reordering, as in what broadcasters send: a decoder that waits for later pictures shows
that here. Prints its size and the SHA-256 of the decoded picture, which harvester/decode/keyframe.py holds.
"""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path

import av

from harvester.decode.cpu import CpuDecoder
from harvester.decode.keyframe import STREAM, digest
from harvester.model import AccessUnit

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "harvester" / "sandbox" / "footage" / "freedoom-p1-e1m3-720p.mp4"
#: Moment of the picture (seconds), and the quantiser at which it takes a few kB.
AT_S, QUANTISER = 10.0, 34
_X264 = f"annexb=1:repeat-headers=1:qp={QUANTISER}:keyint=8:bframes=2:b-adapt=0:scenecut=0:threads=1:log=-1"
_COLOURS = "colorprim=bt709:transfer=bt709:colormatrix=bt709:range=tv"
_SEI = 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "harvester" / "decode" / "keyframe.h264")
    arguments = parser.parse_args()
    data = without_sei(keyframe())
    arguments.out.write_bytes(data)
    print(f"{len(data)} bytes, {digest(CpuDecoder().decode(AccessUnit(STREAM, data, 0.0)))}")


def keyframe() -> bytes:
    """The first picture of an encoding of a few, in Annex B."""
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = STREAM.width, STREAM.height, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, 12), Fraction(12)
    encoder.options = {"preset": "slow", "profile": "high", "x264-params": f"{_X264}:{_COLOURS}"}
    packets = []
    for number, picture in enumerate(pictures(8)):
        picture.pts, picture.time_base = number, Fraction(1, 12)
        packets += encoder.encode(picture)
    return bytes(next(packet for packet in [*packets, *encoder.encode(None)] if packet.is_keyframe))


def pictures(count: int) -> list[av.VideoFrame]:
    """``count`` pictures of the source from :data:`AT_S` on, scaled."""
    found = []
    with av.open(str(SOURCE)) as container:
        for frame in container.decode(video=0):
            if frame.time >= AT_S:
                found.append(frame.reformat(STREAM.width, STREAM.height, "yuv420p", interpolation="AREA"))
            if len(found) == count:
                return found
    raise SystemExit(f"{SOURCE.name} ends too early")


def without_sei(data: bytes) -> bytes:
    """``data`` without the encoder's remarks on itself."""
    units = [unit for unit in data.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1") if unit]
    return b"".join(b"\0\0\0\1" + unit for unit in units if unit[0] & 31 != _SEI)


if __name__ == "__main__":
    main()
