"""A batch on its way into the dataset: staged in a folder of its own, with a note of what is meant to move."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harvester.model import SPLITS, Frame, SplitName
from harvester.store.disk import changing, machine_error, sync_folder, write_all_durably
from harvester.store.layout import METADATA, Layout, check_file_name
from harvester.store.metadata import SplitRows, name_beside

INTENT = "intent.json"


@dataclass(frozen=True, slots=True)
class Change:
    """The rows that a split will have, and the first of them that is to be written (0: all, as one file)."""

    rows: SplitRows
    first: int

    @property
    def file_name(self) -> str:
        return name_beside(self.first) if self.first else METADATA


def stage(
    work: Path,
    batch: Sequence[tuple[Frame, bytes]],
    changes: Mapping[SplitName, Change],
    hurried: Callable[[], bool],
) -> None:
    """Write everything that will move into the dataset, as a tree of the same form, and the intent.

    Raises :class:`~harvester.store.metadata.Hurried`.
    """
    staged = Layout(work)
    meant: dict[str, list[str]] = {}
    for frame, _ in batch:
        meant.setdefault(frame.split, []).append(frame.file_name)
    rows = [
        (staged.split(split) / change.file_name, change.rows.encoded(change.first, hurried=hurried))
        for split, change in changes.items()
    ]
    images = [(staged.image(frame.split, frame.file_name), jpeg) for frame, jpeg in batch]
    files: list[tuple[Path, bytes | memoryview]] = [*images, *rows]
    files.append((work / INTENT, json.dumps({"version": 1, "frames": meant}).encode()))
    for folder in sorted({path.parent for path, _ in files}):
        folder.mkdir(parents=True, exist_ok=True)
    write_all_durably(files)
    for folder in (work, work.parent, work.parent.parent):
        sync_folder(folder)


def leftovers(paths: Layout) -> list[Path]:
    """Working folders of changes that were not finished, oldest first."""
    with changing(paths.root):
        if not paths.staging.exists():
            return []
        return sorted(entry for entry in paths.staging.iterdir() if entry.is_dir())


def read_intent(work: Path) -> dict[SplitName, list[str]]:
    """The file names of a batch by split. None if its intent is absent or incomplete: then nothing of it moved."""
    try:
        frames = json.loads((work / INTENT).read_bytes())["frames"]
        return {split: [check_file_name(name) for name in frames.get(split, [])] for split in SPLITS}
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    except OSError as error:
        raise machine_error(error, work) from error
