"""``scripts/bench_labels.py`` runs as it stands: what it says is checked for sense, not for how good it is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.long
def test_a_small_world_is_harvested_both_ways_and_judged(tmp_path: Path) -> None:
    report = tmp_path / "labels.json"
    command = [sys.executable, str(ROOT / "scripts" / "bench_labels.py"), "--quick"]
    command += ["--cache", str(tmp_path / "cache"), "--json", str(report)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "goal purity" in done.stdout
    assert str(tmp_path) not in report.read_text(encoding="utf-8")
    result = json.loads(report.read_text(encoding="utf-8"))
    ours, naive = result["ways"]["harvester"], result["ways"]["naive"]
    assert naive["judged"] == naive["kept"] == 40 * result["vods"]
    assert ours["judged"] == ours["kept"] + sum(ours["dropped"].values())
    for way in (ours, naive):
        assert way["purity"]["of"] == way["junk"]["of"] == way["kept"]
        assert way["purity"]["hits"] + way["junk"]["hits"] <= way["kept"]
        assert set(way["coverage_by_game"]) == set(way["false_drops"]) == set(result["games"])
    assert naive["purity"]["share"] < ours["purity"]["share"]
    assert naive["junk"]["share"] > 0.1  # the world is as dirty as it is meant to be
    assert ours["near_duplicates"]["hits"] == 0  # what it promises whatever the world
    assert naive["near_duplicates"]["hits"] > 0
