"""What a refused command leaves, whatever was wrong: one line, an exit code, one object, and a dataset as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.integration.commands import Ended

KEYS_OF_THE_CONTRACT = {
    "run_id", "status", "exit_code", "dataset", "decoder", "seconds", "planned", "kept", "pending", "dropped",
    "failed", "removed", "requests", "bytes", "categories",
}  # fmt: skip


def small(out: Path, frames: int = 2) -> list[str]:
    """A run that is over soon."""
    return ["--category", "Teeworlds", "--frames", str(frames), "--out", str(out), "--json"]


def tree(out: Path) -> dict[str, bytes]:
    """Everything of a dataset that a reader reads."""
    files = [path for path in sorted(out.rglob("*")) if path.is_file() and ".harvester" not in path.parts]
    return {str(path.relative_to(out)): path.read_bytes() for path in files}


def check_refused(ended: Ended, code: int, *told: str) -> dict[str, Any]:
    """One clear line on stderr, the exit code, and the contract's object as the last line of stdout."""
    lines = [line for line in ended.err.splitlines() if line.startswith("error: ")]
    assert (ended.code, len(lines)) == (code, 1), ended.err
    assert "Traceback" not in ended.err
    for words in told:
        assert words in lines[0]
    report = ended.json
    assert report["exit_code"] == code
    assert report["status"] == ("partial" if code == 4 else "failed")
    assert report.keys() >= KEYS_OF_THE_CONTRACT
    return report
