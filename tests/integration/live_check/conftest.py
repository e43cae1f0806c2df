"""The script as a module and a sandbox that it can look at."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from harvester.sandbox import SandboxServer
from tests.integration.live_check.running import (
    SCRIPTS,
    Run,
    busy_world,
)


@pytest.fixture(scope="session")
def busy_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxServer]:
    server = SandboxServer(busy_world(), cache_dir=tmp_path_factory.mktemp("media"))
    with server.running():
        yield server


@pytest.fixture(scope="session")
def script() -> Iterator[ModuleType]:
    """The script as a module; the folder that it is run from is the first of its path."""
    sys.path.insert(0, str(SCRIPTS))
    yield importlib.import_module("live_check")
    sys.path.remove(str(SCRIPTS))


@pytest.fixture
def check(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Run:
    return Run(script, tmp_path, monkeypatch, capsys)


@pytest.fixture
def server(busy_server: SandboxServer) -> SandboxServer:
    """The busy world, which behaves and has forgotten earlier tests."""
    busy_server.faults.clear()
    busy_server.log.clear()
    return busy_server
