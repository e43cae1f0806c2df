"""The main job, end to end: categories in, a labelled dataset out, on real video over real HTTP."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from harvester.sandbox import SandboxServer, default_world, read_stamp, world_from_index
from harvester.store.classes import SplitRule
from tests.integration.commands import Commands
from tests.integration.refusals import KEYS_OF_THE_CONTRACT

COLUMNS_OF_THE_CONTRACT = [
    "file_name", "label", "label_id", "category_id", "source_type", "source_id", "broadcaster_id", "offset_s",
    "streamed_at", "width", "height", "rendition", "codec", "decoder", "phash", "sha256", "label_source",
    "label_confidence", "split", "run_id", "harvester_version", "harvested_at", "url",
]  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxServer]:
    sandbox = SandboxServer(default_world(), cache_dir=tmp_path_factory.mktemp("media"))
    with sandbox.running():
        yield sandbox


@pytest.fixture
def harvester(server: SandboxServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Commands:
    server.faults.clear()
    server.log.clear()
    return Commands(server, tmp_path, capsys)


def rows_of(dataset: Path) -> list[dict[str, Any]]:
    return [
        row | {"path": metadata.parent / row["file_name"], "folder": metadata.parent.name}
        for metadata in sorted(dataset.glob("data/*/metadata.parquet"))
        for row in pq.read_table(metadata).to_pylist()
    ]


def media_requests(server: SandboxServer) -> int:
    return sum(entry.kind == "media" for entry in server.log.entries())


def test_the_main_job_fills_every_category_and_a_second_run_fetches_nothing(
    harvester: Commands, tmp_path: Path
) -> None:
    out = tmp_path / "dataset"
    ended = harvester("run", "--top", "5", "--frames", "8", "--out", out, "--json")
    report = ended.json
    assert ended.code == 0, ended.err
    assert report["status"] == "done"
    assert report["exit_code"] == 0
    assert [category["total"] for category in report["categories"].values()] == [8] * 5
    assert (
        report["planned"]
        == report["kept"] + sum(report["dropped"].values()) + sum(report["failed"].values()) + report["pending"]
    )
    assert report["requests"]["media"] == media_requests(harvester.server)
    rows = rows_of(out)
    assert len(rows) == 40
    assert set(COLUMNS_OF_THE_CONTRACT) <= set(rows[0])
    _check_rows(rows)
    _check_folders(out)

    harvester.server.log.clear()
    again = harvester("run", "--top", "5", "--frames", "8", "--out", out, "--json")
    assert again.code == 0
    assert again.json["planned"] == 0
    assert media_requests(harvester.server) == 0
    assert rows_of(out) == rows
    assert harvester("verify", "--out", out, "--replay").code == 0


def _check_rows(rows: list[dict[str, Any]]) -> None:
    rule = SplitRule()
    for row in rows:
        data = row["path"].read_bytes()
        assert hashlib.sha256(data).hexdigest() == row["sha256"]
        assert Image.open(io.BytesIO(data)).size == (row["width"], row["height"])
        assert row["split"] == row["folder"] == rule.split_of(row["broadcaster_id"])
        assert (
            row["path"].name == f"{row['source_type']}-{row['source_id']}-{round(row['offset_s'] * 1000):09d}.jpg"
        )
        assert row["label_source"] == ("clip" if row["source_type"] == "clip" else "vod")
        assert row["source_id"] in row["url"]
        assert "sig" not in row["url"]
        assert (row["streamed_at"] is None) >= (row["source_type"] == "clip")


def _check_folders(out: Path) -> None:
    """ImageFolder's rule: every class folder has images, and no stray file lies beside them."""
    classes = {entry["slug"] for entry in json.loads((out / "classes.json").read_text())["classes"]}
    for split in (out / "data").iterdir():
        folders = [path for path in split.iterdir() if path.is_dir()]
        assert {folder.name for folder in folders} <= classes
        assert [path.name for path in split.iterdir() if path.is_file()] == ["metadata.parquet"]
        assert all(list(folder.glob("*.jpg")) for folder in folders)


def test_the_real_datasets_library_opens_it(harvester: Commands, tmp_path: Path) -> None:
    from datasets import load_dataset

    out = tmp_path / "dataset"
    assert harvester("run", "--top", "3", "--frames", "4", "--out", out).code == 0
    loaded = load_dataset("imagefolder", data_dir=str(out), cache_dir=str(tmp_path / "cache"))
    assert sum(split.num_rows for split in loaded.values()) == 12
    ids = {
        entry["label_id"]: entry["names"][-1]
        for entry in json.loads((out / "classes.json").read_text())["classes"]
    }
    for split in loaded.values():
        for row in split:
            assert ids[row["label_id"]] == row["label"]
            assert row["image"].size == (row["width"], row["height"])


