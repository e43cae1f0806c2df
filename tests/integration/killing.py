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

The other half of the module is the client for tests (:class:`Processes`) and the checks (invariants I1, I2, I4).
"""

from __future__ import annotations

import gc
import hashlib
import importlib
import json
import os
import pkgutil
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import harvester
from harvester.config import Sample
from harvester.sampling.plan import choose_targets
from harvester.sandbox import SandboxServer
from harvester.store.metadata import SplitRows
from harvester.store.records import source_from

#: What a step can be.
KINDS = ("step", "torn", "rows", "commit", "committed")
SPLITS = ("train", "validation", "test")
LEDGER = ".harvester/ledger.sqlite3"
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
    from harvester.cli.main import main
    from harvester.pipeline import publishing

    publishing.BATCH_FRAMES = order["batch_frames"]
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


# -- what must hold ---------------------------------------------------------------------------------------------


def rows_of(root: Path) -> dict[str, list[dict[str, Any]]]:
    """The rows of each split that has a metadata file."""
    import pyarrow.parquet as pq

    files = {split: root / "data" / split / "metadata.parquet" for split in SPLITS}
    return {split: pq.ParquetFile(file).read().to_pylist() for split, file in files.items() if file.exists()}


def check_raw(root: Path) -> None:
    """I4, at this instant and before any recovery: a reader of the directory finds every listed image whole."""
    for split, rows in rows_of(root).items():
        for row in rows:
            image = root / "data" / split / row["file_name"]
            assert image.exists(), f"{split}/{row['file_name']} is listed and not there"
            assert hashlib.sha256(image.read_bytes()).hexdigest() == row["sha256"], row["file_name"]
    for folder in (root / "data").glob("*"):
        assert (folder / "metadata.parquet").exists(), f"{folder.name} has no metadata"
        classes = [entry for entry in folder.iterdir() if entry.is_dir()]
        assert classes, f"{folder.name} has no image"
        assert all(any(entry.iterdir()) for entry in classes), f"an empty class in {folder.name}"


def check_whole(root: Path) -> None:
    """After a run: nothing staged; images, metadata and ledger name the same frames; ranks are prefixes.

    And no target was decided by its picture twice.
    """
    check_raw(root)
    staging = root / ".harvester" / "staging"
    assert not staging.exists() or not any(staging.rglob("*"))
    listed = {f"{split}/{row['file_name']}" for split, rows in rows_of(root).items() for row in rows}
    images = {str(path.relative_to(root / "data")) for path in (root / "data").glob("*/*/*")}
    assert images == listed
    kept = [row["file_name"] for row in outcomes(root) if row["verdict"] == "kept"]
    assert Counter(kept) == Counter(name.split("/", 1)[1] for name in listed)
    check_prefixes(root)
    looked_at = Counter(
        (row["category_id"], row["kind"], row["source_id"], row["k"])
        for row in outcomes(root)
        if row["k"] is not None and row["measurement"] is not None
    )
    assert not [target for target, times in looked_at.items() if times > 1]


def check_books(root: Path, report: Mapping[str, Any]) -> None:
    """I1: planned is what became of it, in all and in each category, and the ledger says the same."""
    for books in (report, *report["categories"].values()):
        decided = books["kept"] + sum(books["dropped"].values()) + sum(books["failed"].values())
        assert books["planned"] == decided + books["pending"]
    rows = _final([row for row in outcomes(root) if row["run_id"] == report["run_id"]])
    by_verdict = Counter(row["verdict"] for row in rows)
    dropped = Counter(row["reason"] for row in rows if row["verdict"] == "dropped")
    failed = Counter(row["reason"] for row in rows if row["verdict"] == "failed")
    assert (by_verdict["kept"], dropped, failed) == (report["kept"], report["dropped"], report["failed"])
    kept = Counter(row["category_id"] for row in outcomes(root) if row["verdict"] == "kept")
    assert {category: books["total"] for category, books in report["categories"].items()} == {
        category: kept[category] for category in report["categories"]
    }
    for books in report["categories"].values():
        assert books["target"] is None or books["total"] <= books["target"]


def _final(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What became of each target in the end: a failure that the same run mended counts no more."""
    final: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        source = (row["category_id"], row["kind"], row["source_id"])
        final.pop((*source, None), None)
        final[*source, row["k"]] = row
    return list(final.values())


@contextmanager
def _ledger(root: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(f"file:{root / LEDGER}?mode=ro", uri=True)) as database:
        database.row_factory = sqlite3.Row
        yield database


def outcomes(root: Path) -> list[dict[str, Any]]:
    """The ledger's outcomes in the order of their commits."""
    with _ledger(root) as database:
        return [dict(row) for row in database.execute("SELECT * FROM outcomes ORDER BY seq")]


