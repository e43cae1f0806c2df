"""Footage: recorded sessions of games, as an index file lists them. Nothing here opens a video.

The index is a JSON list, one object a session: ``file`` (relative to the index), ``game`` (null for junk such as a
"starting soon" card), ``slug``, ``session``, ``channel`` (who streams it), ``seconds``, ``width``, ``height``,
``fps``, ``derived_from`` (another session whose pictures it shares), ``licence``, ``bytes``, and optionally
``file_360p`` with ``bytes_360p``: the same pictures, 360 lines high. Video is H.264 in MP4, closed GOPs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harvester.errors import ConfigError
from harvester.model import Codec
from harvester.text import printable

#: Footage inside the package: five free games, two sessions each, credits beside it.
PACKAGE_INDEX = Path(__file__).parent / "footage" / "index.json"


@dataclass(frozen=True, slots=True)
class FootageFile:
    """One encode of a session."""

    path: Path = field(repr=False)
    width: int
    height: int
    size_bytes: int
    codec: Codec = Codec.H264


@dataclass(frozen=True, slots=True)
class Session:
    """One recording. ``files``: the same pictures at different heights, tallest first."""

    name: str
    game: str | None  # display name; None for junk
    slug: str
    channel: str
    seconds: float
    fps: float
    files: tuple[FootageFile, ...]
    derived_from: str | None = None
    licence: str = ""

    def __post_init__(self) -> None:
        if self.seconds <= 0 or self.fps <= 0 or not self.files:
            raise ValueError(f"session {self.name!r} has no length, frame rate or file")

    def file(self, height: int) -> FootageFile:
        """The file of that height, else the tallest."""
        return next((file for file in self.files if file.height == height), self.files[0])


def read_index(path: Path) -> tuple[Session, ...]:
    """The sessions of an index file.

    Raises :class:`ConfigError` that names the file and what is wrong with it (unreadable, no JSON, a missing or
    bad field, a missing video, no game at all).
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the footage index {path}: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"{path} is no footage index: {printable(str(error))}") from None
    if not isinstance(entries, list):
        raise ConfigError(f"{path} is no footage index: it must be a list of sessions")
    sessions = tuple(_checked_session(entry, number, path) for number, entry in enumerate(entries))
    if not any(session.game for session in sessions):
        raise ConfigError(f"{path} lists no session of a game")
    return sessions


def _checked_session(entry: Any, number: int, index: Path) -> Session:
    try:
        session = _session(entry, index.parent)
    except KeyError as error:
        raise ConfigError(f"{index}: session {number} has no field {error}") from None
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ConfigError(f"{index}: session {number}: {printable(str(error))}") from None
    for file in session.files:
        if not file.path.is_file():
            raise ConfigError(f"{index}: session {number}: {file.path} is not there")
    return session


def _session(entry: Mapping[str, Any], folder: Path) -> Session:
    width, height = int(entry["width"]), int(entry["height"])
    files = [FootageFile(folder / entry["file"], width, height, int(entry.get("bytes", 0)))]
    if "file_360p" in entry:
        small = folder / entry["file_360p"]
        files.append(FootageFile(small, _even(360 * width / height), 360, int(entry.get("bytes_360p", 0))))
    return Session(
        name=str(entry["session"]),
        game=None if entry["game"] is None else str(entry["game"]),
        slug=str(entry["slug"]),
        channel=str(entry["channel"]),
        seconds=float(entry["seconds"]),
        fps=float(entry["fps"]),
        files=tuple(files),
        derived_from=entry.get("derived_from"),
        licence=str(entry.get("licence", "")),
    )


def _even(number: float) -> int:
    return round(number / 2) * 2
