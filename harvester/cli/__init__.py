"""The command line: ``harvester run|plan|status|doctor|sandbox|verify|config``.

Data goes to stdout, progress and log to stderr. Every error becomes one clear line and an exit code (errors.py);
with ``--json`` the last line of stdout is one JSON object, whatever happened.
"""

from __future__ import annotations

from harvester.cli.main import main

__all__ = ["main"]
