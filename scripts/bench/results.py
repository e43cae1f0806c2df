"""What every benchmark leaves: its figures in a file, with what they were measured on."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from pathlib import Path
from typing import Any

from harvester.version import __version__


def machine() -> dict[str, Any]:
    """What the figures are measured on: no name, no path."""
    cpu, info = platform.processor() or platform.machine(), Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text(encoding="utf-8").splitlines() if line.startswith("model name")]
        cpu = names[0].split(":")[1].strip() if names else cpu
    return {"cpu": cpu, "cores": os.cpu_count(), "system": platform.system(), "python": platform.python_version()}


def versions(*packages: str) -> dict[str, str]:
    """Installed versions by package."""
    return {name: importlib.metadata.version(name) for name in packages}


def leave(path: Path, script: str, measured_on: dict[str, Any], **figures: Any) -> None:
    """Write the results of ``script`` as JSON."""
    result = {"script": script, "harvester": __version__, "machine": measured_on, **figures}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
