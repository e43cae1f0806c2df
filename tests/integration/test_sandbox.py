"""The unmodified twitchAPI, streamlink and PyAV against the sandbox, and the sandbox as a program."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import stat
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import av
import numpy as np
import pytest
import requests
from requests.adapters import HTTPAdapter
from streamlink import Streamlink
from twitchAPI.helper import first
from twitchAPI.twitch import Twitch
from twitchAPI.type import TwitchAPIException, TwitchAuthorizationException, VideoType

from harvester import config
from harvester.errors import ConfigError, MachineError
from harvester.sandbox import Fault, SandboxServer, default_world, serve
from harvester.sandbox.world import split_of


@pytest.fixture
def world():
    return default_world()


@pytest.fixture
def server(world):
    with SandboxServer(world).running() as running:
        yield running


def ask(server, path, *, headers=None, data=None, method=None):
    """(status, headers, body) of one plain request."""
    request = urllib.request.Request(server.origin + path, headers=headers or {}, data=data, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def token_path(server, **changed):
    secrets = {
        "client_id": server.environ["TWITCH_CLIENT_ID"],
        "client_secret": server.environ["TWITCH_CLIENT_SECRET"],
    }
    fields = {**secrets, "grant_type": "client_credentials", **changed}
    return "/oauth2/token?" + "&".join(f"{key}={value}" for key, value in fields.items())


def helix_headers(server):
    token = json.loads(ask(server, token_path(server), data=b"")[2])["access_token"]
    return {"Client-Id": server.environ["TWITCH_CLIENT_ID"], "Authorization": f"Bearer {token}"}


# twitchAPI


async def client(server):
    secrets = server.environ
    return await Twitch(
        secrets["TWITCH_CLIENT_ID"],
        secrets["TWITCH_CLIENT_SECRET"],
        base_url=f"{server.origin}/helix/",
        auth_base_url=f"{server.origin}/oauth2/",
    )


def test_twitch_api_lists_games_videos_and_clips(server, world):
    async def listed():
        twitch = await client(server)
        games = {game.id: game.name async for game in twitch.get_top_games(first=2)}
        game = await first(twitch.get_games(names=["SuperTuxKart"]))
        found = [category.name async for category in twitch.search_categories("tux")]
        videos = [video async for video in twitch.get_videos(game_id=game.id, first=1)]
        start, end = world.now - timedelta(days=30), world.now
        clips = [c async for c in twitch.get_clips(game_id=game.id, started_at=start, ended_at=end, first=3)]
        by_id = [video async for video in twitch.get_videos(ids=[v.id for v in world.videos], first=100)]
        await twitch.close()
        return games, game, found, videos, clips, by_id

    games, game, found, videos, clips, by_id = asyncio.run(listed())
    assert games == {game.id: game.name for game in world.games}
    assert found == ["SuperTuxKart"]
    expected = {video.id: video for video in world.videos if video.game.id == game.id}
    assert {video.id for video in videos} == set(expected)
    for video in videos:
        promised = expected[video.id]
        assert (video.user_id, video.title, video.created_at) == (
            promised.channel.id,
            promised.title,
            promised.created_at,
        )
        assert video.duration == f"{int(promised.duration_s)}s"
    assert len(by_id) == len(world.videos)
    assert {video.type for video in by_id} == {VideoType.ARCHIVE, VideoType.HIGHLIGHT}
    assert {clip.id for clip in clips} == {clip.id for clip in world.clips if clip.game.id == game.id}
    assert [clip.view_count for clip in clips] == sorted((clip.view_count for clip in clips), reverse=True)


def test_twitch_api_is_refused_with_a_wrong_secret_and_renews_an_expired_token(server, world):
    async def wrong():
        await Twitch("x", "y", base_url=f"{server.origin}/helix/", auth_base_url=f"{server.origin}/oauth2/")

    async def renewed():
        twitch = await client(server)
        ask(server, "/_control/expire_tokens", data=b"")
        games = [game async for game in twitch.get_top_games()]
        await twitch.close()
        return games

    with pytest.raises((TwitchAuthorizationException, TwitchAPIException)):
        asyncio.run(wrong())
    assert len(asyncio.run(renewed())) == len(world.games)
    assert [entry.status for entry in server.log.entries("helix")] == [401, 200]


def test_auth_and_helix_refusals(server):
    assert ask(server, token_path(server, client_id="x"), data=b"")[0] == 400
    assert ask(server, token_path(server, client_secret="x"), data=b"")[0] == 403
    headers = helix_headers(server)
    assert ask(server, "/helix/games/top")[0] == 401
    assert ask(server, "/helix/games/top", headers={**headers, "Authorization": "Bearer x"})[0] == 401
    assert ask(server, "/helix/games/top", headers={**headers, "Client-Id": "x"})[0] == 401
    assert ask(server, "/helix/nothing", headers=headers)[0] == 404
    token = headers["Authorization"].removeprefix("Bearer ")
    assert ask(server, "/oauth2/validate", headers={"Authorization": f"OAuth {token}"})[0] == 200
    assert ask(server, "/oauth2/validate", headers={"Authorization": "OAuth x"})[0] == 401


def test_helix_counts_points_and_answers_429_when_they_are_gone(world):
    with SandboxServer(world, helix_points=2).running() as server:
        headers = helix_headers(server)
        answers = [ask(server, "/helix/games/top", headers=headers) for _ in range(3)]
    assert [status for status, _, _ in answers] == [200, 200, 429]
    assert [got["Ratelimit-Remaining"] for _, got, _ in answers] == ["1", "0", "0"]
    assert all(got["Ratelimit-Limit"] == "2" for _, got, _ in answers)
    assert int(answers[2][1]["Ratelimit-Reset"]) > datetime.now(UTC).timestamp() + 30


# streamlink


class Loopback(HTTPAdapter):
    """Sends what is meant for Twitch to the sandbox; the answer keeps its loopback URL."""

    def __init__(self, origin: str) -> None:
        super().__init__()
        self._origin = urlsplit(origin)

    def send(self, request: requests.PreparedRequest, *args, **kwargs) -> requests.Response:
        moved = request.copy()
        moved.url = urlunsplit(urlsplit(request.url)._replace(scheme="http", netloc=self._origin.netloc))
        return super().send(moved, *args, **{**kwargs, "proxies": {}})


@pytest.fixture
def session(server):
    session = Streamlink()
    session.set_option("http-trust-env", False)
    for host in ("https://gql.twitch.tv", "https://usher.ttvnw.net"):
        session.http.mount(host, Loopback(server.origin))
    return session


def footage_luma(video, height, offset_s):
    """The picture the world promises there, decoded from the footage file itself."""
    piece, second = video.footage_at(offset_s)
    wanted = round(second * piece.session.fps)
    with av.open(str(piece.session.file(height).path)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number == wanted:
                return frame.to_ndarray(format="yuv420p")[: frame.height]
    raise AssertionError("past the end")


@pytest.mark.parametrize("container", ["ts", "fmp4"])
def test_streamlink_resolves_a_vod_and_pyav_decodes_it(server, world, session, container):
    video = next(
        v for v in world.videos if v.container == container and len(v.pieces) == (1, 3)[container == "fmp4"]
    )
    streams = session.streams(f"https://www.twitch.tv/videos/{video.id}")
    assert set(streams) == {"audio_only", "360p12", "720p12", "best", "worst"}
    assert streams["best"].url == streams["720p12"].url
    assert streams["worst"].url == streams["360p12"].url
    infos = {p.stream_info.resolution: p.stream_info for p in streams["best"].multivariant.playlists}
    assert {(1280, 720), (640, 360)} <= set(infos)
    url = streams["360p12"].url
    assert urlsplit(url).netloc == urlsplit(server.origin).netloc
    with av.open(url) as media:
        frames = [frame.to_ndarray(format="yuv420p")[:360] for frame in media.decode(video=0)]
    assert len(frames) == video.duration_s * 12
    for second in (0, 5, 21):
        assert np.array_equal(frames[second * 12], footage_luma(video, 360, second))
    with av.open(streams["audio_only"].url) as media:
        assert [stream.type for stream in media.streams] == ["audio"]


def test_streamlink_resolves_a_clip_and_pyav_seeks_in_it(world, session):
    clip = world.clips[0]
    streams = session.streams(f"https://clips.twitch.tv/{clip.id}")
    assert set(streams) == {"360p12", "720p12", "best", "worst"}
    with av.open(streams["720p12"].to_url()) as media:
        assert float(media.duration / av.time_base) == pytest.approx(clip.duration_s)
        media.seek(2_000_000)
        frame = next(media.decode(video=0))
        assert frame.pts * frame.time_base == 2
        assert (frame.width, frame.height) == (1280, 720)


def test_streamlink_finds_nothing_where_nothing_is(session):
    assert session.streams("https://www.twitch.tv/videos/5") == {}
    assert session.streams("https://clips.twitch.tv/NoSuchClip-abc") == {}


# usher and CDN


def vod_token(server, video_id):
    query = f'{{videoPlaybackAccessToken(id: "{video_id}", params: {{}}) {{value signature}}}}'
    answer = ask(server, "/gql", headers={"Client-ID": "x"}, data=json.dumps([{"query": query}]).encode())
    return json.loads(answer[2])[0]["data"]["videoPlaybackAccessToken"]


def multivariant_lines(server, video, form="/vod/v2/{}.m3u8?nauth={}&nauthsig={}"):
    token = vod_token(server, video.id)
    status, headers, body = ask(server, form.format(video.id, quote(token["value"]), token["signature"]))
    assert status == 200
    assert headers["Content-Type"].startswith("application/vnd.apple.mpegurl")
    return body.decode().splitlines()


def test_usher_takes_a_signed_token_of_that_video_and_nothing_else(server, world):
    first_video, second_video = world.videos[:2]
    token = vod_token(server, first_video.id)
    value, signature = quote(token["value"]), token["signature"]
    assert ask(server, f"/vod/v2/{second_video.id}.m3u8?nauth={value}&nauthsig={signature}")[0] == 403
    for query in (
        "",
        f"nauth={value}",
        f"nauth={value}&nauthsig={'0' * 40}",
        f"nauth={value}x&nauthsig={signature}",
    ):
        status, _, body = ask(server, f"/vod/v2/{first_video.id}.m3u8?{query}")
        assert (status, json.loads(body)[0]["error_code"]) == (403, "nauth_token_invalid")
    old = multivariant_lines(server, first_video, "/vod/{}?token={}&sig={}")
    assert any(line.startswith("#EXT-X-MEDIA:TYPE=VIDEO") for line in old)
    world.now += timedelta(days=2)
    assert ask(server, f"/vod/v2/{first_video.id}.m3u8?nauth={value}&nauthsig={signature}")[0] == 403


def test_the_cdn_serves_ranges_and_refuses_what_is_not_there(server, world):
    video = next(video for video in world.videos if video.container == "ts")
    playlist = next(line for line in multivariant_lines(server, video) if "/chunked/" in line)
    path = urlsplit(playlist).path
    status, _, text = ask(server, path)
    assert (status, text.count(b".ts")) == (200, video.duration_s / 2)
    segment = path.rsplit("/", 1)[0] + "/3.ts"
    whole = ask(server, segment)
    assert (whole[0], whole[2][:1], whole[1]["Accept-Ranges"]) == (200, b"G", "bytes")
    status, headers, body = ask(server, segment, headers={"Range": "bytes=188-939"})
    assert (status, body) == (206, whole[2][188:940])
    assert headers["Content-Range"] == f"bytes 188-939/{len(whole[2])}"
    assert headers["ETag"] == whole[1]["ETag"]
    assert ask(server, segment, headers={"Range": "bytes=99999999-"})[0] == 416
    elsewhere = segment.replace(video.distribution, world.videos[-1].distribution)
    for absent in (
        path.replace("index", "idx"),
        segment.replace("3.ts", "999.ts"),
        segment[:-2] + "mp4",
        elsewhere,
    ):
        status, headers, body = ask(server, absent)
        assert (status, headers["Content-Type"].split(";")[0]) == (403, "application/xml")
        assert b"<Code>AccessDenied</Code>" in body


def test_a_clip_needs_its_own_signature(server, world):
    def signed(clip):
        hashes = "993d9a5131f15a37bd16f32342c44ed1e0b1a9b968c6afdb662d2cddd595f6c5"
        persisted = {"persistedQuery": {"version": 1, "sha256Hash": hashes}}
        operation = {
            "operationName": "VideoAccessToken_Clip",
            "variables": {"slug": clip.id},
            "extensions": persisted,
        }
        body = ask(server, "/gql", headers={"Client-ID": "x"}, data=json.dumps(operation).encode())[2]
        token = json.loads(body)["data"]["clip"]["playbackAccessToken"]
        return f"?sig={token['signature']}&token={quote(token['value'])}"

    one, two = world.clips[0], world.clips[5]
    path = f"/cdn/clips/{one.id}"
    for query in ("", signed(two)):
        status, _, body = ask(server, f"{path}/720/index.mp4{query}")
        assert (status, body) == (401, b"")
    for quality in ("720", "360"):
        status, _, body = ask(server, f"{path}/{quality}/index.mp4{signed(one)}", headers={"Range": "bytes=4-7"})
        assert (status, body) == (206, b"ftyp")
    assert ask(server, f"{path}/999/index.mp4{signed(one)}")[0] == 403


def test_gql_wants_a_client_id_and_an_operation(server):
    assert ask(server, "/gql", data=b"{}")[0] == 400
    for body in (b"", b"[]", b"7", b"[7]", b"\xff"):
        assert ask(server, "/gql", headers={"Client-ID": "x"}, data=body)[0] == 400


# log, faults, clock, line


def test_the_log_tells_kinds_and_bytes_and_no_secret(server, world):
    ask(server, "/helix/games/top", headers=helix_headers(server))
    video = world.videos[0]
    source = next(line for line in multivariant_lines(server, video) if "/chunked/" in line)
    segment = urlsplit(source).path.rsplit("/", 1)[0] + "/0.ts"
    ask(server, urlsplit(source).path)
    ask(server, segment, headers={"Range": "bytes=0-99"})
    whole = ask(server, segment)[2]
    entries = json.loads(ask(server, "/_control/log")[2])
    assert [entry["kind"] for entry in entries] == ["auth", "helix", "gql", "usher", "playlist", "media", "media"]
    assert [(e["range"], e["status"], e["bytes"]) for e in entries[-2:]] == [
        ("bytes=0-99", 206, 100),
        (None, 200, len(whole)),
    ]
    text = json.dumps(entries)
    assert server.environ["TWITCH_CLIENT_SECRET"] not in text
    assert not re.search(r"[0-9a-f]{40}(?!_)", text)
    assert "chansub" not in text
    stats = json.loads(ask(server, "/_control/stats")[2])
    assert stats["requests"]["media"] == 2
    assert stats["bytes"]["media"] == 100 + len(whole)
    assert stats["peak_parallel"]["media"] == 1
    assert stats["connections"] == len(entries)  # this client keeps no connection


def test_injected_faults(server, world):
    headers = helix_headers(server)
    fault = {
        "match": {"path": "^/helix/"},
        "action": {"status": 503, "headers": {"Ratelimit-Reset": "+5"}},
        "skip": 1,
    }
    assert ask(server, "/_control/faults", data=json.dumps(fault).encode())[0] == 200
    answers = [ask(server, "/helix/games/top", headers=headers) for _ in range(3)]
    assert [status for status, _, _ in answers] == [200, 503, 200]
    assert abs(int(answers[1][1]["Ratelimit-Reset"]) - datetime.now(UTC).timestamp() - 5) < 4
    assert ask(server, "/_control/faults", data=b'{"action": {"explode": 1}}')[0] == 400

    video = next(video for video in world.videos if video.container == "ts")
    segment = f"/cdn/{video.distribution}/{video.special}/chunked/0.ts"
    whole = ask(server, segment)[2]
    server.inject(Fault(path="/0.ts", html=True))
    assert b"<title>" in ask(server, segment)[2]
    server.inject(Fault(path="/0.ts", ignore_range=True))
    status, _, body = ask(server, segment, headers={"Range": "bytes=0-9"})
    assert (status, body) == (200, whole)
    server.inject(Fault(path="/0.ts", body=b""))
    assert ask(server, segment)[2] == b""
    server.inject(Fault(path="/0.ts", cut=1000))
    with pytest.raises(requests.RequestException, match=r"1000 bytes read"):
        requests.get(server.origin + segment, timeout=10)
    assert server.log.entries("media")[-1].bytes == 1000
    server.inject(Fault(path="/0.ts", reset=True))
    with pytest.raises(requests.ConnectionError):
        requests.get(server.origin + segment, timeout=10)
    server.inject(Fault(path="/0.ts", times=0, status=500))
    assert [ask(server, segment)[0] for _ in range(2)] == [500, 500]
    assert ask(server, "/_control/faults", method="DELETE")[0] == 200
    assert ask(server, segment)[2] == whole


def test_the_clock_can_be_set(server, world):
    headers = helix_headers(server)
    path = "/helix/videos?first=100" + "".join(f"&id={video.id}" for video in world.videos)
    assert len(json.loads(ask(server, path, headers=headers)[2])["data"]) == 10
    moment = (world.now - timedelta(days=10)).isoformat()
    assert ask(server, "/_control/clock", data=json.dumps({"now": moment}).encode())[0] == 200
    assert 0 < len(json.loads(ask(server, path, headers=headers)[2])["data"]) < 10
    for bad in (b"{}", b"x", b'{"now": "2026-11-02"}', b'{"now": 7}'):
        assert ask(server, "/_control/clock", data=bad)[0] == 400


def test_a_shaped_line_delivers_the_same_bytes(server, world):
    video = next(video for video in world.videos if video.container == "ts")
    path = f"/cdn/{video.distribution}/{video.special}/chunked/0.ts"
    with SandboxServer(default_world(), rtt_ms=2, mbps=200).running() as slow:
        assert ask(slow, path)[2] == ask(server, path)[2]


# as a program


def test_the_default_world_needs_no_encode_and_every_split(server, world):
    assert server._reels.prepare() == 0
    assert {split_of(video.channel.id) for video in world.videos} == {"train", "validation", "test"}


def test_the_configuration_it_writes_is_valid(server, tmp_path):
    file = tmp_path / "config.toml"
    file.write_text(server.config_toml())
    loaded = config.load(file).config
    assert loaded.endpoints.loopback
    assert loaded.run.start == server.world.now
    assert loaded.endpoints.usher == server.origin
    assert config.credentials(server.environ)


def test_a_taken_port_is_one_clear_error(server):
    with pytest.raises(MachineError, match=f"cannot listen on 127.0.0.1:{server.port}"):
        serve(None, server.port, None)


def test_two_worlds_run_beside_each_other_and_a_stopped_one_is_gone(server):
    before = set(threading.enumerate())
    other = SandboxServer(default_world())
    with other.running():
        assert other.port != server.port
        assert ask(other, "/_control/stats")[0] == 200
    with pytest.raises(urllib.error.URLError):
        ask(other, "/_control/stats")
    assert not [thread for thread in set(threading.enumerate()) - before if thread.name == "sandbox"]


def test_a_bad_index_or_an_unwritable_file_stops_it(tmp_path):
    with pytest.raises(ConfigError):
        serve(tmp_path / "none.json", 0, None)
    with pytest.raises(MachineError, match="cannot write"):
        serve(None, 0, tmp_path / "absent" / "config.toml")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_as_a_process_it_writes_its_files_and_ends_on_a_signal(tmp_path, number):
    target = tmp_path / "sandbox.toml"
    program = (
        f"from pathlib import Path; from harvester.sandbox import serve; serve(None, 0, Path({str(target)!r}))"
    )
    environ = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environ
    ) as process:
        try:
            line = process.stdout.readline()
            origin = re.search(r"http://127\.0\.0\.1:\d+", line)[0]
            assert f'gql = "{origin}/gql"' in target.read_text()
            secrets = Path(f"{target}.env")
            assert stat.S_IMODE(secrets.stat().st_mode) == 0o600
            shown = subprocess.run(
                ["sh", "-c", f'. "{secrets}" && echo "$TWITCH_CLIENT_ID"'],
                capture_output=True,
                text=True,
                check=True,
            )
            assert shown.stdout.strip()
            with urllib.request.urlopen(f"{origin}/_control/stats", timeout=10) as answer:
                assert answer.status == 200
            process.send_signal(number)
            assert process.wait(timeout=20) == 0
        finally:
            process.kill()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sandbox.toml", "sandbox.toml.env"]