def test_a_higher_target_goes_on_and_ends_like_a_direct_run(harvester: Commands, tmp_path: Path) -> None:
    for frames, name in ((3, "steps"), (9, "steps"), (9, "direct")):
        assert harvester("run", "--top", "2", "--frames", str(frames), "--out", tmp_path / name).code == 0

    def kept(name: str) -> set[tuple[Any, ...]]:
        keys = ("source_id", "offset_s", "phash", "split", "label", "sha256")
        return {tuple(row[key] for key in keys) for row in rows_of(tmp_path / name)}

    assert kept("steps") == kept("direct")


def test_no_secret_or_signed_url_is_left_anywhere(harvester: Commands, tmp_path: Path) -> None:
    out = tmp_path / "dataset"
    ended = harvester("run", "--top", "2", "--frames", "3", "--out", out, "--json", "-v")
    secret = harvester.server.environ["TWITCH_CLIENT_SECRET"]
    written = [path.read_bytes() for path in out.rglob("*") if path.is_file() and path.suffix != ".jpg"]
    for text in [ended.out.encode(), ended.err.encode(), *written]:
        for token in (secret.encode(), b"sbx-", b"nauthsig=", b"sig=", b"Bearer"):
            assert token not in text.replace(b"sig=***", b"").replace(b"Bearer ***", b"")


def test_without_a_target_a_run_takes_what_is_new_and_then_nothing(harvester: Commands, tmp_path: Path) -> None:
    out = tmp_path / "dataset"
    first = harvester("run", "--category", "Freedoom", "--out", out, "--json").json
    second = harvester("run", "--category", "Freedoom", "--out", out, "--json").json
    assert first["kept"] > 8
    assert (second["planned"], second["status"]) == (0, "done")
    (category,) = second["categories"].values()
    assert category["note"] == "no new sources"


@pytest.mark.parametrize(
    ("flags", "bound"),
    [
        (["--max-frames", "3"], lambda report: report["kept"] == 3),
        (["--max-requests", "12"], lambda report: 12 <= sum(report["requests"].values()) <= 60),
        (["--max-bytes", "20000"], lambda report: 20_000 <= sum(report["bytes"].values()) < 700_000),
        (["--max-time", "0.01"], lambda report: report["kept"] == 0),
    ],
)
def test_bounds_end_a_run_cleanly(harvester: Commands, tmp_path: Path, flags: list[str], bound: Any) -> None:
    out = tmp_path / "dataset"
    ended = harvester("run", "--top", "2", "--frames", "30", "--out", out, "--json", *flags)
    assert (ended.code, ended.json["status"]) == (0, "bounded")
    assert bound(ended.json)
    assert harvester("verify", "--out", out, "--replay").code == 0


@pytest.mark.parametrize("kind", ["vod", "clip"])
def test_one_kind_of_source_or_one_source_alone(harvester: Commands, tmp_path: Path, kind: str) -> None:
    out = tmp_path / "kind"
    assert harvester("run", "--category", "Teeworlds", "--source-type", kind, "--out", out).code == 0
    rows = rows_of(out)
    assert {row["source_type"] for row in rows} == {kind}
    url, alone = rows[0]["url"], tmp_path / "alone"
    assert harvester("run", "--category", "Teeworlds", "--source", url, "--out", alone).code == 0
    assert {row["source_id"] for row in rows_of(alone)} == {rows[0]["source_id"]}


def test_plan_says_what_a_run_then_fetches_and_fetches_no_media(harvester: Commands, tmp_path: Path) -> None:
    out = tmp_path / "dataset"
    planned = harvester("plan", "--category", "Freedoom", "--out", out, "--json")
    (plan,) = planned.json["plan"]
    assert planned.code == 0
    assert media_requests(harvester.server) == 0
    assert not out.exists()
    ran = harvester("run", "--category", "Freedoom", "--out", out, "--json").json
    assert plan["targets"] >= ran["planned"] >= plan["targets"] * 0.7
    assert plan["requests"]["gql"] == ran["requests"]["gql"]


@pytest.fixture(scope="module")
def stamped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxServer]:
    """Two games whose pictures say which game and moment they are."""
    package = Path(__file__).parents[2] / "harvester" / "sandbox" / "footage"
    entries = []
    for entry in json.loads((package / "index.json").read_text(encoding="utf-8")):
        if entry["game"] in ("Freedoom", "Minetest"):
            small = {"file": str(package / entry.pop("file_360p")), "bytes": entry.pop("bytes_360p")}
            entries.append(entry | small | {"width": 640, "height": 360})
    index = tmp_path_factory.mktemp("stamped") / "index.json"
    index.write_text(json.dumps(entries), encoding="utf-8")
    world = world_from_index(index, stamped=True, segment_s=2.0)
    sandbox = SandboxServer(world, cache_dir=tmp_path_factory.mktemp("encoded"))
    with sandbox.running():
        yield sandbox


