"""Stand-ins for what a machine may lack. Each is a package named like the real one, found when FOLDER is first on
the path."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parent


def environment(**machine: object) -> dict[str, str]:
    """Variables for a process that shall find the fake PyNvVideoCodec; ``machine``: ``FAKE_NVDEC_*``, small."""
    paths = [str(FOLDER), *filter(None, [os.environ.get("PYTHONPATH")])]
    own = {f"FAKE_NVDEC_{name.upper()}": str(value) for name, value in machine.items()}
    return {"PYTHONPATH": os.pathsep.join(paths), **own}


@contextmanager
def nvdec(**machine: object) -> Iterator[ModuleType]:
    """The fake, newly imported into this process and gone afterwards; processes started meanwhile have it too."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment(**machine).items():
            patch.setenv(name, value)
        patch.syspath_prepend(str(FOLDER))
        for name in [name for name in sys.modules if name.partition(".")[0] == "PyNvVideoCodec"]:
            patch.delitem(sys.modules, name)
        try:
            yield __import__("PyNvVideoCodec")
        finally:
            for name in [name for name in sys.modules if name.partition(".")[0] == "PyNvVideoCodec"]:
                del sys.modules[name]
