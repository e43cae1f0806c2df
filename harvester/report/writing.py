"""Files that people and other programs read at any time: whole at every instant."""

from __future__ import annotations

import os
from pathlib import Path

from harvester.errors import MachineError
from harvester.text import printable

#: Longest path in a message (characters): whole in all but hostile cases.
_PATH_CHARS = 400


def replace_file(out: Path, data: bytes, what: str) -> None:
    """Write beside ``out``, then rename over it; ``what`` it is, for the message.

    Raises :class:`MachineError` if that fails: an older file of that name is then still whole.
    """
    beside = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(out)
    except OSError as error:
        beside.unlink(missing_ok=True)
        where = printable(str(out), _PATH_CHARS)
        raise MachineError(f"cannot write {what} {where}: {error.strerror}") from None
