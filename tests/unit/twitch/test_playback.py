"""The real streamlink against a GQL and an usher that refuse in every known way."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from streamlink.plugins import twitch as plugin
from streamlink.plugins.twitch import TwitchAPI, UsherService

from harvester.clock import Clock
from harvester.config import Fetch
from harvester.errors import SourceError
from harvester.model import Clip, Rendition, Vod, VodType
from harvester.stats import RequestKind, Traffic
from harvester.twitch import playback
from harvester.twitch.desk import Desk
from harvester.twitch.playback import StreamlinkResolver
from tests.unit.twitch.conftest import Answerer, StandIn, reply, run

GQL, USHER = "POST /gql", "GET /usher"
NOW = datetime(2026, 11, 2, 3, tzinfo=UTC)
SIGNATURE = "5ecret51gnature"
QUICK = Fetch(
    attempts=3,
    retry_base_s=0.001,
    retry_max_s=0.01,
    read_timeout_s=0.5,
    connect_timeout_s=0.5,
    gql_requests_per_s=1000,
)


def vod(age: timedelta = timedelta(hours=15)) -> Vod:
    return Vod("2001", "492535", "9001", "Ann", "any%", NOW - age, 11_313, VodType.ARCHIVE, "en", 42)


CLIP = Clip("BraveSandboxClip-aB3", "492535", "9001", "Ann", "wow", NOW - timedelta(hours=14), 28.5, "en", 17)

MASTER = """#EXTM3U
#EXT-X-TWITCH-INFO:ORIGIN="s3",B="false",REGION="EU",USER-IP="127.0.0.1"
#EXT-X-STREAM-INF:BANDWIDTH=5898203,CODECS="avc1.64002A,mp4a.40.2",RESOLUTION=1920x1080,FRAME-RATE=59.995,STABLE-VARIANT-ID="1080p60",IVS-NAME="1080p60",IVS-GROUPS="landscape"
{base}/cdn/x/chunked/index-dvr.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=3443956,CODECS="avc1.4D0020,mp4a.40.2",RESOLUTION=1280x720,FRAME-RATE=59.995,STABLE-VARIANT-ID="720p60",IVS-NAME="720p60",IVS-GROUPS="landscape"
/cdn/x/720p60/index-dvr.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=2443956,CODECS="avc1.4D0020,mp4a.40.2",RESOLUTION=720x1280,FRAME-RATE=30.0,STABLE-VARIANT-ID="720p30-portrait",IVS-NAME="720p",IVS-GROUPS="portrait"
{base}/cdn/x/portrait/index-dvr.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=220328,CODECS="mp4a.40.2",STABLE-VARIANT-ID="audio_only",IVS-NAME="Audio Only"
{base}/cdn/x/audio_only/index-dvr.m3u8
"""
AUDIO = MASTER[: MASTER.index("#EXT-X-STREAM-INF")] + MASTER[MASTER.index("#EXT-X-STREAM-INF:BANDWIDTH=220328") :]
OLD = """#EXTM3U
#EXT-X-MEDIA:TYPE=VIDEO,GROUP-ID="chunked",NAME="720p60",AUTOSELECT=NO,DEFAULT=NO
#EXT-X-STREAM-INF:BANDWIDTH=3443956,CODECS="avc1.4D0020,mp4a.40.2",RESOLUTION=1280x720,VIDEO="chunked",FRAME-RATE=59.995
https://d2nvs31859zcd8.cloudfront.net/x/chunked/index-dvr.m3u8
"""


def token(**changes: Any) -> dict[str, Any]:
    value = {
        "authorization": {"forbidden": False, "reason": ""},
        "chansub": {"restricted_bitrates": []},
        "expires": 1793500000,
        "vod_id": 2001,
    }
    return {"value": json.dumps({**value, **changes}), "signature": SIGNATURE, "__typename": "PlaybackAccessToken"}


def gql(data: Any) -> Answerer:
    return lambda request, n: reply({"data": data})


def vod_token(**changes: Any) -> Answerer:
    return gql({"videoPlaybackAccessToken": token(**changes)})


def clip_files(*files: dict[str, Any], **more: Any) -> Answerer:
    def answer(request: web.Request, n: int) -> web.Response:
        base = f"http://{request.host}"
        listed = [
            {"frameRate": 60, "quality": "720", **f, "sourceURL": f["sourceURL"] and base + f["sourceURL"]}
            for f in files
        ]
        assets = [
            {**a, "videoQualities": [{"sourceURL": base + u} for u in a["files"]]} for a in more.get("assets", [])
        ]
        signed = token(**more.get("token", {}))
        clip = {"id": "1", "playbackAccessToken": signed, "videoQualities": listed, "assets": assets}
        return reply({"data": {"clip": clip}})

    return answer


def text(master: str, status: int = 200) -> Answerer:
    return lambda request, n: web.Response(
        status=status,
        text=master.replace("{base}", f"http://{request.host}"),
        content_type="application/vnd.apple.mpegurl",
    )


def usher_error(status: int, code: str) -> Answerer:
    return lambda request, n: reply(
        [{"url": str(request.url), "error": "no", "error_code": code, "type": "error"}], status
    )


def error(message: str) -> Answerer:
    return lambda request, n: reply({"errors": [{"message": message}]})


def then(*answers: Answerer) -> Answerer:
    return lambda request, n: answers[min(n, len(answers)) - 1](request, n)


def hangs_up(request: web.Request, n: int) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def silent(request: web.Request, n: int) -> Any:
    async def wait() -> web.Response:
        await asyncio.sleep(0.2)
        return web.Response()

    return wait()


def drips(request: web.Request, n: int) -> Any:
    async def drip() -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(100):
            await response.write(b" ")
            await asyncio.sleep(0.01)
        return response

    return drip()


def resolver(
    server: StandIn,
    traffic: Traffic | None = None,
    fetch: Fetch = QUICK,
    codecs: tuple[str, ...] = ("h264",),
    **options: Any,
) -> StreamlinkResolver:
    made = StreamlinkResolver(server.endpoints, fetch, traffic or Traffic(), Clock(NOW), **options)
    made.offer(codecs)
    return made


def resolve(source: Vod | Clip, answers: dict[str, Answerer], **options: Any) -> tuple[list[Rendition], StandIn]:
    async def test(server: StandIn) -> tuple[list[Rendition], StandIn]:
        server.answers = answers
        async with resolver(server, **options) as door:
            return list(await asyncio.wait_for(door.renditions(source), 5)), server

    return run(test)


def failure(source: Vod | Clip, answers: dict[str, Answerer], **options: Any) -> tuple[SourceError, StandIn]:
    async def test(server: StandIn) -> tuple[SourceError, StandIn]:
        server.answers = answers
        async with resolver(server, **options) as door:
            with pytest.raises(SourceError) as caught:
                await asyncio.wait_for(door.renditions(source), 5)
            return caught.value, server

    return run(test)


# --- VODs -------------------------------------------------------------------------------------------------------


def test_vod_costs_two_requests_and_gives_every_variant() -> None:
    traffic = Traffic()
    found, server = resolve(vod(), {GQL: vod_token(), USHER: text(MASTER)}, traffic=traffic)
    assert [(r.name, r.width, r.height, r.fps, r.codecs, r.has_video) for r in found] == [
        ("1080p60", 1920, 1080, 59.995, "avc1.64002A,mp4a.40.2", True),
        ("720p60", 1280, 720, 59.995, "avc1.4D0020,mp4a.40.2", True),
        ("1280p30_portrait", 720, 1280, 30.0, "avc1.4D0020,mp4a.40.2", True),
        ("audio_only", None, None, None, "mp4a.40.2", False),
    ]
    assert [r.url.removeprefix(server.base) for r in found] == [
        f"/cdn/x/{n}/index-dvr.m3u8" for n in ("chunked", "720p60", "portrait", "audio_only")
    ]
    assert found[0].bandwidth == pytest.approx(5898203, rel=0.02)
    assert server.asked == [GQL, USHER]
    assert traffic.requests == {RequestKind.GQL: 1, RequestKind.USHER: 1}
    assert traffic.bytes[RequestKind.USHER] > 900
    assert traffic.bytes[RequestKind.GQL] > 200


def test_what_is_asked() -> None:
    _, server = resolve(vod(), {GQL: vod_token(), USHER: text(MASTER)}, codecs=("h264", "hevc", "av1"))
    asked = server.bodies[0]
    assert asked["operationName"] == "PlaybackAccessToken"
    assert (asked["variables"]["vodID"], asked["variables"]["isVod"]) == ("2001", True)
    assert server.queries[1]["supported_codecs"] == ["h264,h265,av1"]
    assert (server.queries[1]["nauthsig"], server.queries[1]["nauth"]) == ([SIGNATURE], [token()["value"]])


def test_old_master_playlist() -> None:
    (only,), _ = resolve(vod(), {GQL: vod_token(), USHER: text(OLD)})
    assert (only.name, only.height, only.has_video) == ("720p60", 720, True)
    assert only.url.startswith("https://d2nvs31859zcd8.cloudfront.net/")


def test_names_of_renditions_are_one_short_printable_line() -> None:
    odd = MASTER.replace('ID="1080p60"', f'ID="10\x1b[2J\u202e{"80" * 5000}"').replace(
        "avc1.64002A", "avc1\x1b.64002A"
    )
    (first, *_), _ = resolve(vod(), {GQL: vod_token(), USHER: text(odd)})
    assert (first.name[:7], len(first.name)) == ("10[2j80", 40)
    assert first.codecs == "avc1.64002A,mp4a.40.2"


def test_sound_only() -> None:
    failed, server = failure(vod(), {GQL: vod_token(), USHER: text(AUDIO)})
    assert (failed.reason, failed.retryable, len(server.asked)) == ("no-video", False, 2)


@pytest.mark.parametrize(
    ("answers", "reason", "retryable", "tries"),
    [
        ({GQL: gql({"videoPlaybackAccessToken": None})}, "gone", True, 1),
        ({GQL: vod_token(authorization={"forbidden": True, "reason": "SUB"})}, "sub-only", False, 1),
        ({GQL: vod_token(authorization={"forbidden": True, "reason": "GEOBLOCKED"})}, "region", False, 1),
        ({GQL: vod_token(chansub={"restricted_bitrates": ["archives"]})}, "sub-only", False, 1),
        ({GQL: vod_token(), USHER: usher_error(403, "vod_manifest_restricted")}, "sub-only", False, 1),
        ({GQL: vod_token(), USHER: usher_error(403, "unauthorized_entitlements")}, "sub-only", False, 1),
        ({GQL: vod_token(), USHER: usher_error(403, "content_geoblocked")}, "region", False, 1),
        ({GQL: vod_token(), USHER: usher_error(404, "transcode_does_not_exist")}, "gone", True, 1),
        ({GQL: vod_token(), USHER: text("", 404)}, "gone", True, 1),
        ({GQL: vod_token(), USHER: usher_error(403, "nauth_token_expired")}, "broken", True, 3),
        ({GQL: vod_token(), USHER: usher_error(500, "internal")}, "unavailable", True, 3),
        ({GQL: vod_token(), USHER: text("<html>busy</html>", 503)}, "unavailable", True, 3),
        ({GQL: vod_token(), USHER: text("<html>welcome</html>")}, "unavailable", True, 3),
        ({GQL: vod_token(), USHER: text("#EXTM3U\n")}, "broken", True, 3),
        ({GQL: vod_token(), USHER: hangs_up}, "unavailable", True, 3),
        ({GQL: error("PersistedQueryNotFound")}, "refused", True, 3),
        ({GQL: error("service timeout")}, "unavailable", True, 3),
        ({GQL: error("failed integrity check")}, "refused", True, 3),
        (
            {GQL: lambda r, n: reply({"error": "Unauthorized", "status": 401, "message": "bad token"}, 401)},
            "refused",
            True,
            3,
        ),
        (
            {GQL: lambda r, n: reply({"error": "Bad Request", "status": 400, "message": "Client-ID"}, 400)},
            "refused",
            True,
            3,
        ),
        ({GQL: text("<html>oops</html>", 502)}, "unavailable", True, 3),
        ({GQL: text("<html>oops</html>")}, "unavailable", True, 3),
        ({GQL: lambda r, n: reply([])}, "broken", True, 3),
        ({GQL: gql(None)}, "broken", True, 3),
        ({GQL: lambda r, n: web.Response(status=429)}, "unavailable", True, 3),
        ({GQL: hangs_up}, "unavailable", True, 3),
    ],
)
def test_refusals_of_vods(answers: dict[str, Answerer], reason: str, retryable: bool, tries: int) -> None:
    failed, server = failure(vod(), answers)
    assert (failed.reason, failed.retryable) == (reason, retryable), str(failed)
    assert server.count(USHER if USHER in answers else GQL) == tries
    assert SIGNATURE not in str(failed)
    assert "nauth=" not in str(failed)


def test_no_token_yet() -> None:
    failed, _ = failure(vod(age=timedelta(minutes=59)), {GQL: gql({"videoPlaybackAccessToken": None})})
    assert (failed.reason, failed.retryable) == ("not-ready", True)
    failed, _ = failure(vod(age=timedelta(minutes=61)), {GQL: gql({"videoPlaybackAccessToken": None})})
    assert failed.reason == "gone"


def test_an_age_is_that_at_the_start_of_the_run_however_long_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Clock, "now", lambda _: NOW + timedelta(hours=3))
    failed, _ = failure(vod(age=timedelta(minutes=59)), {GQL: gql({"videoPlaybackAccessToken": None})})
    assert failed.reason == "not-ready"


@pytest.mark.parametrize("fault", [error("service timeout"), text("busy", 503), hangs_up, silent, drips])
def test_passing_faults_cost_nothing(fault: Answerer) -> None:
    fetch = QUICK.model_copy(update={"read_timeout_s": 0.1})
    answers = {GQL: then(fault, vod_token()), USHER: text(MASTER)}
    found, _ = resolve(vod(), answers, fetch=fetch)
    assert len(found) == 4
    found, _ = resolve(vod(), {GQL: vod_token(), USHER: then(fault, text(MASTER))}, fetch=fetch)
    assert len(found) == 4


def test_an_endless_drip_is_cut() -> None:
    async def drip(request: web.Request, server: StandIn) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while not server.gate.is_set():
            await response.write(b" ")
            await asyncio.sleep(0.01)
        return response

    async def test(server: StandIn) -> None:
        server.answers = {GQL: lambda request, n: drip(request, server)}
        fetch = QUICK.model_copy(update={"attempts": 1, "read_timeout_s": 0.05})
        async with resolver(server, fetch=fetch) as door:
            with pytest.raises(SourceError) as caught:
                await asyncio.wait_for(door.renditions(vod()), 5)
            assert caught.value.reason == "unavailable"

    run(test)


def test_an_endless_answer_is_cut() -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(400):
            await response.write(bytes(64 * 1024))
        return response

    traffic = Traffic()
    fetch = QUICK.model_copy(update={"attempts": 1, "read_timeout_s": 5.0})
    failed, _ = failure(vod(), {GQL: lambda r, n: endless(r)}, traffic=traffic, fetch=fetch)
    assert failed.reason == "unavailable"
    assert traffic.bytes[RequestKind.GQL] < 5 << 20


@pytest.mark.parametrize(
    "missing",
    [(TwitchAPI, "access_token"), (UsherService, "video"), (plugin, "TwitchHLSStream"), (plugin, "__plugin__")],
)
def test_moved_names_of_streamlink_fall_back_to_its_public_way(
    missing: tuple[Any, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, name = missing
    monkeypatch.delattr(owner, name)  # the public way loads its own copy of the plugin
    media = dict.fromkeys(
        [f"GET /cdn/x/{n}/index-dvr.m3u8" for n in ("chunked", "720p60", "portrait", "audio_only")],
        text("#EXTM3U\n#EXTINF:1\n0.ts\n"),
    )
    traffic = Traffic()
    found, _ = resolve(vod(), {GQL: vod_token(), USHER: text(MASTER), **media}, traffic=traffic)
    assert [r.name for r in found][:2] == ["1080p60", "720p60"]
    assert traffic.requests[RequestKind.PLAYLIST] == 4


def test_public_way_keeps_to_the_world(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(TwitchAPI, "access_token")
    traffic = Traffic()
    master = OLD.replace("d2nvs31859zcd8.cloudfront.net", "169.254.169.254")
    failed, _ = failure(vod(), {GQL: vod_token(), USHER: text(master)}, traffic=traffic)
    assert failed.reason == "broken"
    assert RequestKind.PLAYLIST not in traffic.requests


# --- clips ------------------------------------------------------------------------------------------------------


def test_clip_heights_come_from_gql_and_urls_are_signed() -> None:
    files = [
        {"quality": "1080", "sourceURL": "/c/1080/index.mp4"},
        {"frameRate": 29.97, "quality": "480", "sourceURL": "/c/480/index.mp4?v=1"},
    ]
    found, server = resolve(CLIP, {GQL: clip_files(*files)})
    assert [(r.name, r.height, r.fps, r.has_video) for r in found] == [
        ("1080p60", 1080, 60.0, True),
        ("480p30", 480, 29.97, True),
    ]
    assert all(
        f"sig={SIGNATURE}" in r.url and "token=" in r.url and r.url.startswith(server.base + "/c/") for r in found
    )
    assert SIGNATURE not in repr(found)
    assert server.bodies[0]["variables"]["slug"] == CLIP.id
    assert server.asked == [GQL]


def test_clip_without_usable_files() -> None:
    failed, _ = failure(CLIP, {GQL: clip_files({"sourceURL": ""})})
    assert (failed.reason, failed.retryable) == ("broken", True)
    found, _ = resolve(CLIP, {GQL: clip_files({"sourceURL": ""}, {"quality": "source", "sourceURL": "/a.mp4"})})
    assert [(r.name, r.height) for r in found] == [("clip", None)]


@pytest.mark.parametrize(
    "files",
    [
        [{"sourceURL": "/p.mp4", "width": 720, "height": 1280}, {"sourceURL": ""}],
        [{"sourceURL": "/p.mp4"}, {"sourceURL": "/q.mp4"}],
    ],
)
def test_a_clip_of_portrait_files_alone_is_never_of_use(files: list[dict[str, Any]]) -> None:
    assets = [{"aspectRatio": 0.5625, "files": ["/p.mp4", "/q.mp4"]}]
    failed, server = failure(CLIP, {GQL: clip_files(*files, assets=assets)})
    assert (failed.reason, failed.retryable, server.count(GQL)) == ("portrait", False, 1)


def test_two_files_of_one_quality_stay_two() -> None:
    found, _ = resolve(CLIP, {GQL: clip_files({"sourceURL": "/a.mp4"}, {"sourceURL": "/b.mp4"})})
    assert [r.url.split("?")[0][-6:] for r in found] == ["/a.mp4", "/b.mp4"]


def test_portrait_files_are_left_out() -> None:
    files = [
        {"sourceURL": "/l.mp4"},
        {"sourceURL": "/p.mp4"},
        {"sourceURL": "/q.mp4", "width": 720, "height": 1280},
    ]
    assets = [{"aspectRatio": 1.78, "files": ["/l.mp4"]}, {"aspectRatio": 0.5625, "files": ["/p.mp4"]}]
    found, _ = resolve(CLIP, {GQL: clip_files(*files, assets=assets)})
    assert [r.url.split("?")[0][-6:] for r in found] == ["/l.mp4"]


@pytest.mark.parametrize(
    ("answer", "reason", "retryable", "tries"),
    [
        (gql({"clip": None}), "gone", True, 1),
        (error("service timeout"), "unavailable", True, 3),
        (error("PersistedQueryNotFound"), "refused", True, 3),
        (text("busy", 500), "unavailable", True, 3),
        (gql({}), "broken", True, 3),
        (hangs_up, "unavailable", True, 3),
        (
            gql({"clip": {"playbackAccessToken": token(authorization={"forbidden": True}), "videoQualities": []}}),
            "sub-only",
            False,
            1,
        ),
    ],
)
def test_refusals_of_clips(answer: Answerer, reason: str, retryable: bool, tries: int) -> None:
    failed, server = failure(CLIP, {GQL: answer})
    assert (failed.reason, failed.retryable, server.count(GQL)) == (reason, retryable, tries), str(failed)


@pytest.mark.parametrize(("why", "reason"), [("SUBSCRIPTION", "sub-only"), ("GEO_BLOCKED", "region")])
def test_clip_whose_token_forbids_it_is_not_read_though_its_files_are_listed(why: str, reason: str) -> None:
    forbidden = {"authorization": {"forbidden": True, "reason": why}}
    failed, server = failure(CLIP, {GQL: clip_files({"sourceURL": "/l.mp4"}, token=forbidden)})
    assert (failed.reason, failed.retryable, server.count(GQL)) == (reason, False, 1)


# --- hashes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("public", [False, True])
def test_a_vod_whose_hash_is_unknown_is_asked_for_by_text_for_the_rest_of_the_run(
    public: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if public:
        monkeypatch.delattr(UsherService, "video")

    async def test(server: StandIn) -> StandIn:
        server.answers = {GQL: then(*[error("PersistedQueryNotFound")] * 2, vod_token()), USHER: text(MASTER)}
        for name in ("chunked", "720p60", "portrait", "audio_only"):
            server.answers[f"GET /cdn/x/{name}/index-dvr.m3u8"] = text("#EXTM3U\n#EXTINF:1\n0.ts\n")
        async with resolver(server) as door:
            for _ in range(2):
                assert len(await door.renditions(vod())) >= 4
        return server

    server = run(test)
    asked = [body for body, route in zip(server.bodies, server.asked, strict=True) if route == GQL]
    ways = ["hash" if "extensions" in question else "text" for question in asked]
    assert ways[:2] == ["hash", "hash"]
    assert set(ways[2:]) == {"text"}
    assert asked[2]["variables"] == {"vodID": "2001", "platform": "site", "playerType": "embed"}
    assert "videoPlaybackAccessToken(id: $vodID" in asked[2]["query"]
    by_text = [headers for headers, route in zip(server.headers, server.asked, strict=True) if route == GQL][2]
    assert "Mozilla" in by_text["User-Agent"]
    assert by_text["Client-ID"]
    assert by_text["Content-Type"] == "application/json"


def test_a_clip_whose_hash_is_unknown_is_asked_for_by_text() -> None:
    unknown = error("PersistedQueryNotFound")
    found, server = resolve(CLIP, {GQL: then(unknown, unknown, clip_files({"sourceURL": "/l.mp4"}))})
    assert [r.height for r in found] == [720]
    assert server.bodies[2]["variables"] == {"slug": CLIP.id, "platform": "web"}
    assert server.asked == [GQL] * 3


# --- the door itself --------------------------------------------------------------------------------------------


def test_sessions_are_reused_and_slots_bound_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    made, busy, peak = [], [0], [0]
    lock = threading.Lock()
    original = Desk.open

    def opened(self: Any, source: Any, clock: Any) -> Any:
        with lock:
            made.append(self)
            busy[0] += 1
            peak[0] = max(peak[0], busy[0])
        try:
            return original(self, source, clock)
        finally:
            with lock:
                busy[0] -= 1

    monkeypatch.setattr(Desk, "open", opened)

    async def test(server: StandIn) -> None:
        server.answers = {GQL: vod_token(), USHER: text(MASTER)}
        async with resolver(server) as door:
            found = await asyncio.gather(*(door.renditions(vod()) for _ in range(12)))
        assert all(len(renditions) == 4 for renditions in found)

    run(test)
    assert len(made) == 12
    assert len(set(map(id, made))) <= playback.SLOTS
    assert peak[0] <= playback.SLOTS


def test_cancelled_wait_does_not_wait_for_the_server() -> None:
    async def test(server: StandIn) -> None:
        started = asyncio.Event()

        async def never(request: web.Request) -> web.Response:
            started.set()
            await server.gate.wait()
            return web.Response()

        server.answers = {GQL: lambda r, n: never(r)}
        async with resolver(server) as door:
            task = asyncio.create_task(door.renditions(vod()))
            await started.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    run(test)


def test_closed_resolver_asks_nothing() -> None:
    async def test(server: StandIn) -> None:
        server.answers = {GQL: vod_token(), USHER: text(MASTER)}
        async with resolver(server) as door:
            pass
        with pytest.raises(SourceError) as caught:
            await door.renditions(vod())
        assert caught.value.retryable
        assert server.asked == []

    run(test)


def test_environment_proxy_is_not_for_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    found, _ = resolve(vod(), {GQL: vod_token(), USHER: text(MASTER)})
    assert len(found) == 4


@pytest.mark.parametrize(
    "answers",
    [
        {GQL: vod_token(), USHER: usher_error(403, "vod_manifest_restricted")},
        {GQL: vod_token(), USHER: text("<html>")},
        {GQL: vod_token(), USHER: hangs_up},
        {GQL: vod_token(), USHER: text(MASTER)},
    ],
)
def test_logs_hold_no_token(
    answers: dict[str, Answerer], caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    async def test(server: StandIn) -> None:
        server.answers = answers
        async with resolver(server) as door:
            logging.getLogger("streamlink.plugins.twitch").error(
                "token %s", SIGNATURE
            )  # cut off, whatever it logs
            await asyncio.gather(door.renditions(vod()), return_exceptions=True)

    with caplog.at_level(logging.DEBUG):
        run(test)
    everything = caplog.text + "".join(capfd.readouterr())
    assert SIGNATURE not in everything
    assert "restricted_bitrates" not in everything
