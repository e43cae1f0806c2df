"""What holds for every test: only loopback, nobody's own settings, examples without deadline, SIGINT that is heard."""

from __future__ import annotations

import ipaddress
import os
import shutil
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import HealthCheck, settings

#: A shared machine may take any time for an example: how long one takes is no finding.
settings.register_profile(
    "harvester", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("harvester")

#: The reader of the datasets library looks for the outside while it is imported, unless told not to.
os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", HF_UPDATE_DOWNLOAD_COUNTS="0")

#: Tests and the processes that they start end by SIGINT, which a shell has a job in its background ignore.
signal.signal(signal.SIGINT, signal.default_int_handler)

_outside: list[str] = []


def _is_inside(host: str | bytes | None) -> bool:
    name = host.decode() if isinstance(host, bytes) else host
    if name in (None, "", "localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback or name == "0.0.0.0"
    except ValueError:
        return False


def _only_loopback(event: str, arguments: tuple[Any, ...]) -> None:
    """Audit hook (it sees every socket of the process, whichever library opens it): refuses the outside."""
    if event == "socket.connect":
        sock, address = arguments
        if sock.family in (socket.AF_INET, socket.AF_INET6) and not _is_inside(address[0]):
            _refuse(f"connect to {address}")
    elif event == "socket.getaddrinfo" and not _is_inside(arguments[0]):
        _refuse(f"look up {arguments[0]!r}")


def _refuse(what: str) -> None:
    _outside.append(what)
    raise PermissionError(f"a test tried to {what}; tests may reach loopback only")


sys.addaudithook(_only_loopback)


@pytest.fixture(autouse=True)
def no_network() -> Iterator[None]:
    """Fails the test that tried to leave loopback, even if the code under test swallowed the refusal."""
    _outside.clear()
    yield
    tried, _outside[:] = list(_outside), []
    assert not tried, f"outside of loopback: {tried}"


@pytest.fixture(autouse=True)
def own_settings_stay_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the machine's owner configures a test; loopback goes through no proxy."""
    for name in list(os.environ):
        if name.startswith(("HARVESTER_", "TWITCH_CLIENT_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


def left_out(why: str) -> NoReturn:
    """End a test that lacks something which not every machine has: it is skipped, in CI it fails."""
    (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(why)


def program(name: str) -> str:
    """Path of a program that only tests need (scripts/test-apt.txt). Absent: the test is skipped, in CI it fails."""
    path = shutil.which(name)
    if path is None:
        left_out(f"{name} is not installed: apt-get install {name}")
    return path


@pytest.fixture(scope="session")
def ffmpeg() -> str:
    """Path of the ffmpeg program."""
    return program("ffmpeg")


@pytest.fixture(scope="session")
def driver_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with stand-ins of the NVIDIA driver's files, for :func:`tests.fakes.driver.machine`."""
    from tests.fakes.driver import build

    return build(tmp_path_factory.mktemp("driver"))
