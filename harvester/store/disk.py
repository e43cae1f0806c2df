"""The few ways a dataset changes on disk, each durable when it returns.

*Finished means renamed*: new content is written under another name, flushed to the medium (``fsync``) and then
renamed over the old one, which POSIX makes atomic; the folder is flushed too, for the rename itself to last.
What the operating system refuses becomes a :class:`MachineError` that says what to do.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from harvester.errors import MachineError
from harvester.store.layout import shown
from harvester.text import printable

#: Files that are on their way to the medium at the same time. 64 files of 60 kB (ext4 on a virtual disk), each
#: written and flushed before the next: 31 ms, 14 ms of them processor time; eight flushed at a time by threads:
#: 20 ms, 18 ms; all begun before the first is waited for: 11 ms, 6 ms; without any flush: 4 ms, 4 ms.
FLUSHED_AT_ONCE = 64

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_REFUSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


@contextmanager
def changing(root: Path) -> Iterator[None]:
    """Turn every OSError of the block into a :class:`MachineError` about ``root``.

    Reasons: ``disk-full``, ``not-writable``, and ``disk-error`` for the rest.
    """
    try:
        yield
    except OSError as error:
        raise machine_error(error, root) from error


def machine_error(error: OSError, root: Path) -> MachineError:
    """The :class:`MachineError` that ``error`` is for somebody who works on ``root``."""
    place = shown(root)
    if error.errno in _FULL:
        return MachineError(f"no space left for {place}: free some and run again", reason="disk-full")
    if error.errno in _REFUSED:
        advice = "give this user write permission or choose another directory"
        return MachineError(f"cannot write to {place} ({error.strerror}): {advice}", reason="not-writable")
    what = printable(f"{error.strerror or error} ({error.filename or root})")
    return MachineError(f"the disk of {place} failed: {what}; check it and run again", reason="disk-error")


def write_durably(path: Path, content: bytes | memoryview) -> None:
    """Write a whole file and flush it to the medium. The name must be one that nobody reads yet."""
    write_all_durably([(path, content)])


def write_all_durably(files: Sequence[tuple[Path, bytes | memoryview]]) -> None:
    """Write whole files in existing folders, as :func:`write_durably` does, their flushes side by side."""
    for first in range(0, len(files), FLUSHED_AT_ONCE):
        with ExitStack() as opened:
            group = [(opened.enter_context(path.open("wb")), c) for path, c in files[first:][:FLUSHED_AT_ONCE]]
            for file, content in group:
                _begin(file, content)
            for file, _ in group:
                os.fsync(file.fileno())


def _begin(file: IO[bytes], content: bytes | memoryview) -> None:
    """Write, and let the medium begin with it: Linux does at the word that its memory is not needed."""
    file.write(content)
    file.flush()
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def sync_folder(folder: Path) -> None:
    """Flush the entries of ``folder``: renames and unlinks in it last from now on (no-op on Windows)."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_durably(path: Path, content: bytes | memoryview, scratch: Path) -> None:
    """Give ``path`` new content at one instant; until then readers see the old one.

    The new content is first written in the folder ``scratch`` (made if absent, same file system), so that a kill
    leaves nothing beside ``path``.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    fresh = scratch / f"{path.name}.new"
    write_durably(fresh, content)
    os.replace(fresh, path)  # noqa: PTH105 - the name says that it overwrites, on every system
    sync_folder(path.parent)


def free_bytes(root: Path) -> int:
    """Room on the disk of ``root``, for this user. Raises :class:`MachineError`."""
    with changing(root):
        return shutil.disk_usage(root).free


def delete_tree(folder: Path) -> None:
    """Delete a folder with all it holds, if it is there."""
    if folder.exists():
        shutil.rmtree(folder)
