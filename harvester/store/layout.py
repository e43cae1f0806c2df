"""Where everything of a dataset lies (contract, "Dataset on disk")::

DIR/data/<split>/<category slug>/<vod|clip>-<source id>-<offset in ms>.jpg
DIR/data/<split>/metadata.parquet
DIR/README.md  DIR/classes.json  DIR/tombstones.json
DIR/.harvester/   ledger, index, staging, lock: may be deleted
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from harvester.model import SourceKind, SplitName
from harvester.sampling.categories import OTHER
from harvester.text import printable

METADATA = "metadata.parquet"
CLASSES = "classes.json"
TOMBSTONES = "tombstones.json"
CARD = "README.md"
STATE = ".harvester"
LEDGER_FILE = "ledger.sqlite3"

#: Longest source id in a file name (characters); clip slugs have up to about 100, file systems take 255 bytes.
SOURCE_ID_CHARS = 200

_SOURCE_ID = re.compile(rf"[A-Za-z0-9_-]{{1,{SOURCE_ID_CHARS}}}")
_FILE_NAME = re.compile(
    rf"(?:[a-z0-9-]{{1,120}}|{OTHER})/(?:vod|clip)-[A-Za-z0-9_-]{{1,{SOURCE_ID_CHARS}}}-[0-9]{{9,15}}\.jpg"
)


#: Longest path shown in a message (characters): whole in all but hostile cases.
SHOWN_CHARS = 400


def shown(path: Path) -> str:
    """``path`` as it may stand in a message."""
    return printable(str(path), SHOWN_CHARS)


def frame_file_name(slug: str, source_type: SourceKind, source_id: str, offset_s: float) -> str:
    """Path of a frame's image relative to its split's folder, ``/`` on every system.

    Example: ``hades-ii/vod-2000000001-000125433.jpg`` is at 125.433 s. ValueError for an unsafe ``source_id``.
    """
    if not _SOURCE_ID.fullmatch(source_id):
        raise ValueError(f"source id {source_id!r} cannot be part of a file name")
    return f"{slug}/{source_type}-{source_id}-{round(offset_s * 1000):09d}.jpg"


def check_file_name(file_name: str) -> str:
    """``file_name`` if it has the form of :func:`frame_file_name`, so never leaves its split; else ValueError."""
    if not is_file_name(file_name):
        raise ValueError(f"{file_name!r} is no file name of a frame")
    return file_name


def is_file_name(file_name: str) -> bool:
    """True for the form of :func:`frame_file_name`."""
    return _FILE_NAME.fullmatch(file_name) is not None


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths below the dataset's directory ``root``."""

    root: Path

    @property
    def data(self) -> Path:
        return self.root / "data"

    def split(self, split: SplitName) -> Path:
        """Folder of a split; absent while the split has no image."""
        return self.data / split

    def metadata(self, split: SplitName) -> Path:
        return self.split(split) / METADATA

    def image(self, split: SplitName, file_name: str) -> Path:
        """Path of an image. ValueError if ``file_name`` is not of our form."""
        return self.split(split) / check_file_name(file_name)

    @property
    def classes(self) -> Path:
        return self.root / CLASSES

    @property
    def tombstones(self) -> Path:
        return self.root / TOMBSTONES

    @property
    def card(self) -> Path:
        return self.root / CARD

    @property
    def state(self) -> Path:
        """Folder of what may be deleted without losing images, labels, splits or tombstones."""
        return self.root / STATE

    @property
    def staging(self) -> Path:
        """Folder of unfinished changes: one folder each, gone when the change is finished."""
        return self.state / "staging"

    @property
    def index(self) -> Path:
        """Folder of the near-duplicate indexes (store/index.py)."""
        return self.state / "index"

    @property
    def ledger(self) -> Path:
        return self.state / LEDGER_FILE

    @property
    def lock(self) -> Path:
        return self.state / "lock"

    @property
    def lock_holder(self) -> Path:
        return self.state / "lock-holder.json"
