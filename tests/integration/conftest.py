"""What several modules of these tests share: the default world on a server, and a root that obeys permissions."""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from harvester.cli import main
from harvester.sandbox import SandboxServer, default_world
from tests.integration.commands import QUICK, Commands
from tests.integration.refusals import small

#: Linux capabilities that let root read and write against permission bits (capabilities(7)).
_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 1, 2
_CAPABILITY_VERSION_3 = 0x20080522


@pytest.fixture(scope="session")
def world_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxServer]:
    """The default world, served for the whole session."""
    sandbox = SandboxServer(default_world(), cache_dir=tmp_path_factory.mktemp("media"))
    with sandbox.running():
        yield sandbox


@pytest.fixture
def default_commands(world_server: SandboxServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Commands:
    """``harvester`` against the default world, which behaves and has forgotten earlier tests."""
    world_server.faults.clear()
    world_server.log.clear()
    return Commands(world_server, tmp_path, capsys)


@pytest.fixture(scope="session")
def made(world_server: SandboxServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of two frames of Teeworlds; not to be changed."""
    folder = tmp_path_factory.mktemp("made")
    config, out = folder / "sandbox.toml", folder / "dataset"
    config.write_text(world_server.config_toml(), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        for name, value in (world_server.environ | QUICK).items():
            patch.setenv(name, value)
        with pytest.raises(SystemExit, match="0"):
            main(["run", "--config", str(config), *small(out)])
    return out


@pytest.fixture
def dataset(made: Path, tmp_path: Path) -> Path:
    """A copy of it to work on."""
    return Path(shutil.copytree(made, tmp_path / "dataset"))


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Set(ctypes.Structure):
    _fields_ = [("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32)]


@pytest.fixture
def obedient() -> Callable[[], AbstractContextManager[None]]:
    """``with obedient():`` permission bits hold for this thread and those it starts, even if they are root's."""
    return _obedient


@contextmanager
def _obedient() -> Iterator[None]:
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = _Header(_CAPABILITY_VERSION_3, 0), (_Set * 2)()
    assert libc.capget(ctypes.byref(header), sets) == 0
    before = sets[0].effective
    sets[0].effective &= ~(1 << _CAP_DAC_OVERRIDE | 1 << _CAP_DAC_READ_SEARCH)
    assert libc.capset(ctypes.byref(header), sets) == 0
    try:
        yield
    finally:
        sets[0].effective = before
        assert libc.capset(ctypes.byref(header), sets) == 0
