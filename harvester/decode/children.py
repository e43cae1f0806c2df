"""How a process of our own is started: this interpreter, the same packages, nothing of the folder it is in."""

from __future__ import annotations

import json
import sys

#: ``-I`` keeps the working folder and PYTHON* out; then the search path is ours, entry by entry.
_BOOT = (
    "import json, runpy, sys; sys.path[:] = json.loads(sys.argv.pop(1));"
    " runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
)


def command(module: str, *arguments: str) -> list[str]:
    """The command line that runs ``module`` as ``__main__`` with ``arguments`` in its ``sys.argv[1:]``."""
    return [sys.executable, "-I", "-c", _BOOT, json.dumps([str(entry) for entry in sys.path]), module, *arguments]
