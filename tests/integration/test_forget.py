"""What is forgotten is gone, to the last byte, and stays away; what is denied, too old or gone from Twitch, too.

The world: two broadcasters under one game, one of them under a second game too, and a clip of a VOD.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from harvester.sandbox import SandboxServer, default_world
from harvester.sandbox.world import Channel, Video, World
from harvester.store.lock import DatasetLock
from tests.integration.cases import Worlds
from tests.integration.commands import Commands, Ended
from tests.integration.killing import Harvesting, Processes
from tests.integration.test_labels import EVERY_SEGMENT, game_of, piece_of, video_of
from tests.integration.test_leaving import FIRST, SECOND, THIRD, world_of
from tests.integration.wholeness import LEDGER, check_raw, check_whole, outcomes, rows_of

#: The broadcaster to be forgotten, and one that stays.
LEAVES = Channel("7700770011", "leaver_login", "LeaverName")
STAYS = Channel("8800880022", "stayer_login", "StayerName")
TEEWORLDS, MINETEST = "312756", "15428"
BOTH = ("--category", f"id:{TEEWORLDS}", "--category", f"id:{MINETEST}")
#: What only the forgotten broadcaster's sources are called.
OF_LEAVER = ("7700770011", "leaver_login", "LeaverName", "9900111", "9900222", "TitleThatLeaves")


def vod(world: World, number: int, vod_id: str, channel: Channel, game: str) -> Video:
    title = "TitleThatLeaves" if channel is LEAVES else "TitleThatStays"
    made = world.now - timedelta(days=2 + number)
    video = video_of(world, number, game, (piece_of(world, game, number % 2),), title=title)
    return replace(video, id=vod_id, channel=channel, created_at=made, distribution=f"dforget{number}")


@pytest.fixture(scope="module")
def world() -> World:
    world = default_world()
    vods = (
        vod(world, 0, "9900111", LEAVES, "Teeworlds"),
        vod(world, 1, "9900222", LEAVES, "Minetest"),
        vod(world, 2, "9900333", STAYS, "Minetest"),
        vod(world, 3, "9900444", STAYS, "Teeworlds"),
    )
    clip = replace(
        next(clip for clip in world.clips if clip.game.name == "Teeworlds"),
        channel=STAYS,
        creator=STAYS,
        title="ClipThatStays",
        video_id="9900444",
        vod_offset_s=0,
        created_at=world.now - timedelta(days=4),
        game=game_of(world, "Teeworlds"),
        piece=piece_of(world, "Hedgewars"),  # pictures that no VOD has
    )
    return replace(world, videos=vods, clips=(clip,), channels=(*world.channels, LEAVES, STAYS))


@pytest.fixture(scope="module")
def server(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxServer]:
    sandbox = SandboxServer(world, cache_dir=tmp_path_factory.mktemp("media"))
    with sandbox.running():
        yield sandbox


@pytest.fixture
def harvester(server: SandboxServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(server, tmp_path, capsys)


@pytest.fixture
def out(harvester: Commands, tmp_path: Path) -> Path:
    """A harvested dataset."""
    root = tmp_path / "dataset"
    done(harvester("run", *BOTH, "--out", root, **EVERY_SEGMENT))
    assert {row["broadcaster_id"] for row in rows(root)} == {LEAVES.id, STAYS.id}
    return root


def done(ended: Ended) -> Ended:
    assert ended.code == 0, ended.err
    return ended


def rows(root: Path) -> list[dict[str, Any]]:
    return [row for split in rows_of(root).values() for row in split]


def files(root: Path) -> dict[str, str]:
    """Every file below ``root`` with the hash of its bytes."""
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def mentions(root: Path, *texts: str) -> list[str]:
    """Where any of these texts stands in the bytes of a file or in its name; tombstones.json may name ids."""
    found = [
        f"{text} in {path.relative_to(root)}"
        for path in root.rglob("*")
        if path.is_file() and path.name != "tombstones.json"
        for text in texts
        if text.encode() in path.read_bytes() or text in path.name
    ]
    return found + [f"{text} in a row" for text in texts for row in rows(root) if text in map(str, row.values())]


def test_a_broadcaster_is_forgotten_to_the_last_byte_and_stays_away(harvester: Commands, out: Path) -> None:
    assert mentions(out, *OF_LEAVER)
    before = {row["file_name"]: row for row in rows(out)}
    (out / ".harvester" / "ledger.sqlite3.schema-2.bak").write_bytes(b"LeaverName")
    told = done(harvester("forget", "--broadcaster", LEAVES.id, "--out", out, "--json")).json["forgotten"]
    theirs = [name for name, row in before.items() if row["broadcaster_id"] == LEAVES.id]
    assert (told[0]["images"], told[0]["sources"], told[0]["before"]) == (len(theirs), 2, False)
    assert not mentions(out, *OF_LEAVER)
    stones = json.loads((out / "tombstones.json").read_text())["tombstones"]
    assert stones == [{"broadcaster_id": LEAVES.id}]
    after = {row["file_name"]: row for row in rows(out)}
    assert after == {name: row for name, row in before.items() if name not in theirs}
    check_whole(out)
    done(harvester("verify", "--out", out, "--replay"))
    again = done(harvester("run", *BOTH, "--out", out, "--json", **EVERY_SEGMENT)).json
    assert (again["planned"], again["removed"]) == (0, {})
    assert not mentions(out, *OF_LEAVER)
    assert {row["file_name"]: row for row in rows(out)} == after
    done(harvester("verify", "--out", out, "--replay"))


def test_a_dry_run_says_what_would_go_and_changes_not_a_byte(harvester: Commands, out: Path) -> None:
    before = files(out)
    told = done(harvester("forget", "--broadcaster", LEAVES.id, "--dry-run", "--out", out, "--json")).json
    assert told["dry_run"]
    assert told["forgotten"][0]["images"] == sum(row["broadcaster_id"] == LEAVES.id for row in rows(out))
    ttl = {"HARVESTER_RETENTION_TTL_DAYS": "0.5", "HARVESTER_RUN_NOW": "2026-12-24T00:00:00Z"}
    leaving = done(harvester("verify", "--public", "--dry-run", "--out", out, "--json", **ttl)).json["leaving"]
    assert leaving == {"expired": len(rows(out))}
    assert files(out) == before


def test_a_vod_is_forgotten_its_clip_stays_and_names_it_no_more(harvester: Commands, out: Path) -> None:
    told = done(harvester("forget", "--source", "https://www.twitch.tv/videos/9900444", "--out", out)).out
    assert told.startswith("forgot vod 9900444: ")
    assert not mentions(out, "9900444")
    assert {row["source_id"] for row in rows(out)} >= {"9900333", "9900111"}
    assert {row["source_type"] for row in rows(out)} == {"vod", "clip"}
    done(harvester("run", *BOTH, "--out", out, **EVERY_SEGMENT))
    assert not mentions(out, "9900444")
    done(harvester("verify", "--out", out, "--replay"))
    check_whole(out)


def test_a_clip_that_is_found_later_does_not_bring_the_id_of_its_vod(harvester: Commands, tmp_path: Path) -> None:
    out = tmp_path / "dataset"
    done(harvester("run", *BOTH, "--source-type", "vod", "--out", out, **EVERY_SEGMENT))
    done(harvester("forget", "--source", "9900444", "--out", out))
    done(harvester("run", *BOTH, "--out", out, **EVERY_SEGMENT))
    assert "clip" in {row["source_type"] for row in rows(out)}
    assert not mentions(out, "9900444")


def test_a_category_is_forgotten_its_label_id_stays(harvester: Commands, out: Path) -> None:
    done(harvester("forget", "--category", TEEWORLDS, "--out", out))
    assert not mentions(out, "Teeworlds", "teeworlds")
    assert {row["category_id"] for row in rows(out)} == {MINETEST}
    classes = json.loads((out / "classes.json").read_text())["classes"]
    assert [entry["category_id"] for entry in classes] == [TEEWORLDS, MINETEST]
    again = done(harvester("run", *BOTH, "--out", out, "--json", **EVERY_SEGMENT)).json
    assert again["notes"] == [f"category id:{TEEWORLDS} was forgotten and stays out"]
    assert not mentions(out, "Teeworlds", "teeworlds")
    assert harvester("run", *BOTH[:2], "--out", out).code == 2
    done(harvester("verify", "--out", out, "--replay"))


def test_what_is_not_there_is_kept_out_all_the_same(harvester: Commands, out: Path) -> None:
    asked = ("forget", "--broadcaster", "1234509876", "--out", out)
    assert done(harvester(*asked)).out == (
        "broadcaster 1234509876: nothing of it is here; it is kept out from now on\n"
    )
    assert done(harvester(*asked)).out.endswith("it was forgotten before\n")
    assert not mentions(out, "1234509876")
    for words in ((), ("--broadcaster", "LeaverName"), ("--category", "Teeworlds")):
        assert harvester("forget", *words, "--out", out).code == 2
    assert harvester("forget", "--broadcaster", "1", "--out", out.parent / "none").code == 2


def test_not_while_a_run_goes_on(harvester: Commands, out: Path) -> None:
    with DatasetLock(out):
        before = files(out)
        assert harvester("forget", "--broadcaster", LEAVES.id, "--out", out).code == 75
        assert files(out) == before


def test_what_is_put_back_goes_again(harvester: Commands, out: Path) -> None:
    """From a copy of the data, and with an older ledger too; one that is lost keeps nothing in either."""
    images = {path: path.read_bytes() for path in (out / "data").rglob("*") if path.is_file()}
    ledger = (out / LEDGER).read_bytes()
    done(harvester("forget", "--broadcaster", LEAVES.id, "--out", out))
    for older in (None, ledger, b""):
        for path, content in images.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        if older is not None:
            (out / LEDGER).write_bytes(older)
        if older is None:
            found = harvester("verify", "--out", out, "--json").json["findings"]
            assert {"forgotten", "unknown"} <= {finding["kind"] for finding in found}
        done(harvester("run", *BOTH, "--out", out, **EVERY_SEGMENT))
        assert not mentions(out, *OF_LEAVER)
        check_raw(out)


def test_who_is_denied_is_not_taken_and_what_was_kept_stays(harvester: Commands, tmp_path: Path) -> None:
    out, deny = tmp_path / "dataset", {"HARVESTER_DISCOVER_DENY_BROADCASTERS": f'["{LEAVES.id}"]'}
    ended = done(harvester("run", *BOTH, "--max-frames", "3", "--out", out, "--json", **EVERY_SEGMENT))
    kept = [row for row in rows(out) if row["broadcaster_id"] == LEAVES.id]
    assert ended.json["status"] == "bounded"
    later = done(harvester("run", *BOTH, "--out", out, "--json", **EVERY_SEGMENT, **deny)).json
    assert [row for row in rows(out) if row["broadcaster_id"] == LEAVES.id] == kept
    assert later["dropped"]["denied"] >= 1
    assert bool(kept) == any(
        "of broadcasters or categories that are refused now" in note for note in later["notes"]
    )
    done(harvester("verify", "--out", out, "--replay"))
    check_whole(out)


def test_lists_leave_out_at_the_listing_and_say_why(harvester: Commands, tmp_path: Path) -> None:
    for lists, reason in (
        ({"HARVESTER_DISCOVER_DENY_BROADCASTERS": f'["{LEAVES.id}"]'}, "denied"),
        ({"HARVESTER_DISCOVER_ALLOW_BROADCASTERS": f'["{STAYS.id}"]'}, "not-allowed"),
    ):
        out = tmp_path / reason
        plans = done(harvester("plan", *BOTH, "--out", out, "--json", **lists)).json["plan"]
        assert [plan["left_out"] for plan in plans] == [{reason: 1}, {reason: 1}]
        done(harvester("run", *BOTH, "--out", out, **EVERY_SEGMENT, **lists))
        assert {row["broadcaster_id"] for row in rows(out)} == {STAYS.id}
    denied = {"HARVESTER_DISCOVER_DENY_CATEGORIES": f'["{TEEWORLDS}"]'}
    out = tmp_path / "categories"
    report = done(harvester("run", *BOTH, "--out", out, "--json", **EVERY_SEGMENT, **denied)).json
    assert report["categories"].keys() == {MINETEST}
    assert harvester("run", *BOTH[:2], "--out", out, **denied).code == 2
    assert harvester("run", *BOTH, "--out", out, HARVESTER_DISCOVER_DENY_BROADCASTERS='["a name"]').code == 2


def test_frames_leave_when_they_are_too_old(harvester: Commands, out: Path) -> None:
    count = len(rows(out))
    early = {"HARVESTER_RETENTION_TTL_DAYS": "3", "HARVESTER_RUN_NOW": "2026-11-04T03:00:00Z"}
    late = {**early, "HARVESTER_RUN_NOW": "2026-11-05T09:00:00Z"}
    with closing(sqlite3.connect(out / LEDGER)) as database:
        (started,) = database.execute("SELECT min(started_at) FROM runs").fetchone()
    assert started.startswith("2026-11-02")
    assert done(harvester("run", *BOTH, "--out", out, "--json", **EVERY_SEGMENT, **early)).json["removed"] == {}
    report = done(harvester("run", *BOTH, "--out", out, "--json", **EVERY_SEGMENT, **late)).json
    assert report["removed"] == {"expired": count}
    assert not rows(out)
    assert not (out / ".harvester" / "contact-sheet.jpg").exists()
    done(harvester("verify", "--out", out, "--replay"))
    check_whole(out)


@pytest.mark.parametrize("policy", ["flag", "purge"])
def test_a_source_that_is_gone_twice(
    policy: str, world: World, tmp_path: Path, harvester: Commands, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = sum(row["source_id"] == "9900111" for row in rows(out))
    left = replace(world, videos=tuple(video for video in world.videos if video.id != "9900111"))
    days = [f"2026-11-{day:02}T03:00:00Z" for day in (3, 4)]
    asked = ("verify", "--public", "--out", out, "--json")
    sandbox = SandboxServer(left, cache_dir=tmp_path / "media")
    with sandbox.running():
        smaller = Commands(sandbox, tmp_path, capsys)
        setting = {"HARVESTER_RETENTION_GONE": policy}
        assert done(smaller(*asked, HARVESTER_RUN_NOW=days[0], **setting)).json["findings"] == []
        second = smaller(*asked, HARVESTER_RUN_NOW=days[1], **setting)
    if policy == "flag":
        assert [finding["kind"] for finding in second.json["findings"]] == ["gone"]
        assert sum(row["source_id"] == "9900111" for row in rows(out)) == theirs
        again = harvester.server
        assert done(Commands(again, tmp_path, capsys)(*asked, HARVESTER_RUN_NOW=days[1])).json["findings"] == []
    else:
        assert (second.code, second.json["leaving"]) == (0, {"gone": theirs})
        assert not [row for row in rows(out) if row["source_id"] == "9900111"]
        check_whole(out)


def test_verify_finds_each_kind_of_damage(harvester: Commands, out: Path) -> None:
    one, two, *_ = sorted(path for path in (out / "data").rglob("*.jpg"))
    one.unlink()
    two.write_bytes(two.read_bytes() + b"x")
    two.with_name("stray.jpg").write_bytes(b"")
    with closing(sqlite3.connect(out / LEDGER)) as database, database:
        other = database.execute("SELECT max(file_name) FROM outcomes").fetchone()[0]
        database.execute("UPDATE outcomes SET sha256 = 'x' WHERE file_name = ?", (other,))
    ended = harvester("verify", "--out", out, "--json")
    told = {(finding["kind"], finding["what"].split(" ")[0]) for finding in ended.json["findings"]}
    stray = two.with_name("stray.jpg")
    names = [path.relative_to(out / "data").as_posix() for path in (one, two, stray)]
    assert ended.code == 4
    assert {*zip(("missing", "altered", "orphan"), names, strict=True)} <= told
    assert any(kind == "altered" and what.endswith(other) for kind, what in told)


@pytest.mark.parametrize(("cap", "grounds"), [("0", {"recurring"}), ("12", {"broadcaster-cap"})])
def test_what_rested_on_the_forgotten_stays_as_it_was_decided(
    cap: str, grounds: set[str], world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Duplicates of forgotten pictures, a share that is free again, cards that recurred in forgotten sources."""
    same = [
        vod(world, 2 * number, f"990{number}", channel, "Teeworlds")
        for number, channel in enumerate((LEAVES, STAYS))
    ]
    cards = world_of(FIRST, SECOND, THIRD).videos
    copied = replace(world, videos=(*same, *cards), clips=())
    capped = {**EVERY_SEGMENT, "HARVESTER_SAMPLE_MAX_PER_BROADCASTER": cap}
    sandbox = SandboxServer(copied, cache_dir=tmp_path / "media")
    with sandbox.running():
        harvester, root = Commands(sandbox, tmp_path, capsys), tmp_path / "dataset"
        report = done(harvester("run", *BOTH[:2], "--out", root, "--json", **capped)).json
        assert report["dropped"].keys() | report["removed"].keys() == {"duplicate"} | grounds
        words = ("--source", cards[0].id)
        for forgotten in (("--broadcaster", LEAVES.id), words, words):
            done(harvester("forget", *forgotten, "--out", root))
            done(harvester("verify", "--out", root, "--replay"))
        done(harvester("run", *BOTH[:2], "--out", root, **EVERY_SEGMENT))
        done(harvester("verify", "--out", root, "--replay"))
        check_whole(root)


