"""Production settings through a proxy: every HTTP stack uses it, nothing leaves beside it, its password stays secret."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

import harvester
from harvester.clock import Clock
from harvester.config import Endpoints, Fetch
from harvester.errors import ConfigError, HarvesterError, SourceError
from harvester.model import Vod, VodType
from harvester.sandbox import SandboxServer, default_world
from harvester.stats import Traffic
from harvester.twitch.playback import StreamlinkResolver
from tests.integration.tunnel import HOST, Authority, Tunnel, authority

CDN = "d000standin000.cloudfront.net"
NAMES = ("api.twitch.tv", "id.twitch.tv", "gql.twitch.tv", "usher.ttvnw.net", CDN)

#: Sees every socket of the process, whichever library opens it: notes addresses and look-ups, and lets none outside.
WATCH = """
import os, sys
log = os.open(os.environ["WATCHED"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def watch(event, arguments):
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        os.write(log, f"connect {arguments[1][0]} {arguments[1][1]}\\n".encode())
        if arguments[1][0] != "127.0.0.1":
            raise PermissionError("outside")
    elif event == "socket.getaddrinfo":
        os.write(log, f"lookup {arguments[0]}\\n".encode())
        if arguments[0] != "127.0.0.1":
            raise PermissionError("outside")
sys.addaudithook(watch)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("authority"), NAMES)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxServer]:
    """A world whose media lie, as it says, on CloudFront."""
    sandbox = SandboxServer(
        default_world(), cache_dir=tmp_path_factory.mktemp("media"), public_origin=f"https://{CDN}"
    )
    with sandbox.running():
        yield sandbox