def check_prefixes(root: Path) -> None:
    """I2: what is decided of a pass are its first ranks, without those that no picture stands behind.

    Ranks are recomputed from the committed visits. A rank may be passed over when its source has fewer targets,
    could not be opened at an earlier rank, or had that target decided in another pass.
    """
    decided: dict[int, list[dict[str, Any]]] = {}
    settled = {}
    for row in outcomes(root):
        if row["pass_id"]:
            decided.setdefault(row["pass_id"], []).append(row)
        if row["verdict"] != "failed":
            settled[row["category_id"], row["kind"], row["source_id"], row["k"]] = row["pass_id"]
    for pass_id, rows in decided.items():
        order = [_rank(row) for row in rows]
        assert order == sorted(set(order)), f"pass {pass_id} is out of order"
        done = set(order)
        lost = {(row["kind"], row["source_id"]): _rank(row) for row in rows if row["k"] is None}
        assert len(lost) == sum(row["k"] is None for row in rows), "a source is lost once in a pass"
        for rank, source, k, targets in _ranks(root, pass_id):
            if rank > order[-1] or rank in done:
                continue
            elsewhere = settled.get((rows[0]["category_id"], *source, k), pass_id) != pass_id
            assert elsewhere or k >= targets or (source in lost and rank > lost[source]), f"{source} {k} skipped"


def _rank(row: Mapping[str, Any]) -> tuple[int, ...]:
    return (row["round"], row["broadcaster_hash"], row["source_hash"], row["place"])


def _ranks(root: Path, pass_id: int) -> Iterator[tuple[tuple[int, ...], tuple[str, str], int, int]]:
    """Rank, source, number of the target, and how many targets the source really has (of this world)."""
    query = (
        "SELECT v.*, s.record FROM visits v JOIN sources s ON s.category_id = v.category_id AND s.kind = v.kind"
        " AND s.id = v.source_id WHERE v.pass_id = ?"
    )
    with _ledger(root) as database:
        visits = [dict(row) for row in database.execute(query, (pass_id,))]
    for visit in visits:
        retry = json.loads(visit["retry"]) if visit["retry"] else None
        for place in range(visit["count"]):
            turn = (visit["first_slot"] + place) // visit["round_size"]
            rank = (turn, visit["broadcaster_hash"], visit["source_hash"], place)
            k = place if retry is None else retry[place]
            source = (visit["kind"], visit["source_id"])
            yield rank, source, k, _targets(visit["kind"], visit["record"])


#: How the worlds of these tests are sampled: few targets, several rounds, the small rendition.
SAMPLE = Sample(min_spacing_s=2, round_size=2, max_per_vod=6, max_per_clip=3, min_height=100)


def _targets(kind: str, record: str) -> int:
    """How many targets a source of these worlds has: their GOPs, and so their pictures, are 2 s apart."""
    source = source_from(kind, record)
    moments_s = [2.0 * number for number in range(int(source.duration_s / 2))]
    return len(choose_targets(source, moments_s, source.duration_s, SAMPLE))


@dataclass(frozen=True)
class Content:
    """What a dataset is, apart from when and by which runs it was made."""

    frames: frozenset[tuple[Any, ...]]
    decisions: Counter[tuple[Any, ...]]


def content(root: Path) -> Content:
    """The frames with their files, and every decision: source, place, offset, hash, verdict, reason."""
    frames = []
    for split, rows in rows_of(root).items():
        for row in rows:
            stored = hashlib.sha256((root / "data" / split / row["file_name"]).read_bytes()).hexdigest()
            names = ("source_type", "source_id", "offset_s", "phash", "split", "label", "label_id", "file_name")
            frames.append((*(row[name] for name in names), stored))
    passes: dict[str, list[int]] = {}
    decisions = []
    for row in outcomes(root):
        numbers = passes.setdefault(row["category_id"], [])
        if row["pass_id"] not in numbers:
            numbers.append(row["pass_id"])
        names = ("category_id", "kind", "source_id", "k", "offset_s", "phash", "verdict", "reason", "sha256")
        decisions.append((numbers.index(row["pass_id"]), *_rank(row), *(row[name] for name in names)))
    assert len(set(frames)) == len(frames)
    return Content(frozenset(frames), Counter(decisions))


def assert_same(got: Content, wanted: Content) -> None:
    """Both datasets are the same; else say what differs, in short."""
    assert got.frames == wanted.frames, sorted(got.frames ^ wanted.frames, key=str)[:4]
    more, less = got.decisions - wanted.decisions, wanted.decisions - got.decisions
    assert not more and not less, (f"{len(more)} more", list(more)[:4], f"{len(less)} less", list(less)[:4])


def spread(count: int, every: int, seed: int) -> list[int]:
    """Every ``every``-th of the numbers 1..count from a seeded start on, and the first and the last."""
    first = random.Random(seed).randrange(1, every + 1)
    return sorted({1, count, *range(first, count + 1, every)})


if __name__ == "__main__":
    serve()