# -- killed -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    environ = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    with closing(Processes(tmp_path_factory.mktemp("commands"), environ)) as served:
        yield served


def command(harvesting: Harvesting, root: Path, *words: str, **death: Any) -> Mapping[str, Any]:
    """A command other than ``run``; its steps."""
    name, *rest = words
    args = [name, "--config", str(harvesting.config), "--out", str(root), *rest]
    ended = harvesting.processes.wait(harvesting.processes.start(root, args, harvesting.environ, **death))
    assert ended.killed or ended.code == 0, ended.err[-2000:]
    return {} if ended.killed else ended.steps


@pytest.mark.long
@pytest.mark.parametrize("words", [("--broadcaster", LEAVES.id), ("--category", TEEWORLDS)])
def test_killed_at_any_step_the_forgotten_is_gone_after_the_next_command(
    words: tuple[str, ...], world: World, processes: Processes, tmp_path: Path
) -> None:
    gone = OF_LEAVER if words[0] == "--broadcaster" else ("Teeworlds", "teeworlds")
    with ExitStack() as stack:
        harvesting = Worlds(processes, tmp_path, stack).harvesting(*BOTH, world=world)
        before, whole = tmp_path / "before", tmp_path / "whole"
        harvesting.finish(before)
        shutil.copytree(before, whole)
        steps = command(harvesting, whole, "forget", *words)
        wanted = {row["file_name"] for row in rows(whole)}
        for kind in ("step", "torn", "committed"):
            for at in range(1, len(steps[kind]) + 1):
                root = tmp_path / f"{kind}-{at}"
                shutil.copytree(before, root)
                command(harvesting, root, "forget", *words, kind=kind, at=at)
                check_raw(root)
                stone = json.loads((root / "tombstones.json").read_text())["tombstones"]
                nexts = [("verify", "--replay")] if stone and at % 2 else [("forget", *words)]
                for more in nexts:
                    command(harvesting, root, *more)
                assert {row["file_name"] for row in rows(root)} == wanted, (kind, at)
                assert not mentions(root, *gone), (kind, at)
                check_whole(root)


@pytest.mark.long
def test_killed_at_any_step_what_is_too_old_is_gone_after_the_next_run(
    world: World, processes: Processes, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        worlds = Worlds(processes, tmp_path, stack)
        harvesting = worlds.harvesting(*BOTH, world=world)
        before = tmp_path / "before"
        harvesting.finish(before)
        later = {"HARVESTER_RUN_NOW": "2026-11-20T03:00:00Z", "HARVESTER_RETENTION_TTL_DAYS": "3"}
        late = replace(harvesting, environ={**harvesting.environ, **later})
        whole = tmp_path / "whole"
        shutil.copytree(before, whole)
        steps = command(late, whole, "verify")
        assert not rows(whole)
        for at in range(1, len(steps["step"]) + 1):
            root = tmp_path / f"step-{at}"
            shutil.copytree(before, root)
            command(late, root, "verify", kind="step", at=at)
            check_raw(root)
            command(late, root, "verify", "--replay")
            assert not rows(root)
            check_whole(root)
            assert len({row["seq"] for row in outcomes(root)}) == len(outcomes(before))
