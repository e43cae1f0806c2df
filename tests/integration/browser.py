"""Chromium without a window, told by its DevTools protocol what to show and asked what it saw.

The protocol is JSON over a WebSocket on loopback (https://chromedevtools.github.io/devtools-protocol/). Names are
resolved to nothing, so that nothing leaves the machine whatever the browser would like to look up.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

#: Longest that the browser may take for anything (s); on an idle machine it needs one.
PATIENCE_S = 120

_FLAGS = (
    "--headless=new",
    "--no-sandbox",  # Chromium's own needs user namespaces, or not to be root
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--remote-debugging-port=0",
)


@dataclass(frozen=True)
class Seen:
    """A page as the browser showed it. ``complaints``: what it put on the console; ``requests``: the addresses that
    it asked for, the page's own first; ``answers``: to the scripts; ``screenshot``: PNG of all of it."""

    complaints: list[str]
    requests: list[str]
    answers: list[Any]
    screenshot: bytes


def look_at(program: str, address: str, width: int, scripts: list[str], scratch: Path) -> Seen:
    """Open ``address`` in a window ``width`` CSS pixels wide, then evaluate ``scripts``.

    ``scratch``: a folder for the browser's profile.
    """
    return asyncio.run(asyncio.wait_for(_look(program, address, width, scripts, scratch), PATIENCE_S))


async def _look(program: str, address: str, width: int, scripts: list[str], scratch: Path) -> Seen:
    async with _started(program, scratch) as socket_url, aiohttp.ClientSession() as session:
        async with session.ws_connect(socket_url, max_msg_size=0) as socket:
            tab = _Tab(socket)
            await tab.attach()
            for domain in ("Page", "Runtime", "Log", "Network"):
                await tab.ask(f"{domain}.enable")
            size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 800}
            await tab.ask("Emulation.setDeviceMetricsOverride", **size)
            await tab.ask("Page.setLifecycleEventsEnabled", enabled=True)
            await tab.loaded((await tab.ask("Page.navigate", url=address))["loaderId"])
            answers = [await tab.evaluate(script) for script in scripts]
            shot = await tab.ask("Page.captureScreenshot", captureBeyondViewport=True)
            return Seen(tab.complaints, tab.requests, answers, base64.b64decode(shot["data"]))


@contextlib.asynccontextmanager
async def _started(program: str, scratch: Path) -> AsyncIterator[str]:
    """A browser; the address of its WebSocket, which it writes into its profile once it listens."""
    profile = scratch / "profile"
    with (scratch / "browser.log").open("wb") as log:
        browser = subprocess.Popen(
            [program, *_FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            yield await _socket_url(browser, profile / "DevToolsActivePort", scratch / "browser.log")
        finally:
            browser.kill()
            browser.wait()


async def _socket_url(browser: subprocess.Popen[bytes], file: Path, log: Path) -> str:
    while True:
        if browser.poll() is not None:
            raise RuntimeError(f"the browser ended: {log.read_text(errors='replace')[-2000:]}")
        with contextlib.suppress(FileNotFoundError, ValueError):
            port, path = file.read_text().splitlines()
            return f"ws://127.0.0.1:{port}{path}"
        await asyncio.sleep(0.05)


@dataclass
class _Tab:
    """One page of the browser."""

    socket: aiohttp.ClientWebSocketResponse
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    _session: str = ""
    _loaded: set[str] = field(default_factory=set)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    async def attach(self) -> None:
        target = await self.ask("Target.createTarget", url="about:blank")
        attached = await self.ask("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]

    async def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a command."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        await self.socket.send_json(message | ({"sessionId": self._session} if self._session else {}))
        while (answer := await self._next()).get("id") != number:
            pass
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        result: dict[str, Any] = answer["result"]
        return result

    async def loaded(self, loader_id: str) -> None:
        """Wait until that navigation has loaded everything."""
        while loader_id not in self._loaded:
            await self._next()

    async def evaluate(self, script: str) -> Any:
        answer = await self.ask("Runtime.evaluate", expression=script, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    async def _next(self) -> dict[str, Any]:
        message: dict[str, Any] = await self.socket.receive_json()
        method, told = message.get("method", ""), message.get("params", {})
        if method == "Page.lifecycleEvent" and told["name"] == "load":
            self._loaded.add(told["loaderId"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
        elif method == "Log.entryAdded":
            self.complaints.append(f"{told['entry']['level']}: {told['entry']['text']}")
        elif method in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled"):
            self.complaints.append(str(told))
        return message
