"""Names of codecs as playlists write them (RFC 6381), from the configuration record of an MP4 file."""

from __future__ import annotations

from harvester.model import Codec


def codec_name(codec: Codec, configuration: bytes) -> str:
    """``avc1.64001F``, ``hev1.1.6.L93.90`` or ``av01.0.01M.08`` out of an avcC, hvcC or av1C record."""
    return _NAMES[codec](configuration)


def _avc(record: bytes) -> str:
    """Profile, constraints and level (ISO/IEC 14496-15 §5.3.3)."""
    return "avc1." + record[1:4].hex().upper()


def _hevc(record: bytes) -> str:
    """Profile, compatibility flags (bits reversed), tier and level, constraints (ISO/IEC 14496-15 annex E)."""
    space, tier, profile = record[1] >> 6, record[1] >> 5 & 1, record[1] & 31
    compatibility = int(f"{int.from_bytes(record[2:6], 'big'):032b}"[::-1], 2)
    constraints = [f"{byte:X}" for byte in record[6:12].rstrip(b"\0")]
    parts = [f"{('', 'A', 'B', 'C')[space]}{profile}", f"{compatibility:X}", f"{'LH'[tier]}{record[12]}"]
    return ".".join(["hev1", *parts, *constraints])


def _av1(record: bytes) -> str:
    """AV1-ISOBMFF §5: profile, level and tier, bit depth."""
    profile, level = record[1] >> 5, record[1] & 31
    tier, high, twelve = record[2] >> 7, record[2] >> 6 & 1, record[2] >> 5 & 1
    return f"av01.{profile}.{level:02}{'MH'[tier]}.{8 + 2 * high + 2 * twelve:02}"


_NAMES = {Codec.H264: _avc, Codec.HEVC: _hevc, Codec.AV1: _av1}
