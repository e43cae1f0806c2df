"""``scripts/bench_index.py`` runs as it stands, finds every answer right, and says what it measured."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_small_run_verifies_and_reports(tmp_path: Path) -> None:
    report = tmp_path / "results" / "index.json"
    options = ["--sizes", "3000", "--queries", "20", "--json", str(report)]
    command = [sys.executable, str(ROOT / "scripts" / "bench_index.py"), *options]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "wrong answers: 0" in done.stdout
    assert str(ROOT) not in report.read_text(encoding="utf-8")
    result = json.loads(report.read_text(encoding="utf-8"))
    (row,) = result["rows"]
    assert row["hashes"] == 3000
    assert row["wrong_answers"] == 0
    assert result["real_hashes"] > 500
    for key in ("added_per_s_from_empty", "added_per_s_on_top", "times_brute_force", "file_mb"):
        assert row[key] > 0
    assert {"index", "NumPy, at once", "NumPy, in blocks"} <= set(row["query_us"])
