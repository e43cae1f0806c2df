"""Clips of each known kind through the whole program: what is kept, and the reason in the ledger where nothing is.

And single sources without ``--category``, which get the category that Twitch gives them.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow.parquet as pq
import pytest

from harvester.sandbox import Fault, SandboxServer, world_from_index
from harvester.sandbox.clip_cases import CASES, FIRST_GAME_ID, with_clip_cases
from harvester.sandbox.world import Chapter
from tests.integration.commands import Commands, Ended

FPS, SECONDS = 6, 8
GAME_ID = {case.name: str(FIRST_GAME_ID + number) for number, case in enumerate(CASES)}
SLUG = {case.name: case.slug for case in CASES}


def make_footage(path: Path, seed: int) -> None:
    """Blocks of light and shade, others in each GOP of two seconds."""
    rng = np.random.default_rng(seed)
    structure = f"keyint={2 * FPS}:min-keyint={2 * FPS}:scenecut=0:open-gop=0:bframes=2:threads=1"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "x264-params": structure})
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        for number in range(SECONDS * FPS):
            if number % (2 * FPS) == 0:
                luma = np.kron(rng.integers(30, 225, (9, 16), np.uint8), np.ones((20, 20), np.uint8))
            planes = np.vstack([luma, np.full((90, 320), 128, np.uint8)])
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxServer]:
    """Two games; VODs of one category, of two and of none; the clip cases."""
    folder = tmp_path_factory.mktemp("clips")
    sessions = []
    for number, game in enumerate(("First Game", "Second Game", "Third Game")):
        make_footage(folder / f"{number}.mp4", number)
        session = {"game": game, "slug": f"game-{number}", "session": str(number), "channel": f"channel {number}"}
        size = {"seconds": SECONDS, "width": 320, "height": 180, "fps": float(FPS), "bytes": 1, "licence": "CC0"}
        sessions.append({"file": f"{number}.mp4", "derived_from": None, **session, **size})
    index = folder / "index.json"
    index.write_text(json.dumps(sessions))
    world = world_from_index(index, segment_s=2.0)
    first, second, third = world.videos
    several = (Chapter(second.game.id, 0, 4), Chapter(first.game.id, 4, 0))
    unset = (Chapter(None, 0, 0),)
    videos = (first, replace(second, chapters=several), replace(third, chapters=unset))
    sandbox = SandboxServer(with_clip_cases(replace(world, videos=videos)), cache_dir=folder)
    with sandbox.running():
        yield sandbox


@pytest.fixture
def harvester(server: SandboxServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Commands:
    server.faults.clear()
    server.log.clear()
    return Commands(server, tmp_path, capsys)


def outcomes(out: Path) -> dict[str, Counter[tuple[str, bool]]]:
    """By category id: how often each outcome was met ("kept", or the reason), and whether it is tried again."""
    found: dict[str, Counter[tuple[str, bool]]] = {}
    query = "SELECT category_id, verdict, reason, retry_at FROM outcomes"
    with closing(sqlite3.connect(out / ".harvester" / "ledger.sqlite3")) as ledger:
        for category_id, verdict, reason, retry_at in ledger.execute(query):
            found.setdefault(category_id, Counter())[reason or verdict, retry_at is not None] += 1
    return found


def rows_of(out: Path) -> list[dict[str, Any]]:
    return [row for file in out.glob("data/*/metadata.parquet") for row in pq.read_table(file).to_pylist()]


def harvest(harvester: Commands, out: Path, *names: str) -> Ended:
    asked = [part for name in names for part in ("--category", f"id:{GAME_ID[name]}")]
    return harvester("run", *asked, "--source-type", "clip", "--out", out, "--json", "-v")


def test_each_kind_of_clip_ends_as_it_should(harvester: Commands, tmp_path: Path) -> None:
    out = tmp_path / "dataset"
    ended = harvest(harvester, out, *GAME_ID)
    assert ended.code in (4, 5), ended.err
    found = outcomes(out)
    for case in CASES:
        reasons, again = zip(*found[GAME_ID[case.name]], strict=True)
        assert set(reasons) == {case.outcome}, case.name
        assert any(again) == (case.outcome in ("gone", "broken")), case.name
    rows = {case.name: [r for r in rows_of(out) if r["category_id"] == GAME_ID[case.name]] for case in CASES}
    sizes = {name: {(r["width"], r["height"]) for r in rows[name]} for name in rows if rows[name]}
    assert sizes == {
        "qualities": {(1280, 720)},
        "portrait-asset": {(320, 180)},
        "portrait-listed": {(320, 180)},
        "part-files": {(320, 180)},
        "upper": {(320, 180)},
        "lower": {(320, 180)},
    }
    twins = [{row["phash"] for row in rows[name]} for name in ("upper", "lower")]
    assert twins[0].isdisjoint(twins[1])
    assert all(row["label_source"] == "clip" for row in rows_of(out))
    assert harvester("verify", "--out", out, "--replay").code == 0


@pytest.mark.parametrize(("name", "gql", "files"), [("dead", 1, 2), ("expired", 2, 2), ("null", 1, 0)])
def test_what_cannot_be_fetched_costs_few_requests(
    harvester: Commands, tmp_path: Path, name: str, gql: int, files: int
) -> None:
    requests = harvest(harvester, tmp_path / "dataset", name).json["requests"]
    openings, rest = divmod(requests["gql"], gql)
    assert rest == 0
    assert openings in (1, 2)  # what may pass may be tried once more at the end of a run
    assert requests.get("media", 0) == openings * files


def test_a_refused_signature_is_asked_for_again_once_and_nothing_is_lost(
    harvester: Commands, tmp_path: Path
) -> None:
    quiet = harvest(harvester, tmp_path / "quiet", "part-files").json
    for skip in (0, 1):
        harvester.server.faults.clear()
        harvester.server.inject(Fault(path=r"^/cdn/clips/", status=401, body=b"", skip=skip))
        ended = harvest(harvester, tmp_path / f"expired-{skip}", "part-files").json
        assert (ended["kept"], ended["failed"]) == (quiet["kept"], {}), skip
        assert ended["requests"]["gql"] == quiet["requests"]["gql"] + 1


# --- single sources ---------------------------------------------------------------------------------------------


def test_a_single_source_gets_the_category_that_twitch_gives_it(harvester: Commands, tmp_path: Path) -> None:
    first = harvester.server.world.videos[0]
    for source in (first.id, SLUG["upper"]):
        out = tmp_path / source
        ended = harvester("run", "--source", source, "--out", out, "--json", HARVESTER_SAMPLE_GUARD_S="0")
        assert ended.code == 0, ended.err
        rows = rows_of(out)
        assert {row["source_id"] for row in rows} == {source}
        assert {row["label"] for row in rows} == {first.game.name if source == first.id else "Clip case upper"}
    plan = harvester("plan", "--source", first.id, "--out", tmp_path / "none", "--json").json["plan"]
    assert [entry["category"]["name"] for entry in plan] == [first.game.name]


def test_what_a_category_does_not_tell_of_is_not_asked_for(harvester: Commands, tmp_path: Path) -> None:
    refused = b'{"errors":[{"message":"PersistedQueryNotFound"}],"data":null}'
    harvester.server.inject(Fault(path="^/gql", sent="VideoPlayer_VODSeekbarPreviewVideo", body=refused, times=0))
    source = harvester.server.world.videos[0].id
    ended = harvester("run", "--source", source, "--out", tmp_path / "d", "--json", HARVESTER_SAMPLE_GUARD_S="0")
    assert ended.code == 0, ended.err
    assert ended.json["requests"]["gql"] == 3  # its category, its playback token, its chapters


def test_a_vod_of_several_categories_or_none_needs_a_word(harvester: Commands, tmp_path: Path) -> None:
    _, several, unset = harvester.server.world.videos
    ended = harvester("run", "--source", several.id, "--out", tmp_path / "d", "--json")
    assert ended.code == 2
    assert "First Game" in ended.out
    assert "Second Game" in ended.out
    assert "--category" in ended.out
    assert harvester("run", "--source", unset.id, "--out", tmp_path / "d").code == 0
    assert {row["label"] for row in rows_of(tmp_path / "d")} == {unset.game.name}


def test_unknown_single_sources_are_said_so(harvester: Commands, tmp_path: Path) -> None:
    for source in ("424242", "NoSuchClip-aB3", SLUG["upper"].swapcase()):
        ended = harvester("run", "--source", source, "--out", tmp_path / "d", "--json")
        assert ended.code == 4, ended.out
        assert source in ended.out
    assert not (tmp_path / "d").exists()


def test_details_off_asks_nothing_but_playback(harvester: Commands, tmp_path: Path) -> None:
    off = {"HARVESTER_DISCOVER_DETAILS": "off", "HARVESTER_SAMPLE_GUARD_S": "0"}
    vod = harvester.server.world.videos[0]
    ended = harvester("run", "--source", vod.id, "--out", tmp_path / "d", "--json", **off)
    assert (ended.code, ended.json["requests"]) == (2, {})
    assert "--category" in ended.out
    ended = harvester(
        "run", "--source", vod.id, "--category", "First Game", "--out", tmp_path / "d", "--json", **off
    )
    assert ended.code == 0
    assert ended.json["requests"]["gql"] == 1
    assert ended.json["kept"] > 0
    assert harvester("run", "--source", SLUG["upper"], "--out", tmp_path / "c", **off).code == 0


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (json.dumps({"errors": [{"message": "failed integrity check"}]}), 200, 5),
        (json.dumps({"error": "Bad Request", "status": 400, "message": "Client-ID"}), 400, 5),
        ("<html>busy</html>", 503, 5),
    ],
)
def test_without_an_answer_a_vod_needs_a_category_and_everything_else_works(
    harvester: Commands, tmp_path: Path, body: str, status: int, code: int
) -> None:
    harvester.server.inject(Fault(path="^/gql", body=body.encode(), status=status, times=0))
    vod = harvester.server.world.videos[0]
    ended = harvester("run", "--source", vod.id, "--out", tmp_path / "d", "--json")
    assert ended.code == code
    assert "--category" in ended.out
