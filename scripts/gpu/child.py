"""The process of one step: ``python -m gpu.child STEP RECORDS LIMIT_S SCRATCH BOOK [quick]``.

A step may end its process without a word (a driver call that fails inside PyNvVideoCodec does) or never return:
the parent has whatever it told until then.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

from gpu.book import read
from gpu.check import Check


def main(step: str, records: str, limit_s: str, scratch: str, path: str, quick: str = "") -> None:
    os.set_inheritable(int(records), False)
    check = Check(step, int(records), float(limit_s), Path(scratch), read(Path(path)), quick=bool(quick))
    importlib.import_module(f"gpu.step_{step}").run(check)


if __name__ == "__main__":
    main(*sys.argv[1:])
