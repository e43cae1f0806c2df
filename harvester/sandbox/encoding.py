"""How footage is encoded: what is asked of x264, x265 and SVT-AV1."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from harvester.model import Codec

#: Length of a closed GOP of everything encoded here; Twitch asks broadcasters for two seconds.
GOP_S = 2

#: Colour description written into the SPS: BT.709, limited range.
_COLOURS = "colorprim=bt709:transfer=bt709:colormatrix=bt709:range="
#: Closed GOPs of one length, two B-frames: parameters that x264 and x265 share, then those they do not.
_CLOSED = "scenecut=0:open-gop=0:bframes=2:b-adapt=0"
_X264 = "mbtree=0:threads=2:sliced-threads=0"
_X265 = "pools=none:frame-threads=2:log-level=none"
_SVT = "irefresh-type=2:scd=0:lp=2"


@dataclass(frozen=True, slots=True)
class Encoding:
    """How footage is encoded: closed GOPs of ``gop_frames`` pictures (0: two seconds), no other keyframes.

    H.264 and HEVC have two B-frames in a row. ``fps``: 0 = as the source. ``rate``: parameters of
    the encoder's rate control.
    """

    width: int
    height: int
    fps: Fraction | int = 0
    rate: str = "crf=23"
    preset: str = "veryfast"
    filters: tuple[tuple[str, str], ...] = ()  # libavfilter (name, arguments), before scaling
    codec: Codec = Codec.H264
    gop_frames: int = 0

    def encoder(self, fps: Fraction) -> tuple[str, dict[str, str]]:
        """The libavcodec encoder and its options, which fix the GOP structure."""
        keyint = self.gop_frames or round(GOP_S * fps)
        if self.codec is Codec.AV1:
            # irefresh-type 2: closed GOPs.
            return "libsvtav1", {"preset": "12", "svtav1-params": f"{self.rate}:keyint={keyint}:{_SVT}"}
        structure = f"{self.rate}:keyint={keyint}:min-keyint={keyint}:{_CLOSED}:{_COLOURS}"
        if self.codec is Codec.HEVC:
            return "libx265", {"preset": self.preset, "x265-params": f"{structure}limited:{_X265}"}
        return "libx264", {"preset": self.preset, "x264-params": f"{structure}tv:{_X264}"}
