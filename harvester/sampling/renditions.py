"""Which quality of a source to read: the smallest that is large enough, chosen by what it is, not by its name.

Twitch offers a VOD as source quality (``chunked``) and, mostly, as transcodes of 720, 480, 360 and 160 lines, plus
sound alone. Names and keys change between players and years; resolution, codecs and bandwidth are in the playlist.
A master may hold sound only (to anonymous clients of some channels), and since 2026 also portrait recompositions,
which show a face above a cut-out of the game: never material for a classifier of games.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from harvester.errors import SourceError
from harvester.model import Codec, Rendition

#: Sample entry names of RFC 6381 ``codecs`` (ISO/IEC 14496-15 §5.4, §8.4; AV1-ISOBMFF §2.3) → codec.
VIDEO_CODECS = {
    "avc1": Codec.H264,
    "avc3": Codec.H264,
    "hvc1": Codec.HEVC,
    "hev1": Codec.HEVC,
    "av01": Codec.AV1,
}
#: Sample entries that are sound. Any other name is video that we do not know.
_SOUND = ("mp4a", "opus", "ac-3", "ec-3", "flac", "alac", ".mp3")

#: Stands for an unlisted value in comparisons: after all listed ones.
_UNKNOWN = float("inf")


def order_renditions(
    renditions: Sequence[Rendition], *, min_height: int, codecs: Collection[Codec]
) -> list[Rendition]:
    """All usable renditions, best first: rising height from ``min_height`` on, then falling height below it.

    Usable: has video, is not portrait, and its codec is one of ``codecs`` or not told. Ties go to the lower
    bandwidth, then the lower frame rate. A rendition of unknown height comes after those of known height.

    Raises :class:`SourceError`: ``no-video`` (sound only, or nothing at all), ``portrait`` (every video is),
    ``unsupported-codec``.
    """
    video = [r for r in renditions if obstacle(r, codecs) != "no-video"]
    if not video:
        raise SourceError("the source offers no video", reason="no-video")
    landscape = [r for r in video if not is_portrait(r)]
    if not landscape:
        raise SourceError("the source offers portrait video only", reason="portrait")
    usable = [r for r in landscape if not obstacle(r, codecs)]
    if not usable:
        offered = ", ".join(sorted({r.codecs for r in landscape}))
        wanted = ", ".join(sorted(codecs))
        raise SourceError(f"the source offers {offered}; readable: {wanted}", reason="unsupported-codec")
    return sorted(usable, key=lambda r: _preference(r, min_height))


def obstacle(rendition: Rendition, codecs: Collection[Codec]) -> str:
    """Why a rendition is never read: no-video, portrait or unsupported-codec; "" if it may be."""
    if not rendition.has_video or _codec_names(rendition) is None:
        return "no-video"
    if is_portrait(rendition):
        return "portrait"
    return "" if _is_supported(rendition, codecs) else "unsupported-codec"


def is_portrait(rendition: Rendition) -> bool:
    """True if it is known to be higher than wide."""
    return rendition.width is not None and rendition.height is not None and rendition.width < rendition.height


def _codec_names(rendition: Rendition) -> list[str] | None:
    """Lower-case sample entry names of the video codecs; [] when nothing is told, None when all are sound."""
    names = [item.strip().split(".")[0].lower() for item in rendition.codecs.split(",") if item.strip()]
    video = [name for name in names if name not in _SOUND]
    return None if names and not video else video


def _is_supported(rendition: Rendition, codecs: Collection[Codec]) -> bool:
    return all(VIDEO_CODECS.get(name) in codecs for name in _codec_names(rendition) or [])


def _preference(rendition: Rendition, min_height: int) -> tuple[int, float, float, float]:
    if rendition.height is None:
        tier, height = 2, 0.0
    elif rendition.height >= min_height:
        tier, height = 0, float(rendition.height)
    else:
        tier, height = 1, -float(rendition.height)
    bandwidth = _UNKNOWN if rendition.bandwidth is None else rendition.bandwidth
    fps = _UNKNOWN if rendition.fps is None else rendition.fps
    return tier, height, bandwidth, fps
