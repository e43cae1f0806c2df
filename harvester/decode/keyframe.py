"""A small keyframe whose picture is known: what a GPU's decoder must give the right bits of before it is believed.

``keyframe.h264`` was made by ``scripts/make_keyframe.py`` out of the package's own footage (a scene of Freedoom;
licence: ``harvester/sandbox/footage/CREDITS.md``). Its SPS announces reordering, and its coded picture is larger
than the one to be shown, as in most of what Twitch serves. The digest is that of libavcodec's picture; a test
repeats it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from harvester.model import AccessUnit, Codec, Picture, StreamInfo

_FILE = Path(__file__).with_name("keyframe.h264")

#: What its SPS says; BT.709.
STREAM = StreamInfo(Codec.H264, 320, 192, crop=(0, 0, 0, 12), matrix=1)

#: :func:`digest` of its picture.
DIGEST = "3522bc9c7cd09d23d2d74cb04ab495c7358917efbcbc7c6ad813ce4436803839"


def access_unit() -> AccessUnit:
    """The keyframe, ready for a decoder."""
    return AccessUnit(STREAM, _FILE.read_bytes(), 0.0)


def digest(picture: Picture) -> str:
    """SHA-256 (hex) of the picture's planes, Y, U, V, row by row."""
    planes = (plane for plane in (picture.y, picture.u, picture.v) if plane is not None)
    return hashlib.sha256(b"".join(plane.tobytes() for plane in planes)).hexdigest()
