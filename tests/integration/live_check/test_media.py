"""What Twitch could break in playlists and segments is told as broken."""

from __future__ import annotations

import base64
import io
import json
from fractions import Fraction

import av
import numpy as np
import pytest

from harvester.sandbox import Fault, SandboxServer
from tests.integration.live_check.running import (
    FAILS,
    GAME,
    HOLDS,
    UNTOLD,
    Run,
)

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
