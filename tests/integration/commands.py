"""The command line as a test runs it: in this process, against a sandbox, with its output captured."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harvester.cli import main
from harvester.sandbox import SandboxServer

#: Settings that make a run quick against the stand-in, which nobody has to be polite to.
QUICK = {
    "HARVESTER_FETCH_GQL_REQUESTS_PER_S": "500",
    "HARVESTER_DISCOVER_REQUESTS_PER_S": "500",
    "HARVESTER_FETCH_RETRY_BASE_S": "0.001",
    "HARVESTER_FETCH_RETRY_MAX_S": "0.01",
    "HARVESTER_FETCH_OUTAGE_PAUSES_S": "[0.01, 0.02, 0.04]",
}


@dataclass(frozen=True)
class Ended:
    """What a command left: exit code, stdout, stderr."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The object on the last line of stdout."""
        value = json.loads(self.out.splitlines()[-1])
        assert isinstance(value, dict)
        return value


class Commands:
    """``harvester`` with the configuration and credentials of one sandbox."""

    def __init__(self, server: SandboxServer, folder: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.server = server
        self.config = folder / "sandbox.toml"
        self.config.write_text(server.config_toml(), encoding="utf-8")
        self._capture = capture

    def __call__(self, *arguments: str | Path, **environment: str) -> Ended:
        """Run ``harvester ARGUMENTS --config ...``; ``environment`` is added to the sandbox's credentials."""
        name, *rest = map(str, arguments)
        variables = self.server.environ | QUICK | environment
        return self.bare(name, "--config", str(self.config), *rest, **variables)

    def bare(self, *arguments: str, **environment: str) -> Ended:
        """Run ``harvester ARGUMENTS`` with nothing added."""
        self._capture.readouterr()
        with _environment(environment), pytest.raises(SystemExit) as ended:
            main(list(arguments))
        output = self._capture.readouterr()
        return Ended(int(ended.value.code or 0), output.out, output.err)


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
