"""Runs the real command line in processes that kill themselves, and says whether what they leave is whole.

``python -m tests.integration.killing`` is a server of processes: it loads the program once, and forks a child for
each command, so that a thousand runs cost no thousand starts. A child counts its *steps*, everything that changes
what is on the disk below the dataset directory, and dies of SIGKILL at one of them:

``step``      before the k-th rename, unlink, rmdir, open for writing, or COMMIT (a folder that was just made can be
              seen before the next of these)
``torn``      right after the k-th open for writing, or at a flush with the second half of the file not written
``rows``      before the k-th rename of a metadata file
``commit``    right before the k-th COMMIT
``committed`` right after it

The other half of the module is the client for tests: :class:`Processes`, :class:`Harvesting`.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import harvester
from harvester.sandbox import SandboxServer
from harvester.store.metadata import SplitRows
from tests.integration.wholeness import check_books, check_whole

#: What a step can be.
KINDS = ("step", "torn", "rows", "commit", "committed")
#: Environment variable: rows may stand beside the metadata up to this share of those in it.
BESIDE_SHARE = "KILLING_BESIDE_SHARE"
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


# -- in the child -----------------------------------------------------------------------------------------------


class Steps:
    """Counts the steps of this process below ``root`` and kills it at one of them (``at`` 0: never)."""

    def __init__(self, root: str, kind: str, at: int) -> None:
        self._root = os.path.realpath(root)
        self._kind, self._at = kind, at
        self._lock = threading.RLock()
        self.taken: dict[str, list[str]] = {kind: [] for kind in KINDS}

    def install(self) -> None:
        """From now on."""
        sys.addaudithook(self._audit)
        connect, steps = sqlite3.connect, self

        class Connection(sqlite3.Connection):
            def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
                if sql != "COMMIT":
                    return super().execute(sql, *arguments)
                steps._step("step", "COMMIT")
                steps._step("commit", "COMMIT")
                cursor = super().execute(sql, *arguments)
                steps._step("committed", "COMMIT")
                return cursor

        def connected(*arguments: Any, **options: Any) -> sqlite3.Connection:
            return connect(*arguments, **options, factory=Connection)

        sqlite3.connect = connected  # type: ignore[assignment]
        flush = os.fsync

        def fsync(descriptor: int) -> None:
            status = os.fstat(descriptor)
            if stat.S_ISREG(status.st_mode):
                half = partial(os.ftruncate, descriptor, status.st_size // 2)
                self._step("torn", f"flush {os.readlink(f'/proc/self/fd/{descriptor}')}", half)
            flush(descriptor)

        os.fsync = fsync

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        match event, arguments:
            case ("open", (str() | bytes() as path, _, int() as flags)) if flags & _WRITING:
                self._path_step(event, path, last=partial(_open_and_no_more, path, flags))
            case ("os.rename", (source, target, _, folder)):
                self._path_step(f"{event} {os.fsdecode(source)} to", target, folder)
            case ("os.remove" | "os.rmdir", (path, folder)):
                self._path_step(event, path, folder)

    def _path_step(self, what: str, path: Any, folder: int = -1, last: Callable[[], None] | None = None) -> None:
        base = os.readlink(f"/proc/self/fd/{folder}") if folder >= 0 else os.getcwd()
        full = os.path.join(base, os.fsdecode(path))
        if full == self._root or full.startswith(self._root + "/"):
            self._step("step", f"{what} {full[len(self._root) :]}")
            if what.startswith("os.rename") and full.endswith("/metadata.parquet"):
                self._step("rows", what)
            if last is not None:
                self._step("torn", f"{what} {full[len(self._root) :]}", last)

    def _step(self, kind: str, what: str, last: Callable[[], None] | None = None) -> None:
        """Count a step; if it is the one to die at, do ``last`` before."""
        with self._lock:
            self.taken[kind].append(what)
            if kind == self._kind and len(self.taken[kind]) == self._at:
                if last is not None:
                    last()
                os.write(2, f"\nKILLED {kind} {self._at}: {what}\n".encode())
                os.kill(os.getpid(), signal.SIGKILL)


def _open_and_no_more(path: str | bytes, flags: int) -> None:
    os.close(os.open(path, flags & ~os.O_EXCL, 0o644))


def _become(order: Mapping[str, Any]) -> None:
    """Turn this fresh child into the command that ``order`` names, and end.

    Nothing of the interpreter is taken down: that would cost as much as the command itself.
    """
    for number, (name, flags) in enumerate([("/dev/null", 0), (order["out"], 577), (order["err"], 577)]):
        os.dup2(os.open(name, flags, 0o644), number)
    os.environ.clear()
    os.environ.update(order["env"])
    from harvester.cli import main
    from harvester.pipeline import publishing
    from harvester.store import metadata

    publishing.BATCH_FRAMES = order["batch_frames"]
    metadata.BESIDE_SHARE = float(order["env"].get(BESIDE_SHARE, metadata.BESIDE_SHARE))
    steps = Steps(order["root"], order["kind"], order["at"])
    steps.install()
    try:
        main(order["args"])
    except SystemExit as ended:
        Path(order["steps"]).write_text(json.dumps(steps.taken))
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(int(ended.code or 0))


def _load_everything() -> None:
    """Import what a run imports at its first use, so that no child has to."""
    ours = (module.name for module in pkgutil.walk_packages(harvester.__path__, "harvester."))
    theirs = ("av", "cv2", "jinja2", "pyarrow.compute", "pyarrow.parquet")
    for name in (*ours, *theirs):
        if not name.endswith("__main__"):
            importlib.import_module(name)
    SplitRows.empty()  # pyarrow looks for pandas here


def serve() -> None:
    """Fork a child for every ``start`` order on stdin, answer with its pid; with its status to a ``wait``."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever runs the tests may have told it to be ignored (nohup)
    _load_everything()
    gc.freeze()
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            answer = os.waitstatus_to_exitcode(os.waitpid(order["wait"], 0)[1])
        else:
            answer = os.fork()
            if not answer:
                _become(order)
        print(json.dumps(answer), flush=True)


