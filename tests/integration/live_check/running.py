"""``scripts/live_check.py`` as a test runs it: in this process, against a busy sandbox, watched for secrets."""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from harvester.sandbox import SandboxServer, World, default_world
from harvester.sandbox.world import Chapter, Video
from tests.integration.commands import QUICK

SCRIPTS = Path(__file__).resolve().parents[3] / "scripts"
GAME = "Teeworlds"
#: By number: everything that a stand-in can keep, whatever the machine is busy with.
KEPT = set(range(1, 13))
#: Signatures, tokens of Helix, and what carries them in a URL; the application's secret is looked for as it is.
SECRET = re.compile(r"[0-9a-f]{40}|sbx-\d|sig=|token=|nauth")

HOLDS, FAILS, UNTOLD = "holds", "does not hold", "could not tell"


def busy_world(vods: int = 120) -> World:
    """The default world, where many have recorded one of the games; some switched the game in between."""
    world = default_world()
    models = [video for video in world.videos if video.game.name == GAME]
    other = next(game for game in world.games if game.name != GAME)
    copies = [_copy(models[k % len(models)], k, world, other.id) for k in range(vods)]
    return dataclasses.replace(world, videos=(*world.videos, *copies))


def _copy(video: Video, number: int, world: World, other_game: str) -> Video:
    chapters = (Chapter(video.game.id, 0, 10), Chapter(other_game, 10, 6), Chapter(None, 16, 4))
    return dataclasses.replace(
        video,
        id=str(1_000_000 + number),
        created_at=world.now - timedelta(hours=3 * number + 5),
        distribution=f"d{number}",
        chapters=chapters if number % 3 == 0 else (),
    )


@dataclass(frozen=True)
class Checked:
    """What a run of the script left."""

    code: int
    document: dict[str, Any]
    server: SandboxServer

    @property
    def answers(self) -> dict[int, str]:
        return {check["number"]: check["answer"] for check in self.document["checks"]}

    def check(self, number: int) -> dict[str, Any]:
        found: dict[str, Any] = self.document["checks"][number - 1]
        assert found["number"] == number
        return found

    def requests(self) -> int:
        return sum(self.server.log.stats()["requests"].values())


class Run:
    """Runs the script in this process against a sandbox; ``--json``, and no secret in what it says."""

    def __init__(self, script: ModuleType, folder: Path, patch: pytest.MonkeyPatch, capture: Any) -> None:
        self.script, self._folder, self._patch, self._capture = script, folder, patch, capture

    def __call__(self, server: SandboxServer, *arguments: str, **environment: str) -> Checked:
        config = self._folder / "sandbox.toml"
        config.write_text(server.config_toml(), encoding="utf-8")
        return self.bare(server, "--config", str(config), *arguments, **environment)

    def bare(self, server: SandboxServer, *arguments: str, **environment: str) -> Checked:
        for name, value in (server.environ | QUICK | environment).items():
            self._patch.setenv(name, value)
        self._capture.readouterr()
        code = self.script.main([*arguments, "--json"])
        out, err = self._capture.readouterr()
        for text in (out, err):
            assert not SECRET.search(text)
            assert server.environ["TWITCH_CLIENT_SECRET"] not in text
        return Checked(code, json.loads(out.splitlines()[-1]), server)
