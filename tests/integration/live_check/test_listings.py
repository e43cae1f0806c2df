"""What Twitch could break in listings, hashes and clips is told as broken; what does not open is passed over."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from streamlink.plugins import twitch as plugin

from harvester.sandbox import Fault, SandboxServer, default_world
from harvester.sandbox import gql as sandbox_gql
from harvester.sandbox import helix as sandbox_helix
from harvester.sandbox.gql import Gql
from tests.integration.live_check.running import (
    FAILS,
    GAME,
    HOLDS,
    KEPT,
    UNTOLD,
    Run,
)


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
    assert done.answers[5] == UNTOLD  # its own question is put by hash; those that open sources are spelt out
    assert {n for n, answer in done.answers.items() if answer == HOLDS} >= KEPT - {3, 5}
    assert done.requests() <= 40


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