class Machine:
    """A process whose only way out is a proxy."""

    def __init__(self, server: SandboxServer, made: Authority, folder: Path) -> None:
        self._server, self._made, self._folder = server, made, folder
        (folder / "site").mkdir()
        (folder / "site" / "sitecustomize.py").write_text(WATCH)
        self.watched = folder / "watched"

    def run(self, proxy: str, **more: str) -> subprocess.CompletedProcess[str]:
        """``harvester run`` of a few frames with default endpoints."""
        root = Path(harvester.__file__).parent.parent
        environ = {
            **os.environ,
            **self._server.environ,
            "PYTHONPATH": os.pathsep.join([str(self._folder / "site"), str(root)]),
            "WATCHED": str(self.watched),
            "SSL_CERT_FILE": str(self._made.ca),
            "REQUESTS_CA_BUNDLE": str(self._made.ca),
            "HTTPS_PROXY": proxy,
            "HARVESTER_RIGHTS_BASIS": "none needed: a stand-in",
            "HARVESTER_RUN_NOW": f"{self._server.world.now:%Y-%m-%dT%H:%M:%SZ}",
            "HARVESTER_SAMPLE_MIN_SPACING_S": "2",
            "HARVESTER_DISCOVER_REQUESTS_PER_S": "500",
            "HARVESTER_FETCH_GQL_REQUESTS_PER_S": "500",
            "HARVESTER_FETCH_RETRY_BASE_S": "0.001",
            **more,
        }
        arguments = ["run", "--category", "Minetest", "--frames", "8", "--out", "dataset", "--json"]
        return subprocess.run(
            [sys.executable, "-m", "harvester", *arguments],
            cwd=self._folder,
            env=environ,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    def seen(self) -> set[str]:
        """Addresses connected to and names looked up."""
        return set(self.watched.read_text().splitlines())


@pytest.fixture
def machine(server: SandboxServer, made: Authority, tmp_path: Path) -> Machine:
    server.faults.clear()
    server.log.clear()
    return Machine(server, made, tmp_path)


def test_everything_goes_through_the_proxy(server: SandboxServer, made: Authority, machine: Machine) -> None:
    with Tunnel(server.port, made, NAMES, credentials="ann:p@ss:word").running() as tunnel:
        ended = machine.run(f"http://ann:p%40ss%3Aword@{HOST}:{tunnel.port}")
    assert ended.returncode == 0, ended.stderr
    answer = json.loads(ended.stdout.splitlines()[-1])
    assert answer["kept"] == 8
    assert set(tunnel.asked) == set(NAMES)
    assert tunnel.plain == []
    assert machine.seen() <= {f"connect {HOST} {tunnel.port}", f"lookup {HOST}"}
    assert {entry.host for entry in server.log.entries()} == set(NAMES)
    assert {entry.host for entry in server.log.entries("media") + server.log.entries("playlist")} == {CDN}
    assert sum(answer["requests"].values()) == len(server.log.entries())
    assert 1 < tunnel.peak[CDN] <= Fetch().connections_per_host
    assert max(tunnel.peak.values()) <= Fetch().connections_per_host  # GQL is asked by two clients
    assert "p@ss" not in ended.stdout + ended.stderr
    assert "p%40ss" not in ended.stdout + ended.stderr


@pytest.mark.parametrize("user", ["", "ann:hunter2@"])
def test_proxy_that_wants_another_password(
    server: SandboxServer, made: Authority, machine: Machine, user: str
) -> None:
    with Tunnel(server.port, made, NAMES, credentials="ann:right").running() as tunnel:
        ended = machine.run(f"http://{user}{HOST}:{tunnel.port}")
    assert ended.returncode == 2
    assert f"the proxy {HOST}:{tunnel.port}" in ended.stderr
    assert "hunter2" not in ended.stdout + ended.stderr
    assert server.log.entries() == []


def test_proxy_that_is_not_there(machine: Machine) -> None:
    ended = machine.run(f"http://ann:hunter2@{HOST}:9")
    assert ended.returncode == 5
    assert f"no connection to the proxy {HOST}:9" in ended.stderr
    assert "hunter2" not in ended.stdout + ended.stderr


def test_proxy_that_connects_to_nothing(server: SandboxServer, made: Authority, machine: Machine) -> None:
    with Tunnel(server.port, made, ()).running() as tunnel:
        ended = machine.run(f"http://{HOST}:{tunnel.port}")
    assert ended.returncode == 5
    assert f"the proxy {HOST}:{tunnel.port} does not connect to id.twitch.tv (status 403)" in ended.stderr


def test_what_is_no_http_proxy_is_refused_at_once(machine: Machine) -> None:
    ended = machine.run("socks5://ann:hunter2@127.0.0.1:9")
    assert ended.returncode == 2
    assert "HTTPS_PROXY" in ended.stderr
    assert "hunter2" not in ended.stdout + ended.stderr


def _resolve(server: SandboxServer) -> HarvesterError:
    """What opening a VOD on real Twitch raises."""
    now = server.world.now
    vod = Vod("2001", "1", "9001", "Ann", "any%", now - timedelta(hours=9), 900, VodType.ARCHIVE, "en", 4)
    fetch = Fetch(attempts=1, gql_requests_per_s=500)

    async def ask() -> HarvesterError:
        async with StreamlinkResolver(Endpoints(), fetch, Traffic(), Clock(now)) as resolver:
            with pytest.raises(HarvesterError) as caught:
                await resolver.renditions(vod)
            return caught.value

    return asyncio.run(ask())


def test_streamlinks_requests_tell_of_the_proxy_too(
    server: SandboxServer, made: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Tunnel(server.port, made, NAMES, credentials="ann:right").running() as tunnel:
        monkeypatch.setenv("https_proxy", f"http://ann:hunter2@{HOST}:{tunnel.port}")
        error = _resolve(server)
        assert isinstance(error, ConfigError)
        assert "hunter2" not in str(error)
    monkeypatch.setenv("https_proxy", f"http://ann:hunter2@{HOST}:9")
    error = _resolve(server)
    assert isinstance(error, SourceError)
    assert error.reason == "unavailable"
