"""``scripts/live_check.py`` against the stand-in: what it keeps holds, and each thing it breaks is told as broken."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import importlib
import inspect
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import av
import cv2
import numpy as np
import pytest
from streamlink.plugins import twitch as plugin

from harvester.clock import Clock
from harvester.config import Config, credentials, load
from harvester.pipeline.outside import reach
from harvester.sandbox import Fault, SandboxServer, World, default_world
from harvester.sandbox import gql as sandbox_gql
from harvester.sandbox import helix as sandbox_helix
from harvester.sandbox.gql import Gql
from harvester.sandbox.world import Chapter, Video
from tests.integration.commands import QUICK

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
GAME = "Teeworlds"
#: By number: everything that a stand-in can keep, whatever the machine is busy with.
KEPT = set(range(1, 13))
#: The four forms of secrets: of the application, tokens of Helix, signatures, and what carries them in a URL.
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


@pytest.fixture(scope="module")
def busy_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxServer]:
    server = SandboxServer(busy_world(), cache_dir=tmp_path_factory.mktemp("media"))
    with server.running():
        yield server


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    """The script as a module; the folder that it is run from is the first of its path."""
    sys.path.insert(0, str(SCRIPTS))
    yield importlib.import_module("live_check")
    sys.path.remove(str(SCRIPTS))


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


@pytest.fixture
def check(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Run:
    return Run(script, tmp_path, monkeypatch, capsys)


@pytest.fixture
def server(busy_server: SandboxServer) -> SandboxServer:
    """The busy world, which behaves and has forgotten earlier tests."""
    busy_server.faults.clear()
    busy_server.log.clear()
    return busy_server


# --- what the stand-in keeps --------------------------------------------------------------------------------------------


def test_everything_that_the_stand_in_keeps_holds(check: Run, server: SandboxServer) -> None:
    done = check(server, "--category", GAME)
    assert done.code == 0
    assert {number for number, answer in done.answers.items() if answer == HOLDS} >= KEPT
    assert set(done.answers) == set(range(1, 14))
    assert done.document["requests"] == server.log.stats()["requests"]
    assert 25 <= done.requests() <= 40
    assert "122 VODs found" in done.check(1)["evidence"]
    assert len(done.check(2)["lines"]) == 5
    assert re.search(r"5 equal; [1-4] with chapters of other categories", done.check(2)["evidence"])
    assert re.search(r"the VOD [1-4] place its start there, 0 its end", done.check(11)["evidence"])


def test_as_documented_it_prints_a_table(server: SandboxServer, tmp_path: Path) -> None:
    config = tmp_path / "sandbox.toml"
    config.write_text(server.config_toml(), encoding="utf-8")
    command = [sys.executable, str(SCRIPTS / "live_check.py"), "--config", str(config), "--category", GAME]
    variables = os.environ | server.environ | {"PYTHONPATH": str(SCRIPTS.parent)}
    ended = subprocess.run(command, env=variables, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ended.returncode, sorted(tmp_path.iterdir())) == (0, [config]), ended.stderr
    rows = re.findall(r"^ ?(\d+)  (holds|does not hold|could not tell) ", ended.stdout, re.MULTILINE)
    assert {int(number) for number, answer in rows if answer == HOLDS} >= KEPT
    assert f"configuration: {config}" in ended.stderr
    assert not SECRET.search(ended.stdout + ended.stderr)


def test_the_most_watched_category_is_taken_without_a_name(check: Run, server: SandboxServer) -> None:
    most = max(server.world.games, key=lambda game: game.viewers)
    assert most.name in check(server).document["category"]
    assert GAME in check(server, HARVESTER_DISCOVER_CATEGORIES=f'["{GAME}"]').document["category"]


def test_the_hashes_asked_are_those_of_the_installed_streamlink(script: ModuleType) -> None:
    scene = importlib.import_module("live.scene")
    source = inspect.getsource(plugin)
    assert scene.PLAYBACK_HASH in source
    assert scene.CLIP_HASH in source


# --- what it breaks -----------------------------------------------------------------------------------------------------


def test_a_cursor_that_leads_nowhere(check: Run, server: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox_helix, "_offset", lambda text: 0)
    done = check(server, "--category", GAME)
    assert done.answers[1] == FAILS
    assert "100 VODs found" in done.check(1)["evidence"]
    assert {n for n, answer in done.answers.items() if answer == HOLDS} >= KEPT - {1}


def test_too_few_vods_tell_nothing_of_cursors(check: Run, server: SandboxServer) -> None:
    assert check(server, "--category", "Minetest").answers[1] == UNTOLD


def test_a_listing_that_means_another_category(
    check: Run, server: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Gql._video
    other = {"id": "77", "displayName": "Another", "name": "Another"}
    monkeypatch.setattr(Gql, "_video", lambda gql, video: told(gql, video) | {"game": other})
    done = check(server, "--category", GAME)
    assert done.answers[2] == FAILS
    relations = " ".join(done.check(2)["lines"])
    assert "neither" in relations
    assert "among the chapters" in relations


def _rotated(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    _, answer = sandbox_gql.OPERATIONS[name]
    monkeypatch.setitem(sandbox_gql.OPERATIONS, name, (frozenset({"0" * 64}), answer))


def test_a_rotated_hash_of_the_chapters(
    check: Run, server: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    _rotated(monkeypatch, "VideoPlayer_ChapterSelectButtonVideo")
    done = check(server, "--category", GAME)
    assert done.answers[3] == FAILS
    assert done.check(3)["evidence"] == "not known: VideoPlayer_ChapterSelectButtonVideo"
    assert {n for n, answer in done.answers.items() if answer == HOLDS} >= KEPT - {3}
    assert done.requests() <= 40


def test_a_rotated_hash_of_playback(check: Run, server: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> None:
    _rotated(monkeypatch, "PlaybackAccessToken")
    done = check(server, "--category", GAME)
    assert done.code == 0
    assert done.answers[3] == FAILS
    assert done.check(3)["evidence"] == "not known: PlaybackAccessToken"
    assert {done.answers[number] for number in (4, 5, 6, 7, 8, 9, 11, 13)} == {UNTOLD}
    assert done.answers[10] == HOLDS


def test_an_answer_of_unknown_shape_ends_its_own_check_only(check: Run, server: SandboxServer) -> None:
    server.inject(Fault(path="^/gql", body=b"[1, 2, 3, 4, 5]", skip=6))  # one resolved, five asked about
    done = check(server, "--category", GAME)
    assert (done.code, done.answers[3], done.answers[5]) == (0, UNTOLD, UNTOLD)
    assert done.check(5)["evidence"] == "an answer of unknown shape (AttributeError)"
    assert {n for n, answer in done.answers.items() if answer == HOLDS} >= KEPT - {3, 5}


def test_moved_names_of_streamlink(check: Run, server: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(plugin.TwitchAPI, "access_token")
    done = check(server, "--category", GAME)
    assert done.answers[4] == FAILS
    assert "moved" in done.check(4)["evidence"]


MASTER_V1 = """#EXTM3U
#EXT-X-MEDIA:TYPE=VIDEO,GROUP-ID="chunked",NAME="1080p60",AUTOSELECT=NO,DEFAULT=NO
#EXT-X-STREAM-INF:BANDWIDTH=5898203,CODECS="avc1.64002A,mp4a.40.2",RESOLUTION=1920x1080,VIDEO="chunked"
http://127.0.0.1/a.m3u8
#EXT-X-MEDIA:TYPE=VIDEO,GROUP-ID="audio_only",NAME="Audio Only",AUTOSELECT=NO,DEFAULT=NO
#EXT-X-STREAM-INF:BANDWIDTH=220328,CODECS="mp4a.40.2",VIDEO="audio_only"
http://127.0.0.1/b.m3u8
"""
WITHHELD = base64.b64encode(
    json.dumps([{"IVS-NAME": "1440p", "RESOLUTION": "2560x1440", "AUTHORIZATION_REASONS": ["AUTHZ_NO"]}]).encode()
).decode()
MASTER_V2 = f"""#EXTM3U
#EXT-X-SESSION-DATA:DATA-ID="com.amazon.ivs.unavailable-media",VALUE="{WITHHELD}"
#EXT-X-STREAM-INF:BANDWIDTH=5,CODECS="hev1.1.2.L150,mp4a.40.2",RESOLUTION=1920x1080,STABLE-VARIANT-ID="1080p60"
http://127.0.0.1/a.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=4,CODECS="avc1.4D001F,mp4a.40.2",RESOLUTION=606x1080,STABLE-VARIANT-ID="p-portrait"
http://127.0.0.1/b.m3u8
"""


@pytest.mark.parametrize(
    ("master", "answer", "evidence"),
    [
        (MASTER_V1, HOLDS, "layout v1, 1 renditions of video, 0 of them portrait, 1 of sound, 0 withheld"),
        (MASTER_V2, HOLDS, "layout v2, 2 renditions of video, 1 of them portrait, 0 of sound, 1 withheld"),
        (MASTER_V2.replace("hev1", "vvc1"), FAILS, "layout v2"),
        (MASTER_V1.replace(',VIDEO="chunked"', ""), FAILS, "layout unknown"),
        (MASTER_V1.replace("RESOLUTION=1920x1080,", ""), FAILS, "layout v1"),
        ("#EXTM3U\n", UNTOLD, "no variant"),
    ],
)
def test_multivariant_playlists(
    check: Run, server: SandboxServer, master: str, answer: str, evidence: str
) -> None:
    server.inject(Fault(path="^/vod/v2/", query="include_unavailable", body=master.encode(), times=0))
    done = check(server, "--category", GAME)
    assert done.answers[5] == answer
    assert evidence in done.check(5)["evidence"]
    if "withheld" in evidence and "1 withheld" in evidence:
        assert "2560x1440" in done.check(5)["lines"][-1]
        assert "AUTHZ_NO" in done.check(5)["lines"][-1]


def playlist(*, length_s: float, ended: bool, base: str = "") -> bytes:
    segments = "".join(f"#EXTINF:{length_s:.3f},\n{base}{number}.ts\n" for number in range(12))
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n{segments}{'#EXT-X-ENDLIST' if ended else ''}\n".encode()


@pytest.mark.parametrize(
    ("body", "answer", "evidence"),
    [
        (playlist(length_s=2, ended=True), HOLDS, "12 segments, ENDLIST yes"),
        (playlist(length_s=2, ended=False), FAILS, "ENDLIST no"),
        (playlist(length_s=3, ended=True), FAILS, "sum +12.0 s"),
        (playlist(length_s=2, ended=True, base="http://192.0.2.7/"), FAILS, "host-refused"),
        (b"<!DOCTYPE html>", UNTOLD, "corrupt"),
    ],
)
def test_media_playlists(check: Run, server: SandboxServer, body: bytes, answer: str, evidence: str) -> None:
    server.inject(Fault(path=r"/cdn/.*m3u8$", body=body, times=0))
    done = check(server, "--category", GAME)
    assert done.answers[6] == answer
    assert evidence in done.check(6)["evidence"]


def test_ranges_that_are_ignored(check: Run, server: SandboxServer) -> None:
    server.inject(Fault(path=r"/\d+\.(ts|mp4)$", ignore_range=True, times=0))
    done = check(server, "--category", GAME)
    assert done.answers[8] == FAILS
    assert done.check(8)["evidence"].startswith("a range of 65536 bytes: status 200")


def encoded(gop_s: int, seconds: int) -> bytes:
    """A tiny MPEG-TS with a keyframe every ``gop_s``."""
    target = io.BytesIO()
    with av.open(target, "w", format="mpegts") as container:
        stream = container.add_stream("libx264", rate=2)
        stream.width, stream.height, stream.pix_fmt, stream.time_base = 64, 64, "yuv420p", Fraction(1, 2)
        stream.codec_context.options = {"g": str(2 * gop_s), "keyint_min": str(2 * gop_s), "sc_threshold": "0"}
        for number in range(2 * seconds):
            grey = np.full((64, 64, 3), 8 * number % 256, np.uint8)
            frame = av.VideoFrame.from_ndarray(grey, format="rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return target.getvalue()


@pytest.mark.parametrize(("gop_s", "answer"), [(2, HOLDS), (4, FAILS)])
def test_gops(check: Run, server: SandboxServer, gop_s: int, answer: str) -> None:
    server.inject(Fault(path=r"/\d+\.(ts|mp4)$", body=encoded(gop_s, 10), times=0))
    server.inject(Fault(path=r"/cdn/.*m3u8$", body=playlist(length_s=10, ended=True), times=0))
    done = check(server, "--category", GAME)
    assert done.answers[9] == answer
    assert f"{gop_s}.00" in done.check(9)["evidence"]


def test_segments_that_do_not_start_on_a_keyframe(check: Run, server: SandboxServer) -> None:
    server.inject(Fault(path=r"/\d+\.(ts|mp4)$", body=_without_its_keyframe(encoded(20, 10)), times=0))
    server.inject(Fault(path=r"/cdn/.*m3u8$", body=playlist(length_s=10, ended=True), times=0))
    done = check(server, "--category", GAME)
    assert done.answers[7] == FAILS
    assert "no random-access picture" in done.check(7)["lines"][0]


def _without_its_keyframe(segment: bytes) -> bytes:
    """The pictures of an MPEG-TS after its first, which is the only keyframe."""
    target = io.BytesIO()
    with av.open(io.BytesIO(segment), "r") as source, av.open(target, "w", format="mpegts") as container:
        stream = container.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.pts is not None and not packet.is_keyframe:
                packet.stream = stream
                container.mux(packet)
    return target.getvalue()


def test_a_vod_that_does_not_open_is_passed_over(check: Run, server: SandboxServer) -> None:
    closed = check(server, "--category", GAME).document["sources"].split()[1].strip(",")
    refusal = b'[{"error":"x","error_code":"vod_manifest_restricted","type":"error"}]'
    server.inject(Fault(path=f"^/vod/v2/{closed}", status=403, body=refusal, times=0))
    server.log.clear()
    done = check(server, "--category", GAME)
    assert closed not in done.document["sources"]
    assert {n for n, answer in done.answers.items() if answer == HOLDS} >= KEPT
    assert done.requests() <= 40


def test_clips_that_need_no_signature(check: Run, server: SandboxServer) -> None:
    server.inject(Fault(path="^/cdn/clips/", query="^$", status=200, body=b"anything", times=0))
    done = check(server, "--category", GAME)
    assert done.answers[10] == FAILS
    assert "unsigned 200" in done.check(10)["evidence"]


def test_an_index_behind_the_media(check: Run, server: SandboxServer) -> None:
    body = b"\0\0\0\x10ftypisom\0\0\0\0" + b"\0\0\0\x0cmdat1234" + b"\0\0\0\x08moov"
    whole = {"Content-Range": f"bytes 0-{len(body) - 1}/{len(body)}"}
    server.inject(Fault(path="^/cdn/clips/", query="token", status=206, headers=whole, body=body, times=0))
    done = check(server, "--category", GAME)
    assert done.answers[10] == FAILS
    assert "boxes ftyp mdat moov" in done.check(10)["evidence"]
    assert done.answers[11] == UNTOLD


@pytest.mark.parametrize("game", [GAME, "Freedoom", "Hedgewars"])
def test_the_direction_of_vod_offset(check: Run, tmp_path: Path, game: str) -> None:
    world = default_world()
    ends = [
        dataclasses.replace(clip, vod_offset_s=round(clip.vod_offset_s + clip.duration_s))
        if clip.vod_offset_s is not None
        else clip
        for clip in world.clips
    ]
    answers = []
    for clips in (world.clips, tuple(ends)):
        with SandboxServer(dataclasses.replace(world, clips=clips), cache_dir=tmp_path).running() as server:
            answers.append(check(server, "--category", game).answers[11])
    assert answers == [HOLDS, FAILS]


def test_no_clip_no_direction(check: Run, tmp_path: Path) -> None:
    world = dataclasses.replace(default_world(), clips=())
    with SandboxServer(world, cache_dir=tmp_path).running() as server:
        done = check(server, "--category", GAME)
    assert (done.answers[10], done.answers[11]) == (UNTOLD, UNTOLD)
    assert {done.answers[number] for number in (4, 5, 6, 7, 8, 9, 12)} == {HOLDS}


def test_vods_without_storyboards(check: Run, server: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox_gql, "storyboard_path", lambda video, now: None)
    assert check(server, "--category", GAME).answers[12] == FAILS


def test_storyboards_of_another_size(check: Run, server: SandboxServer) -> None:
    board = {"quality": "x", "count": 12, "width": 100, "height": 100, "cols": 3, "rows": 4, "interval": 2}
    server.inject(Fault(path="-info.json$", body=json.dumps([board | {"images": ["a.jpg"]}]).encode(), times=0))
    assert check(server, "--category", GAME).answers[12] == UNTOLD  # its sheet is not there
    _, sheet = cv2.imencode(".jpg", np.zeros((400, 300, 3), np.uint8))
    server.inject(Fault(path="a.jpg$", body=sheet.tobytes(), times=0))
    done = check(server, "--category", GAME)
    assert done.answers[12] == FAILS
    assert "100x100, 3 x 4 a sheet" in done.check(12)["lines"][0]


def test_details_switched_off_ask_gql_for_playback_only(check: Run, server: SandboxServer) -> None:
    done = check(server, "--category", GAME, HARVESTER_DISCOVER_DETAILS="off")
    assert {done.answers[number] for number in (2, 3, 5, 12)} == {UNTOLD}
    assert {done.answers[number] for number in (1, 4, 6, 7, 8, 9, 10, 11)} == {HOLDS}
    assert done.document["requests"]["gql"] == 2


# --- politeness ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [7, 9, 13, 17, 23])
def test_no_request_beyond_the_bound_leaves(
    check: Run, server: SandboxServer, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(check.script, "MOST_REQUESTS", most)
    done = check(server, "--category", GAME)
    assert done.code == 0
    assert done.requests() == most
    assert UNTOLD in done.answers.values()


def test_faults_do_not_lead_beyond_the_bound(check: Run, server: SandboxServer) -> None:
    server.inject(Fault(path="^/(cdn|gql|vod)", status=503, times=0))
    done = check(server, "--category", GAME)
    assert (done.code, done.answers[1]) == (0, HOLDS)
    assert done.requests() <= 40
    assert FAILS not in done.answers.values()


class Turns:
    """Counts who waits for a turn, and lets all pass."""

    def __init__(self) -> None:
        self.taken = 0

    async def __aenter__(self) -> None:
        self.taken += 1

    async def __aexit__(self, *_: object) -> None:
        return None


def test_every_request_has_its_turn(
    script: ModuleType, server: SandboxServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those to Helix are paced by [discover] requests_per_s, usher's follows its token at once."""
    file = tmp_path / "sandbox.toml"
    file.write_text(server.config_toml(), encoding="utf-8")
    config, turns = load(file, environ=QUICK).config, Turns()

    async def look() -> Any:
        async with (
            reach(config, credentials(server.environ), Clock(config.run.start)) as outside,
            script.set_up(config, outside, GAME, turns) as scene,
        ):
            await script._look(scene, script.Report("test"))
            return outside.traffic.requests

    requests = asyncio.run(look())
    paced = requests.total() - requests["auth"] - requests["helix"]
    growths = 2  # heads that were larger than guessed, an init section
    assert paced - 1 - growths <= turns.taken <= paced


