"""The index on disk in whole runs: there, torn or absent, the second night decides the same."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from harvester.sandbox import SandboxServer, default_world
from harvester.store import index
from tests.integration.commands import Commands

GAME = "SuperTuxKart"
#: Pinned, so that both nights of every copy of the dataset see the same world.
NOW = {"HARVESTER_RUN_NOW": "2026-11-20T12:00:00Z", "HARVESTER_DEDUPE_RADIUS": "7"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxServer]:
    sandbox = SandboxServer(default_world(), cache_dir=tmp_path_factory.mktemp("media"))
    with sandbox.running():
        yield sandbox


def decided(harvester: Commands, out: Path) -> set[str]:
    """The images after a run to 20 frames; every stored verdict must come out again."""
    assert harvester("run", "--category", GAME, "--frames", "20", "--out", out, **NOW).code == 0
    replayed = harvester("verify", "--out", out, "--replay")
    assert replayed.code == 0, replayed.out
    return {path.relative_to(out).as_posix() for path in out.rglob("data/*/*/*.jpg")}


@pytest.mark.long
def test_a_second_run_decides_the_same_whatever_became_of_the_index(
    server: SandboxServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "SAVE_ROWS", 1)
    harvester, first = Commands(server, tmp_path, capsys), tmp_path / "first"
    for frames in ("6", "10"):  # the file is written when a run opens it
        assert harvester("run", "--category", GAME, "--frames", frames, "--out", first, **NOW).code == 0
    (file,) = (first / ".harvester" / "index").iterdir()
    assert file.name.startswith("category-")
    copies = {name: shutil.copytree(first, tmp_path / name) for name in ("torn", "absent")}
    (copies["torn"] / file.relative_to(first)).write_bytes(file.read_bytes()[:5000])
    shutil.rmtree(copies["absent"] / ".harvester" / "index")
    whole = decided(harvester, first)
    assert len(whole) == 20
    for copy in copies.values():
        assert decided(harvester, copy) == whole
