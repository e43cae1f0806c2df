"""The benchmark of single stages works: every answer is checked against its oracle, and a row told of each."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "bench_stages.py"


def test_every_stage_is_right_and_told_of(tmp_path: Path) -> None:
    result = tmp_path / "stages.json"
    command = [sys.executable, str(SCRIPT), "--quick", "--turns", "1", "--json", str(result)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(result.read_text())
    rows = {row["stage"]: row for row in told["stages"]}
    assert len(rows) == len(told["stages"]) == len(done.stdout.splitlines()) == 14
    assert all(ways["median"] > 0 for row in rows.values() for ways in row["ms"].values())
    assert rows["MPEG-TS head to access unit"]["goal_ms"] == 0.2
    assert str(tmp_path) not in result.read_text() and str(SCRIPT.parents[1]) not in result.read_text()