def test_the_real_world_is_asked_slowly(script: ModuleType) -> None:
    config = script._polite(Config())
    assert config.fetch.gql_requests_per_s == config.discover.requests_per_s == 1
    assert (config.fetch.attempts, config.fetch.retry_base_s) == (2, 2)


# --- exit codes ---------------------------------------------------------------------------------------------------------


def test_refused_credentials_end_it(check: Run, server: SandboxServer) -> None:
    done = check(server, "--category", GAME, TWITCH_CLIENT_SECRET="wrong")
    assert (done.code, done.document["exit_code"], done.document["checks"]) == (3, 3, [])


def test_an_unknown_category_ends_it(check: Run, server: SandboxServer) -> None:
    assert check(server, "--category", "No Such Game").code == 2


def test_nobody_there_ends_it(check: Run, server: SandboxServer, tmp_path: Path) -> None:
    config = tmp_path / "nobody.toml"
    config.write_text(re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:1", server.config_toml()), encoding="utf-8")
    done = check.bare(server, "--config", str(config))
    assert done.code == 5
    assert done.document["error"]


def test_without_rights_nothing_is_asked(check: Run, server: SandboxServer, tmp_path: Path) -> None:
    config = tmp_path / "real.toml"
    config.write_text("", encoding="utf-8")
    done = check.bare(server, "--config", str(config))
    assert (done.code, done.document["requests"]) == (2, {})
    assert "[rights] basis" in done.document["error"]


def test_a_bad_configuration_ends_it(check: Run, server: SandboxServer, tmp_path: Path) -> None:
    config = tmp_path / "bad.toml"
    config.write_text("[fetch]\nattemps = 3\n", encoding="utf-8")
    done = check.bare(server, "--config", str(config))
    assert done.code == 2
    assert "attempts" in done.document["error"]
