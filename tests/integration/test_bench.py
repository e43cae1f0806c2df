"""``scripts/bench_harvest.py`` runs as it stands: small pictures, few frames; what it says is checked, not how fast."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ARMS = ("harvester x 4", "limit: fetch x 4", "limit: decode", "segments x 16", "sketch x 16")


def bench(cache: Path, report: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "bench_harvest.py"), "--quality", "180p15"]
    command += ["--cache", str(cache), "--json", str(report), "--quick", *options]
    return subprocess.run(command, check=False, capture_output=True, text=True)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench")


def test_a_small_run_verifies_measures_and_reports(cache: Path, tmp_path: Path) -> None:
    report = tmp_path / "results" / "bench.json"
    options = ["--frames", "6", "--rtt-ms", "5", "--mbps", "0", "--arms", ",".join(ARMS)]
    done = bench(cache, report, *options)
    assert done.returncode == 0, done.stderr
    assert str(tmp_path) not in report.read_text(encoding="utf-8")
    assert "are right" in done.stderr
    assert "share of the smaller limit" in done.stdout
    (cell,) = json.loads(report.read_text(encoding="utf-8"))["cells"]
    assert (cell["quality"], cell["rtt_ms"], cell["mbps"], cell["targets"]) == ("180p15", 5, 0, 6)
    assert set(cell["arms"]) == set(ARMS)
    for arm in cell["arms"].values():
        assert arm["frames"]["median"] == 6
        assert 0 < arm["frames_per_s"]["least"] <= arm["frames_per_s"]["most"]
        assert arm["cpu_ms_per_frame_whole_command"]["median"] > 0
    harvester, fetched = cell["arms"]["harvester x 4"], cell["arms"]["limit: fetch x 4"]
    assert 1 <= harvester["requests_per_frame"]["median"] <= 3
    assert fetched["bytes_per_frame"] == harvester["bytes_per_frame"]  # the same ranges
    whole = cell["arms"]["segments x 16"]
    assert whole["requests_per_frame"]["median"] == 1
    assert whole["bytes_per_frame"]["median"] > 10 * cell["access_unit_bytes"]
    assert cell["arms"]["limit: decode"]["requests_per_frame"]["median"] == 0
    assert {goal["name"] for goal in cell["goals"]} >= {"bytes / access units", "times sketch x 16"}
