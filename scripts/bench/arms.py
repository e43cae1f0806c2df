"""Everything that is compared, run one at a time against the server: harvester, its rivals, the limits."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from bench.footage import Quality, picture_hash
from bench.measuring import Ended, run
from bench.rivals import Job, Wanted
from bench.stock import Place, Stock
from bench.world import CATEGORY, place_of

#: Harvester at its default connections, and at as many as its quickest rivals have.
HARVESTERS = {"harvester x 4": 4, "harvester x 16": 16}
FIRST = next(iter(HARVESTERS))
LIMITS = ("limit: fetch x 4", "limit: fetch x 16", "limit: decode")

#: Shares of blue, green and red in luma, BT.601 and BT.709: arms differ in what they take untold colours for.
LUMAS = ((0.114, 0.587, 0.299), (0.0722, 0.7152, 0.2126))

#: Targets that a rival's pictures are verified on.
VERIFIED = 8

_SEGMENT = re.compile(r"broadcaster_(\d+)_\d+_\d+/chunked/(\d+)\.ts$")
_FILE = re.compile(r"vod-(\d+)-(\d{9})\.jpg")


class ArmFailed(Exception):
    """An arm ended with an error, made no picture or a wrong one. The first line tells which and how."""


@dataclass(frozen=True, slots=True)
class Run:
    """One arm, once. ``seconds``: the work itself, ``wall_s``: the whole command; ``cpu_s`` and
    ``whole_cpu_s`` alike.

    ``requests``, ``bytes``: for media, as the server counted them.
    """

    frames: int
    seconds: float
    wall_s: float
    cpu_s: float
    whole_cpu_s: float
    anonymous_mb: float
    requests: int
    bytes: int
    server_cpu_s: float

    def __post_init__(self) -> None:
        if self.frames < 1 or self.seconds <= 0:
            raise ValueError(f"nothing was done: {self!r}")


@dataclass(frozen=True, slots=True)
class Asked:
    """A media request that was answered: its path, Range header, bytes sent, when it came (s of the clock)."""

    path: str
    range: str
    bytes: int
    at: float


@dataclass(slots=True)
class Bench:
    """One quality behind one server, on some cores. ``scratch``: a folder of its own for what arms write."""

    quality: Quality
    folder: Path
    scratch: Path
    cores: Sequence[int]
    limit_s: float
    port: int
    environ: Mapping[str, str]
    playlists: Sequence[str]
    stock: Stock
    frames: int  # most that harvester is asked for
    decoder: str  # harvester's [decode] backend
    wanted: list[Wanted] = field(default_factory=list)
    ranges: dict[str, list[tuple[str, str]]] = field(default_factory=dict)  # of each harvester

    # -- the server -----------------------------------------------------------------------------------------

    def shape(self, rtt_ms: float, mbps: float) -> None:
        """Shape the link from now on."""
        self._post("line", {"rtt_ms": rtt_ms, "mbps": mbps})

    def _post(self, name: str, document: object) -> None:
        data = json.dumps(document).encode()
        urllib.request.urlopen(urllib.request.Request(f"{self._control}{name}", data=data, method="POST")).close()

    def _told(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self._control}log") as answer:
            told: dict[str, Any] = json.load(answer)
        return told

    @property
    def _control(self) -> str:
        return f"http://127.0.0.1:{self.port}/_bench/"

    # -- arms -----------------------------------------------------------------------------------------------

    def run(self, arm: str, *, wanted: Sequence[Wanted] | None = None) -> Run:
        """One arm, once, cold. ``wanted`` None: all that harvester fetched."""
        before = self._begin()
        if arm in HARVESTERS:
            return self._harvest(arm, before)
        ended = self._rival(arm, wanted or self.wanted)
        timed = json.loads(ended.output.splitlines()[-1])
        if not timed["done"]:
            raise ArmFailed(f"{arm} made no picture")
        media, server_cpu_s = self._media(before)
        return Run(
            frames=timed["done"],
            seconds=timed["end"] - timed["begin"],
            wall_s=ended.wall_s,
            cpu_s=timed["cpu_s"],
            whole_cpu_s=ended.cpu_s,
            anonymous_mb=ended.anonymous_mb,
            requests=len(media),
            bytes=sum(asked.bytes for asked in media),
            server_cpu_s=server_cpu_s,
        )

    def _begin(self) -> float:
        """Forget what was; returns the server's processor time so far (s)."""
        self._set_aside()
        self.out.mkdir(parents=True)
        self._post("begin", {})
        return float(self._told()["cpu_s"])

    def _set_aside(self) -> None:
        """Empty the files written so far and keep their names: ext4 gives the inode of a deleted file to no other
        for a minute to six, and looks through all of these whenever a file is made (0.2 to 0.5 ms each)."""
        if not self.out.exists():
            return
        for file in self.out.rglob("*"):
            if file.is_file():
                os.truncate(file, 0)
        self.out.rename(tempfile.mkdtemp(dir=self.scratch))

    @property
    def out(self) -> Path:
        """Where an arm writes."""
        return self.scratch / "out"

    def _media(self, server_cpu_before: float) -> tuple[list[Asked], float]:
        told = self._told()
        entries = [entry for entry in told["log"] if entry["path"].endswith(".ts")]
        media = [Asked(e["path"], e["range"] or "", e["bytes"], e["at"]) for e in entries]
        return media, told["cpu_s"] - server_cpu_before

    def _rival(self, arm: str, wanted: Sequence[Wanted]) -> Ended:
        connections = int(arm.rsplit(" ", 1)[1]) if arm.startswith("limit: fetch") else 0
        job = Job(
            wanted=wanted,
            out=str(self.out),
            limit_s=self.limit_s,
            quality=self.quality.name,
            folder=str(self.folder),
            port=self.port,
            connections=connections,
            ranges=self.ranges.get(f"harvester x {connections}") or self.ranges[FIRST],
            decoder=self.decoder,
        )
        file = self.scratch / "job.json"
        file.write_text(json.dumps(asdict(job)), encoding="utf-8")
        return _succeeded(
            arm, run([sys.executable, "-m", "bench.rivals", arm, str(file)], self.environ, self.cores)
        )

    def _harvest(self, arm: str, server_cpu_before: float) -> Run:
        """``harvester run`` into a new dataset, then once more: its target is met, which is its start alone."""
        ended = self._command(arm)
        media, server_cpu_s = self._media(server_cpu_before)
        files = [file.stat() for file in self.out.rglob("data/**/*") if file.is_file()]
        idle = self._command(arm)
        self.ranges[arm] = [(asked.path, asked.range) for asked in media]
        begin = min(asked.at for asked in media)
        return Run(
            frames=json.loads(ended.output.splitlines()[-1])["kept"],
            seconds=max(file.st_mtime for file in files) - begin,
            wall_s=ended.wall_s,
            cpu_s=ended.cpu_s - idle.cpu_s,
            whole_cpu_s=ended.cpu_s,
            anonymous_mb=ended.anonymous_mb,
            requests=len(media),
            bytes=sum(asked.bytes for asked in media),
            server_cpu_s=server_cpu_s,
        )

    def _command(self, arm: str) -> Ended:
        own = {
            "HARVESTER_FETCH_CONNECTIONS_PER_HOST": str(HARVESTERS[arm]),
            "HARVESTER_DECODE_BACKEND": self.decoder,
        }
        target = ["--frames", str(self.frames)]
        asked = ["--config", str(self.scratch / "harvester.toml"), "--category", CATEGORY.name, *target]
        command = [sys.executable, "-m", "harvester", "run", *asked, "--out", str(self.out), "--json"]
        return _succeeded(arm, run(command, {**self.environ, **own}, self.cores))

    # -- what is wanted, and whether it came ------------------------------------------------------------------

    def choose(self) -> None:
        """Let harvester choose the targets: those it keeps, in the order it asked for them."""
        before = self._begin()
        self._command(FIRST)
        media, _ = self._media(before)
        self.ranges[FIRST] = [(asked.path, asked.range) for asked in media]
        kept, order = set(self._delivered()), dict.fromkeys(_place(asked.path) for asked in media)
        self.wanted = [self._target(place) for place in order if place in kept]
        self.frames = len(self.wanted)
        self._check(FIRST)

    def verify(self, arm: str) -> None:
        """Raise ArmFailed unless an arm delivers the right pictures, of some of those wanted."""
        self.run(arm, wanted=self.wanted[:: max(1, len(self.wanted) // VERIFIED)])
        self._check(arm)

    def _check(self, arm: str) -> None:
        pictures = [file for file in self.out.rglob("*.jpg") if ".harvester" not in file.parts]
        wrong = sorted(file.name for file in pictures if self._differs(file))
        if wrong or not pictures:
            raise ArmFailed(
                f"{arm} delivered {len(wrong)} wrong pictures of {len(pictures)}: {', '.join(wrong[:5])}"
            )

    def _target(self, place: Place) -> Wanted:
        playlist = self.playlists[place.vod]
        return Wanted(place, playlist, f"{playlist.rsplit('/', 1)[0]}/{place.segment}.ts", place.segment * 10.0)

    def _delivered(self) -> Iterator[Place]:
        for file in self.out.rglob("data/**/*.jpg"):
            match = _FILE.fullmatch(file.name)
            assert match
            yield place_of(match[1], int(match[2]) / 1000)

    def _differs(self, file: Path) -> bool:
        match = _FILE.fullmatch(file.name)
        vod, segment = file.stem.split("-")[:2]
        place = place_of(match[1], int(match[2]) / 1000) if match else Place(int(vod), int(segment))
        image = cv2.imread(str(file))
        lumas = (cv2.transform(image, np.array([weights])).reshape(image.shape[:2]) for weights in LUMAS)
        return not any(self.stock.shows(place, picture_hash(luma)) for luma in lumas)

    def unit_bytes(self) -> float:
        """Mean size of the access units wanted."""
        return sum(self.stock.head(wanted.place).unit_bytes for wanted in self.wanted) / len(self.wanted)


def _place(path: str) -> Place:
    match = _SEGMENT.search(path)
    assert match
    return Place(int(match[1]), int(match[2]))


def _succeeded(arm: str, ended: Ended) -> Ended:
    if ended.code:
        raise ArmFailed(f"{arm} ended with {ended.code}\n{ended.errors[-1000:].strip()}")
    return ended


@contextmanager
def opened(quality: Quality, folder: Path, scratch: Path, cores: Sequence[int], **options: Any) -> Iterator[Bench]:
    """The server started, and everything that runs against it; stopped at the end."""
    here = str(Path(__file__).parents[1])
    root = str(Path(here).parent)
    paths = os.pathsep.join([here, root, *filter(None, [os.environ.get("PYTHONPATH")])])
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("HARVESTER_", "TWITCH_"))}
    environ = clean | {"PYTHONPATH": paths}
    command = [sys.executable, "-m", "bench.server", quality.name, str(folder)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ
    ) as server:
        assert server.stdout and server.stdin
        try:
            said = json.loads(server.stdout.readline())
            (scratch / "harvester.toml").write_text(said["config"], encoding="utf-8")
            yield Bench(
                quality=quality,
                folder=folder,
                scratch=scratch,
                cores=cores,
                port=said["port"],
                environ=environ | said["environ"],
                playlists=said["playlists"],
                stock=Stock(quality, folder),
                **options,
            )
        finally:
            server.stdin.close()