# -- in the test ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Finished:
    """A command that has ended. ``code`` < 0: by that signal. ``steps``: those it took, if it was not killed."""

    code: int
    out: str
    err: str
    steps: dict[str, list[str]]

    @property
    def killed(self) -> bool:
        return self.code == -signal.SIGKILL

    @property
    def report(self) -> dict[str, Any]:
        """The JSON object of the last line on stdout."""
        record: dict[str, Any] = json.loads(self.out.splitlines()[-1])
        return record


@dataclass
class Processes:
    """Starts commands through the server of processes; one of it serves all tests of a session."""

    scratch: Path
    environ: dict[str, str]
    _server: subprocess.Popen[str] = field(init=False)
    _started: dict[int, Path] = field(default_factory=dict)
    _count: int = 0

    def __post_init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.killing"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        )

    def close(self) -> None:
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait()
        if self._server.stdout is not None:
            self._server.stdout.close()

    def start(
        self,
        root: Path,
        args: Sequence[str],
        environ: Mapping[str, str],
        *,
        kind: str = "step",
        at: int = 0,
        batch_frames: int = 4,
    ) -> int:
        """Start ``harvester ARGS``, which dies at its ``at``-th step of that kind below ``root``; its pid."""
        self._count += 1
        base = self.scratch / f"command-{self._count}"
        order = {
            "args": list(args),
            "env": {**self.environ, **environ},
            "root": str(root),
            "kind": kind,
            "at": at,
            "batch_frames": batch_frames,
            **{name: f"{base}.{name}" for name in ("out", "err", "steps")},
        }
        pid = int(self._ask(order))
        self._started[pid] = base
        return pid

    def wait(self, pid: int) -> Finished:
        """How the command of that process ended."""
        code = int(self._ask({"wait": pid}))
        base = self._started.pop(pid)
        texts = []
        for name in ("out", "err", "steps"):
            file = Path(f"{base}.{name}")
            texts.append(file.read_text() if file.exists() else "")
            file.unlink(missing_ok=True)
        return Finished(code, texts[0], texts[1], json.loads(texts[2] or "{}"))

    def _ask(self, order: Mapping[str, Any]) -> str:
        assert self._server.stdin is not None and self._server.stdout is not None
        self._server.stdin.write(json.dumps(order) + "\n")
        self._server.stdin.flush()
        answer = self._server.stdout.readline()
        assert answer, "the server of processes has ended"
        return answer


@dataclass(frozen=True)
class Harvesting:
    """One command line, aimed at one world: ``arguments`` of ``harvester run`` besides --config, --out, --json."""

    processes: Processes
    server: SandboxServer
    config: Path
    environ: Mapping[str, str]
    arguments: tuple[str, ...]

    def command(self, root: Path) -> list[str]:
        """The arguments of ``harvester``."""
        return ["run", "--config", str(self.config), "--out", str(root), "--json", *self.arguments]

    def start(self, root: Path, **death: Any) -> int:
        return self.processes.start(root, self.command(root), self.environ, **death)

    def run(self, root: Path, **death: Any) -> Finished:
        """Run to the end, or to the kill."""
        return self.processes.wait(self.start(root, **death))

    def finish(self, root: Path, *codes: int) -> Finished:
        """Run to the end, check that it went well and that everything on the disk is as it should be."""
        done = self.run(root)
        assert done.code in (codes or (0,)), (done.code, done.err[-2000:])
        check_books(root, done.report)
        check_whole(root)
        verified = self.verify(root)
        assert verified.code == 0, verified.err[-2000:]
        return done

    def verify(self, root: Path) -> Finished:
        """``harvester verify --replay``: I3, and the program's own view of the rest."""
        args = ["verify", "--config", str(self.config), "--out", str(root), "--replay"]
        return self.processes.wait(self.processes.start(root, args, self.environ))


if __name__ == "__main__":
    serve()
