"""Every scenario VOD through the whole program: the picture stored for an offset is the one a player shows there.

Pictures tell by their stamps which they are; what a player shows is known from the world's own segments, and for
some scenarios from libavformat's HLS player as well.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import requests
from PIL import Image

from harvester.cli import main
from harvester.sandbox import SandboxServer, default_world, read_stamp
from harvester.sandbox.category_cases import EMPTIED, TWINS
from harvester.sandbox.playback import playlist_name
from harvester.sandbox.reels import MediaReels
from harvester.sandbox.scenarios import SCENARIOS
from harvester.sandbox.staging import faults_of, offered, with_scenarios
from harvester.sandbox.world import Video
from tests.integration.commands import QUICK, Commands
from tests.integration.wholeness import outcomes, rows_of

NAMES = {scenario.id: scenario.name for scenario in SCENARIOS}
VIDEO_IDS = {scenario.name: scenario.id for scenario in SCENARIOS}

#: Why a scenario gives nothing on the first night.
UNPLAYABLE = {
    "sub-only": "sub-only",
    "unauthorized": "sub-only",
    "gone": "gone",
    "passing-404": "gone",  # a candidate: retried
    "sound-only": "no-video",
    "fresh": "not-ready",
}
FOR_EVER = {"sub-only", "no-video"}
#: What shows nothing of the category that it is listed under.
ELSEWHERE = "other-game"
PLAYABLE = sorted(VIDEO_IDS.keys() - UNPLAYABLE.keys() - {ELSEWHERE})

#: Targets of each: the segments that start outside the guards at both ends.
TARGETS = {
    "odd-chapters": 4,
    "growing": 20,  # half of what a VOD may give: more will come
    "bad-line": 11,
    "discontinuity": 7,
    "fmp4-byte-ranges": 7,
    "long-gop": 5,
    "two-days": 40,
    "two-days-restart": 40,
    "intro": 37,
}
USUAL_TARGETS = 3
#: VODs whose footage comes round so often that what gave nothing is made good by further moments, each at most once.
REFILLED = ("two-days", "two-days-restart")

#: Each stretch is looked at, also one that a storyboard would have passed over.
NIGHTLY = {"HARVESTER_DEDUPE_RADIUS": "0", "HARVESTER_SAMPLE_STORYBOARD": "off"}


@dataclass(frozen=True)
class Night:
    """What a run over all scenarios left."""

    server: SandboxServer
    reels: MediaReels
    out: Path
    report: dict[str, Any]
    requests: list[str]

    def video(self, name: str) -> Video:
        return next(video for video in self.server.world.videos if video.id == VIDEO_IDS[name])

    def outcomes(self, name: str) -> list[dict[str, Any]]:
        return [row for row in outcomes(self.out) if row["source_id"] == VIDEO_IDS[name]]

    def kept(self, name: str) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
        """Row and green plane of every stored picture."""
        for split, rows in rows_of(self.out).items():
            for row in rows:
                if row["source_id"] == VIDEO_IDS[name]:
                    with Image.open(self.out / "data" / split / row["file_name"]) as image:
                        yield row, np.asarray(image)[..., 1]

    def shown_at(self, name: str, rendition: str, offset_s: float) -> tuple[int, float]:
        """Number of the footage and moment in it (s) that the rendition shows there."""
        video = self.video(name)
        infos = self.reels.renditions(video)
        chosen = next(info for info in infos if rendition in (info.folder, info.name))
        height = self.reels.height_of(video, chosen.folder)
        assert height
        piece, moment_s = self.reels.shown_at(video, height, offset_s)
        return piece.number, moment_s


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    """One run over the categories of all scenarios; every picture that is not equal to another is kept."""
    folder = tmp_path_factory.mktemp("scenarios")
    world = with_scenarios(default_world(), VIDEO_IDS)
    server = SandboxServer(world, cache_dir=folder / "media", helix_points=100_000)
    for fault in faults_of(world, VIDEO_IDS):
        server.inject(replace(fault, delay_s=fault.delay_s / 100))
    config, out, stdout = folder / "sandbox.toml", folder / "dataset", StringIO()
    categories = [word for scenario in SCENARIOS for word in ("--category", f"name:{scenario.game.name}")]
    with server.running():
        config.write_text(server.config_toml(), encoding="utf-8")
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(stdout), redirect_stderr(StringIO()):
            for name, value in (server.environ | QUICK | NIGHTLY).items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit):
                main(["run", "--config", str(config), *categories, "--out", str(out), "--json"])
        report = _last_line(stdout)
        requests = [entry.path for entry in server.log.entries("media")]
        yield Night(server, MediaReels(world, folder / "media"), out, report, requests)


def _last_line(stdout: StringIO) -> dict[str, Any]:
    import json

    value = json.loads(stdout.getvalue().splitlines()[-1])
    assert isinstance(value, dict)
    return value


@pytest.mark.parametrize("name", PLAYABLE)
def test_the_picture_stored_for_an_offset_is_the_one_shown_there(night: Night, name: str) -> None:
    found = night.outcomes(name)
    planned = TARGETS.get(name, USUAL_TARGETS)
    vain = sum(row["verdict"] == "dropped" for row in found if row["k"] < planned)
    assert sorted(row["k"] for row in found) == list(range(len(found)))
    assert planned <= len(found) <= planned + (vain if name in REFILLED else 0)
    assert {row["verdict"] for row in found} <= {"kept", "dropped"}
    game = next(scenario.game for scenario in SCENARIOS if scenario.name == name)
    stamped = 0
    for row, green in night.kept(name):
        assert row["category_id"] == game.id
        assert row["file_name"] == f"{game.slug}/vod-{VIDEO_IDS[name]}-{round(row['offset_s'] * 1000):09}.jpg"
        number, moment_s = night.shown_at(name, row["rendition"], row["offset_s"])
        if name == "intro" and row["offset_s"] < 380:
            continue  # cards, black and the menu carry no stamp
        stamp = read_stamp(green)
        assert (stamp.category_id, stamp.session) == (int(game.id), number)
        assert stamp.moment_ms == round(1000 * moment_s)
        stamped += 1
    assert stamped >= 2


@pytest.mark.parametrize("name", ["two-days", "two-days-restart"])
def test_equal_pictures_have_equal_hashes_over_two_days(night: Night, name: str) -> None:
    """Most pictures of a pool that repeats are duplicates, not stored; their hashes tell which they were."""
    hashes = defaultdict(set)
    for row in night.outcomes(name):
        hashes[night.shown_at(name, "chunked", row["offset_s"])].add(row["phash"])
    assert len(hashes) == 4
    assert all(len(found) == 1 for found in hashes.values())
    assert len(set.union(*hashes.values())) >= 3
    offsets = [row["offset_s"] for row in night.outcomes(name)]
    assert min(offsets) < 6 * 3600 < 42 * 3600 < max(offsets)
    assert sum(VIDEO_IDS[name] in path for path in night.requests) <= 2 * len(offsets)


@pytest.mark.parametrize(("name", "reason"), UNPLAYABLE.items())
def test_what_cannot_be_played_is_told_why(night: Night, name: str, reason: str) -> None:
    looks = night.outcomes(name)
    assert {(row["verdict"], row["reason"]) for row in looks} == {("failed", reason)}
    assert (looks[-1]["retry_at"] is None) == (reason in FOR_EVER)
    video = night.video(name)
    assert not [path for path in night.requests if video.distribution in path]


def test_a_vod_of_several_categories_gives_frames_of_the_one_it_is_harvested_for(night: Night) -> None:
    own = {"chapters": [(40, 80)], "odd-chapters": [(40, 80), (90, 110)]}
    for name, spans in own.items():
        offsets = [row["offset_s"] for row, _ in night.kept(name)]
        assert all(any(start + 1.5 <= offset <= end - 1.5 for start, end in spans) for offset in offsets), name
        assert {row["label_source"] for row, _ in night.kept(name)} == {"chapter"}
    assert not night.outcomes(ELSEWHERE)
    books = night.report["categories"]
    assert [entry["labels"] for entry in books.values() if entry["name"] == f"Scenario {ELSEWHERE}"] == [
        {"none": 1}
    ]


def test_cards_and_menus_leave_next_to_nothing(night: Night) -> None:
    verdicts = defaultdict(list)
    for row in night.outcomes("intro"):
        at_s = row["offset_s"]
        stretch = "card" if at_s < 300 else "black" if at_s < 320 else "menu" if at_s < 380 else "game"
        verdicts[stretch].append(row["reason"] or row["verdict"])
    assert verdicts.keys() == {"card", "black", "menu", "game"}
    assert set(verdicts["black"]) == {"black"}
    assert sorted(set(verdicts["menu"])) == ["duplicate", "kept"]
    assert verdicts["menu"].count("kept") == 1
    assert verdicts["card"].count("kept") <= 3  # the moving card has three pictures that head segments
    assert set(verdicts["game"]) == {"kept"}


def test_renditions_are_chosen_by_what_they_are(night: Night) -> None:
    def seen(name: str) -> set[tuple[str, str, int, int]]:
        rows = [row for row, _ in night.kept(name)]
        return {(row["rendition"], row["codec"], row["width"], row["height"]) for row in rows}

    assert seen("plain") == {("720p12", "h264", 1280, 720)}  # the least of 720 lines or more
    assert {codec for _, codec, _, _ in seen("hevc")} == {"hevc"}
    assert {codec for _, codec, _, _ in seen("av1")} == {"av1"}
    assert {size for *_, size, _ in seen("portrait")} == {640}
    assert {size[2:] for size in seen("dead-variant") | seen("no-source")} == {(426, 240)}
    assert {size[2:] for size in seen("discontinuity")} == {(426, 240), (640, 360)}
    assert {size[2:] for size in seen("long-gop")} == {(640, 360), (512, 288)}


def test_muted_segments_are_asked_for_by_the_name_that_is_served(night: Night) -> None:
    for name in ("muted", "unmuted"):
        folder = night.video(name).special
        assert {f"{number}-muted.ts" for number in (2, 3)} <= {
            path.rsplit("/", 1)[1] for path in night.requests if folder in path
        }


@pytest.mark.parametrize(
    ("name", "path", "status"),
    [
        ("plain", "chunked/0.ts", 200),
        ("plain", "chunked/9.ts", 403),
        ("plain", "chunked/0.mp4", 403),
        ("plain", "1440p60/index-dvr.m3u8", 403),
        ("muted", "chunked/index-dvr.m3u8", 403),
        ("muted", "chunked/2.ts", 403),
        ("unmuted", "chunked/2-unmuted.ts", 403),
        ("unmuted", "chunked/2-muted.ts", 200),
        ("dead-variant", "chunked/index-dvr.m3u8", 403),
        ("dead-variant", "240p12/index-dvr.m3u8", 200),
        ("signed", "chunked/0.ts", 403),
        ("signed", "chunked/0.ts?Signature=0", 403),
        ("absolute", "chunked/0.ts", 200),
        ("gone", "chunked/index-dvr.m3u8", 403),
        ("highlight", "chunked/0.ts", 403),
        ("highlight", "chunked/137.ts", 200),
        ("byte-ranges", "chunked/0.ts", 403),
        ("fmp4", "chunked/init-0.mp4", 200),
        ("fmp4", "chunked/init-1.mp4", 403),
        ("discontinuity", "chunked/init-1.mp4", 200),
    ],
)
def test_what_is_not_there_or_not_allowed_is_refused_as_the_store_does(
    night: Night, name: str, path: str, status: int
) -> None:
    video = night.video(name)
    answer = requests.get(f"{night.server.origin}/cdn/{video.distribution}/{video.special}/{path}", timeout=30)
    assert answer.status_code == status
    if status == 403:
        assert "<Code>AccessDenied</Code>" in answer.text
    elsewhere = requests.get(f"{night.server.origin}/cdn/dother/{video.special}/{path}", timeout=30)
    assert elsewhere.status_code == 403


def test_a_bad_line_costs_requests_and_no_frames(night: Night) -> None:
    of_it = [path for path in night.requests if night.video("bad-line").distribution in path]
    assert len(of_it) > len(set(of_it)) == TARGETS["bad-line"]
    assert {entry.status for entry in night.server.log.entries("media") if entry.path in of_it} >= {0, 200, 206}


def test_what_is_live_is_read_up_to_three_segments_before_its_end(night: Night) -> None:
    offsets = [row["offset_s"] for row in night.outcomes("growing")]
    assert 1700 < max(offsets) < 1800 - 3 * 10


def test_the_help_tells_what_every_scenario_shows(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["sandbox", "--help"])
    said = capsys.readouterr().out
    assert all(f"  {name} " in said for name, _ in offered())
    assert "-> frames, read from the -muted files" in " ".join(said.split())


def test_an_unknown_scenario_is_a_usage_error_that_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["sandbox", "--scenario", "mutd"])
    said = capsys.readouterr().err
    assert all(name in said for name in ("mutd", "unmuted", "two-days"))


def test_the_next_day_heals_what_had_not_gone(
    night: Night, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server, tonight = night.server, night.server.world.now
    harvester = Commands(server, tmp_path, capsys)
    asked = ["--category", "Scenario passing-404", "--category", "Scenario fresh", "--out", tmp_path / "out"]
    first = harvester("run", *asked, "--json").json
    assert (first["kept"], first["failed"]) == (0, {"gone": 1, "not-ready": 1})
    server.world.now = tonight + timedelta(days=1)
    try:
        tomorrow = f"{server.world.now:%Y-%m-%dT%H:%M:%SZ}"
        second = harvester("run", *asked, "--json", HARVESTER_RUN_NOW=tomorrow).json
    finally:
        server.world.now = tonight
    assert second["failed"] == {}
    assert all(category["kept"] >= 1 for category in second["categories"].values())


def test_what_grew_goes_on_the_next_day_without_repeats(
    night: Night, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server, tonight = night.server, night.server.world.now
    harvester = Commands(server, tmp_path, capsys)
    wanted = ["--category", "Scenario growing", "--out", tmp_path / "out", "--json"]
    first = harvester("run", *wanted).json
    server.world.now = tonight + timedelta(days=1)
    try:
        second = harvester("run", *wanted, HARVESTER_RUN_NOW=f"{server.world.now:%Y-%m-%dT%H:%M:%SZ}").json
    finally:
        server.world.now = tonight
    assert min(first["kept"], second["kept"]) >= 2
    offsets = [row["offset_s"] for row in outcomes(tmp_path / "out")]
    assert len(set(offsets)) == len(offsets) == first["planned"] + second["planned"]
    assert max(offsets[: first["planned"]]) < 1800 - 30 <= min(offsets[first["planned"] :])


@pytest.fixture(scope="module")
def listings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxServer]:
    """Two categories of one name, and one that empties."""
    world = with_scenarios(default_world(), ["same-name", "emptied"])
    with SandboxServer(world, cache_dir=tmp_path_factory.mktemp("media")).running() as server:
        yield server


def test_of_two_categories_of_one_name_each_is_had_by_its_id(
    listings: SandboxServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    harvester = Commands(listings, tmp_path, capsys)
    named = harvester("plan", "--category", TWINS[0].name, "--out", tmp_path / "out")
    assert named.code == 2
    assert all(f"id:{twin.id}" in named.err for twin in TWINS)
    ids = [word for twin in TWINS for word in ("--category", f"id:{twin.id}")]
    plans = harvester("plan", *ids, "--out", tmp_path / "out", "--json").json["plan"]
    assert [(plan["category"]["id"], plan["sources"]) for plan in plans] == [
        (twin.id, {"vod": 1}) for twin in TWINS
    ]


def test_a_category_that_empties_is_suspected_and_loses_nothing(
    listings: SandboxServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    harvester, out = Commands(listings, tmp_path, capsys), tmp_path / "out"
    wanted = ["--category", EMPTIED.name, "--out", out]
    kept = harvester("run", *wanted, "--json").json["kept"]
    assert kept >= 2
    tonight = listings.world.now
    listings.world.now = tonight + timedelta(days=1)
    tomorrow = {"HARVESTER_RUN_NOW": f"{listings.world.now:%Y-%m-%dT%H:%M:%SZ}"}
    try:
        planned = harvester("plan", *wanted, **tomorrow)
        ran = harvester("run", *wanted, "--json", **tomorrow)
    finally:
        listings.world.now = tonight
    assert (planned.code, ran.code, ran.json["failed"]) == (5, 5, {})
    assert "although it had some before" in planned.out
    assert "although it had some before" in ran.json["errors"][0]
    verified = harvester("verify", "--out", out, "--json")
    assert (verified.code, verified.json["images"]) == (0, kept)


@pytest.mark.parametrize(
    "name",
    ["plain", "fmp4", "highlight", "byte-ranges", "absolute", "signed", "old-segments", "pts-wrap", "muted"],
)
def test_another_player_shows_the_same_pictures(night: Night, name: str) -> None:
    """libavformat's HLS player on the served playlist: keyframes at their times."""
    video = night.video(name)
    info = night.reels.renditions(video)[0]
    url = f"{night.server.origin}/cdn/{video.distribution}/{video.special}/{info.folder}/{playlist_name(video)}"
    with av.open(url, options={"protocol_whitelist": "http,tcp", "extension_picky": "0"}) as player:
        stream = player.streams.video[0]
        stream.codec_context.skip_frame = "NONKEY"
        shown = [
            (frame.pts * stream.time_base, frame.to_ndarray(format="gray")) for frame in player.decode(stream)
        ]
    start_s = min(time_s for time_s, _ in shown)
    assert len(shown) == sum(len(entry.gops) for entry in night.reels.entries(video, info.height))
    for time_s, luma in shown:
        number, moment_s = night.shown_at(name, info.folder, float(time_s - start_s))
        stamp = read_stamp(luma)
        assert (stamp.session, stamp.moment_ms) == (number, round(1000 * moment_s))
