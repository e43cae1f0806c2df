"""What the stages are measured on: heads of segments of the package's footage, encoded as Twitch does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harvester.decode.cpu import CpuDecoder
from harvester.media import fmp4, mpegts
from harvester.model import AccessUnit, Picture
from harvester.sandbox.encoding import Encoding
from harvester.sandbox.footage import PACKAGE_INDEX, Session, read_index
from harvester.sandbox.media import Reel, encode

#: (width, height), and megabits a second of Twitch's renditions of these sizes.
SIZES = {"1080p": ((1920, 1080), 6.0), "480p": ((854, 480), 1.4)}
#: Games that are measured, a session each: their pictures differ as much as games do.
GAMES = 4
#: Length of a head (bytes): what the goal is stated for.
HEAD_BYTES = 250_000


@dataclass(frozen=True, eq=False)
class Sample:
    """One segment's head in both containers, its access unit and its picture. ``whole``: the segment itself."""

    name: str
    whole: bytes
    ts: bytes
    init: bytes
    fragment: bytes
    unit: AccessUnit
    picture: Picture


def samples(size: str, folder: Path) -> list[Sample]:
    """A sample of each game."""
    sessions: dict[str, Session] = {}
    for session in read_index(PACKAGE_INDEX):
        if session.game is not None:
            sessions.setdefault(session.game, session)
    return [_sample(session, size, folder) for session in list(sessions.values())[:GAMES]]


def _sample(session: Session, size: str, folder: Path) -> Sample:
    (width, height), mbps = SIZES[size]
    kbps = round(1000 * mbps)
    target = folder / f"{session.name}-{size}.mp4"
    rate = f"bitrate={kbps}:vbv-maxrate={kbps}:vbv-bufsize={kbps}"
    seconds = 1.5 * HEAD_BYTES * 8 / (mbps * 1e6)
    encode(session.file(height).path, target, Encoding(width, height, 30, rate), seconds=seconds)
    reel = Reel(target)
    gops = range(len(reel.gops))
    whole, fragment, init = reel.ts(gops, 0.0, sound=True), reel.fragment(gops, 0.0), reel.init()
    unit = mpegts.first_access_unit(whole, complete=True)
    assert fmp4.first_access_unit(fmp4.parse_init(init), fragment, complete=True).stream == unit.stream
    picture = CpuDecoder().decode(unit)
    return Sample(session.name, whole, whole[:HEAD_BYTES], init, fragment[:HEAD_BYTES], unit, picture)
