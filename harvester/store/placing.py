"""Moving staged folders into the dataset and images out of it, so that a reader never meets an empty folder.

Every step is a rename or an unlink that may be the last one before a kill; each can be repeated.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from pathlib import Path

from harvester.store.disk import sync_folder
from harvester.store.layout import METADATA


def place(staged: Path, target: Path) -> None:
    """Move the folder ``staged`` to ``target``: as a whole if there is none, else entry by entry.

    Files replace those of the same name. Those with rows come after the folders with their images are on the
    medium, so no row is there whose image a power cut can take away.
    """
    if not target.exists():
        _sync_tree(staged)
        os.rename(staged, target)  # noqa: PTH104 - beside os.replace below
        sync_folder(target.parent)
        return
    for entry in _folders_first(staged):
        if entry.is_dir():
            place(entry, target / entry.name)  # on the medium when it returns
        else:
            os.replace(entry, target / entry.name)  # noqa: PTH105 - overwrites, on every system
    sync_folder(target)


def withdraw_images(split_folder: Path, file_names: Collection[str], trash: Path) -> None:
    """Take images out of a split; the metadata lists them no more. Names that are not there are no error.

    A class folder that would be left empty is moved to ``trash`` as a whole; the caller deletes that.
    """
    for slug, names in _by_folder(file_names).items():
        folder = split_folder / slug
        if not folder.is_dir():
            continue
        if set(os.listdir(folder)) <= names:  # noqa: PTH208 - the names are all that is needed
            _move_out(folder, trash / slug)
        else:
            for name in sorted(names):
                (folder / name).unlink(missing_ok=True)
            sync_folder(folder)


def withdraw_split(split_folder: Path, file_names: Collection[str], trash: Path) -> None:
    """Take a split out of which every row has left: at one instant, if nothing but ``file_names`` is in it.

    If somebody put other files there, only the metadata goes, and :func:`withdraw_images` does the rest.
    """
    files = {path.relative_to(split_folder).as_posix() for path in split_folder.rglob("*") if not path.is_dir()}
    if files <= {METADATA, *file_names}:
        _move_out(split_folder, trash)
        if not any(split_folder.parent.iterdir()):  # no other split is there
            split_folder.parent.rmdir()
    else:
        (split_folder / METADATA).unlink(missing_ok=True)
        sync_folder(split_folder)


def _move_out(folder: Path, trash: Path) -> None:
    trash.parent.mkdir(parents=True, exist_ok=True)
    os.rename(folder, trash)  # noqa: PTH104 - beside os.replace above
    sync_folder(folder.parent)


def _sync_tree(folder: Path) -> None:
    for inner, _, _ in os.walk(folder, topdown=False):
        sync_folder(Path(inner))


def _folders_first(folder: Path) -> Iterable[Path]:
    return sorted(folder.iterdir(), key=lambda entry: (not entry.is_dir(), entry.name))


def _by_folder(file_names: Collection[str]) -> dict[str, set[str]]:
    grouped: dict[str, set[str]] = {}
    for file_name in file_names:
        folder, _, name = file_name.rpartition("/")
        grouped.setdefault(folder, set()).add(name)
    return grouped
