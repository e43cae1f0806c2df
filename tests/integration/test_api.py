"""harvester.frames: the pipeline of ``run`` without files, as an iterator that can be dropped at any moment."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import harvester
from harvester.config import Config, load
from harvester.errors import ConfigError, CredentialsRefused, TryAgainLater, UnknownCategory, UsageError
from harvester.model import Frame
from harvester.sandbox import Fault, SandboxServer
from tests.integration.commands import QUICK, Commands

GAMES = ["Teeworlds", "Freedoom"]


@pytest.fixture
def server(default_commands: Commands) -> SandboxServer:
    return default_commands.server


@pytest.fixture
def config(default_commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """The configuration of the default world; its credentials are in the environment, the folder is empty."""
    for name, value in default_commands.server.environ.items():
        monkeypatch.setenv(name, value)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("HOME", str(work))
    return load(default_commands.config, environ=QUICK).config


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """Threads of the harvest end with it; those that wait for a server may take as long as it does."""
    yield
    for thread in threading.enumerate():
        if thread.name == "resolve":
            thread.join()
    assert not [t.name for t in threading.enumerate() if t.name.startswith(("harvest", "decode", "publish"))]


def keys_of(frames: list[Frame]) -> list[tuple[Any, ...]]:
    return [(f.label, f.source_type, f.source_id, f.offset_s, f.phash, f.split, f.url) for f in frames]


def media_requests(server: SandboxServer) -> int:
    return len(server.log.entries("media"))


def test_frames_are_those_of_a_run_in_the_same_order(
    default_commands: Commands, config: Config, tmp_path: Path
) -> None:
    frames = list(harvester.frames(GAMES, n=6, config=config))
    assert not list(Path.cwd().iterdir())
    out = tmp_path / "dataset"
    named = [word for game in GAMES for word in ("--category", game)]
    ran = default_commands("run", *named, "--frames", "6", "--out", out, HARVESTER_DATASET_JPEG_QUALITY="98")
    assert ran.code == 0
    rows = {
        row["file_name"]: row | {"path": file.parent / row["file_name"]}
        for file in out.glob("data/*/metadata.parquet")
        for row in pq.read_table(file).to_pylist()
    }
    assert {frame.file_name for frame in frames} == rows.keys()
    for game in GAMES:
        of_game = [frame for frame in frames if frame.label == game]
        assert len(of_game) == 6
        in_order = sorted(
            (row for row in rows.values() if row["label"] == game), key=lambda row: decided(out, row["file_name"])
        )
        assert [frame.file_name for frame in of_game] == [row["file_name"] for row in in_order]
    for frame in frames:
        check_frame(frame, rows[frame.file_name])


def decided(out: Path, file_name: str) -> int:
    """When a run decided to keep an image: its place in the ledger."""
    import sqlite3

    with closing(sqlite3.connect(out / ".harvester" / "ledger.sqlite3")) as ledger:
        (seq,) = ledger.execute("SELECT seq FROM outcomes WHERE file_name = ?", [file_name]).fetchone()
    return int(seq)


def check_frame(frame: Frame, row: dict[str, Any]) -> None:
    """The same columns as the stored row, and the picture of its file before the loss of JPEG."""
    its_own = {"run_id", "harvested_at", "sha256", "decoder", "label_id"}
    for name in row.keys() - {"path"} - its_own - frame.scores.keys():
        assert getattr(frame, name) == row[name], name
    for name, score in frame.scores.items():
        assert row[name] == pytest.approx(score)
    assert frame.sha256 == ""
    assert frame.image is not None
    assert (frame.image.dtype, frame.image.shape) == (np.uint8, (frame.height, frame.width, 3))
    stored = np.asarray(Image.open(row["path"]).convert("RGB"), np.int16)
    difference = np.abs(stored - frame.image)
    assert difference.mean() < 2  # swapped channels or matrices differ by 5 and more
    assert np.percentile(difference, 99) < 16


def test_one_name_alone_may_be_a_string_and_a_second_harvest_gives_the_same(config: Config) -> None:
    first, second = (list(harvester.frames("Teeworlds", n=3, config=config)) for _ in range(2))
    assert len(first) == 3
    assert keys_of(first) == keys_of(second)


def test_without_a_configuration_the_environment_and_the_working_directory_count(
    default_commands: Commands, config: Config
) -> None:
    Path("config.toml").write_text(default_commands.config.read_text())
    assert config.endpoints.loopback
    (frame,) = harvester.frames("Freedoom", n=1)
    assert frame.label == "Freedoom"


def test_frames_work_inside_a_running_loop_and_side_by_side(config: Config) -> None:
    async def of_two() -> list[list[Frame]]:
        pairs = zip(*(harvester.frames(game, n=2, config=config) for game in GAMES), strict=True)
        return [list(pair) for pair in pairs]

    assert [[frame.label for frame in pair] for pair in asyncio.run(of_two())] == [GAMES, GAMES]


def test_nothing_is_asked_before_the_first_frame_is_wanted(server: SandboxServer, config: Config) -> None:
    frames = harvester.frames(GAMES, n=2, config=config)
    assert not server.log.entries()
    frames.close()  # type: ignore[attr-defined]
    assert not server.log.entries()


def test_closing_stops_fetching(server: SandboxServer, config: Config) -> None:
    narrow = config.replace("fetch", window_frames=4)
    frames = harvester.frames(GAMES, n=1000, config=narrow)
    assert len(list(islice(frames, 3))) == 3
    frames.close()  # type: ignore[attr-defined]
    asked = media_requests(server)
    assert not [thread for thread in threading.enumerate() if thread.name == "harvest"]
    server.log.clear()
    assert len(list(harvester.frames(GAMES, n=1000, config=narrow))) > 30
    assert 3 <= asked < media_requests(server) / 2  # it would have gone on


def test_a_loop_that_is_left_closes_its_frames(server: SandboxServer, config: Config) -> None:
    for frame in harvester.frames(GAMES, n=1000, config=config):
        assert frame.image is not None
        break
    assert not [thread for thread in threading.enumerate() if thread.name == "harvest"]


@pytest.mark.parametrize(
    ("categories", "n", "error"),
    [("No Such Game", 1, UnknownCategory), ([], 1, UnknownCategory), ("Teeworlds", 0, UsageError)],
)
def test_errors_come_to_the_consumer(config: Config, categories: Any, n: int, error: type[Exception]) -> None:
    frames = harvester.frames(categories, n=n, config=config)
    with pytest.raises(error):
        next(frames)
    with pytest.raises(StopIteration):
        next(frames)


def test_what_is_known_comes_before_the_error_about_what_is_not(config: Config) -> None:
    frames = harvester.frames(["No Such Game", "Teeworlds"], n=2, config=config)
    assert [next(frames).label for _ in range(2)] == ["Teeworlds"] * 2
    with pytest.raises(UnknownCategory, match="No Such Game"):
        next(frames)


def test_missing_and_wrong_credentials(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWITCH_CLIENT_SECRET", "wrong0wrong0wrong0")
    with pytest.raises(CredentialsRefused):
        next(harvester.frames("Teeworlds", n=1, config=config))
    monkeypatch.delenv("TWITCH_CLIENT_SECRET")
    with pytest.raises(ConfigError, match="TWITCH_CLIENT_SECRET is not set"):
        next(harvester.frames("Teeworlds", n=1, config=config))


def test_an_outage_in_the_middle(server: SandboxServer, config: Config) -> None:
    server.inject(Fault(path="/helix/videos", status=503, times=0))
    with pytest.raises(TryAgainLater):
        list(harvester.frames("Teeworlds", n=1, config=config))


def test_an_interrupt_while_waiting_ends_the_harvest(server: SandboxServer, config: Config) -> None:
    server.inject(Fault(path="^/cdn/", status=503, headers={"Retry-After": "60"}, times=0))
    patient = config.replace("fetch", retry_max_s=60)

    def interrupt() -> None:
        while not server.log.entries("playlist"):
            threading.Event().wait(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        next(harvester.frames("Teeworlds", n=4, config=patient))
    assert not [thread for thread in threading.enumerate() if thread.name == "harvest"]
