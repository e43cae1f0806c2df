"""Overlays from a run to the metadata: told once enough is known, the same however often it is looked at."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harvester.pipeline.stopping import Stop
from harvester.sandbox import SandboxServer
from harvester.vision import activity, overlay
from tests.integration.commands import Commands
from tests.integration.test_labels import EVERY_SEGMENT
from tests.integration.test_leaving import FIRST, SECOND, world_of
from tests.integration.wholeness import check_whole, rows_of

#: More than one VOD gives.
FRAMES = 16
WORDS = ("--category", "Teeworlds", "--frames", str(FRAMES))


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little footage is enough, and what changes less than the other half of the picture does is an overlay."""
    monkeypatch.setattr(activity, "STATIC_LEVELS", 255.0)
    monkeypatch.setattr(activity, "STATIC_SHARE", 1.0)
    monkeypatch.setattr(overlay, "MIN_PICTURES", 8)
    monkeypatch.setattr(overlay, "MIN_SOURCES", 1)
    monkeypatch.setattr(overlay, "MIN_MOMENTS", 1)


def rows(out: Path) -> list[dict[str, Any]]:
    return [row for its in rows_of(out).values() for row in its]


def metadata(out: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in out.glob("data/*/metadata.parquet")}


def test_rows_show_overlays_and_a_killed_run_makes_no_difference(
    soon: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "dataset"
    sandbox = SandboxServer(world_of(FIRST, SECOND), cache_dir=tmp_path / "media")
    with sandbox.running():
        commands = Commands(sandbox, tmp_path, capsys)
        assert commands("run", *WORDS, "--out", out, **EVERY_SEGMENT).code == 0
        check_whole(out)
        first = metadata(out)
        told = {row["overlay_boxes"] for row in rows(out)}
        for file in first:  # as who is killed before the end of a run leaves it
            table = pq.read_table(file)
            number = table.schema.get_field_index("overlay_boxes")
            pq.write_table(table.set_column(number, "overlay_boxes", pa.nulls(len(table), pa.string())), file)
        assert commands("run", *WORDS, "--out", out, **EVERY_SEGMENT).code == 0
        assert metadata(out) == first
        assert commands("verify", "--out", out, "--replay").code == 0
        sources = Counter(row["source_id"] for row in rows(out))
        assert commands("forget", "--out", out, "--source", min(sources)).code == 0
        assert {row["overlay_boxes"] for row in rows(out)} == {None}
    (text,) = told
    assert text is not None
    boxes = json.loads(text)
    assert boxes
    assert len(sources) == 2
    assert all((box["pictures"], box["sources"], box["others"]) == (FRAMES, len(sources), 0) for box in boxes)
    assert all(0 <= box["left"] < box["right"] <= 1 and 0 <= box["top"] < box["bottom"] <= 1 for box in boxes)


def test_who_must_end_at_once_leaves_the_overlays_to_the_next_run(
    soon: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "dataset"
    sandbox = SandboxServer(world_of(FIRST, SECOND), cache_dir=tmp_path / "media")
    with sandbox.running():
        commands = Commands(sandbox, tmp_path, capsys)
        with monkeypatch.context() as patch:
            patch.setattr(Stop, "hurried", lambda stop: True)
            assert commands("run", *WORDS, "--out", out, **EVERY_SEGMENT).code == 0
        assert {row["overlay_boxes"] for row in rows(out)} == {None}
        assert commands("run", *WORDS, "--out", out, **EVERY_SEGMENT).code == 0
    assert None not in {row["overlay_boxes"] for row in rows(out)}


def test_of_little_footage_nothing_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "dataset"
    sandbox = SandboxServer(world_of(FIRST, SECOND), cache_dir=tmp_path / "media")
    with sandbox.running():
        commands = Commands(sandbox, tmp_path, capsys)
        assert commands("run", *WORDS, "--out", out, **EVERY_SEGMENT).code == 0
    assert {row["overlay_boxes"] for row in rows(out)} == {None}