def test_the_picture_stored_for_an_offset_is_the_one_a_player_shows_there(
    stamped: SandboxServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    harvester, out = Commands(stamped, tmp_path, capsys), tmp_path / "dataset"
    assert harvester("run", "--top", "2", "--out", out, HARVESTER_DATASET_JPEG_QUALITY="98").code == 0
    rows = rows_of(out)
    videos = {video.id: video for video in stamped.world.videos}
    clips = {clip.id: clip for clip in stamped.world.clips}
    assert {row["source_type"] for row in rows} == {"vod", "clip"}
    for row in rows:
        stamp = read_stamp(np.asarray(Image.open(row["path"]).convert("L")))
        if row["source_type"] == "vod":
            piece, second = videos[row["source_id"]].footage_at(row["offset_s"])
        else:
            clip = clips[row["source_id"]]
            piece, second = clip.piece, clip.start_s + row["offset_s"]
        assert stamp.category_id == int(row["category_id"])
        assert stamp.session == piece.number
        assert abs(stamp.moment_ms / 1000 - second) <= 1 / 12, row["file_name"]


def test_narrowing_takes_up_what_a_wider_pass_left(harvester: Commands, tmp_path: Path) -> None:
    out = tmp_path / "dataset"
    assert harvester("run", "--category", "Teeworlds", "--frames", "2", "--out", out).code == 0
    clips = harvester("run", "--category", "Teeworlds", "--source-type", "clip", "--out", out, "--json").json
    assert clips["kept"] > 0
    assert {row["source_type"] for row in rows_of(out) if row["run_id"] == clips["run_id"]} == {"clip"}
    rest = harvester("run", "--category", "Teeworlds", "--out", out, "--json").json
    assert rest["kept"] > 0
    whole = tmp_path / "whole"
    assert harvester("run", "--category", "Teeworlds", "--out", whole).code == 0

    def looked_at(dataset: Path) -> int:
        (entry,) = harvester("status", "--out", dataset, "--json").json["categories"].values()
        return int(entry["frames"]) + sum(entry["dropped"].values())

    assert looked_at(out) == looked_at(whole)
    assert harvester("verify", "--out", out, "--replay").code == 0


def test_a_window_narrows_what_an_open_pass_left_and_a_quiet_one_is_no_outage(
    harvester: Commands, tmp_path: Path
) -> None:
    out = tmp_path / "dataset"
    assert harvester("run", "--category", "Teeworlds", "--frames", "2", "--out", out).code == 0
    later = harvester("run", "--category", "Teeworlds", "--since", "2031-01-01", "--out", out, "--json")
    assert (later.code, later.json["planned"]) == (0, 0)


@pytest.mark.parametrize("frames", [7, 9, 13])
def test_max_frames_is_exact_over_several_categories(harvester: Commands, tmp_path: Path, frames: int) -> None:
    ended = harvester("run", "--top", "4", "--max-frames", str(frames), "--out", tmp_path / "d", "--json")
    assert (ended.code, ended.json["status"], ended.json["kept"]) == (0, "bounded", frames)


def test_a_lost_ledger_and_another_rendition_store_no_moment_twice(harvester: Commands, tmp_path: Path) -> None:
    import shutil

    out, loose = tmp_path / "dataset", {"HARVESTER_DEDUPE_RADIUS": "0"}
    harvester("run", "--category", "Freedoom", "--frames", "6", "--out", out, **loose)
    before = rows_of(out)
    shutil.rmtree(out / ".harvester")
    smaller = {**loose, "HARVESTER_SAMPLE_MIN_HEIGHT": "360"}
    ended = harvester("run", "--category", "Freedoom", "--frames", "9", "--out", out, "--json", **smaller)
    assert ended.code == 0, ended.err
    assert ended.json["dropped"].get("known-moment", 0) == 6
    assert rows_of(out)[: len(before)] != []
    assert len(rows_of(out)) == 9
    assert harvester("verify", "--out", out, "--replay").code == 0


def test_every_command_ends_its_json_with_the_same_fields(harvester: Commands, tmp_path: Path) -> None:
    out = tmp_path / "dataset"
    assert harvester("run", "--category", "Teeworlds", "--frames", "2", "--out", out).code == 0
    target = ("--category", "Teeworlds", "--out", out)
    for command in (
        ("plan", *target),
        ("status", "--out", out),
        ("verify", "--out", out),
        ("doctor",),
        ("config",),
    ):
        ended = harvester(*command, "--json")
        assert ended.json.keys() >= KEYS_OF_THE_CONTRACT, command
        assert (ended.code, ended.json["exit_code"], ended.json["status"]) == (0, 0, "done"), command
    (category,) = harvester("status", "--out", out, "--json").json["categories"].values()
    assert (category["name"], category["total"]) == ("Teeworlds", 2)
